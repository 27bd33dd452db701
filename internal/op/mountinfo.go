package op

import (
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Mount is one line of mountinfo.
type Mount = mountinfo.Info

// MountAt is the topmost mount exactly at target, nil where there is none.
func MountAt(mounts []*Mount, target string) *Mount {
	// The kernel lists in order of mounting within a parent; the topmost is the one that no other mount at the same target
	// has as parent.
	var found *Mount
	for _, m := range mounts {
		if m.Mountpoint == target && (found == nil || m.Parent == found.ID || m.ID > found.ID && found.Parent != m.ID) {
			found = m
		}
	}
	return found
}

// MountsBelow lists the mounts that stand on mount id, deepest first.
func MountsBelow(mounts []*Mount, id int) []*Mount {
	var out []*Mount
	for _, m := range mounts {
		if m.Parent == id && m.ID != id {
			out = append(out, MountsBelow(mounts, m.ID)...)
			out = append(out, m)
		}
	}
	return out
}

// mountIn finds a mount on a directory or somewhere in it.
func mountIn(mounts []*Mount, dir string) *Mount {
	i := slices.IndexFunc(mounts, func(m *Mount) bool { return m.Mountpoint == dir || strings.HasPrefix(m.Mountpoint, dir+"/") })
	if i < 0 {
		return nil
	}
	return mounts[i]
}
