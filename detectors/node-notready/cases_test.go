package notready_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	_ "github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "node-notready", sick, silent) }

var ourCA = strings.Repeat("2a", 32)

var sick = []detectorstest.Case{
	{Name: "kubeconfig gone", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "set-cluster default-cluster", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{Path: "/etc/kubernetes/kubelet.conf"}
		detectorstest.KubeletLoops(o, detectorstest.NoBootstrap)
	}},
	{Name: "kubeconfig gone, and the kubelet stopped by hand since", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "set-cluster default-cluster", Class: v1alpha1.Disruptive, Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{Path: "/etc/kubernetes/kubelet.conf"}
		detectorstest.KubeletStopped(o)
	}},
	{Name: "kubeconfig damaged", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "apiServerEndpoint", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{Path: "/etc/kubernetes/kubelet.conf", Exists: true, Error: "yaml: line 3: could not find expected ':'"}
		detectorstest.KubeletLoops(o, detectorstest.NoBootstrap)
	}},
	{Name: "kubeconfig names another server", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "set-cluster", Baseline: true, Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Server, o.Kubelet.Kubeconfig.Reach = "https://172.18.0.99:6443", "timeout"
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveSince = detectorstest.Ago(65 * time.Second) })
		detectorstest.SilentKubelet(o, `"Failed to update lease" err="dial tcp 172.18.0.99:6443: i/o timeout"`)
	}},
	{Name: "API server rejected by a rule", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "iptables -t filter -D OUTPUT -d 172.18.0.2/32 -p tcp -m tcp --dport 6443 -j REJECT", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Reach, o.Kubelet.Kubeconfig.ReachError = "refused", "dial tcp 172.18.0.2:6443: connect: connection refused"
		detectorstest.Rules(o, "iptables -t filter -A OUTPUT -d 172.18.0.2/32 -p tcp -m tcp --dport 6443 -j REJECT")
		detectorstest.SilentKubelet(o, `"Failed to update lease" err="dial tcp 172.18.0.2:6443: connect: connection refused"`)
	}},
	{Name: "API server dropped by nft", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "nft delete rule inet fw out handle 7", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Reach = "timeout"
		detectorstest.Rules(o, "nft inet fw out handle 7: ip daddr 172.18.0.2 tcp dport 6443 drop")
		detectorstest.SilentKubelet(o, `"Failed to update lease" err="i/o timeout"`)
	}},
	{Name: "API server unreachable for no reason on the node", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Reach = "timeout"
		detectorstest.SilentKubelet(o, `"Failed to update lease" err="i/o timeout"`)
	}},
	{Name: "another CA in the kubeconfig", Want: []string{"node-notready/apiserver-untrusted"}, Remedy: "--certificate-authority=", Ill: detectorstest.AnotherCA},
	{Name: "another CA in the kubeconfig than in the cluster", Want: []string{"node-notready/apiserver-untrusted"}, Remedy: "cas=" + ourCA, Ill: func(o *v1alpha1.Observation) {
		detectorstest.AnotherCA(o)
		o.API.ClusterCAs, o.Certs[0].SHA256 = []string{ourCA, "not a sum"}, ourCA
	}},
	{Name: "somebody else answers for the API server", Want: []string{"node-notready/apiserver-untrusted"}, Remedy: "-", Says: "is not this cluster's API server", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AnotherCA(o)
		o.Kubelet.Kubeconfig.CASHA256, o.API.ClusterCAs = ourCA, []string{ourCA}
	}},
	{Name: "the API server's certificate is for another name", Want: []string{"node-notready/apiserver-untrusted"}, Remedy: "-", Says: "not for the name", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AnotherCA(o)
		o.Kubelet.Kubeconfig.Reach, o.Kubelet.Kubeconfig.CASHA256, o.API.ClusterCAs = "tls-name", ourCA, []string{ourCA}
	}},
	{Name: "the node's copy of the CA is another cluster's", Want: []string{"node-notready/apiserver-untrusted"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AnotherCA(o)
		o.API.ClusterCAs, o.Certs[0].SHA256 = []string{ourCA}, strings.Repeat("0", 64)
	}},
	{Name: "kubelet stopped", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "systemctl start kubelet.service", Class: v1alpha1.Disruptive, Ill: detectorstest.KubeletStopped},
	{Name: "kubelet masked", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "systemctl unmask kubelet.service", Class: v1alpha1.Destructive, Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.LoadState, u.ActiveState, u.SubState = "masked", "inactive", "dead" })
		o.Kubelet.Healthz, o.Kubelet.ConfigSource = "", ""
	}},
	{Name: "kubelet stopped by SIGSTOP", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "kill -CONT", Ill: func(o *v1alpha1.Observation) {
		o.Processes[1].State = "T"
		o.Kubelet.Healthz = ""
		detectorstest.SilentKubelet(o, "x")
	}},
	{Name: "kubelet does not know a flag", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "--network-plugin", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, "failed to parse kubelet flag: unknown flag: --network-plugin")
	}},
	{Name: "the CA by which the kubelet knows its callers is gone", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "certificate-authority-data", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, `failed to construct kubelet dependencies: unable to load client CA file /etc/kubernetes/pki/ca.crt: open /etc/kubernetes/pki/ca.crt: no such file or directory`)
	}},
	{Name: "the CA by which the kubelet knows its callers is gone, as a kubelet of 1.37 says it", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "certificate-authority-data", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, `failed to run Kubelet: open /etc/kubernetes/pki/ca.crt: no such file or directory`)
	}},
	{Name: "a feature gate that went with an upgrade", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "flag=feature-gates\nitem=KubeletCredentialProviders", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, `failed to set feature gates from initial flags-based config: unrecognized feature gate: KubeletCredentialProviders`)
	}},
	{Name: "a label that kubelets may not give themselves", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "item=node-role.kubernetes.io/worker", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, `failed to validate kubelet flags: unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: [node-role.kubernetes.io/worker]\n--node-labels in the 'kubernetes.io' namespace must begin with an allowed prefix`)
	}},
	{Name: "a file of the drop-in directory that no kubelet can read", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "mv -T --backup=numbered -- /etc/kubernetes/kubelet.conf.d/20-hardening.conf", Class: v1alpha1.Safe, Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, `failed to merge kubelet configs: failed to walk through kubelet dropin directory \"/etc/kubernetes/kubelet.conf.d\": failed to load kubelet dropin file, path: /etc/kubernetes/kubelet.conf.d/20-hardening.conf, error: yaml: unmarshal errors: key \"failCgroupV1\" already set in map`)
	}},
	{Name: "a machine's kubelet cannot be executed", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Host.InContainer = false
		detectorstest.KubeletLoops(o, "x")
		o.Journal.Lines = nil
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ExecMainStatus = 203 })
	}},
	{Name: "a kubelet that cannot be executed, after one whose kubeconfig was mended", Want: []string{"node-notready/kubelet-stopped"}, Never: []string{"kubelet.conf"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, "x")
		o.Journal.Lines = nil
		detectorstest.Log(o, "kubelet", `"command failed" err="failed to run Kubelet: invalid configuration: [unable to read client-cert /var/lib/kubelet/pki/x.pem for default-auth]"`, 40*time.Second)
		detectorstest.Log(o, "kubelet", `"Starting kubelet main sync loop"`, 20*time.Second)
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ExecMainStatus = 203 })
	}},
	{Name: "no /dev/kmsg", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, `failed to run Kubelet: failed to create kubelet: open /dev/kmsg: no such file or directory`)
	}},
	{Name: "state of another CPU manager policy", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, "x")
		o.Journal.Lines = nil
		detectorstest.Log(o, "kubelet", `"Failed to start ContainerManager" err="start cpu manager error: could not restore state from checkpoint: configured policy \"static\" differs from state checkpoint policy \"none\", please drain this node and delete the CPU manager checkpoint file \"/var/lib/kubelet/cpu_manager_state\" before restarting Kubelet"`, 2*time.Second)
	}},
	{Name: "k3s stopped", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "systemctl start k3s-agent.service", Ill: func(o *v1alpha1.Observation) {
		k3s(o)
		u := o.Units["k3s-agent"]
		u.ActiveState, u.SubState, u.MainPID = "inactive", "dead", 0
		o.Units["k3s-agent"] = u
		o.Kubelet.Healthz, o.Kubelet.ConfigSource = "", ""
		detectorstest.SilentKubelet(o, "x")
	}},
	{Name: "kubelet config damaged", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "kubeadm upgrade node phase kubelet-config", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.File, o.Kubelet.FileError = v1alpha1.KubeletConfig{}, "yaml: line 12: mapping values are not allowed in this context"
		detectorstest.KubeletLoops(o, "failed to load kubelet config file, path: /var/lib/kubelet/config.yaml, error: failed to decode")
	}},
	{Name: "Node object deleted", Want: []string{"node-notready/not-registered"}, Remedy: "systemctl restart kubelet.service", Class: v1alpha1.Destructive, Ill: func(o *v1alpha1.Observation) {
		o.API.Node, o.API.Lease, o.API.Pods = nil, nil, nil
		detectorstest.Log(o, "kubelet", `"Error updating node status, will retry" err="error getting node \"lab-worker\": nodes \"lab-worker\" not found"`, 5*time.Second)
	}},
	{Name: "Node object deleted, and the kubelet may not register", Want: []string{"node-notready/not-registered"}, Remedy: "registerNode", Ill: func(o *v1alpha1.Observation) {
		o.API.Node, o.API.Lease, o.API.Pods = nil, nil, nil
		o.Kubelet.Config.RegisterNode = detectorstest.Ptr(false)
	}},
	{Name: "kubelet goes by another name", Want: []string{"node-notready/not-registered"}, Remedy: "--hostname-override", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Flags = append(o.Kubelet.Flags, "--hostname-override=template-01")
		detectorstest.SilentKubelet(o, `"Unable to register node with API server" err="nodes \"template-01\" is forbidden: node \"lab-worker\" is not allowed to modify node \"template-01\"" node="template-01"`)
	}},
	{Name: "the machine was renamed", Want: []string{"node-notready/not-registered"}, Remedy: "hostnamectl set-hostname lab-worker", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SilentKubelet(o, `"Unable to register node with API server" err="nodes \"template-01\" is forbidden: node \"lab-worker\" is not allowed to modify node \"template-01\"" node="template-01"`)
	}},
	{Name: "kubelet does not know a flag of a drop-in", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "/etc/systemd/system/kubelet.service.d/90-more-pods.conf", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) {
			u.DropIns = []string{"/etc/systemd/system/kubelet.service.d/90-more-pods.conf"}
		})
		detectorstest.KubeletLoops(o, "failed to parse kubelet flag: unknown flag: --max-podz")
	}},
	{Name: "kubelet's unit not started for want of its configuration", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "kubeadm upgrade node phase kubelet-config", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveState, u.SubState, u.MainPID = "inactive", "dead", 0 })
		o.Kubelet.Healthz, o.Kubelet.ConfigSource = "", ""
		o.Kubelet.File, o.Kubelet.FileError = v1alpha1.KubeletConfig{}, "open /var/lib/kubelet/config.yaml: no such file or directory"
	}},
	{Name: "kubelet's unit file gone", Want: []string{"node-notready/kubelet-stopped"}, Remedy: ":/etc/systemd/system/kubelet.service", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) {
			u.LoadState, u.ActiveState, u.SubState, u.MainPID = "not-found", "inactive", "dead", 0
		})
		o.Kubelet.Healthz, o.Kubelet.ConfigSource = "", ""
	}},
	{Name: "kubelet's unit file gone, and the agent does not tell units that are not there", Want: []string{"node-notready/kubelet-stopped"}, Remedy: ":/etc/systemd/system/kubelet.service", Ill: func(o *v1alpha1.Observation) {
		delete(o.Units, "kubelet")
		o.Processes = o.Processes[:1]
		o.Kubelet.Healthz, o.Kubelet.HealthzError, o.Kubelet.ConfigSource = "", "Get \"http://127.0.0.1:10248/healthz\": dial tcp 127.0.0.1:10248: connect: connection refused", ""
	}},
	{Name: "kubelet ends itself soon after its healthz said ok", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "kubeadm upgrade node phase kubelet-config", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveSince, u.NRestarts = detectorstest.Ago(time.Second), 3 })
		detectorstest.Log(o, "kubelet", `"Failed to start ContainerManager" err="Failed to enforce System Reserved Cgroup Limits on \"/system-reserved\": [\"system-reserved\"] cgroup does not exist"`, 3*time.Second)
	}},
	{Name: "kubelet's port taken", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, "x")
		o.Journal.Lines = nil
		detectorstest.Log(o, "kubelet", `"Failed to listen and serve" err="listen tcp 0.0.0.0:10250: bind: address already in use"`, 2*time.Second)
	}},
	{Name: "kubelet's directory immutable", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "chattr -i /var/lib/kubelet/device-plugins", Ill: func(o *v1alpha1.Observation) {
		o.Files = append(o.Files, v1alpha1.File{Path: "/var/lib/kubelet/device-plugins", Exists: true, Mode: "drwxr-x---", Immutable: true})
		detectorstest.KubeletLoops(o, "x")
		o.Journal.Lines = nil
		detectorstest.Log(o, "kubelet", `"Failed to start ContainerManager" err="remove /var/lib/kubelet/device-plugins/kubelet.sock: operation not permitted"`, 2*time.Second)
	}},
	{Name: "kubelet is told a socket that nobody serves", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "kubeadm upgrade node phase kubelet-config", Ill: func(o *v1alpha1.Observation) {
		detectorstest.RuntimeSilent(o)
		o.Unknown = nil
		o.Runtime.Endpoint = "unix:///run/containerd/containerd.socket"
		detectorstest.Unknown(o, "CRI Status over unix:///run/containerd/containerd.socket: connection error: desc = \"transport: Error while dialing: dial unix /run/containerd/containerd.socket: connect: no such file or directory\"", v1alpha1.SourceStatus)
		detectorstest.KubeletLoops(o, `failed to run Kubelet: validate service connection: validate CRI v1 runtime API for endpoint \"unix:///run/containerd/containerd.socket\": rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial unix /run/containerd/containerd.socket: connect: no such file or directory\"`)
	}},
	{Name: "a line of /etc/hosts misleads", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "> /etc/hosts", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Reach, o.Kubelet.Kubeconfig.ReachError = "refused", "dial tcp 172.18.0.5:6443: connect: connection refused"
		o.Network.Hosts = []string{"172.18.0.4 lab-worker", "172.18.0.5 lab-control-plane"}
		detectorstest.SilentKubelet(o, `"Unable to register node with API server" err="dial tcp 172.18.0.5:6443: connect: connection refused"`)
	}},
	{Name: "no name server", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Reach, o.Kubelet.Kubeconfig.ReachError = "dns", "dial tcp: lookup lab-control-plane on 127.0.0.1:53: connection refused"
		detectorstest.SilentKubelet(o, `"Unable to register node with API server" err="dial tcp: lookup lab-control-plane on 127.0.0.1:53: connection refused"`)
	}},
	{Name: "kubeconfig names another server, a moment after the restart", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "joined by", Likely: true, Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Server, o.Kubelet.Kubeconfig.Reach = "https://old-master:6443", "dns"
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveSince = detectorstest.Ago(5 * time.Second) })
		detectorstest.Log(o, "kubelet", `"Unable to register node with API server" err="Post \"https://old-master:6443/api/v1/nodes\": dial tcp: lookup old-master on 172.18.0.1:53: no such host"`, 2*time.Second)
	}},
	{Name: "kubelet goes by another name, a moment after its restart", Want: []string{"node-notready/not-registered"}, Remedy: "--hostname-override", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Flags = append(o.Kubelet.Flags, "--hostname-override=web-07")
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveSince = detectorstest.Ago(5 * time.Second) })
		detectorstest.Log(o, "kubelet", `"Unable to register node with API server, error getting existing node" err="nodes \"web-07\" is forbidden: User \"system:node:lab-worker\" cannot get resource \"nodes\" in API group \"\" at the cluster scope: node: node 'lab-worker' cannot read 'web-07', only its own Node object" node="web-07"`, 2*time.Second)
	}},
	{Name: "two faults, swap on and kubeconfig gone", Want: []string{"node-notready/kubeconfig-broken", "swap/swap-on"}, Remedy: "set-cluster", Ill: func(o *v1alpha1.Observation) {
		o.Swaps = []v1alpha1.Swap{{Path: "/swap.img", Type: "file", SizeBytes: 16 << 20}}
		o.Kubelet.File.FailSwapOn = detectorstest.Ptr(true)
		o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{Path: "/etc/kubernetes/kubelet.conf"}
		detectorstest.KubeletLoops(o, detectorstest.NoBootstrap)
	}},
	// Nothing of an ordinary firewall is about what the node sends to port 6443.
	{Name: "API server down, on a host with a firewall", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "timeout")
		detectorstest.Rules(o,
			"iptables -t filter -A INPUT -j REJECT --reject-with icmp-host-prohibited",
			"iptables -t filter -A FORWARD -j REJECT --reject-with icmp-host-prohibited",
			"iptables -t filter -A INPUT -m conntrack --ctstate INVALID -j DROP",
			"iptables -t filter -A f2b-sshd -s 203.0.113.9/32 -j REJECT --reject-with icmp-port-unreachable",
			"iptables -t filter -A INPUT ! -s 10.0.0.0/8 -p tcp -m tcp --dport 6443 -j DROP",
			"nft inet firewalld filter_INPUT handle 178: reject with icmpx admin-prohibited",
		)
	}},
	// https://github.com/projectcalico/calico/issues/2612: every Calico node has one for its own block.
	{Name: "API server down, on a Calico node with its blackhole route", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "timeout")
		detectorstest.Rules(o, "route blackhole 10.244.7.64/26")
	}},
	// The kubelet has reported by this server since its start.
	{Name: "load balancer before the API server down", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		behindBalancer(o, "api.lab.example.test", "10.0.0.100")
		o.Network.Hosts = []string{"10.0.0.100 api.lab.example.test"}
	}},
	{Name: "a set of addresses that could not be read, and API server down", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "timeout")
		detectorstest.Rules(o, "nft inet fw out handle 9: ip daddr @blocked tcp dport 6443 drop", "iptables -t filter -A OUTPUT -m owner --uid-owner 1000 -p tcp -m tcp --dport 6443 -j DROP")
	}},
	{Name: "a rule of an address range, by multiport", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "iptables -t filter -D OUTPUT -d 172.18.0.0/24", Never: []string{"10.0.0.0/8", "--dport 25"}, Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "timeout")
		detectorstest.Rules(o, "iptables -t filter -A OUTPUT -d 172.18.0.0/24 -p tcp -m multiport --dports 443,6000:7000 -j DROP",
			"iptables -t filter -A OUTPUT -d 10.0.0.0/8 -j DROP", "iptables -t filter -A OUTPUT -d 172.18.0.2/32 -p tcp -m tcp --dport 25 -j DROP", "iptables -t filter -A OUTPUT -d 172.18.0.2/32 -p udp -j DROP")
	}},
	{Name: "the table of connections is full", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "-", Says: "table of connections is full", Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "timeout")
		o.Limits = append(o.Limits, v1alpha1.Limit{Name: "conntrack", Of: "node", Used: 131072, Max: 131072})
		detectorstest.Kmsg(o, "nf_conntrack: nf_conntrack: table full, dropping packet", 10*time.Second)
	}},
	{Name: "no local port left for the API server", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "-", Says: "no local port left", Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "other")
		o.Kubelet.Kubeconfig.ReachError = "dial tcp 172.18.0.2:6443: connect: cannot assign requested address"
		o.Limits = append(o.Limits, v1alpha1.Limit{Name: "ephemeral-ports", Of: "172.18.0.2:6443", Used: 28232, Max: 28232})
	}},
	{Name: "what is rejected is not waited for", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "timeout")
		detectorstest.Rules(o, "iptables -t filter -A OUTPUT -d 172.18.0.2/32 -p tcp -j REJECT --reject-with tcp-reset")
	}},
	{Name: "OUTPUT drops what no rule accepts", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "iptables -t filter -I OUTPUT -d 172.18.0.2 -p tcp --dport 6443 -j ACCEPT", Never: []string{"-P", "-D"}, Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "timeout")
		detectorstest.Rules(o, "iptables -t filter -P OUTPUT DROP")
	}},
	{Name: "an nft chain drops what no rule accepts", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "nft insert rule inet filter output ip daddr 172.18.0.2 tcp dport 6443 accept", Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "timeout")
		o.Network.RejectRules = []v1alpha1.Rule{{Text: "nft inet filter output policy drop", Chain: "output", Hooks: []string{"output"}, DefaultPolicy: true}}
	}},
	{Name: "policy routing prohibits the API server's address", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "ip rule del pref 100 from all to 172.18.0.2 prohibit", Never: []string{"10.9.0.0"}, Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "no-route")
		detectorstest.Rules(o, "rule 90: from all to 10.9.0.0/16 blackhole", "rule 100: from all to 172.18.0.2 prohibit")
	}},
	{Name: "a blackhole route over the API server's network", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "ip route del blackhole 172.18.0.0/16", Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "no-route")
		detectorstest.Rules(o, "route blackhole 172.18.0.0/16")
	}},
	{Name: "API server over IPv6 dropped by a rule", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "ip6tables -t filter -D OUTPUT -d fd00::/64", Never: []string{"2001:db8"}, Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "timeout")
		o.Kubelet.Kubeconfig.ReachError = "dial tcp [fd00::2]:6443: i/o timeout"
		o.API.Endpoints = []string{"lab-control-plane", "fd00::2"}
		detectorstest.Rules(o, "ip6tables -t filter -A OUTPUT -d fd00::/64 -p tcp -j DROP", "ip6tables -t filter -A OUTPUT -d 2001:db8::/32 -p tcp -j DROP")
	}},
	{Name: "the kubelet's proxy is down", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "-", Likely: true, Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "timeout")
		o.Kubelet.Environment.HTTPSProxy, o.Kubelet.Environment.NoProxy = "http://proxy.example.test:3128", "10.0.0.0/8"
	}},
	{Name: "token that the API server does not know", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "set-credentials default-auth --client-certificate=", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.ClientCert = ""
		unauthorized(o)
	}},
	{Name: "client certificate of a CA that was rotated away", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "certificate approve", Ill: func(o *v1alpha1.Observation) {
		o.Certs[1].ChainsToCA = false
		unauthorized(o)
	}},
	{Name: "the cloud's identity is not mapped to a node", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.ClientCert, o.Kubelet.Kubeconfig.Exec = "", "aws-iam-authenticator"
		unauthorized(o)
	}},
	{Name: "kubeconfig of a cloud's bootstrap gone", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Flags = []string{"/usr/bin/kubelet", "--kubeconfig=/var/lib/kubelet/kubeconfig"}
		o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{Path: "/var/lib/kubelet/kubeconfig"}
		detectorstest.KubeletLoops(o, detectorstest.NoBootstrap)
	}},
	{Name: "kubeconfig with a token in place of the certificate", Want: []string{"node-notready/kubeconfig-broken"}, Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.ClientCert = ""
		detectorstest.KubeletLoops(o, detectorstest.NoBootstrap)
	}},
	{Name: "client certificate with another's key", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "openssl pkey", Ill: func(o *v1alpha1.Observation) {
		good := o.Certs[1]
		good.Path = "/var/lib/kubelet/pki/kubelet-client-2026-11-01.pem"
		o.Certs = append(o.Certs, good)
		detectorstest.KubeletLoops(o, `failed to run Kubelet: could not convert data from \"/var/lib/kubelet/pki/kubelet-client-current.pem\" into cert/key pair: tls: private key does not match public key`)
	}},
	{Name: "API server behind a load balancer dropped by a rule", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "iptables -t filter -D OUTPUT -d 10.0.0.100/32 -p tcp -m tcp --dport 6443 -j DROP", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Server = "https://10.0.0.100:6443"
		o.API.Endpoints = []string{"cp-1", "10.0.0.11", "cp-2", "10.0.0.12", "cp-3", "10.0.0.13"}
		detectorstest.Rules(o, "iptables -t filter -A OUTPUT -d 10.0.0.100/32 -p tcp -m tcp --dport 6443 -j DROP")
		detectorstest.SilentKubelet(o, `"Failed to update lease" err="Put \"https://10.0.0.100:6443/apis/coordination.k8s.io/v1\": dial tcp 10.0.0.100:6443: i/o timeout"`)
		o.Kubelet.Kubeconfig.Reach, o.Kubelet.Kubeconfig.ReachError, o.Kubelet.Kubeconfig.ServerCAMatches = "timeout", "dial tcp 10.0.0.100:6443: i/o timeout", false
	}},
	{Name: "the API server's own certificate has ended", Want: []string{"node-notready/apiserver-untrusted"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Reach, o.Kubelet.Kubeconfig.ReachError = "tls-expired", "certificate is valid from 2025-11-26T09:00:00Z to 2026-11-26T08:59:00Z"
		detectorstest.SilentKubelet(o, `"Failed to update lease" err="Put \"https://lab-control-plane:6443/apis/coordination.k8s.io/v1\": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-26T09:00:00Z is after 2026-11-26T08:59:00Z"`)
	}},
	{Name: "the program that gives the kubelet its credential is gone", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.ClientCert, o.Kubelet.Kubeconfig.Exec = "", "aws-iam-authenticator"
		detectorstest.SilentKubelet(o, `"Unable to register node with API server" err="Post \"https://lab-control-plane:6443/api/v1/nodes\": getting credentials: exec: executable aws-iam-authenticator not found"`)
	}},
	{Name: "API server rejected by a rule with a comment", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "iptables -t filter -D OUTPUT -d 172.18.0.2/32", Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "timeout")
		detectorstest.Rules(o, `iptables -t filter -A OUTPUT -d 172.18.0.2/32 -p tcp -m tcp --dport 6443 -m comment --comment "not this time" -j DROP`)
	}},
	{Name: "API server prohibited by a route of another table", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "ip route del blackhole 172.18.0.0/16 table 100", Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "no-route")
		detectorstest.Rules(o, "route blackhole 172.18.0.0/16 table 100")
	}},
	{Name: "API server rejected by a rule, and the registry's tag is wrong", Want: []string{"node-notready/apiserver-unreachable", "image-pull/tag-not-found"}, Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "timeout")
		detectorstest.Rules(o, "iptables -t filter -A OUTPUT -d 172.18.0.2/32 -p tcp -m tcp --dport 6443 -j DROP")
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:9", detectorstest.Registry+"/team/web:9: not found")
	}},
	// https://github.com/rancher/rke2/issues/3063
	{Name: "RKE2's kubelet ends again and again, and RKE2 goes on", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Says: "Kubelet exited: exit status 1", Ill: func(o *v1alpha1.Observation) {
		childEnds(o, "rke2", "rke2-agent", "/var/lib/rancher/rke2/agent/kubelet.kubeconfig")
		for _, ago := range []time.Duration{25, 15, 5} {
			detectorstest.Log(o, "rke2-agent", `time="2026-11-24T09:59:55Z" level=error msg="Kubelet exited: exit status 1"`, ago*time.Second)
		}
		detectorstest.SilentKubelet(o, "x")
	}},
	{Name: "nobody signs the kubelet's first request for a certificate", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "-", Says: "waits for its first certificate", Manual: "kubectl get csr", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{Path: "/etc/kubernetes/kubelet.conf"}
		o.Kubelet.Bootstrap = v1alpha1.Kubeconfig{Path: "/etc/kubernetes/bootstrap-kubelet.conf", Exists: true, Server: "https://lab-control-plane:6443", Reach: "ok"}
		o.Certs = o.Certs[:1]
		o.API.Node, o.API.Lease = nil, nil
		detectorstest.Log(o, "kubelet", `kubernetes.io/kube-apiserver-client-kubelet: certificate request was not signed: timed out waiting for the condition`, time.Minute)
	}},
	{Name: "the kubelet's folder is read-only", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Manual: "findmnt -T /var/lib/kubelet/pods", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, `"Failed to initialize internal modules" err="error creating pods directory: mkdir /var/lib/kubelet/pods: read-only file system"`)
	}},
	{Name: "the kernel killed the kubelet for want of memory", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "systemctl start", Says: "want of memory", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletStopped(o)
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) {
			u.ActiveState, u.SubState, u.Result, u.ExecMainStatus = "failed", "failed", "oom-kill", 9
		})
	}},
	{Name: "k3s was stopped, and its kubeconfig looked for where kubeadm has it", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "systemctl start k3s-agent.service", Never: []string{"kubelet.conf"}, Ill: func(o *v1alpha1.Observation) {
		u := o.Units["kubelet"]
		delete(o.Units, "kubelet")
		u.Name, u.ActiveState, u.SubState, u.MainPID, u.ExecStart = "k3s-agent.service", "inactive", "dead", 0, "/usr/local/bin/k3s agent"
		o.Units["k3s-agent"] = u
		o.Kubelet.Unit, o.Kubelet.PID, o.Kubelet.Flags, o.Kubelet.Healthz = "k3s-agent", 0, []string{"/usr/local/bin/k3s", "agent"}, ""
		o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{Path: "/etc/kubernetes/kubelet.conf"}
		o.Processes = o.Processes[:1]
		detectorstest.SilentKubelet(o, "x")
	}},
	{Name: "k0s' kubelet ends again and again, and k0s goes on", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Says: "exit status 1", Manual: "journalctl -u k0sworker", Ill: func(o *v1alpha1.Observation) {
		k0sRespawns(o, k0sEnded, `Flag --containerd has been deprecated`)
	}},
	{Name: "the same of k0s since 1.35", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Says: "exit status 1", Manual: "journalctl -u k0sworker", Ill: func(o *v1alpha1.Observation) {
		k0sRespawns(o, `level=error msg="Process terminated unexpectedly: exit status 1" component=kubelet`, `Flag --containerd has been deprecated`)
	}},
	{Name: "k0s' kubelet ends for a port that another program has", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Says: "address already in use", Manual: "port 10250", Ill: func(o *v1alpha1.Observation) {
		k0sRespawns(o, k0sEnded, `E1124 09:59:54.000000 900 server.go:205] \"Failed to listen and serve\" err=\"listen tcp 0.0.0.0:10250: bind: address already in use\"`)
	}},
	{Name: "no inotify watch left for the kubelet, and no disk is full", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Manual: "fs.inotify.max_user_watches", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, "inotify_add_watch /sys/fs/cgroup/kubepods.slice: no space left on device")
	}},
	// https://github.com/kubermatic/kubermatic/issues/7490
	{Name: "no inotify instance left for the kubelet", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Says: "inotify_init: too many open files", Ill: func(o *v1alpha1.Observation) {
		o.Limits = append(o.Limits, v1alpha1.Limit{Name: "inotify-instances", Of: "uid 0", Used: 128, Max: 128})
		detectorstest.KubeletLoops(o, "failed to run Kubelet: inotify_init: too many open files")
	}},
	{Name: "no room for the kubelet's log folder", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Says: "no space left on device", Ill: func(o *v1alpha1.Observation) {
		o.Filesystems = append(o.Filesystems, v1alpha1.Filesystem{Path: "/var/log", Mount: "/var/log", Device: "/dev/vdc1", MajorMinor: "254:33", Type: "ext4", Bytes: 2 << 30, Inodes: 1 << 20, InodesFree: 1 << 20, Roles: []string{"logs"}})
		detectorstest.KubeletLoops(o, "failed to run Kubelet: mkdir /var/log/pods: no space left on device")
	}},
	// https://github.com/k3s-io/k3s/issues/4571
	{Name: "k3s cannot fill in the template of its containerd's configuration", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Says: "can't evaluate field ExtraRuntimes", Ill: func(o *v1alpha1.Observation) {
		k3s(o)
		delete(o.Units, "containerd")
		o.Processes = nil
		detectorstest.RuntimeSilent(o)
		o.Runtime.Unit, o.Runtime.PID, o.Runtime.Endpoint = "k3s-agent", 0, "unix:///run/k3s/containerd/containerd.sock"
		detectorstest.Unit(o, "k3s-agent", func(u *v1alpha1.Unit) {
			u.ActiveState, u.SubState, u.Result, u.ExecMainStatus, u.NRestarts, u.MainPID = "activating", "auto-restart", "exit-code", 1, 14, 0
		})
		o.Kubelet.Healthz, o.Kubelet.HealthzError, o.Kubelet.ConfigSource = "", "connection refused", ""
		for _, ago := range []time.Duration{11, 6, 1} {
			detectorstest.Log(o, "k3s-agent", `level=fatal msg="template: compiled_template:97:18: executing \"compiled_template\" at <.ExtraRuntimes>: can't evaluate field ExtraRuntimes in type templates.ContainerdConfig"`, ago*time.Second)
		}
		detectorstest.SilentKubelet(o, "x")
	}},
	// https://github.com/kelseyhightower/kubernetes-the-hard-way/issues/807
	{Name: "a folder stands where the kubeconfig is to be", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "-", Says: "is a directory", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Flags = []string{"/usr/local/bin/kubelet", "--kubeconfig=/var/lib/kubelet/kubeconfig", "--config=/var/lib/kubelet/kubelet-config.yaml"}
		o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{Path: "/var/lib/kubelet/kubeconfig", Exists: true, Error: "read /var/lib/kubelet/kubeconfig: is a directory"}
		detectorstest.KubeletLoops(o, `failed to run Kubelet: invalid kubeconfig: error loading config file \"/var/lib/kubelet/kubeconfig\": read /var/lib/kubelet/kubeconfig: is a directory`)
	}},
	// https://github.com/kubernetes/website/pull/28312
	{Name: "the link to the client certificate leads nowhere", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "certificate approve", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Error = "client certificate: stat /var/lib/kubelet/pki/kubelet-client-current.pem: no such file or directory"
		o.Certs[1] = v1alpha1.Certificate{Path: o.Certs[1].Path, Use: "kubelet-client", Error: "open /var/lib/kubelet/pki/kubelet-client-current.pem: no such file or directory"}
		detectorstest.KubeletLoops(o, detectorstest.NoBootstrap)
	}},
	{Name: "the link to the client certificate leads nowhere, and the certificate is beside it", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "ln -sfn", Ill: func(o *v1alpha1.Observation) {
		good := o.Certs[1]
		good.Path = "/var/lib/kubelet/pki/kubelet-client-2026-11-01.pem"
		o.Kubelet.Kubeconfig.Error = "client certificate: stat /var/lib/kubelet/pki/kubelet-client-current.pem: no such file or directory"
		o.Certs[1] = v1alpha1.Certificate{Path: o.Certs[1].Path, Use: "kubelet-client", Error: "open /var/lib/kubelet/pki/kubelet-client-current.pem: no such file or directory"}
		o.Certs = append(o.Certs, good)
		detectorstest.KubeletLoops(o, detectorstest.NoBootstrap)
	}},
	// https://github.com/bottlerocket-os/bottlerocket/issues/3780, https://github.com/canonical/microk8s/issues/3091
	{Name: "kernel settings are not as the kubelet wants them", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Manual: "sysctl --system", Ill: ends(`"Failed to start ContainerManager" err="[invalid kernel flag: vm/overcommit_memory, expected value: 1, actual value: 0, invalid kernel flag: kernel/panic, expected value: 10, actual value: 0]"`)},
	{Name: "more memory is reserved than there is", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Manual: "reserve more memory than", Ill: ends(`"Failed to start ContainerManager" err="invalid Node Allocatable configuration. Resource \"memory\" has a reservation of {{4294967296 0} {<nil>} 4Gi BinarySI} but capacity of {{2072735744 0} {<nil>}  BinarySI}. Expected capacity >= reservation"`)},
	{Name: "the kubelet's cgroup is not in every hierarchy", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Manual: "its cgroup kubepods", Ill: ends(`"Failed to start ContainerManager" err="failed to initialize top level QOS containers: root container [kubepods] doesn't exist"`)},
	{Name: "the kernel has no memory controller", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Manual: "no cgroup controller memory", Ill: ends(`"Failed to start ContainerManager" err="system validation failed - Following Cgroup subsystem not mounted: [memory]"`)},
	{Name: "a flag whose value cannot be read", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Manual: "--eviction-hard has a value", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, `failed to parse kubelet flag: invalid argument \"memory.available\" for \"--eviction-hard\" flag: malformed pair, expect string<string`)
	}},
	{Name: "a cloud that the kubelet has no more", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Manual: "--cloud-provider=external", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, `failed to run Kubelet: unknown cloud provider \"aws\"`)
	}},
	{Name: "the key that the kubelet is to serve with is gone", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Manual: "/etc/kubernetes/pki/kubelet-server.key", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, `failed to run Kubelet: open /etc/kubernetes/pki/kubelet-server.key: no such file or directory`)
	}},
	{Name: "systemd cannot prepare the kubelet's start", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Likely: true, Manual: "EnvironmentFile", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, "x")
		o.Journal.Lines = nil
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.Result, u.ExecMainStatus = "resources", 0 })
	}},
	{Name: "MicroK8s' kubelet does not know a flag", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "/var/snap/microk8s/current/args/kubelet", Ill: func(o *v1alpha1.Observation) {
		childEnds(o, "kubelite", "snap.microk8s.daemon-kubelite", "/var/snap/microk8s/current/credentials/kubelet.config")
		detectorstest.Unit(o, "snap.microk8s.daemon-kubelite", func(u *v1alpha1.Unit) {
			u.ActiveState, u.SubState, u.Result, u.ExecMainStatus, u.NRestarts, u.MainPID = "activating", "auto-restart", "exit-code", 1, 14, 0
		})
		detectorstest.SilentKubelet(o, "x")
		detectorstest.Log(o, "snap.microk8s.daemon-kubelite", `F0816 05:15:52.314713    1051 daemon.go:46] Kubelet exited failed to parse kubelet flag: unknown flag: --container-runtime`, 3*time.Second)
	}},
	// https://github.com/vitobotta/hetzner-k3s/issues/487
	{Name: "a machine that was made again under the name of a k3s node", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Says: "Node password rejected", Manual: "node-password.k3s", Ill: func(o *v1alpha1.Observation) {
		childEnds(o, "k3s-agent", "k3s-agent", "/var/lib/rancher/k3s/agent/kubelet.kubeconfig")
		detectorstest.SilentKubelet(o, "x")
		detectorstest.Log(o, "k3s-agent", `time="2026-11-24T09:59:57Z" level=info msg="Waiting to retrieve agent configuration; server is not ready: Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server node-passwd entry, try enabling a unique node name with the --with-node-id flag"`, 3*time.Second)
	}},
	{Name: "a k3s agent whose server is not ready", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Says: "waits for its server", Ill: func(o *v1alpha1.Observation) {
		childEnds(o, "k3s-agent", "k3s-agent", "/var/lib/rancher/k3s/agent/kubelet.kubeconfig")
		detectorstest.SilentKubelet(o, "x")
		detectorstest.Log(o, "k3s-agent", `time="2026-11-24T09:59:57Z" level=info msg="Waiting to retrieve agent configuration; server is not ready: https://127.0.0.1:6444/v1-k3s/serving-kubelet.crt: 503 Service Unavailable"`, 3*time.Second)
	}},
	{Name: "the certificate that the kubelet serves with is empty", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Manual: "tlsCertFile", Never: []string{"kubelet.conf"}, Ill: ends(`"Failed to listen and serve" err="tls: failed to find any PEM data in certificate input"`)},
	{Name: "the key that the kubelet serves with is of another certificate", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Manual: "tlsCertFile", Never: []string{"kubelet-client"}, Ill: ends(`"Failed to listen and serve" err="tls: private key does not match public key"`)},
	{Name: "a machine that was given fewer CPUs", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Manual: "/var/lib/kubelet/cpu_manager_state aside", Ill: ends(`"Failed to start ContainerManager" err="start cpu manager error: current set of available CPUs \"0-15\" doesn't match with CPUs in state \"0-31\""`)},
	{Name: "reserved memory that does not add up", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Manual: "has to add up", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, `failed to run Kubelet: the total amount \"0\" of type \"memory\" is not equal to the value \"100Mi\" determined by Node Allocatable feature`)
	}},
	{Name: "systemd cannot use the kubelet's unit", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Manual: "systemd-analyze verify", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletStopped(o)
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.LoadState = "bad-setting" })
	}},
	// https://github.com/siderolabs/talos/issues/6750
	{Name: "labels that the API server refuses", Want: []string{"node-notready/not-registered"}, Remedy: "-", Says: "node-role.kubernetes.io/worker", Ill: notTaken(`nodes \"lab-worker\" is forbidden: is not allowed to modify labels: node-role.kubernetes.io/worker`)},
	{Name: "a webhook that refuses the node", Want: []string{"node-notready/not-registered"}, Remedy: "-", Says: "denied the request", Ill: notTaken(`admission webhook \"validate.nodes.example.org\" denied the request: node lab-worker is not known`)},
	{Name: "a webhook that keeps nodes out by its silence", Want: []string{"node-notready/not-registered"}, Remedy: "-", Says: "failed calling webhook", Ill: notTaken(`Internal error occurred: failed calling webhook \"validate.kyverno.svc-fail\": failed to call webhook: Post \"https://kyverno-svc.kyverno.svc:443/validate/fail?timeout=10s\": dial tcp 10.96.1.2:443: connect: connection refused`)},
	// https://github.com/kelseyhightower/kubernetes-the-hard-way/issues/353
	{Name: "a credential that is not a node's", Want: []string{"node-notready/not-registered"}, Remedy: "-", Manual: "O=system:nodes", Ill: notTaken(`nodes \"lab-worker\" is forbidden: could not determine node from user`)},
	// https://github.com/kubernetes-sigs/cluster-api/issues/8631, https://github.com/kubernetes/kubernetes/issues/114813
	{Name: "the client certificate does not get to the API server", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "-", Says: "system:anonymous", Ill: notTaken(`nodes is forbidden: User \"system:anonymous\" cannot create resource \"nodes\" in API group \"\" at the cluster scope`)},
	{Name: "a kubelet without a credential, which once had one", Want: []string{"node-notready/kubeconfig-broken"}, Remedy: "set-cluster", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.ClientCert = ""
		detectorstest.SilentKubelet(o, `"Failed to ensure lease exists, will retry" err="leases.coordination.k8s.io \"lab-worker\" is forbidden: User \"system:anonymous\" cannot get resource \"leases\" in API group \"coordination.k8s.io\" in the namespace \"kube-node-lease\""`)
	}},
	{Name: "a webhook that does not answer holds leases and status of nodes", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "-", Says: `failed calling webhook "guard.example.com`, Manual: "validatingwebhookconfigurations", Ill: reports(
		`"Failed to update lease" err="Internal error occurred: failed calling webhook \"guard.example.com\": failed to call webhook: Post \"https://guard.policy.svc:443/?timeout=2s\": service \"guard\" not found"`, false)},
	{Name: "a webhook refuses the node's status, and the lease is renewed", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "-", Says: "denied the request", Ill: reports(
		`"Error updating node status, will retry" err="failed to patch status \"{\\\"status\\\":{}}\" for node \"lab-worker\": admission webhook \"validate.nodes.example.org\" denied the request: allocatable may not change"`, false)},
	{Name: "etcd has no room", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "-", Says: "database space exceeded", Manual: "etcdctl alarm list", Ill: reports(
		`"Failed to update lease" err="etcdserver: mvcc: database space exceeded"`, true)},
	{Name: "the API server is too busy to answer the kubelet", Want: []string{"node-notready/apiserver-unreachable"}, Remedy: "-", Likely: true, Says: "do not get through", Ill: reports(
		`"Failed to update lease" err="Put \"https://lab-control-plane:6443/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/lab-worker?timeout=10s\": context deadline exceeded"`, true)},
	{Name: "the kubelet is killed again and again, and has just been started once more", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "-", Likely: true, Says: "is killed, again and again", Manual: "MemoryMax", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Healthz, o.Kubelet.HealthzError = "", "dial tcp 127.0.0.1:10248: connect: connection refused"
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveSince, u.NRestarts = detectorstest.Ago(time.Second), 5 })
		for _, ago := range []time.Duration{5 * time.Second, 3 * time.Second} {
			detectorstest.Log(o, "kubelet", "kubelet.service: Main process exited, code=killed, status=9/KILL", ago)
			detectorstest.Log(o, "kubelet", "kubelet.service: Failed with result 'signal'.", ago)
		}
	}},
	{Name: "kubelet loops for a config that this version does not know", Want: []string{"node-notready/kubelet-stopped"}, Remedy: "kubeadm upgrade node phase kubelet-config", Ill: func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, `failed to load kubelet config file, path: /var/lib/kubelet/config.yaml, error: failed to decode: strict decoding error: unknown field "singleProcessOOMKil"`)
	}},
}

