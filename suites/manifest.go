package suites

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
)

func (r *run) noteSignals(fresh []v1alpha1.Signal) {
	for _, s := range fresh {
		r.rec.add(v1alpha1.TimelineEntry{At: s.At, Kind: v1alpha1.EntrySignal, Node: r.victim, Text: s.Want + ": " + s.Text})
	}
}

// inject carries out the fault's actions in order.
func (r *run) inject(ctx context.Context, st step) error {
	if r.control.current == v1alpha1.ControlNoop {
		r.began = time.Now()
		st.saw("noop: nothing was injected")
		return nil
	}
	if err := r.fault.Check(ctx); err != nil {
		return err
	}
	r.began = time.Now()
	r.contest.begin()
	err := r.fault.Inject(ctx)
	if differs := r.fault.Contained(); differs != "" {
		r.res.Fidelity = v1alpha1.Fidelity{Level: "contained", Differs: differs}
	}
	return err
}

// manifest waits for the fault's own signals. Meanwhile the detectors are asked as well, to learn when they first knew: what they say
// decides nothing here, but under noop, when it must be nothing. What they say at the end is detect's first look.
func (r *run) manifest(ctx context.Context, st step) error {
	sig, err := fault.NewSignals(r.victim, r.fault.Namespace(), r.last, r.sc.Spec.Manifest)
	if err != nil {
		return err
	}
	// What the inject step has read already counts: it is later than the baseline's last look.
	first, later := split(r.sc.Spec.Expect)
	var spoke []v1alpha1.Finding
	done := false
	feed := func(o *v1alpha1.Observation) bool {
		fresh := sig.Feed(o)
		r.noteSignals(fresh)
		for _, s := range fresh {
			st.saw("%s: %s", s.Want, s.Text)
			if r.control.current != v1alpha1.ControlNoop {
				r.res.Clocks.Signal = r.since()
			}
		}
		return len(sig.Missing()) == 0
	}
	for _, o := range r.sinceBefore() {
		if done = feed(&o); done {
			break
		}
	}
	if !done {
		err = r.look.Until(ctx, func(o *v1alpha1.Observation) (bool, error) {
			d := r.judge(r.victim)
			if r.control.current == v1alpha1.ControlNoop && len(d.Findings) > 0 {
				spoke = d.Findings
			}
			r.agreed = len(d.Findings) > 0 && assess(d.Findings, r.victim, first, later).ok()
			if r.res.Clocks.Finding == 0 && r.agreed {
				r.res.Clocks.Finding = r.since()
				r.rec.add(v1alpha1.TimelineEntry{Kind: v1alpha1.EntryFinding, Node: r.victim, Text: "first named: " + strings.Join(findingNames(d.Findings), ", ")})
			}
			ok := feed(o)
			if !ok {
				r.detail("waiting for %s (%d of %d seen)", strings.Join(sig.Missing(), ", "), len(sig.Found())-len(sig.Missing()), len(sig.Found()))
			}
			return ok, nil
		})
	}
	r.res.Signals = sig.Found()
	if len(sig.Found()) == 0 {
		st.saw("there is no signal to wait for: the injection has measured its own effect")
	}
	if r.control.current == v1alpha1.ControlNoop {
		r.res.Findings = spoke
		switch {
		case len(spoke) > 0:
			return fault.Failf("nothing was injected, and still detectors say: %s", strings.Join(summaries(spoke), "; "))
		case sig.SeenAny():
			return fault.Failf("nothing was injected, and still a signal of the fault was seen: %s: the scenario's manifest does not prove it", strings.Join(seenSignals(sig), ", "))
		case errors.Is(err, context.DeadlineExceeded):
			return fault.Failf("nothing was injected, and the signal did not come within %s, as it must not: %s", r.bound(v1alpha1.StepManifest), strings.Join(sig.Missing(), ", "))
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.Failf("the fault was injected and did not show: after %s still no %s", r.bound(v1alpha1.StepManifest), strings.Join(sig.Missing(), ", "))
	}
	return err
}

func seenSignals(s *fault.Signals) []string {
	var out []string
	for _, f := range s.Found() {
		if !f.At.IsZero() {
			out = append(out, f.Want)
		}
	}
	return out
}

// sinceBefore are the victim's looks after the baseline.
func (r *run) sinceBefore() []v1alpha1.Observation {
	var out []v1alpha1.Observation
	for _, o := range r.look.Histories()[r.victim] {
		if r.last != nil && o.At.After(r.last.At) {
			out = append(out, o)
		}
	}
	return out
}
