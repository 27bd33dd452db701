package nodeimage

import "testing"

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
