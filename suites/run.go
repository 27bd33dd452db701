package suites

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/report"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// run is one scenario on one worker.
type run struct {
	s      *session
	sc     *scenarios.Scenario
	id     string
	victim string
	ns     string
	t      Timings
	res    *Result
	rec    *recorder
	watch  *diagnose.Watcher

	task progress.Task // of the current step

	control  Control            // the run is, or is making right now
	controls bool               // to be made on the way
	spoilt   string             // why the remaining steps need an injection of their own
	proofs   int                // proof pods made so far
	named    []v1alpha1.Finding // what the next remedies are for

	mark     Mark
	hold     Hold                      // the run's record on the host; nil before there was anything to undo
	before   *v1alpha1.Observation     // the last look before the injection
	unread   map[string]bool           // what could not be read at the baseline already
	began    time.Time                 // of the injection, harness clock
	made     []Objects                 // through the API: the workload, and what was rolled out over it
	registry *scenarios.RegistryValues // nil unless the scenario has one
	foreign  map[string]bool           // nodes that runs of other processes have held meanwhile
	watched  int                       // bystanders in the last look around
	detected bool                      // detect has ended and written its bundle
	looked   time.Duration             // what the last look took
	left     int                       // steps of the remedies until their middle
	struck   sync.Once                 // interrupted, for the kill matrix

	mu        sync.Mutex
	agents    map[string]Agent // nodes that were asked to inject anything
	placed    []placed         // in order of injection
	nsMade    bool
	undone    bool // undo went through: nothing is open any more
	kept      bool // left as it is on purpose
	leaseLost string
}

type placed struct {
	node string
	in   injectors.Injection
}

func newRun(s *session, sc *scenarios.Scenario, id, victim string) *run {
	r := &run{
		s: s, sc: sc, id: id, victim: victim, ns: "sickbay-" + id, t: s.t,
		rec: newRecorder(sc.Metadata.Name), agents: map[string]Agent{}, foreign: map[string]bool{},
		watch: diagnose.NewWatcher(s.lab.Target(), diagnose.Options{Since: 30 * time.Second}),
	}
	r.res = &Result{
		Scenario: sc.Metadata.Name, Title: sc.Spec.Title, Profile: sc.Spec.Profile, Guide: sc.Spec.Guide, Run: id, Node: victim,
		Fidelity: Fidelity{Level: sc.Spec.Fidelity.Level, Differs: sc.Spec.Fidelity.Differs},
		Steps:    []Step{},
		Expected: names(sc.Spec.Expect),
		Started:  stamp(),
	}
	switch {
	case s.opts.Noop:
		r.res.Control = NoopControl
	case s.opts.NoRemedy:
		r.res.Control = NoRemedy
	case s.opts.OtherRemedy != nil:
		r.res.Control = OtherRemedy
	default:
		r.controls = s.opts.Controls.covers(sc)
	}
	r.control = r.res.Control
	return r
}

// failure is a step that looked and saw that it is not as it must be. Any other error of a step means that it could not look.
type failure struct{ reason string }

func (f *failure) Error() string { return f.reason }

func failf(format string, args ...any) error { return &failure{fmt.Sprintf(format, args...)} }

// step is what a step's function gets to write down what it saw.
type step struct{ *Step }

func (s step) saw(format string, args ...any) {
	s.Seen = append(s.Seen, fmt.Sprintf(format, args...))
}

