package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/bounds"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/remedy"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// fixBound is how long a cured node may take to look cured: conditions follow the kubelet's status period (10 s), DiskPressure
// the five minutes of its stock transition period.
const fixBound = 6 * time.Minute

// fixReport is what --fix prints: the diagnosis at the end, and what was done.
type fixReport struct {
	v1alpha1.Diagnosis
	Fix fixResult `json:"fix"`
}

type fixResult struct {
	Plan remedy.Plan `json:"plan"`
	// Unchanged says why nothing was done.
	Unchanged string    `json:"unchanged,omitempty"`
	Applied   []applied `json:"applied,omitempty"`
	Error     string    `json:"error,omitempty"`
}

// applied is what became of one remedy.
type applied struct {
	For string `json:"for"`
	remedy.Result
	// Stays is set where the finding is there after the remedy as it was before; Next is what to look at then.
	Stays bool   `json:"stays,omitempty"`
	Next  string `json:"next,omitempty"`

	finding string
}

// tellFix prints the end of --fix, also when it failed: what was done must be known.
func (a *app) tellFix(d v1alpha1.Diagnosis, r fixResult, f diagnoseFlags, form format) error {
	if err := print(a, form, fixReport{d, r}, func(io.Writer) { _ = a.showDiagnosis(a.out, d, f) }); err != nil {
		return err
	}
	for _, p := range r.Plan.Remedies {
		if p.Refused != "" {
			a.say("Left out: %s (%s): %s.\n", p.Name(), p.Remedy.Name, p.Refused)
		}
	}
	for _, x := range r.Applied {
		if !x.Stays && !slices.ContainsFunc(x.Steps, func(s remedy.StepResult) bool { return s.Error != "" }) {
			continue
		}
		a.say("%s did not help %s:\n", x.Remedy, x.For)
		for _, s := range x.Steps {
			state := "done"
			switch {
			case !s.Undone.IsZero():
				state = "undone"
			case s.UndoErr != "":
				state = "not undone (" + s.UndoErr + ")"
			case s.Error != "":
				state = "failed"
			case s.Skipped != "":
				state = s.Skipped
			case s.Step.Undo != "":
				state = "done; to take it back: " + s.Step.Undo
			}
			first, _, _ := strings.Cut(s.Step.Run, "\n")
			a.say("  %s: %s\n", first, state)
		}
		a.say("  next: %s\n", x.Next)
	}
	return verdictOf(d)
}

