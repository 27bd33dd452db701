package all_test

import (
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	_ "github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

// No failure in particular: no detector may speak.
func TestSilent(t *testing.T) { detectorstest.Run(t, "", nil, silent) }

var silent = []detectorstest.Case{
	{Name: "healthy", Ill: func(*v1alpha1.Observation) {}},
	{Name: "healthy on cgroup v2", Ill: func(o *v1alpha1.Observation) {
		o.Host.CgroupVersion = 2
		o.Kubelet.Config.FailCgroupV1, o.Kubelet.File.FailCgroupV1 = nil, nil
	}},
	{Name: "healthy, asked for by its address", Ill: func(o *v1alpha1.Observation) {
		o.Node = "10.0.0.7"
		o.API.Node, o.API.Lease, o.API.CSINode, o.API.Pods, o.API.Events = nil, nil, nil, nil, nil
	}},
	{Name: "healthy, without the API", Ill: func(o *v1alpha1.Observation) {
		o.API = nil
		o.Clocks.APIOffsetKnown = false
		detectorstest.Unknown(o, "no access to the API server was given", v1alpha1.SourceAPI)
	}},
	{Name: "the agent did not answer", Ill: func(o *v1alpha1.Observation) {
		api := o.API
		*o = v1alpha1.Observation{Node: o.Node, At: o.At, API: api}
		for _, s := range []string{"units", "journal", "kubelet.configz", "kubelet.healthz", "runtime.status", "runtime.sandboxes", "runtime.containers", "runtime.images", "filesystems", "processes", "cgroups", "certificates", "cni", "registries", "kmsg", "network"} {
			detectorstest.Unknown(o, "docker exec: no answer within 4s", s)
		}
	}},
	{Name: "a machine that hosts nodes as containers", Ill: func(o *v1alpha1.Observation) {
		// Seen by the agent beside them: their containers are in cgroups of theirs, and no runtime of this machine names a pod.
		o.API = nil
		o.Kubelet, o.Runtime = v1alpha1.Kubelet{}, v1alpha1.Runtime{}
		detectorstest.Unknown(o, "connection refused", v1alpha1.SourceAPI, v1alpha1.SourceKubelet, v1alpha1.SourceKubeletAPI, v1alpha1.SourceStatus, v1alpha1.SourceSandboxes, v1alpha1.SourceContainers)
		for i := range o.Containers {
			c := &o.Containers[i]
			c.Pod, c.Namespace, c.Name, c.UnderKubepods, c.CgroupPath = "", "", "", false, "/docker/4f5e6d/kubelet.slice/kubelet-kubepods.slice"
		}
	}},
}
