package fingerprint

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func of(areas map[string]map[string]string) *Fingerprint {
	f := New("n", time.Time{})
	f.Areas = areas
	return f
}

func TestDiff(t *testing.T) {
	before := of(map[string]map[string]string{Files: {"/etc/a": "1", "/etc/b": "2"}, Swaps: {}})
	after := of(map[string]map[string]string{Files: {"/etc/a": "1", "/etc/b": "3"}, Swaps: {"/swap": "file"}})
	got := texts(Diff(before, after))
	want := "n: ~ files /etc/b: 2 → 3\nn: + swaps /swap (file)"
	if got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	if c := Diff(before, before); len(c) != 0 {
		t.Fatalf("a fingerprint differs from itself: %v", c)
	}
	gone := Diff(after, before)
	if len(gone) != 2 || gone[1].After != "" || !strings.HasPrefix(gone[1].String(), "n: - swaps /swap") {
		t.Fatalf("a vanished key must be told: %v", gone)
	}
}

func TestUnknownNeverEquals(t *testing.T) {
	a, b := of(map[string]map[string]string{Images: {"x": "y"}}), of(map[string]map[string]string{})
	b.Fail(Images, errors.New("socket gone"))
	if c := Diff(a, b); len(c) != 1 || !strings.Contains(c[0].After, "socket gone") {
		t.Fatalf("an unread area passed as equal: %v", c)
	}
	if c := Diff(b, b); len(c) != 1 {
		t.Fatalf("an area unread on both sides passed as equal: %v", c)
	}
}

func TestAGatewayIsItsNode(t *testing.T) {
	const key = "10.244.1.0/24 type 1 table 254 metric 0"
	routes := func(via string) *Fingerprint {
		return of(map[string]map[string]string{Routes: {key: "via " + via + " dev eth0", "link eth0": "veth"}})
	}
	before, after, elsewhere := routes("172.17.0.4"), routes("172.17.0.3"), routes("172.17.0.2")
	before.NameGateways(map[string]string{"172.17.0.4": "worker"})
	now := map[string]string{"172.17.0.3": "worker", "172.17.0.2": "worker2"}
	after.NameGateways(now)
	elsewhere.NameGateways(now)
	if c := Diff(before, after); len(c) != 0 {
		t.Errorf("the same node at another address: %v", c)
	}
	if got, want := texts(Diff(before, elsewhere)), "n: ~ routes "+key+": via worker dev eth0 → via worker2 dev eth0"; got != want {
		t.Errorf("another node: got %s, want %s", got, want)
	}
}

// texts are changes, one a line.
func texts(changes []Change) string {
	var lines []string
	for _, c := range changes {
		lines = append(lines, c.String())
	}
	return strings.Join(lines, "\n")
}