func (a *app) fix(ctx context.Context, s *target, f diagnoseFlags, d v1alpha1.Diagnosis, form format) error {
	shown := f
	shown.whole = true // what is to be approved is shown in full
	r := fixResult{Plan: remedy.NewPlan(d.Findings, remedy.Consent{Ours: s.ours, Allow: v1alpha1.Class(f.allow)})}
	nothing := func(why string) error {
		r.Unchanged = why
		err := a.tellFix(d, r, shown, form)
		a.say("\nNothing was changed: %s.\n", why)
		return err
	}
	unattended := f.yes || f.plan != ""
	if f.planned != nil {
		if differs := f.planned.Fix.Plan.Differs(r.Plan); len(differs) > 0 {
			_ = nothing("today's plan is another one: " + strings.Join(differs, "; "))
			return no
		}
	}
	switch {
	case len(r.Plan.Remedies) == 0:
		return nothing("no finding has a remedy")
	case f.dryRun:
		return nothing("--dry-run (plan " + r.Plan.Hash + ")")
	case unattended && !slices.ContainsFunc(r.Plan.Remedies, func(p remedy.Planned) bool { return p.Refused == "" }):
		return nothing("every remedy needs --allow or a person's confirmation")
	}
	_ = a.showDiagnosis(a.err, d, shown)
	if !unattended {
		yes, err := a.consent(ctx, r.Plan.Remedies)
		if err != nil {
			return err
		}
		if !yes {
			a.say("Nothing was changed.\n")
			return no
		}
	}
	for _, p := range r.Plan.Remedies {
		if p.Refused != "" {
			continue
		}
		res, err := a.applyRemedy(ctx, s, p)
		r.Applied = append(r.Applied, applied{For: p.Name(), Result: res, Next: next(d, p), finding: id(p.Failure, p.Cause, p.Node, p.Object)})
		if err == nil {
			continue
		}
		a.undo(ctx, s, &r.Applied[len(r.Applied)-1])
		r.Error = err.Error()
		var stays *staysError
		if errors.As(err, &stays) {
			r.Applied[len(r.Applied)-1].Stays = true
			return a.tellFix(stays.seen, r, f, form)
		}
		_ = a.tellFix(d, r, f, form)
		return hint(err, "Steps that can be taken back were. `sickbay diagnose` shows what is left.")
	}
	ignore := map[string]bool{}
	for _, x := range d.Findings {
		ignore[idOf(x)] = !slices.ContainsFunc(r.Applied, func(y applied) bool { return y.finding == idOf(x) })
	}
	after, err := a.waitCleared(ctx, s, ignore)
	var stays *staysError
	if errors.As(err, &stays) {
		after, r.Error = stays.seen, err.Error()
		a.undoStaying(ctx, s, after.Findings, r.Applied)
	} else if err != nil {
		r.Error = err.Error()
		_ = a.tellFix(d, r, f, form)
		return err
	}
	return a.tellFix(after, r, f, form)
}

// undoStaying takes back, last first, what was done for findings that are still there.
func (a *app) undoStaying(ctx context.Context, s *target, found []v1alpha1.Finding, done []applied) {
	for i := range slices.Backward(done) {
		if x := &done[i]; slices.ContainsFunc(found, func(y v1alpha1.Finding) bool { return idOf(y) == x.finding }) {
			x.Stays = true
			a.undo(ctx, s, x)
		}
	}
}

// consent asks for the plan as a whole, then for what needs a word of its own.
func (a *app) consent(ctx context.Context, plan []remedy.Planned) (bool, error) {
	yes, err := a.ask(ctx, fmt.Sprintf("\nApply %d remedies? [y/N] ", len(plan)))
	if err != nil || !yes {
		return false, err
	}
	return a.confirm(ctx, plan)
}

// confirm asks for every step that nobody consented to, by node and object. A remedy goes on the word for all of its steps.
func (a *app) confirm(ctx context.Context, plan []remedy.Planned) (any bool, err error) {
	for i, p := range plan {
		for n, s := range p.Remedy.Steps {
			if p.Refused == "" || s.Class == v1alpha1.Safe {
				continue
			}
			a.say("\n%s, step %d of %s: %s\n  %s\n", p.Name(), n+1, p.Remedy.Name, s.Class, strings.ReplaceAll(s.Run, "\n", "\n  "))
			if s.Risk != "" {
				a.say("  risk: %s\n", s.Risk)
			}
			yes, err := a.ask(ctx, "Take it? [y/N] ")
			if err != nil {
				return false, err
			}
			if !yes {
				break
			}
			if !slices.ContainsFunc(p.Remedy.Steps[n+1:], func(s v1alpha1.Step) bool { return s.Class != v1alpha1.Safe }) {
				plan[i].Refused = ""
			}
		}
		any = any || plan[i].Refused == ""
	}
	return any, nil
}

// say writes to standard error, plainly: what is asked about and reported there names what others named.
func (a *app) say(format string, args ...any) {
	fmt.Fprint(a.err, text.Plain(fmt.Sprintf(format, args...)))
}

// maxPlan is as much of a plan as is read: one of a thousand nodes that are all ill has a tenth of it.
const maxPlan = 64 << 20

