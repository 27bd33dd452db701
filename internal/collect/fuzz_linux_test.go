package collect

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/systemd"
)

// maxFuzz bounds an input: how much of a source is read is held by other tests.
const maxFuzz = 64 << 10

// FuzzFirewall: rules of anybody who may add some.
func FuzzFirewall(f *testing.F) {
	for _, s := range []string{
		"*filter\n:INPUT ACCEPT [0:0]\n:X - [0:0]\n-A INPUT -j X\n-A X -d 10.0.0.1/32 -p tcp -m comment --comment \"a b\" -m multiport --dports 1,2 -j REJECT --reject-with tcp-reset\nCOMMIT\n",
		"*nat\n:OUTPUT DROP\n-A OUTPUT -m set --match-set s dst ! -s ::1 -j DROP\n",
		"table inet t { # handle 1\n\tset s { # handle 2\n\t\telements = { 10.0.0.1,\n\t\t\t10.0.0.2 }\n\t}\n\tchain c { # handle 3\n\t\ttype filter hook output priority 0; policy drop;\n\t\tip daddr @s tcp dport { 80, 443 } reject # handle 4\n\t\tjump c # handle 5\n\t}\n}\n",
		"add s 10.0.0.1,tcp:443 timeout 5\n", "blackhole 10.0.0.0/8 proto bird\nunreachable ::/0 dev lo\n", "100:\tfrom all to 172.18.0.2 prohibit\n",
		"*\n:\n-A \n-A -j\n-j DROP", "table  {\n\tchain {\n\t\tdrop # handle 99999999999999999999",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > maxFuzz {
			t.Skip()
		}
		sets := ipsets(s)
		rules, _ := iptablesRules("iptables", s, sets)
		nft, _ := nftRules(s)
		for _, r := range append(append(append(rules, nft...), rejectRoutes(s)...), policyRules("rule", s)...) {
			if r.Text == "" {
				t.Errorf("a rule without words of %q", s)
			}
			_ = r.Outgoing()
		}
	})
}

// FuzzJournal: what journalctl prints of a process that writes what it likes, and the kernel's records.
func FuzzJournal(f *testing.F) {
	entry := func(text string) string {
		raw, _ := json.Marshal(map[string]string{"__CURSOR": "c", "__REALTIME_TIMESTAMP": "1764000000000000", "MESSAGE": text, "_PID": "7", "_SYSTEMD_UNIT": "kubelet.service", "PRIORITY": "3"})
		return string(raw) + "\n"
	}
	f.Add(entry(`E1129 00:00:00.000000 7 x.go:1] "Failed to pull image" image "r.test:5000/a:1" err=<`) + entry("\tx") + entry(" >"))
	f.Add(entry(`time="2026-11-24T00:00:00Z" level=error msg="trying next host" host=r.test`) + entry("current time 2036-11-24T00:00:00Z is after 2026-11-24T00:00:00Z"))
	f.Add(entry("-----BEGIN EC PRIV"+"ATE KEY-----") + entry("x"))
	f.Add(`{"__CURSOR":"c","MESSAGE":[1,2,300,-1],"_PID":"x"}` + "\n" + `{"MESSAGE":null,"__CURSOR":"d"}`)
	f.Add("6,1,2,-;text\n KEY=value")
	f.Add("type=AVC msg=audit(1764000000.000:9): avc:  denied  { read }")
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > maxFuzz {
			t.Skip()
		}
		keep := newRing(100)
		if err := keep.read(strings.NewReader(s)); err != nil {
			t.Fatal(err)
		}
		own := ownClock{zone: time.UTC}
		var lines []v1alpha1.LogLine
		for _, e := range keep.kept {
			lines = append(lines, own.line(e))
		}
		own.years(lines)
		lines = joinValues(lines)
		failedPullHosts(lines)
		processOffsets(lines)
		if _, ok := parseKmsg([]byte(s), time.Unix(0, 0)); ok && !strings.Contains(s, ";") {
			t.Error("a record without text")
		}
		_ = parseCursors(s).String()
		systemd.Units(s)
	})
}

