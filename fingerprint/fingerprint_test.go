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
	got := Text(Diff(before, after))
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
