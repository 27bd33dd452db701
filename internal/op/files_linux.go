package op

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

type hostFiles struct{}

func (hostFiles) Stat(path string) (Stat, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return Stat{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Stat{}, &fs.PathError{Op: "lstat", Path: path, Err: errors.ErrUnsupported}
	}
	out := Stat{
		Mode: info.Mode(), UID: int(st.Uid), GID: int(st.Gid), Size: info.Size(), Blocks: st.Blocks * 512,
		Modified: info.ModTime(), Dev: st.Dev, Ino: st.Ino,
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		if out.Link, err = os.Readlink(path); err != nil {
			return Stat{}, err
		}
	case info.Mode().IsRegular() || info.IsDir():
		flags, err := fileFlags(path)
		if err != nil {
			return Stat{}, err
		}
		out.Immutable = flags&unix.STATX_ATTR_IMMUTABLE != 0
	}
	return out, nil
}

// fileFlags reads the attribute bits by statx, which unlike FS_IOC_GETFLAGS needs no open file.
func fileFlags(path string) (uint64, error) {
	var stx unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, 0, &stx); err != nil {
		return 0, &fs.PathError{Op: "statx", Path: path, Err: err}
	}
	return stx.Attributes, nil
}

func (hostFiles) Read(path string) ([]byte, error) { return os.ReadFile(path) }

func (hostFiles) ReadAt(path string, off int64, n int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	got, err := f.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:got], err
}

func (hostFiles) Write(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode.Perm())
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = setMode(f, mode)
	}
	if err == nil {
		err = quietSync(f)
	}
	return errors.Join(err, f.Close())
}

// setMode makes up for the umask. procfs refuses any chmod, even to the mode that is there.
func setMode(f *os.File, mode fs.FileMode) error {
	st, err := f.Stat()
	if err != nil || st.Mode() == mode {
		return err
	}
	return f.Chmod(mode)
}

// quietSync syncs a file where that means something: the kernel's own files (cgroupfs, procfs) answer EINVAL.
func quietSync(f *os.File) error {
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}

func (hostFiles) WriteAt(path string, off int64, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, off)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (hostFiles) Copy(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode.Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Chmod(mode)
	}
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

func (hostFiles) Rename(from, to string) error { return os.Rename(from, to) }

func (hostFiles) Link(from, to string) error { return os.Link(from, to) }

func (hostFiles) Symlink(target, path string) error { return os.Symlink(target, path) }

func (hostFiles) Remove(path string) error { return os.Remove(path) }

func (hostFiles) RemoveAll(path string) error { return os.RemoveAll(path) }

func (hostFiles) Mkdir(path string, mode fs.FileMode) error { return os.Mkdir(path, mode) }

func (hostFiles) MkdirAll(path string, mode fs.FileMode) error { return os.MkdirAll(path, mode) }

func (hostFiles) List(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

func (hostFiles) Chmod(path string, mode fs.FileMode) error { return os.Chmod(path, mode) }

func (hostFiles) Chown(path string, uid, gid int) error { return os.Lchown(path, uid, gid) }

func (hostFiles) Touch(path string, t time.Time) error { return os.Chtimes(path, t, t) }

func (hostFiles) Xattrs(path string) (map[string][]byte, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, &fs.PathError{Op: "listxattr", Path: path, Err: err}
	}
	out := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		if name == "" || strings.HasPrefix(name, "security.selinux") || strings.HasPrefix(name, "trusted.overlay.") {
			continue // the filesystem's own
		}
		v := make([]byte, 64<<10)
		m, err := unix.Lgetxattr(path, name, v)
		if err != nil {
			return nil, &fs.PathError{Op: "getxattr " + name, Path: path, Err: err}
		}
		out[name] = v[:m]
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

func (hostFiles) SetXattr(path, name string, value []byte) error {
	if err := unix.Lsetxattr(path, name, value, 0); err != nil {
		return &fs.PathError{Op: "setxattr " + name, Path: path, Err: err}
	}
	return nil
}

const fsImmutable = 0x10 // FS_IMMUTABLE_FL

func (hostFiles) SetImmutable(path string, on bool) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return fmt.Errorf("reading the attributes of %s: %w", path, err)
	}
	next := flags &^ fsImmutable
	if on {
		next = flags | fsImmutable
	}
	if next == flags {
		return nil
	}
	if err := unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, next); err != nil {
		return fmt.Errorf("setting the immutable attribute of %s to %t: %w", path, on, err)
	}
	return nil
}

func (hostFiles) Sum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (hostFiles) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(quietSync(d), d.Close())
}

// lockPoll is how often a held lock is tried again; flock has no wait with a deadline.
const lockPoll = 200 * time.Millisecond

func (hostFiles) Lock(ctx context.Context, path, holder string) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("flock %s: %w", path, err), f.Close())
		}
		if (host{}).Wait(ctx, lockPoll) != nil {
			who, _ := io.ReadAll(io.LimitReader(f, 200))
			return nil, errors.Join(fmt.Errorf("%w: %s", ErrLocked, strings.TrimSpace(string(who))), f.Close())
		}
	}
	// Best effort: only for the message above.
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(holder+"\n"), 0)
	return func() { _ = f.Close() }, nil
}
