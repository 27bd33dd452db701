package detectorstest

import (
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// Full fills a filesystem by a file that is nobody's.
func Full(f *v1alpha1.Filesystem, alien string) {
	f.BytesFree = 4 << 20
	own := "/io.containerd.content.v1.content"
	if f.Roles[0] == "nodefs" {
		own = "/pods"
	}
	f.TopUsers = []v1alpha1.PathUse{{Path: alien, Bytes: 290 << 20, Files: 1}, {Path: f.Path + own, Bytes: 120 << 20, Files: 200, Dir: true}}
}

// CNIDown has the runtime say that there is no network, for this reason.
func CNIDown(o *v1alpha1.Observation, load string) {
	o.Runtime.Conditions[1] = v1alpha1.Condition{Type: "NetworkReady", Reason: "NetworkPluginNotReady", Message: "Network plugin returns error: cni plugin not initialized"}
	o.Runtime.LastCNILoad = load
	Condition(o, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized")
}

// NoConfig is what containerd says without a CNI configuration.
const NoConfig = "cni config load failed: no network config found in /etc/cni/net.d: cni plugin not initialized: failed to load cni config"

// SandboxFails adds a pod whose sandbox cannot be made, with these words. The kubelet's lines are as klog quotes them, and newer than
// the event, whose time is cut to the second (kubelet pkg/kubelet/kuberuntime/kuberuntime_manager.go, pod_workers.go).
func SandboxFails(o *v1alpha1.Observation, message string, options ...PodOption) *corev1.Pod {
	p := AddPod(o, Pod("default", "new", append([]PodOption{Waiting("ContainerCreating", "")}, options...)...))
	message = "rpc error: code = Unknown desc = " + message
	Event(o, "default", "new", "FailedCreatePodSandBox", "Failed to create pod sandbox: "+message, 8*time.Second, 7)
	Log(o, "kubelet", `"CreatePodSandbox for pod failed" err=`+strconv.Quote(message)+` pod="default/new"`, 7900*time.Millisecond)
	Log(o, "kubelet", `"Error syncing pod, skipping" err=`+strconv.Quote(`failed to "CreatePodSandbox" for "new_default(0a1b)" with CreatePodSandboxError: `+
		strconv.Quote(`Failed to create sandbox for pod "new_default(0a1b)": `+message))+` pod="default/new" podUID="0a1b"`, 7800*time.Millisecond)
	return p
}

// All is several ills at once.
func All(ills ...func(o *v1alpha1.Observation)) func(o *v1alpha1.Observation) {
	return func(o *v1alpha1.Observation) {
		for _, ill := range ills {
			ill(o)
		}
	}
}

// NotMadeAgain is a running pod whose sandbox ended: the kubelet has taken its network down, and makes no new one.
func NotMadeAgain(o *v1alpha1.Observation) {
	for i := range o.Runtime.Sandboxes {
		if s := &o.Runtime.Sandboxes[i]; s.Name == "app" {
			s.Ready, s.NetNSGone = false, true
		}
	}
}

// TriedAgain is a pod whose sandbox the kubelet makes again and again.
func TriedAgain(o *v1alpha1.Observation) {
	Event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 10*time.Second, 6)
}

// Evict has the kubelet evict a pod.
func Evict(o *v1alpha1.Observation, name string) {
	for i := range o.API.Pods {
		if p := &o.API.Pods[i]; p.Name == name {
			p.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node had condition: [DiskPressure]. "}
		}
	}
}

// RunFilesystem is a filesystem of its own for /run.
func RunFilesystem(o *v1alpha1.Observation) *v1alpha1.Filesystem {
	o.Filesystems = append(o.Filesystems, v1alpha1.Filesystem{Path: "/run/containerd", Mount: "/run", Device: "tmpfs", MajorMinor: "0:25", Type: "tmpfs", Bytes: 8 << 20, BytesFree: 5 << 20, Inodes: 1200, InodesFree: 500,
		Roles: []string{"containerd-state", "run", "netns", "cni-state"}})
	return &o.Filesystems[len(o.Filesystems)-1]
}

// ills are what an edge of the causal graph adds to a case: "failure: case + ill".
var ills = map[string]func(o *v1alpha1.Observation){
	"a sandbox that ended":           NotMadeAgain,
	"a sandbox made again and again": TriedAgain,
	"a device plugin that ended":     PluginGone,
	"a CSI driver that is gone":      func(o *v1alpha1.Observation) { CSIWaits(o, false, NotInTheList) },
	"a killer of sandboxes": func(o *v1alpha1.Observation) {
		TriedAgain(o)
		o.LocalUnits = append(o.LocalUnits, v1alpha1.Unit{Name: "tidy.service", ActiveState: "active", SubState: "running", ActiveSince: Ago(time.Hour), ExecStart: "/opt/tidy",
			Script: "#!/bin/sh\nwhile sleep 9; do crictl pods -q | xargs crictl stopp; done\n"})
	},
	"a running sandbox without its network": func(o *v1alpha1.Observation) {
		for i := range o.Runtime.Sandboxes {
			if s := &o.Runtime.Sandboxes[i]; s.Name == "app" {
				s.NetNSGone = true
			}
		}
	},
	"an evicted device plugin": func(o *v1alpha1.Observation) { PluginGone(o); Evict(o, "lamp-plugin-4x") },
	"an evicted CSI driver":    func(o *v1alpha1.Observation) { CSIWaits(o, false, NotInTheList); Evict(o, "csi-node-77") },
	"a kubelet that does not know a flag": func(o *v1alpha1.Observation) {
		KubeletLoops(o, "failed to parse kubelet flag: unknown flag: --network-plugin")
	},
	"/run full": func(o *v1alpha1.Observation) {
		RunFilesystem(o).BytesFree = 0
		SandboxFails(o, `failed to create network namespace for sandbox "ab12": open /var/run/netns/cni-2f6a: no space left on device`)
	},
	"no inode left in /run": func(o *v1alpha1.Observation) {
		RunFilesystem(o).InodesFree = 0
		SandboxFails(o, `failed to create network namespace for sandbox "ab12": open /var/run/netns/cni-2f6a: no space left on device`)
	},
	"a kubelet that starts":         func(o *v1alpha1.Observation) { KubeletLoops(o, NoRuntime) },
	"a registry signed by nobody":   SignedByNobody,
	"another pod's impatient probe": func(o *v1alpha1.Observation) { Impatient(o) },
	"another CA in the kubeconfig":  AnotherCA,
	"kubelet stopped":               KubeletStopped,
	"runtime stopped":               RuntimeStopped,
	"nodefs full":                   NodefsFull,
	"no inode left for images": func(o *v1alpha1.Observation) {
		Thresholds(o, "imagefs.inodesFree", "5%")
		for i := range o.Filesystems {
			if f := &o.Filesystems[i]; f.Roles[0] == "imagefs" {
				f.InodesFree = 0
			}
		}
		Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	},
	"imagefs full": func(o *v1alpha1.Observation) {
		Thresholds(o, "imagefs.available", "15%")
		Full(LoopFilesystem(o, "/var/lib/containerd", "imagefs"), "/var/lib/containerd/fill")
		Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	},
	"conflist gone": func(o *v1alpha1.Observation) {
		o.CNI.Configs = nil
		CNIDown(o, NoConfig)
	},
}

// SilentKubelet has the kubelet renew no lease, and say a line.
func SilentKubelet(o *v1alpha1.Observation, line string) {
	o.API.Lease.Spec.RenewTime = &metav1.MicroTime{Time: Ago(70 * time.Second)}
	Condition(o, corev1.NodeReady, corev1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status.")
	Log(o, "kubelet", line, 4*time.Second)
}

// PullFails adds a pod whose image cannot be pulled, with these words.
func PullFails(o *v1alpha1.Observation, image, message string, options ...PodOption) *corev1.Pod {
	p := AddPod(o, Pod("default", "web", append([]PodOption{
		With(func(c *corev1.Container) { c.Image = image }), Waiting("ImagePullBackOff", `Back-off pulling image "`+image+`"`)}, options...)...))
	Event(o, "default", "web", "Failed", `Failed to pull image "`+image+`": rpc error: code = Unknown desc = failed to pull and unpack image "`+image+`": failed to resolve reference "`+image+`": `+message, 30*time.Second, 4)
	return p
}

// Registry is a registry of the user's own.
const Registry = "registry.example.test:5000"

// RegistryHost is its folder in certs.d.
func RegistryHost(reach string) v1alpha1.RegistryHost {
	return v1alpha1.RegistryHost{Host: Registry, Path: "/etc/containerd/certs.d/" + Registry + "/hosts.toml", Server: "https://" + Registry,
		Mirrors: []v1alpha1.RegistryMirror{{URL: "https://" + Registry, Reach: reach,
			Chain: []v1alpha1.ShownCertificate{{Subject: "CN=registry", Issuer: "CN=Registry CA", SHA256: "1111"}, {Subject: "CN=Registry CA", Issuer: "CN=Registry CA", SHA256: "2222"}},
			Known: &v1alpha1.TrustedCA{SHA256: "2222", Subject: "CN=Registry CA", Path: "/usr/local/share/ca-certificates/registry.crt"}}}}
}

// Liveness gives a container an impatient liveness probe.
func Liveness(port int, path string, changes ...func(*corev1.Probe)) PodOption {
	return With(func(c *corev1.Container) {
		c.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt(port)}}, TimeoutSeconds: 1, PeriodSeconds: 2, FailureThreshold: 1, SuccessThreshold: 1}
		c.Ports = []corev1.ContainerPort{{ContainerPort: 8080}}
		for _, f := range changes {
			f(c.LivenessProbe)
		}
	})
}

