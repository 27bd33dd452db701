package buildcache

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckSpace(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "not", "yet")
	needs := []Need{{Path: missing, Why: "parts", Bytes: 2 * GiB}, {Path: dir, Why: "modules", Bytes: 3 * GiB}}
	free := func(bytes uint64) func(string) (string, uint64, error) {
		return func(path string) (string, uint64, error) {
			if path != dir {
				t.Errorf("asked about %s, want the nearest folder that is there, %s", path, dir)
			}
			return "fs", bytes, nil
		}
	}
	if err := CheckSpace("making it", "free some", needs, free(5*GiB)); err != nil {
		t.Errorf("with room: %v", err)
	}
	// Either alone would fit: the sum on one file system is what counts.
	err := CheckSpace("making it", "free some", needs, free(4*GiB))
	if err == nil {
		t.Fatal("no error without room")
	}
	for _, part := range []string{"5.0 GiB", "4.0 GiB", missing, "parts", "modules", "making it needs", "free some"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	// On file systems of their own each has enough.
	n := 0
	if err := CheckSpace("making it", "free some", needs, func(string) (string, uint64, error) { n++; return string(rune('a' + n)), 3 * GiB, nil }); err != nil {
		t.Errorf("two file systems: %v", err)
	}
	boom := errors.New("boom")
	if err := CheckSpace("making it", "free some", needs, func(string) (string, uint64, error) { return "", 0, boom }); !errors.Is(err, boom) {
		t.Errorf("unreadable: %v", err)
	}
}
