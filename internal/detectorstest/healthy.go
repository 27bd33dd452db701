// Package detectorstest serves the detectors' tests: observations of a healthy node of a kind cluster, to be changed by each case,
// and a place to run the scripts of remedies. It knows observations and API types only.
package detectorstest

import (
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// Now is the time of the last look of every case.
var Now = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

// Node is the name of the node.
const Node = "lab-worker"

// Ptr is a pointer to a value.
func Ptr[T any](v T) *T { return &v }

// Ago is a time before the last look.
func Ago(d time.Duration) time.Time { return Now.Add(-d) }

// MetaAgo is the same for API objects.
func MetaAgo(d time.Duration) metav1.Time { return metav1.NewTime(Ago(d)) }

// Healthy is a worker with a CNI agent, kube-proxy and one application pod, as kind makes it on cgroup v1.
func Healthy() *v1alpha1.Observation {
	config := v1alpha1.KubeletConfig{
		CgroupDriver: "systemd", FailSwapOn: Ptr(false), FailCgroupV1: Ptr(false),
		EvictionHard:                     map[string]string{"imagefs.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%"},
		EvictionPressureTransitionPeriod: "5m0s", ImageGCHighThresholdPercent: Ptr(int32(100)),
		RuntimeEndpoint: "unix:///run/containerd/containerd.sock", NodeStatusUpdateFrequency: "10s", MaxPods: 110, RotateCertificates: Ptr(true),
	}
	unit := func(name string, pid int) v1alpha1.Unit {
		return v1alpha1.Unit{Name: name, LoadState: "loaded", ActiveState: "active", SubState: "running", Result: "success", UnitFileState: "enabled",
			MainPID: pid, ActiveSince: Ago(time.Hour), StateSince: Ago(time.Hour), KillMode: "process"}
	}
	path := []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}
	o := &v1alpha1.Observation{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindObservation, Node: Node, At: Now, TookMS: 140,
		Host: v1alpha1.Host{Hostname: Node, Kernel: "6.18.0", CgroupVersion: 1, InContainer: true, CPUs: 2, MemoryBytes: 24 << 30, LoadAverage1: 0.7, UptimeSeconds: 90000, Arch: "amd64"},
		Units: map[string]v1alpha1.Unit{
			"kubelet": unit("kubelet.service", 300), "containerd": unit("containerd.service", 200),
		},
		Kubelet: v1alpha1.Kubelet{
			Version: "v1.37.2", Healthz: "ok", Config: config, ConfigSource: "configz", File: config,
			Flags: []string{"/usr/bin/kubelet", "--kubeconfig=/etc/kubernetes/kubelet.conf", "--config=/var/lib/kubelet/config.yaml"},
			Kubeconfig: v1alpha1.Kubeconfig{Path: "/etc/kubernetes/kubelet.conf", Exists: true, Server: "https://lab-control-plane:6443", CASubject: "CN=kubernetes", CASHA256: "aa11",
				ClientCert: "/var/lib/kubelet/pki/kubelet-client-current.pem", User: "default-auth", Reach: "ok", ServerCAMatches: true},
			Unit: "kubelet", PID: 300, RootDir: "/var/lib/kubelet", CertDir: "/var/lib/kubelet/pki", ConfigFiles: []string{"/var/lib/kubelet/config.yaml"},
			NodeNames: []string{Node}, Environment: v1alpha1.Environment{Path: path},
			Bootstrap: v1alpha1.Kubeconfig{Path: "/etc/kubernetes/bootstrap-kubelet.conf"},
		},
		Runtime: v1alpha1.Runtime{
			Endpoint: "unix:///run/containerd/containerd.sock", Name: "containerd", Version: "v2.4.2",
			Unit: "containerd", PID: 200, Exe: "/usr/local/bin/containerd", Environment: v1alpha1.Environment{Path: path},
			CLI: []string{"/usr/local/bin/crictl", "--runtime-endpoint", "unix:///run/containerd/containerd.sock"}, ConfigFiles: []string{"/etc/containerd/config.toml"},
			Conditions:  []v1alpha1.Condition{{Type: "RuntimeReady", Status: true}, {Type: "NetworkReady", Status: true}},
			LastCNILoad: "OK", CgroupDriver: "systemd", DefaultHandler: "runc",
			Handlers: []v1alpha1.RuntimeHandler{
				{Name: "runc", Type: "io.containerd.runc.v2", SystemdCgroup: Ptr(true), ShimPath: "/usr/local/bin/containerd-shim-runc-v2", RuntimePath: "/usr/local/sbin/runc"},
				{Name: "test-handler", Type: "io.containerd.runc.v2", SystemdCgroup: Ptr(true), ShimPath: "/usr/local/bin/containerd-shim-runc-v2", RuntimePath: "/usr/local/sbin/runc"},
			},
			Snapshotter: "overlayfs", RootDir: "/var/lib/containerd", StateDir: "/run/containerd",
			ConfigFile: v1alpha1.RuntimeConfigFile{Path: "/etc/containerd/config.toml", ConfigPath: "/etc/containerd/certs.d", Handlers: []v1alpha1.RuntimeHandler{
				{Name: "runc", Type: "io.containerd.runc.v2", SystemdCgroup: Ptr(true)}, {Name: "test-handler", Type: "io.containerd.runc.v2", SystemdCgroup: Ptr(true)}}},
			Images: []v1alpha1.Image{{ID: "sha256:1", Tags: []string{"registry.k8s.io/e2e-test-images/agnhost:2.53"}, SizeBytes: 50 << 20}},
			CallMS: map[string]int64{"Status": 6, "ListPodSandbox": 2, "ListContainers": 3},
		},
		Filesystems: []v1alpha1.Filesystem{
			// One disk of the host for everything, as with kind's /var volume: 92% used, which is nobody's illness.
			{Path: "/var/lib/kubelet", Mount: "/var", Device: "/dev/vda1", MajorMinor: "254:1", Type: "ext4", Bytes: 500 << 30, BytesFree: 40 << 30, Inodes: 32 << 20, InodesFree: 30 << 20, Roles: []string{"nodefs"}},
			{Path: "/var/lib/containerd", Mount: "/var", Device: "/dev/vda1", MajorMinor: "254:1", Type: "ext4", Bytes: 500 << 30, BytesFree: 40 << 30, Inodes: 32 << 20, InodesFree: 30 << 20, Roles: []string{"imagefs"}},
		},
		Processes: []v1alpha1.Process{
			{PID: 200, Name: "containerd", Unit: "containerd", State: "S", Threads: 12}, {PID: 300, Name: "kubelet", Unit: "kubelet", State: "S", Threads: 15},
		},
		Certs: []v1alpha1.Certificate{
			{Path: "/etc/kubernetes/pki/ca.crt", Use: "ca", Subject: "CN=kubernetes", Issuer: "CN=kubernetes", NotBefore: Ago(24 * time.Hour), NotAfter: Now.AddDate(10, 0, 0), SHA256: "aa11", ChainsToCA: true},
			{Path: "/var/lib/kubelet/pki/kubelet-client-current.pem", Use: "kubelet-client", Subject: "O=system:nodes,CN=system:node:lab-worker", Issuer: "CN=kubernetes", NotBefore: Ago(24 * time.Hour), NotAfter: Now.AddDate(1, 0, 0), ChainsToCA: true},
		},
		Clocks: v1alpha1.Clocks{NodeUnix: float64(Now.Unix()), ProcessOffsetSeconds: map[string]float64{"kubelet": -0.002, "containerd": 0.001}, APIOffsetKnown: true, APIOffsetSeconds: 0.4, Synchronized: true},
		CNI: v1alpha1.CNI{ConfDir: "/etc/cni/net.d", BinDirs: []string{"/opt/cni/bin"}, Binaries: []string{"host-local", "loopback", "portmap", "ptp"},
			Configs: []v1alpha1.CNIConfig{{Path: "/etc/cni/net.d/10-kindnet.conflist", Name: "kindnet", Plugins: []string{"ptp", "host-local", "portmap"}, Subnets: []string{"10.244.1.0/24"}, ModTime: Ago(time.Hour), Used: true}},
			IPAM:    []v1alpha1.IPAMState{{Network: "kindnet", Dir: "/run/cni-ipam-state/kindnet", Subnet: "10.244.1.0/24", Capacity: 254, Reserved: 1}}},
		Limits: []v1alpha1.Limit{{Name: "pids", Of: "node", Used: 900, Max: 32768}, {Name: "conntrack", Of: "node", Used: 300, Max: 65536}, {Name: "open-files", Of: "kubelet 300", Used: 40, Max: 1048576},
			{Name: "ephemeral-ports", Of: "172.18.0.2:6443", Used: 6, Max: 28232}, {Name: "inotify-instances", Of: "uid 0", Used: 30, Max: 8192}, {Name: "inotify-watches", Of: "uid 0", Used: 200, Max: 524288}},
		Network: v1alpha1.Network{BridgeNFCallIPTables: "1", IPForward: "1", DefaultRoute: "172.18.0.1"},
	}
	o.API = &v1alpha1.API{
		ServerVersion: "v1.37.2", ServerDate: Now, AskedAt: Now,
		Node: &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: Node, UID: "n1"}, Status: corev1.NodeStatus{
			Capacity:    corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("24Gi"), "hugepages-2Mi": resource.MustParse("0")},
			Allocatable: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("24Gi"), "hugepages-2Mi": resource.MustParse("0")},
			Conditions: []corev1.NodeCondition{
				{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficientMemory"},
				{Type: corev1.NodeDiskPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasNoDiskPressure"},
				{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status", LastHeartbeatTime: MetaAgo(4 * time.Second)},
			}}},
		Lease:     &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: Ago(3 * time.Second)}}},
		CSINode:   &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: Node}},
		Endpoints: []string{"lab-control-plane", "172.18.0.2"},
	}
	AddPod(o, Pod("kube-system", "kindnet-x7k2p", DaemonSet("kindnet"), HostNetwork, HostPath("/etc/cni/net.d")))
	AddPod(o, Pod("kube-system", "kube-proxy-q9d4m", DaemonSet("kube-proxy"), HostNetwork, HostPath("/lib/modules")))
	AddPod(o, Pod("default", "app"))
	return o
}

