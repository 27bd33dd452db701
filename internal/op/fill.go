package op

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Fill takes the space or the inodes of a filesystem that sickbay made, or of a guest's own disk, and refuses any other.
type Fill struct {
	asks[loopChecks]
	Path string `json:"path"` // a directory
	Name string `json:"name"` // of the file, or of the many files, in it
	// LeaveBytes is what stays free; LeavePercent, when set, of the filesystem's size instead.
	LeaveBytes   int64 `json:"leaveBytes,omitempty"`
	LeavePercent int   `json:"leavePercent,omitempty"`
	// Inodes takes inodes instead of bytes, until LeaveInodes are free.
	Inodes      bool  `json:"inodes,omitempty"`
	LeaveInodes int64 `json:"leaveInodes,omitempty"`
	// Machine fills the machine's own disk: only where the machine is a guest of `sickbay vm`.
	Machine bool `json:"machine,omitempty"`

	// Dev is the filesystem's device, recorded before the first byte, so that undo never removes a file elsewhere.
	Dev uint64 `json:"dev,omitempty"`
}

func (f *Fill) Touches() []string { return []string{f.Path} }

func (f *Fill) Describe() string {
	what := "bytes"
	if f.Inodes {
		what = "inodes"
	}
	return fmt.Sprintf("fill the %s of %s", what, f.Path)
}

func (f *Fill) Save(_ context.Context, env Env) error {
	dir, err := f.sys.OpenDir(f.Path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := f.may(env, dir); err != nil {
		return err
	}
	names, err := f.ourFiles(dir)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return fmt.Errorf("%s/%s exists already", f.Path, names[0])
	}
	f.Dev = dir.Dev()
	return nil
}

func (f *Fill) Do(ctx context.Context, env Env) error {
	dir, err := f.sys.OpenDir(f.Path)
	if err != nil {
		return err
	}
	defer dir.Close()
	// Once more, on the very directory that is then written through: the mount may have gone since Save.
	if err := f.may(env, dir); err != nil {
		return err
	}
	if dir.Dev() != f.Dev {
		return &RefusedError{Path: f.Path, Reason: "it is another filesystem than a moment ago"}
	}
	// The first write would wait for the thaw, for ever. The machine's disk is never frozen, nor is it to be by asking.
	if !f.Machine {
		if is, err := frozen(f.sys, f.Path); err != nil {
			return err
		} else if is {
			return &RefusedError{Path: f.Path, Reason: "it is frozen; fill first, then freeze"}
		}
	}
	if f.Inodes {
		return f.fillInodes(ctx, dir)
	}
	return f.fillBytes(ctx, dir)
}

// may refuses a filesystem that is neither sickbay's own nor, where that is meant, a guest's disk.
func (f *Fill) may(env Env, dir Dir) error {
	if !f.Machine {
		err := ours(f.sys, env, f.Path, dir)
		return err
	}
	in, err := InGuest(f.sys)
	switch {
	case err != nil:
		return err
	case !in:
		return &RefusedError{Path: f.Path, Reason: "the machine is no guest of `sickbay vm`"}
	case unix.Major(dir.Dev()) == LoopMajor:
		return &RefusedError{Path: f.Path, Reason: "it is a loop device, not the guest's own disk"}
	}
	return nil
}

func (f *Fill) leave(room Statfs) int64 {
	if f.LeavePercent > 0 {
		return room.Bytes / 100 * int64(f.LeavePercent)
	}
	return f.LeaveBytes
}

func (f *Fill) fillBytes(ctx context.Context, dir Dir) error {
	// Metadata takes space as well, so the last steps are small; an image of 2 GiB is filled in about 40 calls.
	step := int64(64 << 20)
	var size int64
	for step >= 4096 {
		if err := ctx.Err(); err != nil {
			return err
		}
		room, err := dir.Statfs()
		if err != nil {
			return err
		}
		want := room.Free - f.leave(room)
		if want < 4096 {
			return nil
		}
		if step > want {
			step = max(4096, want&^4095)
		}
		switch err := dir.Grow(f.Name, size+step); {
		case err == nil:
			size += step
		case errors.Is(err, ErrNoSpace):
			step /= 2
		default:
			return err
		}
	}
	return nil
}

func (f *Fill) fillInodes(ctx context.Context, dir Dir) error {
	const batch = 1000
	for first := 0; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		room, err := dir.Statfs()
		if err != nil {
			return err
		}
		want := room.InodesFree - f.LeaveInodes
		if want <= 0 {
			return nil
		}
		n, err := dir.Create(f.Name, first, int(min(want, batch)))
		first += n
		if errors.Is(err, ErrNoSpace) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// ourFiles are the fill file, or the many.
func (f *Fill) ourFiles(dir Dir) ([]string, error) {
	all, err := dir.List()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range all {
		if n == f.Name && !f.Inodes || f.Inodes && strings.HasPrefix(n, f.Name+"-") {
			out = append(out, n)
		}
	}
	return out, nil
}

// open opens the directory if it still is on the filesystem that was filled; nil when it is not.
func (f *Fill) open(env Env) (Dir, error) {
	if f.Dev == 0 {
		return nil, nil
	}
	dir, err := f.sys.OpenDir(f.Path)
	if err != nil {
		return nil, unlessGone(err)
	}
	if dir.Dev() != f.Dev {
		return nil, dir.Close()
	}
	if err := f.may(env, dir); err != nil {
		return nil, dir.Close() // the loop device serves another image by now
	}
	return dir, nil
}

func (f *Fill) Pending(_ context.Context, env Env) (Rest, error) {
	dir, err := f.open(env)
	if err != nil || dir == nil {
		return Rest{}, err
	}
	defer dir.Close()
	names, err := f.ourFiles(dir)
	if err != nil || len(names) == 0 {
		return Rest{}, err
	}
	room, err := dir.Statfs()
	if err != nil {
		return Rest{}, err
	}
	if f.Inodes {
		return Rest{Todo: fmt.Sprintf("remove %d files %s/%s-* (%d of %d inodes free)", len(names), f.Path, f.Name, room.InodesFree, room.Inodes)}, nil
	}
	size, err := dir.Size(f.Name)
	if err != nil {
		return Rest{}, err
	}
	return Rest{Todo: fmt.Sprintf("remove %s/%s of %d MiB (%d of %d MiB free)", f.Path, f.Name, size>>20, room.Free>>20, room.Bytes>>20)}, nil
}

func (f *Fill) Undo(_ context.Context, env Env) error {
	dir, err := f.open(env)
	if err != nil || dir == nil {
		return err
	}
	defer dir.Close()
	names, err := f.ourFiles(dir)
	if err != nil || len(names) == 0 {
		return err
	}
	// A removal on a frozen filesystem blocks for ever, and the freeze may be another injection's: thaw.
	if !f.Machine {
		if err := f.sys.Thaw(f.Path); err != nil {
			return err
		}
	}
	for _, n := range names {
		if err := dir.Remove(n); err != nil {
			return err
		}
	}
	return nil
}
