package collect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// maxFile bounds what is read of any one file; the largest thing of interest is a mountinfo of a busy node.
const maxFile = 4 << 20

// root is the file tree that is read: "/" on a node, a fixture directory in tests.
type root string

// path is where an absolute path of the node lies in the tree.
func (r root) path(p string) string {
	if r == "" || r == "/" {
		return p
	}
	return filepath.Join(string(r), p)
}

// read reads at most max bytes of a file. It leaves no trace on the filesystem where the kernel allows: no access time is
// written, no FIFO or device is waited for.
func (r root) read(p string, max int) ([]byte, error) {
	return readPath(r.path(p), p, max)
}

func readPath(full, name string, max int) ([]byte, error) {
	fd, err := openQuiet(full)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, 0, 4096)
	for len(buf) < max {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		end := min(cap(buf), max)
		n, err := unix.Read(fd, buf[len(buf):end])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: name, Err: err}
		}
		if n == 0 {
			break
		}
		buf = buf[:len(buf)+n]
	}
	return buf, nil
}

// readFile reads a regular file whose name somebody else has chosen. A device, or whatever a link to it leads to, is not opened: opening
// alone starts a watchdog and rewinds a tape.
func (r root) readFile(p string, max int) ([]byte, error) { return r.readFileOf(p, max, nil) }

// readFileOf reads it if may says so of its owner and mode.
func (r root) readFileOf(p string, max int, may func(unix.Stat_t) bool) ([]byte, error) {
	fd, err := unix.Open(r.path(p), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: p, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: p, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || may != nil && !may(st) {
		return nil, &fs.PathError{Op: "open", Path: p, Err: fs.ErrInvalid}
	}
	return readPath(fmt.Sprintf("/proc/self/fd/%d", fd), p, max)
}

// openQuiet opens a file or directory for reading. O_NOATIME is for the owner and root only, and some filesystems refuse it.
func openQuiet(full string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	for {
		fd, err := unix.Open(full, flags|unix.O_NOATIME, 0)
		if err == unix.EPERM {
			fd, err = unix.Open(full, flags, 0)
		}
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// text reads a small file of one value, such as those of /proc and /sys; empty when it cannot be read.
func (r root) text(p string) string {
	b, err := r.read(p, 64<<10)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// names lists a directory by name, at most max entries.
func (r root) names(p string, max int) (names []string, err error) {
	fd, err := openQuiet(r.path(p))
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: p, Err: err}
	}
	f := os.NewFile(uintptr(fd), p)
	defer func() { _ = f.Close() }()
	names, err = f.Readdirnames(max)
	if err != nil && len(names) == 0 && !isEOF(err) {
		return nil, err
	}
	sort.Strings(names)
	return names, nil
}

func (r root) lstat(p string) (fs.FileInfo, error) {
	fi, err := os.Lstat(r.path(p))
	return fi, nameOf(err, p)
}

func (r root) stat(p string) (fs.FileInfo, error) {
	fi, err := os.Stat(r.path(p))
	return fi, nameOf(err, p)
}

// readlink gives a link's target as the node sees it.
func (r root) readlink(p string) (string, error) {
	s, err := os.Readlink(r.path(p))
	return s, nameOf(err, p)
}

// nameOf takes a fixture's prefix out of an error.
func nameOf(err error, p string) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return &fs.PathError{Op: pe.Op, Path: p, Err: pe.Err}
	}
	return err
}

// why is an error as an observation tells it, with the way out where there is one.
func why(err error) string {
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		return fmt.Sprintf("%v: the agent does not run as root", err)
	}
	return err.Error()
}