// ProbeKills adds a pod that its liveness probe kills again and again.
func ProbeKills(o *v1alpha1.Observation, message string, options ...PodOption) {
	AddPod(o, Pod("default", "shop", append(options, Crashing("Error", 137, 4, 3*time.Second))...))
	Event(o, "default", "shop", "Unhealthy", "Liveness probe failed: "+message, 21*time.Second, 5)
	Event(o, "default", "shop", "Killing", "Container c failed liveness probe, will be restarted", 20*time.Second, 5)
	Event(o, "default", "shop", "BackOff", "Back-off restarting failed container c", 10*time.Second, 9)
}

// Device is an extended resource.
const Device = "example.com/lamp"

// Devices has the node offer so many of the device, by a plugin's pod.
func Devices(o *v1alpha1.Observation, capacity, allocatable string) {
	o.API.Node.Status.Capacity[Device] = resource.MustParse(capacity)
	o.API.Node.Status.Allocatable[Device] = resource.MustParse(allocatable)
	AddPod(o, Pod("kube-system", "lamp-plugin-4x", DaemonSet("lamp-plugin"), HostPath("/var/lib/kubelet/device-plugins")))
}

// LampSocket is the device plugin's socket.
func LampSocket(o *v1alpha1.Observation, answers string) {
	o.Sockets = append(o.Sockets, v1alpha1.PluginSocket{Path: "/var/lib/kubelet/device-plugins/lamp.sock", Kind: "device-plugin", Name: Device, Answers: answers})
}

