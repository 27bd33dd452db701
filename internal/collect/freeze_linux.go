package collect

import (
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// A frozen filesystem (fsfreeze, a snapshot that never ended) says so nowhere: not in statfs, mountinfo or /sys. Asking by
// writing would hang, and FIFREEZE, which answers EBUSY, freezes what was not frozen. What can be seen is who waits: every
// writer stops in the superblock's freeze gate, a percpu_rwsem, in state D. Measured on Linux 6.18 with ext4:
//
//	wchan  percpu_rwsem_wait
//	stack  percpu_rwsem_wait, mnt_want_write, path_openat …     (open for writing, mkdir, rename, unlink)
//	       percpu_rwsem_wait, vfs_write, ksys_write …           (write)
//	syscall 257 0xffffff9c 0x7ffc… …                           (number and arguments: the path or descriptor)
//
// Reading, listing and statfs go through as ever. The same semaphore type guards cgroup migration and CPU hotplug, so the
// frame below it decides. A frozen filesystem that nobody writes to is not seen: it ails nobody yet.

// frozenBy is one thread seen waiting for a filesystem to thaw.
type frozenBy struct {
	pid, tid int
	name     string
	path     string
}

// frozenSet is the waiting threads by the device they wait for, as major:minor.
type frozenSet map[string][]frozenBy

// pseudo filesystems have no freeze gate worth the name.
var pseudo = map[string]bool{"proc": true, "sysfs": true, "cgroup": true, "cgroup2": true, "devpts": true, "devtmpfs": true, "mqueue": true, "securityfs": true, "nsfs": true, "bpf": true, "tracefs": true, "debugfs": true}

// gateFrames are the kernel functions that take the freeze gate, by their beginnings; sb_start_write itself is inlined.
var gateFrames = []string{
	"mnt_want_write", "sb_start_", "__sb_start_write", "file_start_write", "vfs_write", "vfs_iter_write", "vfs_iocb_iter_write",
	"vfs_writev", "do_writev", "do_iter_write", "do_iter_readv_writev", "vfs_fallocate", "vfs_copy_file_range", "do_clone_file_range",
	"vfs_dedupe", "aio_write", "io_write", "do_sys_ftruncate", "do_ftruncate", "vfs_truncate", "do_splice", "filemap_page_mkwrite",
	"ext4_page_mkwrite", "ext4_journal_start", "__ext4_journal_start", "xfs_trans_alloc", "xfs_filemap", "__xfs_filemap", "btrfs_page_mkwrite", "start_transaction", "ovl_",
}

// inFreezeGate tells whether a thread waits for a filesystem to thaw. Without a readable stack (it needs CAP_SYS_ADMIN) a
// writing system call must do as the second witness.
func inFreezeGate(wchan, stack string, writing bool) bool {
	frames := stackFrames(stack)
	if len(frames) == 0 {
		return writing && (strings.Contains(wchan, "percpu_rwsem_wait") || strings.Contains(wchan, "sb_start_write") || wchan == "percpu_down_read")
	}
	for i, f := range frames {
		if i == 0 && strings.HasPrefix(f, "__sb_start_write") {
			return true
		}
		if strings.HasPrefix(f, "percpu_rwsem_wait") || strings.HasPrefix(f, "percpu_down_read") || strings.HasPrefix(f, "__percpu_down_read") || strings.HasPrefix(f, "__percpu_rwsem") {
			continue
		}
		if i == 0 {
			return false
		}
		for _, g := range gateFrames {
			if strings.HasPrefix(f, g) {
				return true
			}
		}
		return false
	}
	return false
}

// stackFrames are the function names of /proc/PID/stack, innermost first.
func stackFrames(stack string) []string {
	var out []string
	for line := range strings.Lines(stack) {
		_, f, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		f, _, _ = strings.Cut(f, "+")
		out = append(out, f)
	}
	return out
}

func topFrame(stack string) string {
	if f := stackFrames(stack); len(f) > 0 {
		return f[0]
	}
	return ""
}

// call is a system call in progress.
type call struct {
	nr   int64
	args [6]uint64
}

// parseSyscall reads /proc/PID/syscall: "running", "-1 sp pc" outside of one, or number, six arguments, sp and pc.
func parseSyscall(s string) (c call, ok bool) {
	f := strings.Fields(s)
	if len(f) < 7 {
		return c, false
	}
	nr, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil || nr < 0 {
		return c, false
	}
	c.nr = nr
	for i := range c.args {
		if c.args[i], err = strconv.ParseUint(strings.TrimPrefix(f[i+1], "0x"), 16, 64); err != nil {
			return c, false
		}
	}
	return c, true
}

// where tells which arguments of a system call name a file.
type where struct {
	fd   int // index of a descriptor that is the file itself, -1 none
	dir  int // index of the directory descriptor of a path, -1 for the working directory
	path int // index of the path, -1 none
}

// calls are the system calls a thread may be stopped in by a filesystem. legacyCalls adds those only some processors have.
var calls = func() map[int64]where {
	m := map[int64]where{
		unix.SYS_OPENAT:          {-1, 0, 1},
		unix.SYS_OPENAT2:         {-1, 0, 1},
		unix.SYS_MKDIRAT:         {-1, 0, 1},
		unix.SYS_MKNODAT:         {-1, 0, 1},
		unix.SYS_UNLINKAT:        {-1, 0, 1},
		unix.SYS_RENAMEAT2:       {-1, 2, 3},
		unix.SYS_LINKAT:          {-1, 2, 3},
		unix.SYS_SYMLINKAT:       {-1, 1, 2},
		unix.SYS_FCHMODAT:        {-1, 0, 1},
		unix.SYS_FCHOWNAT:        {-1, 0, 1},
		unix.SYS_UTIMENSAT:       {-1, 0, 1},
		unix.SYS_TRUNCATE:        {-1, -1, 0},
		unix.SYS_SETXATTR:        {-1, -1, 0},
		unix.SYS_LSETXATTR:       {-1, -1, 0},
		unix.SYS_REMOVEXATTR:     {-1, -1, 0},
		unix.SYS_STATFS:          {-1, -1, 0},
		unix.SYS_STATX:           {-1, 0, 1},
		unix.SYS_FACCESSAT:       {-1, 0, 1},
		unix.SYS_READLINKAT:      {-1, 0, 1},
		unix.SYS_MOUNT:           {-1, -1, 1},
		unix.SYS_UMOUNT2:         {-1, -1, 0},
		unix.SYS_WRITE:           {0, -1, -1},
		unix.SYS_PWRITE64:        {0, -1, -1},
		unix.SYS_WRITEV:          {0, -1, -1},
		unix.SYS_PWRITEV:         {0, -1, -1},
		unix.SYS_FALLOCATE:       {0, -1, -1},
		unix.SYS_FTRUNCATE:       {0, -1, -1},
		unix.SYS_FSYNC:           {0, -1, -1},
		unix.SYS_FDATASYNC:       {0, -1, -1},
		unix.SYS_FCHMOD:          {0, -1, -1},
		unix.SYS_FCHOWN:          {0, -1, -1},
		unix.SYS_READ:            {0, -1, -1},
		unix.SYS_PREAD64:         {0, -1, -1},
		unix.SYS_GETDENTS64:      {0, -1, -1},
		unix.SYS_SYNCFS:          {0, -1, -1},
		unix.SYS_COPY_FILE_RANGE: {2, -1, -1},
		unix.SYS_IOCTL:           {0, -1, -1},
	}
	for nr, w := range legacyCalls {
		m[nr] = w
	}
	return m
}()

var readCalls = map[int64]bool{
	unix.SYS_READ: true, unix.SYS_PREAD64: true, unix.SYS_GETDENTS64: true, unix.SYS_STATFS: true, unix.SYS_STATX: true,
	unix.SYS_FACCESSAT: true, unix.SYS_READLINKAT: true, unix.SYS_IOCTL: true,
}

func writes(nr int64) bool {
	_, known := calls[nr]
	return known && !readCalls[nr]
}

// callPath is the file a blocked system call is about, as the node's root sees it. It reads one path from the process's
// memory and nothing else.
func (l *look) callPath(task string, c call) string {
	w, ok := calls[c.nr]
	if !ok {
		return ""
	}
	r := l.root
	link := func(name string) string {
		p, err := r.readlink(path.Join(task, name))
		if err != nil || !strings.HasPrefix(p, "/") {
			return ""
		}
		return strings.TrimSuffix(p, " (deleted)")
	}
	if w.fd >= 0 {
		return link("fd/" + strconv.FormatUint(c.args[w.fd]&0xffffffff, 10))
	}
	if w.path < 0 {
		return ""
	}
	p := r.memoryString(path.Join(task, "mem"), c.args[w.path])
	if p == "" {
		return ""
	}
	base := ""
	if !path.IsAbs(p) {
		if w.dir < 0 || int32(c.args[w.dir]) == unix.AT_FDCWD {
			base = link("cwd")
		} else {
			base = link("fd/" + strconv.FormatUint(c.args[w.dir]&0xffffffff, 10))
		}
		if base == "" {
			return ""
		}
		return path.Join(base, p)
	}
	// A container's absolute path begins at its own root, which names nothing on the node: give up unless it is the node's.
	if rt := link("root"); rt != "/" && rt != "" {
		return path.Join(rt, p)
	}
	return path.Clean(p)
}

// memoryString reads a zero-terminated string of another process.
func (r root) memoryString(mem string, addr uint64) string {
	fd, err := unix.Open(r.path(mem), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer func() { _ = unix.Close(fd) }()
	// Up to the end of the page first: the next one may not be there.
	buf := make([]byte, 4096)
	n := 4096 - int(addr&4095)
	got, err := unix.Pread(fd, buf[:n], int64(addr))
	if err != nil || got <= 0 {
		return ""
	}
	if i := strings.IndexByte(string(buf[:got]), 0); i >= 0 {
		return string(buf[:i])
	}
	more, err := unix.Pread(fd, buf[got:], int64(addr)+int64(got))
	if err != nil || more <= 0 {
		return ""
	}
	if i := strings.IndexByte(string(buf[:got+more]), 0); i >= 0 {
		return string(buf[:i])
	}
	return ""
}

// joinFrozen marks the filesystems that writers were seen waiting for. The caller holds l.mu.
func (l *look) joinFrozen(o *v1alpha1.Observation) {
	for i := range o.Filesystems {
		if len(l.frozen[o.Filesystems[i].MajorMinor]) > 0 {
			o.Filesystems[i].Frozen = true
		}
	}
}