// do takes the run through its steps. Whatever happens, panics included, the way out goes through recovery.
func (r *run) do(ctx context.Context) (res *Result, err error) {
	lease := r.keepLease(ctx)
	undo := Registry.Add("scenario "+r.sc.Metadata.Name+" on node "+r.victim, r.recoverCommand(), func(ctx context.Context) error {
		_, err := r.undo(ctx)
		return err
	})
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		// A defect of ours must not keep the node ill, nor end the runs beside this one before they have recovered.
		out, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.t.Recovery)
		defer cancel()
		uerr := undo.Run(out)
		lease()
		uerr = errors.Join(uerr, r.letGo())
		r.res.Ended = stamp()
		r.res.Verdict, r.res.Reason, r.res.Timeline = Unknown, fmt.Sprintf("a defect in sickbay: %v", p), r.rec.timeline()
		if uerr != nil {
			r.res.Recover = r.recoverCommand()
		}
		res, err = r.res, errors.Join(fmt.Errorf("scenario %s: a defect in sickbay: %v\n%s", r.sc.Metadata.Name, p, debug.Stack()), uerr)
	}()

	type todo struct {
		name StepName
		f    func(context.Context, step) error
	}
	steps := []todo{{Baseline, r.baseline}, {Inject, r.inject}, {Manifest, r.manifest}, {Detect, r.detect}, {Remediate, r.remediate}, {Clear, r.clear}}
	decoy := r.sc.Spec.Profile == scenarios.Decoy
	if decoy {
		// There is nothing to cure, and so nothing to clear.
		steps = append(steps[:3], todo{Detect, r.silent}, todo{Remediate, nil}, todo{Clear, nil})
	}
	ok := true
	for _, s := range steps {
		if !ok || s.f == nil {
			r.res.Steps = append(r.res.Steps, Step{Name: s.name, Verdict: Skipped})
			continue
		}
		if ok = r.step(ctx, s.name, r.bound(s.name), s.f); ok && r.controls {
			ok = r.controlsAfter(ctx, s.name)
		}
		if s.name == Clear && r.setAside() {
			break
		}
	}

	interrupted := ctx.Err() != nil
	r.bundle()
	if !ok && !interrupted && r.s.opts.Keep && r.spoilt == "" {
		lease() // a renewal under way would make the long lease a short one again
		r.keep(ctx)
		undo.Forget()
	} else {
		// On a fresh context: after Ctrl-C the given one has ended, and recovery matters most then.
		out, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.t.Recovery)
		r.step(out, Residue, r.bound(Residue), func(ctx context.Context, st step) error { return r.residue(ctx, st, ok && !decoy) })
		cancel()
		if !r.undone && r.s.several && !interrupted {
			// Once more, before the worker is given to the next; the step has failed and said why.
			out, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.t.Recovery)
			_, _ = r.undo(out)
			cancel()
		}
		if r.undone {
			undo.Forget()
		} else {
			r.res.Recover = r.recoverCommand()
		}
	}
	lease()
	err = r.letGo()

	r.conclude(interrupted)
	if interrupted {
		err = ErrInterrupted
	}
	return r.res, err
}

// letGo ends the run's record on the host where everything is undone, and leaves it to whoever comes next where it is not.
func (r *run) letGo() error {
	switch {
	case r.hold == nil || r.kept:
		return nil
	case !r.undone:
		r.hold.Release()
		return nil
	}
	if err := r.hold.End(); err != nil {
		return fmt.Errorf("forget run %s, which is undone: %w", r.id, err)
	}
	return nil
}

// bound is a step's bound; the two controls only wait Timings.Control for what must not come.
func (r *run) bound(name StepName) time.Duration {
	b := r.t.bound(r.sc, name)
	if (name == Manifest && r.control == NoopControl) || (name == Clear && r.control == NoRemedy) {
		return min(b, r.t.Control)
	}
	return b
}

// step runs one of the seven steps and writes down how it ended. It returns whether the step passed.
func (r *run) step(ctx context.Context, name StepName, bound time.Duration, f func(context.Context, step) error) bool {
	r.strike(Point(name))
	st := r.attempt(ctx, string(name), name, bound, f)
	var end error
	if st.Verdict != Passed {
		end = errors.New(string(st.Verdict) + ": " + st.Reason)
		r.rec.add(Entry{Kind: EntryStep, Node: r.victim, Level: "error", Text: fmt.Sprintf("%s: %s: %s", name, st.Verdict, st.Reason)})
	}
	r.task.End(end)
	r.res.Steps = append(r.res.Steps, st)
	return st.Verdict == Passed
}