var silent = []detectorstest.Case{
	{Name: "the kubelet was killed once, and starts", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveSince, u.NRestarts = detectorstest.Ago(time.Second), 1 })
		detectorstest.Log(o, "kubelet", "kubelet.service: Failed with result 'signal'.", 3*time.Second)
	}},
	{Name: "an etcd leader changed, and the lease is renewed", Ill: reports(`"Failed to update lease" err="etcdserver: leader changed"`, false)},
	{Name: "somebody else wrote the lease", Ill: reports(`"Failed to update lease" err="Operation cannot be fulfilled on leases.coordination.k8s.io \"lab-worker\": the object has been modified; please apply your changes to the latest version and try again"`, true)},
	{Name: "a webhook was away for a while", Ill: func(o *v1alpha1.Observation) {
		reports(`"Failed to update lease" err="Internal error occurred: failed calling webhook \"guard.example.com\": failed to call webhook: Post \"https://guard.policy.svc:443/?timeout=2s\": EOF"`, false)(o)
		o.API.Lease.Spec.RenewTime = &metav1.MicroTime{Time: detectorstest.Ago(2 * time.Second)}
	}},
	{Name: "the kubelet ended itself once, and has settled since", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveSince, u.NRestarts = detectorstest.Ago(25*time.Second), 1 })
		detectorstest.Log(o, "kubelet", `"Failed to start ContainerManager" err="x"`, 27*time.Second)
	}},
	{Name: "a line of /etc/hosts about the API server, right", Ill: func(o *v1alpha1.Observation) {
		o.Network.Hosts = []string{"172.18.0.2 lab-control-plane"}
	}},
	{Name: "kubelet restarted once", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveSince, u.NRestarts = detectorstest.Ago(2*time.Second), 1 })
		o.Kubelet.Healthz = ""
	}},
	{Name: "kubeconfig damaged under a running kubelet", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{Path: "/etc/kubernetes/kubelet.conf", Exists: true, Error: "yaml: line 3"}
	}},
	{Name: "dials come late and the lease was renewed a second ago", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Kubeconfig.Reach = "timeout"
		detectorstest.Log(o, "kubelet", `"Failed to update lease" err="context deadline exceeded"`, 20*time.Second)
		o.API.Lease.Spec.RenewTime = &metav1.MicroTime{Time: o.API.ServerDate.Add(-time.Second)}
	}},
	{Name: "one dial to the API server failed", Once: true, Ill: func(o *v1alpha1.Observation) { o.Kubelet.Kubeconfig.Reach = "timeout" }},
	{Name: "the API server answered in part", Ill: answeredInPart},
	{Name: "the API server answered in part, and one dial failed", Once: true, Ill: func(o *v1alpha1.Observation) {
		answeredInPart(o)
		o.Kubelet.Kubeconfig.Reach = "timeout"
	}},
	{Name: "a rule against another port", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Rules(o, "iptables -t filter -A OUTPUT -p tcp -m tcp --dport 25 -j REJECT")
	}},
	{Name: "hostname-override that agrees with the certificate", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Flags = append(o.Kubelet.Flags, "--hostname-override=lab-worker")
	}},
	{Name: "a cordoned node", Ill: func(o *v1alpha1.Observation) { o.API.Node.Spec.Unschedulable = true }},
	// EKS, AKS and GKE keep the kubelet's kubeconfig in /var/lib/kubelet, and its flag says so; the agent that looked did not know the flag.
	{Name: "API server down, and the kubeconfig that was read is not the kubelet's", Ill: func(o *v1alpha1.Observation) {
		cutOff(o, "")
		o.Kubelet.Flags = []string{"/usr/bin/kubelet", "--kubeconfig=/var/lib/kubelet/kubeconfig", "--config=/etc/kubernetes/kubelet/config.json"}
		o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{Path: "/etc/kubernetes/kubelet.conf"}
	}},
	{Name: "k3s", Ill: k3s},
	{Name: "RKE2's kubelet ended once, and serves again", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Log(o, "kubelet", `time="2026-11-24T09:59:35Z" level=error msg="Kubelet exited: exit status 1"`, 25*time.Second)
	}},
	// https://github.com/kubernetes/kubernetes/issues/59372: nobody approves such requests by itself; logs and exec fail, no pod does.
	{Name: "the kubelet waits for its serving certificate", Ill: func(o *v1alpha1.Observation) {
		for i := range 9 {
			detectorstest.Log(o, "kubelet", `I0921 17:10:08.336189     749 log.go:194] http: TLS handshake error from 192.168.1.3:43064: no serving certificate available for the kubelet`, time.Duration(i)*5*time.Second)
		}
	}},
	{Name: "the node was asked for by its address", Ill: func(o *v1alpha1.Observation) {
		o.Node = "10.0.0.7"
		o.API.Node, o.API.Lease, o.API.CSINode, o.API.Pods, o.API.Events = nil, nil, nil, nil, nil
	}},
	{Name: "RKE2's agent is its kubelet, and containerd.service is not there", Ill: func(o *v1alpha1.Observation) {
		k3s(o)
		u := o.Units["k3s-agent"]
		delete(o.Units, "k3s-agent")
		delete(o.Units, "containerd")
		u.Name, o.Kubelet.Unit = "rke2-agent.service", "rke2-agent"
		o.Units["rke2-agent"], o.Runtime.Unit, o.Runtime.Endpoint = u, "rke2-agent", "unix:///run/k3s/containerd/containerd.sock"
	}},
}

