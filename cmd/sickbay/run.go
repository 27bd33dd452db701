package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	kindconfigs "github.com/sickbay-dev/sickbay/kind-configs"

	"github.com/sickbay-dev/sickbay/internal/bounds"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/platform/nodeimage"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/report"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	"github.com/sickbay-dev/sickbay/internal/version"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

// runFlags are the flags of run and suite.
type runFlags struct {
	clusterOptions
	noop, noRemedy, keep bool
	trust                bool
	controls             string
	blindRestart         string
	report, summary      string
	node                 string
	parallel             int
	profile              string
	shard                *v1alpha1.Shard
	seed                 uint64
	scoringFlags
	cells         []cell // of --matrix
	lease         time.Duration
	runID, killAt string
	interrupt     bool
}

func (a *app) runFlags(cmd *cobra.Command, f *runFlags) {
	fl := cmd.Flags()
	fl.BoolVar(&f.noop, "noop", false, "control: inject nothing; the run must stop at manifest")
	fl.BoolVar(&f.noRemedy, "no-remedy", false, "control: withhold the remedy; the run must fail at clear")
	fl.StringVar(&f.controls, "controls", "", "also run the controls with the same injection: noop, no-remedy and a blind restart; for all scenarios or only the core ones")
	fl.Lookup("controls").NoOptDefVal = "all"
	_ = cmd.RegisterFlagCompletionFunc("controls", cobra.FixedCompletions(controlled, cobra.ShellCompDirectiveNoFileComp))
	fl.StringVar(&f.blindRestart, "blind-restart", "", "how --controls restarts blindly: "+strings.Join(restarts(), ", ")+" (default: containerd, then the kubelet)")
	_ = cmd.RegisterFlagCompletionFunc("blind-restart", cobra.FixedCompletions(restarts(), cobra.ShellCompDirectiveNoFileComp))
	f.register(fl)
	trustFlag(cmd, &f.trust)
	fl.BoolVar(&f.keep, "keep", false, "keep a failed run in place for inspection (the node undoes the fault after 30 minutes)")
	fl.StringVar(&f.report, "report", "", "write report.json, junit.xml, report.html, timeline.jsonl and bundle/ into this folder")
	summaryFlag(cmd, &f.summary)
	fl.DurationVar(&f.lease, "lease", suites.DefaultTimings().Lease, "if this process dies, the node undoes the fault after this time")
	a.clusterFlags(cmd, &f.clusterOptions)
	cmd.MarkFlagsMutuallyExclusive("noop", "no-remedy", "controls")
	cmd.MarkFlagsMutuallyExclusive("noop", "detector")
	cmd.MarkFlagsMutuallyExclusive("no-remedy", "detector")
	_ = cmd.MarkFlagDirname("report")
}

// control is the control that the flags ask for; they exclude each other.
func (f *runFlags) control() suites.Controls {
	switch {
	case f.noop:
		return suites.OnlyNoop
	case f.noRemedy:
		return suites.OnlyNoRemedy
	}
	return suites.Controls(f.controls)
}

// leastLease is the shortest lease: it is renewed every third of it, and on a busy machine a renewal takes seconds.
const leastLease = 15 * time.Second

// mostLease is the longest: a node stays ill for so long after the process that made it so has died.
const mostLease = 24 * time.Hour

// controlled are the values of --controls.
var controlled = []string{"all", "core"}

// restarts are the values of --blind-restart.
func restarts() []string {
	var out []string
	for _, r := range suites.Restarts {
		out = append(out, string(r))
	}
	return out
}

