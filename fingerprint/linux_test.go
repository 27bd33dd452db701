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
	addRuleLines(f, "iptables-save", []byte("# c\n*filter\n:INPUT ACCEPT [12:34]\n:KUBE-FIREWALL - [0:0]\n-A INPUT -j KUBE-FIREWALL\n-A OUTPUT -p tcp --dport 6443 -j REJECT\nCOMMIT\n"), nodeRules)
	if len(f.Areas[Rules]) != 2 {
		t.Fatalf("%v", f.Areas[Rules])
	}
	if f.Areas[Rules]["iptables filter -A OUTPUT -p tcp --dport 6443 -j REJECT"] == "" {
		t.Fatalf("%v", f.Areas[Rules])
	}
}

// The host's own fingerprint must hold still while nothing happens, or every run would end red.
func TestHostHoldsStill(t *testing.T) {
	a := Host(context.Background())
	b := Host(context.Background())
	if c := Diff(a, b); len(c) != 0 {
		t.Fatalf("two looks in a row differ:\n%s", Text(c))
	}
}