// ends is a kubelet that says why it ends, and says it without "command failed".
func ends(last string) func(*v1alpha1.Observation) {
	return func(o *v1alpha1.Observation) {
		detectorstest.KubeletLoops(o, "x")
		o.Journal.Lines = nil
		detectorstest.Log(o, "kubelet", last, 2*time.Second)
	}
}

// reports is a kubelet that says this twice in two tries to report, for so long that the node is silent, or only since a moment.
func reports(line string, long bool) func(*v1alpha1.Observation) {
	return func(o *v1alpha1.Observation) {
		o.API.Lease.Spec.RenewTime = &metav1.MicroTime{Time: detectorstest.Ago(12 * time.Second)}
		if long {
			o.API.Lease.Spec.RenewTime = &metav1.MicroTime{Time: detectorstest.Ago(70 * time.Second)}
		}
		for i := range o.API.Node.Status.Conditions {
			o.API.Node.Status.Conditions[i].LastHeartbeatTime = detectorstest.MetaAgo(70 * time.Second)
		}
		detectorstest.Log(o, "kubelet", line, 9*time.Second)
		detectorstest.Log(o, "kubelet", line, 4*time.Second)
	}
}

// notTaken is a kubelet whose node the API server does not take, with this answer.
func notTaken(answer string) func(*v1alpha1.Observation) {
	return func(o *v1alpha1.Observation) {
		o.API.Node, o.API.Lease, o.API.Pods = nil, nil, nil
		detectorstest.Log(o, "kubelet", `"Unable to register node with API server" err="`+answer+`" node="lab-worker"`, 4*time.Second)
	}
}

