package suites

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites/detector"
)

// run is one scenario on one worker.
type run struct {
	s      *session
	sc     *scenarios.Scenario
	id     string
	victim string
	t      Timings
	fault  *fault.Session // what is placed on the node, and the run's record on the host
	look   *fault.Looker

	task progress.Task // of the current step
	now  *v1alpha1.StepResult

	control control
	baseline
	outcome
	kill *kill

	host    *share   // of the host's kernel; nil for the further runs of detectors that act
	repeat  int      // which of several runs of the scenario, from 1
	contest *contest // other people's detectors
	actor   bool     // this run is for the remedy of one of them
}

// control is which controls a run is, or makes on its way.
type control struct {
	current    v1alpha1.Control // the run is, or is making right now
	onTheWay   bool             // the others are to be made with this injection
	needsRerun string           // why the remaining steps need an injection of their own
}

// baseline is what was there before the fault.
type baseline struct {
	fingerprint Fingerprint
	last        *v1alpha1.Observation // the last look before the injection
	unread      map[string]bool       // what could not be read at the baseline already
	busy        map[string]bool       // nodes that runs of other processes have held meanwhile
}

// outcome is what a run has seen so far.
type outcome struct {
	res        *v1alpha1.ScenarioResult
	rec        *recorder
	began      time.Time          // of the injection, harness clock
	findings   []v1alpha1.Finding // what the next remedies are for
	bystanders int                // in the last look around
	proofPods  int                // made so far
	agreed     bool               // manifest's last look was right about the victim
	detected   bool               // detect has ended and written its bundle
	named      []v1alpha1.Finding // at the end of detect
	acted      bool               // a remedy has begun
	well       map[string]corev1.Pod
	killed     []string // of those that were well when it began
	restarted  int
}

func newRun(s *session, sc *scenarios.Scenario, id, victim string) *run {
	r := &run{s: s, sc: sc, id: id, victim: victim, t: s.t, kill: newKill(s.opts)}
	r.busy = map[string]bool{}
	r.rec = newRecorder(sc.Metadata.Name)
	r.res = &v1alpha1.ScenarioResult{
		Scenario: sc.Metadata.Name, Title: sc.Spec.Title, Profile: sc.Spec.Profile, Guide: sc.Spec.Guide, Run: id, Node: victim,
		Fidelity: v1alpha1.Fidelity{Level: sc.Spec.Fidelity.Level, Differs: sc.Spec.Fidelity.Differs},
		Steps:    []v1alpha1.StepResult{},
		Expected: names(sc.Spec.Expect),
		Started:  stamp(),
		Control:  s.opts.Controls.control(),
		Labels:   sc.Metadata.Labels,
	}
	r.control.current, r.control.onTheWay = s.opts.Controls.control(), s.opts.Controls.onTheWay(sc)
	placing := s.t.Timings
	placing.Workload, placing.NamespaceGone = s.t.bound(sc, v1alpha1.StepBaseline), s.t.bound(sc, v1alpha1.StepResidue)
	r.look = fault.NewLooker(diagnose.NewWatcher(s.testbed.Target(), diagnose.Options{Since: s.t.History}), victim, placing, r.rec.look)
	var scored []detector.Entry
	if r.control.current == v1alpha1.ControlNone {
		scored = s.opts.Detectors
	}
	r.contest = newContest(r, scored)
	r.fault = fault.New(s.testbed, fault.Options{Scenario: sc, Run: id, Node: victim, Timings: placing, Looker: r.look, Hooks: r.hooks()})
	return r
}

// hooks write down what is done to the node.
func (r *run) hooks() fault.Hooks {
	rec := r.rec
	return fault.Hooks{
		Detail: func(text string) {
			if r.task != nil {
				r.detail("%s", text)
			}
		},
		Note:  func(node, text string) { rec.note(node, "%s", text) },
		Reach: r.s.touch,
		Done: func(node, mechanism, text string) {
			step{r.now}.saw("%s", text)
			if mechanism != "" {
				rec.add(v1alpha1.TimelineEntry{Kind: v1alpha1.EntryInject, Node: node, Source: mechanism, Text: text})
			}
		},
		Signals: r.noteSignals,
		Injecting: func(ctx context.Context, n int, agent fault.Agent, id string) func() {
			if r.kill.at != MidInject || n != middle(len(r.sc.Spec.Inject)) {
				return func() {}
			}
			if agent != nil {
				go r.kill.whileInjecting(ctx, r.t.Call, agent, id)
			}
			return func() { r.kill.here(MidInject) } // it may be done before the journal was seen
		},
	}
}

