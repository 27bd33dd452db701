package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/atomicfile"
	"github.com/sickbay-dev/sickbay/internal/chaos"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

// chaosFlags are the flags of chaos.
type chaosFlags struct {
	clusterOptions
	scenarios, points, modes []string
	parallel                 int
	lease                    time.Duration
	results, table           string
	again                    bool
}

func (a *app) chaos() *cobra.Command {
	var f chaosFlags
	cmd := &cobra.Command{
		Use:   "chaos",
		Short: "Kill sickbay at every point of a run and check that nothing is left",
		Long: `Run each scenario in a process that is killed (SIGKILL) at the start of each of the seven steps, and in the middle of inject and
remediate. Then either wait for the node and the watchdog to undo the fault, or call sickbay recover. Within 60 s of the end of
the lease, or of recover, the node must be Ready, its fingerprint and the host's unchanged, and nothing of the run left.

Results are kept in a file; cells that passed are not run again.`,
		Example: `  sickbay chaos                                                      # takes hours
  sickbay chaos --scenario conflist-missing --point mid-inject --mode wait   # one cell
  sickbay chaos --table docs/results/kill-matrix.md --parallel 0                     # only the table, from the results`,
		Args: noArgs,
	}
	a.clusterFlags(cmd, &f.clusterOptions)
	fl := cmd.Flags()
	fl.StringSliceVar(&f.scenarios, "scenario", nil, "only these, in this order (default: the core scenarios)")
	fl.StringSliceVar(&f.points, "point", nil, "only these: "+joined(suites.Points()))
	fl.StringSliceVar(&f.modes, "mode", nil, "only this: "+joined(chaos.Modes()))
	fl.IntVar(&f.parallel, "parallel", 2, "how many cells at a time, each on a worker of its own; 0 runs none")
	fl.DurationVar(&f.lease, "lease", 20*time.Second, "the lease of the runs that are killed")
	fl.StringVar(&f.results, "results", "reports/chaos.jsonl", "where results are kept")
	fl.StringVar(&f.table, "table", "", "write the table of results to this file")
	fl.BoolVar(&f.again, "again", false, "run cells that have passed again")
	_ = cmd.RegisterFlagCompletionFunc("scenario", completeScenarios)
	_ = cmd.RegisterFlagCompletionFunc("point", cobra.FixedCompletions(strings.Split(joined(suites.Points()), ", "), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions(strings.Split(joined(chaos.Modes()), ", "), cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cells, err := f.cells()
		if err != nil {
			return err
		}
		if err := f.valid(); err != nil {
			return err
		}
		book, err := openBook(f.results)
		if err != nil {
			return err
		}
		var failed int
		if f.parallel > 0 {
			if failed, err = a.killAll(cmd.Context(), f, cells, book); err != nil {
				return err
			}
		}
		if f.table != "" {
			if err := writeTable(f.table, book.results); err != nil {
				return err
			}
		}
		if failed > 0 {
			return no
		}
		return nil
	}
	return cmd
}

// valid refuses what would be told only after hours, or would do nothing.
func (f chaosFlags) valid() error {
	if err := f.check(); err != nil {
		return err
	}
	switch {
	case f.lease < leastLease || f.lease > mostLease:
		return usagef("--lease %s: it must be %s to %s", f.lease, leastLease, mostLease)
	case f.parallel < 0:
		return usagef("--parallel %d: it cannot be below zero", f.parallel)
	case f.parallel == 0 && f.table == "":
		return usagef("--parallel 0 runs nothing: it needs --table, which it writes from --results")
	case isDir(f.table):
		return usagef("--table %s: it is a folder: name a file", f.table)
	}
	if _, err := os.Stat(f.results); f.parallel == 0 && err != nil {
		return usagef("--results %s: %s: without --parallel 0, results are made first", f.results, cause(err))
	}
	for flag, file := range map[string]string{"--results": f.results, "--table": f.table} {
		if file == "" || f.parallel == 0 && flag == "--results" {
			continue
		}
		if err := reportDir(flag, filepath.Dir(file)); err != nil {
			return err
		}
	}
	return nil
}

func joined[S ~string](list []S) string {
	var out []string
	for _, s := range list {
		out = append(out, string(s))
	}
	return strings.Join(out, ", ")
}

// chosen are those of all that are named, or all of them.
func chosen[S ~string](flag string, all []S, named []string) ([]S, error) {
	if len(named) == 0 {
		return all, nil
	}
	var out []S
	for _, n := range named {
		if !slices.Contains(all, S(n)) {
			return nil, usagef("--%s %s: it must be one of %s", flag, n, joined(all))
		}
		if slices.Contains(out, S(n)) {
			return nil, usagef("--%s %s: it is named twice", flag, n)
		}
		out = append(out, S(n))
	}
	return out, nil
}

// cells are those asked for, one scenario after the other, from the beginning of a run to its end. What runs alone comes last.
func (f chaosFlags) cells() ([]chaos.KillCase, error) {
	points, err := chosen("point", suites.Points(), f.points)
	if err != nil {
		return nil, err
	}
	modes, err := chosen("mode", chaos.Modes(), f.modes)
	if err != nil {
		return nil, err
	}
	names := f.scenarios
	if len(names) == 0 {
		core, err := ofProfile("core")
		if err != nil {
			return nil, err
		}
		for _, s := range core {
			names = append(names, s.Metadata.Name)
		}
	}
	list, err := findScenarios(names)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b *scenarios.Scenario) int {
		return cmp.Compare(len(a.Spec.Claims), len(b.Spec.Claims))
	})
	var out []chaos.KillCase
	for _, s := range list {
		for _, p := range points {
			for _, m := range modes {
				out = append(out, chaos.KillCase{Scenario: s.Metadata.Name, Point: p, Mode: m})
			}
		}
	}
	return out, nil
}

