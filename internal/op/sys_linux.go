package op

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/internal/procmounts"
	"github.com/sickbay-dev/sickbay/internal/vdso"
)

// Host is the node this process runs on.
func Host() Sys {
	var h host
	return Sys{h, h, h, h, h, h, h, h, h, h, h, h, h, h}
}

type host struct {
	hostFiles
	hostKernel
}

func (host) Run(ctx context.Context, argv ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	// A child in uninterruptible sleep, on a frozen filesystem say, does not die of SIGKILL: do not wait for it for ever.
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(errOut.String())
		if text == "" {
			text = strings.TrimSpace(out.String())
		}
		if ctx.Err() != nil {
			err = errors.Join(err, context.Cause(ctx))
		}
		return out.Bytes(), fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, text)
	}
	return out.Bytes(), nil
}

func (host) Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

func (host) Clock() (string, time.Duration, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", 0, fmt.Errorf("reading the boot id: %w", err)
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return "", 0, fmt.Errorf("clock_gettime(CLOCK_BOOTTIME): %w", err)
	}
	return strings.TrimSpace(string(id)), time.Duration(ts.Nano()), nil
}

func (host) Wall() (time.Time, error) { return time.Now(), nil }

func (host) SetWall(t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("clock_settime(CLOCK_REALTIME, %s): %w", t.UTC().Format(time.RFC3339), err)
	}
	return nil
}

func (host) LookupHost(ctx context.Context, name string) ([]string, error) {
	return net.DefaultResolver.LookupHost(ctx, name)
}

type hostKernel struct{}

func (hostKernel) Mounts(pid int) ([]*Mount, error) {
	if pid == 0 {
		return mountinfo.GetMounts(nil)
	}
	return procmounts.Of(pid)
}

func (hostKernel) Mount(source, target, fstype string, flags MountFlag, data string) error {
	var f uintptr
	if flags&Bind != 0 {
		f |= unix.MS_BIND
	} else if flags&ReadOnlyFlag != 0 {
		f |= unix.MS_RDONLY
	}
	if err := unix.Mount(source, target, fstype, f, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	if flags&Bind != 0 && flags&ReadOnlyFlag != 0 {
		if err := unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("remount %s read-only: %w", target, err)
		}
	}
	return nil
}

func (hostKernel) Unmount(target string, lazy bool) error {
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	switch err := unix.Unmount(target, flags); {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("umount %s: %w", target, ErrBusy)
	default:
		return fmt.Errorf("umount %s: %w", target, err)
	}
}

func toStatfs(st *unix.Statfs_t) Statfs {
	out := Statfs{
		Bytes: int64(st.Blocks) * st.Bsize, Free: int64(st.Bavail) * st.Bsize,
		Inodes: int64(st.Files), InodesFree: int64(st.Ffree),
	}
	switch st.Type {
	case unix.EXT4_SUPER_MAGIC:
		out.Type = "ext4"
	case unix.TMPFS_MAGIC:
		out.Type = "tmpfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		out.Type = "overlay"
	case unix.XFS_SUPER_MAGIC:
		out.Type = "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		out.Type = "btrfs"
	}
	return out
}

func (hostKernel) Statfs(path string) (Statfs, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Statfs{}, fmt.Errorf("statfs %s: %w", path, err)
	}
	return toStatfs(&st), nil
}

func (hostKernel) Allocate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		if errors.Is(err, unix.ENOSPC) {
			err = ErrNoSpace
		}
		return fmt.Errorf("allocating %d bytes for %s: %w", size, path, err)
	}
	return f.Sync()
}

