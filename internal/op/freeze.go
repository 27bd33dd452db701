package op

import (
	"context"
	"errors"
	"fmt"
)

// Freeze blocks every write to a filesystem that sickbay made (fsfreeze), and refuses any other: frozen, the host's own disk
// would stop the machine.
type Freeze struct {
	asks[loopChecks]
	Path string `json:"path"`
	Dev  uint64 `json:"dev,omitempty"`
}

func (f *Freeze) Touches() []string { return []string{f.Path} }

func (f *Freeze) Describe() string { return "freeze the filesystem of " + f.Path }

func (f *Freeze) Save(_ context.Context, env Env) error {
	dir, err := f.sys.OpenDir(f.Path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := ours(f.sys, env, f.Path, dir); err != nil {
		return err
	}
	f.Dev = dir.Dev()
	return nil
}

func (f *Freeze) Do(_ context.Context, env Env) error {
	dir, err := f.sys.OpenDir(f.Path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := ours(f.sys, env, f.Path, dir); err != nil {
		return err
	}
	if dir.Dev() != f.Dev {
		return &RefusedError{Path: f.Path, Reason: "it is another filesystem than a moment ago"}
	}
	if err := f.sys.Freeze(f.Path); err != nil && !errors.Is(err, ErrFrozen) {
		return err
	}
	return nil
}

// here tells whether the path still is on the filesystem that was frozen.
func (f *Freeze) here(env Env) (bool, error) {
	if f.Dev == 0 {
		return false, nil
	}
	dir, err := f.sys.OpenDir(f.Path)
	if err != nil {
		return false, unlessGone(err)
	}
	refused := ours(f.sys, env, f.Path, dir)
	return dir.Dev() == f.Dev && refused == nil, dir.Close()
}

// frozen probes a filesystem that was verified to be ours: no call tells whether it is frozen but an attempt to freeze it,
// undone at once where it succeeds.
func frozen(sys Filesystems, p string) (bool, error) {
	switch err := sys.Freeze(p); {
	case errors.Is(err, ErrFrozen):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("probing whether it is frozen: %w", err)
	}
	return false, sys.Thaw(p)
}

// Were the agent to die within the probe, the journal still has this operation to undo.
func (f *Freeze) Pending(_ context.Context, env Env) (Rest, error) {
	here, err := f.here(env)
	if err != nil || !here {
		return Rest{}, err
	}
	is, err := frozen(f.sys, f.Path)
	return todo(is, err, "unfreeze the filesystem of %s", f.Path)
}

func (f *Freeze) Undo(_ context.Context, env Env) error {
	here, err := f.here(env)
	if err != nil || !here {
		return err
	}
	return f.sys.Thaw(f.Path)
}
