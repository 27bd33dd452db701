package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/remedy"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

type diagnoseFlags struct {
	targetFlags
	fix, yes, dryRun bool
	watch            bool
	every, during    time.Duration
	looks            int
}

func (a *app) diagnose() *cobra.Command {
	var f diagnoseFlags
	cmd := &cobra.Command{
		Use:   "diagnose",
		Short: "Find out what a cluster or node has, why, and what to do",
		Long: `Look at every node of a kind cluster, whoever made it, and say what is wrong, from which cause, on what evidence, what that
explains, and which steps cure it. Or look at this machine (--local), at others over ssh, or at a recorded bundle.
It needs no Kubernetes API: what a node shows by itself is judged as well.

Exit code 0 when healthy, 1 when there is a finding, 3 when a node could not be seen.`,
		Example: `  sickbay diagnose --cluster dev
  sickbay diagnose --context kind-dev --node dev-worker -o json
  sickbay diagnose --fix                    # shows the plan, asks, applies it, looks again
  sickbay diagnose --watch --for 10m        # a healthy cluster has to stay silent
  sickbay diagnose --ssh root@10.0.0.7
  sickbay diagnose --bundle ./bundle        # offline`,
		Args: noArgs,
	}
	a.addTargetFlags(cmd, &f.targetFlags)
	fl := cmd.Flags()
	fl.StringVar(&f.bundle, "bundle", "", "judge a recorded bundle instead")
	fl.BoolVar(&f.fix, "fix", false, "apply the remedies, then look again")
	fl.BoolVar(&f.yes, "yes", false, "with --fix: do not ask; needed for a cluster that sickbay did not make")
	fl.BoolVar(&f.dryRun, "dry-run", false, "with --fix: only show what would be done")
	fl.BoolVar(&f.watch, "watch", false, "look again and again, and tell what changes; with -o json one document a line")
	fl.DurationVar(&f.every, "every", 5*time.Second, "with --watch: the pause between two looks")
	fl.DurationVar(&f.during, "for", 0, "with --watch: end after this time; exit code 1 when there was a finding at any moment of it")
	fl.IntVar(&f.looks, "looks", 1, "look this often before judging: two show what moves, such as throttling")
	_ = cmd.MarkFlagDirname("bundle")
	cmd.MarkFlagsMutuallyExclusive("bundle", "fix")
	cmd.MarkFlagsMutuallyExclusive("bundle", "watch")
	cmd.MarkFlagsMutuallyExclusive("watch", "fix")
	cmd.MarkFlagsMutuallyExclusive("yes", "dry-run")
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case (f.yes || f.dryRun) && !f.fix:
			return usagef("--yes and --dry-run are for --fix")
		case f.every < time.Second:
			return usagef("--every %s: it must be a second at least", f.every)
		case f.during != 0 && (!f.watch || f.during < 0):
			return usagef("--for %s: it is how long --watch watches", f.during)
		case f.looks < 1 || f.looks > 100:
			return usagef("--looks %d: it must be 1 to 100", f.looks)
		case f.bundle != "":
			return a.diagnoseBundle(f, *form)
		}
		ctx := cmd.Context()
		s, err := a.target(ctx, f.targetFlags)
		if err != nil {
			return err
		}
		if f.watch {
			return a.watch(ctx, s, f, *form)
		}
		d, err := a.look(ctx, s, f)
		if err != nil {
			return err
		}
		if !f.fix || len(d.Findings) == 0 {
			return a.tell(d, *form)
		}
		return a.fix(ctx, s, f, d, *form)
	}
	return cmd
}

func (a *app) diagnoseBundle(f diagnoseFlags, form format) error {
	if _, err := os.Stat(f.bundle); err != nil {
		return &usageError{text: fmt.Sprintf("--bundle: %s", err), hint: "`sickbay bundle DIR` records one."}
	}
	b, err := diagnose.OpenBundle(f.bundle)
	if err != nil {
		return err
	}
	defer b.Close()
	for _, n := range f.nodes {
		if !slices.Contains(b.Nodes(), n) {
			return &usageError{text: fmt.Sprintf("the bundle has no node %q", n), hint: "It has " + strings.Join(b.Nodes(), ", ") + "."}
		}
	}
	d, err := diagnose.JudgeBundle(b, nil, f.nodes...)
	if err != nil {
		return err
	}
	return a.tell(d, form)
}

