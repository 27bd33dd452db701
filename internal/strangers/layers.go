package strangers

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

// network lays a conflist into the runtime's directory, its plugins into the first of the plugin directories, and its agent's pod.
func network(file, name, agent string, plugins, binaries []string) func(o *v1alpha1.Observation) {
	return func(o *v1alpha1.Observation) {
		c := &o.CNI
		c.Configs = append([]v1alpha1.CNIConfig{{Path: c.ConfDir + "/" + file, Name: name, Plugins: plugins, ModTime: detectorstest.Ago(6 * time.Hour), Used: len(c.Configs) == 0}}, c.Configs...)
		for i := range c.Configs {
			c.Configs[i].Used = i == 0
		}
		c.Binaries = append(append(c.Binaries, plugins...), binaries...)
		detectorstest.AddPod(o, detectorstest.Pod("kube-system", agent+"-7lqzx", detectorstest.DaemonSet(agent), detectorstest.HostNetwork, detectorstest.HostPath(c.ConfDir), detectorstest.HostPath(c.BinDirs[0])))
	}
}

// reference are the plugins of https://github.com/containernetworking/plugins, which packages and clouds put on every node.
var reference = []string{"bandwidth", "bridge", "dhcp", "firewall", "host-device", "host-local", "ipvlan", "loopback", "macvlan", "portmap", "ptp", "tuning", "vlan"}

var networks = []Layer{
	// https://docs.tigera.io/calico/latest/reference/: a blackhole route for the node's own block, tables and chains of its own.
	{"Calico", func(o *v1alpha1.Observation) {
		network("10-calico.conflist", "k8s-pod-network", "calico-node", []string{"calico", "calico-ipam", "bandwidth", "portmap"}, reference)(o)
		blackhole := v1alpha1.ParseRule("route blackhole 10.244.7.64/26")
		blackhole.Owner = "bird"
		o.Network.RejectRules = append(o.Network.RejectRules, blackhole)
		o.Network.Firewalls = append(o.Network.Firewalls, "calico")
	}},
	// https://docs.cilium.io/en/stable/network/kubernetes/configuration/: without kube-proxy, what it finds in the way it renames.
	{"Cilium", func(o *v1alpha1.Observation) {
		network("05-cilium.conflist", "cilium", "cilium", []string{"cilium-cni"}, []string{"loopback"})(o)
		detectorstest.AddPod(o, detectorstest.Pod("kube-system", "cilium-envoy-x2p4k", detectorstest.DaemonSet("cilium-envoy"), detectorstest.HostNetwork))
		o.Network.BridgeNFCallIPTables = ""
		o.Network.Firewalls = []string{"cilium"}
	}},
	// https://github.com/aws/amazon-vpc-cni-k8s: scripts and misc/10-aws.conflist.
	{"AWS VPC CNI", network("10-aws.conflist", "aws-cni", "aws-node", []string{"aws-cni", "egress-cni", "portmap"}, []string{"loopback", "bandwidth", "host-local"})},
	// https://github.com/flannel-io/flannel/blob/master/Documentation/kube-flannel.yml: the delegate, bridge, is in no file.
	{"flannel", func(o *v1alpha1.Observation) {
		network("10-flannel.conflist", "cbr0", "kube-flannel-ds", []string{"flannel", "portmap"}, reference)(o)
		o.CNI.IPAM = []v1alpha1.IPAMState{{Network: "cbr0", Dir: "/var/lib/cni/networks/cbr0", Subnet: "10.42.3.0/24", Capacity: 253, Reserved: 9}}
		o.Network.Firewalls = append(o.Network.Firewalls, "flannel")
	}},
	// https://github.com/k8snetworkplumbingwg/multus-cni/blob/master/docs/how-to-use.md: it sorts first and calls what lies behind it,
	// here OVN-Kubernetes's, whose file OpenShift keeps elsewhere.
	{"Multus", func(o *v1alpha1.Observation) {
		network("10-ovn-kubernetes.conf", "ovn-kubernetes", "ovnkube-node", []string{"ovn-k8s-cni-overlay"}, reference)(o)
		network("00-multus.conf", "multus-cni-network", "multus", []string{"multus-shim"}, []string{"whereabouts"})(o)
	}},
	// https://github.com/kubernetes/kubernetes/blob/master/cluster/gce/gci/configure-helper.sh, setup_cni: ptp and host-local.
	{"GKE", func(o *v1alpha1.Observation) {
		network("10-gke-ptp.conflist", "k8s-pod-network", "netd", []string{"ptp", "host-local", "portmap"}, reference)(o)
		o.CNI.IPAM = []v1alpha1.IPAMState{{Network: "k8s-pod-network", Dir: "/var/lib/cni/networks/k8s-pod-network", Subnet: "10.8.3.0/24", Capacity: 253, Reserved: 12}}
	}},
}

