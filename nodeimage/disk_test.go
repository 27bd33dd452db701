package nodeimage

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckSpace(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "not", "yet")
	needs := []space{{path: missing, why: "parts", bytes: 2 * gib}, {path: dir, why: "modules", bytes: 3 * gib}}
	free := func(bytes uint64) func(string) (string, uint64, error) {
		return func(path string) (string, uint64, error) {
			if path != dir {
				t.Errorf("asked about %s, want the nearest folder that is there, %s", path, dir)
			}
			return "fs", bytes, nil
		}
	}
	if err := checkSpace(needs, free(5*gib)); err != nil {
		t.Errorf("with room: %v", err)
	}
	// Either alone would fit: the sum on one file system is what counts.
	err := checkSpace(needs, free(4*gib))
	if err == nil {
		t.Fatal("no error without room")
	}
	for _, part := range []string{"5.0 GiB", "4.0 GiB", missing, "parts", "modules", "SICKBAY_CACHE", "--image"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	// On file systems of their own each has enough.
	n := 0
	if err := checkSpace(needs, func(string) (string, uint64, error) { n++; return string(rune('a' + n)), 3 * gib, nil }); err != nil {
		t.Errorf("two file systems: %v", err)
	}
	boom := errors.New("boom")
	if err := checkSpace(needs, func(string) (string, uint64, error) { return "", 0, boom }); !errors.Is(err, boom) {
		t.Errorf("unreadable: %v", err)
	}
}

func TestMissingPackages(t *testing.T) {
	needs := []hostNeed{
		{part: "rootfs", present: func() bool { return false }, packages: []string{"mmdebstrap"}},
		{part: "runc", present: func() bool { return true }, packages: []string{"gcc"}},
	}
	if got := missingPackages([]*part{{name: "rootfs"}, {name: "runc"}, {name: "etcd"}}, needs); len(got) != 1 || got[0] != "mmdebstrap" {
		t.Errorf("missing %v, want mmdebstrap", got)
	}
	if got := missingPackages([]*part{{name: "etcd"}}, needs); len(got) != 0 {
		t.Errorf("missing %v although no part needs it", got)
	}
}