// attempt runs what a step does within a bound, under a title of its own. The caller ends the task.
func (r *run) attempt(ctx context.Context, title string, name StepName, bound time.Duration, f func(context.Context, step) error) Step {
	st := Step{Name: name, Started: stamp(), Bound: bound}
	r.task = progress.From(ctx).Start(fmt.Sprintf("%s · %s · %s", r.sc.Metadata.Name, title, r.victim), bound)
	r.rec.add(Entry{Kind: EntryStep, Node: r.victim, Text: title})
	inner, cancel := context.WithTimeout(ctx, bound)
	err := f(inner, step{&st})
	timedOut := inner.Err() != nil && ctx.Err() == nil
	cancel()

	var fail *failure
	var unsupported *injectors.UnsupportedError
	switch {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		st.Verdict, st.Reason = Unknown, "interrupted"
		if err == nil && name == Residue {
			st.Verdict, st.Reason = Passed, ""
		}
	case err == nil:
		st.Verdict = Passed
	case errors.As(err, &fail):
		st.Verdict, st.Reason = Failed, fail.reason
	case errors.As(err, &unsupported):
		st.Verdict, st.Reason = Unsupported, unsupported.Error()
	case timedOut:
		st.Verdict, st.Reason = Failed, fmt.Sprintf("did not end within %s: %s", bound, err)
	default:
		st.Verdict, st.Reason = Unknown, err.Error()
	}
	st.Ended = stamp()
	return st
}

// conclude draws the scenario's verdict from its steps.
func (r *run) conclude(interrupted bool) {
	res := r.res
	res.Ended = stamp()
	res.Verdict = Passed
	for _, st := range res.Steps {
		if st.Verdict == Passed || st.Verdict == Skipped {
			continue
		}
		if res.FailedAt == "" {
			res.Verdict, res.FailedAt, res.Reason = st.Verdict, st.Name, st.Reason
			continue
		}
		// Something that could not run here, or could not be told, and was then left unclean, has failed.
		if st.Verdict == Failed {
			res.Verdict = Failed
		}
		res.Reason += fmt.Sprintf("; and %s: %s", st.Name, st.Reason)
	}
	if interrupted && res.Reason != "interrupted" {
		res.Reason = "interrupted: " + res.Reason
	}
	if r.leaseLost != "" && res.Verdict != Passed {
		res.Reason += "; the node may have healed itself meanwhile, since its lease could not be renewed: " + r.leaseLost
	}
	residueClean := slices.ContainsFunc(res.Steps, func(st Step) bool { return st.Name == Residue && st.Verdict == Passed })
	switch res.Control {
	case NoopControl:
		res.ControlHeld = res.FailedAt == Manifest && nothingShown(res) && residueClean
	case NoRemedy, OtherRemedy:
		res.ControlHeld = res.FailedAt == Clear && res.Verdict == Failed && residueClean
	}
	res.Timeline = r.rec.timeline()
}

func (r *run) recoverCommand() string {
	return fmt.Sprintf("sickbay recover --cluster %s --run %s", r.s.lab.Cluster(), r.id)
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
func (r *run) since() float64 {
	if r.began.IsZero() {
		return 0
	}
	return time.Since(r.began).Seconds()
}

// pause is how long to wait before the next look: at least as long as the last one took, up to four times Poll. Eight scenarios
// side by side on two cores otherwise keep each other waiting with their looks (0.25 s of CPU each, most of it `docker exec`).
func (r *run) pause(started time.Time) time.Duration {
	d := r.t.Poll
	if time.Since(started) > r.t.SlowAfter {
		d = r.t.SlowPoll
	}
	return max(d, min(r.looked, 4*r.t.Poll))
}

// look observes nodes, the victim among them, and writes down what is new about the victim.
func (r *run) look(ctx context.Context, nodes ...string) (*v1alpha1.Observation, error) {
	began := time.Now()
	got, err := r.watch.LookAt(ctx, nodes...)
	r.looked = time.Since(began)
	if err != nil {
		return nil, err
	}
	o := got[r.victim]
	r.rec.look(&o)
	return &o, nil
}

// until looks at the victim again and again until f says yes, or ctx ends. f sees every look; a look that could not be made
// at all counts as nothing seen. The error at ctx's end is ctx's own: the caller says what was missing.
func (r *run) until(ctx context.Context, f func(*v1alpha1.Observation) (bool, error)) error {
	started := time.Now()
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		o, err := r.look(ctx, r.victim)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		yes, err := f(o)
		if err != nil || yes {
			return err
		}
		tick.Reset(r.pause(started))
	}
}

// lookAround observes the bystanders and the victim and judges all of them.
func (r *run) lookAround(ctx context.Context) (v1alpha1.Diagnosis, error) {
	// Another process's run may begin or end between two looks: a node it once held stays out.
	for n := range r.s.othersNodes(ctx, r.id) {
		r.foreign[n] = true
	}
	nodes := slices.DeleteFunc(r.s.bystanders(r.res.Started), func(n string) bool { return r.foreign[n] })
	r.watched = len(nodes)
	nodes = append(nodes, r.victim)
	if _, err := r.look(ctx, nodes...); err != nil {
		return v1alpha1.Diagnosis{}, err
	}
	return r.judge(nodes...), nil
}

