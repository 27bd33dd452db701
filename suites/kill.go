package suites

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/retry"
)

// Point is where in a run its process may be killed, to prove that nothing is left behind all the same.
type Point string

// Points besides the beginnings of the seven steps, which go by the steps' names.
const (
	// MidInject is while the node is at the fault's middle action: its journal has the injection and the harness no answer.
	MidInject Point = "mid-inject"
	// MidRemediate is when half of the remedies' steps are done; of a single step, when it has begun.
	MidRemediate Point = "mid-remediate"
)

// Points lists them in the order in which a run gets there.
func Points() []Point {
	var out []Point
	for _, s := range v1alpha1.Steps() {
		out = append(out, Point(s))
		switch s {
		case v1alpha1.StepInject:
			out = append(out, MidInject)
		case v1alpha1.StepRemediate:
			out = append(out, MidRemediate)
		}
	}
	return out
}

// kill ends this process at a point of a run.
type kill struct {
	at        Point
	interrupt bool // as Ctrl-C does, once
	once      sync.Once
	remaining int // steps of the remedies until their middle
}

func newKill(o Options) *kill { return &kill{at: o.KillAt, interrupt: o.Interrupt} }

// here ends this process if this is the point, and does not return then; or interrupts it.
func (k *kill) here(p Point) {
	if k.at != p {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		panic(err) // never on a system that has signals
	}
	if k.interrupt {
		k.once.Do(func() { _ = self.Signal(os.Interrupt) })
		return
	}
	_ = self.Kill()
	select {} // the signal is on its way
}

// whileInjecting ends this process as soon as the node's journal has the injection, while the call that makes it is under way.
func (k *kill) whileInjecting(ctx context.Context, call time.Duration, agent fault.Agent, id string) {
	for ctx.Err() == nil {
		list, err := retry.Within(ctx, call, agent.Status)
		if err == nil && slices.ContainsFunc(list, func(s injectors.Status) bool { return s.ID == id && s.State != injectors.Planned }) {
			k.here(MidInject)
		}
	}
}

// middle is the index of the middle one of n.
func middle(n int) int { return n / 2 }
