// Package blockdev knows what containers make of the machine's block devices: loop devices, swap files and frozen filesystems are the
// kernel's, not a container's, and stay when it goes. It answers whose they are before it takes any of them back.
package blockdev

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

// OwnPath is in the name of every file of sickbay's on a node, as the kernel tells it: /var/lib/sickbay/… while the node's mounts are
// there, /lib/sickbay/… (seen from its volume) after that.
const OwnPath = "/lib/sickbay/"

// Loop is an attached loop device. The kernel prints the path as the process saw it that attached the device: in a container
// that is another file than the same path on the host, or none.
type Loop struct {
	Device string // /dev/loop0
	File   string
	// Dev and Inode are the file's; zero where this process may not ask.
	Dev, Inode uint64
}

// Loops lists the attached loop devices.
func Loops() []Loop {
	paths, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	var out []Loop
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		l := Loop{Device: "/dev/" + strings.Split(path, "/")[3], File: strings.TrimSpace(string(raw))}
		if f, err := os.Open(l.Device); err == nil {
			if info, err := unix.IoctlLoopGetStatus64(int(f.Fd())); err == nil {
				l.Dev, l.Inode = info.Device, info.Inode
			}
			_ = f.Close()
		}
		out = append(out, l)
	}
	return out
}

// OnHost tells whether the device's file is the one that the host sees under that path, or may be.
func (l Loop) OnHost() bool {
	var st unix.Stat_t
	return l.Inode == 0 || unix.Stat(l.File, &st) == nil && l.is(st)
}

func (l Loop) is(st unix.Stat_t) bool { return l.Inode != 0 && st.Ino == l.Inode && st.Dev == l.Dev }

// Orphan tells whether the device's file was sickbay's, and is deleted: nobody can want it any more.
func (l Loop) Orphan() bool {
	return strings.Contains(l.File, OwnPath) && strings.HasSuffix(l.File, " (deleted)")
}

// Below tells whether the device's file, as one of these processes sees it, is kept below a folder of this machine.
func (l Loop) Below(dir string, pids []int) bool {
	return slices.ContainsFunc(pids, func(pid int) bool {
		st, ok := below(pid, l.File, dir)
		return ok && l.is(st)
	})
}

// Same tells whether it is still the same file on the same device; its name changes when it is deleted.
func (l Loop) Same(k Loop) bool {
	return l.Inode != 0 && l.Device == k.Device && l.Dev == k.Dev && l.Inode == k.Inode
}

// Detach frees the device.
func (l Loop) Detach() error {
	f, err := os.Open(l.Device)
	if err == nil {
		err = errors.Join(unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0), f.Close())
	}
	if err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("detach %s from %s: %w", l.Device, l.File, err)
	}
	return nil
}

// Swap is one line of /proc/swaps.
type Swap struct{ Path, Kind, Size, Used string }

// Swaps lists what this machine swaps to. A path is that of the process which turned it on.
func Swaps() []Swap {
	data, _ := os.ReadFile("/proc/swaps")
	var out []Swap
	for i, line := range strings.Split(string(data), "\n") {
		if f := strings.Fields(line); i > 0 && len(f) >= 4 {
			out = append(out, Swap{unescape(f[0]), f[1], f[2] + " KiB", f[3] + " KiB"})
		}
	}
	return out
}

// unescape undoes the octal escapes of /proc files.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

// OffBelow turns the swap off when it is a file that one of these processes sees under its path, and that is kept below a folder of this
// machine. A partition or another device has the same name in every privileged container: it is never turned off.
func (s Swap) OffBelow(dir string, pids []int) {
	if s.Kind != "file" {
		return
	}
	for _, pid := range pids {
		st, ok := below(pid, s.Path, dir)
		if !ok {
			continue
		}
		fd, now, err := openSeen(pid, s.Path, unix.O_PATH|unix.O_NOFOLLOW)
		if err != nil {
			continue
		}
		did := now.Dev == st.Dev && now.Ino == st.Ino && Off(fmt.Sprintf("/proc/self/fd/%d", fd))
		_ = unix.Close(fd)
		if did {
			return
		}
	}
}

// Off turns swap to a file off, and tells whether it did: for a file that is not swapped to the kernel answers EINVAL.
func Off(path string) bool {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return false
	}
	_, _, errno := unix.Syscall(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(p)), 0, 0)
	return errno == 0
}

// fithaw is FITHAW of linux/fs.h, _IOWR('X', 120, int).
const fithaw = 0xc0045878

// Thaw unfreezes the filesystems on loop devices that these processes see, and tells whether one was frozen. A process that waits for a
// frozen one cannot be killed.
func Thaw(pids ...int) (did bool) {
	seen := map[string]bool{"": true}
	for _, pid := range pids {
		namespace, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
		if seen[namespace] {
			continue
		}
		seen[namespace] = true
		mounts, _ := procmounts.Of(pid) // none of one that has ended
		for _, m := range mounts {
			if !strings.HasPrefix(m.Source, "/dev/loop") {
				continue
			}
			fd, st, err := openSeen(pid, m.Mountpoint, unix.O_RDONLY|unix.O_DIRECTORY)
			if err != nil {
				continue
			}
			if st.Dev == unix.Mkdev(uint32(m.Major), uint32(m.Minor)) { // and nothing that is mounted over it
				did = unix.IoctlSetInt(fd, fithaw, 0) == nil || did // EINVAL where it is not frozen
			}
			_ = unix.Close(fd)
		}
	}
	return did
}

// openSeen opens a path of a process. The kernel told it, so it has no link in it: one that is there now was put there since.
func openSeen(pid int, path string, flags uint64) (fd int, st unix.Stat_t, err error) {
	if fd, err = procmounts.Open(pid, path, flags, unix.RESOLVE_NO_SYMLINKS); err != nil {
		return fd, st, err
	}
	if err = unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
	}
	return fd, st, err
}

// below tells whether a path, as a process sees it, is a regular file that is kept below a folder of this machine, by where both are in
// their filesystem: the process may have it mounted elsewhere.
func below(pid int, path, dir string) (st unix.Stat_t, ok bool) {
	fd, st, err := openSeen(pid, path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return st, false
	}
	_ = unix.Close(fd)
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return st, false
	}
	theirs, err := procmounts.Of(pid)
	if err != nil {
		return st, false
	}
	ours, err := procmounts.Of(os.Getpid())
	if err != nil {
		return st, false
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return st, false
	}
	file, folder := place(theirs, path), place(ours, dir)
	return st, folder != "" && strings.HasPrefix(file, folder+"/")
}

// place is where a path is in its filesystem: the device's numbers and the path from the filesystem's root; "" when nothing is mounted
// above it.
func place(mounts []*mountinfo.Info, path string) string {
	var at *mountinfo.Info
	rest := ""
	for _, m := range mounts { // in their order: a later one on the same folder hides the earlier
		rel, err := filepath.Rel(m.Mountpoint, path)
		if err == nil && filepath.IsLocal(rel) && (at == nil || len(m.Mountpoint) >= len(at.Mountpoint)) {
			at, rest = m, rel
		}
	}
	if at == nil {
		return ""
	}
	return fmt.Sprintf("%d:%d:%s", at.Major, at.Minor, filepath.Join(at.Root, rest))
}
