package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/lab"
	"github.com/sickbay-dev/sickbay/internal/lab/web"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/redact"
	"github.com/sickbay-dev/sickbay/internal/testbed"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/suites"
)

func (a *app) undoOne(ctx context.Context, c *cluster.Cluster, o testbed.OrphanedRun) error {
	task := progress.From(ctx).Start("undo everything", recoverBound)
	_, err := testbed.Undo(ctx, c, o) // what it did is the answer
	task.End(err)
	return err
}

func (a *app) labStatus() *cobra.Command {
	return a.labVerb("status", "Show the ticket, the clock and the way in again", "Show the page, the ticket, the clock, how to get onto the nodes and, after --record, what kubectl changed. Nothing else is asked of the nodes.", noArgs, func(cmd *cobra.Command, l *lesson, _ []string) error {
		c, err := a.ours(cmd.Context(), l.st.Cluster)
		if err != nil {
			c = nil // the ticket can be read all the same
		}
		a.briefing(a.out, l, c)
		now := time.Now()
		fmt.Fprintf(a.out, "\n%s, %s on the clock, %s, %s\n", l.st.Phase, progress.Elapsed(l.st.Clock(now)), hintsWord(l.st.Hints), answersWord(l.st.Answers))
		if rec, ok := l.record(); ok {
			fmt.Fprintf(a.out, "The node heals itself at %s unless somebody comes back.\n", rec.Due().Local().Format("15:04"))
		}
		if c != nil {
			a.showChanges(cmd.Context(), l, now)
		}
		if err := l.under(); err != nil && l.st.Phase != lab.Paused {
			return err
		}
		return nil
	})
}

func hintsWord(n int) string {
	switch n {
	case 0:
		return "no hint"
	case 1:
		return "one hint"
	}
	return fmt.Sprintf("%d hints", n)
}

func answersWord(list []lab.Answer) string {
	if len(list) == 0 {
		return "no answer"
	}
	last := list[len(list)-1]
	return fmt.Sprintf("last answer %s: %s", last.Name, last.Grade)
}

func (a *app) labHint() *cobra.Command {
	return a.labVerb("hint", "Show the next hint: where to look, what to run, what it means, the cause", "Show the next hint. Each costs ten points; the last one names the cause.", noArgs, func(cmd *cobra.Command, l *lesson, _ []string) error {
		says, n, err := l.hint(cmd.Context())
		if err != nil {
			return err
		}
		if says == nil {
			fmt.Fprintln(a.out, "That was the last hint. `sickbay lab solve --step` shows the remedy.")
			for _, x := range l.course.Spec.Expect {
				fmt.Fprintf(a.out, "  sickbay explain %s/%s\n", x.Failure, x.Cause)
			}
			return nil
		}
		fmt.Fprintf(a.out, "Hint %d of %d: %s\n", n, len(l.course.Of.Spec.Hints), l.say(*says))
		return nil
	})
}

// hint takes the next one; nil after the last.
func (l *lesson) hint(ctx context.Context) (says *v1alpha1.Text, n int, err error) {
	if err := l.under(); err != nil {
		return nil, 0, err
	}
	hints := l.course.Of.Spec.Hints
	err = l.store.Update(ctx, l.st, func(st *lab.State) {
		if st.Hints == len(hints) {
			return
		}
		says = &hints[st.Hints].Says
		st.Hints++
		st.Tell(time.Now(), "hint", "hint %d of %d", st.Hints, len(hints))
	})
	return says, l.st.Hints, err
}

