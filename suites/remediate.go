package suites

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
)

// remediate applies the findings' own remedies. What shows only behind a first illness is found and remedied in further rounds.
// It never asks an agent to recover.
func (r *run) remediate(ctx context.Context, st step) error {
	if r.control.current == v1alpha1.ControlNoRemedy {
		st.saw("the remedy is withheld")
		return nil
	}
	first, later := split(r.sc.Spec.Expect)
	findings := r.findings
	r.acts()
	done := slices.Clone(first)
	for {
		if err := r.applyAll(ctx, st, findings); err != nil {
			return err
		}
		r.res.Clocks.Remedied = r.since()
		if len(later) == 0 {
			return nil
		}
		r.look.Restart()
		allowed := slices.Concat(done, later)
		next, err := r.nextIllness(ctx, st, later, allowed)
		if err != nil {
			return err
		}
		r.res.Findings = append(r.res.Findings, next...)
		later = slices.DeleteFunc(slices.Clone(later), func(e v1alpha1.Expected) bool {
			return slices.ContainsFunc(next, func(f v1alpha1.Finding) bool { return f.Failure == e.Failure && f.Cause == e.Cause })
		})
		findings = next
	}
}

// nextIllness waits for at least one of the findings that only show after a remedy.
func (r *run) nextIllness(ctx context.Context, st step, later, allowed []v1alpha1.Expected) ([]v1alpha1.Finding, error) {
	bound, cancel := context.WithTimeout(ctx, r.t.bound(r.sc, v1alpha1.StepDetect))
	defer cancel()
	var next []v1alpha1.Finding
	var last []v1alpha1.Finding
	err := r.look.Until(bound, func(*v1alpha1.Observation) (bool, error) {
		last = r.judge(r.victim).Findings
		r.detail("waiting for what was hidden behind it: %s; detectors say %s", strings.Join(names(later), ", "), orNothing(strings.Join(findingNames(last), ", ")))
		if a := assess(last, r.victim, nil, allowed); len(a.wrong) > 0 {
			return false, nil
		}
		next = slices.DeleteFunc(slices.Clone(last), func(f v1alpha1.Finding) bool {
			return !slices.ContainsFunc(later, func(e v1alpha1.Expected) bool { return f.Failure == e.Failure && f.Cause == e.Cause })
		})
		return len(next) > 0, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fault.Failf("after the first remedy detectors said %s instead of %s", orNothing(strings.Join(findingNames(last), ", ")), strings.Join(names(later), " or "))
	}
	for _, f := range next {
		st.saw("behind it: %s on %s: %s", findingName(f), f.Node, f.Summary)
		r.rec.add(v1alpha1.TimelineEntry{Kind: v1alpha1.EntryFinding, Node: f.Node, Text: findingName(f) + ": " + f.Summary})
	}
	return next, err
}

// applyAll applies the remedies of the findings in order, the same remedy for the same object once.
func (r *run) applyAll(ctx context.Context, st step, findings []v1alpha1.Finding) error {
	done := map[string]bool{}
	r.kill.remaining = 0
	for _, f := range findings {
		if f.Remedy == nil || len(f.Remedy.Steps) == 0 {
			return fault.Failf("%s on %s has no remedy", findingName(f), f.Node)
		}
		r.kill.remaining += len(f.Remedy.Steps)
	}
	r.kill.remaining -= middle(r.kill.remaining)
	for _, f := range findings {
		key := f.Remedy.Name
		for _, s := range f.Remedy.Steps {
			key += "\n" + s.On + s.Run
		}
		if done[key] {
			continue
		}
		done[key] = true
		if i := slices.IndexFunc(f.Remedy.Steps, func(s v1alpha1.Step) bool { return s.Class == v1alpha1.Destructive }); i >= 0 && !r.sc.Spec.DestructiveRemedy {
			return fault.Failf("step %d of remedy %s is destructive (%s), and the scenario does not declare destructiveRemedy: %s", i+1, f.Remedy.Name, f.Remedy.Steps[i].Risk, f.Remedy.Steps[i].Run)
		}
		if err := r.apply(ctx, st, findingName(f), f.Remedy); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) apply(ctx context.Context, st step, finding string, remedy *v1alpha1.Remedy) error {
	r.task.Detail("applying %s", remedy.Name)
	if err := r.fault.Record().Remedy(); err != nil {
		return fmt.Errorf("write down that a remedy begins: %w", err)
	}
	if len(remedy.Steps) == 1 {
		defer time.AfterFunc(r.t.UnderWay, func() { r.kill.here(MidRemediate) }).Stop()
	}
	err := r.s.testbed.Remedy(ctx, r.victim, remedy, func(a v1alpha1.AppliedStep) {
		a.Finding, a.Remedy = finding, remedy.Name
		r.res.Remedies = append(r.res.Remedies, a)
		level := ""
		text := a.Step.Run
		if a.Error != "" {
			level = "error"
			text += ": " + a.Error
		}
		st.saw("%s", text)
		if r.kill.remaining--; r.kill.remaining <= 0 {
			r.kill.here(MidRemediate)
		}
		r.rec.add(v1alpha1.TimelineEntry{At: a.Started, Kind: v1alpha1.EntryRemedy, Node: r.victim, Source: remedy.Name, Level: level, Text: text})
		r.task.Detail("applying %s: %s", remedy.Name, a.Step.Run)
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("remedy %s: %w", remedy.Name, err)
	default:
		return fault.Failf("the remedy %s of %s did not work: %s", remedy.Name, finding, err)
	}
}