// look observes and judges.
func (a *app) look(ctx context.Context, s *target, f diagnoseFlags) (diagnose.Diagnosis, error) {
	task := progress.From(ctx).Start(fmt.Sprintf("look at %s", nodesWord(len(s.Nodes))), 0)
	if f.looks == 1 {
		d, err := diagnose.Once(ctx, s.Target, s.options, nil)
		task.End(err)
		return d, err
	}
	watch := diagnose.NewWatcher(s.Target, s.options)
	err := lookOften(ctx, watch, f.looks, task)
	task.End(err)
	if err != nil {
		return diagnose.Diagnosis{}, err
	}
	return watch.Diagnose(nil), nil
}

func nodesWord(n int) string {
	if n == 1 {
		return "one node"
	}
	return fmt.Sprintf("%d nodes", n)
}

// tell prints a diagnosis and turns it into an exit code.
func (a *app) tell(d diagnose.Diagnosis, form format) error {
	if err := print(a, form, d, func(io.Writer) { a.showDiagnosis(a.out, d, false) }); err != nil {
		return err
	}
	return verdictOf(d)
}

func verdictOf(d diagnose.Diagnosis) error {
	switch {
	case len(d.Findings) > 0:
		return no
	case !d.Healthy:
		return answer(exitTrouble)
	}
	return nil
}

// showDiagnosis writes what a person reads top-down; whole, where he has to approve of it.
func (a *app) showDiagnosis(f *os.File, d diagnose.Diagnosis, whole bool) {
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		width = 0
	}
	_ = diagnose.WriteText(f, d, diagnose.TextOptions{Color: progress.Color(f), Width: width, Whole: whole})
}

// watch tells a diagnosis whenever it changes, until Ctrl-C or the end of --for. In the latter case the answer is the worst of
// all that was told.
func (a *app) watch(ctx context.Context, s *target, f diagnoseFlags, form format) error {
	watch := diagnose.NewWatcher(s.Target, s.options)
	before := "-"
	var worst error
	looks := 0
	var end <-chan time.Time
	if f.during > 0 {
		timer := time.NewTimer(f.during)
		defer timer.Stop()
		end = timer.C
	}
	for {
		if _, err := watch.Look(ctx); err != nil {
			return err
		}
		looks++
		d := watch.Diagnose(nil)
		d.Cluster = s.Cluster
		if now := gist(d); now != before {
			before = now
			if err := a.tellNext(d, form); err != nil {
				return err
			}
		}
		if now := verdictOf(d); worst == nil || errors.Is(now, no) {
			worst = now
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			if worst == nil && form == text {
				fmt.Fprintf(a.out, "Silent for %s: %d looks at %s.\n", f.during, looks, nodesWord(len(d.Nodes)))
			}
			return worst
		case <-time.After(f.every):
		}
	}
}

// tellNext prints one diagnosis of a stream: JSON one document a line, YAML documents apart.
func (a *app) tellNext(d diagnose.Diagnosis, form format) error {
	switch form {
	case jsonForm:
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		return e.Encode(d)
	case yamlForm:
		fmt.Fprintln(a.out, "---")
	case text:
		fmt.Fprintln(a.out, a.paint(faint, time.Now().Format("15:04:05")))
	}
	return print(a, form, d, func(io.Writer) { a.showDiagnosis(a.out, d, false) })
}

// gist is what makes two diagnoses the same to a reader.
func gist(d diagnose.Diagnosis) string {
	var b strings.Builder
	fmt.Fprint(&b, d.Healthy)
	for _, f := range d.Findings {
		fmt.Fprint(&b, "\n", f.Node, f.Failure, f.Cause, f.Certainty)
		if f.Object != nil {
			fmt.Fprint(&b, *f.Object)
		}
	}
	return b.String()
}

// fixBound is how long a cured node may take to look cured: conditions follow the kubelet's status period (10 s), DiskPressure
// the five minutes of its stock transition period.
const fixBound = 6 * time.Minute