// Driver is a CSI driver.
const Driver = "csi.sickbay.dev"

// CSIWaits adds a pod that waits for a volume of the driver.
func CSIWaits(o *v1alpha1.Observation, registered bool, message string) {
	if registered {
		o.API.CSINode.Spec.Drivers = []storagev1.CSINodeDriver{{Name: Driver, NodeID: o.Node}}
	}
	o.API.PVCs = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv-1"}}}
	o.API.PVs = []corev1.PersistentVolume{{ObjectMeta: metav1.ObjectMeta{Name: "pv-1"}, Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{
		CSI: &corev1.CSIPersistentVolumeSource{Driver: Driver, VolumeHandle: "vol-1", VolumeAttributes: map[string]string{"image": "/var/lib/sickbay-csi/vol-1.img"}}}}}}
	AddPod(o, Pod("kube-system", "csi-node-77", DaemonSet("csi-node"), HostPath("/var/lib/kubelet/plugins/"+Driver), HostPath("/var/lib/kubelet/plugins_registry")))
	AddPod(o, Pod("default", "db", Waiting("ContainerCreating", ""), func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
	}))
	if message != "" {
		Event(o, "default", "db", "FailedMount", message, 20*time.Second, 4)
	}
}

// NodefsFull fills the kubelet's own filesystem, under a threshold.
func NodefsFull(o *v1alpha1.Observation) {
	Thresholds(o, "nodefs.available", "10%")
	Full(LoopFilesystem(o, "/var/lib/kubelet", "nodefs"), "/var/lib/kubelet/fill")
	Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
}

// RuntimeStopped is a runtime that somebody stopped.
func RuntimeStopped(o *v1alpha1.Observation) {
	Unit(o, "containerd", func(u *v1alpha1.Unit) { u.ActiveState, u.SubState, u.MainPID = "inactive", "dead", 0 })
	o.Processes = o.Processes[1:]
	RuntimeSilent(o)
	Condition(o, corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", "container runtime is down")
}

// KubeletStopped is a kubelet that somebody stopped.
func KubeletStopped(o *v1alpha1.Observation) {
	Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveState, u.SubState, u.MainPID = "inactive", "dead", 0 })
	o.Kubelet.Healthz, o.Kubelet.ConfigSource = "", ""
	SilentKubelet(o, "Stopped kubelet.service")
}

