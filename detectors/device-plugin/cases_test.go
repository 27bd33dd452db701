package deviceplugin_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	_ "github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "device-plugin", sick, silent) }

var sick = []detectorstest.Case{
	{Name: "device plugin gone", Want: []string{"device-plugin/plugin-down"}, Remedy: "/api/v1/namespaces/kube-system/pods/lamp-plugin-4x/eviction", Ill: detectorstest.PluginGone},
	{Name: "devices unhealthy", Want: []string{"device-plugin/device-unhealthy"}, Remedy: "/api/v1/namespaces/kube-system/pods/lamp-plugin-4x/eviction", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Devices(o, "2", "0")
		detectorstest.LampSocket(o, "ok")
		detectorstest.Log(o, "kubelet", `"Device plugin connected" resourceName="example.com/lamp"`, 5*time.Minute)
		detectorstest.Log(o, "kubelet", `"Processed device updates for resource" resourceName="example.com/lamp" totalCount=2 healthyCount=0`, time.Minute)
	}},
	{Name: "plugin refuses to allocate", Want: []string{"device-plugin/allocate-failed"}, Remedy: "lamp-plugin-4x", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Devices(o, "2", "2")
		detectorstest.LampSocket(o, "ok")
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "lamp-user", detectorstest.Waiting("ContainerCreating", "")))
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{detectorstest.Device: resource.MustParse("1")}
		p.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "UnexpectedAdmissionError", Message: "Pod was rejected: Allocate failed due to rpc error: code = Unknown desc = the lamp is broken, which is unexpected"}
		p.CreationTimestamp = detectorstest.MetaAgo(time.Minute)
	}},
	// https://github.com/NVIDIA/k8s-device-plugin/issues/1397
	{Name: "NVIDIA's plugin has lost its driver", Want: []string{"device-plugin/allocate-failed"}, Remedy: "nvidia-device-plugin-daemonset-q1", Never: []string{"kube-sriov", "virt-handler"}, Says: "error calling nvml.Init", Ill: func(o *v1alpha1.Observation) {
		o.API.Node.Status.Capacity["nvidia.com/gpu"], o.API.Node.Status.Allocatable["nvidia.com/gpu"] = resource.MustParse("4"), resource.MustParse("4")
		plugins(o)
		o.Sockets = []v1alpha1.PluginSocket{{Path: "/var/lib/kubelet/device-plugins/nvidia-gpu.sock", Kind: "device-plugin", Name: "nvidia-gpu", Answers: "ok"}}
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "train", detectorstest.Deployment("train"), detectorstest.Waiting("ContainerCreating", "")))
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}
		p.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "UnexpectedAdmissionError", Message: "Pod was rejected: Allocate failed due to device plugin GetPreferredAllocation rpc failed with err: rpc error: code = Unknown desc = error getting list of preferred allocation devices: unable to get device link information: error calling nvml.Init: Unknown Error, which is unexpected"}
		p.CreationTimestamp = detectorstest.MetaAgo(time.Minute)
	}},
	// https://github.com/NVIDIA/k8s-device-plugin/issues/231
	{Name: "a GPU fell off its bus", Want: []string{"device-plugin/allocate-failed"}, Remedy: "-", Manual: "reboot the machine", Ill: func(o *v1alpha1.Observation) {
		rejected(o, true, "device plugin GetPreferredAllocation rpc failed with err: rpc error: code = Unknown desc = Unable to retrieve list of available devices: error creating nvml.Device 3: nvml: GPU is lost")
	}},
	{Name: "NVIDIA's libraries are newer than the loaded driver", Want: []string{"device-plugin/allocate-failed"}, Remedy: "-", Says: "driver/library version mismatch", Ill: func(o *v1alpha1.Observation) {
		withheld(o, hook+"error running hook: exit status 1, stdout: , stderr: Auto-detected mode as 'legacy'\nnvidia-container-cli: initialization error: nvml error: driver/library version mismatch: unknown")
	}},
	{Name: "NVIDIA's libraries are not there", Want: []string{"device-plugin/allocate-failed"}, Remedy: "-", Says: "libnvidia-ml.so.1", Ill: func(o *v1alpha1.Observation) {
		withheld(o, hook+"exit status 1, stdout: , stderr: Auto-detected mode as 'legacy'\nnvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open shared object file: no such file or directory: unknown")
	}},
	{Name: "no CDI specification has the device", Want: []string{"device-plugin/allocate-failed"}, Remedy: "-", Says: "unresolvable CDI devices", Ill: func(o *v1alpha1.Observation) {
		withheld(o, `failed to generate container "ab" spec: failed to generate spec: CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=GPU-1`)
	}},
	{Name: "a device's file went after it was offered", Want: []string{"device-plugin/allocate-failed"}, Remedy: "-", Says: "/dev/lamp3", Ill: func(o *v1alpha1.Observation) {
		withheld(o, `failed to generate container "ab" spec: failed to generate spec: lstat /dev/lamp3: no such file or directory`)
	}},
	{Name: "device plugin forgotten by a kubelet that was restarted, and nobody remembers it", Want: []string{"device-plugin/plugin-down"}, Remedy: "/api/v1/namespaces/kube-system/pods/lamp-plugin-4x/eviction", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Devices(o, "0", "0")
		wantsLamp(o)
	}},
	{Name: "one of three device plugins gone", Want: []string{"device-plugin/plugin-down"}, Remedy: "lamp-plugin-4x", Never: []string{"nvidia-device-plugin-daemonset-q1", "virt-handler-z9"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.Devices(o, "2", "0")
		detectorstest.LampSocket(o, "refused")
		detectorstest.AddPod(o, detectorstest.Pod("gpu-operator", "nvidia-device-plugin-daemonset-q1", detectorstest.DaemonSet("nvidia-device-plugin-daemonset"), detectorstest.HostPath("/var/lib/kubelet/device-plugins")))
		detectorstest.AddPod(o, detectorstest.Pod("kubevirt", "virt-handler-z9", detectorstest.DaemonSet("virt-handler"), detectorstest.HostPath("/var/lib/kubelet/device-plugins")))
	}},
	{Name: "a device plugin uninstalled, the kubelet restarted, and a pod that is for this node", Want: []string{"device-plugin/plugin-down"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.API.Node.Status.Capacity[detectorstest.Device], o.API.Node.Status.Allocatable[detectorstest.Device] = resource.MustParse("0"), resource.MustParse("0")
		wantsLamp(o)
		o.API.Pending[0].Spec.NodeSelector = map[string]string{corev1.LabelHostname: o.Node}
	}},
	{Name: "the same, said by affinity", Want: []string{"device-plugin/plugin-down"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.API.Node.Status.Capacity[detectorstest.Device], o.API.Node.Status.Allocatable[detectorstest.Device] = resource.MustParse("0"), resource.MustParse("0")
		wantsLamp(o)
		o.API.Pending[0].Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
			{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{o.Node}}}}}}}}
	}},
	{Name: "NVIDIA's plugin gone, known by its vendor", Want: []string{"device-plugin/plugin-down"}, Remedy: "nvidia-device-plugin-daemonset-q1", Never: []string{"kube-sriov", "virt-handler"}, Ill: func(o *v1alpha1.Observation) {
		gone(o, "nvidia.com/gpu")
		plugins(o)
	}},
	{Name: "an SR-IOV pool gone, known by a word of its kind", Want: []string{"device-plugin/plugin-down"}, Remedy: "kube-sriov-device-plugin-r2", Never: []string{"nvidia", "virt-handler"}, Ill: func(o *v1alpha1.Observation) {
		gone(o, "intel.com/sriov_netdevice")
		plugins(o)
	}},
	{Name: "KVM gone, known by its namespace", Want: []string{"device-plugin/plugin-down"}, Remedy: "virt-handler-z9", Never: []string{"nvidia", "kube-sriov"}, Ill: func(o *v1alpha1.Observation) {
		gone(o, "devices.kubevirt.io/kvm")
		plugins(o)
	}},
	{Name: "a plugin gone that is told its resource", Want: []string{"device-plugin/plugin-down"}, Remedy: "anything-x2", Never: []string{"serial-exporter"}, Ill: func(o *v1alpha1.Observation) {
		gone(o, "squat.ai/serial")
		for _, p := range []string{"anything-x2", "serial-exporter-b7"} {
			detectorstest.AddPod(o, detectorstest.Pod("kube-system", p, detectorstest.DaemonSet(p[:len(p)-3]), detectorstest.HostPath("/var/lib/kubelet/device-plugins"),
				detectorstest.With(func(c *corev1.Container) {
					c.Args = []string{"--resource=" + map[bool]string{true: "squat.ai/serial"}[p == "anything-x2"]}
				})))
		}
	}},
	{Name: "two pods that may be the plugin", Want: []string{"device-plugin/plugin-down"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		gone(o, "nvidia.com/gpu")
		plugins(o)
		detectorstest.AddPod(o, detectorstest.Pod("gpu-operator", "nvidia-kubevirt-device-plugin-c3", detectorstest.DaemonSet("nvidia-kubevirt-device-plugin"), detectorstest.HostPath("/var/lib/kubelet/device-plugins")))
	}},
	{Name: "a plugin gone that no pod is known to be", Want: []string{"device-plugin/plugin-down"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		gone(o, "xilinx.com/fpga-u30")
		plugins(o)
	}},
	{Name: "SR-IOV's plugin gone beside another vendor's", Want: []string{"device-plugin/plugin-down"}, Never: []string{"nvidia"}, Ill: func(o *v1alpha1.Observation) {
		for name, n := range map[corev1.ResourceName]string{"intel.com/sriov_netdevice": "0", "nvidia.com/gpu": "4"} {
			o.API.Node.Status.Capacity[name], o.API.Node.Status.Allocatable[name] = resource.MustParse("4"), resource.MustParse(n)
		}
		detectorstest.AddPod(o, detectorstest.Pod("kube-system", "nvidia-device-plugin-9x", detectorstest.DaemonSet("nvidia-device-plugin"), detectorstest.HostPath("/var/lib/kubelet/device-plugins")))
		detectorstest.AddPod(o, detectorstest.Pod("kube-system", "sriov-device-plugin-4k", detectorstest.DaemonSet("sriov-device-plugin"), detectorstest.HostPath("/var/lib/kubelet/device-plugins")))
		o.Sockets = append(o.Sockets, v1alpha1.PluginSocket{Path: "/var/lib/kubelet/device-plugins/nvidia-gpu.sock", Kind: "device-plugin", Name: "nvidia-gpu", Answers: "ok"},
			v1alpha1.PluginSocket{Path: "/var/lib/kubelet/device-plugins/intel.com_sriov_netdevice.sock", Kind: "device-plugin", Name: "intel.com_sriov_netdevice", Answers: "refused"})
		detectorstest.Log(o, "kubelet", `"ListAndWatch ended unexpectedly for device plugin" err="rpc error: code = Unavailable desc = error reading from server: EOF" resource="intel.com/sriov_netdevice"`, time.Minute)
	}},
	{Name: "a plugin died when it was to allocate, and its socket refuses", Want: []string{"device-plugin/plugin-down"}, Remedy: "lamp-plugin-4x", Says: "did not answer when a device was to be allocated", Ill: func(o *v1alpha1.Observation) {
		rejected(o, true, "rpc error: code = Unavailable desc = error reading from server: EOF")
		o.Sockets[len(o.Sockets)-1].Answers = "refused"
	}},
	{Name: "a plugin was gone when it was to allocate, and its devices are", Want: []string{"device-plugin/plugin-down"}, Remedy: "/pods/train/eviction", Ill: func(o *v1alpha1.Observation) {
		rejected(o, true, `rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix /var/lib/kubelet/device-plugins/lamp.sock: connect: connection refused"`)
		o.API.Node.Status.Allocatable[detectorstest.Device] = resource.MustParse("0")
		o.Sockets[len(o.Sockets)-1].Answers = "refused"
	}},
	{Name: "a plugin whose endpoint the kubelet had stopped", Want: []string{"device-plugin/plugin-down"}, Remedy: "lamp-plugin-4x", Ill: func(o *v1alpha1.Observation) {
		rejected(o, true, "endpoint &{{{} [] } /var/lib/kubelet/device-plugins/lamp.sock} has been stopped")
		detectorstest.Log(o, "kubelet", `"ListAndWatch ended unexpectedly for device plugin" err="rpc error: code = Unavailable desc = error reading from server: EOF" resource="example.com/lamp"`, 30*time.Second)
	}},
	{Name: "a plugin that hangs at Allocate, and answers nobody", Want: []string{"device-plugin/plugin-down"}, Remedy: "lamp-plugin-4x", Ill: func(o *v1alpha1.Observation) {
		rejected(o, true, "rpc error: code = DeadlineExceeded desc = context deadline exceeded")
		o.Sockets[len(o.Sockets)-1].Answers = "timeout"
	}},
	{Name: "a plugin that fails before a container starts", Want: []string{"device-plugin/allocate-failed"}, Remedy: "-", Says: "code = Unknown desc = reset of the lamp failed", Manual: "its own log", Ill: func(o *v1alpha1.Observation) {
		withheld(o, "device plugin PreStartContainer rpc failed with err: rpc error: code = Unknown desc = reset of the lamp failed")
	}},
	{Name: "a plugin died when it was to allocate, and serves again", Want: []string{"device-plugin/allocate-failed"}, Remedy: "train", Never: []string{"lamp-plugin-4x"}, Says: "ended when it was to allocate", Ill: func(o *v1alpha1.Observation) {
		rejected(o, true, "device plugin GetPreferredAllocation rpc failed with err: rpc error: code = Unavailable desc = error reading from server: EOF")
		detectorstest.Log(o, "kubelet", `"Got registration request from device plugin with resource" resourceName="example.com/lamp"`, 30*time.Second)
	}},
	{Name: "GPUs gone, MIG slices there, and nobody saw which came first", Once: true, Want: []string{"device-plugin/plugin-down"}, Likely: true, Remedy: "-", Manual: "ask for those", Ill: asSlices},
}