// clusterFlags are the flags that say what to run on.
func (a *app) clusterFlags(cmd *cobra.Command, g *clusterOptions) {
	a.clusterFlag(cmd, &g.cluster)
	fl := cmd.Flags()
	fl.StringVar(&g.image, "image", "", "node image (default: one in the engine, else kind's, else one built here)")
	fl.StringVar(&g.kubernetes, "kubernetes", "", "Kubernetes version or minor of the node image, such as v1.37.2 or 1.36")
	a.runtimeFlag(cmd, &g.runtime)
	fl.StringVar(&g.topology, "topology", "", "shape of a new cluster: "+strings.Join(kindconfigs.Topologies(), ", ")+" (default "+kindconfigs.DefaultTopology+"; of more than "+strconv.Itoa(many)+" scenarios "+kindconfigs.WideTopology+")")
	fl.StringVar(&g.profile, "timings", "", "kubelet timings of a new cluster: "+strings.Join(kindconfigs.Profiles(), ", ")+" (default "+kindconfigs.DefaultProfile+")")
	fl.BoolVar(&g.online, "online", false, "allow a new cluster to reach the network")
	_ = cmd.RegisterFlagCompletionFunc("topology", cobra.FixedCompletions(kindconfigs.Topologies(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("timings", cobra.FixedCompletions(kindconfigs.Profiles(), cobra.ShellCompDirectiveNoFileComp))
}

// runtimeFlag chooses among node images by the runtime in them.
func (a *app) runtimeFlag(cmd *cobra.Command, runtime *string) {
	cmd.Flags().StringVar(runtime, "runtime", "", nodeimage.RuntimeHelp)
	_ = cmd.RegisterFlagCompletionFunc("runtime", cobra.FixedCompletions(nodeimage.Runtimes(), cobra.ShellCompDirectiveNoFileComp))
}

func (g clusterOptions) check() error {
	if g.runtime != "" && !slices.Contains(nodeimage.Runtimes(), g.runtime) {
		return usagef("--runtime %q: it must be one of %s", g.runtime, strings.Join(nodeimage.Runtimes(), ", "))
	}
	if g.runtime != "" && g.image != "" {
		return usagef("--runtime and --image: an image has its runtime already")
	}
	if g.topology != "" && !slices.Contains(kindconfigs.Topologies(), g.topology) {
		return usagef("--topology %q: it must be one of %s", g.topology, strings.Join(kindconfigs.Topologies(), ", "))
	}
	if g.profile != "" && !slices.Contains(kindconfigs.Profiles(), g.profile) {
		return usagef("--timings %q: it must be one of %s", g.profile, strings.Join(kindconfigs.Profiles(), ", "))
	}
	if g.kubernetes != "" && !kubernetesValue.MatchString(g.kubernetes) {
		return usagef("--kubernetes %q is no version of Kubernetes, such as 1.37", g.kubernetes)
	}
	return nil
}

func (a *app) run() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run SCENARIO...",
		Short: "Run scenarios: inject, detect, fix, and check that nothing is left",
		Long: `Run scenarios by name, or by the path of your own scenario.yaml; what a file would do is shown and asked first, unless --trust is
given. The engine, the node image and the cluster ` + defaultCluster + ` are created if needed and reused otherwise. Another cluster must
exist (sickbay cluster up); one that others made is only taken with --adopt. Several scenarios run in parallel, each on its own worker.

Exit code: 0 every scenario passed, 1 one failed, 3 one could not be judged or set up.`,
		Example: `  sickbay run pleg-disk
  sickbay run pleg-disk --noop              # a control: must fail at manifest, with exit code 1
  sickbay run swap-on conflist-missing --report /tmp/report
  sickbay run ./my-fault/scenario.yaml --keep
  sickbay run swap-on --cluster dev --adopt # a kind cluster that sickbay did not make`,
		Args:              args(cobra.MinimumNArgs(1), "the names of one or more scenarios"),
		ValidArgsFunction: completeScenarios,
	}
	a.runFlags(cmd, &f)
	a.nodeFlag(cmd, &f.node, "the worker to inject into (default: a free one)")
	adoptFlags(cmd, &f.clusterOptions)
	// For `sickbay chaos`: a run's name, and where its process kills or interrupts itself.
	cmd.Flags().StringVar(&f.runID, "run-id", "", "")
	cmd.Flags().StringVar(&f.killAt, "kill-at", "", "")
	cmd.Flags().BoolVar(&f.interrupt, "interrupt", false, "")
	for _, hidden := range []string{"run-id", "kill-at", "interrupt"} {
		_ = cmd.Flags().MarkHidden(hidden)
	}
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		list, err := findScenarios(names)
		var unknown *scenarios.NotFoundError
		if errors.As(err, &unknown) && cmd.Flags().Changed("controls") && slices.Contains(controlled, unknown.Name) {
			return usagef("--controls takes its value with =: --controls=%s", unknown.Name)
		}
		if err != nil {
			return err
		}
		if f.yes && !f.adopt {
			return usagef("--yes needs --adopt")
		}
		if f.node != "" && len(list) > 1 {
			return usagef("--node is for one scenario; these are %d", len(list))
		}
		return a.runScenarios(cmd.Context(), list, f, *form)
	}
	return cmd
}

