package suites

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
)

// begin is the step baseline: it proves that everything is well before the run starts, makes the node able to host the fault, and takes the
// fingerprint that residue compares with.
func (r *run) begin(ctx context.Context, st step) error {
	if err := r.fault.Supported(); err != nil {
		return err
	}
	if err := r.fault.Clean(ctx); err != nil {
		return err
	}
	r.task.Detail("looking at all nodes")
	if err := r.silence(ctx, 1); err != nil {
		return err
	}
	st.saw("node %s is Ready, nothing is injected on it and no detector speaks", r.victim)

	r.task.Detail("taking a fingerprint of node %s", r.victim)
	taken, err := r.s.testbed.Fingerprint(ctx, r.victim, r.fault.Namespace())
	if err != nil {
		return fmt.Errorf("take a fingerprint of node %s: %w", r.victim, err)
	}
	r.fingerprint = taken
	st.saw("fingerprint of the node taken")

	r.fault.From(r.last)
	for _, do := range []func(context.Context) error{r.fault.Begin, r.fault.Prepare, r.fault.StartWorkload} {
		if err := do(ctx); err != nil {
			return err
		}
	}
	// Preparing restarts kubelet or containerd, and that leaves words in the journal: the baseline begins after them.
	r.look.Restart()
	if err := r.silence(ctx, r.t.SureLooks); err != nil {
		return err
	}
	r.fault.From(r.last)
	st.saw("no detector speaks on any node")
	r.contest.baseline(ctx, st)
	return nil
}

// silence waits until no detector speaks on any watched node and the victim is Ready, for looks in a row. A finding restarts
// the histories, so that old words do not speak for ever.
func (r *run) silence(ctx context.Context, looks int) error {
	quiet := 0
	var last error
	started := time.Now()
	for quiet < looks {
		d, err := r.lookAround(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case err != nil:
		default:
			last = nil
			o := r.look.Histories()[r.victim].Last()
			switch {
			case len(d.Findings) > 0:
				last = fault.Failf("before anything was injected, detectors say: %s", strings.Join(summaries(d.Findings), "; "))
				r.look.Restart()
			case o.API == nil || o.API.Node == nil:
				last = fault.Failf("the API server has no node %s", r.victim)
			case fault.NotReady(o.API.Node) != "":
				last = fault.Failf("node %s is not well before anything was injected: %s", r.victim, fault.NotReady(o.API.Node))
			case !observed(o):
				why, _ := o.Unreadable(v1alpha1.SourceUnits)
				last = fmt.Errorf("node %s cannot be observed: %s", r.victim, why)
			}
			if last != nil {
				quiet = 0
				r.detail("%s", last)
			} else {
				quiet++
				r.last = o
				r.unread = unreadSet(o)
			}
			if quiet >= looks {
				return nil
			}
		}
		if err := r.look.Pause(ctx, started); err != nil {
			if last != nil {
				return last
			}
			return err
		}
	}
	return nil
}

// observed tells whether the agent gave anything at all.
func observed(o *v1alpha1.Observation) bool { return o.TookMS > 0 || len(o.Units) > 0 }

func unreadSet(o *v1alpha1.Observation) map[string]bool {
	out := map[string]bool{}
	for _, u := range o.Unknown {
		out[u.What] = true
	}
	return out
}

func summaries(list []v1alpha1.Finding) []string {
	var out []string
	for _, f := range list {
		out = append(out, fmt.Sprintf("%s on %s: %s", findingName(f), f.Node, f.Summary))
	}
	return out
}
