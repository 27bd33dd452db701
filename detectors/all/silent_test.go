package all_test

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
	"github.com/sickbay-dev/sickbay/internal/hypervisor"
)

// silent are harmless oddities and problems that are over: no detector may speak.
var silent = []testCase{
	{name: "healthy", ill: func(*v1alpha1.Observation) {}},
	{name: "healthy on cgroup v2", ill: func(o *v1alpha1.Observation) {
		o.Host.CgroupVersion = 2
		o.Kubelet.Config.FailCgroupV1, o.Kubelet.File.FailCgroupV1 = nil, nil
	}},
	{name: "healthy, without the API", ill: func(o *v1alpha1.Observation) {
		o.API = nil
		o.Clocks.APIOffsetKnown = false
		detectorstest.Unknown(o, "no access to the API server was given", v1alpha1.SourceAPI)
	}},
	{name: "the agent did not answer", ill: func(o *v1alpha1.Observation) {
		api := o.API
		*o = v1alpha1.Observation{Node: o.Node, At: o.At, API: api}
		for _, s := range []string{"units", "journal", "kubelet.configz", "kubelet.healthz", "runtime.status", "runtime.sandboxes", "runtime.containers", "runtime.images", "filesystems", "processes", "cgroups", "certificates", "cni", "registries", "kmsg", "network"} {
			detectorstest.Unknown(o, "docker exec: no answer within 4s", s)
		}
	}},
	{name: "a machine that hosts nodes as containers", ill: func(o *v1alpha1.Observation) {
		// Seen by the agent beside them: their containers are in cgroups of theirs, and no runtime of this machine names a pod.
		o.API = nil
		o.Kubelet, o.Runtime = v1alpha1.Kubelet{}, v1alpha1.Runtime{}
		detectorstest.Unknown(o, "connection refused", v1alpha1.SourceAPI, v1alpha1.SourceKubelet, v1alpha1.SourceKubeletAPI, v1alpha1.SourceStatus, v1alpha1.SourceSandboxes, v1alpha1.SourceContainers)
		for i := range o.Containers {
			c := &o.Containers[i]
			c.Pod, c.Namespace, c.Name, c.UnderKubepods, c.CgroupPath = "", "", "", false, "/docker/4f5e6d/kubelet.slice/kubelet-kubepods.slice"
		}
	}},
	{name: "the hardware clock keeps another time", ill: func(o *v1alpha1.Observation) {
		o.Clocks.RTCOffsetKnown, o.Clocks.RTCOffsetSeconds, o.Clocks.Synchronized = true, -7200, false
		o.API.SameKernel = true
	}},
	{name: "one slow look at the runtime", ill: detectorstest.RuntimeSilent},
	{name: "an emulated processor is slow", ill: func(o *v1alpha1.Observation) {
		overworked(o, 2760)
		o.Host.Machine = hypervisor.TCG
	}},
	{name: "PLEG has yet to be successful, right after a start", ill: func(o *v1alpha1.Observation) {
		detectorstest.Log(o, "kubelet", `"Skipping pod synchronization" err="[container runtime status check may not have completed yet, PLEG is not healthy: pleg has yet to be successful]"`, 5*time.Second)
	}},
	{name: "PLEG was unhealthy half an hour ago", ill: func(o *v1alpha1.Observation) {
		detectorstest.Log(o, "kubelet", plegMessage, 30*time.Minute)
		detectorstest.Log(o, "kubelet", "container runtime is down", 29*time.Minute)
	}},
	{name: "a thread of the runtime writes to the disk", ill: func(o *v1alpha1.Observation) {
		o.Processes[0].BlockedD = []v1alpha1.Thread{{TID: 210, Wchan: "io_schedule"}}
	}},
	{name: "runtime throttled a little", ill: func(o *v1alpha1.Observation) {
		o.Processes[0].CPUQuota = v1alpha1.CPUUsage{QuotaMilli: 500, NrPeriods: 600, NrThrottled: 40}
	}},
	{name: "an unrelated filesystem is frozen", ill: func(o *v1alpha1.Observation) {
		o.Filesystems = append(o.Filesystems, v1alpha1.Filesystem{Path: "/data", Mount: "/data", MajorMinor: "7:9", Bytes: 1 << 30, BytesFree: 0, Inodes: 1000, Frozen: true, Roles: []string{"root"}})
	}},
	{name: "an unrelated filesystem is full", ill: func(o *v1alpha1.Observation) {
		o.Filesystems = append(o.Filesystems, v1alpha1.Filesystem{Path: "/data", Mount: "/data", MajorMinor: "7:9", Bytes: 1 << 30, Inodes: 1000, Roles: []string{"root"}})
	}},
	{name: "DiskPressure lingers after the space is back", ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "imagefs.available", "15%", "nodefs.available", "5%")
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	}},
	{name: "soft threshold crossed", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Config.EvictionSoft = map[string]string{"nodefs.available": "50%"}
	}},
	{name: "a huge log of a pod deleted long ago", ill: func(o *v1alpha1.Observation) {
		o.Filesystems[0].TopUsers = []v1alpha1.PathUse{{Path: "/var/lib/kubelet/old-backup", Bytes: 90 << 30, Files: 1}}
	}},
	{name: "a second conflist that sorts later", ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = append(o.CNI.Configs, v1alpha1.CNIConfig{Path: "/etc/cni/net.d/99-old.conflist", Plugins: []string{"weave"}}, v1alpha1.CNIConfig{Path: "/etc/cni/net.d/zz.conf", Error: "no JSON"})
	}},
	{name: "conflist gone, the runtime still has it in memory", ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs, o.CNI.ConfDirError = nil, "no such directory"
	}},
	{name: "the runtime starts and has no socket yet", ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.ActiveSince = ago(2 * time.Second) })
		o.Runtime = v1alpha1.Runtime{Endpoint: o.Runtime.Endpoint, ConfigFile: o.Runtime.ConfigFile}
		detectorstest.Unknown(o, "CRI Status over unix:///run/containerd/containerd.sock: dial unix /run/containerd/containerd.sock: connect: no such file or directory", v1alpha1.SourceStatus)
	}},
	{name: "a pod whose sandboxes were killed is gone, and the runtime still lists them", ill: func(o *v1alpha1.Observation) {
		for i, age := range []time.Duration{50 * time.Second, 20 * time.Second} {
			o.Runtime.Sandboxes = append(o.Runtime.Sandboxes, v1alpha1.Sandbox{ID: fmt.Sprintf("gone-%d", i), Namespace: "lab", Name: "gone", PodUID: "uid-gone", Attempt: uint32(4 + 2*i), CreatedAt: ago(age)})
		}
	}},
	{name: "the kubelet ended itself once, and has settled since", ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveSince, u.NRestarts = ago(25*time.Second), 1 })
		detectorstest.Log(o, "kubelet", `"Failed to start ContainerManager" err="x"`, 27*time.Second)
	}},
	{name: "a line of /etc/hosts about the API server, right", ill: func(o *v1alpha1.Observation) {
		o.Network.Hosts = []string{"172.18.0.2 lab-control-plane"}
	}},
	{name: "bridge-nf-call-iptables off with ptp", ill: func(o *v1alpha1.Observation) { o.Network.BridgeNFCallIPTables = "0" }},
	{name: "all addresses in use by running pods", ill: func(o *v1alpha1.Observation) { o.CNI.IPAM[0].Reserved = 254 }},
	{name: "swap on and tolerated", ill: func(o *v1alpha1.Observation) {
		o.Swaps = []v1alpha1.Swap{{Path: "/swap.img", Type: "file", SizeBytes: 1 << 30, UsedBytes: 1 << 20}}
	}},
	{name: "swap on after the kubelet started", ill: func(o *v1alpha1.Observation) {
		o.Swaps = []v1alpha1.Swap{{Path: "/swap.img", Type: "file", SizeBytes: 1 << 30}}
		o.Kubelet.Config.FailSwapOn, o.Kubelet.File.FailSwapOn = ptr(true), ptr(true)
	}},
	{name: "swap was on", ill: func(o *v1alpha1.Observation) {
		detectorstest.Log(o, "kubelet", `"command failed" err="failed to run Kubelet: running with swap on is not supported"`, 30*time.Second)
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveSince, u.NRestarts = ago(25*time.Second), 9 })
	}},
	{name: "kubelet restarted once", ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveSince, u.NRestarts = ago(2*time.Second), 1 })
		o.Kubelet.Healthz = ""
	}},
	{name: "kubeconfig damaged under a running kubelet", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{Path: "/etc/kubernetes/kubelet.conf", Exists: true, Error: "yaml: line 3"}
	}},
	{name: "dials come late and the lease was renewed a second ago", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Reach = "timeout"
		detectorstest.Log(o, "kubelet", `"Failed to update lease" err="context deadline exceeded"`, 20*time.Second)
		o.API.Lease.Spec.RenewTime = &metav1.MicroTime{Time: o.API.ServerDate.Add(-time.Second)}
	}},
	{name: "one dial to the API server failed", ill: func(o *v1alpha1.Observation) { o.Kubelet.Kubeconfig.Reach = "timeout" }},
	{name: "the API server answered in part", ill: answeredInPart},
	{name: "the API server answered in part, and one dial failed", ill: func(o *v1alpha1.Observation) {
		answeredInPart(o)
		o.Kubelet.Kubeconfig.Reach = "timeout"
	}},
	{name: "a rule against another port", ill: func(o *v1alpha1.Observation) {
		o.Network.RejectRules = []string{"iptables -t filter -A OUTPUT -p tcp -m tcp --dport 25 -j REJECT"}
	}},
	{name: "a wrapper around runc that does as it is told", ill: func(o *v1alpha1.Observation) {
		r := &o.Runtime.Handlers[0]
		r.BinaryName, r.RuntimePath = "/usr/local/sbin/runc-wrapper", "/usr/local/sbin/runc-wrapper"
		o.Files = append(o.Files, v1alpha1.File{Path: r.RuntimePath, Exists: true, Mode: "-rwxr-xr-x", SizeBytes: 42, Script: "/bin/sh"})
	}},
	{name: "hostname-override that agrees with the certificate", ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Flags = append(o.Kubelet.Flags, "--hostname-override=lab-worker")
	}},
	{name: "a cordoned node", ill: func(o *v1alpha1.Observation) { o.API.Node.Spec.Unschedulable = true }},
	{name: "an unused handler without a shim and with another driver", ill: func(o *v1alpha1.Observation) {
		o.Runtime.Handlers[1].ShimPath, o.Runtime.Handlers[1].SystemdCgroup, o.Runtime.Handlers[1].RuntimePath = "", nil, ""
		detectorstest.RuntimeClass(o, "test", "test-handler")
	}},
	{name: "cgroupDriver in the kubelet's file, without effect", ill: func(o *v1alpha1.Observation) { o.Kubelet.File.CgroupDriver = "cgroupfs" }},
	{name: "SystemdCgroup changed in the file, runtime not restarted", ill: func(o *v1alpha1.Observation) { o.Runtime.ConfigFile.Handlers[0].SystemdCgroup = ptr(false) }},
	{name: "a sandbox failed and was made since", ill: func(o *v1alpha1.Observation) {
		event(o, "default", "app", "FailedCreatePodSandBox", "Failed to create pod sandbox: no space left on device; failed to find plugin \"ptp\"", 30*time.Second, 4)
	}},
	{name: "a pod that failed is deleted", ill: func(o *v1alpha1.Observation) {
		event(o, "default", "gone", "FailedCreatePodSandBox", "unable to apply cgroup configuration", 10*time.Second, 4)
	}},
	{name: "old certificates that are not in use", ill: func(o *v1alpha1.Observation) {
		old := o.Certs[1]
		old.Path, old.NotAfter = "/var/lib/kubelet/pki/kubelet-client-2024-01-01.pem", ago(24*time.Hour)
		o.Certs = append(o.Certs, old)
	}},
	{name: "certificate file expired under a kubelet that reports", ill: func(o *v1alpha1.Observation) { o.Certs[1].NotAfter = ago(time.Hour) }},
	{name: "clocks a few seconds apart", ill: func(o *v1alpha1.Observation) {
		o.Clocks.APIOffsetSeconds, o.Clocks.ProcessOffsetSeconds["kubelet"] = 3, -8
	}},
	{name: "an unreferenced hosts.toml", ill: func(o *v1alpha1.Observation) {
		h := registryHost("tls-untrusted")
		h.Error = "toml: line 2"
		o.Registries = []v1alpha1.RegistryHost{h}
	}},
	{name: "the image came since", ill: func(o *v1alpha1.Observation) {
		pullFails(o, registry+"/team/web:1", "x509: certificate signed by unknown authority")
		o.Runtime.Images = append(o.Runtime.Images, v1alpha1.Image{Tags: []string{registry + "/team/web:1"}})
	}},
	{name: "an application that was well for long and hangs now, under a generous probe", ill: func(o *v1alpha1.Observation) {
		probeKills(o, "context deadline exceeded", liveness(8080, "/healthz", func(p *corev1.Probe) { p.TimeoutSeconds, p.PeriodSeconds, p.FailureThreshold = 10, 10, 3 }))
		o.API.Pods[len(o.API.Pods)-1].Status.ContainerStatuses[0].LastTerminationState.Terminated.StartedAt = detectorstest.MetaAgo(5 * time.Hour)
	}},
	{name: "a readiness probe fails", ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "shop"))
		p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{}
		p.Status.ContainerStatuses[0].Ready = false
		event(o, "default", "shop", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 404", 4*time.Second, 90)
	}},
	{name: "a liveness probe failed once and killed once", ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "shop", liveness(8080, "/healthz")))
		p.Status.ContainerStatuses[0].RestartCount = 1
		event(o, "default", "shop", "Unhealthy", "Liveness probe failed: context deadline exceeded", 5*time.Minute, 1)
		event(o, "default", "shop", "Killing", "Container c failed liveness probe, will be restarted", 5*time.Minute, 1)
	}},
	{name: "an application that says it is ill after a while", ill: func(o *v1alpha1.Observation) {
		probeKills(o, "HTTP probe failed with statuscode: 500", liveness(8080, "/healthz", func(p *corev1.Probe) { p.PeriodSeconds, p.FailureThreshold = 10, 3 }))
		p := &o.API.Pods[len(o.API.Pods)-1]
		p.Status.ContainerStatuses[0].LastTerminationState.Terminated.StartedAt = detectorstest.MetaAgo(20 * time.Minute)
	}},
	{name: "an application that exits", ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "broken", detectorstest.Crashing("Error", 1, 9, time.Second)))
		event(o, "default", "broken", "BackOff", "Back-off restarting failed container c", 10*time.Second, 40)
	}},
	{name: "an application killed by itself with 137", ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "broken", limits("", "64Mi"), detectorstest.Crashing("Error", 137, 9, time.Second)))
	}},
	{name: "killed for memory once", ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "hog", limits("", "64Mi")))
		s := &p.Status.ContainerStatuses[0]
		s.RestartCount = 1
		s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137, FinishedAt: detectorstest.MetaAgo(3 * time.Minute)}
	}},
	{name: "another node's memory kill in the shared kernel log", ill: func(o *v1alpha1.Observation) {
		detectorstest.Kmsg(o, "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/docker/other/kubelet/kubepods/pod1234/abcdef", 5*time.Second)
	}},
	{name: "a container throttled a little", ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "busy", limits("500m", "")))
		o.Containers[len(o.Containers)-1].CPU = v1alpha1.CPUUsage{QuotaMilli: 500, NrPeriods: 900, NrThrottled: 200, ThrottledUsec: 4_000_000}
	}},
	{name: "a container throttled a little, in a pod whose other one is at its limit", ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "busy", limits("500m", "")))
		c := &o.Containers[len(o.Containers)-1]
		c.CPU = v1alpha1.CPUUsage{QuotaMilli: 500, NrPeriods: 900, NrThrottled: 200, ThrottledUsec: 4_000_000}
		c.PodCPU = v1alpha1.CPUUsage{QuotaMilli: 520, NrPeriods: 900, NrThrottled: 890, ThrottledUsec: 85_000_000}
	}},
	{name: "a batch job at its limit", ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "batch", limits("500m", "")))
		o.Containers[len(o.Containers)-1].CPU = v1alpha1.CPUUsage{QuotaMilli: 500, NrPeriods: 900, NrThrottled: 895, ThrottledUsec: 45_000_000}
	}},
	{name: "a seccomp profile of its own, and running", ill: func(o *v1alpha1.Observation) {
		o.Security.SeccompProfiles = []string{"profiles/strict.json"}
		detectorstest.AddPod(o, detectorstest.Pod("default", "strict", localhostProfile("profiles/strict.json")))
		detectorstest.Kmsg(o, `audit: type=1326 audit(1.2:3): auid=0 uid=0 pid=9999 comm="x" sig=0 arch=c000003e syscall=165`, 3*time.Second)
	}},
	{name: "AppArmor denials of a healthy container", ill: func(o *v1alpha1.Observation) {
		o.Security.AppArmor = true
		o.Containers[2].LSMLabel = "cri-containerd.apparmor.d (enforce)"
		detectorstest.Kmsg(o, `audit: apparmor="DENIED" operation="ptrace" profile="cri-containerd.apparmor.d" pid=7`, 3*time.Second)
	}},
	{name: "all devices in use", ill: func(o *v1alpha1.Observation) {
		devices(o, "2", "2")
		lampSocket(o, "ok")
		p := detectorstest.Pod("default", "wants-lamp")
		p.Spec.NodeName, p.Status = "", corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/2 nodes are available: 2 Insufficient example.com/lamp."}}}
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{device: resource.MustParse("1")}
		o.API.Pending = []corev1.Pod{*p}
	}},
	{name: "a pod pending for want of CPU", ill: func(o *v1alpha1.Observation) {
		p := detectorstest.Pod("default", "big")
		p.Spec.NodeName, p.Status = "", corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/2 nodes are available: 2 Insufficient cpu."}}}
		o.API.Pending = []corev1.Pod{*p}
	}},
	{name: "a pod that has completed", ill: func(o *v1alpha1.Observation) {
		p := detectorstest.AddPod(o, detectorstest.Pod("default", "job"))
		p.Status.Phase = corev1.PodSucceeded
		p.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed"}}
		sandbox(o, "job").NetNSGone = true
		sandbox(o, "job").Ready = false
	}},
	{name: "a sandbox killed once and made again", ill: func(o *v1alpha1.Observation) {
		event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 20*time.Second, 1)
		s := sandbox(o, "app")
		s.Attempt, s.CreatedAt = 1, ago(18*time.Second)
	}},
	{name: "sandboxes were killed again and again, and are no longer", ill: func(o *v1alpha1.Observation) {
		event(o, "default", "app", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 2*time.Minute, 6)
	}},
	{name: "sandboxes made again after the node's restart", ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.ActiveSince = ago(time.Minute) })
		for i := range o.Runtime.Sandboxes {
			s := &o.Runtime.Sandboxes[i]
			s.Attempt, s.CreatedAt = 3, ago(50*time.Second)
			event(o, s.Namespace, s.Name, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 50*time.Second, 3)
		}
	}},
	{name: "a unit somebody added", ill: func(o *v1alpha1.Observation) {
		o.LocalUnits = []v1alpha1.Unit{{Name: "pause-music.service", ActiveState: "active", ExecStart: "/usr/bin/music"}, {Name: "clock-sync.timer", ActiveState: "active"}}
		o.Units["cron"] = v1alpha1.Unit{Name: "cron.service", ActiveState: "inactive", SubState: "dead"}
	}},
	{name: "a volume that takes its time", ill: func(o *v1alpha1.Observation) { csiWaits(o, true, "") }},
	{name: "a volume just asked for, of a driver that is slow to answer", ill: func(o *v1alpha1.Observation) {
		csiWaits(o, true, "")
		csiSocket(o, "timeout")
		o.API.Pods[len(o.API.Pods)-1].CreationTimestamp = detectorstest.MetaAgo(5 * time.Second)
	}},
	{name: "a volume whose image the driver does not find", ill: func(o *v1alpha1.Observation) {
		csiWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = attach /images/vol-1.img: no such file or directory`)
		csiSocket(o, "ok")
	}},
	{name: "a device plugin that was taken off this node, while others look for one", ill: func(o *v1alpha1.Observation) {
		o.API.Node.Status.Capacity[device], o.API.Node.Status.Allocatable[device] = resource.MustParse("0"), resource.MustParse("0")
		wantsLamp(o)
	}},
	{name: "a device plugin without devices that nobody wants", ill: func(o *v1alpha1.Observation) {
		devices(o, "0", "0")
		lampSocket(o, "ok")
	}},
}

// answeredInPart is the API server's view when a busy one told its version and then nothing within the bound.
func answeredInPart(o *v1alpha1.Observation) {
	o.API = &v1alpha1.API{ServerVersion: o.API.ServerVersion, ServerDate: o.API.ServerDate, AskedAt: o.API.AskedAt}
	detectorstest.Unknown(o, "ask the API server: the API server did not answer within 2s", v1alpha1.SourceAPI)
}