var silent = []detectorstest.Case{
	{Name: "all devices in use", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Devices(o, "2", "2")
		detectorstest.LampSocket(o, "ok")
		p := detectorstest.Pod("default", "wants-lamp")
		p.Spec.NodeName, p.Status = "", corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/2 nodes are available: 2 Insufficient example.com/lamp."}}}
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{detectorstest.Device: resource.MustParse("1")}
		o.API.Pending = []corev1.Pod{*p}
	}},
	// https://github.com/kubernetes/kubernetes/issues/92436, 125579 and 120733: the kubelet's managers admit pods as well.
	{Name: "the CPU manager has no CPUs for a pod", Ill: func(o *v1alpha1.Observation) {
		rejected(o, false, "not enough cpus available to satisfy request: requested=4, available=3")
	}},
	{Name: "the CPU manager has no CPUs for a pod that asks for a device as well", Ill: func(o *v1alpha1.Observation) {
		rejected(o, true, "not enough cpus available to satisfy request: requested=4, available=3")
	}},
	{Name: "the memory manager has no NUMA nodes for a pod", Ill: func(o *v1alpha1.Observation) {
		rejected(o, false, "[memorymanager] failed to find NUMA nodes to extend the current topology hint")
	}},
	{Name: "a pod that came back from a reboot before its plugin did", Ill: func(o *v1alpha1.Observation) {
		rejected(o, true, "no healthy devices present; cannot allocate unhealthy devices example.com/lamp")
	}},
	{Name: "an image that asks for a newer driver", Ill: func(o *v1alpha1.Observation) {
		withheld(o, hook+"exit status 1, stdout: , stderr: Auto-detected mode as 'legacy'\nnvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update your driver to a newer version, or use an earlier cuda container: unknown")
	}},
	{Name: "a pod pending for want of CPU", Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.Pod("default", "big")
		p.Spec.NodeName, p.Status = "", corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/2 nodes are available: 2 Insufficient cpu."}}}
		o.API.Pending = []corev1.Pod{*p}
	}},
	{Name: "a device plugin that was taken off this node, while others look for one", Ill: func(o *v1alpha1.Observation) {
		o.API.Node.Status.Capacity[detectorstest.Device], o.API.Node.Status.Allocatable[detectorstest.Device] = resource.MustParse("0"), resource.MustParse("0")
		wantsLamp(o)
	}},
	// Another strategy or MIG profile: the plugin gives up one resource and offers another.
	{Name: "GPUs offered as MIG slices", Ill: func(o *v1alpha1.Observation) {
		asSlices(o)
		detectorstest.Log(o, "kubelet", `"Got registration request from device plugin with resource" resourceName="nvidia.com/mig-1g.10gb"`, 50*time.Second)
	}},
	{Name: "a device plugin without devices that nobody wants", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Devices(o, "0", "0")
		detectorstest.LampSocket(o, "ok")
	}},
	{Name: "huge pages and a resource of an operator that nobody offers", Ill: func(o *v1alpha1.Observation) {
		o.API.Node.Status.Capacity["hugepages-2Mi"], o.API.Node.Status.Allocatable["hugepages-2Mi"] = resource.MustParse("1Gi"), resource.MustParse("0")
		o.API.Node.Status.Capacity["devices.example.net/left-over"], o.API.Node.Status.Allocatable["devices.example.net/left-over"] = resource.MustParse("0"), resource.MustParse("0")
	}},
}