var planHash = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// readPlan reads what `--fix --dry-run -o json` printed, or takes its hash alone.
func readPlan(from string) (*fixReport, error) {
	if from == "" {
		return nil, nil
	}
	var r fixReport
	if strings.HasPrefix(from, "sha256:") {
		if r.Fix.Plan.Hash = from; !planHash.MatchString(from) {
			return nil, noPlan(from, "a plan's hash has 64 hexadecimal digits, in lower case")
		}
		return &r, nil
	}
	raw, err := bounds.ReadFile(from, maxPlan)
	if err == nil && len(raw) == 0 {
		err = errors.New("the file is empty")
	}
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	switch {
	case err != nil:
		return nil, noPlan(from, cause(err).Error())
	case r.APIVersion != v1alpha1.APIVersion || r.Kind != v1alpha1.KindDiagnosis:
		return nil, noPlan(from, fmt.Sprintf("it is a %q %q, and this sickbay reads %s %s", r.APIVersion, r.Kind, v1alpha1.APIVersion, v1alpha1.KindDiagnosis))
	case r.Fix.Plan.Hash == "":
		return nil, noPlan(from, "it is a diagnosis without --fix")
	}
	return &r, nil
}

func noPlan(from, why string) error {
	return &usageError{text: fmt.Sprintf("--plan: %s holds no plan: %s", from, why), hint: "`sickbay diagnose --fix --dry-run -o json` prints one, with its hash."}
}

// isFor refuses a plan of another cluster: nodes of the same name may have the same ills there.
func (r *fixReport) isFor(file, cluster string) error {
	if r == nil || r.Cluster == "" || cluster == "" || r.Cluster == cluster {
		return nil
	}
	where := "--cluster " + shellescape.Quote(r.Cluster)
	if r.Context != "" {
		where = "--context " + shellescape.Quote(r.Context)
	}
	return &usageError{
		text: fmt.Sprintf("--plan: %s is a plan for %s, and this is %s", file, r.Cluster, cluster),
		hint: fmt.Sprintf("Apply it with %s, or make a plan for %s with `sickbay diagnose --fix --dry-run -o json`.", where, cluster),
	}
}

// next is what to look at when a remedy did not help.
func next(d v1alpha1.Diagnosis, p remedy.Planned) string {
	for _, f := range d.Findings {
		if idOf(f) == id(p.Failure, p.Cause, p.Node, p.Object) && f.ToConfirm != "" {
			return f.ToConfirm
		}
	}
	return fmt.Sprintf("`sickbay explain %s/%s`", p.Failure, p.Cause)
}

func id(failure, cause, node string, object *v1alpha1.ObjectRef) string {
	s := failure + "/" + cause + " " + node
	if object != nil {
		s += fmt.Sprint(" ", *object)
	}
	return s
}

func idOf(f v1alpha1.Finding) string { return id(f.Failure, f.Cause, f.Node, f.Object) }

func (a *app) applyRemedy(ctx context.Context, s *target, p remedy.Planned) (remedy.Result, error) {
	sink := progress.From(ctx)
	var task progress.Task
	res, err := remedy.Apply(ctx, a.deps.remedyTarget(s), p.Remedy, remedy.Options{
		Watch: func(ctx context.Context) error {
			_, err := a.lookUntil(ctx, s, func(f v1alpha1.Finding) bool { return idOf(f) != id(p.Failure, p.Cause, p.Node, p.Object) }, nil)
			var stays *staysError
			if errors.As(err, &stays) {
				return stays
			}
			return nil
		},
		OnStep: func(r remedy.StepResult) {
			if r.Ended.IsZero() {
				task = sink.Start(fmt.Sprintf("%s/%s: %s", p.Failure, p.Cause, r.Step.Run), 0)
				return
			}
			if task != nil {
				task.End(r.Err)
				task = nil
			}
		},
	})
	if task != nil {
		task.End(err)
	}
	return res, err
}