func (h hostKernel) Loops() ([]Loop, error) {
	bound, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	var out []Loop
	for _, p := range bound {
		n, err := strconv.Atoi(strings.TrimPrefix(strings.Split(p, "/")[3], "loop"))
		if err != nil {
			continue
		}
		err = withLoop(n, os.O_RDONLY, func(f *os.File) error {
			info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
			if errors.Is(err, unix.ENXIO) {
				return nil // freed meanwhile
			}
			if err != nil {
				return fmt.Errorf("LOOP_GET_STATUS64 of loop%d: %w", n, err)
			}
			size, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKGETSIZE64)
			if err != nil {
				return fmt.Errorf("BLKGETSIZE64 of loop%d: %w", n, err)
			}
			out = append(out, Loop{
				Number: n, Tag: unix.ByteSliceToString(info.File_name[:]), ImageDev: info.Device, ImageIno: info.Inode, Bytes: int64(size),
			})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// withLoop opens loop device n, through a device node of its own where /dev has none.
func withLoop(n, flag int, use func(*os.File) error) error {
	path := fmt.Sprintf("/dev/loop%d", n)
	f, err := os.OpenFile(path, flag, 0)
	if errors.Is(err, fs.ErrNotExist) {
		var dir string
		if dir, err = os.MkdirTemp("", "loop"); err != nil {
			return fmt.Errorf("making a device node for loop%d: %w", n, err)
		}
		defer os.RemoveAll(dir)
		path = filepath.Join(dir, "node")
		if err = unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(LoopMajor, uint32(n)))); err != nil {
			return fmt.Errorf("making a device node for loop%d: %w", n, err)
		}
		f, err = os.OpenFile(path, flag, 0)
	}
	if err != nil {
		return fmt.Errorf("opening loop%d: %w", n, err)
	}
	defer f.Close()
	return use(f)
}

func (hostKernel) FreeLoop() (int, bool, error) {
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return 0, false, fmt.Errorf("no loop devices here: %w", err)
	}
	defer ctl.Close()
	n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return 0, false, fmt.Errorf("LOOP_CTL_GET_FREE: %w", err)
	}
	_, err = os.Stat(fmt.Sprintf("/dev/loop%d", n))
	return n, errors.Is(err, fs.ErrNotExist), nil
}

func (hostKernel) AttachLoop(n int, image, tag string) (release func() error, err error) {
	dev := fmt.Sprintf("/dev/loop%d", n)
	if _, err := os.Stat(dev); errors.Is(err, fs.ErrNotExist) {
		if err := unix.Mknod(dev, unix.S_IFBLK|0o660, int(unix.Mkdev(LoopMajor, uint32(n)))); err != nil {
			return nil, fmt.Errorf("mknod %s: %w", dev, err)
		}
	}
	img, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer img.Close()
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	cfg := unix.LoopConfig{Fd: uint32(img.Fd())}
	// Autoclear: when the node's container is removed its mount goes, and the host's loop device with it.
	cfg.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	copy(cfg.Info.File_name[:len(cfg.Info.File_name)-1], tag)
	if err := unix.IoctlLoopConfigure(int(f.Fd()), &cfg); err != nil {
		if errors.Is(err, unix.EBUSY) {
			err = ErrLoopBusy
		}
		return nil, errors.Join(fmt.Errorf("LOOP_CONFIGURE of loop%d with %s: %w", n, image, err), f.Close())
	}
	return f.Close, nil
}

func (hostKernel) DetachLoop(n int) error {
	return withLoop(n, os.O_RDONLY, func(f *os.File) error {
		err := unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0)
		if err != nil && !errors.Is(err, unix.ENXIO) {
			return fmt.Errorf("LOOP_CLR_FD of loop%d: %w", n, err)
		}
		return nil
	})
}

const (
	fifreeze = 0xc0045877 // FIFREEZE, _IOWR('X', 119, int)
	fithaw   = 0xc0045878 // FITHAW, _IOWR('X', 120, int)
)

func freezeIoctl(path string, req uint) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", path, err)
	}
	defer unix.Close(fd)
	return unix.IoctlSetInt(fd, req, 0)
}