// childEnds is a node whose distribution's program starts the kubelet as a process, and goes on without it.
func childEnds(o *v1alpha1.Observation, program, unit, kubeconfig string) {
	u := o.Units["kubelet"]
	delete(o.Units, "kubelet")
	u.Name = unit + ".service"
	o.Units[unit] = u
	o.Kubelet.Unit, o.Kubelet.PID, o.Kubelet.Flags = unit, 0, nil
	o.Kubelet.Kubeconfig.Path = kubeconfig
	o.Kubelet.Healthz, o.Kubelet.HealthzError, o.Kubelet.ConfigSource = "", `Get "http://127.0.0.1:10248/healthz": dial tcp 127.0.0.1:10248: connect: connection refused`, ""
	o.Processes[1] = v1alpha1.Process{PID: 300, Name: program, Unit: unit, State: "S"}
}

// k0sEnded is what k0s says before 1.35 of its kubelet that ended.
const k0sEnded = `level=warning msg="Failed to wait for process" component=kubelet error="exit status 1"`

// k0sRespawns is a node of k0s, which starts its kubelet again every five seconds and writes its words into its own log
// (https://github.com/k0sproject/k0s: pkg/supervisor/supervisor.go).
func k0sRespawns(o *v1alpha1.Observation, ended, words string) {
	childEnds(o, "k0s", "k0sworker", "/var/lib/k0s/kubelet.conf")
	for _, ago := range []time.Duration{25, 15, 5} {
		detectorstest.Log(o, "k0sworker", `time="2026-11-24 09:59:54" level=info msg="`+words+`" component=kubelet stream=stderr`, ago*time.Second+time.Second)
		detectorstest.Log(o, "k0sworker", `time="2026-11-24 09:59:55" `+ended, ago*time.Second)
		detectorstest.Log(o, "k0sworker", `time="2026-11-24 09:59:55" level=info msg="respawning in 5s" component=kubelet`, ago*time.Second)
	}
	detectorstest.SilentKubelet(o, "x")
}

