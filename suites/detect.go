package suites

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/retry"
)

// detect asks the detectors, blind, until they name what the scenario expects and nothing else, on the right node, and all
// other nodes are silent; several looks in a row have to agree.
func (r *run) detect(ctx context.Context, st step) error {
	first, later := split(r.sc.Spec.Expect)
	var err error
	if r.contest.own {
		// Others may take longer, and what they have in addition is not sickbay's.
		own, cancel := context.WithTimeout(ctx, r.t.bound(r.sc, v1alpha1.StepDetect))
		r.named, err = r.name(own, st, first, later, r.agreed)
		cancel()
		r.res.Findings, r.findings = r.named, r.named
	}
	if missed := r.contest.wait(ctx, st, 0); !r.contest.own && !r.actor {
		err = missed
	}
	if dir := r.bundleDir(); dir != "" {
		r.writeBundle(dir, "baseline to finding")
		r.detected = true
	}
	return err
}

// silent is detect for a decoy: the oddity is there, and no detector speaks on any node for twice the time that counts as cleared.
func (r *run) silent(ctx context.Context, st step) error {
	if !r.contest.own {
		return r.contest.wait(ctx, st, 2*r.t.Quiet)
	}
	began := time.Now()
	for looks := 0; looks < r.t.QuietLooks || time.Since(began) < 2*r.t.Quiet; looks++ {
		d, err := r.lookAround(ctx)
		if err != nil {
			return err
		}
		if len(d.Findings) > 0 {
			r.res.Findings, r.named = d.Findings, d.Findings
			_ = r.contest.wait(ctx, st, 0)
			return fault.Failf("this is no illness, and still detectors say: %s", strings.Join(summaries(d.Findings), "; "))
		}
		r.detail("silent for %s of %s", time.Since(began).Round(time.Second), 2*r.t.Quiet)
		if err := retry.Sleep(ctx, r.t.Poll); err != nil {
			return err
		}
	}
	st.saw("no detector spoke on any node for %s", 2*r.t.Quiet)
	_ = r.contest.wait(ctx, st, 0)
	return nil
}

// name waits until exactly the expected findings are named, and returns the last ones that were. agreed says that the look before was right
// about the victim: where a runtime hangs, each look takes seconds.
func (r *run) name(ctx context.Context, st step, expected, allowed []v1alpha1.Expected, agreed bool) ([]v1alpha1.Finding, error) {
	started := time.Now()
	sure := 0
	around := agreed
	var last []v1alpha1.Finding
	if agreed {
		sure = 1
		if err := r.look.Pause(ctx, started); err != nil {
			return nil, err
		}
	}
	var a assessment
	flicker := map[string]int{}
	var lookErr error
	var another time.Time
	for {
		// The victim alone while it is not yet right; everybody from then on.
		var findings []v1alpha1.Finding
		if around = around || (a.ok() && last != nil); around {
			d, err := r.lookAround(ctx)
			lookErr = err
			findings = d.Findings
		} else {
			if _, lookErr = r.look.Observe(ctx); lookErr == nil {
				findings = r.judge(r.victim).Findings
			}
		}
		if lookErr == nil {
			last = findings
			a = assess(findings, r.victim, expected, allowed)
			for _, w := range a.wrong {
				flicker[w]++
			}
			if a.ok() {
				if r.res.Clocks.Finding == 0 {
					r.res.Clocks.Finding = r.since()
					r.rec.add(v1alpha1.TimelineEntry{Kind: v1alpha1.EntryFinding, Node: r.victim, Text: "first named: " + strings.Join(findingNames(findings), ", ")})
				}
				sure++
			} else {
				sure = 0
			}
			// The first agreeing look saw only the victim, and does not count.
			if sure > r.t.SureLooks {
				break
			}
			r.detail("detectors say %s", orNothing(strings.Join(findingNames(findings), ", ")))
			if r.anotherIllness(a, &another) {
				return last, fault.Failf("detectors, asked blind, went on to say %s: %s", strings.Join(findingNames(last), ", "), a)
			}
		}
		if err := r.look.Pause(ctx, started); err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				return last, err
			}
			if lookErr != nil && last == nil {
				return last, fmt.Errorf("look at node %s: %w", r.victim, lookErr)
			}
			if a.ok() {
				return last, fault.Failf("detectors, asked blind, said %s, which is right, but not in %d looks in a row before the time was over", strings.Join(findingNames(last), ", "), r.t.SureLooks)
			}
			return last, fault.Failf("detectors, asked blind, said %s: %s", orNothing(strings.Join(findingNames(last), ", ")), a)
		}
	}
	r.writeNamed(st, last, flicker)
	return last, nil
}

// writeNamed writes down the findings that were expected, and what was said beside them in earlier looks.
func (r *run) writeNamed(st step, last []v1alpha1.Finding, flicker map[string]int) {
	for _, f := range last {
		st.saw("%s on %s (%s): %s", findingName(f), f.Node, f.Certainty, f.Summary)
		r.rec.add(v1alpha1.TimelineEntry{Kind: v1alpha1.EntryFinding, Node: f.Node, Text: findingName(f) + ": " + f.Summary})
	}
	for _, w := range slices.Sorted(maps.Keys(flicker)) {
		st.saw("for %d look(s) before that, also %s", flicker[w], w)
	}
	if r.bystanders > 0 {
		st.saw("%d other node(s) silent", r.bystanders)
	}
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
