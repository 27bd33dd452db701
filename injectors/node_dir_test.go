package injectors_test

import (
	"fmt"
	"io/fs"
	"path"

	"github.com/sickbay-dev/sickbay/internal/op"
)

func (n *Node) OpenDir(p string) (out op.Dir, err error) {
	err = n.look(func() error {
		d, rel, i, err := n.get("open", p)
		if err == nil && !i.mode.IsDir() {
			err = fmt.Errorf("%s is not a directory", p)
		}
		out = &dir{n: n, d: d, rel: rel, dev: d.dev}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

type dir struct {
	n   *Node
	d   *disk
	rel string
	dev uint64
}

func (d *dir) Dev() uint64  { return d.dev }
func (d *dir) Close() error { return nil }

func (d *dir) Statfs() (out op.Statfs, err error) {
	err = d.n.look(func() error { out = statfs(d.d); return nil })
	return out, err
}

func (d *dir) write(name string) {
	if d.d == d.n.root && !d.n.guest {
		d.n.violate("fill of the host's disk by %s", name)
	}
	d.n.touch(d.d, "fill "+name)
}

func (d *dir) Grow(name string, size int64) error {
	return d.n.change(func() error {
		d.write(name)
		p := path.Join(d.rel, name)
		i := d.d.files[p]
		if i == nil {
			i = d.d.node(0o600, nil)
			d.d.files[p] = i
		}
		if size-i.size > d.d.free() {
			return op.ErrNoSpace
		}
		i.size = size
		return nil
	})
}

func (d *dir) Create(prefix string, first, count int) (made int, err error) {
	err = d.n.change(func() error {
		for ; made < count; made++ {
			d.write(prefix)
			if int64(len(d.d.files)) >= d.d.inodes {
				return op.ErrNoSpace
			}
			d.d.files[path.Join(d.rel, fmt.Sprintf("%s-%d", prefix, first+made))] = d.d.node(0o600, nil)
		}
		return nil
	})
	return made, err
}

func (d *dir) List() (names []string, err error) {
	err = d.n.look(func() error { names = children(d.d, d.rel); return nil })
	return names, err
}

func (d *dir) Size(name string) (size int64, err error) {
	err = d.n.look(func() error {
		i := d.d.files[path.Join(d.rel, name)]
		if i == nil {
			return fs.ErrNotExist
		}
		size = i.length()
		return nil
	})
	return size, err
}

func (d *dir) Remove(name string) error {
	return d.n.change(func() error {
		d.n.touch(d.d, "remove "+name)
		delete(d.d.files, path.Join(d.rel, name))
		return nil
	})
}