func (a *app) suite() *cobra.Command {
	var f runFlags
	var choice suites.Selection
	var shard, matrix string
	cmd := &cobra.Command{
		Use:   "suite",
		Short: "Run all scenarios of a profile",
		Long: `Run all scenarios of a profile in parallel, each on its own worker. A scenario that this machine cannot host is reported as
unsupported, with the missing kernel feature.

With --controls every scenario must also fail when nothing is injected, when the remedy is withheld, and when containerd and the
kubelet are only restarted. All controls use one injection; if the restart fixes the fault, the scenario is run once more.

With --matrix the suite is run in one cell after the other, each on a cluster of its own that is made and taken down; one report
has them all, with the cell in each result.`,
		Example: `  sickbay suite --report reports/nightly --controls
  sickbay suite --profile all --controls=core --parallel 2
  sickbay suite --detector sickbay --detector exec:./mine --detector kubectl --report reports/field
  sickbay suite --only failure=cni --only needs=registry --skip fidelity=contained --repeat 5
  sickbay suite --profile all --shard 2/5 --report shard-2   # the second of five machines
  sickbay suite --matrix kubernetes=1.34,1.37,runtime=containerd,crio --report reports/matrix`,
		Args: noArgs,
	}
	a.runFlags(cmd, &f)
	profileFlag(cmd, &f.profile, "core")
	cmd.Flags().StringArrayVar(&choice.Only, "only", nil, "only these: a name, failure or cause, or KEY=PATTERN with cause, failure, fidelity, label, name, needs or profile; several joined by commas have to hold together")
	cmd.Flags().StringArrayVar(&choice.Skip, "skip", nil, "not these; as --only")
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "order of the scenarios (default: by chance; the run prints it)")
	cmd.Flags().StringVar(&shard, "shard", "", "run one part of the suite, as 2/5: the parts take about as long as each other; sickbay report merge puts them together")
	cmd.Flags().StringVar(&matrix, "matrix", "", "run every combination, as kubernetes=1.34,1.37,runtime=containerd,crio: one report, a cluster for each")
	for _, other := range []string{"image", "shard"} {
		cmd.MarkFlagsMutuallyExclusive("matrix", other)
	}
	cmd.Flags().IntVar(&f.parallel, "parallel", 0, "number of scenarios at a time (default: the number of free workers)")
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		choice.Profile = f.profile
		list, profile, err := suites.Select(choice)
		if err != nil {
			return err
		}
		f.profile = profile
		if cmd.Flags().Changed("matrix") {
			if f.cells, err = parseMatrix(matrix); err != nil {
				return err
			}
			if c := f.cells[0]; c.kubernetes != "" && f.kubernetes != "" || c.runtime != "" && f.runtime != "" {
				return usagef("--matrix %s: its cells have their own --kubernetes and --runtime", matrix)
			}
		}
		if shard != "" {
			part, err := suites.ParseShard(shard)
			if err != nil {
				return err
			}
			if list, part, err = suites.ShardOf(list, part); err != nil {
				return err
			}
			f.shard = &part
		}
		if f.seed == 0 {
			f.seed = rand.Uint64N(1e6) + 1
		}
		return a.runScenarios(cmd.Context(), list, f, *form)
	}
	return cmd
}

