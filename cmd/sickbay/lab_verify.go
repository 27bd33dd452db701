package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/internal/lab"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/version"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

func (a *app) labVerify() *cobra.Command {
	var g clusterOptions
	var node, tableFile string
	var all bool
	var trust bool
	cmd := &cobra.Command{
		Use:   "verify NAME... | --all",
		Short: "Prove labs on a cluster: hints, wrong fixes, right fixes",
		Long: `Prove labs on a cluster of sickbay's: unsolved each is refused, each hint's proof holds, each wrong fix is refused for its reason, the
remedy and every way to solve it are accepted and last, and then no hint's proof holds any more. Exit code 1 if one does not.`,
		Example: `  sickbay lab verify conflist-missing
  sickbay lab verify --all --table docs/results/labs.md`,
		Args: cobra.ArbitraryArgs, ValidArgsFunction: completeScenarios,
	}
	a.clusterFlags(cmd, &g)
	a.nodeFlag(cmd, &node, "the worker to make ill (default: a free one)")
	cmd.Flags().BoolVar(&all, "all", false, "all core labs")
	cmd.Flags().StringVar(&tableFile, "table", "", "write the proofs into this file, as Markdown")
	trustFlag(cmd, &trust)
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		courses, err := coursesFor(args, all)
		if err != nil {
			return err
		}
		if err := g.check(); err != nil {
			return err
		}
		ctx := cmd.Context()
		if err := a.trusted(ctx, scenariosOfCourses(courses), trust); err != nil {
			return err
		}
		g.victim = node
		c, err := a.ready(ctx, g)
		if err != nil {
			return err
		}
		tb, err := a.deps.testbed(ctx, c)
		if err != nil {
			return err
		}
		var proofs []lab.Proof
		ok := true
		for _, course := range courses {
			p := a.verifyOne(ctx, tb, c, course, node)
			proofs, ok = append(proofs, p), ok && p.OK()
			// The table grows lab by lab: one that is interrupted has proven the others.
			if tableFile != "" {
				about := fmt.Sprintf("sickbay %s, %s", version.String(), c.Image)
				if err := os.WriteFile(tableFile, []byte(lab.Table(proofs, time.Now(), about)), 0o644); err != nil { //nolint:gosec // a page of docs
					return err
				}
			}
			if ctx.Err() != nil {
				break
			}
		}
		if err := print(a, *form, listOf("LabProofList", proofs), func(w io.Writer) { a.showProofs(w, proofs) }); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return suites.ErrInterrupted
		}
		if !ok {
			return no
		}
		return nil
	}
	return cmd
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
	task := progress.From(ctx).Start("prove lab "+course.Of.Spec.Code+" ("+course.Metadata.Name+")", 0)
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
	var err error
	if !p.OK() {
		err = fmt.Errorf("not proven")
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
