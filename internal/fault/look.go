package fault

import (
	"context"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/retry"
)

// Looker looks at nodes again and again.
type Looker struct {
	*diagnose.Watcher
	node    string // the victim
	t       Timings
	onLook  func(*v1alpha1.Observation)
	lastDur time.Duration // of the last look
}

// NewLooker returns one for a victim. onLook, if any, gets each look at it.
func NewLooker(w *diagnose.Watcher, node string, t Timings, onLook func(*v1alpha1.Observation)) *Looker {
	return &Looker{Watcher: w, node: node, t: t, onLook: onLook}
}

// Observe looks at the victim, and at other nodes with it.
func (l *Looker) Observe(ctx context.Context, others ...string) (*v1alpha1.Observation, error) {
	began := time.Now()
	got, err := l.LookAt(ctx, append(others, l.node)...)
	l.lastDur = time.Since(began)
	if err != nil {
		return nil, err
	}
	o := got[l.node]
	if l.onLook != nil {
		l.onLook(&o)
	}
	return &o, nil
}

// Pause waits before the next look: at least as long as the last one took, up to twice Poll. Eight scenarios side by side on two cores
// otherwise keep each other waiting with their looks (0.2 s of CPU each); a look at a hung runtime takes 4 s and costs no more.
func (l *Looker) Pause(ctx context.Context, started time.Time) error {
	d := l.t.Poll
	if time.Since(started) > l.t.SlowAfter {
		d = l.t.SlowPoll
	}
	return retry.Sleep(ctx, max(d, min(l.lastDur, 2*l.t.Poll)))
}

// Until looks at the victim until f says yes, or ctx ends. The error at ctx's end is ctx's own: the caller says what was missing.
func (l *Looker) Until(ctx context.Context, f func(*v1alpha1.Observation) (bool, error)) error {
	for started := time.Now(); ; {
		o, err := l.Observe(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		if yes, err := f(o); err != nil || yes {
			return err
		}
		if err := l.Pause(ctx, started); err != nil {
			return err
		}
	}
}