// firewall gives the node rules as the firewall's own tool writes them.
func firewall(owner string, rules ...string) func(o *v1alpha1.Observation) {
	return func(o *v1alpha1.Observation) {
		for _, text := range rules {
			r := v1alpha1.ParseRule(text)
			r.Owner = owner
			o.Network.RejectRules = append(o.Network.RejectRules, r)
		}
		o.Network.Firewalls = append(o.Network.Firewalls, owner)
	}
}

var firewalls = []Layer{
	// https://help.ubuntu.com/community/UFW: ufw default deny, logged and limited.
	{"ufw", firewall("ufw", "iptables -t filter -A ufw-before-input -m conntrack --ctstate INVALID -j DROP", "iptables -t filter -A ufw-skip-to-policy-input -j DROP",
		"iptables -t filter -A ufw-reject-output -j REJECT --reject-with icmp-port-unreachable", "iptables -t filter -A ufw-user-limit -j REJECT --reject-with icmp-port-unreachable",
		"iptables -t filter -A ufw-user-output -d 198.51.100.0/24 -p tcp -m tcp --dport 25 -j REJECT --reject-with tcp-reset", "iptables -t filter -P INPUT DROP")},
	// https://firewalld.org/documentation/: table inet firewalld, the last rule of each filter chain.
	{"firewalld", firewall("firewalld", "nft inet firewalld filter_INPUT handle 178: reject with icmpx admin-prohibited", "nft inet firewalld filter_FORWARD handle 190: reject with icmpx admin-prohibited",
		"nft inet firewalld filter_INPUT handle 176: ct state invalid drop")},
	// https://github.com/fail2ban/fail2ban/blob/master/config/action.d/iptables.conf.
	{"fail2ban", firewall("fail2ban", "iptables -t filter -A f2b-sshd -s 203.0.113.9/32 -j REJECT --reject-with icmp-port-unreachable", "iptables -t filter -A f2b-sshd -s 198.51.100.4/32 -j REJECT --reject-with icmp-port-unreachable")},
	// https://wiki.nftables.org/wiki-nftables/index.php/Simple_ruleset_for_a_server, with an outgoing chain as hardening guides have it.
	{"nftables", firewall("", "nft inet filter inbound handle 12: ct state invalid drop", "nft inet filter inbound policy drop", "nft inet filter forward policy drop",
		"nft inet filter outbound handle 31: ip daddr 169.254.0.0/16 tcp dport 25 drop")},
	// Red Hat's iptables-services: /etc/sysconfig/iptables as it is installed.
	{"iptables-services", firewall("", "iptables -t filter -A INPUT -j REJECT --reject-with icmp-host-prohibited", "iptables -t filter -A FORWARD -j REJECT --reject-with icmp-host-prohibited",
		"ip6tables -t filter -A INPUT -j REJECT --reject-with icmp6-adm-prohibited")},
}

