package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// Check is one thing that was proven of a lab, or not.
type Check struct {
	Name string `json:"name"`
	Want string `json:"want"`
	Got  string `json:"got"`
	OK   bool   `json:"ok"`
}

// Proof is what `lab verify` found of one lab.
type Proof struct {
	Code     string  `json:"code"`
	Scenario string  `json:"scenario"`
	Checks   []Check `json:"checks"`
	TookMS   int64   `json:"tookMs"`
	// Faults are how often the node was made ill for it.
	Faults int `json:"faults"`
	// Unproven says why it could not be gone through with.
	Unproven string `json:"unproven,omitempty"`
	// Of is what was proven, as a hash: a lab that was changed since has to be proven again. Version is sickbay's.
	Of      string    `json:"of,omitempty"`
	Version string    `json:"version,omitempty"`
	At      time.Time `json:"at,omitzero"`
}

// OK: everything was proven.
func (p Proof) OK() bool {
	return p.Unproven == "" && len(p.Checks) > 0 && !slices.ContainsFunc(p.Checks, func(c Check) bool { return !c.OK })
}

// Fault is a lab's fault in place, with what takes it away.
type Fault struct {
	*World
	Before Snapshot
	End    func(context.Context) error
}

// Verifier proves labs on a cluster.
type Verifier struct {
	Course *scenarios.Course
	// Place makes a node ill, and looks at the cluster once it is.
	Place   func(context.Context) (*Fault, error)
	Timings Timings
	// Signs bounds how long signs of the fault take: PLEG's three minutes and what comes before them.
	Signs time.Duration
	// Refusal bounds how long a wrong fix takes to be refused for its reason.
	Refusal time.Duration
	Detail  func(string)

	now   *Fault
	ill   Verdict // while nothing is solved
	proof Proof
}

func (v *Verifier) detail(format string, args ...any) {
	if v.Detail != nil {
		v.Detail(fmt.Sprintf(format, args...))
	}
}

func (v *Verifier) check(name, want, got string, ok bool) {
	v.proof.Checks = append(v.proof.Checks, Check{name, want, got, ok})
}

// Verify proves the lab. Only what could not be tried at all is an error; what is not as it should be stands in the proof.
func (v *Verifier) Verify(ctx context.Context) Proof {
	began := time.Now()
	v.proof = Proof{Code: v.Course.Of.Spec.Code, Scenario: v.Course.Metadata.Name}
	if v.Signs == 0 {
		v.Signs, v.Refusal = timeoutscale.Bound(7*time.Minute), timeoutscale.Bound(30*time.Second)
	}
	err := v.all(ctx)
	err = errors.Join(err, v.end(context.WithoutCancel(ctx)))
	if err != nil {
		v.proof.Unproven = err.Error()
	}
	v.proof.TookMS = time.Since(began).Milliseconds()
	return v.proof
}

func (v *Verifier) all(ctx context.Context) error {
	if err := v.place(ctx); err != nil {
		return err
	}
	if err := v.unsolved(ctx); err != nil {
		return err
	}
	if err := v.hints(ctx, true); err != nil {
		return err
	}
	// What can be taken back is tried on one fault, and so is the first right fix. Undoing it with sickbay's own means comes after that:
	// the node is well either way, and there is no other reason to refuse. What cannot be taken back has a fault of its own.
	var recovers, alone []v1alpha1.LabMutant
	for _, m := range v.Course.Of.Spec.Mutants {
		switch {
		case len(m.Does) > 0 && len(m.Undo) == 0:
			alone = append(alone, m)
		case m.Name == recovering:
			recovers = append(recovers, m)
		default:
			if err := v.mutant(ctx, m); err != nil {
				return err
			}
		}
	}
	ways := append([]v1alpha1.LabWay{{Name: "the finding's remedy"}}, v.Course.Of.Spec.Solve...)
	for i, w := range ways {
		if err := v.solve(ctx, w, i == len(ways)-1); err != nil {
			return err
		}
		for _, m := range recovers {
			if err := v.mutant(ctx, m); err != nil {
				return err
			}
		}
		recovers = nil
	}
	for _, m := range alone {
		if err := errors.Join(v.end(ctx), v.mutant(ctx, m)); err != nil {
			return err
		}
	}
	return nil
}

// place makes sure that a fault is in place.
func (v *Verifier) place(ctx context.Context) error {
	if v.now != nil {
		return nil
	}
	v.detail("making the node ill")
	f, err := v.Place(ctx)
	if err != nil {
		return fmt.Errorf("make the node ill: %w", err)
	}
	v.now = f
	v.proof.Faults++
	return nil
}

func (v *Verifier) end(ctx context.Context) error {
	if v.now == nil {
		return nil
	}
	f := v.now
	v.now = nil
	v.detail("undoing everything")
	return f.End(ctx)
}