// FuzzMounts: mountinfo has whatever somebody mounts where.
func FuzzMounts(f *testing.F) {
	f.Add("24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n36 24 0:30 /a\\040b /mnt\\134x ro master:1 propagate_from:2 - overlay overlay rw,lowerdir=/a:/b\n")
	f.Add("24 1 8:1\n")
	f.Add("36 24 0:4 net:[4026532] /run/netns/x rw shared:1 - nsfs nsfs rw")
	f.Fuzz(func(_ *testing.T, s string) {
		t := parseMounts(s)
		for _, p := range []string{"/", "/var/lib/kubelet", "", s} {
			_, _ = t.of(p)
			_, _ = t.backing(p)
		}
		for _, m := range t {
			_ = m.option("lowerdir=")
			_ = matters(unescape(m.target))
		}
	})
}

// FuzzHosts: a registry's hosts.toml and its certificates, a kubeconfig, the kubelet's configuration.
func FuzzHosts(f *testing.F) {
	f.Add([]byte("server = \"https://r.test\"\nca = [\"a.crt\", 7]\n[host.\"https://m.test\"]\n  skip_verify = true\n  ca = \"/b.crt\"\n[host.'%zz']\n"))
	f.Add([]byte("[host.\nx"))
	f.Add([]byte("apiVersion: v1\nclusters: [{name: c, cluster: {server: 'https://x', certificate-authority-data: '!!'}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\nusers: [{name: u, user: {exec: {command: x}}}]\n"))
	f.Add([]byte("kind: KubeletConfiguration\nevictionHard: {nodefs.available: 10%}\nmergeDefaultEvictionSettings: true\n"))
	l := at(f, tree(f, nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > maxFuzz {
			t.Skip()
		}
		h := v1alpha1.RegistryHost{Host: "r.test", Path: "/etc/containerd/certs.d/r.test/hosts.toml"}
		if l.hostsFile(raw, &h) == nil {
			h.Origin = origin(h)
		}
		k := v1alpha1.Kubeconfig{Path: "/etc/kubernetes/kubelet.conf"}
		_, _ = l.parseKubeconfig(raw, &k)
		_, _ = parseKubeletConfig(raw)
	})
}

// FuzzCertificates: a PEM file of anybody's, and a chain of what is in it.
func FuzzCertificates(f *testing.F) {
	ca := newAuthority(f, "ours")
	f.Add([]byte(ca.pem()))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("no certificate"))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		certs, err := parseCerts(raw)
		if err != nil {
			return
		}
		describeCert("/x", "ca", certs[0], certs)
		chains(certs[0], certs, certs)
		systemRoots(certs)
	})
}

// FuzzCRIStatus: the verbose status of a runtime that is anybody's.
func FuzzCRIStatus(f *testing.F) {
	f.Add(`{"containerd":{"runtimes":{"runc":{"runtimeType":"io.containerd.runc.v2","options":{"SystemdCgroup":true}}},"defaultRuntimeName":"runc","snapshotter":"overlayfs"},"cni":{"binDir":"/opt/cni/bin","binDirs":["/a"],"confDir":"/etc/cni/net.d"},"rootDir":"/x","sandboxImage":"p"}`, "OK", "runc")
	f.Add(`{"containerd":{"runtimes":null},"cni":[]}`, "", "")
	f.Add(`[`, "x", "y")
	f.Fuzz(func(t *testing.T, config, load, handler string) {
		l := at(t, root(t.TempDir()))
		_ = l.takeStatus(&cri.StatusResponse{
			Status: &cri.RuntimeStatus{Conditions: []*cri.RuntimeCondition{{Type: load, Message: config}}}, RuntimeHandlers: []*cri.RuntimeHandler{{Name: handler}},
			Info: map[string]string{"config": config, "lastCNILoadStatus": load},
		})
		sandboxesOf([]*cri.PodSandbox{{Id: config, Labels: map[string]string{load: handler}}})
		containersOf([]*cri.Container{{Id: config}})
		hasAddress(config, load)
	})
}

// As many ways lead to a chain as an attacker has made: each chain is looked at once.
func TestFirewallOfManyWays(t *testing.T) {
	var b strings.Builder
	b.WriteString("*filter\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j A0\n-A OUTPUT -j B0\n")
	const layers = 60 // 2^60 ways
	for i := range layers {
		for _, from := range "AB" {
			for _, to := range "AB" {
				fmt.Fprintf(&b, "-A %c%d -j %c%d\n", from, i, to, i+1)
			}
		}
	}
	fmt.Fprintf(&b, "-A A%d -d 10.0.0.1/32 -j DROP\n-A A%d -j A0\n", layers, layers)
	rules, _ := iptablesRules("iptables", b.String(), nil)
	if len(rules) != 1 || strings.Join(rules[0].Hooks, "") != "output" {
		t.Errorf("%+v", rules)
	}
}
