package op

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// WallClock moves the kernel's wall clock, which is that of every process of the machine. It refuses any machine but a guest.
//
// What it was is remembered against the time since boot, which no fault moves: undoing it needs no other clock.
type WallClock struct {
	asks[interface {
		Files
		Timer
		WallClocks
	}]
	By time.Duration `json:"by"`
	// Boot is the boot it was done in: the next one takes its time from the hardware clock.
	Boot string `json:"boot,omitempty"`
	// Ahead is the wall clock less the time since boot, before.
	Ahead time.Duration `json:"ahead,omitempty"`
}

func (*WallClock) Touches() []string { return []string{"clock"} }

func (w *WallClock) Describe() string { return fmt.Sprintf("move the machine's clock by %s", w.By) }

func (w *WallClock) Save(_ context.Context, env Env) error {
	boot, since, err := w.sys.Clock()
	if err != nil {
		return err
	}
	wall, err := w.sys.Wall()
	if err != nil {
		return err
	}
	w.Boot, w.Ahead = boot, time.Duration(wall.UnixNano())-since
	return nil
}

func (w *WallClock) Do(_ context.Context, env Env) error {
	if is, err := InGuest(w.sys); err != nil {
		return err
	} else if !is {
		return errors.New("refused to move the clock of a machine that is no guest of `sickbay vm`")
	}
	return w.set(w.By)
}

// set makes the clock what it would be, moved by that much.
func (w *WallClock) set(by time.Duration) error {
	_, since, err := w.sys.Clock()
	if err != nil {
		return err
	}
	return w.sys.SetWall(time.Unix(0, int64(w.Ahead+since+by)))
}

// A clock that was put right by another one differs by what the two differ; one that is off by half of
// what it was moved by, and more, was not put right.
func (w *WallClock) Pending(_ context.Context, env Env) (Rest, error) {
	off, err := w.off()
	return todo(off.Abs() >= w.By.Abs()/2, err, "set the machine's clock, which is off by %s", off.Round(time.Second))
}

// off is by how much the clock is moved now.
func (w *WallClock) off() (time.Duration, error) {
	boot, since, err := w.sys.Clock()
	if err != nil || w.Boot == "" || boot != w.Boot {
		return 0, err
	}
	wall, err := w.sys.Wall()
	return time.Duration(wall.UnixNano()) - since - w.Ahead, err
}

func (w *WallClock) Undo(ctx context.Context, env Env) error {
	return undo(ctx, env, w, func() error { return w.set(0) })
}
