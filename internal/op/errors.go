package op

import (
	"errors"
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

// unlessGone is the error, unless it says that what was to be changed is not there any more.
func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