func (a *app) fix(ctx context.Context, s *target, f diagnoseFlags, d diagnose.Diagnosis, form format) error {
	a.showDiagnosis(a.err, d, true)
	var plans []v1alpha1.Finding
	for _, x := range d.Findings {
		if x.Remedy != nil && len(x.Remedy.Steps) > 0 {
			plans = append(plans, x)
		}
	}
	if len(plans) == 0 {
		fmt.Fprintln(a.err, "\nNone of this is cured by a plan.")
		return a.tell(d, form)
	}
	if f.dryRun || !s.ours && !f.yes {
		why := "--dry-run"
		if !f.dryRun {
			why = "this was not made by sickbay: say --yes to have it done"
		}
		fmt.Fprintf(a.err, "\nNothing was done (%s).\n", why)
		return a.tell(d, form)
	}
	if !f.yes {
		yes, err := a.ask(ctx, fmt.Sprintf("\nApply %d remedies? [y/N] ", len(plans)))
		if err != nil {
			return err
		}
		if !yes {
			fmt.Fprintln(a.err, "Nothing was done.")
			return no
		}
	}
	for _, x := range plans {
		if err := a.applyRemedy(ctx, s, x); err != nil {
			return hint(err, "What was done so far stays. `sickbay diagnose` shows what is left.")
		}
	}
	after, err := a.waitCleared(ctx, s)
	if err != nil {
		return err
	}
	return a.tell(after, form)
}

func (a *app) applyRemedy(ctx context.Context, s *target, x v1alpha1.Finding) error {
	sink := progress.From(ctx)
	var task progress.Task
	_, err := remedy.Apply(ctx, a.deps.remedyTarget(s), *x.Remedy, remedy.Options{OnStep: func(r remedy.StepResult) {
		if r.Ended.IsZero() {
			task = sink.Start(fmt.Sprintf("%s/%s: %s", x.Failure, x.Cause, r.Step.Run), 0)
			return
		}
		if task != nil {
			task.End(r.Err)
			task = nil
		}
	}})
	if task != nil {
		task.End(err)
	}
	return err
}

// waitCleared looks until nothing is found any more. The histories begin anew: old words must not speak for ever.
func (a *app) waitCleared(ctx context.Context, s *target) (_ diagnose.Diagnosis, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(fixBound))
	defer cancel()
	task := progress.From(ctx).Start("look whether it is cleared", timeoutscale.Bound(fixBound))
	defer func() { task.End(err) }()
	o := s.options
	o.Since = 5 * time.Second
	watch := diagnose.NewWatcher(s.Target, o)
	quiet := 0
	for {
		if _, err := watch.Look(ctx); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				return watch.Diagnose(nil), nil
			}
			return diagnose.Diagnosis{}, err
		}
		d := watch.Diagnose(nil)
		d.Cluster = s.Cluster
		if len(d.Findings) == 0 && d.Healthy {
			if quiet++; quiet >= 3 { // a status period apart: what only looked cleared would have come back
				return d, nil
			}
		} else {
			quiet = 0
			watch.Restart()
			if len(d.Findings) > 0 {
				task.Detail("still %s/%s on %s", d.Findings[0].Failure, d.Findings[0].Cause, d.Findings[0].Node)
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

// ask puts a question on standard error. The answer is read beside the context, so that Ctrl-C works while nothing is typed.
func (a *app) ask(ctx context.Context, question string) (bool, error) {
	fmt.Fprint(a.err, question)
	line, err := a.readLine(ctx)
	if errors.Is(err, io.EOF) {
		return false, &usageError{text: "there is nobody to ask", hint: "Say --yes to go on without asking."}
	}
	if err != nil {
		return false, err
	}
	switch strings.ToLower(line) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// readLine reads one line of standard input, or returns when the context ends.
func (a *app) readLine(ctx context.Context) (string, error) {
	a.lines.Do(func() {
		a.line = make(chan string)
		go func() {
			defer close(a.line)
			s := bufio.NewScanner(a.in)
			for s.Scan() {
				a.line <- strings.TrimSpace(s.Text())
			}
		}()
	})
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case l, ok := <-a.line:
		if !ok {
			return "", io.EOF
		}
		return l, nil
	}
}
