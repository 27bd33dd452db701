package buildcache

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Need is room needed below a path, which need not be there yet.
type Need struct {
	Path  string
	Why   string // "Go modules"
	Bytes uint64
}

// GiB is what room is told in.
const GiB = 1 << 30

// Free answers a file system's identity and its free bytes; FreeSpace is the one for this machine.
type Free func(path string) (fsID string, bytes uint64, err error)

// CheckSpace refuses with numbers when a file system has less room than all that goes onto it. what is said to need it
// ("building a node image"), way is how else to get on.
func CheckSpace(what, way string, needs []Need, free Free) error {
	type total struct {
		need, have uint64
		parts      []string
	}
	byFS := map[string]*total{}
	var order []string
	for _, n := range needs {
		at := existing(n.Path)
		id, have, err := free(at)
		if err != nil {
			return fmt.Errorf("asking for free space at %s: %w", at, err)
		}
		t, ok := byFS[id]
		if !ok {
			t = &total{have: have}
			byFS[id] = t
			order = append(order, id)
		}
		t.need += n.Bytes
		t.parts = append(t.parts, fmt.Sprintf("%.1f GiB at %s for %s", float64(n.Bytes)/GiB, n.Path, n.Why))
	}
	for _, id := range order {
		if t := byFS[id]; t.have < t.need {
			return fmt.Errorf("%s needs %.1f GiB, the file system has %.1f GiB free: %s (%s)",
				what, float64(t.need)/GiB, float64(t.have)/GiB, strings.Join(t.parts, ", "), way)
		}
	}
	return nil
}

// existing is the nearest folder above path that is there.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil {
			return path
		}
		parent := filepath.Dir(path)
		if parent == path {
			return path
		}
		path = parent
	}
}
