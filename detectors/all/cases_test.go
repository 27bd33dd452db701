package all_test

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
	"github.com/sickbay-dev/sickbay/internal/hypervisor"
)

// testCase is a node made ill, or made odd.
type testCase struct {
	name string
	ill  func(o *v1alpha1.Observation)
	// want are the findings, "failure/cause", in order; none for a case that must stay silent.
	want []string
	// remedy is what some step of the first finding's remedy must run; "-" when there must be no remedy, but the reason why.
	remedy string
	likely bool
	// baseline puts a healthy look before, and again the same look after it.
	baseline bool
}

var (
	ptr   = detectorstest.Ptr[bool]
	ago   = detectorstest.Ago
	event = detectorstest.Event
)

func full(f *v1alpha1.Filesystem, alien string) {
	f.BytesFree = 4 << 20
	own := "/io.containerd.content.v1.content"
	if f.Roles[0] == "nodefs" {
		own = "/pods"
	}
	f.TopUsers = []v1alpha1.PathUse{{Path: alien, Bytes: 290 << 20, Files: 1}, {Path: f.Path + own, Bytes: 120 << 20, Files: 200, Dir: true}}
}

func frozen(o *v1alpha1.Observation, f *v1alpha1.Filesystem) {
	f.Frozen = true
	o.Processes[0].BlockedD = []v1alpha1.Thread{{TID: 211, Name: "containerd", Wchan: "percpu_rwsem_wait"}, {TID: 214, Name: "containerd", Wchan: "percpu_rwsem_wait"}}
	detectorstest.Unknown(o, "ListContainers over unix:///run/containerd/containerd.sock gave no answer within 1.5 s", v1alpha1.SourceContainers)
	o.Runtime.Containers = nil
}

// wrongMachineClock is a machine whose clock went a quarter of an hour ahead, past the end of the kubelet's certificate. The control
// plane is on the same machine.
func wrongMachineClock(o *v1alpha1.Observation) {
	o.Clocks.RTCOffsetKnown, o.Clocks.RTCOffsetSeconds, o.Clocks.Synchronized = true, 900, false
	o.API.SameKernel = true
	o.Certs[1].NotAfter = ago(2 * time.Minute)
	detectorstest.KubeletLoops(o, noBootstrap)
}

const plegMessage = "PLEG is not healthy: pleg was last seen active 3m14.2s ago; threshold is 3m0s"

// overworked is a node with more runnable work than CPUs, whose runtime took that many ms for a call.
func overworked(o *v1alpha1.Observation, call int64) {
	o.Host.PSI.CPUSome, o.Host.LoadAverage1 = 97, 19
	o.Runtime.CallMS["ListContainers"] = call
}

func plegDisk(o *v1alpha1.Observation) {
	detectorstest.Thresholds(o, "imagefs.available", "15%", "nodefs.available", "5%")
	f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
	full(f, "/var/lib/containerd/fill")
	frozen(o, f)
	detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	detectorstest.Condition(o, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", plegMessage)
	detectorstest.AddPod(o, detectorstest.Pod("default", "late", detectorstest.Waiting("ContainerCreating", "")))
	event(o, "default", "late", "FailedCreatePodSandBox", "Failed to create pod sandbox: rpc error: code = DeadlineExceeded desc = context deadline exceeded", 20*time.Second, 3)
}

func cniDown(o *v1alpha1.Observation, load string) {
	o.Runtime.Conditions[1] = v1alpha1.Condition{Type: "NetworkReady", Reason: "NetworkPluginNotReady", Message: "Network plugin returns error: cni plugin not initialized"}
	o.Runtime.LastCNILoad = load
	detectorstest.Condition(o, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized")
}

const noConfig = "cni config load failed: no network config found in /etc/cni/net.d: cni plugin not initialized: failed to load cni config"

func sandboxFails(o *v1alpha1.Observation, message string, options ...detectorstest.PodOption) *corev1.Pod {
	p := detectorstest.AddPod(o, detectorstest.Pod("default", "new", append([]detectorstest.PodOption{detectorstest.Waiting("ContainerCreating", "")}, options...)...))
	event(o, "default", "new", "FailedCreatePodSandBox", "Failed to create pod sandbox: rpc error: code = Unknown desc = "+message, 8*time.Second, 7)
	detectorstest.Log(o, "kubelet", `"Error syncing pod, skipping" err="failed to \"CreatePodSandbox\" for ... CreatePodSandbox for pod failed: `+message+`" pod="default/new"`, 8*time.Second)
	return p
}

func silentKubelet(o *v1alpha1.Observation, line string) {
	o.API.Lease.Spec.RenewTime = &metav1.MicroTime{Time: ago(70 * time.Second)}
	detectorstest.Condition(o, corev1.NodeReady, corev1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status.")
	detectorstest.Log(o, "kubelet", line, 4*time.Second)
}

func pullFails(o *v1alpha1.Observation, image, message string, options ...detectorstest.PodOption) *corev1.Pod {
	p := detectorstest.AddPod(o, detectorstest.Pod("default", "web", append([]detectorstest.PodOption{
		detectorstest.With(func(c *corev1.Container) { c.Image = image }), detectorstest.Waiting("ImagePullBackOff", `Back-off pulling image "`+image+`"`)}, options...)...))
	event(o, "default", "web", "Failed", `Failed to pull image "`+image+`": rpc error: code = Unknown desc = failed to pull and unpack image "`+image+`": failed to resolve reference "`+image+`": `+message, 30*time.Second, 4)
	return p
}

const registry = "registry.example.test:5000"

func registryHost(reach string) v1alpha1.RegistryHost {
	return v1alpha1.RegistryHost{Host: registry, Path: "/etc/containerd/certs.d/" + registry + "/hosts.toml", Server: "https://" + registry,
		Mirrors: []v1alpha1.RegistryMirror{{URL: "https://" + registry, Reach: reach}}}
}

func liveness(port int, path string, changes ...func(*corev1.Probe)) detectorstest.PodOption {
	return detectorstest.With(func(c *corev1.Container) {
		c.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt(port)}}, TimeoutSeconds: 1, PeriodSeconds: 2, FailureThreshold: 1, SuccessThreshold: 1}
		c.Ports = []corev1.ContainerPort{{ContainerPort: 8080}}
		for _, f := range changes {
			f(c.LivenessProbe)
		}
	})
}

func probeKills(o *v1alpha1.Observation, message string, options ...detectorstest.PodOption) {
	detectorstest.AddPod(o, detectorstest.Pod("default", "shop", append(options, detectorstest.Crashing("Error", 137, 4, 3*time.Second))...))
	event(o, "default", "shop", "Unhealthy", "Liveness probe failed: "+message, 21*time.Second, 5)
	event(o, "default", "shop", "Killing", "Container c failed liveness probe, will be restarted", 20*time.Second, 5)
	event(o, "default", "shop", "BackOff", "Back-off restarting failed container c", 10*time.Second, 9)
}

func limits(cpu, memory string) detectorstest.PodOption {
	return detectorstest.With(func(c *corev1.Container) {
		c.Resources.Limits = corev1.ResourceList{}
		if cpu != "" {
			c.Resources.Limits[corev1.ResourceCPU] = resource.MustParse(cpu)
		}
		if memory != "" {
			c.Resources.Limits[corev1.ResourceMemory] = resource.MustParse(memory)
		}
	})
}

func localhostProfile(name string) detectorstest.PodOption {
	return func(p *corev1.Pod) {
		p.Spec.SecurityContext = &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: &name}}
	}
}

const device = "example.com/lamp"

func devices(o *v1alpha1.Observation, capacity, allocatable string) {
	o.API.Node.Status.Capacity[device] = resource.MustParse(capacity)
	o.API.Node.Status.Allocatable[device] = resource.MustParse(allocatable)
	detectorstest.AddPod(o, detectorstest.Pod("kube-system", "lamp-plugin-4x", detectorstest.DaemonSet("lamp-plugin"), detectorstest.HostPath("/var/lib/kubelet/device-plugins")))
}

func lampSocket(o *v1alpha1.Observation, answers string) {
	o.Sockets = append(o.Sockets, v1alpha1.PluginSocket{Path: "/var/lib/kubelet/device-plugins/lamp.sock", Kind: "device-plugin", Name: device, Answers: answers})
}

const driver = "csi.sickbay.dev"

func csiWaits(o *v1alpha1.Observation, registered bool, message string) {
	if registered {
		o.API.CSINode.Spec.Drivers = []storagev1.CSINodeDriver{{Name: driver, NodeID: o.Node}}
	}
	o.API.PVCs = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv-1"}}}
	o.API.PVs = []corev1.PersistentVolume{{ObjectMeta: metav1.ObjectMeta{Name: "pv-1"}, Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{
		CSI: &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: "vol-1", VolumeAttributes: map[string]string{"image": "/var/lib/sickbay-csi/vol-1.img"}}}}}}
	detectorstest.AddPod(o, detectorstest.Pod("kube-system", "csi-node-77", detectorstest.DaemonSet("csi-node"), detectorstest.HostPath("/var/lib/kubelet/plugins/"+driver), detectorstest.HostPath("/var/lib/kubelet/plugins_registry")))
	detectorstest.AddPod(o, detectorstest.Pod("default", "db", detectorstest.Waiting("ContainerCreating", ""), func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
	}))
	if message != "" {
		event(o, "default", "db", "FailedMount", message, 20*time.Second, 4)
	}
}

func csiSocket(o *v1alpha1.Observation, answers string) {
	o.Sockets = []v1alpha1.PluginSocket{{Path: "/var/lib/kubelet/plugins/" + driver + "/csi.sock", Kind: "csi", Name: driver, Answers: answers}}
}

// wantsLamp adds a pod that no node has a device for.
func wantsLamp(o *v1alpha1.Observation) {
	p := detectorstest.Pod("default", "lamp-user")
	p.Spec.NodeName = ""
	p.Spec.Containers = []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{device: resource.MustParse("1")}}}}
	p.Status = corev1.PodStatus{Phase: corev1.PodPending}
	o.API.Pending = append(o.API.Pending, *p)
}