// findScenarios loads every scenario before anything is touched: a typing error in the last must not cost the first.
func findScenarios(names []string) ([]*scenarios.Scenario, error) {
	var list []*scenarios.Scenario
	for _, n := range names {
		s, err := scenarios.Find(n)
		if err != nil {
			if much := (*bounds.TooMuchError)(nil); errors.As(err, &much) || errors.Is(err, bounds.ErrNotFile) {
				return nil, usagef("%s", err)
			}
			if errors.Is(err, os.ErrNotExist) {
				if failure, cause := failures.Split(n); failures.Known(failure, cause) {
					return nil, usagef("%s is a finding; scenarios that must find it: %s", n, strings.Join(scenariosOf(failure, cause), ", "))
				}
				return nil, usagef("%s", err)
			}
			return nil, err
		}
		if slices.ContainsFunc(list, func(o *scenarios.Scenario) bool { return o.Metadata.Name == s.Metadata.Name }) {
			return nil, usagef("scenario %s is named twice", s.Metadata.Name)
		}
		list = append(list, s)
	}
	return list, nil
}

// valid refuses flags that do not go together, and values that are none.
func (f runFlags) valid() error {
	if err := f.check(); err != nil {
		return err
	}
	switch {
	case f.blindRestart != "" && (f.controls == "" || !slices.Contains(restarts(), f.blindRestart)):
		return usagef("--blind-restart=%s: it needs --controls, and must be one of %s", f.blindRestart, strings.Join(restarts(), ", "))
	case f.controls != "" && !slices.Contains(controlled, f.controls):
		return usagef("--controls=%s: it must be one of %s", f.controls, strings.Join(controlled, ", "))
	case f.lease < leastLease || f.lease > mostLease:
		return usagef("--lease %s: it must be %s, three renewals of some seconds each, to %s", f.lease, leastLease, mostLease)
	case f.parallel < 0:
		return usagef("--parallel %d: it cannot be below zero", f.parallel)
	case f.repeat < 1:
		return usagef("--repeat %d: it must be 1 at least", f.repeat)
	case f.retries < 0:
		return usagef("--retries %d: it cannot be below zero", f.retries)
	case f.detectorWait < 0:
		return usagef("--detector-wait %s: it cannot be below zero", f.detectorWait)
	case f.killAt != "" && !slices.Contains(suites.Points(), suites.Point(f.killAt)):
		return usagef("--kill-at %s: unknown point", f.killAt)
	}
	return nil
}

// many scenarios are given a wide cluster where a new one is made: two that wait for PLEG's three minutes would hold half of the default one.
const many = 8

func (a *app) runScenarios(ctx context.Context, list []*scenarios.Scenario, f runFlags, form format) error {
	if err := f.valid(); err != nil {
		return err
	}
	if err := reportDir("--report", f.report); err != nil {
		return err
	}
	if err := summaryFile(f.summary); err != nil {
		return err
	}
	scored, err := f.scoring(list)
	if err != nil {
		return err
	}
	f.victim = f.node
	if err := a.trusted(ctx, list, f.trust); err != nil {
		return err
	}
	if len(list) > many {
		f.usual = kindconfigs.WideTopology
	}
	if f.seed != 0 {
		progress.From(ctx).Note("%d scenarios, shuffled with --seed %d", len(list), f.seed)
	}
	run := a.runOn
	if len(f.cells) > 0 {
		run = a.runMatrix
	}
	rep, runErr := run(ctx, list, f, scored)
	if rep != nil && len(rep.Results) > 0 {
		if err := print(a, form, rep, func(w io.Writer) { a.showReport(w, rep, f.report) }); err != nil {
			return err
		}
		runErr = errors.Join(runErr, a.summarizeReport(f.summary, rep))
	}
	if rep == nil && runErr != nil {
		return runErr // it could not be begun
	}
	code := suites.ExitCode(rep, runErr)
	if runErr != nil {
		return &codedError{runErr, code}
	}
	if code != exitYes {
		return answer(code)
	}
	return nil
}

