package op

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/internal/procmounts"
)

// within opens the folder that a file of the process is in, with every link taken as the process itself would take it, and has use do
// something to the file's name there.
func (hostFiles) within(pid int, verb, file string, use func(dir int, name string) error) (err error) {
	defer func() {
		if err != nil {
			err = &fs.PathError{Op: verb, Path: fmt.Sprintf("/proc/%d/root%s", pid, file), Err: err}
		}
	}()
	dir, err := procmounts.Open(pid, path.Dir(file), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return errors.Join(use(dir, path.Base(file)), unix.Close(dir))
}

func (h hostFiles) ThereInside(pid int, file string) (bool, error) {
	err := h.within(pid, "stat", file, func(dir int, name string) error {
		var st unix.Stat_t
		return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return err == nil, unlessGone(err)
}

func (h hostFiles) CreateInside(pid int, file string, data []byte, mode fs.FileMode) error {
	return h.within(pid, "create", file, func(dir int, name string) error {
		fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(mode.Perm()))
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), file)
		_, err = f.Write(data)
		return errors.Join(err, setMode(f, mode), quietSync(f), f.Close())
	})
}

func (h hostFiles) RemoveInside(pid int, file string) error {
	return h.within(pid, "remove", file, func(dir int, name string) error { return unix.Unlinkat(dir, name, 0) })
}