func (v *Verifier) referee() *Referee {
	return &Referee{World: v.now.World, Before: v.now.Before, Timings: v.Timings, Detail: v.Detail}
}

// unsolved: the referee refuses a lab on which nobody has done anything, for no other reason than that it is ill.
func (v *Verifier) unsolved(ctx context.Context) error {
	v.detail("asking the referee while nothing is solved")
	var last Verdict
	err := v.until(ctx, v.Signs, func(ctx context.Context) (bool, error) {
		var err error
		last, err = v.referee().Look(ctx)
		return err == nil && last.For(v1alpha1.RefusedStillIll), err
	})
	v.ill = last
	v.check("unsolved", string(v1alpha1.RefusedStillIll), reasons(last), err == nil && reasons(last) == string(v1alpha1.RefusedStillIll))
	return ctx.Err()
}

// hints asks each hint's proof until it answers as it must.
func (v *Verifier) hints(ctx context.Context, want bool) error {
	for i, h := range v.Course.Of.Spec.Hints {
		if h.While == (v1alpha1.LabCheck{}) {
			continue
		}
		v.detail("asking the proof of hint %d", i+1)
		err := v.until(ctx, v.Signs, func(ctx context.Context) (bool, error) {
			yes, err := v.now.Holds(ctx, h.While)
			return yes == want, err
		})
		got := fmt.Sprint(want)
		if err != nil {
			got = "not: " + err.Error()
		}
		when := map[bool]string{true: "while it is ill", false: "once it is well"}[want]
		v.check(fmt.Sprintf("hint %d %s", i+1, when), fmt.Sprint(want), got, err == nil)
	}
	return ctx.Err()
}

func (v *Verifier) mutant(ctx context.Context, m v1alpha1.LabMutant) error {
	want, do, err := mutant(m)
	if err != nil {
		return err
	}
	if err := v.place(ctx); err != nil {
		return err
	}
	v.detail("trying the wrong fix %s", m.Name)
	undo, err := do(ctx, v.now.World)
	if err != nil {
		v.check("mutant "+m.Name, string(want), "could not be done: "+err.Error(), false)
	} else {
		last, ok := v.refused(ctx, want)
		v.check("mutant "+m.Name, string(want), reasons(last), ok)
	}
	if undo == nil {
		return errors.Join(v.end(ctx), ctx.Err())
	}
	if err := undo(ctx); err != nil {
		v.check("undo of mutant "+m.Name, "done", err.Error(), false)
		return errors.Join(v.end(ctx), ctx.Err())
	}
	return ctx.Err()
}

// refused waits until the referee refuses for a reason. That it is still ill has to stay so: right after a change everything is.
func (v *Verifier) refused(ctx context.Context, want v1alpha1.Refusal) (last Verdict, ok bool) {
	stays := want == v1alpha1.RefusedStillIll
	err := v.until(ctx, v.Refusal, func(ctx context.Context) (bool, error) {
		x, err := v.referee().Look(ctx)
		if err != nil {
			return false, err
		}
		last = x
		return x.For(want) != stays, nil
	})
	return last, (err == nil) != stays && len(last.Goals) > 0 && ctx.Err() == nil
}

// solve tries a right fix; without commands it is the findings' remedy. The first is tried on the fault that wrong fixes were tried on,
// if that is as it was. What they have left may be in its way all the same: what is not accepted there is tried on a fault of its own.
func (v *Verifier) solve(ctx context.Context, w v1alpha1.LabWay, last bool) error {
	verdict, got := Verdict{}, ""
	if len(w.Does) == 0 && v.now != nil && v.asItWas(ctx) {
		signs := v.Signs
		v.Signs /= 2 // they are there; what does not help here may help on a fault of its own
		verdict, got = v.solved(ctx, w)
		v.Signs = signs
	}
	if !verdict.Solved && ctx.Err() == nil {
		if err := v.end(ctx); err != nil {
			return err
		}
		if err := v.place(ctx); err != nil {
			return err
		}
		verdict, got = v.solved(ctx, w)
	}
	v.check("solved by "+w.Name, "accepted", strings.TrimSpace(got), verdict.Solved)
	if verdict.Solved && last {
		return v.hints(ctx, false)
	}
	return ctx.Err()
}

// asItWas waits for goals to stand as they did when nothing was solved, and for the hints' proofs.
func (v *Verifier) asItWas(ctx context.Context) bool {
	// A kubelet that ran for a moment is missed 40 s after its last word.
	return v.until(ctx, 2*v.Refusal, func(ctx context.Context) (bool, error) {
		x, err := v.referee().Look(ctx)
		if err != nil || !asIll(v.ill, x, len(v.Course.Of.Spec.Goals)) {
			return false, err
		}
		return v.hinted(ctx)
	}) == nil
}

