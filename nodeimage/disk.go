package nodeimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// space is room needed below a path.
type space struct {
	path  string
	why   string
	bytes uint64
}

const gib = 1 << 30

// needs answers the room the missing parts take, as measured on a cold build and rounded up.
func (p *plan) needs(ctx context.Context, todo []*part) []space {
	mib := map[string]uint64{
		"kubernetes": 330, "containerd": 80, "runc": 10, "cni": 20, "etcd": 30, "coredns": 60, "registry": 30, "addons": 90,
		"rootfs": 450, "components": 350, "store": 200, "runtime-layer": 110, "kubernetes-layer": 180, "node-files": 5,
	}
	var cached, compiled, modules uint64
	for _, part := range todo {
		cached += mib[part.name] << 20
		if slices.ContainsFunc(goParts(p.spec, ""), func(g goPart) bool { return g.name == part.name }) {
			compiled, modules = 4*gib, 2*gib
		}
	}
	// A temporary copy of the store exists while it is made.
	out := []space{{path: p.cache.dir, why: "parts of the image", bytes: cached}, {path: os.TempDir(), why: "temporary files", bytes: gib}}
	if compiled > 0 {
		if env, err := output(goCommand(ctx, p.spec.Source, "env", "GOCACHE", "GOMODCACHE")); err == nil {
			if f := strings.Fields(env); len(f) == 2 {
				out = append(out, space{path: f[0], why: "compiled packages", bytes: compiled}, space{path: f[1], why: "Go modules", bytes: modules})
			}
		}
	}
	return out
}

// checkSpace refuses with numbers when a file system has less room than all that goes onto it. free answers a file
// system's identity and its free bytes.
func checkSpace(needs []space, free func(path string) (fsID string, bytes uint64, err error)) error {
	type total struct {
		need, have uint64
		parts      []string
	}
	byFS := map[string]*total{}
	var order []string
	for _, n := range needs {
		at := existing(n.path)
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
		t.need += n.bytes
		t.parts = append(t.parts, fmt.Sprintf("%.1f GiB at %s for %s", float64(n.bytes)/gib, n.path, n.why))
	}
	for _, id := range order {
		if t := byFS[id]; t.have < t.need {
			return fmt.Errorf("building a node image needs %.1f GiB, the file system has %.1f GiB free: %s (free some, set SICKBAY_CACHE to a roomier place, or name an image with --image)",
				float64(t.need)/gib, float64(t.have)/gib, strings.Join(t.parts, ", "))
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