// pods gives the node so many application pods.
func pods(n int) func(o *v1alpha1.Observation) {
	return func(o *v1alpha1.Observation) {
		for i := range n - len(o.API.Pods) {
			detectorstest.AddPod(o, detectorstest.Pod(fmt.Sprintf("team-%d", i%7), fmt.Sprintf("web-7d9f-%03d", i), detectorstest.Deployment(fmt.Sprintf("web-%d", i/5))))
		}
		o.Kubelet.Config.MaxPods, o.Kubelet.File.MaxPods = int32(n), int32(n)
		for i := range o.CNI.IPAM {
			o.CNI.IPAM[i].Capacity, o.CNI.IPAM[i].Reserved = 510, n
		}
		o.Host.LoadAverage1 = 6.2
		o.Runtime.CallMS = map[string]int64{"Status": 40, "ListPodSandbox": 90, "ListContainers": 310}
	}
}

var sizes = []Layer{
	{"110 pods", pods(110)},
	{"250 pods", pods(250)},
	{"100 days up", func(o *v1alpha1.Observation) {
		const up = 100 * 24 * time.Hour
		o.Host.UptimeSeconds = up.Seconds()
		for name, u := range o.Units {
			u.ActiveSince, u.StateSince = detectorstest.Ago(up), detectorstest.Ago(up)
			u.NRestarts = 3
			o.Units[name] = u
		}
		o.Certs[0].NotBefore = detectorstest.Ago(400 * 24 * time.Hour)
		for i := range o.Certs[1:] {
			o.Certs[1+i].NotBefore = detectorstest.Ago(90 * 24 * time.Hour)
		}
		// A container that was killed for memory in spring, and an image that is long gone.
		old := detectorstest.AddPod(o, detectorstest.Pod("default", "old-timer", detectorstest.Deployment("old-timer")))
		s := &old.Status.ContainerStatuses[0]
		s.RestartCount = 41
		s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137, StartedAt: detectorstest.MetaAgo(70 * 24 * time.Hour), FinishedAt: detectorstest.MetaAgo(60 * 24 * time.Hour)}
		o.Runtime.Sandboxes[len(o.Runtime.Sandboxes)-1].Attempt = 12
		detectorstest.Kmsg(o, "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/kubepods.slice/cri-containerd-longgone.scope,task=java,pid=4242,uid=0", 60*24*time.Hour)
		detectorstest.Kmsg(o, "EXT4-fs (sdb): mounted filesystem without journal", 99*24*time.Hour)
	}},
}

var families = []Layer{
	{"dual-stack", func(o *v1alpha1.Observation) {
		o.Network.DefaultRoute6 = "fe80::1 dev ens5"
		o.API.Node.Spec.PodCIDRs = []string{"10.42.3.0/24", "2001:db8:42::/64"}
		for i := range o.API.Pods {
			o.API.Pods[i].Status.PodIPs = []corev1.PodIP{{IP: o.API.Pods[i].Status.PodIP}, {IP: fmt.Sprintf("2001:db8:42::%x", i+2)}}
		}
	}},
	{"IPv6-only", func(o *v1alpha1.Observation) {
		o.Network.DefaultRoute, o.Network.DefaultRoute6 = "", "fe80::1 dev ens5"
		o.Network.BridgeNFCallIPTables = "0"
		o.API.Node.Spec.PodCIDRs = []string{"2001:db8:42::/64"}
		o.API.Node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "2001:db8:7::31"}}
		for i := range o.CNI.Configs {
			o.CNI.Configs[i].Subnets = []string{"2001:db8:42::/64"}
		}
		o.CNI.IPAM = nil
		for i := range o.API.Pods {
			ip := fmt.Sprintf("2001:db8:42::%x", i+2)
			o.API.Pods[i].Status.PodIP, o.API.Pods[i].Status.PodIPs = ip, []corev1.PodIP{{IP: ip}} // dual-stack no more
		}
	}},
}

