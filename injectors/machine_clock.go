package injectors

import (
	"context"
	"fmt"
	"time"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var machineClock = Mechanism{
	Name:     "machine-clock",
	Doc:      "moves the clock of the whole machine; in a guest of `sickbay vm`, whose clock is nobody else's",
	New:      func() Params { return &MachineClock{} },
	HostWide: true,
}

// MachineClock are the parameters of machine-clock.
type MachineClock struct {
	// By is how far, such as "15m" ahead or "-1h" behind.
	By string `json:"by"`
}

func (m *MachineClock) by() (time.Duration, error) {
	d, err := time.ParseDuration(m.By)
	if err != nil || d.Abs() < time.Minute || d.Abs() > 24*time.Hour {
		return 0, fmt.Errorf("by %q: want a time between a minute and a day, ahead or behind, such as 15m or -1h", m.By)
	}
	return d, nil
}

func (m *MachineClock) Validate() error {
	_, err := m.by()
	return err
}

func (m *MachineClock) Plan(_ context.Context, n Node) (*Plan, error) {
	by, err := m.by()
	if err != nil {
		return nil, err
	}
	if err := machineClock.needsGuest(n, "the clock belongs to the kernel"); err != nil {
		return nil, err
	}
	return &Plan{Ops: []op.Op{&op.WallClock{By: by}}}, nil
}
