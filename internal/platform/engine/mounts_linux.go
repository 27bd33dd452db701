package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// mountsUnder lists mounts below the directories, the deepest first, and those that dockerd makes of its own directory onto
// itself; a disk that an administrator mounted there is not among them.
func mountsUnder(dirs ...string) []*mountinfo.Info {
	out, _ := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return !slices.ContainsFunc(dirs, func(dir string) bool {
			return strings.HasPrefix(m.Mountpoint, dir+"/") || m.Mountpoint == dir && m.Root != "/"
		}), false
	})
	slices.SortStableFunc(out, func(a, b *mountinfo.Info) int { return len(b.Mountpoint) - len(a.Mountpoint) })
	return out
}

func unmountUnder(dirs ...string) error {
	var errs []error
	for _, m := range mountsUnder(dirs...) {
		err := unix.Unmount(m.Mountpoint, 0)
		if errors.Is(err, unix.EBUSY) {
			err = unix.Unmount(m.Mountpoint, unix.MNT_DETACH)
		}
		if err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m.Mountpoint, err))
		}
	}
	return errors.Join(errs...)
}