// hook is what containerd and runc put before the words of a hook.
const hook = `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error running prestart hook #0: `

// withheld has a pod that was given a device start with an error.
func withheld(o *v1alpha1.Observation, message string) {
	detectorstest.Devices(o, "2", "2")
	detectorstest.LampSocket(o, "ok")
	detectorstest.AddPod(o, detectorstest.Pod("default", "train", detectorstest.Deployment("train"), detectorstest.Crashing("StartError", 128, 4, 0), detectorstest.With(func(c *corev1.Container) {
		c.Resources.Limits = corev1.ResourceList{detectorstest.Device: resource.MustParse("1")}
	})))
	detectorstest.Event(o, "default", "train", "Failed", "Error: "+message, 20*time.Second, 5)
}

// rejected adds a pod that the kubelet turned away, whether it asks for a device or not.
func rejected(o *v1alpha1.Observation, asks bool, why string) {
	detectorstest.Devices(o, "2", "2")
	detectorstest.LampSocket(o, "ok")
	p := detectorstest.AddPod(o, detectorstest.Pod("default", "train", detectorstest.Deployment("train"), detectorstest.Waiting("ContainerCreating", "")))
	if asks {
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{detectorstest.Device: resource.MustParse("1")}
	}
	p.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "UnexpectedAdmissionError", Message: "Pod was rejected: Allocate failed due to " + why + ", which is unexpected"}
	p.CreationTimestamp = detectorstest.MetaAgo(time.Minute)
}

