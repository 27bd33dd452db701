package injectors

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var clockSkew = Mechanism{
	Name: "clock-skew",
	Doc:  "moves the wall clock that the kubelet (and containerd, when asked) reads, at every start of it",
	New:  func() Params { return &ClockSkew{By: "87600h", Units: []string{kubeletUnit}} },
}

// ClockSkew are the parameters of clock-skew.
type ClockSkew struct {
	// By is how far, such as "87600h" for ten years ahead or "-48h" for two days behind.
	By string `json:"by,omitempty"`
	// Units whose clock is moved.
	Units []string `json:"units,omitempty"`
}

func (c *ClockSkew) by() (time.Duration, error) {
	d, err := time.ParseDuration(c.By)
	if err != nil || d.Abs() < time.Minute || d.Abs() > math.MaxInt32*time.Second || d%time.Second != 0 {
		return 0, fmt.Errorf("by %q: want whole seconds between a minute and 68 years, ahead or behind, such as 87600h or -48h", c.By)
	}
	return d, nil
}

func (c *ClockSkew) Validate() error {
	if len(c.Units) == 0 {
		return fmt.Errorf("units is empty: want some of %s", strings.Join(services, ", "))
	}
	for _, u := range c.Units {
		if !slices.Contains(services, u) {
			return fmt.Errorf("unit %q: want one of %s", u, strings.Join(services, ", "))
		}
	}
	_, err := c.by()
	return err
}

// ShiftVerb is the agent's verb that a unit's drop-in runs instead of the unit's own program, which it then becomes:
// `agent shift-clock --by DURATION PROGRAM ARGS…`.
const ShiftVerb = "shift-clock"

func (c *ClockSkew) Plan(ctx context.Context, n Node) (*Plan, error) {
	by, err := c.by()
	if err != nil {
		return nil, err
	}
	p := &Plan{Differs: "the clock moves only for these programs, not for the whole node: the kernel has one wall clock for all nodes of the host"}
	for _, u := range c.Units {
		command, err := op.CommandLine(ctx, n.Sys, u)
		if err != nil {
			return nil, err
		}
		p.Ops = append(p.Ops, &op.Clock{Unit: u, By: by, DropIn: op.DropIn{File: op.File{
			Path: "/etc/systemd/system/" + u + ".d/90-clock.conf", Mode: 0o644,
			Data: fmt.Appendf(nil, "[Service]\nExecStart=\nExecStart=%s %s --by %s %s\n", n.Agent, ShiftVerb, by, command),
		}}})
	}
	return p, nil
}
