package detectorstest

import (
	"maps"
	"slices"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// blanks take away what a source gave. They change nothing that a copy of the observation shares.
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
	v1alpha1.SourceAudit: func(o *v1alpha1.Observation) {
		o.Kmsg = slices.DeleteFunc(slices.Clone(o.Kmsg), func(l v1alpha1.LogLine) bool { return l.Source == "audit" })
	},
	v1alpha1.SourceLimits: func(o *v1alpha1.Observation) { o.Limits = nil },
	v1alpha1.SourceNetwork: func(o *v1alpha1.Observation) {
		o.Network = v1alpha1.Network{RejectRules: o.Network.RejectRules, Firewalls: o.Network.Firewalls}
	},
	v1alpha1.SourceFirewall: func(o *v1alpha1.Observation) { o.Network.RejectRules, o.Network.Firewalls = nil, nil },
	v1alpha1.SourceAPI:      func(o *v1alpha1.Observation) { o.API = nil },
	v1alpha1.SourceKubeletFile: func(o *v1alpha1.Observation) {
		o.Kubelet.File, o.Kubelet.FileError = v1alpha1.KubeletConfig{}, ""
	},
	v1alpha1.SourceRuntime: func(o *v1alpha1.Observation) {
		r := &o.Runtime
		r.Unit, r.PID, r.Exe, r.Environment, r.CLI, r.ConfigFiles = "", 0, "", v1alpha1.Environment{}, nil, nil
	},
	v1alpha1.SourceRuntimeFile:   func(o *v1alpha1.Observation) { o.Runtime.ConfigFile = v1alpha1.RuntimeConfigFile{} },
	v1alpha1.SourceVersion:       func(o *v1alpha1.Observation) { o.Runtime.Name, o.Runtime.Version = "", "" },
	v1alpha1.SourceRuntimeConfig: func(o *v1alpha1.Observation) { o.Runtime.CgroupDriver = "" },
	v1alpha1.SourceRuntimeClock: func(o *v1alpha1.Observation) {
		o.Clocks.ProcessOffsetSeconds = maps.Clone(o.Clocks.ProcessOffsetSeconds)
		delete(o.Clocks.ProcessOffsetSeconds, "containerd")
	},
	v1alpha1.SourceIPAM: func(o *v1alpha1.Observation) { o.CNI.IPAM = nil },
	v1alpha1.SourceNetNS: func(o *v1alpha1.Observation) {
		o.Runtime.Sandboxes = slices.Clone(o.Runtime.Sandboxes)
		for i := range o.Runtime.Sandboxes {
			s := &o.Runtime.Sandboxes[i]
			s.PID, s.NetNS, s.NetNSGone, s.IPGone = 0, "", false, false
		}
	},
	v1alpha1.SourceReach: func(o *v1alpha1.Observation) {
		o.Registries = slices.Clone(o.Registries)
		for i := range o.Registries {
			o.Registries[i].Mirrors = slices.Clone(o.Registries[i].Mirrors)
			for j := range o.Registries[i].Mirrors {
				o.Registries[i].Mirrors[j].Reach = ""
			}
		}
	},
	v1alpha1.SourceHost:       func(o *v1alpha1.Observation) { o.Host = v1alpha1.Host{} },
	v1alpha1.SourceKubeconfig: func(o *v1alpha1.Observation) { o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{} },
	v1alpha1.SourceSwaps:      func(o *v1alpha1.Observation) { o.Swaps = nil },
	v1alpha1.SourceMounts:     func(o *v1alpha1.Observation) { o.Mounts = nil },
	v1alpha1.SourceSecurity:   func(o *v1alpha1.Observation) { o.Security = v1alpha1.Security{} },
	v1alpha1.SourceFiles:      func(o *v1alpha1.Observation) { o.Files = nil },
	v1alpha1.SourceSockets:    func(o *v1alpha1.Observation) { o.Sockets = nil },
}

// Blank has a source not read: what it gave is not there, and Unknown says so.
func Blank(o *v1alpha1.Observation, source string) {
	if blank := blanks[source]; blank != nil {
		blank(o)
	}
	Unknown(o, "taken away", source)
}

// Sources are all sources of a look.
func Sources() []string {
	return append(slices.Clone(v1alpha1.NodeSources), v1alpha1.SourceAPI, v1alpha1.SourceKubelet)
}

// Complete is a healthy node that has something for every source to give.
func Complete() *v1alpha1.Observation {
	o := Healthy()
	Log(o, "containerd", "level=info msg=\"containerd successfully booted in 0.03s\"", 0)
	Kmsg(o, "cgroup: fork rejected by pids controller in /user.slice", 0)
	o.Swaps = []v1alpha1.Swap{{Path: "/swap.img", Type: "file", SizeBytes: 1 << 30}}
	o.Mounts = []v1alpha1.Mount{{Target: "/var", Source: "/dev/vda1", Root: "/", Type: "ext4", Options: []string{"rw"}}}
	o.Files = []v1alpha1.File{{Path: "/usr/local/sbin/runc", Exists: true, Mode: "-rwxr-xr-x", SizeBytes: 9 << 20}}
	o.Security.AppArmor = true
	o.Sockets = []v1alpha1.PluginSocket{{Path: "/var/lib/kubelet/plugins/" + Driver + "/csi.sock", Kind: "csi", Name: Driver, Answers: "ok"}}
	o.Registries = []v1alpha1.RegistryHost{RegistryHost("ok")}
	o.Runtime.Sandboxes[0].PID = 900
	o.Runtime.Unit, o.Runtime.PID = "containerd", 200
	o.Network.Firewalls = []string{"kubernetes"}
	o.Kmsg = append(o.Kmsg, v1alpha1.LogLine{Source: "audit", At: Ago(time.Minute), Text: `AVC apparmor="STATUS" operation="profile_load"`})
	return o
}
