package op

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func (hostKernel) OpenDir(path string) (Dir, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, errors.Join(&os.PathError{Op: "fstat", Path: path, Err: err}, unix.Close(fd))
	}
	return &hostDir{fd: fd, path: path, dev: st.Dev}, nil
}

type hostDir struct {
	fd   int
	path string
	dev  uint64
}

func (d *hostDir) Dev() uint64 { return d.dev }

func (d *hostDir) Statfs() (Statfs, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd, &st); err != nil {
		return Statfs{}, fmt.Errorf("fstatfs %s: %w", d.path, err)
	}
	return toStatfs(&st), nil
}

// open opens a file below the directory and makes sure that it is on the directory's own filesystem.
func (d *hostDir) open(name string, flags int) (int, error) {
	fd, err := unix.Openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, unix.ENOSPC) {
		return -1, ErrNoSpace
	}
	if err != nil {
		return -1, fmt.Errorf("opening %s/%s: %w", d.path, name, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	if st.Dev != d.dev {
		return -1, errors.Join(fmt.Errorf("%s/%s is on another filesystem than its directory", d.path, name), unix.Close(fd))
	}
	return fd, nil
}

func (d *hostDir) Grow(name string, size int64) error {
	fd, err := d.open(name, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return err
	}
	err = unix.Fallocate(fd, 0, 0, size)
	if errors.Is(err, unix.ENOSPC) {
		err = ErrNoSpace
	}
	if err != nil {
		err = fmt.Errorf("growing %s/%s to %d bytes: %w", d.path, name, size, err)
	}
	return errors.Join(err, unix.Close(fd))
}

func (d *hostDir) Create(prefix string, first, n int) (int, error) {
	for i := range n {
		fd, err := d.open(fmt.Sprintf("%s-%d", prefix, first+i), unix.O_WRONLY|unix.O_CREAT)
		if err != nil {
			return i, err
		}
		if err := unix.Close(fd); err != nil {
			return i, err
		}
	}
	return n, nil
}

func (d *hostDir) List() ([]string, error) {
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", d.path, err)
	}
	f := os.NewFile(uintptr(fd), d.path)
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

func (d *hostDir) Size(name string) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, &os.PathError{Op: "fstatat", Path: d.path + "/" + name, Err: err}
	}
	return st.Size, nil
}

func (d *hostDir) Remove(name string) error {
	if err := unix.Unlinkat(d.fd, name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "unlinkat", Path: d.path + "/" + name, Err: err}
	}
	return nil
}

func (d *hostDir) Close() error { return unix.Close(d.fd) }
