package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/internal/atomicfile"
	"github.com/sickbay-dev/sickbay/internal/lab"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/version"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

// proving is what `lab verify` was asked for.
type proving struct {
	clusterOptions
	node, table        string
	all, resume, retry bool
	parallel           int
	trust              bool
}

func (a *app) labVerify() *cobra.Command {
	var o proving
	cmd := &cobra.Command{
		Use:   "verify NAME... | --all",
		Short: "Prove labs on a cluster: hints, wrong fixes, right fixes",
		Long: `Prove labs on a cluster of sickbay's: unsolved each is refused, each hint's proof holds, each wrong fix is refused for its reason, the
remedy and every way to solve it are accepted and last, and then no hint's proof holds any more. Labs are proven side by side, each on
a worker of its own. Each proof is written down when it is there: after an interruption --resume goes on, and --retry-failed proves
again what was not as it should be. A lab that was changed since is always proven again. Exit code 1 if one is not proven.`,
		Example: `  sickbay lab verify conflist-missing
  sickbay lab verify --all --table docs/results/labs.md
  sickbay lab verify --all --resume --table docs/results/labs.md`,
		Args: cobra.ArbitraryArgs, ValidArgsFunction: completeScenarios,
	}
	a.clusterFlags(cmd, &o.clusterOptions)
	a.nodeFlag(cmd, &o.node, "the only worker to make ill (default: all that are free)")
	cmd.Flags().BoolVar(&o.all, "all", false, "all core labs")
	cmd.Flags().IntVar(&o.parallel, "parallel", 0, "number of labs at a time (default: the number of free workers)")
	cmd.Flags().StringVar(&o.table, "table", "", "write the proofs into this file, as Markdown, after each lab")
	cmd.Flags().BoolVar(&o.resume, "resume", false, "leave out labs that have a proof, good or bad")
	cmd.Flags().BoolVar(&o.retry, "retry-failed", false, "leave out labs that are proven")
	cmd.MarkFlagsMutuallyExclusive("resume", "retry-failed")
	trustFlag(cmd, &o.trust)
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		courses, err := coursesFor(args, o.all)
		if err != nil {
			return err
		}
		if err := o.check(); err != nil {
			return err
		}
		if o.parallel < 0 {
			return usagef("--parallel %d: it cannot be below zero", o.parallel)
		}
		ctx := cmd.Context()
		if err := a.trusted(ctx, scenariosOfCourses(courses), o.trust); err != nil {
			return err
		}
		proofs, err := a.prove(ctx, o, courses)
		if err != nil {
			return err
		}
		if err := print(a, *form, listOf("LabProofList", proofs), func(w io.Writer) { a.showProofs(w, proofs) }); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return suites.ErrInterrupted
		}
		if slices.ContainsFunc(proofs, func(p lab.Proof) bool { return !p.OK() }) {
			return no
		}
		return nil
	}
	return cmd
}

// prove proves what has no proof yet, and returns all proofs there are of these labs.
func (a *app) prove(ctx context.Context, o proving, courses []scenarios.Course) ([]lab.Proof, error) {
	store, err := labStore()
	if err != nil {
		return nil, err
	}
	file := lab.Proofs{File: filepath.Join(store.Dir, "proofs.jsonl")}
	had, err := file.Of(courses)
	if err != nil {
		return nil, err
	}
	var todo []scenarios.Course
	var proofs []lab.Proof
	for _, c := range courses {
		if p, ok := had[c.Of.Spec.Code]; ok && (o.resume || o.retry && p.OK()) {
			proofs = append(proofs, p)
		} else {
			todo = append(todo, c)
		}
	}
	if len(todo) == 0 {
		return proofs, writeProofs(o.table, proofs)
	}
	o.victim = o.node
	c, err := a.ready(ctx, o.clusterOptions)
	if err != nil {
		return nil, err
	}
	tb, err := a.deps.testbed(ctx, c)
	if err != nil {
		return nil, err
	}
	class := lab.Class{Usable: func(n string) bool { return claimable(ctx, tb, n) == nil }}
	if class.Workers, err = workersFor(ctx, tb, c, o); err != nil {
		return nil, err
	}
	class.Prove = func(ctx context.Context, course scenarios.Course, worker string) lab.Proof {
		return a.verifyOne(ctx, tb, c, course, worker)
	}
	var errs []error
	class.Done = func(p lab.Proof) {
		proofs = append(proofs, p)
		errs = append(errs, file.Add(p), writeProofs(o.table, proofs))
		bad := slices.IndexFunc(p.Checks, func(c lab.Check) bool { return !c.OK })
		if bad >= 0 {
			progress.From(ctx).Note("%s %s: want %s, got %s", p.Code, p.Checks[bad].Name, p.Checks[bad].Want, p.Checks[bad].Got)
		}
		progress.From(ctx).Note("%d of %d labs", len(proofs), len(courses))
	}
	class.ProveAll(ctx, todo)
	return proofs, errors.Join(errs...)
}

