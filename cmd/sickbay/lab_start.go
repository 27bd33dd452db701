package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"
	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/lab"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/testbed"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

// labStarting is what start, reset and drill have in common.
type labStarting struct {
	clusterOptions
	node     string
	lease    time.Duration
	language string
	level    int
	topic    string
	seed     uint64
	record   bool
	beside   bool // another lab of the same drill
}

func (a *app) labStartFlags(cmd *cobra.Command, o *labStarting) {
	a.clusterFlags(cmd, &o.clusterOptions)
	a.nodeFlag(cmd, &o.node, "the worker to make ill (default: a free one)")
	filterFlags(cmd, &o.level, &o.topic)
	languageFlag(cmd, &o.language)
	cmd.Flags().DurationVar(&o.lease, "for", 2*time.Hour, "the node heals itself when nobody came back for this time")
	cmd.Flags().BoolVar(&o.record, "record", false, "put the commands of lab shells, and what kubectl changes, into the debrief, without secrets")
	cmd.Flags().Uint64Var(&o.seed, "seed", 0, "draw the same lab again (default: another one each time)")
}

func (o *labStarting) check() error {
	if err := o.clusterOptions.check(); err != nil {
		return err
	}
	if o.lease < 5*time.Minute || o.lease > 24*time.Hour {
		return usagef("--for %s: it must be five minutes to 24 hours", o.lease)
	}
	if o.language != "en" && o.language != "ko" {
		return usagef("--language %q: it must be en or ko", o.language)
	}
	return checkFilter(o.level, o.topic)
}

func (a *app) labStart() *cobra.Command {
	var o labStarting
	var trust bool
	cmd := &cobra.Command{
		Use:   "start [CODE]",
		Short: "Make a node ill without saying how",
		Long: `Pick a lab blind, make a node of the cluster ill, and show the page and the ticket. A code, or the name of a scenario for those who
teach, chooses the lab.`,
		Example: `  sickbay lab start --level 1
  sickbay lab start --topic network --seed 7
  sickbay lab start L07`,
		Args: args(cobra.MaximumNArgs(1), "the code of one lab"), ValidArgsFunction: completeLabs,
	}
	a.labStartFlags(cmd, &o)
	trustFlag(cmd, &trust)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var courses []scenarios.Course
		if len(args) == 1 {
			c, err := scenarios.FindCourse(args[0])
			if err != nil {
				return err
			}
			courses = []scenarios.Course{*c}
		}
		if err := o.check(); err != nil {
			return err
		}
		if err := a.trusted(cmd.Context(), scenariosOfCourses(courses), trust); err != nil {
			return err
		}
		if len(courses) == 0 {
			seed := o.seed
			if !cmd.Flags().Changed("seed") {
				seed = rand.Uint64() //nolint:gosec // it draws a lab
			}
			var err error
			// Some may not fit this machine: the next of the same draw is taken.
			if courses, err = pick(lab.Filter{Level: o.level, Topic: o.topic, Core: true}, seed); err != nil {
				return err
			}
		}
		return a.begin(cmd.Context(), o, courses, nil)
	}
	return cmd
}

// pick draws labs until there is none left of the kind.
func pick(f lab.Filter, seed uint64) ([]scenarios.Course, error) {
	all, err := scenarios.Courses()
	if err != nil {
		return nil, err
	}
	for n := 5; n > 0; n-- {
		if list, err := lab.Pick(all, f, seed, n); err == nil {
			return list, nil
		}
	}
	return nil, usagef("there is no lab of level %d, topic %q: `sickbay lab list` shows them all", f.Level, f.Topic)
}

// begin starts a lab and shows what an on-call gets.
func (a *app) begin(ctx context.Context, o labStarting, courses []scenarios.Course, drill *lab.Drill) error {
	l, c, err := a.beginLab(ctx, o, courses, drill)
	if err != nil {
		return err
	}
	a.briefing(a.out, l, c)
	fmt.Fprintf(a.out, "Started in %s.\n", progress.Elapsed(l.took))
	startKnowing(ctx, l)
	return nil
}

// startKnowing has a process of its own write down when the detectors know: the terminal is the learner's.
func startKnowing(ctx context.Context, l *lesson) {
	if err := detached("lab", "know", "--cluster", l.st.Cluster, "--lab", l.st.Code).Start(); err != nil {
		progress.From(ctx).Note("the debrief will not tell when the detectors knew: %s", err)
	}
}

