package nodeimage

import (
	"testing"

	"github.com/sickbay-dev/sickbay/internal/platform/buildcache"
)

func TestMissingPackages(t *testing.T) {
	needs := []hostNeed{
		{part: "rootfs", present: func() bool { return false }, packages: []string{"mmdebstrap"}},
		{part: "runc", present: func() bool { return true }, packages: []string{"gcc"}},
	}
	if got := missingPackages(named("rootfs", "runc", "etcd"), needs); len(got) != 1 || got[0] != "mmdebstrap" {
		t.Errorf("missing %v, want mmdebstrap", got)
	}
	if got := missingPackages(named("etcd"), needs); len(got) != 0 {
		t.Errorf("missing %v although no part needs it", got)
	}
}

func named(names ...string) []*part {
	var out []*part
	for _, n := range names {
		out = append(out, &part{Part: buildcache.Part{Name: n}})
	}
	return out
}