// claimable says why a worker can have no lab now.
func claimable(ctx context.Context, tb suites.Testbed, worker string) error {
	release, err := tb.Claim(context.WithoutCancel(ctx), worker)
	if err == nil {
		release()
	}
	return err
}

// workersFor are the workers that labs are proven on.
func workersFor(ctx context.Context, tb suites.Testbed, c *cluster.Cluster, o proving) ([]string, error) {
	candidates := c.Victims()
	if o.node != "" {
		candidates = []string{o.node}
	}
	var out []string
	err := fmt.Errorf("cluster %s has no worker", c.Name)
	for _, n := range candidates {
		if e := claimable(ctx, tb, n); e != nil {
			err = e
		} else if o.parallel == 0 || len(out) < o.parallel {
			out = append(out, n)
		}
	}
	if len(out) == 0 {
		return nil, err
	}
	return out, nil
}

func writeProofs(file string, proofs []lab.Proof) error {
	if file == "" {
		return nil
	}
	return atomicfile.Write(file, []byte(lab.Table(proofs)), 0o644)
}

func scenariosOfCourses(courses []scenarios.Course) (out []*scenarios.Scenario) {
	for _, c := range courses {
		out = append(out, c.Scenario)
	}
	return out
}

// coursesFor are the named labs, or all core ones.
func coursesFor(names []string, all bool) ([]scenarios.Course, error) {
	if all == (len(names) > 0) {
		return nil, usagef("`sickbay lab verify` takes the names of labs, or --all")
	}
	var out []scenarios.Course
	for _, n := range names {
		c, err := scenarios.FindCourse(n)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(o scenarios.Course) bool { return o.Metadata.Name == c.Metadata.Name }) {
			return nil, usagef("lab %s is named twice", c.Of.Spec.Code)
		}
		out = append(out, *c)
	}
	if !all {
		return out, nil
	}
	list, err := scenarios.Courses()
	for _, c := range list {
		if c.Spec.Profile == "core" {
			out = append(out, c)
		}
	}
	return out, err
}

func (a *app) verifyOne(ctx context.Context, tb suites.Testbed, c *cluster.Cluster, course scenarios.Course, node string) lab.Proof {
	task := progress.From(ctx).Start("prove lab "+course.Of.Spec.Code+" ("+course.Metadata.Name+") on "+node, 0)
	v := &lab.Verifier{Course: &course, Timings: lab.DefaultTimings(), Detail: func(s string) { task.Detail("%s", s) }}
	v.Place = func(ctx context.Context) (*lab.Fault, error) {
		ill, err := a.place(ctx, tb, c, course.Scenario, node, 0, course.Of.Spec.Code)
		if err != nil {
			return nil, err
		}
		w := &lab.World{Testbed: tb, Course: &course, Session: ill.Session, Node: c.Node, ControlPlane: controlPlane(c), Placed: ill.Injected(), Remedy: tb.Remedy}
		f := &lab.Fault{World: w, End: ill.end}
		if f.Before, err = w.Snapshot(ctx); err != nil {
			return nil, fmt.Errorf("look at the cluster: %w", joinEnd(err, ill.end(ctx)))
		}
		return f, nil
	}
	p := v.Verify(ctx)
	p.Of, p.At = lab.Hash(course), time.Now().UTC()
	p.Version = fmt.Sprintf("%s, %s", version.String(), c.Image)
	var err error
	if !p.OK() {
		err = errors.New("not proven")
	}
	task.End(err)
	return p
}

func joinEnd(err, end error) error {
	if end == nil {
		return err
	}
	return fmt.Errorf("%w; and undoing it: %w", err, end)
}

func (a *app) showProofs(w io.Writer, proofs []lab.Proof) {
	for _, p := range proofs {
		mark := a.paint(red, "✗")
		if p.OK() {
			mark = a.paint(green, "✓")
		}
		fmt.Fprintf(w, "%s %s %s, %d checks in %s\n", mark, p.Code, p.Scenario, len(p.Checks), progress.Elapsed(time.Duration(p.TookMS)*time.Millisecond))
		if p.Unproven != "" {
			fmt.Fprintf(w, "    %s\n", strings.ReplaceAll(p.Unproven, "\n", "\n    "))
		}
		for _, c := range p.Checks {
			if !c.OK {
				fmt.Fprintf(w, "    %s: want %s, got %s\n", c.Name, c.Want, c.Got)
			}
		}
	}
}

func join(list []string) string { return strings.Join(list, ",") }