// killAll runs the cells that have not passed, side by side, each on a worker of its own, and tells how many did not pass.
func (a *app) killAll(ctx context.Context, f chaosFlags, cells []chaos.KillCase, book *book) (int, error) {
	if !f.again {
		cells = slices.DeleteFunc(cells, func(c chaos.KillCase) bool { return book.passed(c) })
	}
	if len(cells) == 0 {
		return 0, nil
	}
	c, err := a.ready(ctx, f.clusterOptions)
	if err != nil {
		return 0, err
	}
	lab, err := a.deps.testbed(ctx, c)
	if err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	killer := &chaos.Runner{Lab: lab, Lease: f.lease, Harness: func(ctx context.Context, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, self, args...)
		cmd.Env = environ
		return cmd
	}}
	queue := make(chan chaos.KillCase)
	var host sync.RWMutex // a scenario that claims the host's kernel has it to itself
	var mu sync.Mutex
	failed := 0
	var wg sync.WaitGroup
	for _, node := range c.Victims()[:min(f.parallel, len(c.Victims()))] {
		wg.Go(func() {
			for cell := range queue {
				release := host.RUnlock
				if claimsHost(cell.Scenario) {
					host.Lock()
					release = host.Unlock
				} else {
					host.RLock()
				}
				task := progress.From(ctx).Start(fmt.Sprintf("%s on %s", cell, node), 0)
				res, clean := killer.Kill(ctx, node, cell)
				release()
				if ctx.Err() != nil {
					task.End(ctx.Err())
					return
				}
				var end error
				if res.Verdict != v1alpha1.VerdictPassed {
					end = errors.New(res.Reason)
				}
				task.End(end)
				mu.Lock()
				if res.Verdict != v1alpha1.VerdictPassed && res.Verdict != v1alpha1.VerdictUnsupported {
					failed++
				}
				fmt.Fprintf(a.out, "%s %s: healed after %.0fs%s\n", a.mark(res.Verdict), cell, res.Healed, text.Plain(text.Short(" "+res.Reason, 400)))
				end = book.add(res)
				mu.Unlock()
				if end != nil {
					progress.From(ctx).Note("%s could not be written down: %s", cell, end)
				}
				if !clean {
					progress.From(ctx).Note("node %s is not used any more: it could not be brought back after %s", node, cell)
					return
				}
			}
		})
	}
	all := make(chan struct{})
	go func() { wg.Wait(); close(all) }()
	for _, cell := range cells {
		select {
		case queue <- cell:
			continue
		case <-all:
		case <-ctx.Done():
		}
		break
	}
	close(queue)
	<-all
	return failed, ctx.Err()
}

func claimsHost(name string) bool {
	s, err := scenarios.Find(name)
	return err == nil && slices.Contains(s.Spec.Claims, "host")
}

// book is the file of results, one a line; the last one of a cell counts.
type book struct {
	file    string
	results map[chaos.KillCase]chaos.Result
}

func openBook(file string) (*book, error) {
	b := &book{file: file, results: map[chaos.KillCase]chaos.Result{}}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, usagef("--results %s: %s", file, cause(err))
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for line := 1; s.Scan(); line++ {
		var r chaos.Result
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			return nil, usagef("--results: %s:%d is no result: %s: take the line out, or name another file", file, line, err)
		}
		b.results[r.KillCase] = r
	}
	if err := s.Err(); err != nil {
		return nil, usagef("--results %s: %s", file, cause(err))
	}
	return b, nil
}

func (b *book) passed(c chaos.KillCase) bool { return b.results[c].Verdict == v1alpha1.VerdictPassed }

func (b *book) add(r chaos.Result) error {
	b.results[r.KillCase] = r
	if err := os.MkdirAll(filepath.Dir(b.file), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(b.file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(json.NewEncoder(f).Encode(r), f.Close())
}

// writeTable writes the kill matrix as a page. Cells that were not run are shown as such.
func writeTable(file string, results map[chaos.KillCase]chaos.Result) error {
	core, err := ofProfile("core")
	if err != nil {
		return err
	}
	var names []string
	for _, s := range core {
		names = append(names, s.Metadata.Name)
	}
	var table bytes.Buffer
	chaos.WriteMatrix(&table, names, results)
	return atomicfile.Write(file, table.Bytes(), 0o644)
}
