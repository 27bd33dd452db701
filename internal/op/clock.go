package op

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

const (
	// clockPoll and clockBound: the agent becomes the unit's program some 20 ms after the unit's start.
	clockPoll  = 50 * time.Millisecond
	clockBound = 15 * time.Second
	// clockTries: an exec takes a millisecond, some hundred on a busy machine.
	clockTries = 40
)

// Clock makes a unit's process read another wall clock from its first instruction, at every start of it: a drop-in starts it
// by way of the agent, because a wrong clock survives the restart of a program.
type Clock struct {
	DropIn
	clocks asks[interface {
		Units
		WallClocks
	}]
	Unit string        `json:"unit"`
	By   time.Duration `json:"by"`
	Was  *bool         `json:"was,omitempty"`
	// Before is by how much it was off already, by an older injection.
	Before time.Duration `json:"before,omitempty"`
}

func (c *Clock) bind(n Sys) {
	c.DropIn.bind(n)
	c.clocks.bind(n)
}

func (c *Clock) Touches() []string { return append(c.DropIn.Touches(), c.Unit) }

func (c *Clock) Describe() string { return fmt.Sprintf("move the clock of %s by %s", c.Unit, c.By) }

func (c *Clock) Save(ctx context.Context, env Env) error {
	s, err := Show(ctx, c.clocks.sys, c.Unit)
	if err != nil {
		return err
	}
	if !s.Up() {
		return fmt.Errorf("%s does not run", c.Unit)
	}
	if err := c.DropIn.Save(ctx, env); err != nil {
		return err
	}
	if c.Before, err = c.offset(ctx); err != nil {
		return err
	}
	up := true
	c.Was = &up
	return nil
}

func (c *Clock) Do(ctx context.Context, env Env) error {
	if err := c.DropIn.Do(ctx, env); err != nil {
		return err
	}
	if err := restart(ctx, c.clocks.sys, c.Unit); err != nil {
		return err
	}
	moved, err := await(ctx, c.clocks.sys, clockPoll, timeoutscale.Bound(clockBound), func() (bool, error) {
		by, err := c.offset(ctx)
		return by == c.By, err
	})
	if err != nil || moved {
		return err
	}
	return fmt.Errorf("the clock of %s was not moved within %s of its start (see `journalctl -u %s` for the agent's reason)", c.Unit, clockBound, c.Unit)
}

// offset measures the running process. One that is about to become another program cannot be measured for a moment.
func (c *Clock) offset(ctx context.Context) (time.Duration, error) {
	for tries := 0; ; tries++ {
		s, err := Show(ctx, c.clocks.sys, c.Unit)
		if err != nil {
			return 0, err
		}
		pid, err := strconv.Atoi(s.MainPID)
		if err != nil || pid == 0 {
			return 0, nil
		}
		by, err := c.clocks.sys.ClockOffset(pid)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return 0, nil // it ended this moment
		case err == nil || tries == clockTries:
			return by, err
		}
		if err := c.clocks.sys.Wait(ctx, clockPoll); err != nil {
			return 0, err
		}
	}
}

func (c *Clock) Pending(ctx context.Context, env Env) (Rest, error) {
	if c.Was == nil {
		return Rest{}, nil
	}
	r, err := c.DropIn.Pending(ctx, env)
	if err != nil || r.Todo != "" {
		return r, err
	}
	by, err := c.offset(ctx)
	if err != nil {
		return r, err
	}
	if by != 0 && by != c.Before {
		return Rest{Todo: fmt.Sprintf("restart %s, whose clock is off by %s", c.Unit, by)}, nil
	}
	s, err := Show(ctx, c.clocks.sys, c.Unit)
	if err == nil && !s.Up() {
		r.Todo = "start " + c.Unit
	}
	return r, err
}

func (c *Clock) Undo(ctx context.Context, env Env) error {
	if c.Was == nil {
		return nil
	}
	rest, err := c.Pending(ctx, env)
	if err := errors.Join(err, c.DropIn.Undo(ctx, env)); err != nil {
		return err
	}
	if rest.Todo != "" {
		// Whatever the clock says this moment: the process may still be the agent that is about to become the program.
		return restart(ctx, c.clocks.sys, c.Unit)
	}
	return startUnit(ctx, c.clocks.sys, c.Unit)
}
