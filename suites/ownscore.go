package suites

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/suites/detector"
)

// ownResult is the result of sickbay's own detectors, drawn from the run's steps: they are the strictest measure there is.
func (r *run) ownResult() v1alpha1.DetectorResult {
	d := v1alpha1.DetectorResult{Detector: detector.OwnName, Role: v1alpha1.RoleContestant, Expected: []v1alpha1.Detected{}}
	detect := r.stepResult(v1alpha1.StepDetect)
	if detect == nil || detect.Verdict != v1alpha1.VerdictPassed && detect.Verdict != v1alpha1.VerdictFailed {
		d.Verdict, d.Reason = v1alpha1.VerdictUnknown, "not judged: the run ended at "+string(r.res.FailedAt)
	} else {
		d.Verdict, d.Reason = detect.Verdict, detect.Reason
	}
	first, last := split(r.sc.Spec.Expect)
	x := &contestant{}
	for _, e := range first {
		x.expected = append(x.expected, v1alpha1.Detected{Failure: e.Failure, Cause: e.Cause})
	}
	for i := range x.expected {
		e := &x.expected[i]
		x.detect(e, r.named, r.victim, r.res.Clocks.Finding)
		if e.Found {
			e.AfterSignal = e.Seconds - r.res.Clocks.Signal
		}
		d.Expected = append(d.Expected, *e)
	}
	for _, f := range r.named {
		place := v1alpha1.WrongVictim
		switch {
		case f.Node != r.victim:
			place = v1alpha1.WrongBystander
		case r.sc.Spec.Profile == v1alpha1.ProfileDecoy:
			place = v1alpha1.WrongDecoy
		case slices.ContainsFunc(slices.Concat(first, last), func(e v1alpha1.Expected) bool { return e.Failure == f.Failure && e.Cause == f.Cause }):
			continue
		}
		d.Wrong = append(d.Wrong, v1alpha1.WrongFinding{Name: f.Name(), Node: f.Node, Place: place, Looks: 1})
	}
	if r.acted {
		d.Action = r.action(len(d.Expected) > 0 && !slices.ContainsFunc(d.Expected, func(e v1alpha1.Detected) bool { return !e.RightCause }))
	}
	return d
}

// score puts the detectors' results into the run's, in the order in which they were given.
func (r *run) score() {
	entries := r.s.opts.Detectors
	if r.res.Control != v1alpha1.ControlNone || r.res.Verdict == v1alpha1.VerdictUnsupported || len(entries) == 0 {
		r.res.Detectors = nil
		return
	}
	r.contest.unjudged()
	if r.contest.own && !r.actor {
		r.res.Detectors = append(r.res.Detectors, r.ownResult())
	}
	place := func(name string) int {
		return slices.IndexFunc(entries, func(e detector.Entry) bool { return e.Name == name })
	}
	slices.SortStableFunc(r.res.Detectors, func(a, b v1alpha1.DetectorResult) int { return place(a.Detector) - place(b.Detector) })
}

func (r *run) stepResult(name v1alpha1.StepName) *v1alpha1.StepResult {
	for i := range r.res.Steps {
		if r.res.Steps[i].Name == name {
			return &r.res.Steps[i]
		}
	}
	return nil
}

// action is what the remedy of this run did.
func (r *run) action(causeRight bool) *v1alpha1.ActionResult {
	a := &v1alpha1.ActionResult{Run: r.id, Acted: r.acted, CauseRight: causeRight, PodsKilled: r.killed, Restarts: r.restarted, Residue: slices.Clone(r.res.Residue)}
	if st := r.stepResult(v1alpha1.StepClear); st != nil && st.Verdict == v1alpha1.VerdictPassed {
		a.Cleared, a.Seconds = true, r.res.Clocks.Cleared-r.res.Clocks.Finding
	} else {
		a.Reason = r.res.Reason
	}
	if st := r.stepResult(v1alpha1.StepResidue); a.Cleared && st != nil && st.Verdict == v1alpha1.VerdictFailed && len(a.Residue) == 0 {
		a.Residue = []string{st.Reason}
	}
	return a
}

