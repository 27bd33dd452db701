package op

import (
	"context"
	"fmt"
)

// Told writes a file into the root of a running program's container, where the program watches for it: the state of devices
// that no machine here has. It goes with the container, so a program that is started anew knows nothing of it.
type Told struct {
	asks[interface {
		Inside
		ProcessTable
	}]
	Program string `json:"program"` // a word of its command line
	File    string `json:"file"`    // absolute, as the program sees it
	Data    string `json:"data"`
	PID     int    `json:"pid,omitempty"`
	Start   uint64 `json:"start,omitempty"`
}

func (t *Told) Touches() []string { return []string{t.Program + ":" + t.File} }

func (t *Told) Describe() string {
	return fmt.Sprintf("put %s (%q) before the process of %s", t.File, t.Data, t.Program)
}

func (t *Told) Save(_ context.Context, env Env) error {
	p, err := programOf(t.sys, t.Program)
	if err != nil {
		return err
	}
	t.PID, t.Start = p.PID, p.Start
	is, err := t.sys.ThereInside(t.PID, t.File)
	if is {
		return fmt.Errorf("%s has its %s already", t.Program, t.File)
	}
	return err
}

func (t *Told) Do(_ context.Context, env Env) error {
	if alive, err := t.alive(); err != nil {
		return err
	} else if !alive {
		return fmt.Errorf("process %d of %s is gone", t.PID, t.Program)
	}
	return t.sys.CreateInside(t.PID, t.File, []byte(t.Data), 0o644)
}

func (t *Told) alive() (bool, error) {
	p, err := alive(t.sys, t.PID, t.Start)
	return p != nil && err == nil, err
}

func (t *Told) Pending(_ context.Context, env Env) (Rest, error) {
	if alive, err := t.alive(); err != nil || !alive {
		return Rest{}, err
	}
	is, err := t.sys.ThereInside(t.PID, t.File)
	return todo(is, err, "take %s from the process of %s", t.File, t.Program)
}

func (t *Told) Undo(ctx context.Context, env Env) error {
	return undo(ctx, env, t, func() error { return t.sys.RemoveInside(t.PID, t.File) })
}