// step is what a step's function gets to write down what it saw.
type step struct{ *v1alpha1.StepResult }

func (s step) saw(format string, args ...any) {
	s.Seen = append(s.Seen, fmt.Sprintf(format, args...))
}

// do takes the run through its steps. Whatever happens, panics included, the way out goes through recovery.
func (r *run) do(ctx context.Context) (res *v1alpha1.ScenarioResult, err error) {
	lease := r.fault.KeepLease(ctx)
	undo := r.s.cleanups.Add("scenario "+r.sc.Metadata.Name+" on node "+r.victim, r.fault.RecoverCommand(), func(ctx context.Context) error {
		_, err := r.fault.Undo(ctx)
		return err
	})
	defer func() {
		if p := recover(); p != nil {
			res, err = r.defect(ctx, p, undo.Run, lease)
		}
	}()

	defer r.contest.stop() // also after a panic
	r.contest.begin = func() { r.contest.start(ctx) }
	ok := true
	for _, s := range r.todo() {
		if !ok || s.f == nil {
			r.res.Steps = append(r.res.Steps, v1alpha1.StepResult{Name: s.name, Verdict: v1alpha1.VerdictSkipped})
			continue
		}
		if ok = r.step(ctx, s.name, r.bound(s.name), s.f); ok && r.control.onTheWay {
			ok = r.controlsAfter(ctx, s.name)
		}
		if s.name == v1alpha1.StepClear && r.setAside() {
			break
		}
	}

	interrupted := ctx.Err() != nil
	r.contest.stop()
	r.bundle()
	if !ok && !interrupted && r.s.opts.Keep && r.control.needsRerun == "" {
		lease() // a renewal under way would make the long lease a short one again
		r.keep(ctx)
		undo.Forget()
	} else {
		// On a fresh context: after Ctrl-C the given one has ended, and recovery matters most then.
		out, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.t.Recovery)
		r.step(out, v1alpha1.StepResidue, r.bound(v1alpha1.StepResidue), func(ctx context.Context, st step) error { return r.residue(ctx, st, ok && !r.decoy() && r.mends()) })
		cancel()
		if !r.fault.Undone() && r.s.several && !interrupted {
			// Once more, before the worker is given to the next; the step has failed and said why.
			out, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.t.Recovery)
			_, _ = r.fault.Undo(out)
			cancel()
		}
		if r.fault.Undone() {
			undo.Forget()
		} else {
			r.res.Recover = r.fault.RecoverCommand()
		}
	}
	lease()
	err = r.fault.Close()

	r.conclude(interrupted)
	if interrupted {
		err = ErrInterrupted
	}
	return r.res, err
}

// decoy: nothing is to be found.
func (r *run) decoy() bool { return r.sc.Spec.Profile == v1alpha1.ProfileDecoy }

// mends: somebody cures the node.
func (r *run) mends() bool { return r.contest.own || r.actor }

// todo is a step on the way in, without a function where it is skipped.
type todo struct {
	name v1alpha1.StepName
	f    func(context.Context, step) error
}

func (r *run) todo() []todo {
	steps := []todo{{v1alpha1.StepBaseline, r.begin}, {v1alpha1.StepInject, r.inject}, {v1alpha1.StepManifest, r.lending(r.manifest)}, {v1alpha1.StepDetect, r.detect}, {v1alpha1.StepRemediate, r.remediate}, {v1alpha1.StepClear, r.clear}}
	if r.decoy() {
		// There is nothing to cure, and so nothing to clear.
		steps[3].f, steps[4].f, steps[5].f = r.silent, nil, nil
	}
	switch {
	case r.actor:
		steps[4].f = r.remediateByDetector
	case !r.contest.own:
		steps[4].f, steps[5].f = nil, nil
	}
	return steps
}