// wellPods are the pods of the victim that are Ready, with the restarts of their containers.
func (r *run) wellPods() map[string]corev1.Pod {
	out := map[string]corev1.Pod{}
	for _, p := range r.podsNow() {
		if fault.PodReady(&p) && p.DeletionTimestamp == nil {
			out[string(p.UID)] = p
		}
	}
	return out
}

func (r *run) podsNow() []corev1.Pod {
	h := r.look.Histories()[r.victim]
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].API != nil {
			return h[i].API.Pods
		}
	}
	return nil
}

// acts notes that a remedy begins.
func (r *run) acts() { r.acted, r.well = true, r.wellPods() }

// disturbed counts which pods that were well the remedy has cost. The run's own proof pods are not of it.
func (r *run) disturbed() {
	if !r.acted {
		return
	}
	now := map[string]corev1.Pod{}
	for _, p := range r.podsNow() {
		now[string(p.UID)] = p
	}
	r.killed, r.restarted = nil, 0
	for uid, was := range r.well {
		if was.Labels["sickbay.dev/role"] == "proof" {
			continue
		}
		is, there := now[uid]
		if !there {
			r.killed = append(r.killed, was.Namespace+"/"+was.Name)
			continue
		}
		for _, c := range was.Status.ContainerStatuses {
			for _, n := range is.Status.ContainerStatuses {
				if n.Name == c.Name {
					r.restarted += int(n.RestartCount - c.RestartCount)
				}
			}
		}
	}
	slices.Sort(r.killed)
}

// actOn runs a scenario once more for the remedy of a detector that acts, and notes in its result what came of it.
func (s *session) actOn(ctx context.Context, it item, e detector.Entry, node string, to *v1alpha1.DetectorResult) error {
	id := s.newRunID(it.sc)
	s.mu.Lock()
	s.runs = append(s.runs, id)
	s.mu.Unlock()
	r := newRun(s, it.sc, id, node)
	r.repeat = it.repeat
	r.control.onTheWay = false
	r.actor = true
	r.contest = newContest(r, []detector.Entry{e})
	res, err := r.do(ctx)
	if errors.Is(err, ErrInterrupted) || res == nil {
		return err
	}
	right := len(res.Detectors) == 1 && len(res.Detectors[0].Expected) > 0
	for _, d := range res.Detectors {
		right = right && !slices.ContainsFunc(d.Expected, func(x v1alpha1.Detected) bool { return !x.RightCause })
	}
	to.Action = r.action(right)
	if res.Recover != "" {
		s.retire(node, fmt.Sprintf("%s: not clean after run %s; undo it with: %s", node, id, res.Recover))
	}
	return err
}

// remediateByDetector asks the detector of an acting run to remedy what it has found.
func (r *run) remediateByDetector(ctx context.Context, st step) error {
	x := r.contest.list[0]
	if !slices.ContainsFunc(x.answer, func(f v1alpha1.Finding) bool { return f.Node == r.victim }) {
		return fault.Failf("detector %s found nothing on %s to remedy", x.entry.Name, r.victim)
	}
	for _, e := range r.res.Detectors[0].Expected {
		r.res.Clocks.Finding = max(r.res.Clocks.Finding, e.Seconds)
	}
	if err := r.fault.Record().Remedy(); err != nil {
		return fmt.Errorf("write down that a remedy begins: %w", err)
	}
	look := r.contest.look(ctx, x)
	look.Act, look.Diagnosis = true, &v1alpha1.Diagnosis{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindDiagnosis, Cluster: look.Cluster,
		Nodes: []string{}, Findings: x.answer, Unknown: []v1alpha1.NodeUnknown{}}
	for _, n := range look.Nodes {
		look.Diagnosis.Nodes = append(look.Diagnosis.Nodes, n.Name)
	}
	r.acts()
	r.task.Detail("detector %s remedies %s", x.entry.Name, strings.Join(findingNames(x.answer), ", "))
	if _, err := x.Ask(ctx, look, r.bound(v1alpha1.StepRemediate)); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return fault.Failf("detector %s could not remedy it: %s", x.entry.Name, err)
	}
	r.res.Clocks.Remedied = r.since()
	st.saw("detector %s remedied %s", x.entry.Name, strings.Join(findingNames(x.answer), ", "))
	return nil
}