// answeredInPart is the API server's view when a busy one told its version and then nothing within the bound.
func answeredInPart(o *v1alpha1.Observation) {
	o.API = &v1alpha1.API{ServerVersion: o.API.ServerVersion, ServerDate: o.API.ServerDate, AskedAt: o.API.AskedAt}
	detectorstest.Unknown(o, "ask the API server: the API server did not answer within 2s", v1alpha1.SourceAPI)
}

// k3s has one process be kubelet and supervisor of the runtime; there is no kubelet.service.
func k3s(o *v1alpha1.Observation) {
	u := o.Units["kubelet"]
	u.Name = "k3s-agent.service"
	delete(o.Units, "kubelet")
	o.Units["k3s-agent"], o.Kubelet.Unit = u, "k3s-agent"
	o.Kubelet.Flags = nil
	o.Kubelet.Kubeconfig.Path = "/var/lib/rancher/k3s/agent/kubelet.kubeconfig"
}

// behindBalancer is a cluster of three control-plane nodes whose load balancer does not answer.
func behindBalancer(o *v1alpha1.Observation, name, addr string) {
	c := &o.Kubelet.Kubeconfig
	c.Server, c.Reach, c.ReachError, c.ServerCAMatches = "https://"+name+":6443", "timeout", "dial tcp "+addr+":6443: i/o timeout", false
	o.API.Endpoints = []string{"cp-1", "10.0.0.11", "cp-2", "10.0.0.12", "cp-3", "10.0.0.13"}
	detectorstest.SilentKubelet(o, `"Failed to update lease" err="dial tcp `+addr+`:6443: i/o timeout"`)
}

// unauthorized is a kubelet that the API server does not know.
func unauthorized(o *v1alpha1.Observation) {
	detectorstest.SilentKubelet(o, `"Unable to register node with API server" err="Unauthorized" node="lab-worker"`)
}

// cutOff is a kubelet that waits for its API server, and what a dial from the node gives.
func cutOff(o *v1alpha1.Observation, reach string) {
	detectorstest.SilentKubelet(o, `"Failed to update lease" err="Put \"https://lab-control-plane:6443/apis/coordination.k8s.io/v1\": context deadline exceeded"`)
	o.Kubelet.Kubeconfig.Reach, o.Kubelet.Kubeconfig.ReachError, o.Kubelet.Kubeconfig.ServerCAMatches = reach, "dial tcp 172.18.0.2:6443: i/o timeout", false
}