// defect ends a run in which we panicked: a defect of ours must not keep the node ill, nor end the runs beside this one before they have
// recovered.
func (r *run) defect(ctx context.Context, p any, undo func(context.Context) error, lease func()) (*v1alpha1.ScenarioResult, error) {
	out, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.t.Recovery)
	defer cancel()
	uerr := undo(out)
	lease()
	uerr = errors.Join(uerr, r.fault.Close())
	r.res.Ended = stamp()
	r.res.Verdict, r.res.Reason, r.res.Timeline = v1alpha1.VerdictUnknown, fmt.Sprintf("a defect in sickbay: %v", p), r.rec.timeline()
	if uerr != nil {
		r.res.Recover = r.fault.RecoverCommand()
	}
	return r.res, errors.Join(fmt.Errorf("scenario %s: a defect in sickbay: %v\n%s", r.sc.Metadata.Name, p, debug.Stack()), uerr)
}

// bound is a step's bound; the two controls only wait Timings.Control for what must not come.
func (r *run) bound(name v1alpha1.StepName) time.Duration {
	b := r.t.bound(r.sc, name)
	if (name == v1alpha1.StepManifest && r.control.current == v1alpha1.ControlNoop) || (name == v1alpha1.StepClear && r.control.current == v1alpha1.ControlNoRemedy) {
		return min(b, r.t.Control)
	}
	if name == v1alpha1.StepDetect && len(r.contest.list) > 0 {
		b += r.t.DetectorWait + 2*r.t.Quiet
	}
	return b
}

// step runs one of the seven steps and writes down how it ended. It returns whether the step passed.
func (r *run) step(ctx context.Context, name v1alpha1.StepName, bound time.Duration, f func(context.Context, step) error) bool {
	r.kill.here(Point(name))
	st := r.attempt(ctx, string(name), name, bound, f)
	var end error
	if st.Verdict != v1alpha1.VerdictPassed {
		end = errors.New(string(st.Verdict) + ": " + st.Reason)
		r.rec.add(v1alpha1.TimelineEntry{Kind: v1alpha1.EntryStep, Node: r.victim, Level: "error", Text: fmt.Sprintf("%s: %s: %s", name, st.Verdict, st.Reason)})
	}
	r.task.End(end)
	r.res.Steps = append(r.res.Steps, st)
	return st.Verdict == v1alpha1.VerdictPassed
}

// attempt runs what a step does within a bound, under a title of its own. The caller ends the task.
func (r *run) attempt(ctx context.Context, title string, name v1alpha1.StepName, bound time.Duration, f func(context.Context, step) error) v1alpha1.StepResult {
	st := v1alpha1.StepResult{Name: name, Started: stamp(), Bound: bound}
	r.task = progress.From(ctx).Start(fmt.Sprintf("%s · %s · %s", r.sc.Metadata.Name, title, r.victim), bound)
	r.rec.add(v1alpha1.TimelineEntry{Kind: v1alpha1.EntryStep, Node: r.victim, Text: title})
	inner, cancel := context.WithTimeout(ctx, bound)
	r.now = &st
	err := f(inner, step{&st})
	timedOut := inner.Err() != nil && ctx.Err() == nil
	cancel()

	var fail *fault.Failure
	var unsupported *injectors.UnsupportedError
	switch {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		st.Verdict, st.Reason = v1alpha1.VerdictUnknown, "interrupted"
		if err == nil && name == v1alpha1.StepResidue {
			st.Verdict, st.Reason = v1alpha1.VerdictPassed, ""
		}
	case err == nil:
		st.Verdict = v1alpha1.VerdictPassed
	case errors.As(err, &fail):
		st.Verdict, st.Reason = v1alpha1.VerdictFailed, fail.Reason
	case errors.As(err, &unsupported):
		st.Verdict, st.Reason = v1alpha1.VerdictUnsupported, unsupported.Error()
	case timedOut:
		st.Verdict, st.Reason = v1alpha1.VerdictFailed, fmt.Sprintf("did not end within %s: %s", bound, err)
	default:
		st.Verdict, st.Reason = v1alpha1.VerdictUnknown, err.Error()
	}
	st.Ended = stamp()
	return st
}

