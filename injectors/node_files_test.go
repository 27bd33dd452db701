package injectors_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/op"
)

func (n *Node) Stat(p string) (st op.Stat, err error) {
	err = n.look(func() error {
		d, _, i, err := n.get("stat", p)
		if err != nil {
			return err
		}
		st = op.Stat{
			Mode: i.mode, UID: i.uid, GID: i.gid, Size: i.length(), Blocks: i.length(), Modified: i.modified, Dev: d.dev, Ino: i.ino, Link: i.link,
			Immutable: i.immutable,
		}
		return nil
	})
	return st, err
}

func (n *Node) Read(p string) (b []byte, err error) {
	err = n.look(func() error {
		_, _, i, err := n.get("read", p)
		if err == nil {
			b = slices.Clone(i.data)
		}
		return err
	})
	return b, err
}

func (n *Node) ReadAt(p string, off int64, count int) (b []byte, err error) {
	b, err = n.Read(p)
	if err != nil {
		return nil, err
	}
	from := min(off, int64(len(b)))
	return b[from:min(from+int64(count), int64(len(b)))], nil
}

func (n *Node) Write(p string, data []byte, mode fs.FileMode) error {
	data = slices.Clone(data)
	write := func(part []byte) error {
		_, _, i, err := n.get("write", p)
		if err == nil {
			if i.immutable {
				return &fs.PathError{Op: "write", Path: p, Err: fs.ErrPermission}
			}
			d, _ := n.find(p)
			n.touch(d, "write "+p)
			i.data, i.mode, i.modified = part, mode, time.Unix(2e9, 0)
			return nil
		}
		d, _ := n.find(p)
		return n.put("write", p, d.node(mode, part))
	}
	return n.change(func() error { return write(data) }, func() {
		// The kernel's own files take a write whole or not at all.
		if !strings.HasPrefix(p, "/proc/") && !strings.HasPrefix(p, "/sys/") {
			_ = write(data[:len(data)/2])
		}
	})
}

func (n *Node) WriteAt(p string, off int64, data []byte) error {
	data = slices.Clone(data)
	write := func(part []byte) error {
		d, _, i, err := n.get("write", p)
		if err != nil {
			return err
		}
		n.touch(d, "write "+p)
		if off+int64(len(data)) > int64(len(i.data)) {
			return &fs.PathError{Op: "write", Path: p, Err: fs.ErrInvalid}
		}
		i.data = slices.Clone(i.data)
		copy(i.data[off:], part)
		return nil
	}
	return n.change(func() error { return write(data) }, func() { _ = write(data[:len(data)/2]) })
}

func (n *Node) Copy(from, to string, mode fs.FileMode) error {
	b, err := n.Read(from)
	if err != nil {
		return err
	}
	return n.Write(to, b, mode)
}

func (n *Node) Rename(from, to string) error {
	return n.change(func() error {
		d, rel, i, err := n.get("rename", from)
		if err != nil {
			return err
		}
		if err := n.put("rename", to, i); err != nil {
			return err
		}
		delete(d.files, rel)
		return nil
	})
}

func (n *Node) Link(from, to string) error {
	return n.change(func() error {
		_, _, i, err := n.get("link", from)
		if err != nil {
			return err
		}
		if _, _, _, err := n.get("link", to); err == nil {
			return &fs.PathError{Op: "link", Path: to, Err: fs.ErrExist}
		}
		return n.put("link", to, i)
	})
}

func (n *Node) Symlink(target, p string) error {
	return n.change(func() error {
		if _, _, _, err := n.get("symlink", p); err == nil {
			return &fs.PathError{Op: "symlink", Path: p, Err: fs.ErrExist}
		}
		d, _ := n.find(p)
		i := d.node(fs.ModeSymlink|0o777, nil)
		i.link = target
		return n.put("symlink", p, i)
	})
}

func (n *Node) Remove(p string) error {
	return n.change(func() error {
		d, rel, i, err := n.get("remove", p)
		if err != nil {
			return err
		}
		n.touch(d, "remove "+p)
		if i.swapped || i.immutable || d.files[path.Dir(rel)].immutable {
			return &fs.PathError{Op: "remove", Path: p, Err: fs.ErrPermission}
		}
		if i.mode.IsDir() && len(children(d, rel)) > 0 {
			return &fs.PathError{Op: "remove", Path: p, Err: fmt.Errorf("directory not empty")}
		}
		delete(d.files, rel)
		return nil
	})
}

