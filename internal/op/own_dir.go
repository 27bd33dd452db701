package op

import (
	"context"
	"fmt"
	"path"
)

// OwnDir makes a directory of a run's own. Undone, it goes with all that is in it, whoever wrote it: nobody else has a use for it. One
// that was there before is left alone.
type OwnDir struct {
	asks[interface {
		FileTree
		Mounts(pid int) ([]*Mount, error)
	}]
	Path string `json:"path"`
	// Made are Path and the directories above it that were not there, the inner ones first; empty where Path was.
	Made []string `json:"made,omitempty"`
}

func (d *OwnDir) Touches() []string { return []string{d.Path} }

func (d *OwnDir) Describe() string { return "make directory " + d.Path }

func (d *OwnDir) Save(context.Context, Env) error {
	for dir := d.Path; ; dir = path.Dir(dir) {
		if is, err := there(d.sys, dir); err != nil || is {
			return err
		}
		d.Made = append(d.Made, dir)
	}
}

func (d *OwnDir) Do(context.Context, Env) error {
	if len(d.Made) == 0 {
		return nil
	}
	return d.sys.MkdirAll(d.Path, 0o755)
}

func (d *OwnDir) Pending(context.Context, Env) (Rest, error) {
	if len(d.Made) == 0 {
		return Rest{}, nil
	}
	is, err := there(d.sys, d.Path)
	if !is {
		return Rest{}, err
	}
	return Rest{Tidy: "remove " + d.Path}, nil
}

func (d *OwnDir) Undo(context.Context, Env) error {
	if len(d.Made) == 0 {
		return nil
	}
	mounts, err := d.sys.Mounts(0)
	if err != nil {
		return err
	}
	if m := mountIn(mounts, d.Path); m != nil {
		return fmt.Errorf("something is mounted on %s, which would be removed with it: umount %s", m.Mountpoint, m.Mountpoint)
	}
	if err := d.sys.RemoveAll(d.Path); err != nil {
		return err
	}
	for _, dir := range d.Made[1:] {
		if names, err := d.sys.List(dir); err != nil || len(names) > 0 {
			return unlessGone(err) // somebody else's by now
		}
		if err := unlessGone(d.sys.Remove(dir)); err != nil {
			return err
		}
	}
	return nil
}