// judge asks the detectors, blind: they get histories and nothing else.
func (r *run) judge(nodes ...string) v1alpha1.Diagnosis {
	return r.watch.Diagnose(r.s.opts.Judge, nodes...)
}

// newlyUnread lists sources of the victim that could be read at the baseline and cannot now. Silence of a detector that could
// not see is no silence.
func (r *run) newlyUnread(o *v1alpha1.Observation) []string {
	var out []string
	for _, u := range o.Unknown {
		if !r.unread[u.What] {
			out = append(out, u.What+": "+u.Why)
		}
	}
	return out
}

// keepLease renews the leases of everything injected while the run lives, also while it recovers. The returned function ends it.
func (r *run) keepLease(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(r.t.Lease / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			r.renew(ctx, r.t.Lease)
		}
	}()
	return func() { cancel(); <-done }
}

func (r *run) renew(ctx context.Context, lease time.Duration) {
	r.mu.Lock()
	agents, hold := maps.Clone(r.agents), r.hold
	r.mu.Unlock()
	if hold != nil {
		if err := hold.Renew(); err != nil {
			r.rec.note(r.victim, "the run's record on the host could not be renewed: %v", err)
		}
	}
	for node, a := range agents {
		call, cancel := context.WithTimeout(ctx, r.t.Lease/3)
		err := a.Renew(call, r.id, lease)
		cancel()
		if err != nil && ctx.Err() == nil {
			r.rec.note(node, "the lease could not be renewed: %v", err)
			r.mu.Lock()
			r.leaseLost = err.Error()
			r.mu.Unlock()
		}
	}
}

// keep leaves everything as it is, for KeepFor.
func (r *run) keep(ctx context.Context) {
	d := r.s.opts.KeepFor
	if d <= 0 {
		d = 30 * time.Minute
	}
	r.renew(ctx, d)
	if r.hold != nil {
		r.kept = true
		if err := r.hold.Leave(time.Now().Add(d)); err != nil {
			r.rec.note(r.victim, "that the run is kept could not be written down: %v", err)
		}
	}
	r.res.Recover = r.recoverCommand()
	r.res.Steps = append(r.res.Steps, Step{Name: Residue, Verdict: Skipped, Reason: fmt.Sprintf("kept as it is for %s, as asked; undo it with: %s", d, r.recoverCommand())})
	progress.From(ctx).Note("kept node %s and namespace %s as they are for %s; undo with: %s", r.victim, r.ns, d, r.recoverCommand())
}

// bundleDir is where this run's bundle goes, "" for nowhere: bundle/ for one scenario, bundle/NAME/ for several.
func (r *run) bundleDir() string {
	switch {
	case r.s.opts.ReportDir == "":
		return ""
	case r.s.several:
		return filepath.Join(r.s.opts.ReportDir, "bundle", r.sc.Metadata.Name)
	default:
		return filepath.Join(r.s.opts.ReportDir, "bundle")
	}
}

// bundle writes what was judged, for replay: at the end of detect, or wherever the run ended before it; what the clear step
// saw goes into a bundle of its own below it.
func (r *run) bundle() {
	dir := r.bundleDir()
	if dir == "" || len(r.watch.Histories()) == 0 {
		return
	}
	if r.detected {
		r.writeBundle(filepath.Join(dir, "cleared"), "looks after the remedy")
	} else {
		r.writeBundle(dir, "up to where the run ended")
	}
}

func (r *run) writeBundle(dir, what string) {
	info := v1alpha1.Bundle{
		Cluster: r.s.lab.Cluster(), RecordedBy: r.s.opts.Version,
		Note: fmt.Sprintf("scenario %s, run %s, victim %s: %s", r.sc.Metadata.Name, r.id, r.victim, what),
	}
	if err := diagnose.WriteBundle(dir, info, diagnose.Compact(r.watch.Histories(), report.BundleLooks)); err != nil {
		r.rec.note(r.victim, "the bundle could not be written: %v", err)
	}
}