// asIll: a lab's own goals stand as they did, and of the others none is met that was not. A pod that was deleted does not come back to a
// node that starts none.
func asIll(was, is Verdict, own int) bool {
	if len(was.Goals) != len(is.Goals) || reasons(is) != reasons(was) {
		return false
	}
	for i, g := range was.Goals {
		if g.Met != is.Goals[i].Met && (i < own || !g.Met) {
			return false
		}
	}
	return true
}

func (v *Verifier) solved(ctx context.Context, w v1alpha1.LabWay) (verdict Verdict, got string) {
	v.detail("solving it: %s", w.Name)
	var err error
	if len(w.Does) == 0 {
		err = v.remedy(ctx)
	} else if err = v.unsolvedYet(ctx); err == nil {
		err = v.now.Do(ctx, w.Does)
	}
	if err == nil {
		verdict, err = v.judged(ctx)
	}
	switch {
	case verdict.Solved:
		return verdict, "accepted"
	case err != nil:
		return verdict, reasons(verdict) + unmet(verdict) + " " + err.Error()
	}
	return verdict, reasons(verdict) + unmet(verdict)
}

// judged waits until nothing speaks against it, and then has the referee take its time. One whole judgement may meet a pod's back-off:
// the second decides.
func (v *Verifier) judged(ctx context.Context) (verdict Verdict, err error) {
	for range 2 {
		err := v.until(ctx, v.Signs, func(ctx context.Context) (bool, error) {
			x, err := v.referee().Look(ctx)
			if err != nil {
				return false, err // what the last whole look saw is told
			}
			verdict = x
			return x.Well(), nil
		})
		if err != nil {
			return verdict, err
		}
		if verdict, err = v.referee().Judge(ctx); err != nil || verdict.Solved || verdict.For(v1alpha1.RefusedNotLasting) {
			return verdict, err
		}
	}
	return verdict, nil
}

// unsolvedYet waits until the fault shows, by all that hints tell of it: a fix that comes before it fixes nothing, or finds nothing to fix.
func (v *Verifier) unsolvedYet(ctx context.Context) error {
	return v.until(ctx, v.Signs, func(ctx context.Context) (bool, error) {
		x, err := v.referee().Look(ctx)
		if err != nil || x.Well() {
			return false, err
		}
		return v.hinted(ctx)
	})
}

// hinted says that all hints' proofs hold.
func (v *Verifier) hinted(ctx context.Context) (bool, error) {
	for _, h := range v.Course.Of.Spec.Hints {
		if h.While == (v1alpha1.LabCheck{}) {
			continue
		}
		if yes, err := v.now.Holds(ctx, h.While); err != nil || !yes {
			return false, err
		}
	}
	return true, nil
}

// remedyRounds: behind one illness another may show.
const remedyRounds = 3

func (v *Verifier) remedy(ctx context.Context) error {
	tried := map[string]bool{}
	for range remedyRounds {
		var found []v1alpha1.Finding
		err := v.until(ctx, v.Signs, func(ctx context.Context) (bool, error) {
			d, err := v.now.Diagnose(ctx)
			if err != nil {
				return false, err
			}
			found = slices.DeleteFunc(d.Findings, func(f v1alpha1.Finding) bool {
				return f.Node != v.now.ill() || f.Remedy == nil || tried[f.Name()]
			})
			if len(found) > 0 {
				return true, nil
			}
			x, err := v.referee().Look(ctx)
			return err == nil && len(tried) >= len(v.Course.Spec.Expect) && x.Well(), err
		})
		if err != nil && len(tried) == 0 {
			return fmt.Errorf("no detector found it: %w", err)
		}
		if len(found) == 0 {
			return nil
		}
		for _, f := range found {
			tried[f.Name()] = true
			if err := v.now.Remedy(ctx, f.Node, f.Remedy, func(v1alpha1.AppliedStep) {}); err != nil {
				return fmt.Errorf("apply %s: %w", f.Remedy.Name, err)
			}
		}
		if len(tried) >= len(v.Course.Spec.Expect) {
			return nil
		}
	}
	return nil
}

func (v *Verifier) until(ctx context.Context, bound time.Duration, f func(context.Context) (bool, error)) error {
	return retry.Until(ctx, v.Timings.Poll, bound, f)
}

// reasons are the reasons of a verdict in one line.
func reasons(v Verdict) string {
	var out []string
	for _, r := range v.Refused {
		if !slices.Contains(out, string(r.Reason)) {
			out = append(out, string(r.Reason))
		}
	}
	return strings.Join(out, ", ")
}

func unmet(v Verdict) string {
	var out strings.Builder
	for _, g := range v.Goals {
		if !g.Met {
			fmt.Fprintf(&out, "; %s %s", g.Says.En, g.Why)
		}
	}
	return out.String()
}