// PodOption changes a pod.
type PodOption func(*corev1.Pod)

// Pod is a running pod of one container "c".
func Pod(namespace, name string, options ...PodOption) *corev1.Pod {
	start := MetaAgo(30 * time.Minute)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + name), CreationTimestamp: start},
		Spec: corev1.PodSpec{NodeName: Node, TerminationGracePeriodSeconds: Ptr(int64(1)), RestartPolicy: corev1.RestartPolicyAlways,
			Containers: []corev1.Container{{Name: "c", Image: "registry.k8s.io/e2e-test-images/agnhost:2.53", ImagePullPolicy: corev1.PullIfNotPresent}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.244.1.7", StartTime: &start, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "c", Ready: true, Started: Ptr(true), ContainerID: "containerd://cid-" + name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: start}}}}},
	}
	for _, f := range options {
		f(p)
	}
	return p
}

// DaemonSet makes the pod one of a DaemonSet.
func DaemonSet(name string) PodOption { return owned("DaemonSet", "apps/v1", name) }

// Deployment makes the pod one of a Deployment's ReplicaSet.
func Deployment(name string) PodOption {
	return func(p *corev1.Pod) {
		owned("ReplicaSet", "apps/v1", name+"-7d9f")(p)
		p.Labels = map[string]string{"pod-template-hash": "7d9f"}
	}
}

