package cni_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	_ "github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "cni", sick, silent) }

var sick = []detectorstest.Case{
	{Name: "conflist gone", Want: []string{"cni/conflist-missing"}, Remedy: "/api/v1/namespaces/kube-system/pods/kindnet-x7k2p/eviction", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = nil
		detectorstest.CNIDown(o, detectorstest.NoConfig)
	}},
	{Name: "conflist moved in unnoticed", Want: []string{"cni/conflist-missing"}, Remedy: "systemctl restart containerd.service", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CNIDown(o, detectorstest.NoConfig)
	}},
	{Name: "conflist gone, no API", Want: []string{"cni/conflist-missing"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = nil
		detectorstest.CNIDown(o, detectorstest.NoConfig)
		o.API = nil
		detectorstest.Unknown(o, "no access to the API server was given", v1alpha1.SourceAPI)
	}},
	{Name: "conflist damaged", Want: []string{"cni/conflist-invalid"}, Remedy: "mv -T --backup=numbered -- /etc/cni/net.d/10-kindnet.conflist", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs[0].Error, o.CNI.Configs[0].Used = "unexpected end of JSON input", false
		detectorstest.CNIDown(o, "cni config load failed: failed to load CNI config list file /etc/cni/net.d/10-kindnet.conflist: error parsing configuration list: unexpected end of JSON input: invalid cni config: failed to load cni config")
	}},
	{Name: "a broken file sorts first", Want: []string{"cni/conflist-invalid"}, Remedy: "mv -T --backup=numbered -- /etc/cni/net.d/00-x.conflist", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = append([]v1alpha1.CNIConfig{{Path: "/etc/cni/net.d/00-x.conflist", Error: "no plugins"}}, o.CNI.Configs...)
		detectorstest.CNIDown(o, "cni config load failed: CNI config list in config file /etc/cni/net.d/00-x.conflist has no networks, skipping: invalid cni config: failed to load cni config")
	}},
	{Name: "a foreign conflist sorts first and names a plugin that is not there", Want: []string{"cni/conflist-invalid"}, Remedy: "mv -T --backup=numbered -- /etc/cni/net.d/00-old.conflist", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs[0].Used = false
		o.CNI.Configs = append([]v1alpha1.CNIConfig{{Path: "/etc/cni/net.d/00-old.conflist", Plugins: []string{"weave"}, Used: true}}, o.CNI.Configs...)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "x": plugin type="weave" failed (add): failed to find plugin "weave" in path [/opt/cni/bin]`)
	}},
	{Name: "plugin binary gone", Want: []string{"cni/plugin-binary-missing"}, Remedy: ":/opt/cni/bin/ptp", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Binaries = []string{"host-local", "loopback", "portmap"}
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "x": plugin type="ptp" failed (add): failed to find plugin "ptp" in path [/opt/cni/bin]`)
	}},
	{Name: "addresses leaked", Want: []string{"cni/ipam-exhausted"}, Remedy: "pods -q --no-trunc", Class: v1alpha1.Safe, Ill: func(o *v1alpha1.Observation) {
		o.CNI.IPAM[0].Reserved, o.CNI.IPAM[0].Orphans = 254, 251
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "x": plugin type="ptp" failed (add): failed to allocate for range 0: no IP addresses available in range set: 10.244.1.1-10.244.1.254`)
	}},
	{Name: "addresses leaked on a node without crictl", Want: []string{"cni/ipam-exhausted"}, Remedy: "ctr=/run/containerd/containerd.sock", Class: v1alpha1.Safe, Ill: func(o *v1alpha1.Observation) {
		o.Runtime.CLI = nil
		o.CNI.IPAM[0].Reserved, o.CNI.IPAM[0].Orphans = 254, 251
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "x": plugin type="ptp" failed (add): failed to allocate for range 0: no IP addresses available in range set: 10.244.1.1-10.244.1.254`)
	}},
	{Name: "all addresses given out, and the runtime did not list its sandboxes", Want: []string{"cni/ipam-exhausted"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.CNI.IPAM[0].Reserved, o.CNI.IPAM[0].Orphans = 254, -1
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="ptp" failed (add): failed to allocate for range 0: no IP addresses available in range set: 10.244.1.1-10.244.1.254`)
	}},
	{Name: "addresses used up, CRI-O lists no sandboxes", Want: []string{"cni/ipam-exhausted"}, Manual: "(`/usr/bin/crictl --runtime-endpoint unix:///var/run/crio/crio.sock pods`)", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		o.CNI.IPAM[0].Reserved, o.CNI.IPAM[0].Orphans = 254, -1
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="ptp" failed (add): failed to allocate for range 0: no IP addresses available in range set: 10.244.1.1-10.244.1.254`)
	}},
	{Name: "more pods than addresses", Want: []string{"cni/ipam-exhausted"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.CNI.IPAM[0].Reserved, o.CNI.IPAM[0].Orphans = 254, 0
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "x": plugin type="ptp" failed (add): failed to allocate for range 0: no IP addresses available in range set: 10.244.1.1-10.244.1.254`)
	}},
	{Name: "bridged traffic bypasses iptables", Want: []string{"cni/bridge-netfilter-off"}, Remedy: "sysctl -w net.bridge.bridge-nf-call-iptables=1", Class: v1alpha1.Disruptive, Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs[0].Plugins = []string{"bridge", "host-local", "portmap"}
		o.CNI.Binaries = append(o.CNI.Binaries, "bridge")
		o.Network.BridgeNFCallIPTables = "0"
	}},

	// New pods would come up on podman's bridge.
	{Name: "Calico's binary gone, with podman's conflist behind it", Want: []string{"cni/plugin-binary-missing"}, Never: []string{"10-calico.conflist"}, Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = []v1alpha1.CNIConfig{
			{Path: "/etc/cni/net.d/10-calico.conflist", Name: "k8s-pod-network", Plugins: []string{"calico", "calico-ipam", "bandwidth", "portmap"}, Used: true},
			{Path: "/etc/cni/net.d/87-podman-bridge.conflist", Name: "podman", Plugins: []string{"bridge", "host-local", "portmap", "firewall", "tuning"}},
		}
		o.CNI.Binaries = []string{"bandwidth", "bridge", "firewall", "host-local", "loopback", "portmap", "tuning"}
		o.CNI.IPAM = nil
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): failed to find plugin "calico" in path [/opt/cni/bin]`)
	}},
	// go-cni stops after the first file that it can load: what sorts behind was never read.
	{Name: "the runtime names one broken file, and another sorts behind the good one", Want: []string{"cni/conflist-invalid"}, Remedy: "mv -T --backup=numbered -- /etc/cni/net.d/05-new.conflist", Never: []string{"99-draft.conf"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CNIDown(o, "cni config load failed: failed to load CNI config list file /etc/cni/net.d/05-new.conflist: error parsing configuration list: unexpected end of JSON input: invalid cni config: failed to load cni config")
		o.CNI.Configs = []v1alpha1.CNIConfig{
			{Path: "/etc/cni/net.d/05-new.conflist", Error: "unexpected end of JSON input"},
			{Path: "/etc/cni/net.d/10-kindnet.conflist", Name: "kindnet", Plugins: []string{"ptp", "host-local", "portmap"}, Used: true},
			{Path: "/etc/cni/net.d/99-draft.conf", Error: "no plugin type"},
		}
	}},
	// No conflist names it: containerd's default is use_internal_loopback = false.
	{Name: "loopback plugin gone", Want: []string{"cni/plugin-binary-missing"}, Ill: func(o *v1alpha1.Observation) {
		o.CNI.Binaries = []string{"host-local", "portmap", "ptp"}
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="loopback" failed (add): failed to find plugin "loopback" in path [/opt/cni/bin]`)
	}},
	{Name: "flannel's delegate gone", Want: []string{"cni/plugin-binary-missing"}, Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = []v1alpha1.CNIConfig{{Path: "/etc/cni/net.d/10-flannel.conflist", Name: "cbr0", Plugins: []string{"flannel", "portmap"}, Used: true}}
		o.CNI.Binaries, o.CNI.IPAM = []string{"flannel", "host-local", "loopback", "portmap"}, nil
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="flannel" failed (add): failed to delegate add: failed to find plugin "bridge" in path [/opt/cni/bin]`)
	}},
	{Name: "CRI-O says that a delegate of Multus is gone", Want: []string{"cni/plugin-binary-missing"}, Remedy: ":/var/lib/cni/bin/whereabouts", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		detectorstest.SandboxFails(o, `failed to create pod network sandbox k8s_new_default_5f_0(9d): error adding pod default_new to CNI network "multus-cni-network": plugin type="multus" name="multus-cni-network" failed (add): [default/new/5f:storage]: error adding container to network "storage": failed to find plugin "whereabouts" in path [/var/lib/cni/bin /opt/cni/bin]`)
	}},
	{Name: "Calico's binary gone on a machine, where its agent brings it", Want: []string{"cni/plugin-binary-missing"}, Remedy: "/pods/calico-node-7k2p/eviction", Never: []string{"docker cp"}, Ill: func(o *v1alpha1.Observation) {
		o.Host.InContainer = false
		calico(o)
		o.CNI.Binaries = []string{"bandwidth", "loopback", "portmap"}
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): failed to find plugin "calico" in path [/opt/cni/bin]`)
	}},
	{Name: "Calico's binary gone, and the network of before is still there with its agent", Want: []string{"cni/plugin-binary-missing"}, Never: []string{"10-calico.conflist"}, Ill: func(o *v1alpha1.Observation) {
		old := o.CNI.Configs[0]
		calico(o)
		old.Path, old.Used = "/etc/cni/net.d/90-kindnet.conflist", false
		o.CNI.Configs = append(o.CNI.Configs, old)
		o.CNI.Binaries = []string{"bandwidth", "host-local", "loopback", "portmap", "ptp"}
		detectorstest.AddPod(o, detectorstest.Pod("kube-system", "kindnet-x7k2p", detectorstest.DaemonSet("kindnet"), detectorstest.HostNetwork, detectorstest.HostPath("/etc/cni/net.d")))
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): failed to find plugin "calico" in path [/opt/cni/bin]`)
	}},
	{Name: "loopback gone on a machine", Want: []string{"cni/plugin-binary-missing"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Host.InContainer = false
		calico(o)
		o.CNI.Binaries = []string{"bandwidth", "calico", "calico-ipam", "portmap"}
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="loopback" failed (add): failed to find plugin "loopback" in path [/opt/cni/bin]`)
	}},
	{Name: "the plugins' folder is mounted noexec", Want: []string{"cni/plugin-binary-missing"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Mounts = append(o.Mounts, v1alpha1.Mount{Target: "/opt/cni/bin", Type: "ext4", Options: []string{"rw", "noexec"}})
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="ptp" name="kindnet" failed (add): fork/exec /opt/cni/bin/ptp: permission denied`)
	}},
	{Name: "a plugin of another architecture", Want: []string{"cni/plugin-binary-missing"}, Remedy: ":/opt/cni/bin/host-local", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="ptp" name="kindnet" failed (add): fork/exec /opt/cni/bin/host-local: exec format error`)
	}},
	{Name: "a version of CNI that the plugins do not know", Want: []string{"cni/conflist-invalid"}, Remedy: "mv -T --backup=numbered -- /etc/cni/net.d/10-kindnet.conflist", Ill: func(o *v1alpha1.Observation) {
		const says = `incompatible CNI versions; config is "1.2.0", plugin supports ["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]`
		o.Runtime.Conditions[1] = v1alpha1.Condition{Type: "NetworkReady", Reason: "NetworkPluginNotReady", Message: "Network plugin returns error: " + says}
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="ptp" failed (add): `+says)
	}},
	{Name: "CRI-O's network configuration went while it ran", Want: []string{"cni/conflist-missing"}, Remedy: "/eviction", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		calico(o)
		o.CNI.Configs = nil
	}},
	{Name: "CRI-O has no network configuration", Want: []string{"cni/conflist-missing"}, Remedy: "/pods/calico-node-7k2p/eviction", Never: []string{"kube-multus"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		calico(o)
		detectorstest.AddPod(o, detectorstest.Pod("kube-system", "kube-multus-ds-9x2", detectorstest.DaemonSet("kube-multus-ds"), detectorstest.HostNetwork, detectorstest.HostPath("/etc/cni/net.d")))
		o.CNI.Configs = nil
		detectorstest.CNIDown(o, "")
		o.Runtime.Conditions[1].Message = "Network plugin returns error: No CNI configuration file in /etc/cni/net.d/. Has your network provider started?"
	}},
	// With the file aside alone, new pods would come up on podman's bridge.
	{Name: "Calico's file damaged, with podman's behind it", Want: []string{"cni/conflist-invalid"}, Remedy: "/pods/calico-node-7k2p/eviction", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		o.CNI.Configs = []v1alpha1.CNIConfig{{Path: "/etc/cni/net.d/10-calico.conflist", Error: "unexpected end of JSON input"}, {Path: "/etc/cni/net.d/87-podman.conflist", Name: "podman", Plugins: []string{"bridge", "host-local"}, Used: true}}
		detectorstest.CNIDown(o, "cni config load failed: failed to load CNI config list file /etc/cni/net.d/10-calico.conflist: error parsing configuration list: unexpected end of JSON input: invalid cni config: failed to load cni config")
	}},
	{Name: "bridged traffic of an IPv6-only cluster bypasses ip6tables", Want: []string{"cni/bridge-netfilter-off"}, Remedy: "sysctl -w net.bridge.bridge-nf-call-ip6tables=1", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs[0].Plugins = []string{"bridge", "host-local", "portmap"}
		o.CNI.Binaries = append(o.CNI.Binaries, "bridge")
		o.CNI.Configs[0].Subnets = []string{"fd00:10:244:1::/64"}
		for i := range o.API.Pods {
			o.API.Pods[i].Status.PodIP, o.API.Pods[i].Status.PodIPs = "fd00:10:244:1::7", nil
		}
		o.Network.BridgeNFCallIPTables, o.Network.BridgeNFCallIP6Tables = "1", "0"
	}},
	{Name: "bridged traffic bypasses iptables, and nobody is seen to need them", Want: []string{"cni/bridge-netfilter-off"}, Likely: true, Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs[0].Plugins = []string{"bridge", "host-local", "portmap"}
		o.CNI.Binaries = append(o.CNI.Binaries, "bridge")
		o.Network.BridgeNFCallIPTables = "0"
		o.API.Pods = slices.DeleteFunc(o.API.Pods, func(p corev1.Pod) bool { return strings.HasPrefix(p.Name, "kube-proxy") })
	}},
	noAddress("Azure", "azure-vnet", `plugin type="azure-vnet" failed (add): IPAM Invoker Add failed with error: Failed to allocate address: No available addresses`),
	noAddress("whereabouts", "multus", `plugin type="multus" failed (add): [default/new/5f:storage]: error adding container to network "storage": error at storage engine: Could not allocate IP in range: ip: 172.16.0.1 / - 172.16.0.6 / range: 172.16.0.0/29 / excludeRanges: []`),
	noAddress("Cilium's cluster pool", "cilium-cni", `plugin type="cilium-cni" failed (add): unable to allocate IP via local cilium agent: [POST /ipam][502] postIpamFailure "range is full"`),
	noAddress("Cilium", "cilium-cni", `plugin type="cilium-cni" failed (add): unable to allocate IP via local cilium agent: [POST /ipam][502] postIpamFailure  No more IPs available`),
	noAddress("the AWS VPC CNI", "aws-cni", `plugin type="aws-cni" name="aws-cni" failed (add): add cmd: failed to assign an IP address to container`),
	noAddress("Calico", "calico", `plugin type="calico" failed (add): failed to request IPv4 addresses: Assigned 0 out of 1 requested IPv4 addresses; No more free affine blocks and strict affinity enabled`),
	// After 25 events the kubelet's recorder lets one through in five minutes (client-go's events_cache.go).
	{Name: "no address left, and the events are rationed", Want: []string{"cni/ipam-exhausted"}, Ill: func(o *v1alpha1.Observation) {
		o.CNI.IPAM = nil
		detectorstest.AddPod(o, detectorstest.Pod("default", "new", detectorstest.Waiting("ContainerCreating", "")))
		detectorstest.Event(o, "default", "new", "FailedCreatePodSandBox", `Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "5f": plugin type="ptp" failed (add): failed to allocate for range 0: no IP addresses available in range set: 10.244.1.1-10.244.1.254`, 3*time.Minute, 37)
	}},
	noAddress("Cilium's pools", "cilium-cni", `plugin type="cilium-cni" failed (add): unable to allocate IP via local cilium agent: [POST /ipam][502] postIpamFailure "all pod CIDR ranges are exhausted"`),
	noAddress("Azure CNS", "azure-vnet", `plugin type="azure-vnet" failed (add): IPAM Invoker Add failed with error: Failed to get IP address from CNS: AllocateIPConfig failed: not enough IPs available for 9c6a7f37, waiting on Azure CNS to allocate more with NC Status: `),
	noAddress("Spiderpool", "spiderpool", `plugin type="spiderpool" failed (add): spiderpool IP allocation error: [POST /ipam/ip][500] postIpamIpFailure  failed to allocate IP addresses in standard mode: all IP addresses used out`),
	{Name: "EKS' plugin gone, with podman's conflist behind it", Want: []string{"cni/plugin-binary-missing"}, Never: []string{"10-aws.conflist"}, Ill: func(o *v1alpha1.Observation) {
		o.Host.InContainer = false
		o.CNI.Configs = []v1alpha1.CNIConfig{{Path: "/etc/cni/net.d/10-aws.conflist", Name: "aws-cni", Plugins: []string{"aws-cni", "egress-cni", "portmap"}, Used: true},
			{Path: "/etc/cni/net.d/87-podman-bridge.conflist", Name: "podman", Plugins: []string{"bridge", "host-local", "portmap"}}}
		o.CNI.Binaries, o.CNI.IPAM = []string{"bridge", "host-local", "loopback", "portmap"}, nil
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="aws-cni" name="aws-cni" failed (add): failed to find plugin "aws-cni" in path [/opt/cni/bin]`)
	}},
	// cilium: plugins/cilium-cni/cmd/cmd.go
	{Name: "Cilium's agent does not serve", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: "cilium-cni is there, but its daemon is not reached at /var/run/cilium/cilium.sock", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="cilium-cni" failed (add): unable to connect to Cilium agent: failed to create cilium agent client after 30.000000 seconds timeout: Get "http://localhost/v1/config": dial unix /var/run/cilium/cilium.sock: connect: no such file or directory
Is the agent running?`)
	}},
	// amazon-vpc-cni-k8s: cmd/routed-eni-cni-plugin/cni.go
	{Name: "AWS' ipamd does not serve", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: "aws-cni is there, but its daemon is not reached at 127.0.0.1:50051", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="aws-cni" name="aws-cni" failed (add): add cmd: Error received from AddNetwork gRPC call: rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:50051: connect: connection refused"`)
	}},
	// azure-container-networking: cns/client/client.go
	{Name: "Azure's CNS does not serve", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: "127.0.0.1:10090", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="azure-vnet" failed (add): IPAM Invoker Add failed with error: Failed to get IP address from CNS: http request failed: Post "http://localhost:10090/network/requestipconfigs": dial tcp 127.0.0.1:10090: connect: connection refused`)
	}},
	// https://github.com/k8snetworkplumbingwg/multus-cni/issues/1165
	{Name: "Multus' daemon does not serve", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: "multus-shim is there, but its daemon is not reached at /run/multus/multus.sock", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="multus-shim" name="multus-cni-network" failed (add): CmdAdd (shim): failed to send CNI request: Post "http://dummy/cni": dial unix /run/multus/multus.sock: connect: connection refused`)
	}},
	// https://github.com/kubernetes/kubernetes/issues/107127
	{Name: "Antrea's agent does not serve", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: "/var/run/antrea/cni.sock", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing dial unix /var/run/antrea/cni.sock: connect: no such file or directory"`)
	}},
	// https://github.com/cozystack/cozystack/issues/452
	{Name: "Kube-OVN's daemon does not serve", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: "/run/openvswitch/kube-ovn-daemon.sock", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="kube-ovn" failed (add): RPC failed; Post "http://dummy/api/v1/add": dial unix /run/openvswitch/kube-ovn-daemon.sock: connect: no such file or directory`)
	}},
	// flannel-io/cni-plugin: flannel.go
	{Name: "flanneld has not begun", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: "has not written /run/flannel/subnet.env", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="flannel" failed (add): failed to load flannel 'subnet.env' file: open /run/flannel/subnet.env: no such file or directory. Check the flannel pod log for this node.`)
	}},
	// projectcalico/calico: cni-plugin/internal/pkg/utils/utils.go
	{Name: "calico-node has not begun", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: "has not written /var/lib/calico/nodename", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): stat /var/lib/calico/nodename: no such file or directory: check that the calico/node container is running and has mounted /var/lib/calico/`)
	}},
	// projectcalico/calico: libcalico-go/lib/errors/errors.go
	{Name: "the API server refuses Calico's credential", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: "calico works with the API server, and is refused by it (connection is unauthorized)", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized`)
	}},
	// https://github.com/k8snetworkplumbingwg/multus-cni/issues/1094
	{Name: "the API server refuses Multus' credential", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: "multus works with the API server, and is refused by it (Unauthorized)", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": Multus: [default/new/a47656c9-a43f-4f78-b337-fde316150fa9]: error getting pod: Unauthorized`)
	}},
	// k8snetworkplumbingwg/multus-cni: pkg/multus/multus.go
	{Name: "Multus' role is gone", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: "is forbidden: User", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="multus" name="multus-cni-network" failed (add): Multus: [default/new/a4]: error getting pod: pods "new" is forbidden: User "system:serviceaccount:kube-system:multus" cannot get resource "pods" in API group "" in the namespace "default"`)
	}},
	// projectcalico/calico: libcalico-go/lib/backend/k8s/resources/client.go
	{Name: "Calico's plugin does not reach the service address", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: "does not reach it at 10.96.0.1:443 (i/o timeout), while the kubelet does", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): error getting ClusterInformation: Get "https://10.96.0.1:443/apis/crd.projectcalico.org/v1/clusterinformations/default": dial tcp 10.96.0.1:443: i/o timeout`)
	}},
	// whereabouts: pkg/storage/kubernetes/ipam.go
	{Name: "whereabouts does not reach the service address", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: "does not reach it at 10.96.0.1:443 (i/o timeout)", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="multus" name="multus-cni-network" failed (add): [default/new:net1]: error adding container to network "net1": error at storage engine: Get "https://10.96.0.1:443/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools/192.0.2.0-24": dial tcp 10.96.0.1:443: i/o timeout`)
	}},
	noAddress("whereabouts", "whereabouts", `plugin type="whereabouts" failed (add): error at storage engine: Could not allocate IP in range: ip: 192.0.2.1 / - 192.0.2.254 / range: 192.0.2.0/24 / excludeRanges: []`),
	noAddress("AWS' prefixes", "aws-cni", `plugin type="aws-cni" name="aws-cni" failed (add): add cmd: failed to assign an IP address to container: InsufficientCidrBlocks`),
	// https://github.com/harvester/harvester/issues/7326
	noAddress("Calico, whose blocks a node may have no more of", "calico", `plugin type="calico" failed (add): cannot allocate new block due to per host block limit`),
	// projectcalico/calico: libcalico-go/lib/ipam/ipam.go
	noAddress("Calico, of whose pools none is for this node", "calico", `plugin type="calico" failed (add): no configured Calico pools for node lab-worker`),
	// https://github.com/Azure/aks-engine/issues/4263
	noAddress("Azure's pools", "azure-vnet", `Failed to allocate pool: Failed to delegate: Failed to allocate pool: No available address pools`),
	noAddress("Azure's pools since its 1.4", "azure-vnet", `plugin type="azure-vnet" failed (add): IPAM Invoker Add failed with error: Failed to allocate pool: Failed to delegate: Failed to allocate pool: no available address pools`),
	// https://github.com/kubeovn/kube-ovn/issues/218
	noAddress("Kube-OVN", "kube-ovn", `plugin type="kube-ovn" failed (add): RPC failed; request ip return 500 no available ip for pod default/new`),
	// https://github.com/ovn-kubernetes/ovn-kubernetes/pull/4850
	{Name: "no address left of OVN-Kubernetes, as its control plane says on the pod", Want: []string{"cni/ipam-exhausted"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, ovnWaits)
		detectorstest.Event(o, "default", "new", "ErrorAllocatingPod", "failed to update pod default/new: failed to ensure requested or annotated IPs [10.1.130.0/24] for namespace/nad/default/new: subnet address pool exhausted", 20*time.Second, 3)
	}},
	// https://github.com/ovn-kubernetes/ovn-kubernetes/issues/3859
	{Name: "OVN-Kubernetes' control plane gives no address", Want: []string{"cni/ipam-exhausted"}, Likely: true, Remedy: "-", Says: "control plane gives new pods no address", Ill: func(o *v1alpha1.Observation) { detectorstest.SandboxFails(o, ovnWaits) }},
	// https://github.com/kubeovn/kube-ovn/issues/5125
	{Name: "Kube-OVN's controller gives no address", Want: []string{"cni/ipam-exhausted"}, Likely: true, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="kube-ovn" failed (add): RPC failed; request ip return 500 no address allocated to pod default/new provider ovn, please see kube-ovn-controller logs to find errors`)
	}},
	// https://github.com/kubernetes/kubernetes/issues/39557
	{Name: "the bridge has another network's address", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: "bridge cni0", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "ab": plugin type="bridge" failed (add): failed to set bridge addr: "cni0" already has an IP address different from 10.244.1.1/24`)
	}},
	{Name: "no iptables for portmap", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: "the program iptables", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "ab": plugin type="portmap" failed (add): failed to open iptables: exec: "iptables": executable file not found in $PATH`)
	}},
	{Name: "the kernel has no table nat", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: "table nat", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, "failed to setup network for sandbox \"ab\": plugin type=\"portmap\" failed (add): running [/usr/sbin/iptables -t nat -S --wait]: exit status 3: iptables v1.8.7 (legacy): can't initialize iptables table `nat': Table does not exist (do you need to insmod?)")
	}},
	{Name: "a plugin does not reach the API server by its service", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: "10.96.0.1:443", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "ab": plugin type="calico" failed (add): error getting ClusterInformation: Get "https://[10.96.0.1]:443/apis/crd.projectcalico.org/v1/clusterinformations/default": dial tcp 10.96.0.1:443: connect: connection refused`)
	}},
	// https://github.com/canonical/microk8s/issues/1675
	{Name: "MicroK8s has no network configuration", Want: []string{"cni/conflist-missing"}, Remedy: "-", Says: "/var/snap/microk8s/1769/args/cni-network", Never: []string{"/etc/cni"}, Ill: func(o *v1alpha1.Observation) {
		o.Host.InContainer = false
		o.CNI.ConfDir, o.CNI.BinDirs, o.CNI.Configs = "/var/snap/microk8s/1769/args/cni-network", []string{"/var/snap/microk8s/1769/opt/cni/bin"}, nil
		detectorstest.CNIDown(o, "cni config load failed: no network config found in /var/snap/microk8s/1769/args/cni-network: cni plugin not initialized: failed to load cni config")
	}},
	// Go: crypto/tls/handshake_client.go
	{Name: "Calico's plugin has another CA", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: "does not trust its certificate", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): error getting ClusterInformation: Get "https://10.96.0.1:443/apis/crd.projectcalico.org/v1/clusterinformations/default": tls: failed to verify certificate: x509: certificate signed by unknown authority`)
	}},
	// https://github.com/cilium/cilium/issues/29315
	{Name: "Cilium's agent is asked too often", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `its agent makes no endpoint for the pod (unable to create endpoint: [PUT /endpoint/{id}][429]`, Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="cilium-cni" failed (add): unable to create endpoint: [PUT /endpoint/{id}][429] putEndpointIdTooManyRequests `)
	}},
	// azure-container-networking: cns/client/client.go
	{Name: "Azure's CNS does not answer", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `its daemon does not answer it at localhost`, Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="azure-vnet" failed (add): IPAM Invoker Add failed with error: Failed to get IP address from CNS: http request failed: Post "http://localhost:10090/network/requestipconfigs": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`)
	}},
	{Name: "Azure's plugin waits for its own lock", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `another call holds its store`, Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="azure-vnet" failed (add): Failed to initialize key-value store of network plugin: timed out locking store`)
	}},
	{Name: "AWS' ipamd does not answer", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `its daemon adds no network`, Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="aws-cni" name="aws-cni" failed (add): add cmd: Error received from AddNetwork gRPC call: rpc error: code = DeadlineExceeded desc = context deadline exceeded`)
	}},
	// https://github.com/okd-project/okd/issues/1109
	{Name: "OVN binds no port, CRI-O", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `OVN binds no port`, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		detectorstest.SandboxFails(o, `failed to create pod network sandbox k8s_new_default_0a_0(a4b8): error adding pod default_new to CNI network "multus-cni-network": [default/new/4581:ovn-kubernetes]: error adding container to network "ovn-kubernetes": CNI request failed with status 400: '[default/new a4b8] [default/new a4b8] failed to configure pod interface: timed out waiting for OVS port binding (ovn-installed) for 0a:58:0a:80:00:2f [10.128.0.47/23]`)
	}},
	// https://github.com/openshift/origin/pull/26932
	{Name: "Multus waits for the default network, CRI-O", Want: []string{"cni/conflist-missing"}, Likely: true, Remedy: "-", Says: `has not written its configuration /var/run/multus/cni/net.d/10-ovn-kubernetes.conf:`, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		detectorstest.SandboxFails(o, `failed to create pod network sandbox k8s_new_default_0a_0(29c6): error adding pod default_new to CNI network "multus-cni-network": plugin type="multus" name="multus-cni-network" failed (add): Multus: [default/new/3ac8]: have you checked that your default network is ready? still waiting for readinessindicatorfile @ /var/run/multus/cni/net.d/10-ovn-kubernetes.conf. pollimmediate error: timed out waiting for the condition`)
	}},
	// https://github.com/projectcalico/calico/issues/10166
	{Name: "Calico is not made yet", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `has not made the ClusterInformation`, Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): error getting ClusterInformation: resource does not exist: ClusterInformation(default) with error: clusterinformations.crd.projectcalico.org "default" not found`)
	}},
	// https://github.com/projectcalico/calico/issues/11378
	{Name: "Calico's plugin is sent to a proxy", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: `is sent to a proxy for it, which does not do it (Forbidden http://proxy.example.test:3128)`, Manual: "NO_PROXY", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		o.Runtime.Environment.HTTPSProxy = "http://proxy.example.test:3128"
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): error getting ClusterInformation: Get "https://10.96.0.1:443/apis/crd.projectcalico.org/v1/clusterinformations/default": Forbidden`)
	}},
	{Name: "the proxy that Calico's plugin is sent to is down", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: `is sent to a proxy for it`, Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): error getting ClusterInformation: Get "https://10.96.0.1:443/apis/crd.projectcalico.org/v1/clusterinformations/default": proxyconnect tcp: dial tcp 10.0.0.9:3128: connect: connection refused`)
	}},
	// https://github.com/projectcalico/calico/issues/4095
	{Name: "Calico's plugin gets no answer of the API server", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: `gets no answer of it (EOF), while the kubelet does`, Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): error getting ClusterInformation: Get "https://10.96.0.1:443/apis/crd.projectcalico.org/v1/clusterinformations/default": unexpected EOF`)
	}},
	{Name: "Calico does not reach a store of its own", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: `does not reach its server at 10.32.0.5:2379`, Manual: "etcd_endpoints", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): client: etcd cluster is unavailable or misconfigured; error #0: dial tcp 10.32.0.5:2379: connect: connection refused`)
	}},
	// https://github.com/k8snetworkplumbingwg/sriov-network-device-plugin/issues/490
	{Name: "a network of its own kind asks for a device that the pod has not", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: `what the network sriovnet-fxp tells it; the node's own configuration is not meant`, Manual: "NetworkAttachmentDefinition sriovnet-fxp", Ill: func(o *v1alpha1.Observation) {
		multus(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="multus" name="multus-cni-network" failed (add): [default/new:sriovnet-fxp]: error adding container to network "sriovnet-fxp": SRIOV-CNI failed to load netconf: LoadConf(): VF pci addr is required`)
	}},
	// https://github.com/k8snetworkplumbingwg/multus-cni/issues/424
	{Name: "a network names an interface that the node has not", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: `this node has no interface "eth1"`, Ill: func(o *v1alpha1.Observation) {
		multus(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="multus" name="multus-cni-network" failed (add): [default/new:macvlan-conf]: error adding container to network "macvlan-conf": failed to lookup master "eth1": Link not found`)
	}},
	// whereabouts: pkg/storage/kubernetes/ipam.go
	{Name: "nobody lets whereabouts have its lease", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `nobody lets it have the lease`, Ill: func(o *v1alpha1.Observation) {
		multus(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="multus" name="multus-cni-network" failed (add): [default/new/a4:storage]: error adding container to network "storage": error at storage engine: time limit exceeded while waiting to become leader`)
	}},
	// https://github.com/kubernetes-sigs/kind/issues/3170
	{Name: "the kernel has not an extension of iptables", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `extension multiport`, Manual: "modprobe xt_multiport", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, "failed to setup network for sandbox \"5f\": plugin type=\"portmap\" failed (add): unable to setup DNAT: running [/usr/sbin/iptables -t nat -C CNI-HOSTPORT-DNAT -m comment --comment dnat name: \"kindnet\" -m multiport -p tcp --destination-ports 80,443 -j CNI-DN-a7 --wait]: exit status 2: iptables v1.8.7 (legacy): Couldn't load match `multiport':No such file or directory")
	}},
	// https://github.com/containernetworking/plugins/issues/461
	{Name: "somebody made rules with nft in the table of iptables", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `cannot read the table nat`, Manual: "nft list table ip nat", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, "failed to setup network for sandbox \"5f\": plugin type=\"portmap\" failed (add): failed to list chains: running [/usr/sbin/iptables -t nat -S --wait]: exit status 1: iptables v1.8.2 (nf_tables): table `nat' is incompatible, use 'nft' tool.")
	}},
	{Name: "the kernel has no bridges", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `the kernel does not do it`, Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="bridge" failed (add): failed to create bridge "cni0": could not add "cni0": operation not supported`)
	}},
	{Name: "a network of IPv6 on a node where that is off", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: `which is off on this node`, Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="bridge" failed (add): failed to add IP addr {Version:6 Interface:0xc0000 Address:{IP:fd00::2 Mask:ffff}} to "eth0": permission denied`)
	}},
	{Name: "the bridge has no port left", Want: []string{"cni/ipam-exhausted"}, Likely: true, Remedy: "-", Says: `the bridge cni0 takes no more ports`, Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="bridge" failed (add): failed to connect "veth1" to bridge cni0: exchange full`)
	}},
	// https://github.com/projectcalico/cni-plugin/issues/909
	{Name: "a plugin is killed", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `ends without a word (signal: killed)`, Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): netplugin failed with no error message: signal: killed`)
	}},
	{Name: "Calico's plugin asks for a name that the node's resolver does not know", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: `does not learn the address of kubernetes.default.svc (no such host)`, Manual: "resolv.conf", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): error getting ClusterInformation: Get "https://kubernetes.default.svc:443/apis/crd.projectcalico.org/v1/clusterinformations/default": dial tcp: lookup kubernetes.default.svc on 10.0.0.2:53: no such host`)
	}},
	{Name: "the node's resolver does not answer Multus, CRI-O", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: `the network plugin multus works with the API server, and does not learn the address of api.cluster.example.test (i/o timeout)`, Manual: "getent hosts -- api.cluster.example.test", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		multus(o)
		detectorstest.SandboxFails(o, `failed to create pod network sandbox k8s_new_default_0a_0(29c6): error adding pod default_new to CNI network "multus-cni-network": plugin type="multus" name="multus-cni-network" failed (add): Multus: [default/new/uid]: error getting pod: Get "https://api.cluster.example.test:6443/api/v1/namespaces/default/pods/new?timeout=1m0s": dial tcp: lookup api.cluster.example.test on 10.0.0.2:53: read udp 10.0.0.5:40343->10.0.0.2:53: i/o timeout`)
	}},
	{Name: "the node's resolver fails whereabouts", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: `does not learn the address of api.cluster.example.test (server misbehaving)`, Ill: func(o *v1alpha1.Observation) {
		multus(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="whereabouts" failed (add): error at storage engine: k8s get error: Get "https://api.cluster.example.test:6443/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/kube-system/ippools/x": dial tcp: lookup api.cluster.example.test on 127.0.0.53:53: server misbehaving`)
	}},
	{Name: "what Calico's plugin is shown has expired", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: `the certificate that it shows is not valid now`, Manual: "timedatectl", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): error getting ClusterInformation: Get "https://10.96.0.1:443/apis/crd.projectcalico.org/v1/clusterinformations/default": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-24T10:00:00Z is after 2026-11-20T10:00:00Z`)
	}},
	{Name: "Calico's kubeconfig is not written", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `its daemon has not written /etc/cni/net.d/calico-kubeconfig`, Manual: "network's agent", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): stat /etc/cni/net.d/calico-kubeconfig: no such file or directory`)
	}},
	{Name: "Calico's plugin panics", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `the network plugin calico is there, but it crashes (panic: runtime error: invalid memory address or nil pointer dereference)`, Manual: "its agent's", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): netplugin failed: "2026-11-24 10:00:00.000 [INFO][1] plugin.go 1: x\npanic: runtime error: invalid memory address or nil pointer dereference\n[signal SIGSEGV: segmentation violation code=0x1 addr=0x38 pc=0x1a]\n\ngoroutine 1 [running]:"`)
	}},
	{Name: "Cilium's plugin has no threads left", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `it crashes (fatal error: newosproc)`, Manual: "its agent's", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="cilium-cni" failed (add): netplugin failed: "runtime: failed to create new OS thread (have 2 already; errno=11)\nfatal error: newosproc\n"`)
	}},
	{Name: "a plugin ends without a word, CRI-O", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `the network plugin ovn-k8s-cni-overlay is there, but it ends without a word (exit status 2)`, Manual: "its agent's", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		multus(o)
		detectorstest.SandboxFails(o, `failed to create pod network sandbox k8s_new_default_0a_0(29c6): error adding pod default_new to CNI network "multus-cni-network": plugin type="ovn-k8s-cni-overlay" name="ovn-kubernetes" failed (add): netplugin failed with no error message: exit status 2`)
	}},
	{Name: "Cilium's agent answers 503", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `its agent makes no endpoint for the pod (unable to create endpoint: response status code does not match`, Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="cilium-cni" failed (add): Unable to create endpoint: response status code does not match any response statuses defined for this endpoint in the swagger spec (status 503): {}`)
	}},
	{Name: "Kube-OVN's daemon cannot make the interface", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `does not make the pod's interface (RPC failed; request ip return 500 configure nic failed`, Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="kube-ovn" failed (add): RPC failed; request ip return 500 configure nic failed exit status 1`)
	}},
	{Name: "Kube-OVN's daemon has no address of its controller, by its plugin's words", Want: []string{"cni/ipam-exhausted"}, Likely: true, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="kube-ovn" failed (add): RPC failed; request ip return 500 no address allocated to pod tenant-a/web-0 provider ovn, please see kube-ovn-controller logs to find errors`)
	}},
	{Name: "a plugin dumps core", Want: []string{"cni/plugin-binary-missing"}, Likely: true, Remedy: "-", Says: `ends without a word (signal: segmentation fault (core dumped))`, Manual: "its agent's", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): netplugin failed with no error message: signal: segmentation fault (core dumped)`)
	}},
	{Name: "a network of its own kind names a plugin that the node has not", Want: []string{"cni/plugin-binary-missing"}, Remedy: "-", Says: `pods that ask for that network get no sandbox here, all others go on`, Manual: "NetworkAttachmentDefinition sriovnet", Ill: func(o *v1alpha1.Observation) {
		multus(o)
		o.CNI.Binaries = slices.DeleteFunc(o.CNI.Binaries, func(b string) bool { return b == "sriov" })
		o.Host.InContainer = false
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="multus" name="multus-cni-network" failed (add): [default/new/uid:sriovnet]: error adding container to network "sriovnet": failed to find plugin "sriov" in path [/opt/cni/bin]`)
	}},
	{Name: "its IPAM plugin is not there, CRI-O", Want: []string{"cni/plugin-binary-missing"}, Remedy: "-", Says: `the CNI plugin whereabouts of the network storage is missing`, Manual: "NetworkAttachmentDefinition storage", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		multus(o)
		o.Host.InContainer = false
		detectorstest.SandboxFails(o, `failed to create pod network sandbox k8s_new_default_0a_0(29c6): error adding pod default_new to CNI network "multus-cni-network": plugin type="multus" name="multus-cni-network" failed (add): [default/new/uid:storage]: error adding container to network "storage": failed to find plugin "whereabouts" in path [/opt/multus/bin /opt/cni/bin]`)
	}},
	{Name: "a DaemonSet copies the plugin of a network of its own kind", Want: []string{"cni/plugin-binary-missing"}, Remedy: "/pods/ib-sriov-cni-ds-8m2/eviction", Says: `the CNI plugin ib-sriov of the network ib is missing`, Ill: func(o *v1alpha1.Observation) {
		multus(o)
		detectorstest.AddPod(o, detectorstest.Pod("network-operator", "ib-sriov-cni-ds-8m2", detectorstest.DaemonSet("ib-sriov-cni-ds"), detectorstest.HostPath("/opt/cni/bin")))
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="multus-shim" name="multus-cni-network" failed (add): CmdAdd (shim): CNI request failed with status 400: ERRORED: error configuring pod [default/new] networking: [default/new/uid:ib]: error adding container to network "ib": failed to find plugin "ib-sriov" in path [/opt/cni/bin]`)
	}},
	{Name: "the API server does not know Calico's credential, in client-go's words", Want: []string{"cni/conflist-invalid"}, Likely: true, Remedy: "-", Says: "is refused by it (the server has asked", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): error getting ClusterInformation: the server has asked for the client to provide credentials (get clusterinformations.crd.projectcalico.org default)`)
	}},
	{Name: "the configuration gives no ranges", Want: []string{"cni/conflist-invalid"}, Likely: true, Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="bridge" failed (add): no IP ranges specified`)
	}},
	// https://github.com/aws-samples/eks-automated-ipmgmt-multus-pods/issues/9
	{Name: "Multus does not know the version of its default network, whose file is another", Want: []string{"cni/conflist-invalid"}, Likely: true, Says: "/etc/cni/net.d/10-calico.conflist", Never: []string{"00-multus.conf"}, Ill: func(o *v1alpha1.Observation) {
		multus(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="multus" name="multus-cni-network" failed (add): [default/new:k8s-pod-network]: error adding container to network "k8s-pod-network": unsupported CNI result version "1.0.0"`)
	}},
	{Name: "conflist damaged, and another pod's tag is wrong", Want: []string{"cni/conflist-invalid", "image-pull/tag-not-found"}, Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = []v1alpha1.CNIConfig{{Path: "/etc/cni/net.d/10-kindnet.conflist", Error: "unexpected end of JSON input"}}
		detectorstest.CNIDown(o, "cni config load failed: failed to load CNI config list file /etc/cni/net.d/10-kindnet.conflist: error parsing configuration list: unexpected end of JSON input: invalid cni config: failed to load cni config")
		detectorstest.PullFails(o, detectorstest.Registry+"/team/web:9", detectorstest.Registry+"/team/web:9: not found")
	}},
}

var silent = []detectorstest.Case{
	{Name: "an address that host-local has given to this very container, while others are free", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "ab": plugin type="host-local" failed (add): failed to allocate for range 0: 10.244.1.9 has been allocated to abc, duplicate allocation is not allowed`)
	}},
	{Name: "a second conflist that sorts later", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = append(o.CNI.Configs, v1alpha1.CNIConfig{Path: "/etc/cni/net.d/99-old.conflist", Plugins: []string{"weave"}}, v1alpha1.CNIConfig{Path: "/etc/cni/net.d/zz.conf", Error: "no JSON"})
	}},
	{Name: "conflist gone, the runtime still has it in memory", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs, o.CNI.ConfDirError = nil, "no such directory"
	}},
	{Name: "bridge-nf-call-iptables off with ptp", Ill: func(o *v1alpha1.Observation) { o.Network.BridgeNFCallIPTables = "0" }},
	{Name: "all addresses in use by running pods", Ill: func(o *v1alpha1.Observation) { o.CNI.IPAM[0].Reserved = 254 }},
	{Name: "flannel waits for its subnet", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="flannel" failed (add): open /run/flannel/subnet.env: permission denied`)
	}},
	{Name: "one pod's Multus annotation is malformed", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = []v1alpha1.CNIConfig{
			{Path: "/etc/cni/net.d/00-multus.conf", Name: "multus-cni-network", Plugins: []string{"multus"}, Used: true},
			{Path: "/etc/cni/net.d/10-calico.conflist", Name: "k8s-pod-network", Plugins: []string{"calico", "calico-ipam", "bandwidth", "portmap"}},
		}
		o.CNI.Binaries, o.CNI.IPAM = []string{"bandwidth", "calico", "calico-ipam", "loopback", "multus", "portmap"}, nil
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="multus" name="multus-cni-network" failed (add): Multus: [default/new]: error getting k8s network: parsePodNetworkAnnotation: failed to parse pod Network Attachment Selection Annotation JSON format: invalid character 'm' looking for beginning of object key string`)
	}},
	{Name: "a plugin does not reach the API server, and the kubelet neither", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		o.Kubelet.Kubeconfig.Reach = "timeout"
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): error getting ClusterInformation: Get "https://10.96.0.1:443/apis/crd.projectcalico.org/v1/clusterinformations/default": dial tcp 10.96.0.1:443: i/o timeout`)
	}},
	// https://github.com/projectcalico/calico/issues/8180, https://github.com/aws/amazon-vpc-cni-k8s/issues/344: what earlier pods left
	// behind, which the plugins clear up themselves.
	{Name: "Calico meets an old pod's route", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="calico" failed (add): error adding host side routes for interface: calid29a1cadef5, error: route (Ifindex: 131, Dst: 172.25.136.1/32, Scope: link) already exists for an interface other than 'calid29a1cadef5': route (Ifindex: 12, Dst: 172.25.136.1/32, Scope: link, Iface: calif6cb5368383)`)
	}},
	{Name: "the AWS VPC CNI meets an old pod's rule", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="aws-cni" name="aws-cni" failed (add): add command: failed to setup network: setup NS network: failed to add host route: file exists`)
	}},
	// https://github.com/k8snetworkplumbingwg/multus-cni/issues/456
	{Name: "one pod names a network that is not there", Ill: func(o *v1alpha1.Observation) {
		multus(o)
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": plugin type="multus" name="multus-cni-network" failed (add): Multus: [default/new]: error loading k8s delegates k8s args: TryLoadPodDelegates: error in getting k8s network from pod: GetNetworkDelegates: failed getting the delegate: getKubernetesDelegate: cannot find get a network-attachment-definition (x) in namespace (default): network-attachment-definitions.k8s.cni.cncf.io "x" not found`)
	}},
	{Name: "Cilium's agent was asked too often once", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "new", detectorstest.Waiting("ContainerCreating", "")))
		detectorstest.Event(o, "default", "new", "FailedCreatePodSandBox", `Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "5f": plugin type="cilium-cni" failed (add): unable to create endpoint: [PUT /endpoint/{id}][429] putEndpointIdTooManyRequests `, 5*time.Second, 1)
	}},
	{Name: "OVN-Kubernetes' plugin waited once in vain", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "new", detectorstest.Waiting("ContainerCreating", "")))
		detectorstest.Event(o, "default", "new", "FailedCreatePodSandBox", "Failed to create pod sandbox: rpc error: code = Unknown desc = "+ovnWaits, 5*time.Second, 1)
	}},
	{Name: "a plugin did not reach its daemon once, just now", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "app", detectorstest.Waiting("ContainerCreating", "")))
		detectorstest.Event(o, "default", "app", "FailedCreatePodSandBox", `Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "ab": plugin type="aws-cni" name="aws-cni" failed (add): add cmd: Error received from AddNetwork gRPC call: rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:50051: connect: connection refused"`, 5*time.Second, 1)
	}},
	{Name: "Cilium's agent restarts, and a plugin did not reach it once", Ill: func(o *v1alpha1.Observation) {
		calico(o)
		detectorstest.Event(o, "default", "app", "FailedCreatePodSandBox", `Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "ab": plugin type="cilium-cni" failed (add): unable to connect to Cilium agent: failed to create cilium agent client after 30.000000 seconds timeout: Get "http://localhost/v1/config": dial unix /var/run/cilium/cilium.sock: connect: no such file or directory`, 2*time.Minute, 1)
	}},
}