func (n *Node) RemoveAll(p string) error {
	clear := func(all bool) error {
		d, rel := n.find(p)
		names := slices.Sorted(maps.Keys(d.files))
		slices.Reverse(names)
		left := 0
		for _, f := range names {
			if strings.HasPrefix(f, rel+"/") {
				left++
			}
		}
		left /= 2
		for _, f := range names {
			if f != rel && !strings.HasPrefix(f, rel+"/") {
				continue
			}
			if d.files[f].swapped {
				n.violate("removal of the active swap file %s", f)
				return fs.ErrPermission
			}
			for _, l := range n.loops {
				if l.image == d.files[f] {
					n.violate("removal of the image %s while loop devices use it", f)
				}
			}
			if left--; !all && left < 0 {
				return nil
			}
			delete(d.files, f)
		}
		return nil
	}
	return n.change(func() error { return clear(true) }, func() { _ = clear(false) })
}

func (n *Node) Mkdir(p string, mode fs.FileMode) error {
	return n.change(func() error {
		if _, _, _, err := n.get("mkdir", p); err == nil {
			return &fs.PathError{Op: "mkdir", Path: p, Err: fs.ErrExist}
		}
		d, _ := n.find(p)
		return n.put("mkdir", p, d.node(fs.ModeDir|mode, nil))
	})
}

func (n *Node) MkdirAll(p string, mode fs.FileMode) error {
	return n.change(func() error {
		for i := 1; i <= len(p); i++ {
			if i < len(p) && p[i] != '/' {
				continue
			}
			if _, _, _, err := n.get("mkdir", p[:i]); err == nil {
				continue
			}
			d, _ := n.find(p[:i])
			if err := n.put("mkdir", p[:i], d.node(fs.ModeDir|mode, nil)); err != nil {
				return err
			}
		}
		return nil
	})
}

func insideOf(pid int, p string) string { return fmt.Sprintf("/proc/%d/root%s", pid, p) }

func (n *Node) ThereInside(pid int, p string) (bool, error) {
	_, err := n.Stat(insideOf(pid, p))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (n *Node) CreateInside(pid int, p string, data []byte, mode fs.FileMode) error {
	if there, err := n.ThereInside(pid, p); err != nil {
		return err
	} else if there {
		return &fs.PathError{Op: "create", Path: p, Err: fs.ErrExist}
	}
	return n.Write(insideOf(pid, p), data, mode)
}

func (n *Node) RemoveInside(pid int, p string) error { return n.Remove(insideOf(pid, p)) }

func children(d *disk, rel string) []string {
	var out []string
	for f := range d.files {
		if f != "/" && path.Dir(f) == rel {
			out = append(out, path.Base(f))
		}
	}
	slices.Sort(out)
	return out
}

func (n *Node) List(p string) (names []string, err error) {
	err = n.look(func() error {
		d, rel, i, err := n.get("list", p)
		if err != nil {
			return err
		}
		if !i.mode.IsDir() {
			return &fs.PathError{Op: "list", Path: p, Err: fmt.Errorf("not a directory")}
		}
		names = children(d, rel)
		return nil
	})
	return names, err
}

func (n *Node) edit(verb, p string, f func(*inode) error) error {
	return n.change(func() error {
		d, _, i, err := n.get(verb, p)
		if err != nil {
			return err
		}
		n.touch(d, verb+" "+p)
		if i.immutable && verb != "chattr" {
			return &fs.PathError{Op: verb, Path: p, Err: fs.ErrPermission}
		}
		return f(i)
	})
}

func (n *Node) Chmod(p string, mode fs.FileMode) error {
	return n.edit("chmod", p, func(i *inode) error { i.mode = i.mode.Type() | mode.Perm(); return nil })
}

func (n *Node) Chown(p string, uid, gid int) error {
	return n.edit("chown", p, func(i *inode) error { i.uid, i.gid = uid, gid; return nil })
}

func (n *Node) Touch(p string, t time.Time) error {
	return n.edit("utime", p, func(i *inode) error { i.modified = t; return nil })
}

func (n *Node) Xattrs(p string) (x map[string][]byte, err error) {
	err = n.look(func() error {
		_, _, i, err := n.get("listxattr", p)
		if err == nil {
			x = maps.Clone(i.xattrs)
		}
		return err
	})
	return x, err
}

func (n *Node) SetXattr(p, name string, value []byte) error {
	return n.edit("setxattr", p, func(i *inode) error {
		if i.xattrs == nil {
			i.xattrs = map[string][]byte{}
		}
		i.xattrs[name] = value
		return nil
	})
}

func (n *Node) SetImmutable(p string, on bool) error {
	return n.edit("chattr", p, func(i *inode) error { i.immutable = on; return nil })
}

func (n *Node) Sum(p string) (string, error) {
	b, err := n.Read(p)
	return op.Sum(b), err
}

func (n *Node) SyncDir(string) error { return n.change(func() error { return nil }) }

func (n *Node) Lock(_ context.Context, p, holder string) (release func(), err error) {
	err = n.change(func() error {
		if n.locked {
			return fmt.Errorf("%w: %s wants %s", op.ErrLocked, holder, p)
		}
		n.locked = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if !n.dead {
			n.locked = false
		}
	}, nil
}
