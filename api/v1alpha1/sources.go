package v1alpha1

import (
	"cmp"
	"slices"
)

// Sources are the parts of a look. Each is read on its own, with its own deadline: what could not be read has an entry of this
// name in Observation.Unknown.
const (
	SourceHost          = "host"
	SourceUnits         = "units"
	SourceJournal       = "journal"
	SourceKmsg          = "kmsg"
	SourceAudit         = "audit" // into Kmsg
	SourceLimits        = "limits"
	SourceProcesses     = "processes"
	SourceCgroups       = "cgroups" // the containers' and the kubelet's own
	SourceMounts        = "mounts"
	SourceFilesystems   = "filesystems"
	SourceFiles         = "files"
	SourceSwaps         = "swaps"
	SourceSecurity      = "security"
	SourceCerts         = "certificates"
	SourceNetwork       = "network"
	SourceFirewall      = "firewall"
	SourceKubeletAPI    = "kubelet.healthz"
	SourceKubeletFile   = "kubelet.file"
	SourceKubeconfig    = "kubelet.kubeconfig"
	SourceSockets       = "pluginSockets"
	SourceRuntime       = "runtime.process"
	SourceRuntimeFile   = "runtime.configFile"
	SourceVersion       = "runtime.version"
	SourceStatus        = "runtime.status"
	SourceRuntimeConfig = "runtime.runtimeConfig"
	SourceSandboxes     = "runtime.sandboxes"
	SourceNetNS         = "runtime.netns" // the sandboxes' processes and network namespaces
	SourceContainers    = "runtime.containers"
	SourceImages        = "runtime.images"
	SourceRuntimeClock  = "runtime.clock" // never unknown: a node without a running container has no such clock
	SourceCNI           = "cni"
	SourceIPAM          = "cni.ipam"
	SourceRegistries    = "registries"
	SourceReach         = "registries.reach" // handshakes with registries from which a pull failed

	// SourceAPI and SourceKubelet are read through the API server, the others by the agent on the node.
	SourceAPI     = "api"
	SourceKubelet = "kubelet.configz"
	// SourceClusterCAs and SourcePullSecrets are parts of SourceAPI that many callers may not read.
	SourceClusterCAs  = "api.clusterCas"
	SourcePullSecrets = "api.pullSecrets"
)

// NodeSources are the sources that the agent reads.
var NodeSources = append(slices.Clone(undeclared[2:]), SourceNetNS, SourceIPAM, SourceReach, SourceRuntime, SourceFirewall, SourceAudit, SourceLimits)

// undeclared are the sources of observations that list none: they were written before observations did, by agents that looked
// at exactly these.
var undeclared = []string{
	SourceAPI, SourceKubelet,
	SourceHost, SourceUnits, SourceJournal, SourceKmsg, SourceProcesses, SourceCgroups, SourceMounts, SourceFilesystems, SourceFiles,
	SourceSwaps, SourceSecurity, SourceCerts, SourceNetwork, SourceKubeletAPI, SourceKubeletFile, SourceKubeconfig, SourceSockets,
	SourceRuntimeFile, SourceVersion, SourceStatus, SourceRuntimeConfig, SourceSandboxes, SourceContainers, SourceImages,
	SourceRuntimeClock, SourceCNI, SourceRegistries,
}

// parts are sources that were read with others before they had names of their own.
var parts = map[string]string{SourceNetNS: SourceSandboxes, SourceIPAM: SourceCNI, SourceReach: SourceRegistries, SourceFirewall: SourceNetwork}

// Looked tells whether whoever wrote this observation looks at a source at all. An agent that is older than a source does not:
// the source's fields are zero then and say nothing.
func (o *Observation) Looked(source string) bool {
	if len(o.Sources) == 0 {
		return slices.Contains(undeclared, cmp.Or(parts[source], source))
	}
	return slices.Contains(o.Sources, source)
}

// Unreadable tells why a source says nothing in this observation: it could not be read, or was not looked at.
func (o *Observation) Unreadable(source string) (why string, yes bool) {
	for _, u := range o.Unknown {
		if u.What == source {
			return u.Why, true
		}
	}
	if !o.Looked(source) {
		return source + " was not looked at", true
	}
	return "", false
}