func owned(kind, version, name string) PodOption {
	return func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: version, Kind: kind, Name: name, Controller: Ptr(true)}}
	}
}

// HostNetwork puts the pod on the node's network.
func HostNetwork(p *corev1.Pod) { p.Spec.HostNetwork = true }

// HostPath mounts a path of the node.
func HostPath(path string) PodOption {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: fmt.Sprintf("v%d", len(p.Spec.Volumes)), VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}}})
	}
}

// Waiting has the pod's container wait.
func Waiting(reason, message string) PodOption {
	return func(p *corev1.Pod) {
		p.Status.Phase, p.Status.PodIP = corev1.PodPending, ""
		s := &p.Status.ContainerStatuses[0]
		s.Ready, s.Started = false, Ptr(false)
		if reason == "ContainerCreating" {
			s.ContainerID = ""
		}
		s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	}
}

// Crashing has the container wait in back-off after ends with this reason and code, each after a life of the given length.
func Crashing(reason string, code int32, restarts int32, life time.Duration) PodOption {
	return func(p *corev1.Pod) {
		s := &p.Status.ContainerStatuses[0]
		s.Ready, s.RestartCount = false, restarts
		s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 40s restarting failed container"}}
		s.LastTerminationState = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: reason, ExitCode: code,
			StartedAt: MetaAgo(20*time.Second + life), FinishedAt: MetaAgo(20 * time.Second), ContainerID: "containerd://old-" + p.Name}}
	}
}