func (hostKernel) Freeze(path string) error {
	switch err := freezeIoctl(path, fifreeze); {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("FIFREEZE of %s: %w", path, ErrFrozen)
	default:
		return fmt.Errorf("FIFREEZE of %s: %w", path, err)
	}
}

func (hostKernel) Thaw(path string) error {
	err := freezeIoctl(path, fithaw)
	if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: was not frozen
		return fmt.Errorf("FITHAW of %s: %w", path, err)
	}
	return nil
}

func (hostKernel) Swaps() ([]string, error) {
	b, err := os.ReadFile("/proc/swaps")
	if err != nil {
		return nil, fmt.Errorf("reading the swaps: %w", err)
	}
	var out []string
	for i, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); i > 0 && len(f) > 0 {
			out = append(out, f[0])
		}
	}
	return out, nil
}

func (hostKernel) SwapActive(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, unix.ETXTBSY) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	// The kernel refuses to allocate in a file that it swaps to. Elsewhere this changes nothing: the first page is there.
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 4096)
	on := errors.Is(err, unix.ETXTBSY)
	if on {
		err = nil
	}
	return on, errors.Join(err, f.Close())
}

func swapCall(trap uintptr, path string, flags uintptr) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(trap, uintptr(unsafe.Pointer(p)), flags, 0); errno != 0 {
		return errno
	}
	return nil
}

func (hostKernel) SwapOn(path string) error {
	if err := swapCall(unix.SYS_SWAPON, path, 0); err != nil {
		return fmt.Errorf("swapon %s: %w", path, err)
	}
	return nil
}

func (hostKernel) SwapOff(path string) error {
	if err := swapCall(unix.SYS_SWAPOFF, path, 0); err != nil {
		return fmt.Errorf("swapoff %s: %w", path, err)
	}
	return nil
}

func (hostKernel) Process(pid int) (Process, error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	stat, err := os.ReadFile(dir + "stat")
	if errors.Is(err, unix.ESRCH) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return Process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	p := Process{PID: pid}
	// The second field is the command in parentheses and may itself hold spaces and parentheses.
	rest := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(rest) < 20 {
		return Process{}, fmt.Errorf("process %d: /proc/%d/stat is too short", pid, pid)
	}
	p.State = rest[0]
	if p.Parent, err = strconv.Atoi(rest[1]); err != nil {
		return Process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	if p.Start, err = strconv.ParseUint(rest[19], 10, 64); err != nil {
		return Process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	cmdline, _ := os.ReadFile(dir + "cmdline")
	for w := range strings.SplitSeq(strings.TrimRight(string(cmdline), "\x00"), "\x00") {
		p.Command = append(p.Command, w)
	}
	return p, nil
}

func (h hostKernel) Processes() ([]Process, error) {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var out []Process
	for _, e := range names {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, err := h.Process(pid); err == nil {
			out = append(out, p)
		}
	}
	return out, nil
}

func (hostKernel) ClockOffset(pid int) (time.Duration, error) {
	by, _, err := vdso.Offset(pid)
	return by, err
}

func (h hostKernel) Signal(pid int, start uint64, sig Signal) error {
	num, ok := map[Signal]unix.Signal{STOP: unix.SIGSTOP, CONT: unix.SIGCONT, KILL: unix.SIGKILL, TERM: unix.SIGTERM}[sig]
	if !ok {
		return fmt.Errorf("unknown signal %s", sig)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d: %w", pid, fs.ErrNotExist)
	}
	if err != nil {
		return fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	defer unix.Close(fd)
	// With the pidfd held the pid cannot be reused under us: now the start time decides whether it is the one meant.
	p, err := h.Process(pid)
	if err != nil {
		return err
	}
	if p.Start != start {
		return fmt.Errorf("process %d is another one now: %w", pid, fs.ErrNotExist)
	}
	if err := unix.PidfdSendSignal(fd, num, nil, 0); err != nil {
		return fmt.Errorf("SIG%s to process %d: %w", sig, pid, err)
	}
	return nil
}
