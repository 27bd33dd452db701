package nodeimage

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/command"
	"github.com/sickbay-dev/sickbay/internal/platform/buildcache"
)

const gib = buildcache.GiB

// needs answers the room the missing parts take, as measured on a cold build and rounded up.
func (p *plan) needs(ctx context.Context, todo []*part) []buildcache.Need {
	mib := map[string]uint64{
		"kubernetes": 330, "containerd": 80, "runc": 10, "cni": 20, "etcd": 30, "coredns": 60, "registry": 30, "addons": 90,
		"crio": 60, "crio-runc": 3, "crictl": 40, "storage": 600,
		"rootfs": 450, "components": 350, "store": 200, "runtime-layer": 110, "kubernetes-layer": 180, "node-files": 5,
	}
	var cached, compiled, modules uint64
	for _, part := range todo {
		cached += mib[part.Name] << 20
		if slices.ContainsFunc(goParts(p.spec, ""), func(g goPart) bool { return g.name == part.Name }) {
			compiled, modules = 4*gib, 2*gib
		}
	}
	// A temporary copy of the store exists while it is made.
	out := []buildcache.Need{{Path: p.cache.Dir, Why: "parts of the image", Bytes: cached}, {Path: os.TempDir(), Why: "temporary files", Bytes: gib}}
	if compiled > 0 {
		if env, err := command.Output(goCommand(ctx, p.spec.Source, "env", "GOCACHE", "GOMODCACHE")); err == nil {
			if f := strings.Fields(env); len(f) == 2 {
				out = append(out, buildcache.Need{Path: f[0], Why: "compiled packages", Bytes: compiled}, buildcache.Need{Path: f[1], Why: "Go modules", Bytes: modules})
			}
		}
	}
	return out
}

// checkSpace refuses with numbers when a file system has less room than all that goes onto it.
func checkSpace(needs []buildcache.Need, free buildcache.Free) error {
	return buildcache.CheckSpace("building a node image", "free some, set SICKBAY_CACHE to a roomier place, or name an image with --image", needs, free)
}
