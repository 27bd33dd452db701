package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/internal/procmounts"
)

// loop is an attached loop device. The kernel prints the path as the process saw it that attached the device: in a container
// that is another file than the same path on the host, or none.
type loop struct {
	device string // /dev/loop0
	file   string
}

func loops() []loop {
	paths, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	var out []loop
	for _, path := range paths {
		if data, err := os.ReadFile(path); err == nil {
			out = append(out, loop{"/dev/" + strings.Split(path, "/")[3], strings.TrimSpace(string(data))})
		}
	}
	return out
}

// onHost tells whether the device's file is the one that the host sees under that path.
func (l loop) onHost() bool {
	f, err := os.Open(l.device)
	if err != nil {
		return true
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		return true
	}
	var st unix.Stat_t
	if unix.Stat(l.file, &st) != nil {
		return false
	}
	return st.Ino == info.Inode && st.Dev == info.Device
}

// detachLoops frees the devices that were attached since, to files of containers. Those are gone when this is called.
func detachLoops(before hostState) error {
	var errs []error
	for _, l := range loops() {
		if slices.Contains(before.Loops, l.device) || l.onHost() {
			continue
		}
		f, err := os.Open(l.device)
		if err == nil {
			err = errors.Join(unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0), f.Close())
		}
		if err != nil && !errors.Is(err, unix.ENXIO) {
			errs = append(errs, fmt.Errorf("detach %s from %s: %w", l.device, l.file, err))
		}
	}
	return errors.Join(errs...)
}

type swap struct{ path, kind, size, used string }

func swaps() []swap {
	data, err := os.ReadFile("/proc/swaps")
	if err != nil {
		return nil
	}
	var out []swap
	for i, line := range strings.Split(string(data), "\n") {
		if f := strings.Fields(line); i > 0 && len(f) >= 4 {
			out = append(out, swap{f[0], f[1], f[2] + " KiB", f[3] + " KiB"})
		}
	}
	return out
}

// swapOff turns off swap that was turned on since in one of the containers with these process ids: an active swap file cannot
// be deleted, and its path means something only in there.
func swapOff(before hostState, pids []int) {
	for _, s := range swaps() {
		if slices.Contains(before.Swaps, s.path) {
			continue
		}
		for _, pid := range pids {
			if path, err := unix.BytePtrFromString(fmt.Sprintf("/proc/%d/root%s", pid, s.path)); err == nil {
				if _, _, errno := unix.Syscall(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(path)), 0, 0); errno == 0 {
					break
				}
			}
		}
	}
}

// fithaw is FITHAW of linux/fs.h, _IOWR('X', 120, int).
const fithaw = 0xc0045878

// thaw unfreezes the filesystems on loop devices in these containers: a process that waits for a frozen one cannot be killed.
func thaw(pids []int) {
	for _, pid := range pids {
		mounts, _ := procmounts.Of(pid) // none of one that has ended
		for _, m := range mounts {
			if !strings.HasPrefix(m.Source, "/dev/loop") {
				continue
			}
			if f, err := os.Open(fmt.Sprintf("/proc/%d/root%s", pid, m.Mountpoint)); err == nil {
				_ = unix.IoctlSetInt(int(f.Fd()), fithaw, 0) // EINVAL where it is not frozen
				_ = f.Close()
			}
		}
	}
}

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