// runOn runs scenarios on one cluster, made as needed. Without a report nothing was begun.
func (a *app) runOn(ctx context.Context, list []*scenarios.Scenario, f runFlags, scored scoring) (*v1alpha1.Report, error) {
	c, err := a.ready(ctx, f.clusterOptions)
	if err != nil {
		return nil, err
	}
	lab, err := a.deps.testbed(ctx, c)
	if err != nil {
		return nil, err
	}
	lease := f.lease
	if lease == suites.DefaultTimings().Lease {
		lease = 0 // the default, which a slow machine stretches
	}
	return a.deps.runAll(ctx, lab, list, suites.Options{
		Detectors: scored.detectors, Known: scored.known, Seed: f.seed, Repeat: f.repeat, Retries: f.retries,
		Controls: f.control(), BlindRestart: suites.Restart(f.blindRestart), Cleanups: a.cleanups, Keep: f.keep, ReportDir: f.report, Victim: f.node, Parallel: f.parallel,
		Version: version.String(), Profile: f.profile, Shard: f.shard, RunID: f.runID, KillAt: suites.Point(f.killAt), Interrupt: f.interrupt, Timings: suites.Timings{Timings: fault.Timings{Lease: lease}, DetectorWait: f.detectorWait},
	})
}

// codedError is an error that has its exit code from somewhere else.
type codedError struct {
	error
	code int
}

func (e *codedError) ExitCode() int { return e.code }
func (e *codedError) Unwrap() error { return e.error }

// checkVictim refuses a node that is not among a cluster's workers; without a name any will do.
func checkVictim(cluster, name string, workers []string, isNode bool) error {
	if name == "" || slices.Contains(workers, name) {
		return nil
	}
	e := noName("cluster "+cluster+" has no worker", name, workers)
	if isNode {
		e.text = name + " is a control plane: faults are only injected into workers"
	}
	return e
}

