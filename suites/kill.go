package suites

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
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

// underWay is how long a single step of a remedy has been under way when the process is killed: `docker exec` takes 60 ms to begin.
const underWay = 100 * time.Millisecond

// strike kills this process if this is the point, and does not return then; or interrupts it, once, as Ctrl-C does.
func (r *run) strike(p Point) {
	if r.s.opts.KillAt != p {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		panic(err) // never on a system that has signals
	}
	if r.s.opts.Interrupt {
		r.struck.Do(func() { _ = self.Signal(os.Interrupt) })
		return
	}
	_ = self.Kill()
	select {} // the signal is on its way
}

// strikeWhile kills this process as soon as the node's journal has the injection, while the call that makes it is under way.
func (r *run) strikeWhile(ctx context.Context, agent Agent, id string) {
	for ctx.Err() == nil {
		list, err := retry.Within(ctx, r.t.Call, agent.Status)
		if err == nil && slices.ContainsFunc(list, func(s injectors.Status) bool { return s.ID == id && s.State != injectors.Planned }) {
			r.strike(MidInject)
		}
	}
}

// middle is the index of the middle one of n.
func middle(n int) int { return n / 2 }