func (a *app) undo(ctx context.Context, s *target, x *applied) {
	task := progress.From(ctx).Start("take back "+x.Remedy, 0)
	remedy.Undo(ctx, a.deps.remedyTarget(s), &x.Result, remedy.Options{})
	task.End(nil)
}

// waitCleared looks until nothing is found any more but what no remedy was applied for.
func (a *app) waitCleared(ctx context.Context, s *target, ignore map[string]bool) (_ v1alpha1.Diagnosis, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(fixBound))
	defer cancel()
	task := progress.From(ctx).Start("wait until it is cleared", timeoutscale.Bound(fixBound))
	defer func() { task.End(err) }()
	return a.lookUntil(ctx, s, func(f v1alpha1.Finding) bool { return ignore[idOf(f)] }, task)
}

// lookUntil looks until no finding is left but those to ignore, until one plainly stays (*staysError), or until a deadline. The
// histories begin anew: old words must not speak for ever.
func (a *app) lookUntil(ctx context.Context, s *target, ignore func(v1alpha1.Finding) bool, task progress.Task) (v1alpha1.Diagnosis, error) {
	o := s.options
	o.Since = 5 * time.Second
	watch := diagnose.NewWatcher(s.Target, o)
	stays := newStaying(time.Now())
	quiet := 0
	for {
		if _, err := watch.Look(ctx); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				return watch.Diagnose(nil), nil
			}
			return v1alpha1.Diagnosis{}, err
		}
		d := watch.Diagnose(nil)
		d.Cluster = s.Cluster
		left := slices.DeleteFunc(slices.Clone(d.Findings), ignore)
		if f := stays.look(time.Now(), left); f != nil {
			return d, &staysError{*f, d}
		}
		if len(left) == 0 && (d.Healthy || len(d.Findings) > 0) {
			if quiet++; quiet >= 3 { // a status period apart: what only looked cleared would have come back
				return d, nil
			}
		} else {
			quiet = 0
			watch.Restart()
			if task != nil && len(left) > 0 {
				task.Detail("still %s/%s on %s", left[0].Failure, left[0].Cause, left[0].Node)
			}
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return d, nil
			}
			return d, ctx.Err()
		case <-time.After(betweenLooks):
		}
	}
}

// staysError says that a signal plainly stays.
type staysError struct {
	finding v1alpha1.Finding
	seen    v1alpha1.Diagnosis
}

func (e *staysError) Error() string {
	return fmt.Sprintf("%s stays: %s", idOf(e.finding), e.finding.Summary)
}

// staying decides when a signal plainly stays: the same finding in every look, on evidence from after everything that was started
// has had time to begin, and this for a while. What the API server repeats of a node (conditions, a pod's last state) lags behind
// by periods and back-offs, so it is no such evidence; an event is.
type staying struct {
	fresh, plain time.Time
	looks        map[string]int
}

const (
	settle  = 8 * time.Second  // a kubelet that fails on its configuration has ended once by then
	plainly = 20 * time.Second // systemd restarts a kubelet after 10 s, and the kubelet tries a sandbox again as soon
)

func newStaying(began time.Time) *staying {
	return &staying{fresh: began.Add(timeoutscale.Bound(settle)), plain: began.Add(timeoutscale.Bound(plainly)), looks: map[string]int{}}
}

// look returns a finding that plainly stays.
func (s *staying) look(at time.Time, found []v1alpha1.Finding) *v1alpha1.Finding {
	seen := map[string]int{}
	var plain *v1alpha1.Finding
	for i, f := range found {
		n := s.looks[idOf(f)]
		if slices.ContainsFunc(f.Evidence, func(e v1alpha1.Evidence) bool {
			return e.At.After(s.fresh) && (e.Source == "api.events" || !strings.HasPrefix(e.Source, v1alpha1.SourceAPI+"."))
		}) {
			n++
		}
		seen[idOf(f)] = n
		if n >= 3 && at.After(s.plain) && plain == nil {
			plain = &found[i]
		}
	}
	s.looks = seen
	return plain
}
