package fingerprint

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// largeFile is where content hashing ends: above it a file is told by size and modification time, because hashing the
// kubelet's 170 MB at every look costs more than the whole rest of a fingerprint.
const largeFile = 1 << 20

// addFiles walks the given roots; a root that does not exist is no error.
func addFiles(f *Fingerprint, skip func(path string) bool, roots ...string) {
	var describe describer
	for _, root := range roots {
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					return nil
				}
				return err
			}
			if skip(p) {
				if d.IsDir() {
					return filepath.SkipDir
				}
				return nil
			}
			if d.IsDir() && onlyHolds(p) {
				return nil
			}
			v, err := describe.file(p)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			f.Set(Files, p, v)
			return nil
		})
		if err != nil {
			f.Fail(Files, err)
		}
	}
}

// onlyHolds tells a directory of which only what is in it counts: systemctl makes and removes those of its enablement links as it
// likes, and sickbay's own are made with the first agent.
func onlyHolds(p string) bool {
	switch p {
	case "/var/lib/sickbay", "/var/lib/sickbay/journal", "/var/lib/sickbay/volumes":
		return true
	}
	return strings.HasSuffix(p, ".wants") || strings.HasSuffix(p, ".requires")
}

// describer describes files, each with the same room for its content.
type describer struct{ content bytes.Buffer }

func (d *describer) file(p string) (string, error) {
	st, err := os.Lstat(p)
	if err != nil {
		return "", err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("stat %s: no inode data", p)
	}
	base := fmt.Sprintf("%s %d:%d", st.Mode(), sys.Uid, sys.Gid)
	switch {
	case st.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(p)
		return base + " → " + to, err
	case st.IsDir():
		return base + attributes(p), nil
	case !st.Mode().IsRegular():
		return base, nil
	case st.Size() > largeFile:
		return fmt.Sprintf("%s%s %d bytes of %s", base, attributes(p), st.Size(), st.ModTime().UTC().Format("2006-01-02T15:04:05.999999999")), nil
	}
	file, err := os.Open(p)
	if err != nil {
		return "", err
	}
	defer file.Close()
	d.content.Reset()
	if _, err := d.content.ReadFrom(file); err != nil {
		return "", err
	}
	sum := sha256.Sum256(d.content.Bytes())
	return fmt.Sprintf("%s%s sha256:%x", base, attributes(p), sum[:8]), nil
}

// attributes are those a fault may set (chattr +i, +a); filesystems without them give none.
func attributes(p string) string {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, p, unix.AT_SYMLINK_NOFOLLOW, 0, &st) != nil {
		return ""
	}
	switch {
	case st.Attributes&unix.STATX_ATTR_IMMUTABLE == 0 && st.Attributes&unix.STATX_ATTR_APPEND == 0:
		return ""
	case st.Attributes&unix.STATX_ATTR_APPEND == 0:
		return " +i"
	case st.Attributes&unix.STATX_ATTR_IMMUTABLE == 0:
		return " +a"
	}
	return " +ia"
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