// ovnWaits is what OVN-Kubernetes' plugin says that got no address for a pod.
const ovnWaits = `failed to setup network for sandbox "c9a9": plugin type="multus" name="multus-cni-network" failed (add): [default/new/4ff7:ovn-kubernetes]: error adding container to network "ovn-kubernetes": CNI request failed with status 400: '[default/new c9a9 network default NAD default] failed to get pod annotation: timed out waiting for annotations: context deadline exceeded`

// calico is a node whose network is Calico, with its agent.
func calico(o *v1alpha1.Observation) {
	o.CNI.Configs = []v1alpha1.CNIConfig{{Path: "/etc/cni/net.d/10-calico.conflist", Name: "k8s-pod-network", Plugins: []string{"calico", "calico-ipam", "bandwidth", "portmap"}, Used: true}}
	o.CNI.Binaries, o.CNI.IPAM = []string{"bandwidth", "calico", "calico-ipam", "loopback", "portmap"}, nil
	o.API.Pods = slices.DeleteFunc(o.API.Pods, func(p corev1.Pod) bool { return strings.HasPrefix(p.Name, "kindnet") })
	detectorstest.AddPod(o, detectorstest.Pod("kube-system", "calico-node-7k2p", detectorstest.DaemonSet("calico-node"), detectorstest.HostNetwork, detectorstest.HostPath("/etc/cni/net.d"), detectorstest.HostPath("/opt/cni/bin")))
}

// noAddress is a node on which this network has no address left.
func noAddress(network, plugin, says string) detectorstest.Case {
	return detectorstest.Case{Name: "no address left of " + network, Want: []string{"cni/ipam-exhausted"}, Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = []v1alpha1.CNIConfig{{Path: "/etc/cni/net.d/10-net.conflist", Name: "net", Plugins: []string{plugin}, Used: true}}
		o.CNI.Binaries, o.CNI.IPAM = []string{plugin, "loopback"}, nil
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "5f": `+says)
	}}
}

// multus is calico with Multus before it.
func multus(o *v1alpha1.Observation) {
	calico(o)
	o.CNI.Configs = append([]v1alpha1.CNIConfig{{Path: "/etc/cni/net.d/00-multus.conf", Name: "multus-cni-network", Plugins: []string{"multus"}, Used: true}}, o.CNI.Configs...)
	o.CNI.Configs[1].Used, o.CNI.Binaries = false, append(o.CNI.Binaries, "multus", "sriov", "macvlan")
}