func sandbox(o *v1alpha1.Observation, name string) *v1alpha1.Sandbox {
	for i := range o.Runtime.Sandboxes {
		if o.Runtime.Sandboxes[i].Name == name {
			return &o.Runtime.Sandboxes[i]
		}
	}
	return nil
}

func nodefsFull(o *v1alpha1.Observation) {
	detectorstest.Thresholds(o, "nodefs.available", "10%")
	full(detectorstest.LoopFilesystem(o, "/var/lib/kubelet", "nodefs"), "/var/lib/kubelet/fill")
	detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
}

func kubeletStopped(o *v1alpha1.Observation) {
	detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveState, u.SubState, u.MainPID = "inactive", "dead", 0 })
	o.Kubelet.Healthz, o.Kubelet.ConfigSource = "", ""
	silentKubelet(o, "Stopped kubelet.service")
}

func anotherCA(o *v1alpha1.Observation) {
	o.Kubelet.Kubeconfig.Reach, o.Kubelet.Kubeconfig.ServerCAMatches, o.Kubelet.Kubeconfig.CASHA256 = "tls-untrusted", false, "bb22"
	silentKubelet(o, `"Unable to register node with API server" err="tls: failed to verify certificate: x509: certificate signed by unknown authority"`)
}

func signedByNobody(o *v1alpha1.Observation) {
	o.Registries = []v1alpha1.RegistryHost{registryHost("tls-untrusted")}
	pullFails(o, registry+"/team/web:1", `failed to do request: Head "https://`+registry+`/v2/team/web/manifests/1": tls: failed to verify certificate: x509: certificate signed by unknown authority`)
}

func runtimeStopped(o *v1alpha1.Observation) {
	detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.ActiveState, u.SubState, u.MainPID = "inactive", "dead", 0 })
	o.Processes = o.Processes[1:]
	detectorstest.RuntimeSilent(o)
	detectorstest.Condition(o, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", "container runtime is down")
}

