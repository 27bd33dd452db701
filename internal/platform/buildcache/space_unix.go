//go:build unix

package buildcache

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// FreeSpace asks the file system at a path that is there.
func FreeSpace(path string) (string, uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", 0, err
	}
	var f unix.Statfs_t
	if err := unix.Statfs(path, &f); err != nil {
		return "", 0, err
	}
	return fmt.Sprint(st.Dev), f.Bavail * uint64(f.Bsize), nil
}

// Occupied answers the bytes that a file, or all files below a folder, take on the disk. What goes away meanwhile does not count.
func Occupied(path string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(p, &st)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		sum += st.Blocks * 512
		return err
	})
	return sum, err
}
