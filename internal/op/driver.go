package op

import (
	"context"
	"fmt"
	"time"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

const (
	// healthPoll and healthBound: the kubelet asks the runtime for its cgroup driver before it serves /healthz, about 2 s in.
	healthPoll  = 300 * time.Millisecond
	healthBound = 60 * time.Second
)

// StaleAnswer makes the kubelet keep an answer of the runtime's that is no longer true: the runtime runs for a moment with
// another configuration, the kubelet starts and asks once, and then the runtime goes back. Every file is as it was.
type StaleAnswer struct {
	File    // the runtime's configuration, with the content for the moment
	units   asks[Units]
	Runtime string `json:"runtime"`
	Kubelet string `json:"kubelet"`
	// PID and Start are the kubelet that has the stale answer; any other kubelet has asked anew.
	PID   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"`
	// Began says that the runtime may have been restarted with the other configuration.
	Began bool `json:"began,omitempty"`
	// Settled says that the runtime runs with its own configuration again.
	Settled bool `json:"settled,omitempty"`
}

func (s *StaleAnswer) bind(n Sys) {
	s.File.bind(n)
	s.units.bind(n)
}

func (s *StaleAnswer) Touches() []string { return append(s.File.Touches(), s.Runtime, s.Kubelet) }

func (s *StaleAnswer) Describe() string {
	return fmt.Sprintf("let %s ask %s while that has another %s", s.Kubelet, s.Runtime, s.Path)
}

func (s *StaleAnswer) Do(ctx context.Context, env Env) error {
	s.Began = true
	if err := env.Persist(); err != nil {
		return err
	}
	if err := stopUnit(ctx, s.units.sys, s.Kubelet); err != nil {
		return err
	}
	if err := s.File.Do(ctx, env); err != nil {
		return err
	}
	if err := restart(ctx, s.units.sys, s.Runtime); err != nil {
		return err
	}
	if err := startUnit(ctx, s.units.sys, s.Kubelet); err != nil {
		return err
	}
	var err error
	if s.PID, s.Start, err = mainProcess(ctx, s.units.sys, s.Kubelet); err != nil {
		return err
	}
	if err := env.Persist(); err != nil {
		return err
	}
	if err := awaitHealthy(ctx, s.units.sys); err != nil {
		return err
	}
	if err := s.File.Undo(ctx, env); err != nil {
		return err
	}
	return s.settle(ctx, env)
}

func (s *StaleAnswer) settle(ctx context.Context, env Env) error {
	if err := restart(ctx, s.units.sys, s.Runtime); err != nil {
		return err
	}
	s.Settled = true
	return env.Persist()
}

func restart(ctx context.Context, sys Units, unit string) error {
	if err := stopUnit(ctx, sys, unit); err != nil {
		return err
	}
	return startUnit(ctx, sys, unit)
}

func awaitHealthy(ctx context.Context, sys Units) error {
	var last error
	ok, err := await(ctx, sys, healthPoll, timeoutscale.Bound(healthBound), func() (bool, error) {
		last = short(ctx, sys, "curl", "--fail", "--silent", "--show-error", "--max-time", "2", "http://127.0.0.1:10248/healthz")
		return last == nil, nil
	})
	if err != nil || ok {
		return err
	}
	return fmt.Errorf("the kubelet is not healthy %s after its start: %w", healthBound, last)
}

// stale tells whether the kubelet that has the stale answer still runs.
func (s *StaleAnswer) stale(ctx context.Context) (bool, error) {
	return runsStill(ctx, s.units.sys, s.Kubelet, s.PID, s.Start)
}

func (s *StaleAnswer) Pending(ctx context.Context, env Env) (Rest, error) {
	if !s.Began {
		return Rest{}, nil
	}
	r, err := s.File.Pending(ctx, env)
	if err != nil || r.Todo != "" {
		return r, err
	}
	if !s.Settled {
		return Rest{Todo: "restart " + s.Runtime + " with its own configuration"}, nil
	}
	if stale, err := s.stale(ctx); err != nil || !stale {
		return r, err
	}
	return Rest{Todo: "restart " + s.Kubelet + ", so that it asks " + s.Runtime + " again"}, nil
}

func (s *StaleAnswer) Undo(ctx context.Context, env Env) error {
	r, err := s.Pending(ctx, env)
	if err != nil || !s.Began {
		return err
	}
	if r.Todo != "" {
		if err := stopUnit(ctx, s.units.sys, s.Kubelet); err != nil {
			return err
		}
		if err := s.File.Undo(ctx, env); err != nil {
			return err
		}
		if !s.Settled {
			if err := s.settle(ctx, env); err != nil {
				return err
			}
		}
	} else if err := s.File.Undo(ctx, env); err != nil {
		return err
	}
	// An agent that died in Do may have left either of them stopped.
	if err := startUnit(ctx, s.units.sys, s.Runtime); err != nil {
		return err
	}
	return startUnit(ctx, s.units.sys, s.Kubelet)
}

// CutSandbox takes the network interface of a pod's sandbox away, as a crashed network agent or a stray script does.
type CutSandbox struct {
	KillTask // chooses the sandbox
	network  asks[Commands]
}

func (c *CutSandbox) bind(n Sys) {
	c.KillTask.bind(n)
	c.network.bind(n)
}

func (c *CutSandbox) Describe() string {
	if c.Pod == "" {
		return "take the network of a pod's sandbox away"
	}
	return fmt.Sprintf("take the network of pod %s/%s away", c.Namespace, c.Pod)
}

func (c *CutSandbox) inside(ctx context.Context, argv ...string) error {
	_, err := ask(ctx, c.network.sys, append([]string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", c.PID)}, argv...)...)
	return err
}

func (c *CutSandbox) Save(ctx context.Context, env Env) error {
	c.Sandbox = true
	if err := c.KillTask.Save(ctx, env); err != nil {
		return err
	}
	if err := c.inside(ctx, "ip", "link", "show", "eth0"); err != nil {
		return fmt.Errorf("sandbox %s has no eth0 (is the pod on the host's network?): %w", c.ID, err)
	}
	return nil
}

func (c *CutSandbox) Do(ctx context.Context, env Env) error {
	return c.inside(ctx, "ip", "link", "delete", "eth0")
}

// Effect implements OneOff for the KillTask within: what is measured here is what is pending.
func (*CutSandbox) Effect() (string, error) { return "", nil }

// cut tells whether the very sandbox still runs and has no interface.
func (c *CutSandbox) cut(ctx context.Context) (bool, error) {
	if p, err := alive(c.sys, c.PID, c.Start); err != nil || p == nil {
		return false, err
	}
	if err := c.inside(ctx, "ip", "link", "show", "lo"); err != nil {
		return false, err
	}
	return c.inside(ctx, "ip", "link", "show", "eth0") != nil, nil
}

func (c *CutSandbox) Pending(ctx context.Context, env Env) (Rest, error) {
	cut, err := c.cut(ctx)
	return todo(cut, err, "have sandbox %s made anew", c.ID)
}

// A veth pair that is gone does not come back; the kubelet makes a new sandbox when this one has died.
func (c *CutSandbox) Undo(ctx context.Context, env Env) error {
	return undo(ctx, env, c, func() error { return c.KillTask.Do(ctx, env) })
}