func runtimeThrottled(o *v1alpha1.Observation) {
	o.Processes[0].CPUQuota = v1alpha1.CPUUsage{QuotaMilli: 10, NrPeriods: 600, NrThrottled: 580, ThrottledUsec: 55_000_000}
	o.Runtime.CallMS["ListContainers"] = 4200
	detectorstest.Condition(o, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", plegMessage)
}

func pluginGone(o *v1alpha1.Observation) {
	devices(o, "2", "0")
	lampSocket(o, "refused")
	detectorstest.Log(o, "kubelet", `"ListAndWatch ended unexpectedly for device plugin" err="EOF" resource="example.com/lamp"`, time.Minute)
}

// impatient is the pod shop, whose liveness probe allows it one second.
func impatient(o *v1alpha1.Observation, options ...detectorstest.PodOption) {
	probeKills(o, `Get "http://10.244.1.9:8080/healthz": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`,
		append([]detectorstest.PodOption{liveness(8080, "/healthz"), detectorstest.Deployment("shop")}, options...)...)
}

// throttled has the last container stand still for its CPU limit.
func throttled(o *v1alpha1.Observation) {
	o.Containers[len(o.Containers)-1].CPU = v1alpha1.CPUUsage{QuotaMilli: 50, NrPeriods: 900, NrThrottled: 895, ThrottledUsec: 85_000_000}
}

var byExec = liveness(0, "", func(p *corev1.Probe) {
	p.ProbeHandler = corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/grpc_health_probe"}}}
})

const (
	noBootstrap  = "failed to run Kubelet: unable to load bootstrap kubeconfig: stat /etc/kubernetes/bootstrap-kubelet.conf: no such file or directory"
	swapRefused  = "failed to run Kubelet: running with swap on is not supported, please disable swap or set --fail-swap-on flag to false"
	notInTheList = `MountVolume.MountDevice failed for volume "pv-1" : kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: driver name csi.sickbay.dev not found in the list of registered CSI drivers`
)

var sick = []testCase{
	// 4 pleg
	{name: "containerd stopped by SIGSTOP", want: []string{"pleg/runtime-hung"}, remedy: `kill -CONT`, ill: func(o *v1alpha1.Observation) {
		o.Processes[0].State = "T"
		detectorstest.RuntimeSilent(o)
		detectorstest.Log(o, "kubelet", `"Skipping pod synchronization" err="container runtime is down"`, 3*time.Second)
		detectorstest.Condition(o, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", "container runtime is down, PLEG is not healthy: pleg was last seen active 3m5s ago; threshold is 3m0s")
	}},
	{name: "containerd's cgroup frozen", want: []string{"pleg/runtime-hung"}, remedy: "freezer.state", ill: func(o *v1alpha1.Observation) {
		o.Processes[0].FrozenCgroup = true
		detectorstest.RuntimeSilent(o)
	}},
	{name: "containerd deadlocked, seen twice", want: []string{"pleg/runtime-hung"}, remedy: "systemctl restart containerd.service", likely: true, baseline: true, ill: detectorstest.RuntimeSilent},
	{name: "containerd stopped by its unit", want: []string{"pleg/runtime-hung"}, remedy: "systemctl start containerd.service", ill: runtimeStopped},
	{name: "containerd's configuration cut off, at its first start with it", want: []string{"pleg/runtime-hung"}, remedy: ":/etc/containerd/config.toml", ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.ActiveState, u.SubState, u.MainPID = "activating", "start", 0 })
		detectorstest.RuntimeSilent(o)
		o.Runtime.ConfigFile.Error = "/etc/containerd/config.toml: toml: expected character ]"
	}},
	{name: "containerd's socket deleted, and a kubelet that starts", want: []string{"pleg/runtime-hung"}, remedy: "systemctl restart containerd.service", ill: func(o *v1alpha1.Observation) {
		const why = `dial unix /run/containerd/containerd.sock: connect: no such file or directory`
		o.Runtime = v1alpha1.Runtime{Endpoint: o.Runtime.Endpoint, ConfigFile: o.Runtime.ConfigFile}
		detectorstest.Unknown(o, "CRI Status over unix:///run/containerd/containerd.sock: connection error: desc = "+why, v1alpha1.SourceStatus)
		detectorstest.KubeletLoops(o, `failed to run Kubelet: validate service connection: validate CRI v1 runtime API for endpoint: rpc error: `+why)
	}},
	{name: "runtime's filesystem frozen", want: []string{"pleg/runtime-io-stall"}, remedy: "fsfreeze --unfreeze /var/lib/containerd", ill: func(o *v1alpha1.Observation) {
		frozen(o, detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs"))
		detectorstest.Condition(o, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", plegMessage)
	}},
	{name: "runtime's disk does not answer", want: []string{"pleg/runtime-io-stall"}, remedy: "-", likely: true, baseline: true, ill: func(o *v1alpha1.Observation) {
		o.Processes[0].BlockedD = []v1alpha1.Thread{{TID: 211, Wchan: "jbd2_log_wait_commit"}}
		detectorstest.Unknown(o, "ListContainers gave no answer within 1.5 s", v1alpha1.SourceContainers)
	}},
	{name: "runtime throttled", want: []string{"pleg/runtime-overloaded"}, remedy: "cfs_quota_us", ill: runtimeThrottled},
	{name: "runtime throttled, between two late calls", want: []string{"pleg/runtime-overloaded"}, remedy: "cfs_quota_us", ill: func(o *v1alpha1.Observation) {
		o.Processes[0].CPUQuota = v1alpha1.CPUUsage{QuotaMilli: 10, NrPeriods: 90, NrThrottled: 82, ThrottledUsec: 8_000_000}
		o.Runtime.CallMS["ListContainers"] = 600
	}},
	{name: "more work than CPUs", want: []string{"pleg/runtime-overloaded"}, likely: true, remedy: "-", ill: func(o *v1alpha1.Observation) { overworked(o, 2760) }},
	{name: "more work than emulated CPUs", want: []string{"pleg/runtime-overloaded"}, likely: true, remedy: "-", ill: func(o *v1alpha1.Observation) {
		overworked(o, 12_000)
		o.Host.Machine = hypervisor.TCG
	}},
	// 11.3
	{name: "pleg-disk", want: []string{"pleg/runtime-io-stall", "disk-pressure/imagefs-full"}, remedy: "fsfreeze", ill: plegDisk},
	{name: "pleg-disk with a baseline", want: []string{"pleg/runtime-io-stall", "disk-pressure/imagefs-full"}, remedy: "fsfreeze", baseline: true, ill: plegDisk},
	// 10 disk-pressure
	{name: "nodefs full", want: []string{"disk-pressure/nodefs-full"}, remedy: "rm -f -- /var/lib/kubelet/fill", ill: nodefsFull},
	{name: "nodefs full, thresholds off", want: []string{"disk-pressure/nodefs-full"}, remedy: "rm -f -- /var/lib/kubelet/fill", ill: func(o *v1alpha1.Observation) {
		full(detectorstest.LoopFilesystem(o, "/var/lib/kubelet", "nodefs"), "/var/lib/kubelet/fill")
		o.Filesystems[0].BytesFree = 0
	}},
	{name: "imagefs full", want: []string{"disk-pressure/imagefs-full"}, remedy: "rm -f -- /var/lib/containerd/backup.tar", ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "imagefs.available", "15%")
		full(detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs"), "/var/lib/containerd/backup.tar")
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
		sandboxFails(o, "failed to create prepare snapshot dir: mkdir: no space left on device")
	}},
	{name: "imagefs full of images", want: []string{"disk-pressure/imagefs-full"}, remedy: "images prune", ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "imagefs.available", "15%")
		f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
		full(f, "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs")
	}},
	{name: "inodes of imagefs used up under a threshold", want: []string{"disk-pressure/inodes-exhausted"}, remedy: "rm -rf --one-file-system -- /var/lib/containerd/tiny", ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "imagefs.inodesFree", "5%")
		f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
		f.InodesFree = 3
		f.TopUsers = []v1alpha1.PathUse{{Path: "/var/lib/containerd/tiny", Bytes: 4096, Files: 29000, Dir: true}}
	}},
	{name: "threshold beyond the disk", want: []string{"disk-pressure/threshold-misconfigured"}, remedy: "nodefs", ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "nodefs.available", "95%")
		f := detectorstest.LoopFilesystem(o, "/var/lib/kubelet", "nodefs")
		f.BytesFree = 300 << 20
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	}},
	{name: "threshold beyond a disk in use", want: []string{"disk-pressure/threshold-misconfigured"}, remedy: "nodefs", ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "nodefs.available", "99%")
		f := detectorstest.LoopFilesystem(o, "/var/lib/kubelet", "nodefs")
		f.BytesFree = f.Bytes / 8 // little, and more than the kubelet asks for by default
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	}},
	{name: "threshold beyond a disk that is full all the same", want: []string{"disk-pressure/nodefs-full"}, remedy: "rm -f -- /var/lib/kubelet/fill", ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "nodefs.available", "99%")
		f := detectorstest.LoopFilesystem(o, "/var/lib/kubelet", "nodefs")
		full(f, "/var/lib/kubelet/fill")
		f.BytesFree = f.Bytes / 20
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	}},
	{name: "the runtime's binary cannot be executed, seen while the next try is prepared", want: []string{"pleg/runtime-hung"}, remedy: "/usr/local/bin/containerd", ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) {
			u.ActiveState, u.SubState, u.Result, u.ExecMainStatus, u.NRestarts, u.MainPID = "activating", "start-pre", "success", 0, 1, 0
		})
		detectorstest.Log(o, "containerd", "containerd.service: Main process exited, code=exited, status=203/EXEC", 2*time.Second)
		o.Runtime = v1alpha1.Runtime{Endpoint: o.Runtime.Endpoint, ConfigFile: o.Runtime.ConfigFile}
		detectorstest.Unknown(o, "CRI Status over unix:///run/containerd/containerd.sock: dial unix /run/containerd/containerd.sock: connect: no such file or directory", v1alpha1.SourceStatus)
	}},
	// 9 cni
	{name: "conflist gone", want: []string{"cni/conflist-missing"}, remedy: "/api/v1/namespaces/kube-system/pods/kindnet-x7k2p/eviction", ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = nil
		cniDown(o, noConfig)
	}},
	{name: "conflist moved in unnoticed", want: []string{"cni/conflist-missing"}, remedy: "systemctl restart containerd.service", ill: func(o *v1alpha1.Observation) {
		cniDown(o, noConfig)
	}},
	{name: "conflist gone, no API", want: []string{"cni/conflist-missing"}, remedy: "-", ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = nil
		cniDown(o, noConfig)
		o.API = nil
		detectorstest.Unknown(o, "no access to the API server was given", v1alpha1.SourceAPI)
	}},
	{name: "conflist damaged", want: []string{"cni/conflist-invalid"}, remedy: "mv -T --backup=numbered -- /etc/cni/net.d/10-kindnet.conflist", ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs[0].Error, o.CNI.Configs[0].Used = "unexpected end of JSON input", false
		cniDown(o, "cni config load failed: failed to load CNI config list file /etc/cni/net.d/10-kindnet.conflist: error parsing configuration list: unexpected end of JSON input: invalid cni config: failed to load cni config")
	}},
	{name: "a broken file sorts first", want: []string{"cni/conflist-invalid"}, remedy: "mv -T --backup=numbered -- /etc/cni/net.d/00-x.conflist", ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = append([]v1alpha1.CNIConfig{{Path: "/etc/cni/net.d/00-x.conflist", Error: "no plugins"}}, o.CNI.Configs...)
		cniDown(o, "cni config load failed: CNI config list in config file /etc/cni/net.d/00-x.conflist has no networks, skipping: invalid cni config: failed to load cni config")
	}},
	{name: "a foreign conflist sorts first and names a plugin that is not there", want: []string{"cni/conflist-invalid"}, remedy: "mv -T --backup=numbered -- /etc/cni/net.d/00-old.conflist", ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs[0].Used = false
		o.CNI.Configs = append([]v1alpha1.CNIConfig{{Path: "/etc/cni/net.d/00-old.conflist", Plugins: []string{"weave"}, Used: true}}, o.CNI.Configs...)
		sandboxFails(o, `failed to setup network for sandbox "x": plugin type="weave" failed (add): failed to find plugin "weave" in path [/opt/cni/bin]`)
	}},
	{name: "plugin binary gone", want: []string{"cni/plugin-binary-missing"}, remedy: ":/opt/cni/bin/ptp", ill: func(o *v1alpha1.Observation) {
		o.CNI.Binaries = []string{"host-local", "loopback", "portmap"}
		sandboxFails(o, `failed to setup network for sandbox "x": plugin type="ptp" failed (add): failed to find plugin "ptp" in path [/opt/cni/bin]`)
	}},
	{name: "addresses leaked", want: []string{"cni/ipam-exhausted"}, remedy: "ctr -n k8s.io containers ls", ill: func(o *v1alpha1.Observation) {
		o.CNI.IPAM[0].Reserved, o.CNI.IPAM[0].Orphans = 254, 251
		sandboxFails(o, `failed to setup network for sandbox "x": plugin type="ptp" failed (add): failed to allocate for range 0: no IP addresses available in range set: 10.244.1.1-10.244.1.254`)
	}},
	{name: "more pods than addresses", want: []string{"cni/ipam-exhausted"}, remedy: "-", ill: func(o *v1alpha1.Observation) {
		o.CNI.IPAM[0].Reserved, o.CNI.IPAM[0].Orphans = 254, 0
		sandboxFails(o, `failed to setup network for sandbox "x": plugin type="ptp" failed (add): failed to allocate for range 0: no IP addresses available in range set: 10.244.1.1-10.244.1.254`)
	}},
	{name: "bridged traffic bypasses iptables", want: []string{"cni/bridge-netfilter-off"}, remedy: "sysctl -w net.bridge.bridge-nf-call-iptables=1", ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs[0].Plugins = []string{"bridge", "host-local", "portmap"}
		o.CNI.Binaries = append(o.CNI.Binaries, "bridge")
		o.Network.BridgeNFCallIPTables = "0"
	}},
	// 13 swap
	{name: "swap on", want: []string{"swap/swap-on"}, remedy: "swapoff /var/lib/sickbay-swapfile", ill: func(o *v1alpha1.Observation) {
		o.Swaps = []v1alpha1.Swap{{Path: "/var/lib/sickbay-swapfile", Type: "file", SizeBytes: 16 << 20, InFstab: true}}
		o.Kubelet.File.FailSwapOn = ptr(true)
		detectorstest.KubeletLoops(o, swapRefused)
	}},
	{name: "swap shown to the kubelet by a mount", want: []string{"swap/swap-on"}, remedy: "umount /proc/swaps", ill: func(o *v1alpha1.Observation) {
		o.Mounts = append(o.Mounts, v1alpha1.Mount{Target: "/proc/swaps", Root: "/var/lib/x/swaps"})
		o.Swaps = []v1alpha1.Swap{{Path: "/swap.img", Type: "file", SizeBytes: 16 << 20}}
		o.Kubelet.File.FailSwapOn = ptr(true)
		detectorstest.KubeletLoops(o, swapRefused)
	}},
	{name: "swap shown to the kubelet by its unit", want: []string{"swap/swap-on"}, remedy: "90-swap.conf", ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) {
			u.DropIns = []string{"/etc/systemd/system/kubelet.service.d/10-kubeadm.conf", "/etc/systemd/system/kubelet.service.d/90-swap.conf"}
		})
		o.Kubelet.File.FailSwapOn = ptr(true)
		detectorstest.KubeletLoops(o, swapRefused)
	}},
	// 6 node-notready
	{name: "kubeconfig gone", want: []string{"node-notready/kubeconfig-broken"}, remedy: "set-cluster default-cluster", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{Path: "/etc/kubernetes/kubelet.conf"}
		detectorstest.KubeletLoops(o, noBootstrap)
	}},
	{name: "kubeconfig damaged", want: []string{"node-notready/kubeconfig-broken"}, remedy: "apiServerEndpoint", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{Path: "/etc/kubernetes/kubelet.conf", Exists: true, Error: "yaml: line 3: could not find expected ':'"}
		detectorstest.KubeletLoops(o, noBootstrap)
	}},
	{name: "kubeconfig names another server", want: []string{"node-notready/kubeconfig-broken"}, remedy: "set-cluster", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Server, o.Kubelet.Kubeconfig.Reach = "https://172.18.0.99:6443", "timeout"
		silentKubelet(o, `"Failed to update lease" err="dial tcp 172.18.0.99:6443: i/o timeout"`)
	}},
	{name: "API server rejected by a rule", want: []string{"node-notready/apiserver-unreachable"}, remedy: "iptables -t filter -D OUTPUT -d 172.18.0.2/32 -p tcp -m tcp --dport 6443 -j REJECT", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Reach, o.Kubelet.Kubeconfig.ReachError = "refused", "dial tcp 172.18.0.2:6443: connect: connection refused"
		o.Network.RejectRules = []string{"iptables -t filter -A OUTPUT -d 172.18.0.2/32 -p tcp -m tcp --dport 6443 -j REJECT"}
		silentKubelet(o, `"Failed to update lease" err="dial tcp 172.18.0.2:6443: connect: connection refused"`)
	}},
	{name: "API server dropped by nft", want: []string{"node-notready/apiserver-unreachable"}, remedy: "nft delete rule inet fw out handle 7", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Reach = "timeout"
		o.Network.RejectRules = []string{"nft inet fw out handle 7: ip daddr 172.18.0.2 tcp dport 6443 drop"}
		silentKubelet(o, `"Failed to update lease" err="i/o timeout"`)
	}},
	{name: "API server unreachable for no reason on the node", want: []string{"node-notready/apiserver-unreachable"}, remedy: "-", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Reach = "timeout"
		silentKubelet(o, `"Failed to update lease" err="i/o timeout"`)
	}},
	{name: "another CA in the kubeconfig", want: []string{"node-notready/apiserver-untrusted"}, remedy: "--certificate-authority=", ill: anotherCA},
	{name: "kubelet stopped", want: []string{"node-notready/kubelet-stopped"}, remedy: "systemctl start kubelet.service", ill: kubeletStopped},
	{name: "kubelet masked", want: []string{"node-notready/kubelet-stopped"}, remedy: "systemctl unmask kubelet.service", ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.LoadState, u.ActiveState, u.SubState = "masked", "inactive", "dead" })
		o.Kubelet.Healthz, o.Kubelet.ConfigSource = "", ""
	}},
	{name: "kubelet stopped by SIGSTOP", want: []string{"node-notready/kubelet-stopped"}, remedy: "kill -CONT", ill: func(o *v1alpha1.Observation) {
		o.Processes[1].State = "T"
		o.Kubelet.Healthz = ""
		silentKubelet(o, "x")
	}},
	{name: "kubelet does not know a flag", want: []string{"node-notready/kubelet-stopped"}, remedy: "--network-plugin", ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, "failed to parse kubelet flag: unknown flag: --network-plugin")
	}},
	{name: "kubelet config damaged", want: []string{"node-notready/kubelet-stopped"}, remedy: "kubeadm upgrade node phase kubelet-config", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.File, o.Kubelet.FileError = v1alpha1.KubeletConfig{}, "yaml: line 12: mapping values are not allowed in this context"
		detectorstest.KubeletLoops(o, "failed to load kubelet config file, path: /var/lib/kubelet/config.yaml, error: failed to decode")
	}},
	{name: "Node object deleted", want: []string{"node-notready/not-registered"}, remedy: "systemctl restart kubelet.service", ill: func(o *v1alpha1.Observation) {
		o.API.Node, o.API.Lease, o.API.Pods = nil, nil, nil
		detectorstest.Log(o, "kubelet", `"Error updating node status, will retry" err="error getting node \"lab-worker\": nodes \"lab-worker\" not found"`, 5*time.Second)
	}},
	{name: "Node object deleted, and the kubelet may not register", want: []string{"node-notready/not-registered"}, remedy: "registerNode", ill: func(o *v1alpha1.Observation) {
		o.API.Node, o.API.Lease, o.API.Pods = nil, nil, nil
		o.Kubelet.Config.RegisterNode = ptr(false)
	}},
	{name: "kubelet goes by another name", want: []string{"node-notready/not-registered"}, remedy: "--hostname-override", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Flags = append(o.Kubelet.Flags, "--hostname-override=template-01")
		silentKubelet(o, `"Unable to register node with API server" err="nodes \"template-01\" is forbidden: node \"lab-worker\" is not allowed to modify node \"template-01\"" node="template-01"`)
	}},
	{name: "the machine was renamed", want: []string{"node-notready/not-registered"}, remedy: "hostnamectl set-hostname lab-worker", ill: func(o *v1alpha1.Observation) {
		silentKubelet(o, `"Unable to register node with API server" err="nodes \"template-01\" is forbidden: node \"lab-worker\" is not allowed to modify node \"template-01\"" node="template-01"`)
	}},
	{name: "kubelet does not know a flag of a drop-in", want: []string{"node-notready/kubelet-stopped"}, remedy: "/etc/systemd/system/kubelet.service.d/90-more-pods.conf; do", ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) {
			u.DropIns = []string{"/etc/systemd/system/kubelet.service.d/90-more-pods.conf"}
		})
		detectorstest.KubeletLoops(o, "failed to parse kubelet flag: unknown flag: --max-podz")
	}},
	{name: "kubelet's unit not started for want of its configuration", want: []string{"node-notready/kubelet-stopped"}, remedy: "kubeadm upgrade node phase kubelet-config", ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveState, u.SubState, u.MainPID = "inactive", "dead", 0 })
		o.Kubelet.Healthz, o.Kubelet.ConfigSource = "", ""
		o.Kubelet.File, o.Kubelet.FileError = v1alpha1.KubeletConfig{}, "open /var/lib/kubelet/config.yaml: no such file or directory"
	}},
	{name: "kubelet's unit file gone", want: []string{"node-notready/kubelet-stopped"}, remedy: ":/etc/systemd/system/kubelet.service", ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) {
			u.LoadState, u.ActiveState, u.SubState, u.MainPID = "not-found", "inactive", "dead", 0
		})
		o.Kubelet.Healthz, o.Kubelet.ConfigSource = "", ""
	}},
	{name: "kubelet ends itself soon after its healthz said ok", want: []string{"node-notready/kubelet-stopped"}, remedy: "kubeadm upgrade node phase kubelet-config", ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveSince, u.NRestarts = ago(time.Second), 3 })
		detectorstest.Log(o, "kubelet", `"Failed to start ContainerManager" err="Failed to enforce System Reserved Cgroup Limits on \"/system-reserved\": [\"system-reserved\"] cgroup does not exist"`, 3*time.Second)
	}},
	{name: "kubelet's port taken", want: []string{"node-notready/kubelet-stopped"}, remedy: "-", ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, "x")
		o.Journal.Lines = nil
		detectorstest.Log(o, "kubelet", `"Failed to listen and serve" err="listen tcp 0.0.0.0:10250: bind: address already in use"`, 2*time.Second)
	}},
	{name: "kubelet's directory immutable", want: []string{"node-notready/kubelet-stopped"}, remedy: "chattr -i /var/lib/kubelet/device-plugins", ill: func(o *v1alpha1.Observation) {
		o.Files = append(o.Files, v1alpha1.File{Path: "/var/lib/kubelet/device-plugins", Exists: true, Mode: "drwxr-x---", Immutable: true})
		detectorstest.KubeletLoops(o, "x")
		o.Journal.Lines = nil
		detectorstest.Log(o, "kubelet", `"Failed to start ContainerManager" err="remove /var/lib/kubelet/device-plugins/kubelet.sock: operation not permitted"`, 2*time.Second)
	}},
	{name: "kubelet is told a socket that nobody serves", want: []string{"node-notready/kubelet-stopped"}, remedy: "kubeadm upgrade node phase kubelet-config", ill: func(o *v1alpha1.Observation) {
		detectorstest.RuntimeSilent(o)
		o.Unknown = nil
		o.Runtime.Endpoint = "unix:///run/containerd/containerd.socket"
		detectorstest.Unknown(o, "CRI Status over unix:///run/containerd/containerd.socket: connection error: desc = \"transport: Error while dialing: dial unix /run/containerd/containerd.socket: connect: no such file or directory\"", v1alpha1.SourceStatus)
		detectorstest.KubeletLoops(o, `failed to run Kubelet: validate service connection: validate CRI v1 runtime API for endpoint \"unix:///run/containerd/containerd.socket\": rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial unix /run/containerd/containerd.socket: connect: no such file or directory\"`)
	}},
	{name: "a line of /etc/hosts misleads", want: []string{"node-notready/apiserver-unreachable"}, remedy: "> /etc/hosts", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Reach, o.Kubelet.Kubeconfig.ReachError = "refused", "dial tcp 172.18.0.5:6443: connect: connection refused"
		o.Network.Hosts = []string{"172.18.0.4 lab-worker", "172.18.0.5 lab-control-plane"}
		silentKubelet(o, `"Unable to register node with API server" err="dial tcp 172.18.0.5:6443: connect: connection refused"`)
	}},
	{name: "no name server", want: []string{"node-notready/apiserver-unreachable"}, remedy: "-", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Reach, o.Kubelet.Kubeconfig.ReachError = "dns", "dial tcp: lookup lab-control-plane on 127.0.0.1:53: connection refused"
		silentKubelet(o, `"Unable to register node with API server" err="dial tcp: lookup lab-control-plane on 127.0.0.1:53: connection refused"`)
	}},
	{name: "kubeconfig names another server, a moment after the restart", want: []string{"node-notready/kubeconfig-broken"}, remedy: "set-cluster", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Server, o.Kubelet.Kubeconfig.Reach = "https://old-master:6443", "dns"
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveSince = ago(5 * time.Second) })
		detectorstest.Log(o, "kubelet", `"Unable to register node with API server" err="Post \"https://old-master:6443/api/v1/nodes\": dial tcp: lookup old-master on 172.18.0.1:53: no such host"`, 2*time.Second)
	}},
	{name: "kubelet goes by another name, a moment after its restart", want: []string{"node-notready/not-registered"}, remedy: "--hostname-override", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Flags = append(o.Kubelet.Flags, "--hostname-override=web-07")
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveSince = ago(5 * time.Second) })
		detectorstest.Log(o, "kubelet", `"Unable to register node with API server, error getting existing node" err="nodes \"web-07\" is forbidden: User \"system:node:lab-worker\" cannot get resource \"nodes\" in API group \"\" at the cluster scope: node: node 'lab-worker' cannot read 'web-07', only its own Node object" node="web-07"`, 2*time.Second)
	}},
	// 2 sandbox-create
	{name: "a folder in runc's place", want: []string{"sandbox-create/oci-runtime-missing"}, remedy: "mv -T --backup=numbered -- /usr/local/sbin/runc /usr/local/sbin/runc.sickbay-aside", ill: func(o *v1alpha1.Observation) {
		o.Runtime.Handlers[0].RuntimePath, o.Runtime.Handlers[1].RuntimePath = "", ""
		o.Files = append(o.Files, v1alpha1.File{Path: "/usr/local/sbin/runc", Exists: true, Mode: "drwxr-xr-x", SizeBytes: 4096})
	}},
	{name: "shim gone", want: []string{"sandbox-create/shim-missing"}, remedy: ":/usr/local/bin/containerd-shim-runc-v2", ill: func(o *v1alpha1.Observation) {
		o.Runtime.Handlers[0].ShimPath, o.Runtime.Handlers[1].ShimPath = "", ""
		sandboxFails(o, `failed to start sandbox "x": failed to create containerd task: failed to start shim: start failed: fork/exec /usr/local/bin/containerd-shim-runc-v2: no such file or directory`)
	}},
	{name: "shim not executable", want: []string{"sandbox-create/shim-missing"}, remedy: "chmod 0755 /usr/local/bin/containerd-shim-runc-v2", ill: func(o *v1alpha1.Observation) {
		o.Runtime.Handlers[0].ShimPath = ""
		o.Files = []v1alpha1.File{{Path: "/usr/local/bin/containerd-shim-runc-v2", Exists: true, Mode: "-rw-r--r--", SizeBytes: 9 << 20}}
	}},
	{name: "runc gone", want: []string{"sandbox-create/oci-runtime-missing"}, remedy: ":/usr/local/sbin/runc", ill: func(o *v1alpha1.Observation) {
		o.Runtime.Handlers[0].RuntimePath = ""
		sandboxFails(o, `failed to create containerd task: failed to create shim task: OCI runtime create failed: unable to retrieve OCI runtime error (open /run/containerd/x/log.json: no such file or directory): exec: "runc": executable file not found in $PATH`)
	}},
	{name: "snapshot directory immutable", want: []string{"sandbox-create/snapshotter-unwritable"}, remedy: "chattr -i /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots", ill: func(o *v1alpha1.Observation) {
		o.Files = []v1alpha1.File{{Path: "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots", Exists: true, Immutable: true, Mode: "drwx------"}}
		sandboxFails(o, `failed to create containerd container: failed to create prepare snapshot dir: failed to create temp dir: mkdir /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/new-12: operation not permitted`)
	}},
	{name: "snapshotter's directory mounted read-only", want: []string{"sandbox-create/snapshotter-unwritable"}, remedy: "umount /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs", ill: func(o *v1alpha1.Observation) {
		o.Mounts = []v1alpha1.Mount{{Target: "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs", Source: "/dev/vda1", Root: "/x", Type: "ext4", Options: []string{"ro", "relatime"}}}
	}},
	{name: "runtime's disk full, thresholds off", want: []string{"sandbox-create/disk-full"}, remedy: "rm -f -- /var/lib/containerd/fill", ill: func(o *v1alpha1.Observation) {
		f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
		full(f, "/var/lib/containerd/fill")
		f.BytesFree = 0
		sandboxFails(o, "failed to create prepare snapshot dir: failed to create temp dir: mkdir /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/new-1: no space left on device")
	}},
	{name: "runtime's inodes used up, thresholds off", want: []string{"sandbox-create/inodes-exhausted"}, remedy: "find /var/lib/containerd -xdev -maxdepth 1 -type f -delete", ill: func(o *v1alpha1.Observation) {
		f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
		f.InodesFree = 0
		sandboxFails(o, "failed to create prepare snapshot dir: no space left on device")
	}},
	{name: "pods' cgroup may have no children", want: []string{"sandbox-create/cgroup-unwritable"}, remedy: "cgroup.max.descendants", ill: func(o *v1alpha1.Observation) {
		o.Cgroups = []v1alpha1.Cgroup{{Path: "kubelet.slice/kubelet-kubepods.slice", Limited: true, MaxBelow: 0, Below: 12}}
		sandboxFails(o, "failed to create containerd task: unable to apply cgroup configuration: mkdir /sys/fs/cgroup/kubelet.slice: resource temporarily unavailable")
	}},
	{name: "pods' cpuset is empty", want: []string{"sandbox-create/cgroup-unwritable"}, remedy: "cpuset.", ill: func(o *v1alpha1.Observation) {
		o.Cgroups = []v1alpha1.Cgroup{{Path: "cpuset/kubelet.slice/kubelet-kubepods.slice", EmptyCPUs: true}}
		sandboxFails(o, "failed to create containerd task: unable to apply cgroup configuration: failed to write 77: write /sys/fs/cgroup/cpuset/x/cgroup.procs: no space left on device")
	}},
	// 3 cgroup-driver
	{name: "kubelet cgroupfs, runtime systemd", want: []string{"cgroup-driver/driver-mismatch"}, remedy: "systemctl restart kubelet.service", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Config.CgroupDriver = "cgroupfs"
		sandboxFails(o, `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/kubepods/x" instead`)
	}},
	{name: "kubelet and runtime on cgroupfs, and a wrapper that names systemd", want: []string{"cgroup-driver/driver-mismatch"}, remedy: "mv -fT -- /usr/local/sbin/runc-wrapper", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Config.CgroupDriver = "cgroupfs"
		r := &o.Runtime.Handlers[0]
		r.SystemdCgroup, r.BinaryName, r.RuntimePath = ptr(false), "/usr/local/sbin/runc-wrapper", "/usr/local/sbin/runc-wrapper"
		o.Files = append(o.Files, v1alpha1.File{Path: r.RuntimePath, Exists: true, Mode: "-rwxr-xr-x", SizeBytes: 42, Script: "/bin/sh"})
		sandboxFails(o, `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/kubepods/x" instead`)
	}},
	{name: "kubelet systemd, runtime cgroupfs", want: []string{"cgroup-driver/silent-mismatch"}, remedy: "SystemdCgroup = true", ill: func(o *v1alpha1.Observation) {
		for i := range o.Runtime.Handlers {
			o.Runtime.Handlers[i].SystemdCgroup, o.Runtime.ConfigFile.Handlers[i].SystemdCgroup = ptr(false), ptr(false)
		}
		o.Containers[2].UnderKubepods, o.Containers[2].CgroupPath = false, "/system.slice/containerd.service/kubelet-kubepods-pod1.slice:cri-containerd:abc"
	}},
	{name: "default handler without options", want: []string{"cgroup-driver/silent-mismatch"}, remedy: "SystemdCgroup = true", ill: func(o *v1alpha1.Observation) {
		o.Runtime.Handlers[0].SystemdCgroup, o.Runtime.ConfigFile.Handlers[0].SystemdCgroup = nil, nil
	}},
	{name: "a RuntimeClass' handler differs", want: []string{"cgroup-driver/handler-mismatch"}, remedy: "test-handler", ill: func(o *v1alpha1.Observation) {
		o.Runtime.Handlers[1].SystemdCgroup, o.Runtime.ConfigFile.Handlers[1].SystemdCgroup = ptr(false), ptr(false)
		detectorstest.RuntimeClass(o, "test", "test-handler")
		detectorstest.AddPod(o, detectorstest.Pod("default", "special", func(p *corev1.Pod) { p.Spec.RuntimeClassName = detectorstest.Ptr("test") }))
	}},
	{name: "runc replaced by a script that drops the option", want: []string{"cgroup-driver/silent-mismatch"}, remedy: ":/usr/local/sbin/runc", ill: func(o *v1alpha1.Observation) {
		o.Containers[2].UnderKubepods, o.Containers[2].CgroupPath = false, "/system.slice/containerd.service/kubelet-kubepods-pod1.slice:cri-containerd:abc"
		o.Files = []v1alpha1.File{{Path: "/usr/local/sbin/runc", Exists: true, Mode: "-rwxr-xr-x", SizeBytes: 5120}}
	}},
	{name: "kubelet refuses cgroup v1", want: []string{"cgroup-driver/cgroup-v1-refused"}, remedy: "failCgroupV1", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.File.FailCgroupV1 = nil
		detectorstest.KubeletLoops(o, "failed to validate kubelet configuration, error: kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is unsupported and will be removed in a future release, path: &TypeMeta{}")
	}},
	// 12 clock-cert
	{name: "kubelet's clock ten years ahead", want: []string{"clock-cert/clock-skew"}, remedy: "systemctl restart kubelet.service", ill: func(o *v1alpha1.Observation) {
		o.Clocks.ProcessOffsetSeconds["kubelet"] = 10 * 365 * 86400
		o.API.Lease = &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: detectorstest.Now.AddDate(10, 0, 0)}}}
	}},
	{name: "kubelet's clock ahead, and it exits for its certificate", want: []string{"clock-cert/clock-skew"}, remedy: "systemctl restart kubelet.service", ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, noBootstrap)
		o.Clocks.ProcessOffsetSeconds["kubelet"] = 10 * 365 * 86400
	}},
	{name: "the node's clock behind", want: []string{"clock-cert/clock-skew"}, remedy: "timedatectl", ill: func(o *v1alpha1.Observation) {
		o.Clocks.APIOffsetSeconds = -7200
	}},
	{name: "the machine's clock ahead of its battery's, and the certificate ends in between", want: []string{"clock-cert/clock-skew"}, remedy: "hwclock --hctosys", ill: wrongMachineClock},
	{name: "the clock is right, the battery is empty and the certificate has ended", want: []string{"clock-cert/client-cert-expired"}, remedy: "kubectl certificate approve", ill: func(o *v1alpha1.Observation) {
		wrongMachineClock(o)
		o.API.SameKernel = false // its clock is another machine's, and agrees
	}},
	{name: "the certificate has ended by either clock", want: []string{"clock-cert/client-cert-expired"}, remedy: "kubectl certificate approve", ill: func(o *v1alpha1.Observation) {
		wrongMachineClock(o)
		o.Certs[1].NotAfter = ago(time.Hour)
	}},
	{name: "client certificate expired", want: []string{"clock-cert/client-cert-expired"}, remedy: "kubectl certificate approve", ill: func(o *v1alpha1.Observation) {
		o.Certs[1].NotAfter = ago(time.Hour)
		detectorstest.KubeletLoops(o, noBootstrap)
	}},
	{name: "client certificate expired, a valid one beside it", want: []string{"clock-cert/client-cert-expired"}, remedy: "ln -sfn /var/lib/kubelet/pki/kubelet-client-2026-11-01.pem", ill: func(o *v1alpha1.Observation) {
		good := o.Certs[1]
		good.Path = "/var/lib/kubelet/pki/kubelet-client-2026-11-01.pem"
		o.Certs[1].NotAfter = ago(time.Hour)
		o.Certs = append(o.Certs, good)
		detectorstest.KubeletLoops(o, noBootstrap)
	}},
	// 1 image-pull
	{name: "registry signed by nobody", want: []string{"image-pull/registry-tls"}, remedy: "openssl s_client", ill: signedByNobody},
	{name: "registry's certificate expired", want: []string{"image-pull/registry-tls"}, remedy: "-", ill: func(o *v1alpha1.Observation) {
		pullFails(o, registry+"/team/web:1", `failed to do request: Head "https://`+registry+`/v2/team/web/manifests/1": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-24T10:00:00Z is after 2026-01-01T00:00:00Z`)
	}},
	{name: "no such tag", want: []string{"image-pull/tag-not-found"}, remedy: `"image":"registry.example.test:5000/team/web:1.1"`, ill: func(o *v1alpha1.Observation) {
		o.Runtime.Images = append(o.Runtime.Images, v1alpha1.Image{ID: "sha256:2", Tags: []string{registry + "/team/web:1.1"}})
		pullFails(o, registry+"/team/web:9", registry+"/team/web:9: not found", detectorstest.Deployment("web"))
	}},
	{name: "no credential", want: []string{"image-pull/registry-auth"}, remedy: "-", ill: func(o *v1alpha1.Observation) {
		pullFails(o, registry+"/team/web:1", `pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials`)
	}},
	{name: "the credential is there, the pod does not name it", want: []string{"image-pull/registry-auth"}, remedy: "imagePullSecrets", ill: func(o *v1alpha1.Observation) {
		o.API.PullSecrets = []v1alpha1.PullSecret{{Namespace: "default", Name: "regcred", Exists: true, Hosts: []string{registry}}}
		pullFails(o, registry+"/team/web:1", `unexpected status from HEAD request to https://`+registry+`/v2/team/web/manifests/1: 401 Unauthorized`, detectorstest.Deployment("web"))
	}},
	{name: "registry rejected by a rule", want: []string{"image-pull/registry-unreachable"}, remedy: "iptables -t filter -D OUTPUT -d 172.18.0.9/32 -p tcp -m tcp --dport 5000 -j REJECT", ill: func(o *v1alpha1.Observation) {
		o.Network.RejectRules = []string{"iptables -t filter -A OUTPUT -d 172.18.0.9/32 -p tcp -m tcp --dport 5000 -j REJECT"}
		pullFails(o, registry+"/team/web:1", `failed to do request: Head "https://`+registry+`/v2/team/web/manifests/1": dial tcp 172.18.0.9:5000: connect: connection refused`)
	}},
	{name: "a mirror's fault hidden by the origin's 404", want: []string{"image-pull/mirror-misconfigured"}, remedy: "mv -T --backup=numbered -- /etc/containerd/certs.d/registry.example.test:5000/hosts.toml", ill: func(o *v1alpha1.Observation) {
		h := registryHost("ok")
		h.Mirrors = []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test", Reach: "tls-untrusted"}}
		o.Registries = []v1alpha1.RegistryHost{h}
		pullFails(o, registry+"/team/web:1", registry+"/team/web:1: not found")
	}},
	{name: "every pull goes to a mirror that is not there", want: []string{"image-pull/mirror-misconfigured"}, remedy: `server = "https://registry.example.test:5000"`, ill: func(o *v1alpha1.Observation) {
		h := registryHost("")
		h.Server, h.CAs = "https://mirror.example.test", []string{"/etc/containerd/certs.d/registry.example.test:5000/ca.crt"}
		h.Mirrors = []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test", CAs: h.CAs, Reach: "dns"}}
		h.Origin = &v1alpha1.RegistryMirror{URL: "https://" + registry, Reach: "ok"}
		o.Registries = []v1alpha1.RegistryHost{h}
		pullFails(o, registry+"/team/web:1", `failed to do request: Head "https://mirror.example.test/v2/team/web/manifests/1?ns=`+registry+`": dial tcp: lookup mirror.example.test on 10.0.0.1:53: no such host`)
	}},
	{name: "the mirror is the only way, and down", want: []string{"image-pull/registry-unreachable"}, remedy: "-", ill: func(o *v1alpha1.Observation) {
		h := registryHost("")
		h.Server = "https://mirror.example.test"
		h.Mirrors = []v1alpha1.RegistryMirror{{URL: "https://mirror.example.test", Reach: "refused"}}
		h.Origin = &v1alpha1.RegistryMirror{URL: "https://" + registry, Reach: "no-route"}
		o.Registries = []v1alpha1.RegistryHost{h}
		pullFails(o, registry+"/team/web:1", `failed to do request: Head "https://mirror.example.test/v2/team/web/manifests/1?ns=`+registry+`": dial tcp 10.9.9.9:443: connect: connection refused`)
	}},
	{name: "no such tag, the one of before still runs", want: []string{"image-pull/tag-not-found"}, remedy: `"image":"registry.example.test:5000/team/web:1.0"`, ill: func(o *v1alpha1.Observation) {
		o.Runtime.Images = append(o.Runtime.Images, v1alpha1.Image{ID: "sha256:2", Tags: []string{registry + "/team/web:1.1"}})
		detectorstest.AddPod(o, detectorstest.Pod("default", "web-old", detectorstest.Deployment("web"), func(p *corev1.Pod) { p.Spec.Containers[0].Image = registry + "/team/web:1.0" }))
		pullFails(o, registry+"/team/web:9", registry+"/team/web:9: not found", detectorstest.Deployment("web"))
	}},
	{name: "a rule for another address on the registry's port", want: []string{"image-pull/registry-unreachable"}, remedy: "-", ill: func(o *v1alpha1.Observation) {
		o.Network.RejectRules = []string{"nft inet corp out handle 4: ip daddr 10.9.9.9 tcp dport 5000 drop"}
		pullFails(o, registry+"/team/web:1", `failed to do request: Head "https://`+registry+`/v2/team/web/manifests/1": dial tcp 172.18.0.9:5000: connect: connection refused`)
	}},
	{name: "hosts.toml cannot be read", want: []string{"image-pull/mirror-misconfigured"}, remedy: "hosts.toml /etc/containerd/certs.d/registry.example.test:5000/hosts.toml.sickbay-aside", ill: func(o *v1alpha1.Observation) {
		h := registryHost("")
		h.Error = "toml: line 2: expected '='"
		o.Registries = []v1alpha1.RegistryHost{h}
		pullFails(o, registry+"/team/web:1", "failed to load hosts.toml: toml: line 2")
	}},
	// 7 probe-kill
	{name: "probe's timeout too short", want: []string{"probe-kill/probe-too-aggressive"}, remedy: "startupProbe", ill: func(o *v1alpha1.Observation) {
		impatient(o)
	}},
	{name: "probe does not wait for the start", want: []string{"probe-kill/probe-too-aggressive"}, remedy: "kubectl replace --force", ill: func(o *v1alpha1.Observation) {
		probeKills(o, `Get "http://10.244.1.9:8080/healthz": dial tcp 10.244.1.9:8080: connect: connection refused`, liveness(8080, "/healthz"))
	}},
	{name: "probe's path is wrong", want: []string{"probe-kill/probe-wrong-endpoint"}, remedy: "tcpSocket", ill: func(o *v1alpha1.Observation) {
		probeKills(o, "HTTP probe failed with statuscode: 404", liveness(8080, "/nope"))
	}},
	{name: "probe's port is wrong", want: []string{"probe-kill/probe-wrong-endpoint"}, remedy: "8080", ill: func(o *v1alpha1.Observation) {
		probeKills(o, `Get "http://10.244.1.9:9999/healthz": dial tcp 10.244.1.9:9999: connect: connection refused`, liveness(9999, "/healthz"))
	}},
	// 8 oom-throttle
	{name: "memory limit", want: []string{"oom-throttle/memory-limit"}, remedy: "--subresource resize", ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "hog", limits("", "32Mi"), detectorstest.Crashing("OOMKilled", 137, 3, 5*time.Second)))
	}},
	{name: "memory limit, the reason was lost", want: []string{"oom-throttle/memory-limit"}, remedy: "128Mi", ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "hog", limits("", "32Mi"), detectorstest.Crashing("Error", 137, 3, 5*time.Second), detectorstest.Deployment("hog")))
		detectorstest.Kmsg(o, "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=cri-containerd-old-hog.scope,mems_allowed=0,oom_memcg=/docker/x/kubelet.slice/cri-containerd-old-hog.scope,task_memcg=/x,task=agnhost,pid=9,uid=0", 20*time.Second)
	}},
	{name: "CPU limit", want: []string{"oom-throttle/cpu-throttled"}, remedy: `"cpu":"500m"`, ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "busy", limits("50m", "")))
		throttled(o)
	}},
	{name: "CPU limit, and the pod's cgroup runs out first", want: []string{"oom-throttle/cpu-throttled"}, remedy: `"cpu":"200m"`, ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "busy", limits("20m", "")))
		c := &o.Containers[len(o.Containers)-1] // seen in an emulator, where such a container does not even get up
		c.CPU = v1alpha1.CPUUsage{QuotaMilli: 20, NrPeriods: 645, NrThrottled: 369, ThrottledUsec: 35_268_871}
		c.PodCPU = v1alpha1.CPUUsage{QuotaMilli: 20, NrPeriods: 1605, NrThrottled: 1600, ThrottledUsec: 253_048_123}
	}},
	// 11 security-denial
	{name: "seccomp kills", want: []string{"security-denial/seccomp-denied"}, remedy: "RuntimeDefault", ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		detectorstest.AddPod(o, detectorstest.Pod("default", "strict", localhostProfile("profiles/strict.json"), detectorstest.Crashing("Error", 159, 3, time.Second)))
	}},
	{name: "seccomp denies, the application says so", want: []string{"security-denial/seccomp-denied"}, remedy: "RuntimeDefault", ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "strict", localhostProfile("profiles/strict.json"), detectorstest.Crashing("Error", 1, 3, time.Second), detectorstest.Deployment("strict")))
		p.Status.ContainerStatuses[0].LastTerminationState.Terminated.Message = "mkdir: Operation not permitted"
	}},
	{name: "seccomp denies, perhaps", want: []string{"security-denial/seccomp-denied"}, likely: true, remedy: "RuntimeDefault", ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		detectorstest.AddPod(o, detectorstest.Pod("default", "strict", localhostProfile("profiles/strict.json"), detectorstest.Crashing("Error", 1, 3, time.Second)))
	}},
	{name: "seccomp profile missing", want: []string{"security-denial/seccomp-profile-missing"}, remedy: "RuntimeDefault", ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "strict", localhostProfile("profiles/gone.json"), detectorstest.Waiting("CreateContainerError", `failed to generate seccomp spec opts: cannot load seccomp profile "/var/lib/kubelet/seccomp/profiles/gone.json": open /var/lib/kubelet/seccomp/profiles/gone.json: no such file or directory`)))
	}},
	{name: "AppArmor denies", want: []string{"security-denial/apparmor-denied"}, remedy: "RuntimeDefault", ill: func(o *v1alpha1.Observation) {
		o.Security.AppArmor = true
		detectorstest.AddPod(o, detectorstest.Pod("default", "armed", detectorstest.Crashing("Error", 1, 3, time.Second), func(p *corev1.Pod) {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: detectorstest.Ptr("deny-write")}}
		}))
		detectorstest.Kmsg(o, `audit: type=1400 audit(1.2:3): apparmor="DENIED" operation="open" profile="deny-write" name="/tmp/x" pid=77 comm="sh" requested_mask="wc"`, 22*time.Second)
	}},
	{name: "SELinux denies", want: []string{"security-denial/selinux-denied"}, remedy: "-", ill: func(o *v1alpha1.Observation) {
		o.Security.SELinux = "enforcing"
		detectorstest.AddPod(o, detectorstest.Pod("default", "labeled", detectorstest.Crashing("Error", 1, 3, time.Second)))
		o.Containers[len(o.Containers)-1].LSMLabel = "system_u:system_r:container_t:s0:c1,c2"
		detectorstest.Kmsg(o, `audit: type=1400 avc:  denied  { write } for pid=7 comm="sh" path="/data/x" scontext=system_u:system_r:container_t:s0:c1,c2 tcontext=system_u:object_r:etc_t:s0 tclass=file`, 22*time.Second)
	}},
	{name: "SELinux denies a file of a volume", want: []string{"security-denial/selinux-denied"}, remedy: "restorecon -RF /var/local-path-provisioner/shop/list", ill: func(o *v1alpha1.Observation) {
		o.Security.SELinux = "enforcing"
		detectorstest.AddPod(o, detectorstest.Pod("default", "labeled", detectorstest.Crashing("Error", 1, 3, time.Second), func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "catalogue", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/local-path-provisioner/shop"}}}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "catalogue", MountPath: "/catalogue"}}
		}))
		o.Containers[len(o.Containers)-1].LSMLabel = "system_u:system_r:container_t:s0:c1,c2"
		detectorstest.Kmsg(o, `audit: type=1400 avc:  denied  { read } for pid=7 comm="cat" path="/catalogue/list" scontext=system_u:system_r:container_t:s0:c1,c2 tcontext=system_u:object_r:admin_home_t:s0 tclass=file`, 22*time.Second)
	}},
	// 14 device-plugin
	{name: "device plugin gone", want: []string{"device-plugin/plugin-down"}, remedy: "/api/v1/namespaces/kube-system/pods/lamp-plugin-4x/eviction", ill: pluginGone},
	{name: "devices unhealthy", want: []string{"device-plugin/device-unhealthy"}, remedy: "/api/v1/namespaces/kube-system/pods/lamp-plugin-4x/eviction", ill: func(o *v1alpha1.Observation) {
		devices(o, "2", "0")
		lampSocket(o, "ok")
		detectorstest.Log(o, "kubelet", `"Device plugin connected" resourceName="example.com/lamp"`, 5*time.Minute)
		detectorstest.Log(o, "kubelet", `"Processed device updates for resource" resourceName="example.com/lamp" totalCount=2 healthyCount=0`, time.Minute)
	}},
	{name: "plugin refuses to allocate", want: []string{"device-plugin/allocate-failed"}, remedy: "lamp-plugin-4x", ill: func(o *v1alpha1.Observation) {
		devices(o, "2", "2")
		lampSocket(o, "ok")
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "lamp-user", detectorstest.Waiting("ContainerCreating", "")))
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{device: resource.MustParse("1")}
		p.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "UnexpectedAdmissionError", Message: "Pod was rejected: Allocate failed due to rpc error: code = Unknown desc = the lamp is broken, which is unexpected"}
		p.CreationTimestamp = detectorstest.MetaAgo(time.Minute)
	}},
	{name: "device plugin forgotten by a kubelet that was restarted, and nobody remembers it", want: []string{"device-plugin/plugin-down"}, remedy: "/api/v1/namespaces/kube-system/pods/lamp-plugin-4x/eviction", ill: func(o *v1alpha1.Observation) {
		devices(o, "0", "0")
		wantsLamp(o)
	}},
	// 15 sandbox-changed
	{name: "something kills pause again and again", want: []string{"sandbox-changed/sandbox-killed"}, remedy: "systemctl stop pause-reaper.service", ill: func(o *v1alpha1.Observation) {
		event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 10*time.Second, 6)
		s := sandbox(o, "app")
		s.Attempt, s.CreatedAt = 6, ago(8*time.Second)
		o.LocalUnits = []v1alpha1.Unit{{Name: "pause-reaper.service", ActiveState: "active", ExecStart: "/usr/local/bin/reaper --interval 10s"}}
	}},
	{name: "something kills pause, and the kubelet has no more events to spend on it", want: []string{"sandbox-changed/sandbox-killed"}, remedy: "-", ill: func(o *v1alpha1.Observation) {
		event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 150*time.Second, 7)
		o.API.Events[len(o.API.Events)-1].FirstTimestamp = detectorstest.MetaAgo(205 * time.Second)
		s := sandbox(o, "app")
		s.Attempt, s.CreatedAt = 22, ago(2*time.Second)
	}},
	{name: "a script kills sandboxes, whatever its unit is called", want: []string{"sandbox-changed/sandbox-killed"}, remedy: "systemctl stop nightly.timer nightly.service", ill: func(o *v1alpha1.Observation) {
		event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 10*time.Second, 6)
		o.LocalUnits = []v1alpha1.Unit{
			{Name: "exporter.service", ActiveState: "active", ExecStart: "/usr/local/bin/exporter"},
			{Name: "nightly.service", ActiveState: "inactive", ExecStart: "/opt/nightly.sh", Script: "#!/bin/sh\nfor p in $(pgrep -x pause); do kill -9 $p; done\n"},
			{Name: "nightly.timer", ActiveState: "active"},
		}
	}},
	{name: "cron kills sandboxes", want: []string{"sandbox-changed/sandbox-killed"}, remedy: "f=/etc/cron.d/tidy", ill: func(o *v1alpha1.Observation) {
		event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 10*time.Second, 6)
		o.LocalJobs = []v1alpha1.Job{{PID: 9, Started: 1, Parent: "cron 8", Command: "sh -c pkill pause"}, {Crontab: "/etc/cron.d/tidy", Command: "* * * * * root pkill pause"}}
	}},
	{name: "whoever kills sandboxes is not who reaps snapshots or ends a log reader", want: []string{"sandbox-changed/sandbox-killed"}, remedy: "-", ill: func(o *v1alpha1.Observation) {
		event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 10*time.Second, 6)
		o.LocalUnits = []v1alpha1.Unit{{Name: "pause-music.service", ActiveState: "active", ExecStart: "/usr/bin/music"}}
		o.LocalJobs = []v1alpha1.Job{
			{Crontab: "/etc/cron.d/e2scrub_all", Command: "10 3 * * * root /sbin/e2scrub_all -A -r", Script: "#!/bin/bash\n# kills no pause\nreap=0\n"},
			{PID: 8, Started: 1, Parent: "0", Command: "sh -c while sleep 60; do pkill -HUP fluent-bit; done"},
		}
	}},
	{name: "a loose process kills sandboxes", want: []string{"sandbox-changed/sandbox-killed"}, remedy: "kill 4711", ill: func(o *v1alpha1.Observation) {
		event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 10*time.Second, 6)
		o.LocalJobs = []v1alpha1.Job{{PID: 12, Started: 1, Parent: "containerd-shim 2", Command: "bash"},
			{PID: 4711, Started: 99, Parent: "systemd 1", Command: "sh /tmp/x", Script: "#!/bin/sh\nwhile sleep 9; do pkill -9 pause; done\n"}}
	}},
	{name: "sandboxes are killed just after a restart of the runtime, and on", want: []string{"sandbox-changed/sandbox-killed"}, remedy: "-", ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.ActiveSince = ago(100 * time.Second) })
		event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 5*time.Second, 4)
	}},
	{name: "something takes pods' network namespaces", want: []string{"sandbox-changed/sandbox-network-lost"}, remedy: "systemctl stop gc.service", ill: func(o *v1alpha1.Observation) {
		event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 10*time.Second, 3)
		detectorstest.Log(o, "kubelet", `"Sandbox for pod has no IP address. Need to start a new one" pod="default/app"`, 12*time.Second)
		o.LocalUnits = []v1alpha1.Unit{{Name: "gc.service", ActiveState: "active", ExecStart: "/opt/gc", Script: "#!/bin/sh\numount /run/netns/*\n"}}
	}},
	{name: "a restart of the runtime kills pods", want: []string{"sandbox-changed/runtime-restart-kills-pods"}, remedy: "systemctl daemon-reload", ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) {
			u.KillMode, u.ActiveSince, u.DropIns = "control-group", ago(40*time.Second), []string{"/etc/systemd/system/containerd.service.d/20-killmode.conf"}
		})
		for i := range o.Runtime.Sandboxes {
			o.Runtime.Sandboxes[i].Attempt, o.Runtime.Sandboxes[i].CreatedAt = 1, ago(30*time.Second)
		}
		event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 30*time.Second, 1)
	}},
	{name: "network namespace gone", want: []string{"sandbox-changed/sandbox-network-lost"}, remedy: "ctr -n k8s.io tasks kill --signal SIGKILL sb-app", ill: func(o *v1alpha1.Observation) {
		sandbox(o, "app").NetNSGone = true
	}},
	{name: "address gone", want: []string{"sandbox-changed/sandbox-network-lost"}, remedy: "/api/v1/namespaces/default/pods/api-1/eviction", ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "api-1", detectorstest.Deployment("api")))
		sandbox(o, "api-1").IPGone = true
	}},
	// 5 csi-mount
	{name: "volume's filesystem corrupt", want: []string{"csi-mount/filesystem-corrupt"}, remedy: "e2fsck", ill: func(o *v1alpha1.Observation) {
		csiWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = mount /var/lib/sickbay-csi/vol-1.img: wrong fs type, bad option, bad superblock on /dev/loop4`)
	}},
	{name: "CSI driver not registered", want: []string{"csi-mount/driver-not-registered"}, remedy: "/api/v1/namespaces/kube-system/pods/csi-node-77/eviction", ill: func(o *v1alpha1.Observation) {
		csiWaits(o, false, notInTheList)
	}},
	{name: "CSI driver does not answer", want: []string{"csi-mount/driver-unresponsive"}, remedy: "/api/v1/namespaces/kube-system/pods/csi-node-77/eviction", ill: func(o *v1alpha1.Observation) {
		csiWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = DeadlineExceeded desc = context deadline exceeded`)
		o.Sockets = []v1alpha1.PluginSocket{{Path: "/var/lib/kubelet/plugins/csi.sickbay.dev/csi.sock", Kind: "csi", Name: driver, Answers: "timeout"}}
	}},
	{name: "CSI driver stopped: the kubelet gave the connection up", want: []string{"csi-mount/driver-unresponsive"}, remedy: "/api/v1/namespaces/kube-system/pods/csi-node-77/eviction", ill: func(o *v1alpha1.Observation) {
		csiWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Unavailable desc = connection error: desc = "error reading server preface: raw-read unix @->/csi/csi.sock: use of closed network connection"`)
		csiSocket(o, "timeout")
	}},
	{name: "CSI driver stopped, and the kubelet still waits for it", want: []string{"csi-mount/driver-unresponsive"}, remedy: "/api/v1/namespaces/kube-system/pods/csi-node-77/eviction", ill: func(o *v1alpha1.Observation) {
		csiWaits(o, true, "")
		csiSocket(o, "timeout")
		o.API.Pods[len(o.API.Pods)-1].CreationTimestamp = detectorstest.MetaAgo(45 * time.Second)
	}},
	// Two at once on one node.
	{name: "two faults, conflist gone and client certificate expired", want: []string{"clock-cert/client-cert-expired", "cni/conflist-missing"}, remedy: "certificate", ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = nil
		o.Certs[1].NotAfter = ago(time.Hour)
		detectorstest.KubeletLoops(o, noBootstrap)
		o.Runtime.Conditions[1] = v1alpha1.Condition{Type: "NetworkReady", Reason: "NetworkPluginNotReady", Message: "Network plugin returns error: cni plugin not initialized"}
		o.Runtime.LastCNILoad = noConfig
	}},
	{name: "two faults, swap on and kubeconfig gone", want: []string{"node-notready/kubeconfig-broken", "swap/swap-on"}, remedy: "set-cluster", ill: func(o *v1alpha1.Observation) {
		o.Swaps = []v1alpha1.Swap{{Path: "/swap.img", Type: "file", SizeBytes: 16 << 20}}
		o.Kubelet.File.FailSwapOn = ptr(true)
		o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{Path: "/etc/kubernetes/kubelet.conf"}
		detectorstest.KubeletLoops(o, noBootstrap)
	}},
	{name: "two faults, shim gone and nodefs full", want: []string{"disk-pressure/nodefs-full", "sandbox-create/shim-missing"}, remedy: "rm -f", ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "nodefs.available", "10%")
		full(detectorstest.LoopFilesystem(o, "/var/lib/kubelet", "nodefs"), "/var/lib/kubelet/fill")
		o.Runtime.Handlers[0].ShimPath = ""
	}}, {name: "two faults, conflist gone and swap on", want: []string{"swap/swap-on", "cni/conflist-missing"}, remedy: "swapoff", ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = nil
		cniDown(o, noConfig)
		o.Swaps = []v1alpha1.Swap{{Path: "/swap.img", Type: "file", SizeBytes: 16 << 20}}
		o.Kubelet.File.FailSwapOn = ptr(true)
		detectorstest.KubeletLoops(o, swapRefused)
	}},
	{name: "two faults, conflist gone and kubelet stopped", want: []string{"node-notready/kubelet-stopped", "cni/conflist-missing"}, remedy: "systemctl start kubelet.service", ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = nil
		cniDown(o, noConfig)
		kubeletStopped(o)
	}},
	{name: "two faults, client certificate expired and nodefs full", want: []string{"disk-pressure/nodefs-full", "clock-cert/client-cert-expired"}, remedy: "rm -f", ill: func(o *v1alpha1.Observation) {
		nodefsFull(o)
		o.Certs[1].NotAfter = ago(time.Hour)
		detectorstest.KubeletLoops(o, noBootstrap)
	}},
	{name: "two faults, the node's clock behind and another CA in the kubeconfig", want: []string{"clock-cert/clock-skew", "node-notready/apiserver-untrusted"}, remedy: "timedatectl", ill: func(o *v1alpha1.Observation) {
		o.Clocks.APIOffsetSeconds = -7200
		anotherCA(o)
	}},
	{name: "the node's clock behind, and a registry's certificate is not valid yet", want: []string{"clock-cert/clock-skew"}, remedy: "timedatectl", ill: func(o *v1alpha1.Observation) {
		o.Clocks.APIOffsetSeconds = -7200
		pullFails(o, registry+"/team/web:1", `failed to do request: Head "https://`+registry+`/v2/team/web/manifests/1": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-24T08:00:00Z is before 2026-11-24T09:00:00Z`)
	}},
	{name: "the node's clock behind, and a registry signed by nobody", want: []string{"clock-cert/clock-skew", "image-pull/registry-tls"}, remedy: "timedatectl", ill: func(o *v1alpha1.Observation) {
		o.Clocks.APIOffsetSeconds = -7200
		signedByNobody(o)
	}},
	{name: "containerd and the kubelet stopped by their units", want: []string{"pleg/runtime-hung", "node-notready/kubelet-stopped"}, remedy: "systemctl start containerd.service", ill: func(o *v1alpha1.Observation) {
		runtimeStopped(o)
		kubeletStopped(o)
	}},
	{name: "runtime throttled, and probes by exec come late", want: []string{"pleg/runtime-overloaded"}, remedy: "cfs_quota_us", ill: func(o *v1alpha1.Observation) {
		runtimeThrottled(o)
		probeKills(o, `command "/bin/grpc_health_probe" timed out`, byExec)
	}},
	{name: "runtime throttled, and a probe by HTTP is impatient", want: []string{"pleg/runtime-overloaded", "probe-kill/probe-too-aggressive"}, remedy: "cfs_quota_us", ill: func(o *v1alpha1.Observation) {
		runtimeThrottled(o)
		impatient(o)
	}},
	{name: "runtime's filesystem frozen and full, thresholds off", want: []string{"pleg/runtime-io-stall", "sandbox-create/disk-full"}, remedy: "fsfreeze", ill: func(o *v1alpha1.Observation) {
		f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
		full(f, "/var/lib/containerd/fill")
		f.BytesFree = 0
		frozen(o, f)
		sandboxFails(o, "failed to create prepare snapshot dir: mkdir: no space left on device")
	}},
	{name: "one disk for kubelet and runtime, full", want: []string{"disk-pressure/nodefs-full"}, remedy: "/var/lib/kubelet/fill", ill: func(o *v1alpha1.Observation) {
		for i := range o.Filesystems {
			o.Filesystems[i].BytesFree = 0
		}
		o.Filesystems[0].TopUsers = []v1alpha1.PathUse{{Path: "/var/lib/kubelet/fill", Bytes: 290 << 30, Files: 1}}
		sandboxFails(o, "failed to create prepare snapshot dir: mkdir: no space left on device")
	}},
	{name: "nodefs full, and the device plugin was evicted", want: []string{"disk-pressure/nodefs-full"}, remedy: "rm -f -- /var/lib/kubelet/fill", ill: func(o *v1alpha1.Observation) {
		nodefsFull(o)
		pluginGone(o)
	}},
	{name: "nodefs full, and the CSI driver was evicted", want: []string{"disk-pressure/nodefs-full"}, remedy: "rm -f -- /var/lib/kubelet/fill", ill: func(o *v1alpha1.Observation) {
		nodefsFull(o)
		csiWaits(o, false, notInTheList)
	}},
	{name: "memory limit, and the probe notices first", want: []string{"oom-throttle/memory-limit"}, remedy: "128Mi", ill: func(o *v1alpha1.Observation) {
		impatient(o, limits("", "32Mi"))
		detectorstest.Kmsg(o, "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/docker/x/kubelet.slice/cri-containerd-old-shop.scope,task=shop,pid=9,uid=0", 20*time.Second)
	}},
	{name: "memory limit, and another pod's impatient probe", want: []string{"oom-throttle/memory-limit", "probe-kill/probe-too-aggressive"}, remedy: "--subresource resize", ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "hog", limits("", "32Mi"), detectorstest.Crashing("OOMKilled", 137, 3, 5*time.Second)))
		impatient(o)
	}},
	{name: "CPU limit, and the probe notices", want: []string{"oom-throttle/cpu-throttled"}, remedy: `"cpu":"500m"`, ill: func(o *v1alpha1.Observation) {
		impatient(o, limits("50m", ""))
		throttled(o)
	}},
	{name: "CPU limit, and another pod's impatient probe", want: []string{"oom-throttle/cpu-throttled", "probe-kill/probe-too-aggressive"}, remedy: `"cpu":"500m"`, ill: func(o *v1alpha1.Observation) {
		impatient(o)
		detectorstest.AddPod(o, detectorstest.Pod("default", "busy", limits("50m", "")))
		throttled(o)
	}},
	{name: "network namespace gone, and another pod's impatient probe", want: []string{"sandbox-changed/sandbox-network-lost", "probe-kill/probe-too-aggressive"}, remedy: "tasks kill", ill: func(o *v1alpha1.Observation) {
		sandbox(o, "app").NetNSGone = true
		impatient(o)
	}},
}