func (a *app) labAnswer() *cobra.Command {
	cmd := a.labVerb("answer FAILURE/CAUSE", "Name the root cause", "Name the root cause. It is graded apart from the fix: exit code 0 when right, 1 when not. `sickbay explain` lists all names.", args(cobra.ExactArgs(1), "a failure, or FAILURE/CAUSE"),
		func(cmd *cobra.Command, l *lesson, args []string) error {
			grade, left, err := l.answer(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			switch {
			case grade == lab.Right && left > 0:
				fmt.Fprintln(a.out, a.paint(green, "Right, and it is not the only one."))
			case grade == lab.Right:
				fmt.Fprintln(a.out, a.paint(green, "Right."))
				return nil
			case grade == lab.RightPart:
				fmt.Fprintln(a.out, a.paint(amber, "The failure is right. Which cause?"))
			default:
				fmt.Fprintln(a.out, a.paint(red, "No."))
			}
			return no
		})
	cmd.Example = "  sickbay lab answer cni/conflist-missing"
	cmd.ValidArgsFunction = completeFailures
	return cmd
}

// answer grades a cause that was named, and tells how many nobody has named yet.
func (l *lesson) answer(ctx context.Context, name string) (grade lab.Grade, left int, err error) {
	if err := knownFinding(name); err != nil {
		return "", 0, err
	}
	if err := l.under(); err != nil {
		return "", 0, err
	}
	now, expect := time.Now(), l.course.Spec.Expect
	grade = lab.GradeAnswer(name, expect)
	err = l.store.Update(ctx, l.st, func(st *lab.State) {
		st.Answers = append(st.Answers, lab.Answer{At: now.UTC(), Name: name, Grade: grade})
		st.Tell(now, "answer", "%s: %s", name, grade)
		if grade == lab.Right && st.Named.IsZero() {
			st.Named = now.UTC()
		}
	})
	return grade, lab.Missing(l.st.Answers, expect), err
}

// knownFinding refuses a name that is none, with the nearest ones.
func knownFinding(name string) error {
	failure, cause, named := strings.Cut(name, "/")
	var all, causes []string
	for _, f := range failures.All() {
		all = append(all, f.Name)
	}
	f, ok := failures.Lookup(failure)
	if !ok {
		return unknownName("failure", failure, text.Near(failure, all, 2), "There is "+strings.Join(all, ", ")+".")
	}
	for _, c := range f.Causes {
		causes = append(causes, c.Name)
	}
	if _, ok := f.Cause(cause); named && !ok {
		return unknownName("cause of "+failure, cause, text.Near(cause, causes, 2), failure+" has "+strings.Join(causes, ", ")+".")
	}
	return nil
}

func (a *app) labCheck() *cobra.Command {
	return a.labVerb("check", "Ask the referee which goals are met", `Ask the referee. When all goals are met it restarts kubelet and runtime of the node, and looks whether they still are. Exit code 1 while
the lab is not solved.`, noArgs, func(cmd *cobra.Command, l *lesson, _ []string) error {
		ctx := cmd.Context()
		task := progress.From(ctx).Start("the referee looks", 0)
		v, err := a.judge(ctx, l, func(s string) { task.Detail("%s", s) })
		task.End(err)
		if err != nil {
			return err
		}
		a.showVerdict(l, v)
		if !v.Solved {
			return no
		}
		return nil
	})
}

// judge asks the referee, and writes down what it says.
func (a *app) judge(ctx context.Context, l *lesson, detail func(string)) (lab.Verdict, error) {
	if err := l.under(); err != nil {
		return lab.Verdict{}, err
	}
	w, _, err := a.world(ctx, l)
	if err != nil {
		return lab.Verdict{}, err
	}
	ref := &lab.Referee{World: w, Before: l.st.Before, Timings: lab.DefaultTimings(), Detail: detail}
	v, err := ref.Judge(ctx)
	if err != nil {
		return v, err
	}
	return v, l.store.Update(ctx, l.st, func(st *lab.State) { st.Judged(time.Now(), v) })
}

func (a *app) showVerdict(l *lesson, v lab.Verdict) {
	met := 0
	for _, g := range v.Goals {
		mark := a.paint(red, "✗")
		if g.Met {
			mark, met = a.paint(green, "✓"), met+1
		}
		fmt.Fprintf(a.out, "%s %s", mark, l.say(g.Says))
		if g.Why != "" {
			fmt.Fprintf(a.out, " %s", a.paint(faint, g.Why))
		}
		fmt.Fprintln(a.out)
	}
	for _, r := range v.Refused {
		if r.Reason != v1alpha1.RefusedStillIll {
			fmt.Fprintf(a.out, "%s %s: %s\n", a.paint(amber, "!"), r.Reason, r.Text)
		}
	}
	switch {
	case v.Solved:
		fmt.Fprintf(a.out, "%s in %s, with %s. `sickbay lab stop` clears up and shows the debrief.\n", a.paint(green, "Solved"), progress.Elapsed(l.st.Clock(time.Now())), hintsWord(l.st.Hints))
		if l.st.Named.IsZero() {
			fmt.Fprintln(a.out, "You have not named the cause yet: `sickbay lab answer FAILURE/CAUSE`.")
		}
	default:
		fmt.Fprintf(a.out, "%d of %d goals are met. Not solved.\n", met, len(v.Goals))
	}
}

func (a *app) labPause() *cobra.Command {
	return a.labVerb("pause", "Stop the clock; the node stays as it is", "Stop the clock and give the lab its whole time anew. The node stays ill.", noArgs, func(cmd *cobra.Command, l *lesson, _ []string) error {
		if err := a.pause(cmd.Context(), l); err != nil {
			return err
		}
		fmt.Fprintf(a.out, "Paused for %s at most. `sickbay lab resume` goes on.\n", l.st.Lease)
		return nil
	})
}

func (a *app) pause(ctx context.Context, l *lesson) error {
	if err := l.under(); err != nil {
		return err
	}
	if _, _, err := a.world(ctx, l); err != nil {
		return err
	}
	return l.store.Update(ctx, l.st, func(st *lab.State) { st.Pause(time.Now().UTC()) })
}

func (a *app) labResume() *cobra.Command {
	return a.labVerb("resume", "Start the clock again", "Start the clock again and show the ticket.", noArgs, func(cmd *cobra.Command, l *lesson, _ []string) error {
		c, err := a.resume(cmd.Context(), l)
		if err != nil {
			return err
		}
		a.briefing(a.out, l, c)
		return nil
	})
}

func (a *app) resume(ctx context.Context, l *lesson) (*cluster.Cluster, error) {
	if l.st.Phase == lab.Paused {
		l.st.Resume(time.Now().UTC())
	}
	if err := l.under(); err != nil {
		return nil, err
	}
	_, c, err := a.world(ctx, l)
	if err != nil {
		return nil, err
	}
	return c, l.store.Update(ctx, l.st, func(st *lab.State) {
		if st.Phase == lab.Paused {
			st.Resume(time.Now().UTC())
		}
	})
}

func (a *app) labSolve() *cobra.Command {
	var step bool
	cmd := a.labVerb("solve", "Show the remedy, step by step, or take it", `Apply the remedy, or with --step show one step at a time for you to type. A lab that was solved so has no score.`, noArgs,
		func(cmd *cobra.Command, l *lesson, _ []string) error {
			ctx := cmd.Context()
			w, f, err := a.reveal(ctx, l)
			if err != nil {
				return err
			}
			if f == nil {
				fmt.Fprintln(a.out, "There is nothing to show: "+nothingSeen+", or `sickbay lab check`.")
				return no
			}
			if step {
				s := l.step(f)
				fmt.Fprintf(a.out, "Step %d of %d of %s: %s\n", s.N, s.Of, s.Name, s.Why)
				if s.On != "" {
					fmt.Fprintf(a.out, "on %s:\n", s.On)
				}
				fmt.Fprintf(a.out, "  %s\n", s.Run)
				return nil
			}
			fmt.Fprintf(a.out, "%s: %s\n", a.paint(bold, f.Name()), f.Summary)
			task := progress.From(ctx).Start("cure "+f.Node+": "+f.Remedy.Name, 0)
			err = w.Remedy(ctx, f.Node, f.Remedy, func(s v1alpha1.AppliedStep) { task.Detail("%s", s.Step.Run) })
			task.End(err)
			return err
		})
	cmd.Flags().BoolVar(&step, "step", false, "show the next step, for you to type")
	return cmd
}

const nothingSeen = "no detector sees an illness of the node just now. Ask again in a moment"

// reveal finds what the remedy is for, and writes down that it was shown; nil where there is nothing.
func (a *app) reveal(ctx context.Context, l *lesson) (*lab.World, *v1alpha1.Finding, error) {
	if err := l.under(); err != nil {
		return nil, nil, err
	}
	w, _, err := a.world(ctx, l)
	if err != nil {
		return nil, nil, err
	}
	task := progress.From(ctx).Start("look at every node", 0)
	d, err := w.Diagnose(ctx)
	task.End(err)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(d.Findings, func(f v1alpha1.Finding) bool { return f.Node == l.st.Node && f.Remedy != nil })
	if i < 0 {
		return w, nil, nil
	}
	f := &d.Findings[i]
	return w, f, l.store.Update(ctx, l.st, func(st *lab.State) {
		st.Shown++
		st.Tell(time.Now(), "lab", "the remedy of %s was shown", f.Name())
	})
}

// step is the next one of what was found: they come one after the other, and behind one illness another may show.
func (l *lesson) step(f *v1alpha1.Finding) web.Step {
	i := (l.st.Shown - 1) % len(f.Remedy.Steps)
	s := f.Remedy.Steps[i]
	return web.Step{N: i + 1, Of: len(f.Remedy.Steps), Name: f.Remedy.Name, Why: s.Why, On: s.On, Run: s.Run}
}

func (a *app) labStop() *cobra.Command {
	var report string
	cmd := a.labVerb("stop", "Undo everything and show the debrief", "Undo the fault, score the lab, put it into the history and write the debrief, as Markdown and HTML.", noArgs, func(cmd *cobra.Command, l *lesson, _ []string) error {
		ctx := cmd.Context()
		d, err := a.end(ctx, l, report)
		if err != nil {
			return err
		}
		if d != nil {
			a.showDebrief(d)
		}
		return a.nextOfDrill(ctx, l)
	})
	cmd.Flags().StringVar(&report, "report", "", "folder for the debrief (default: beside the history, in the cache)")
	return cmd
}

// end undoes the fault and scores the lab; there is no debrief of one whose start was cut short.
func (a *app) end(ctx context.Context, l *lesson, report string) (*debriefed, error) {
	a.signals(ctx, l)
	now := time.Now()
	a.changes(ctx, l, now)
	c, err := a.endFault(ctx, l)
	if err != nil && !errors.As(err, new(*cluster.NotFoundError)) {
		return nil, err
	}
	if l.st.Started.IsZero() {
		return nil, nil
	}
	l.st.Tell(now, "lab", "stopped")
	return l.debrief(now, report, a.residue(ctx, l, c))
}

// residue is what the learner has left on the node, of a lab that was solved: what one gave up on says nothing.
func (a *app) residue(ctx context.Context, l *lesson, c *cluster.Cluster) []string {
	if c == nil || l.st.SolvedAt.IsZero() {
		return nil
	}
	tb, err := a.deps.testbed(ctx, c)
	if err != nil {
		return nil
	}
	t, ok := tb.(fault.Traces)
	if !ok {
		return nil
	}
	timings := suites.DefaultTimings()
	task := progress.From(ctx).Start("compare node "+l.st.Node+" with what it was", timings.Settle)
	left, err := l.store.Residue(ctx, t, l.st, timings.Poll, timings.Settle)
	task.End(err)
	return left
}

// signals puts what the cluster said into the timeline, while it still knows. A debrief without it is one all the same.
func (a *app) signals(ctx context.Context, l *lesson) {
	c, err := a.ours(ctx, l.st.Cluster)
	if err != nil || l.st.Started.IsZero() {
		return
	}
	call, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()
	// The fault was in place a moment before the clock started.
	list, err := lab.Signals(call, c.Kube(), l.st.Node, l.st.Namespace, l.st.Started.Add(-time.Minute))
	if err != nil {
		progress.From(ctx).Note("the debrief lacks the cluster's events: %s", err)
		return
	}
	l.st.Timeline = append(l.st.Timeline, list...)
}

func (a *app) labShell() *cobra.Command {
	var record bool
	cmd := a.labVerb("shell [NODE]", "Open a shell on the control plane, with kubectl, or on a node", "Open a shell on the control plane, where kubectl works, or on a node, where crictl and journalctl do.", args(cobra.MaximumNArgs(1), "the name of one node"),
		func(cmd *cobra.Command, l *lesson, args []string) error {
			if err := l.under(); err != nil {
				return err
			}
			ctx := cmd.Context()
			w, c, err := a.world(ctx, l)
			if err != nil {
				return err
			}
			on := w.ControlPlane
			if len(args) == 1 {
				if on = args[0]; !c.Has(on) {
					return noNode(c, on)
				}
			}
			record = record || l.st.Recorded
			sh, err := l.shell(ctx, c, on, term.IsTerminal(int(a.out.Fd())), record)
			if err != nil {
				return err
			}
			sh.Stdin, sh.Stdout, sh.Stderr = os.Stdin, a.out.File, a.err
			if err = sh.Run(); errors.As(err, new(*exec.ExitError)) { // the last command's
				err = nil
			}
			if record {
				err = errors.Join(err, l.keepTyped(ctx, c, on))
			}
			return err
		})
	cmd.Flags().BoolVar(&record, "record", false, "put the commands that are typed, and what kubectl changes, into the debrief, without secrets")
	return cmd
}

const adminConf = "/etc/kubernetes/admin.conf"

const shellHistory = "/run/shell-history"

// shell is a shell on a node, as a command of the engine's client. The timeline has it, and the consent to record it.
func (l *lesson) shell(ctx context.Context, c *cluster.Cluster, on string, tty, record bool) (*exec.Cmd, error) {
	now := time.Now()
	err := l.store.Update(ctx, l.st, func(st *lab.State) {
		if st.Tell(now, "shell", "a shell on %s", on); record && st.Consent.IsZero() {
			st.Consent = now.UTC()
		}
	})
	if err != nil {
		return nil, err
	}
	e := c.Engine()
	argv := []string{"exec", "-i"}
	env := map[string]string{"NODE": l.st.Node, "NAMESPACE": l.st.Namespace}
	if tty {
		argv = append(argv, "-t")
	}
	switch home := on == controlPlane(c); {
	case home && record:
		env["KUBECONFIG"] = l.onCall(ctx, c)
	case home:
		env["KUBECONFIG"] = adminConf
	}
	env["HISTFILE"] = "/dev/null" // a shell's own file is no residue of a learner's
	if record {
		env["HISTFILE"], env["HISTTIMEFORMAT"] = shellHistory, "%s "
	}
	for k, v := range env {
		argv = append(argv, "-e", k+"="+v)
	}
	sh := exec.CommandContext(ctx, e.CLI, append(argv, on, "bash")...) //nolint:gosec // the engine's own client, on a node of ours
	sh.Env = append(os.Environ(), e.Env()...)
	return sh, nil
}

// keepTyped puts what was typed on a node into the timeline. Where the node cannot tell any more there is nothing to keep.
func (l *lesson) keepTyped(ctx context.Context, c *cluster.Cluster, on string) error {
	ctx = context.WithoutCancel(ctx)
	raw, err := c.Node(on).Run(ctx, node.Sh("cat "+shellHistory+" && rm "+shellHistory))
	if err != nil {
		return nil
	}
	return l.store.Update(ctx, l.st, func(st *lab.State) { typed(st, on, string(raw)) })
}

// typed puts a shell's history into the timeline: a line of "#SECONDS" before each command.
func typed(st *lab.State, on, history string) {
	at := time.Now()
	for line := range strings.Lines(history) {
		line = strings.TrimSpace(line)
		if s, ok := strings.CutPrefix(line, "#"); ok {
			if sec, err := strconv.ParseInt(s, 10, 64); err == nil {
				at = time.Unix(sec, 0)
				continue
			}
		}
		if line != "" {
			st.Tell(at, "command", "%s: %s", on, redact.Text(line))
		}
	}
}

func (a *app) labProgress() *cobra.Command {
	var learner string
	cmd := &cobra.Command{
		Use: "progress", Short: "Show the labs so far, with their scores", Args: noArgs,
		Long:    "Show all labs that were stopped, with points and times, by the cluster that they were on: in a class that is the learner. -o json exports the history with its timelines.",
		Example: "  sickbay lab progress\n  sickbay lab progress --learner two\n  sickbay lab progress -o json",
	}
	cmd.Flags().StringVar(&learner, "learner", "", "only the labs of one learner, as the column says")
	form := output(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		store, err := labStore()
		if err != nil {
			return err
		}
		all, err := store.History()
		if err != nil {
			return err
		}
		if learner != "" {
			all = slices.DeleteFunc(all, func(d lab.Done) bool { return d.Learner != learner })
		}
		return print(a, *form, listOf("LabHistory", all), func(w io.Writer) {
			if len(all) == 0 {
				fmt.Fprintln(w, "no lab yet: `sickbay lab start`")
				return
			}
			table(w, func(row func(...string)) {
				row("LEARNER", "ENDED", "CODE", "TOPIC", "LEVEL", "POINTS", "NAMED", "SOLVED", "HINTS")
				for _, d := range all {
					row(cmp.Or(d.Learner, "-"), d.Ended.Local().Format("2006-01-02 15:04"), d.Code, d.Topic, fmt.Sprint(d.Level), fmt.Sprint(d.Score.Points), after(d.Score.Detect), after(d.Score.Mitigate), fmt.Sprint(d.Score.Hints))
				}
			})
		})
	}
	return cmd
}

func after(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return progress.Elapsed(d)
}
