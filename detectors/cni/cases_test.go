package cni_test

import (
	"testing"

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
	{Name: "addresses leaked", Want: []string{"cni/ipam-exhausted"}, Remedy: "ctr -n k8s.io containers ls", Ill: func(o *v1alpha1.Observation) {
		o.CNI.IPAM[0].Reserved, o.CNI.IPAM[0].Orphans = 254, 251
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "x": plugin type="ptp" failed (add): failed to allocate for range 0: no IP addresses available in range set: 10.244.1.1-10.244.1.254`)
	}},
	{Name: "more pods than addresses", Want: []string{"cni/ipam-exhausted"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.CNI.IPAM[0].Reserved, o.CNI.IPAM[0].Orphans = 254, 0
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "x": plugin type="ptp" failed (add): failed to allocate for range 0: no IP addresses available in range set: 10.244.1.1-10.244.1.254`)
	}},
	{Name: "bridged traffic bypasses iptables", Want: []string{"cni/bridge-netfilter-off"}, Remedy: "sysctl -w net.bridge.bridge-nf-call-iptables=1", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs[0].Plugins = []string{"bridge", "host-local", "portmap"}
		o.CNI.Binaries = append(o.CNI.Binaries, "bridge")
		o.Network.BridgeNFCallIPTables = "0"
	}},
	{Name: "two faults, conflist gone and kubelet stopped", Want: []string{"node-notready/kubelet-stopped", "cni/conflist-missing"}, Remedy: "systemctl start kubelet.service", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = nil
		detectorstest.CNIDown(o, detectorstest.NoConfig)
		detectorstest.KubeletStopped(o)
	}},
}

var silent = []detectorstest.Case{
	{Name: "a second conflist that sorts later", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = append(o.CNI.Configs, v1alpha1.CNIConfig{Path: "/etc/cni/net.d/99-old.conflist", Plugins: []string{"weave"}}, v1alpha1.CNIConfig{Path: "/etc/cni/net.d/zz.conf", Error: "no JSON"})
	}},
	{Name: "conflist gone, the runtime still has it in memory", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs, o.CNI.ConfDirError = nil, "no such directory"
	}},
	{Name: "bridge-nf-call-iptables off with ptp", Ill: func(o *v1alpha1.Observation) { o.Network.BridgeNFCallIPTables = "0" }},
	{Name: "all addresses in use by running pods", Ill: func(o *v1alpha1.Observation) { o.CNI.IPAM[0].Reserved = 254 }},
}