// habits are what owners of nodes do and what workloads look like, on any distribution.
var habits = []Layer{
	{"CSI drivers and device plugins", func(o *v1alpha1.Observation) {
		for _, d := range []string{"ebs.csi.aws.com", "efs.csi.aws.com", "secrets-store.csi.k8s.io"} {
			o.API.CSINode.Spec.Drivers = append(o.API.CSINode.Spec.Drivers, storagev1.CSINodeDriver{Name: d, NodeID: o.Node})
			o.Sockets = append(o.Sockets, v1alpha1.PluginSocket{Path: "/var/lib/kubelet/plugins/" + d + "/csi.sock", Kind: "csi", Name: d, Answers: "ok"})
			detectorstest.AddPod(o, detectorstest.Pod("kube-system", d[:3]+"-csi-node-4kx", detectorstest.DaemonSet(d[:3]+"-csi-node"), detectorstest.HostPath("/var/lib/kubelet/plugins/"+d), detectorstest.HostPath("/var/lib/kubelet/plugins_registry")))
		}
		o.API.Node.Status.Capacity["nvidia.com/gpu"], o.API.Node.Status.Allocatable["nvidia.com/gpu"] = resource.MustParse("4"), resource.MustParse("4")
		o.Sockets = append(o.Sockets, v1alpha1.PluginSocket{Path: "/var/lib/kubelet/device-plugins/nvidia-gpu.sock", Kind: "device-plugin", Name: "nvidia.com/gpu", Answers: "ok"})
		detectorstest.AddPod(o, detectorstest.Pod("gpu-operator", "nvidia-device-plugin-daemonset-q1", detectorstest.DaemonSet("nvidia-device-plugin-daemonset"), detectorstest.HostPath("/var/lib/kubelet/device-plugins")))
	}},
	{"services and cron of the owner", func(o *v1alpha1.Observation) {
		for _, name := range []string{"node_exporter", "clock-sync", "pause-music", "falcon-sensor"} {
			o.LocalUnits = append(o.LocalUnits, v1alpha1.Unit{Name: name + ".service", LoadState: "loaded", ActiveState: "active", SubState: "running", ExecStart: "/usr/local/bin/" + name})
		}
		o.LocalJobs = append(o.LocalJobs, v1alpha1.Job{Crontab: "/etc/cron.d/tidy", Command: "17 3 * * * root crictl rmi --prune; crictl pods -s NotReady -q | xargs -r crictl rmp"})
	}},
	{"a registry's mirror", func(o *v1alpha1.Observation) {
		o.Registries = append(o.Registries, v1alpha1.RegistryHost{Host: "docker.io", Path: "/etc/containerd/certs.d/docker.io/hosts.toml", Server: "https://registry-1.docker.io", Mirrors: []v1alpha1.RegistryMirror{{URL: "https://mirror.example.net"}}})
		o.Runtime.Environment.HTTPSProxy = "http://proxy.example.net:3128"
	}},
	{"zram", func(o *v1alpha1.Observation) {
		o.Swaps = []v1alpha1.Swap{{Path: "/dev/zram0", Type: "partition", SizeBytes: 4 << 30}}
		o.Kubelet.Config.FailSwapOn, o.Kubelet.Config.SwapBehavior = detectorstest.Ptr(false), "LimitedSwap"
		o.Kubelet.File.FailSwapOn, o.Kubelet.File.SwapBehavior = detectorstest.Ptr(false), "LimitedSwap"
	}},
	{"logs and images on disks of their own", func(o *v1alpha1.Observation) {
		for i := range o.Filesystems {
			if f := &o.Filesystems[i]; f.Roles[0] == "imagefs" {
				f.Mount, f.Device, f.MajorMinor = f.Path, "/dev/nvme1n1", "259:5"
			}
		}
		o.Filesystems = append(o.Filesystems, v1alpha1.Filesystem{Path: "/var/log", Mount: "/var/log", Device: "/dev/nvme2n1", MajorMinor: "259:6", Type: "xfs", Bytes: 20 << 30, BytesFree: 1 << 30, Inodes: 10 << 20, InodesFree: 10 << 20, Roles: []string{"logs"}})
	}},
	{"jobs that come and go", func(o *v1alpha1.Observation) {
		for i := range 4 {
			p := detectorstest.AddPod(o, detectorstest.Pod("batch", fmt.Sprintf("report-%d", i), func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }))
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "report", Controller: detectorstest.Ptr(true)}}
			s := &p.Status.ContainerStatuses[0]
			s.Ready, s.State = false, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: detectorstest.MetaAgo(3 * time.Minute), FinishedAt: detectorstest.MetaAgo(time.Minute)}}
		}
		busy := detectorstest.AddPod(o, detectorstest.Pod("batch", "crunch", detectorstest.With(func(c *corev1.Container) {
			c.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")}
		})))
		u := &o.Containers[len(o.Containers)-1]
		u.Threads, u.CPUs = 2, 8
		u.CPU = v1alpha1.CPUUsage{QuotaMilli: 2000, PeriodUsec: 100_000, NrPeriods: 9000, NrThrottled: 700, ThrottledUsec: 9_000_000, UsageUsec: 1_500_000_000}
		_ = busy
		detectorstest.Event(o, "batch", "crunch", "Pulled", `Successfully pulled image "registry.example.net/batch/crunch:7" in 14s`, 5*time.Minute, 1)
		o.API.Events[len(o.API.Events)-1].Type = "Normal"
	}},
	{"a control plane", func(o *v1alpha1.Observation) {
		for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
			p := detectorstest.AddPod(o, detectorstest.Pod("kube-system", name+"-cp-1", detectorstest.HostNetwork, detectorstest.HostPath("/etc/kubernetes/pki")))
			p.Annotations = map[string]string{"kubernetes.io/config.source": "file"}
			p.Status.ContainerStatuses[0].RestartCount = 2
		}
		o.API.SameKernel = true
	}},
	{"runtime classes", func(o *v1alpha1.Observation) {
		for _, h := range []struct{ name, kind, shim string }{
			{"nvidia", "io.containerd.runc.v2", "/usr/bin/containerd-shim-runc-v2"}, {"kata-qemu", "io.containerd.kata-qemu.v2", "/opt/kata/bin/containerd-shim-kata-v2"},
			{"runsc", "io.containerd.runsc.v1", "/usr/local/bin/containerd-shim-runsc-v1"}, {"spin", "/opt/kwasm/bin/containerd-shim-spin-v2", ""},
		} {
			detectorstest.RuntimeClass(o, h.name, h.name)
			o.Runtime.Handlers = append(o.Runtime.Handlers, v1alpha1.RuntimeHandler{Name: h.name, Type: h.kind, ShimPath: h.shim})
		}
		nvidia := &o.Runtime.Handlers[len(o.Runtime.Handlers)-4] // as the GPU operator configures it
		nvidia.BinaryName, nvidia.RuntimePath, nvidia.SystemdCgroup = "/usr/bin/nvidia-container-runtime", "/usr/bin/nvidia-container-runtime", detectorstest.Ptr(true)
		detectorstest.AddPod(o, detectorstest.Pod("ml", "infer", func(p *corev1.Pod) { p.Spec.RuntimeClassName = detectorstest.Ptr("nvidia") }))
	}},
	// spec.nodeLeaseDurationSeconds 160: the kubelet renews it every 40 seconds.
	{"a long lease", func(o *v1alpha1.Observation) {
		o.API.Lease.Spec.LeaseDurationSeconds = detectorstest.Ptr(int32(160))
		o.API.Lease.Spec.RenewTime = &metav1.MicroTime{Time: detectorstest.Ago(38 * time.Second)}
	}},
	// The agent's own dial does not go through it.
	{"an API server behind a proxy", func(o *v1alpha1.Observation) {
		k := &o.Kubelet.Kubeconfig
		k.ProxyURL, k.Reach, k.ReachError, k.ServerCAMatches = "http://proxy.example.net:3128", "timeout", "dial tcp 203.0.113.80:443: i/o timeout", false
	}},
	{"disks as full as they may be", func(o *v1alpha1.Observation) {
		for i := range o.Filesystems {
			f := &o.Filesystems[i]
			f.BytesFree, f.InodesFree = f.Bytes*16/100, f.Inodes*8/100
			f.TopUsers = []v1alpha1.PathUse{{Path: f.Path + "/backup", Bytes: f.Bytes / 3, Files: 1}}
		}
	}},
	{"more load than CPUs", func(o *v1alpha1.Observation) {
		o.Host.LoadAverage1, o.Host.PSI = 41, v1alpha1.PSI{CPUSome: 70, IOSome: 20}
		o.Runtime.CallMS = map[string]int64{"Status": 420, "ListPodSandbox": 700, "ListContainers": 1300}
	}},
	{"a boot two minutes ago", func(o *v1alpha1.Observation) {
		o.Host.UptimeSeconds = 120
		for name, u := range o.Units {
			u.ActiveSince, u.StateSince = detectorstest.Ago(100*time.Second), detectorstest.Ago(100*time.Second)
			o.Units[name] = u
		}
		for i := range o.API.Pods {
			p := &o.API.Pods[i]
			detectorstest.Event(o, p.Namespace, p.Name, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", 90*time.Second, 1)
			p.Status.ContainerStatuses[0].RestartCount++
		}
		for i := range o.Runtime.Sandboxes {
			o.Runtime.Sandboxes[i].Attempt, o.Runtime.Sandboxes[i].CreatedAt = 1, detectorstest.Ago(85*time.Second)
		}
		detectorstest.Event(o, "", "", "Rebooted", "Node has been rebooted, boot id: b1", 95*time.Second, 1)
	}},
	// Words that a healthy node's logs have: others' names, troubles that are over.
	{"noise in the logs", func(o *v1alpha1.Observation) {
		unit := o.Kubelet.Unit
		for _, line := range []string{
			`"Error syncing pod, skipping" err="failed to \"StartContainer\" for \"certificate-exporter\" with CrashLoopBackOff" pod="team-1/x509-certificate-exporter-1"`,
			`"Observed pod startup duration" pod="team-1/permission-denied-page-7d9f"`,
			`"MountVolume.SetUp succeeded for volume \"no-space-left\"" pod="team-1/csi-demo"`,
			`"Failed to update lease, will retry" err="Put \"https://10.0.0.10:6443\": net/http: TLS handshake timeout"`,
		} {
			if unit != "" {
				detectorstest.Log(o, unit, line, 50*time.Second)
			}
		}
		for _, line := range []string{
			`audit: type=1400 audit(1.2:3): apparmor="ALLOWED" operation="open" profile="snap.firefox" name="/proc/1/stat" pid=7`,
			"[UFW BLOCK] IN=ens5 OUT= SRC=203.0.113.9 DST=10.0.12.34 PROTO=TCP DPT=6443", "device veth1a2b3c left promiscuous mode", "TCP: request_sock_TCP: Possible SYN flooding on port 10250",
		} {
			detectorstest.Kmsg(o, line, 30*time.Second)
		}
	}},
	// Older agents recorded what systemctl says of units that do not exist, and knew kubelet and runtime by their usual names.
	{"an older agent", func(o *v1alpha1.Observation) {
		if o.Units != nil {
			for _, name := range []string{"kubelet", "containerd"} {
				if _, there := o.Units[name]; !there {
					o.Units[name] = v1alpha1.Unit{Name: name, LoadState: "not-found", ActiveState: "inactive", SubState: "dead", Result: "success", KillMode: "control-group"}
				}
			}
		}
		o.Kubelet.Unit, o.Kubelet.PID, o.Kubelet.RootDir, o.Kubelet.CertDir, o.Kubelet.NodeNames, o.Kubelet.ConfigFiles = "", 0, "", "", nil, nil
		o.Runtime.Unit, o.Runtime.PID, o.Runtime.Exe, o.Runtime.CLI, o.Runtime.ConfigFiles = "", 0, "", nil, nil
		o.Kubelet.Environment, o.Runtime.Environment = v1alpha1.Environment{}, v1alpha1.Environment{}
		if o.Runtime.Name != "containerd" {
			o.Runtime.ConfigFile = v1alpha1.RuntimeConfigFile{Path: "/etc/containerd/config.toml", Error: "stat /etc/containerd/config.toml: no such file or directory"}
		}
	}},
}