// With changes the container's spec.
func With(change func(*corev1.Container)) PodOption {
	return func(p *corev1.Pod) { change(&p.Spec.Containers[0]) }
}

// AddPod gives the node a pod, and the runtime its sandbox and container where it runs.
func AddPod(o *v1alpha1.Observation, p *corev1.Pod) *corev1.Pod {
	o.API.Pods = append(o.API.Pods, *p)
	if p.Status.Phase == corev1.PodRunning {
		sid := "sb-" + p.Name
		s := v1alpha1.Sandbox{ID: sid, Name: p.Name, Namespace: p.Namespace, PodUID: string(p.UID), Ready: true, CreatedAt: p.CreationTimestamp.Time, PID: 4000 + len(o.Runtime.Sandboxes)}
		if !p.Spec.HostNetwork {
			s.NetNS = "/run/netns/cni-" + p.Name
		}
		o.Runtime.Sandboxes = append(o.Runtime.Sandboxes, s)
		o.Runtime.Containers = append(o.Runtime.Containers, v1alpha1.Container{ID: "cid-" + p.Name, SandboxID: sid, Name: "c", Pod: p.Name, Namespace: p.Namespace, PodUID: string(p.UID), State: "running", CreatedAt: p.CreationTimestamp.Time})
		o.Containers = append(o.Containers, v1alpha1.ContainerUsage{ID: "cid-" + p.Name, Pod: p.Name, Namespace: p.Namespace, Name: "c", PID: 5000 + len(o.Containers),
			CgroupPath: "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + string(p.UID) + ".slice/cid-" + p.Name, UnderKubepods: true, MemoryBytes: 20 << 20})
	}
	return &o.API.Pods[len(o.API.Pods)-1]
}

// Event adds an event about a pod or, with an empty pod, the node.
func Event(o *v1alpha1.Observation, namespace, pod, reason, message string, ago time.Duration, count int32) {
	ref := corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: pod}
	if pod == "" {
		ref = corev1.ObjectReference{Kind: "Node", Name: o.Node}
	}
	o.API.Events = append(o.API.Events, corev1.Event{InvolvedObject: ref, Reason: reason, Message: message, Type: "Warning", Count: count,
		FirstTimestamp: MetaAgo(ago + time.Minute), LastTimestamp: MetaAgo(ago)})
}

// Log adds a journal line of a unit.
func Log(o *v1alpha1.Observation, unit, text string, ago time.Duration) {
	o.Journal.Lines = append(o.Journal.Lines, v1alpha1.LogLine{Source: unit, At: Ago(ago), Own: Ago(ago), Text: text})
}

// Kmsg adds a line of the kernel log.
func Kmsg(o *v1alpha1.Observation, text string, ago time.Duration) {
	o.Kmsg = append(o.Kmsg, v1alpha1.LogLine{Source: "kernel", At: Ago(ago), Text: text})
}

// Condition sets a condition of the node.
func Condition(o *v1alpha1.Observation, kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) {
	for i := range o.API.Node.Status.Conditions {
		if c := &o.API.Node.Status.Conditions[i]; c.Type == kind {
			c.Status, c.Reason, c.Message, c.LastTransitionTime = status, reason, message, MetaAgo(20*time.Second)
		}
	}
}

// Unknown says that a source could not be read.
func Unknown(o *v1alpha1.Observation, why string, sources ...string) {
	for _, s := range sources {
		o.Unknown = append(o.Unknown, v1alpha1.Unknown{What: s, Why: why})
	}
}

// RuntimeSilent has every CRI call go unanswered.
func RuntimeSilent(o *v1alpha1.Observation) {
	was := o.Runtime
	Unknown(o, "Status over unix:///run/containerd/containerd.sock gave no answer within 1.5 s", v1alpha1.SourceStatus)
	Unknown(o, "ListPodSandbox over unix:///run/containerd/containerd.sock gave no answer within 1.5 s", v1alpha1.SourceSandboxes)
	Unknown(o, "ListContainers over unix:///run/containerd/containerd.sock gave no answer within 1.5 s", v1alpha1.SourceContainers)
	o.Runtime = v1alpha1.Runtime{Endpoint: was.Endpoint, Name: was.Name, Unit: was.Unit, PID: was.PID, Exe: was.Exe, Environment: was.Environment, CLI: was.CLI,
		ConfigFiles: was.ConfigFiles, ConfigFile: was.ConfigFile}
}

// Unit changes a unit.
func Unit(o *v1alpha1.Observation, name string, change func(*v1alpha1.Unit)) {
	u := o.Units[name]
	change(&u)
	o.Units[name] = u
}

// KubeletLoops has the kubelet exit at every start with these last words.
func KubeletLoops(o *v1alpha1.Observation, words string) {
	Unit(o, "kubelet", func(u *v1alpha1.Unit) {
		u.ActiveState, u.SubState, u.Result, u.ExecMainStatus, u.NRestarts, u.MainPID = "activating", "auto-restart", "exit-code", 1, 14, 0
		u.StateSince = Ago(time.Second)
	})
	o.Kubelet.Healthz, o.Kubelet.HealthzError, o.Kubelet.ConfigSource, o.Kubelet.Flags = "", "connection refused", "", nil
	o.Kubelet.Config = v1alpha1.KubeletConfig{}
	o.API.Configz = nil
	delete(o.Clocks.ProcessOffsetSeconds, "kubelet")
	for i, ago := range []time.Duration{13, 11, 9, 7, 5, 3, 1} {
		Log(o, "kubelet", fmt.Sprintf(`E1124 09:59:%02d.000000 %d run.go:72] "command failed" err="%s"`, 59-int(ago), 900+i, words), ago*time.Second)
	}
	o.API.Lease.Spec.RenewTime = &metav1.MicroTime{Time: Ago(80 * time.Second)}
	Condition(o, corev1.NodeReady, corev1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status.")
}

// LoopFilesystem gives the runtime or kubelet a small filesystem of its own.
func LoopFilesystem(o *v1alpha1.Observation, path, role string) *v1alpha1.Filesystem {
	for i := range o.Filesystems {
		f := &o.Filesystems[i]
		if f.Roles[0] == role {
			*f = v1alpha1.Filesystem{Path: path, Mount: path, Device: "/dev/loop3", MajorMinor: "7:3", Type: "ext4", Bytes: 512 << 20, BytesFree: 300 << 20, Inodes: 32768, InodesFree: 30000, Roles: []string{role}}
			return f
		}
	}
	return nil
}

// Thresholds sets evictionHard of the running kubelet.
func Thresholds(o *v1alpha1.Observation, kv ...string) {
	m := map[string]string{}
	for i := 0; i+1 < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	o.Kubelet.Config.EvictionHard, o.Kubelet.File.EvictionHard = m, m
}

// RuntimeClass gives the cluster a RuntimeClass.
func RuntimeClass(o *v1alpha1.Observation, name, handler string) {
	o.API.RuntimeClasses = append(o.API.RuntimeClasses, nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Handler: handler})
}

// Rules gives the node's firewall these rules.
func Rules(o *v1alpha1.Observation, texts ...string) {
	for _, t := range texts {
		o.Network.RejectRules = append(o.Network.RejectRules, v1alpha1.ParseRule(t))
	}
}