// reportDir makes sure that the report can be written before anything is made ill for it.
func reportDir(flag, dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return usagef("%s %s: %s", flag, dir, err)
	}
	probe, err := os.CreateTemp(dir, ".sickbay-*")
	if err != nil {
		return usagef("%s %s: %s", flag, dir, err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// showReport writes a report for people: what came of it, then why.
func (a *app) showReport(w io.Writer, rep *v1alpha1.Report, dir string) {
	for _, r := range rep.Results {
		a.showResult(w, r)
	}
	for _, c := range rep.HostChanges {
		fmt.Fprintf(w, "  %s changed on this machine: %s\n", a.paint(red, "✗"), c)
	}
	if len(rep.Results) > 1 {
		counts := map[v1alpha1.Verdict]int{}
		for _, r := range rep.Results {
			counts[r.Verdict]++
		}
		var s []string
		for _, v := range []v1alpha1.Verdict{v1alpha1.VerdictPassed, v1alpha1.VerdictFlaky, v1alpha1.VerdictFailed, v1alpha1.VerdictUnsupported, v1alpha1.VerdictUnknown} {
			if counts[v] > 0 {
				s = append(s, fmt.Sprintf("%d %s", counts[v], v))
			}
		}
		if m := report.NewMatrix(rep); m != nil {
			fmt.Fprintln(w)
			_ = report.WriteMatrix(w, m)
			fmt.Fprintln(w)
		}
		for _, c := range rep.Controls {
			fmt.Fprintf(w, "control %s\n", c)
		}
		showScores(w, rep)
		showFlakes(w, rep)
		fmt.Fprintf(w, "%s in %s\n", strings.Join(s, ", "), progress.Elapsed(rep.Ended.Sub(rep.Started)))
	}
	if rep.Pace > 1 {
		fmt.Fprintf(w, "bounds were stretched %s times: this machine is that much slower than the one they were measured on\n", timeoutscale.Format(rep.Pace))
	}
	if len(rep.Results) == 0 {
		fmt.Fprintln(w, "nothing was run")
	}
	if page := filepath.Join(dir, "report.html"); dir != "" {
		fmt.Fprintf(w, "report: %s\n", page)
	}
}

func (a *app) showResult(w io.Writer, r v1alpha1.ScenarioResult) {
	on := ""
	if r.Node != "" {
		on = " on " + r.Node
	}
	control := ""
	if r.Control != v1alpha1.ControlNone {
		control = fmt.Sprintf(" (control: %s)", r.Control)
	}
	fmt.Fprintf(w, "%s%s%s: %s in %s\n", a.paint(bold, r.Named()), on, control, a.verdict(r.Verdict), progress.Elapsed(r.Ended.Sub(r.Started)))
	if len(r.Steps) == 0 && r.Reason != "" {
		fmt.Fprintf(w, "  %s\n", r.Reason)
	}
	for _, s := range r.Steps {
		took := ""
		if !s.Started.IsZero() {
			took = progress.Elapsed(s.Ended.Sub(s.Started))
		}
		what := s.Reason
		if what == "" && len(s.Seen) > 0 {
			what = s.Seen[len(s.Seen)-1]
		}
		first, rest, _ := strings.Cut(strings.TrimSpace(what), "\n")
		fmt.Fprintf(w, "  %s %-9s %7s  %s\n", a.mark(s.Verdict), s.Name, took, first)
		for line := range strings.Lines(rest) {
			fmt.Fprintf(w, "                        %s", strings.TrimRight(line, "\n")+"\n")
		}
	}
	for _, c := range r.Controls {
		mark := a.mark(v1alpha1.VerdictPassed)
		if !c.Held {
			mark = a.mark(v1alpha1.VerdictFailed)
		}
		reason, _, _ := strings.Cut(c.Reason, "\n")
		fmt.Fprintf(w, "  %s control %s, %s at %s: %s\n", mark, c.Control, c.Verdict, c.At, text.Short(reason, 200))
	}
	a.showDetectors(w, r)
	for _, f := range r.Findings {
		fmt.Fprintf(w, "  found  %s/%s on %s (%s): %s\n", f.Failure, f.Cause, f.Node, f.Certainty, f.Summary)
	}
	for _, s := range r.Remedies {
		fmt.Fprintf(w, "  cured  %s\n", text.Short(s.Step.Run, 160))
	}
	for _, s := range r.Residue {
		fmt.Fprintf(w, "  left   %s\n", s)
	}
	if r.Control != v1alpha1.ControlNone {
		if r.ControlHeld {
			fmt.Fprintf(w, "  The control held: the run failed at %s, as it must.\n", r.FailedAt)
		} else {
			fmt.Fprintf(w, "  %s\n", a.paint(red, "The control did not hold: "+r.Reason))
		}
	}
	if r.Fidelity.Level != "" {
		s := r.Fidelity.Level
		if r.Fidelity.Differs != "" {
			s += ": " + r.Fidelity.Differs
		}
		fmt.Fprintf(w, "  fault  %s\n", s)
	}
	if r.Recover != "" {
		fmt.Fprintf(w, "  undo it with: %s\n", r.Recover)
	}
}

func (a *app) verdict(v v1alpha1.Verdict) string {
	switch v {
	case v1alpha1.VerdictPassed:
		return a.paint(green, string(v))
	case v1alpha1.VerdictFailed:
		return a.paint(red, string(v))
	default:
		return a.paint(amber, string(v))
	}
}

func (a *app) mark(v v1alpha1.Verdict) string {
	switch v {
	case v1alpha1.VerdictPassed:
		return a.paint(green, "✓")
	case v1alpha1.VerdictFailed:
		return a.paint(red, "✗")
	case v1alpha1.VerdictSkipped:
		return a.paint(faint, "·")
	default:
		return a.paint(amber, "?")
	}
}