// conclude draws the scenario's verdict from its steps.
func (r *run) conclude(interrupted bool) {
	res := r.res
	res.Ended = stamp()
	res.Verdict = v1alpha1.VerdictPassed
	for _, st := range res.Steps {
		if st.Verdict == v1alpha1.VerdictPassed || st.Verdict == v1alpha1.VerdictSkipped {
			continue
		}
		if res.FailedAt == "" {
			res.Verdict, res.FailedAt, res.Reason = st.Verdict, st.Name, st.Reason
			continue
		}
		// Something that could not run here, or could not be told, and was then left unclean, has failed.
		if st.Verdict == v1alpha1.VerdictFailed {
			res.Verdict = v1alpha1.VerdictFailed
		}
		res.Reason += fmt.Sprintf("; and %s: %s", st.Name, st.Reason)
	}
	if interrupted && res.Reason != "interrupted" {
		res.Reason = "interrupted: " + res.Reason
	}
	if lost := r.fault.LeaseLost(); lost != "" && res.Verdict != v1alpha1.VerdictPassed {
		res.Reason += "; lease renewal failed, so the node may have reverted the fault on its own: " + lost
	}
	residueClean := slices.ContainsFunc(res.Steps, func(st v1alpha1.StepResult) bool {
		return st.Name == v1alpha1.StepResidue && st.Verdict == v1alpha1.VerdictPassed
	})
	switch res.Control {
	case v1alpha1.ControlNoop:
		res.ControlHeld = res.FailedAt == v1alpha1.StepManifest && nothingShown(res) && residueClean
	case v1alpha1.ControlNoRemedy:
		res.ControlHeld = res.FailedAt == v1alpha1.StepClear && res.Verdict == v1alpha1.VerdictFailed && residueClean
	}
	r.score()
	res.Timeline = r.rec.timeline()
}

// detail updates the progress line: what is being waited for, and the last relevant log line.
func (r *run) detail(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if last := r.rec.lastLine(); last != "" {
		line += " · " + text.Short(last, 100)
	}
	r.task.Detail("%s", line)
}

// since is seconds after the injection began.
func (o *outcome) since() float64 {
	if o.began.IsZero() {
		return 0
	}
	return time.Since(o.began).Seconds()
}

// lookAround observes the bystanders and the victim and judges all of them.
func (r *run) lookAround(ctx context.Context) (v1alpha1.Diagnosis, error) {
	// Another process's run may begin or end between two looks: a node it once held stays out.
	for n := range r.s.othersNodes(ctx, r.id) {
		r.busy[n] = true
	}
	nodes := slices.DeleteFunc(r.s.bystanders(r.res.Started), func(n string) bool { return r.busy[n] })
	r.bystanders = len(nodes)
	if _, err := r.look.Observe(ctx, nodes...); err != nil {
		return v1alpha1.Diagnosis{}, err
	}
	return r.judge(append(nodes, r.victim)...), nil
}

// judge asks the detectors, blind: they get histories and nothing else. A diagnosis goes on where a detector panics; a run that proves
// detectors must not.
func (r *run) judge(nodes ...string) v1alpha1.Diagnosis {
	judge := r.s.opts.Judge
	if judge == nil {
		judge = diagnose.Detectors
	}
	var broken sync.Map // node → what it panicked with
	d := r.look.Diagnose(func(h v1alpha1.History) []v1alpha1.Finding {
		defer func() {
			if p := recover(); p != nil {
				broken.Store(h.Last().Node, p)
				panic(p)
			}
		}()
		return judge(h)
	}, nodes...)
	broken.Range(func(_, p any) bool { panic(p) })
	return d
}

// newlyUnread lists sources of the victim that could be read at the baseline and cannot now. Silence of a detector that could
// not see is no silence.
func (b *baseline) newlyUnread(o *v1alpha1.Observation) []string {
	var out []string
	for _, u := range o.Unknown {
		if !b.unread[u.What] {
			out = append(out, u.What+": "+u.Why)
		}
	}
	return out
}

// keep leaves everything as it is, for KeepFor.
func (r *run) keep(ctx context.Context) {
	d := r.s.opts.KeepFor
	if d <= 0 {
		d = r.t.KeepFor
	}
	if err := r.fault.Leave(ctx, d); err != nil {
		r.rec.note(r.victim, "that the run is kept could not be written down: %v", err)
	}
	r.res.Recover = r.fault.RecoverCommand()
	r.res.Steps = append(r.res.Steps, v1alpha1.StepResult{Name: v1alpha1.StepResidue, Verdict: v1alpha1.VerdictSkipped, Reason: fmt.Sprintf("kept as it is for %s, as asked; undo it with: %s", d, r.res.Recover)})
	progress.From(ctx).Note("kept node %s and namespace %s as they are for %s; undo with: %s", r.victim, r.fault.Namespace(), d, r.res.Recover)
}
