package op

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Errors of Sys that operations tell apart.
var (
	// ErrLoopBusy means somebody else took the loop device first.
	ErrLoopBusy = errors.New("the loop device was taken meanwhile")
	// ErrFrozen means the filesystem was frozen already.
	ErrFrozen = errors.New("the filesystem is frozen already")
	// ErrNoSpace means no blocks or no inodes are left.
	ErrNoSpace = errors.New("no space left on the filesystem")
	// ErrBusy means a mount or device is in use.
	ErrBusy = errors.New("in use")
	// ErrLocked means another agent is at work on this node.
	ErrLocked = errors.New("another agent is at work on this node")
)

// there tells whether something is at a path.
func there(files Files, path string) (bool, error) {
	_, err := files.Stat(path)
	return err == nil, unlessGone(err)
}

// list is what a directory holds; nothing where there is none.
func list(files Files, dir string) ([]string, error) {
	names, err := files.List(dir)
	return names, unlessGone(err)
}

// todo is what is left of a change that is still there.
func todo(still bool, err error, format string, args ...any) (Rest, error) {
	if err != nil || !still {
		return Rest{}, err
	}
	return Rest{Todo: fmt.Sprintf(format, args...)}, nil
}

// undo takes a change back whose Pending tells all that is left of it.
func undo(ctx context.Context, env Env, o Op, back func() error) error {
	r, err := o.Pending(ctx, env)
	if err != nil || r.Nothing() {
		return err
	}
	return back()
}

// unlessGone is the error, unless it says that what was to be changed is not there any more.
func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