// wantsLamp adds a pod that no node has a device for.
func wantsLamp(o *v1alpha1.Observation) {
	p := detectorstest.Pod("default", "lamp-user")
	p.Spec.NodeName = ""
	p.Spec.Containers = []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{detectorstest.Device: resource.MustParse("1")}}}}
	p.Status = corev1.PodStatus{Phase: corev1.PodPending}
	o.API.Pending = append(o.API.Pending, *p)
}

// gone has a resource's plugin end, and its socket stay.
func gone(o *v1alpha1.Observation, name corev1.ResourceName) {
	o.API.Node.Status.Capacity[name], o.API.Node.Status.Allocatable[name] = resource.MustParse("2"), resource.MustParse("0")
	detectorstest.Log(o, "kubelet", `"ListAndWatch ended unexpectedly for device plugin" err="EOF" resource="`+string(name)+`"`, time.Minute)
	o.Sockets = append(o.Sockets, v1alpha1.PluginSocket{Path: "/var/lib/kubelet/device-plugins/x.sock", Kind: "device-plugin", Name: "x", Answers: "refused"})
}

// asSlices is a node whose GPUs are offered as MIG slices.
func asSlices(o *v1alpha1.Observation) {
	gone(o, "nvidia.com/gpu")
	plugins(o)
	o.API.Node.Status.Capacity["nvidia.com/mig-1g.10gb"], o.API.Node.Status.Allocatable["nvidia.com/mig-1g.10gb"] = resource.MustParse("7"), resource.MustParse("7")
	o.Sockets = []v1alpha1.PluginSocket{{Path: "/var/lib/kubelet/device-plugins/nvidia-mig.sock", Kind: "device-plugin", Name: "nvidia-mig", Answers: "ok"}}
}

// plugins adds the device plugins of NVIDIA, SR-IOV and KubeVirt.
func plugins(o *v1alpha1.Observation) {
	for _, p := range [][2]string{{"gpu-operator", "nvidia-device-plugin-daemonset-q1"}, {"kube-system", "kube-sriov-device-plugin-r2"}, {"kubevirt", "virt-handler-z9"}} {
		detectorstest.AddPod(o, detectorstest.Pod(p[0], p[1], detectorstest.DaemonSet(p[1][:len(p[1])-3]), detectorstest.HostPath("/var/lib/kubelet/device-plugins")))
	}
}