// beginLab starts the first of the labs that this machine can host.
func (a *app) beginLab(ctx context.Context, o labStarting, courses []scenarios.Course, drill *lab.Drill) (*lesson, *cluster.Cluster, error) {
	store, err := labStore()
	if err != nil {
		return nil, nil, err
	}
	if st, err := store.Load(lab.Key(o.cluster, o.beside)); err == nil {
		return nil, nil, &usageError{text: fmt.Sprintf("lab %s is on cluster %s already", st.Code, st.Cluster),
			hint: "`sickbay lab status` shows it, `sickbay lab reset` makes its fault anew, `sickbay lab stop` ends it."}
	} else if !errors.Is(err, lab.ErrNone) {
		return nil, nil, err
	}
	o.victim = o.node
	c, err := a.ready(ctx, o.clusterOptions)
	if err != nil {
		return nil, nil, err
	}
	tb, err := a.deps.testbed(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	for i, course := range courses {
		l := &lesson{store: store, course: &course, language: o.language, st: &lab.State{
			Code: course.Of.Spec.Code, Cluster: c.Name, Phase: lab.Starting, Beside: o.beside, Lease: o.lease, Language: o.language, Drill: drill, Recorded: o.record,
		}}
		if !strings.HasPrefix(course.Dir, "scenarios/") {
			l.st.Path = course.Dir
		}
		err := a.makeIll(ctx, l, tb, c, o.node)
		if errors.As(err, new(*injectors.UnsupportedError)) && i < len(courses)-1 {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		return l, c, nil
	}
	return nil, nil, errors.New("there was no lab to start")
}

// makeIll places the lab's fault, remembers the lab before it does, and leaves it to the lab.
func (a *app) makeIll(ctx context.Context, l *lesson, tb suites.Testbed, c *cluster.Cluster, node string) error {
	if err := l.save(); err != nil {
		return err
	}
	began := time.Now()
	node = l.keepTraces(ctx, tb, c, node)
	ill, err := a.place(ctx, tb, c, l.course.Scenario, node, 0, l.st.Code)
	if err != nil {
		return errors.Join(err, l.store.Remove(l.st))
	}
	l.st.Node, l.st.Run, l.st.Namespace, l.st.Placed = ill.Node, ill.Run, ill.Namespace(), ill.Injected()
	l.st.Vouched = ill.RegistryCA()
	w := &lab.World{Testbed: tb, Course: l.course, Session: ill.Session, Node: c.Node, ControlPlane: controlPlane(c), Placed: l.st.Placed}
	if l.st.Before, err = w.Snapshot(ctx); err != nil {
		return errors.Join(err, ill.end(ctx), l.store.Remove(l.st))
	}
	now := time.Now()
	l.took = now.Sub(began)
	l.st.Phase, l.st.Record = lab.Running, lab.Record{Started: now.UTC()}
	if l.st.Consent = (time.Time{}); l.st.Recorded {
		l.st.Consent = now.UTC()
		l.onCall(ctx, c)
	}
	l.st.Tell(now, "lab", "the fault is in place; that took %s", progress.Elapsed(l.took))
	// First the state: a node that is ill and of which nobody knows heals itself.
	if err := l.save(); err != nil {
		return errors.Join(err, ill.end(ctx))
	}
	return ill.leave(ctx, l.st.Lease)
}

// keepTraces writes down how the node is that falls ill. A score without that is one all the same.
func (l *lesson) keepTraces(ctx context.Context, tb suites.Testbed, c *cluster.Cluster, node string) string {
	t, ok := tb.(fault.Traces)
	if node == "" {
		free, _ := workersFor(ctx, tb, c, proving{parallel: 1}) // that there is none is told by who claims it
		if len(free) == 0 {
			return ""
		}
		node = free[0]
	}
	if l.st.Node = node; ok {
		if err := l.store.KeepTraces(ctx, t, l.st); err != nil {
			progress.From(ctx).Note("the score will not tell what is left on node %s: %s", node, err)
		}
	}
	return node
}

// briefing is what an on-call gets, and how to get in.
func (a *app) briefing(w io.Writer, l *lesson, c *cluster.Cluster) {
	spec := l.course.Of.Spec
	fmt.Fprintf(w, "\n%s  %s, level %d, typically %d min\n\n", a.paint(bold, spec.Code), spec.Topic, spec.Level, spec.Minutes)
	if spec.Page != "" {
		fmt.Fprintf(w, "%s\n\n", a.paint(red, spec.Page))
	}
	fmt.Fprintf(w, "%s\n\n", strings.TrimSpace(l.say(spec.Story)))
	if c != nil {
		fmt.Fprintf(w, "The cluster is %s.\n", c.Name)
		if file, note := l.kubeconfig(c); file != "" {
			fmt.Fprintf(w, "  export KUBECONFIG=%s%s\n", shellescape.Quote(file), note)
		}
		for _, n := range c.Nodes() {
			fmt.Fprintf(w, "  sickbay lab shell %s\n", n.Name)
		}
	}
	fmt.Fprint(w, "  sickbay lab hint | answer FAILURE/CAUSE | check | status | pause | stop\n")
}

func (a *app) labReset() *cobra.Command {
	return a.labVerb("reset", "Make the same fault anew, with a new clock", "Undo the lab and make the same fault again. The clock, hints and answers begin anew.", noArgs, func(cmd *cobra.Command, l *lesson, _ []string) error {
		c, err := a.reset(cmd.Context(), l)
		if err != nil {
			return err
		}
		a.briefing(a.out, l, c)
		startKnowing(cmd.Context(), l)
		return nil
	})
}

func (a *app) reset(ctx context.Context, l *lesson) (*cluster.Cluster, error) {
	c, err := a.endFault(ctx, l)
	if err != nil {
		return nil, err
	}
	tb, err := a.deps.testbed(ctx, c)
	if err != nil {
		return nil, err
	}
	node := l.st.Node
	if !c.Has(node) {
		node = ""
	}
	l.st.Phase, l.st.Run, l.st.Decoys = lab.Starting, "", nil
	return c, a.makeIll(ctx, l, tb, c, node)
}

// endFault undoes what the lab has made, also where its start was cut short.
func (a *app) endFault(ctx context.Context, l *lesson) (*cluster.Cluster, error) {
	c, err := a.ours(ctx, l.st.Cluster)
	if err != nil {
		return nil, err
	}
	left, err := testbed.ListOrphans(ctx, c)
	if err != nil {
		return nil, err
	}
	prefix := strings.ToLower(l.st.Code) + "-"
	for _, o := range left {
		// A start that was cut short has not written down its run.
		if o.Run != l.st.Run && !slices.Contains(l.st.Decoys, o.Run) && !(l.st.Run == "" && strings.HasPrefix(o.Run, prefix)) {
			continue
		}
		if err := a.undoOne(ctx, c, o); err != nil {
			return nil, hint(err, "Try again with: sickbay recover --cluster %s --run %s", c.Name, o.Run)
		}
	}
	return c, nil
}
