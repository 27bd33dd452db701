package detectorstest

import "github.com/sickbay-dev/sickbay/api/v1alpha1"

// blanks take away what a source gave.
var blanks = map[string]func(*v1alpha1.Observation){
	v1alpha1.SourceUnits:   func(o *v1alpha1.Observation) { o.Units, o.LocalUnits, o.LocalJobs = nil, nil, nil },
	v1alpha1.SourceJournal: func(o *v1alpha1.Observation) { o.Journal = v1alpha1.Journal{} },
	v1alpha1.SourceKubelet: func(o *v1alpha1.Observation) {
		o.Kubelet.Config, o.Kubelet.ConfigSource = v1alpha1.KubeletConfig{}, ""
	},
	v1alpha1.SourceKubeletAPI: func(o *v1alpha1.Observation) { o.Kubelet.Healthz = "" },
	v1alpha1.SourceStatus: func(o *v1alpha1.Observation) {
		o.Runtime.Conditions, o.Runtime.Handlers, o.Runtime.LastCNILoad = nil, nil, ""
	},
	v1alpha1.SourceSandboxes:   func(o *v1alpha1.Observation) { o.Runtime.Sandboxes = nil },
	v1alpha1.SourceContainers:  func(o *v1alpha1.Observation) { o.Runtime.Containers = nil },
	v1alpha1.SourceImages:      func(o *v1alpha1.Observation) { o.Runtime.Images = nil },
	v1alpha1.SourceFilesystems: func(o *v1alpha1.Observation) { o.Filesystems = nil },
	v1alpha1.SourceProcesses:   func(o *v1alpha1.Observation) { o.Processes = nil },
	v1alpha1.SourceCgroups:     func(o *v1alpha1.Observation) { o.Containers, o.Cgroups = nil, nil },
	v1alpha1.SourceCerts:       func(o *v1alpha1.Observation) { o.Certs = nil },
	v1alpha1.SourceCNI:         func(o *v1alpha1.Observation) { o.CNI = v1alpha1.CNI{} },
	v1alpha1.SourceRegistries:  func(o *v1alpha1.Observation) { o.Registries = nil },
	v1alpha1.SourceKmsg:        func(o *v1alpha1.Observation) { o.Kmsg = nil },
	v1alpha1.SourceNetwork:     func(o *v1alpha1.Observation) { o.Network = v1alpha1.Network{} },
	v1alpha1.SourceAPI:         func(o *v1alpha1.Observation) { o.API = nil },
	"host":                     func(o *v1alpha1.Observation) { o.Host = v1alpha1.Host{} },
	"kubelet.kubeconfig":       func(o *v1alpha1.Observation) { o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{} },
	"swaps":                    func(o *v1alpha1.Observation) { o.Swaps = nil },
	"mounts":                   func(o *v1alpha1.Observation) { o.Mounts = nil },
	"security":                 func(o *v1alpha1.Observation) { o.Security = v1alpha1.Security{} },
	"files":                    func(o *v1alpha1.Observation) { o.Files = nil },
	"pluginSockets":            func(o *v1alpha1.Observation) { o.Sockets = nil },
}

// Blank has a source not read: what it gave is not there, and Unknown says so.
func Blank(o *v1alpha1.Observation, source string) {
	blanks[source](o)
	Unknown(o, "taken away", source)
}
