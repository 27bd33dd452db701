//go:build linux

package fingerprint

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestFilesSeeContentModeAndRemoval(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "a.conf")
	take := func() *Fingerprint {
		f := New("n", time.Time{})
		addFiles(f, func(string) bool { return false }, dir, filepath.Join(dir, "nowhere"))
		if len(f.Unknown) != 0 {
			t.Fatal(f.Unknown)
		}
		return f
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(p, []byte("one"), 0o644))
	first := take()
	must(os.WriteFile(p, []byte("two"), 0o644))
	if c := Diff(first, take()); len(c) != 1 {
		t.Fatalf("changed content: %v", c)
	}
	must(os.WriteFile(p, []byte("one"), 0o644))
	if c := Diff(first, take()); len(c) != 0 {
		t.Fatalf("same content written again: %v", c)
	}
	must(os.Chmod(p, 0o600))
	if c := Diff(first, take()); len(c) != 1 {
		t.Fatalf("changed mode: %v", c)
	}
	must(os.Remove(p))
	if c := Diff(first, take()); len(c) != 1 || c[0].After != "" {
		t.Fatalf("removed file: %v", c)
	}
}

func TestRuleLinesDropCountersAndForeignChains(t *testing.T) {
	f := New("n", time.Time{})
	addRuleLines(f, "iptables-save", []byte("# c\n*filter\n:INPUT ACCEPT [12:34]\n:KUBE-FIREWALL - [0:0]\n-A INPUT -j KUBE-FIREWALL\n-A OUTPUT -p tcp --dport 6443 -j REJECT\nCOMMIT\n"), nodeRule)
	if len(f.Areas[Rules]) != 2 {
		t.Fatalf("%v", f.Areas[Rules])
	}
	if f.Areas[Rules]["iptables filter -A OUTPUT -p tcp --dport 6443 -j REJECT"] == "" {
		t.Fatalf("%v", f.Areas[Rules])
	}
}

// Docker writes a rule for every port that any cluster publishes, and takes it away with the cluster: they come and go without us.
func TestHostRulesLeaveOutTheEngines(t *testing.T) {
	ours := func(saved string) map[string]string {
		f := New("host", time.Time{})
		addRuleLines(f, "iptables-save", []byte("*x\n"+saved+"\nCOMMIT\n"), hostRule)
		return f.Areas[Rules]
	}
	for _, theirs := range []string{
		"-A POSTROUTING -s 172.18.0.2/32 -d 172.18.0.2/32 -p tcp -m tcp --dport 6443 -j MASQUERADE", // up to Docker 27: a container that calls itself
		"-A PREROUTING -d 127.0.0.1/32 ! -i lo -p tcp -m tcp --dport 36211 -j DROP",                 // since 28: what is published on loopback stays there
		"-A DOCKER -d 127.0.0.1/32 ! -i br-0123456789ab -p tcp -m tcp --dport 36211 -j DNAT --to-destination 172.18.0.2:6443",
		"-A POSTROUTING -s 172.18.0.0/16 ! -o br-0123456789ab -j MASQUERADE",
		"-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
	} {
		if got := ours(theirs); len(got) != 0 {
			t.Errorf("counted: %v", got)
		}
	}
	for _, counts := range []string{
		"-A POSTROUTING -s 172.18.0.2/32 -d 172.18.0.3/32 -p tcp -m tcp --dport 6443 -j MASQUERADE",
		"-A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE",
		"-A OUTPUT -d 172.18.0.2/32 -p tcp -m tcp --dport 6443 -j REJECT",
		"-A PREROUTING -d 127.0.0.1/32 -p tcp -m tcp --dport 36211 -j DROP",
		"-A INPUT -d 127.0.0.1/32 ! -i lo -p tcp -m tcp --dport 36211 -j DROP",
		":FORWARD DROP [0:0]",
	} {
		if got := ours(counts); len(got) != 1 {
			t.Errorf("%s: left out", counts)
		}
	}
}

// The host's own fingerprint must hold still while nothing happens, or every run would end red.
func TestHostHoldsStill(t *testing.T) {
	a := Host(context.Background())
	b := Host(context.Background())
	if c := Diff(a, b); len(c) != 0 {
		t.Fatalf("two looks in a row differ:\n%s", texts(c))
	}
}

func TestComesAndGoes(t *testing.T) {
	for name, want := range map[string]bool{"runc:[2:INIT]": true, "6": true, "du": true, "(md)": true, "containerd": false, "kubelet": false, "fio2": false} {
		if comesAndGoes(name) != want {
			t.Errorf("%s: want %t", name, want)
		}
	}
}
