// Package trusted answers whether files may be run or built, often as root, by who could have put them where they are: a folder of
// somebody else's above the working directory is not the project's, whatever its go.mod says.
package trusted

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const module = "github.com/sickbay-dev/sickbay"

// Path refuses a file or folder that another user could have made or could replace: everything from it up to the root must belong to
// root, to this user, to whoever called sudo, or to whom this program belongs. A folder that everybody may write to is refused, unless it
// is one above and keeps users from each other's files, as /tmp does. What is not there yet is judged by the nearest folder that is.
func Path(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	for at := path; ; at = filepath.Dir(at) {
		real, err := filepath.EvalSymlinks(at)
		if err == nil {
			return up(real, at == path)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
}

func up(path string, strict bool) error {
	users := users()
	for at := path; ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if err != nil {
			return err
		}
		sticky := info.Mode()&os.ModeSticky != 0 && (at != path || !strict)
		switch uid := owner(info); {
		case !slices.Contains(users, uid):
			return fmt.Errorf("%s belongs to user %d: not used", at, uid)
		case info.Mode().Perm()&0o002 != 0 && !sticky:
			return fmt.Errorf("%s may be written to by everybody: not used", at)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

func owner(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// users are those whose files are trusted.
func users() []int {
	out := []int{0, os.Geteuid()}
	if uid, err := strconv.Atoi(os.Getenv("SUDO_UID")); err == nil && os.Geteuid() == 0 {
		out = append(out, uid)
	}
	if exe, err := os.Executable(); err == nil {
		if info, err := os.Stat(exe); err == nil {
			out = append(out, owner(info))
		}
	}
	return out
}

// Own is the project's source tree whose bin folder this program is in, or "".
func Own() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	return around(exe)
}

func around(exe string) (string, error) {
	exe, err := filepath.EvalSymlinks(exe)
	if err != nil || filepath.Base(filepath.Dir(exe)) != "bin" {
		return "", err
	}
	root := filepath.Dir(filepath.Dir(exe))
	if !isProject(root) {
		return "", nil
	}
	return root, tree(root)
}

// Source finds the project's source tree: this program's own, else the one that the working directory is in.
func Source() (string, error) {
	if root, err := Own(); root != "" {
		return root, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if isProject(at) {
			return at, tree(at)
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("the project's source is neither above this program's bin folder nor above %s", dir)
		}
	}
}

func tree(root string) error {
	return errors.Join(Path(root), Path(filepath.Join(root, "go.mod")), Path(filepath.Join(root, "images")))
}

func isProject(root string) bool {
	data, err := os.ReadFile(filepath.Join(root, "go.mod"))
	first, _, _ := strings.Cut(string(data), "\n")
	return err == nil && slices.Contains(strings.Fields(first), module)
}