// AnotherCA is a kubeconfig with a CA that is not the API server's.
func AnotherCA(o *v1alpha1.Observation) {
	o.Kubelet.Kubeconfig.Reach, o.Kubelet.Kubeconfig.ServerCAMatches, o.Kubelet.Kubeconfig.CASHA256 = "tls-untrusted", false, "bb22"
	SilentKubelet(o, `"Unable to register node with API server" err="tls: failed to verify certificate: x509: certificate signed by unknown authority"`)
}

// SignedByNobody is a pull from a registry whose CA the node does not know.
func SignedByNobody(o *v1alpha1.Observation) {
	o.Registries = []v1alpha1.RegistryHost{RegistryHost("tls-untrusted")}
	PullFails(o, Registry+"/team/web:1", `failed to do request: Head "https://`+Registry+`/v2/team/web/manifests/1": tls: failed to verify certificate: x509: certificate signed by unknown authority`)
}

// PluginGone is a device plugin whose process ended.
func PluginGone(o *v1alpha1.Observation) {
	Devices(o, "2", "0")
	LampSocket(o, "refused")
	Log(o, "kubelet", `"ListAndWatch ended unexpectedly for device plugin" err="EOF" resource="example.com/lamp"`, time.Minute)
}

// Impatient is the pod shop, whose liveness probe allows it one second.
func Impatient(o *v1alpha1.Observation, options ...PodOption) {
	ProbeKills(o, `Get "http://10.244.1.9:8080/healthz": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`,
		append([]PodOption{Liveness(8080, "/healthz"), Deployment("shop")}, options...)...)
}

// NoBootstrap is what a kubelet without a usable certificate ends with.
const NoBootstrap = "failed to run Kubelet: unable to load bootstrap kubeconfig: stat /etc/kubernetes/bootstrap-kubelet.conf: no such file or directory"

// SwapRefused is what a kubelet with swap on ends with.
const SwapRefused = "failed to run Kubelet: running with swap on is not supported, please disable swap or set --fail-swap-on flag to false"

// NotInTheList is what the kubelet says of a CSI driver that has not registered.
const NotInTheList = `MountVolume.MountDevice failed for volume "pv-1" : kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: driver name csi.sickbay.dev not found in the list of registered CSI drivers`

// NoRuntime is what a kubelet ends with that starts and gets no answer from the runtime.
const NoRuntime = "failed to run Kubelet: validate service connection: validate CRI v1 runtime API for endpoint: rpc error: code = DeadlineExceeded desc = context deadline exceeded"

// CRIO has CRI-O run the node. containerd.service is asked for all the same, and systemctl answers with defaults for a unit that is not
// there; CRI-O's verbose status has no containerd part, and its handlers have no type.
func CRIO(o *v1alpha1.Observation) {
	o.Units["containerd"] = v1alpha1.Unit{Name: "containerd.service", LoadState: "not-found", ActiveState: "inactive", SubState: "dead", Result: "success", KillMode: "control-group"}
	o.Units["crio"] = v1alpha1.Unit{Name: "crio.service", LoadState: "loaded", ActiveState: "active", SubState: "running", Result: "success", MainPID: 200, KillMode: "process", ActiveSince: Ago(time.Hour)}
	o.Processes[0] = v1alpha1.Process{PID: 200, Name: "crio", Unit: "crio", State: "S", Exe: "/usr/bin/crio"}
	rt := &o.Runtime
	rt.Endpoint, rt.Name, rt.Version, rt.LastCNILoad = "unix:///var/run/crio/crio.sock", "cri-o", "1.34.0", ""
	rt.Unit, rt.Exe, rt.ConfigFiles = "crio", "/usr/bin/crio", []string{"/etc/crio/crio.conf.d/10-crio.conf"}
	rt.CLI = []string{"/usr/bin/crictl", "--runtime-endpoint", rt.Endpoint}
	rt.DefaultHandler, rt.Handlers, rt.ConfigFile = "crun", []v1alpha1.RuntimeHandler{{Name: "crun"}, {Name: "runc"}}, v1alpha1.RuntimeConfigFile{}
	rt.Snapshotter, rt.RootDir, rt.StateDir = "", "/var/lib/containers/storage", "/run/containers/storage"
	o.Kubelet.Config.RuntimeEndpoint, o.Kubelet.File.RuntimeEndpoint = rt.Endpoint, rt.Endpoint
	o.Clocks.ProcessOffsetSeconds = map[string]float64{"kubelet": 0}
}
