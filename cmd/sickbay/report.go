package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/report"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/suites"
)

// reportFlags are what `report` can make of a report. Each is one thing; none shows it.
type reportFlags struct {
	html, matrix, cells, timings, sides, conformance, durations, scoreboard bool

	record, against, into string
	implementation        map[string]string
}

func (a *app) report() *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use:   "report DIR...",
		Short: "Show, compare and merge the reports of earlier runs",
		Long: `Show the report of an earlier run, or make something of it.

Exit code when a report is shown: 0 everything passed, 1 something failed, 3 something could not be judged, as of the run itself.`,
		Example: `  sickbay report /tmp/report
  sickbay report /tmp/report -o json | jq '.results[].clocks'
  sickbay report /tmp/report --html --against /tmp/yesterday   # write report.html again, with what changed
  sickbay report /tmp/report --conformance --implementation project=mine,url=https://example.com
  sickbay report /tmp/report --matrix > docs/results/confusion-matrix.md
  sickbay report reports/matrix --cells > docs/results/cells.md
  sickbay report reports/timings/* --timings > docs/results/timings.md
  sickbay report reports/today reports/vm/* --sides > docs/results/cgroup-v1-v2.md
  sickbay report reports/* --scoreboard --into docs/scoreboard
  sickbay report diff reports/yesterday reports/today
  sickbay report merge shard-* --into merged`,
		Args: args(cobra.MinimumNArgs(1), "the folder of a report"),
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.html, "html", false, "rewrite report.html from report.json and print its path")
	fl.StringVar(&f.against, "against", "", "with --html: an earlier report to compare with on the page")
	fl.BoolVar(&f.matrix, "matrix", false, "print the confusion matrix, the controls and each scenario's fidelity, as a Markdown page")
	fl.BoolVar(&f.cells, "cells", false, "print what differs between the cells of a suite --matrix, as a Markdown page")
	fl.StringVar(&f.record, "record", "", "write recordings of the passed scenarios for the detectors' tests, below this folder")
	fl.BoolVar(&f.timings, "timings", false, "print each scenario's median times over several reports, as a Markdown page")
	fl.BoolVar(&f.durations, "durations", false, "print each scenario's median duration over several reports, as --shard balances by")
	fl.BoolVar(&f.sides, "sides", false, "compare the evidence of two reports, as a Markdown page")
	fl.BoolVar(&f.scoreboard, "scoreboard", false, "compare the detectors of one or more reports, as a Markdown page")
	fl.StringVar(&f.into, "into", "", "with --scoreboard: write page, Markdown and picture into this folder")
	fl.BoolVar(&f.conformance, "conformance", false, "print a short conformance report in YAML")
	fl.StringToStringVar(&f.implementation, "implementation", nil, "with --conformance: organization, project, url, version and contact, as project=NAME,url=URL")
	modes := []string{"html", "matrix", "cells", "record", "timings", "durations", "sides", "scoreboard", "conformance"}
	cmd.MarkFlagsMutuallyExclusive(modes...)
	_ = cmd.MarkFlagDirname("record")
	_ = cmd.MarkFlagDirname("against")
	_ = cmd.MarkFlagDirname("into")
	form := output(cmd)
	for _, mode := range modes {
		cmd.MarkFlagsMutuallyExclusive(mode, "output")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		_, err := os.Stat(args[0])
		switch {
		case err != nil && len(text.Nearest(args[0], []string{"diff", "merge"}, 1)) > 0:
			return a.noVerb(cmd, args)
		case f.against != "" && !f.html:
			return usagef("--against needs --html; `sickbay report diff %s %s` compares on the terminal", f.against, args[0])
		case f.implementation != nil && !f.conformance:
			return usagef("--implementation needs --conformance")
		case f.into != "" && !f.scoreboard:
			return usagef("--into needs --scoreboard")
		case f.timings, f.durations, f.sides, f.scoreboard:
			return a.reportsPage(args, f)
		case len(args) > 1:
			return usagef("one report at a time; these are %d (--timings, --durations, --sides and --scoreboard take several)", len(args))
		}
		return a.oneReport(args[0], f, *form)
	}
	cmd.AddCommand(a.reportDiff(), a.reportMerge())
	return cmd
}

// reportsPage makes one page of several reports.
func (a *app) reportsPage(dirs []string, f reportFlags) error {
	reps, err := readReports(dirs...)
	if err != nil {
		return err
	}
	switch {
	case f.timings:
		return report.WriteTimingsPage(a.out, reps, suites.DefaultTimings().Quiet)
	case f.durations:
		return report.WriteDurations(a.out, reps)
	case f.scoreboard:
		return report.WriteScoreboard(a.out, reps, f.into)
	case len(reps) < 2:
		return usagef("--sides takes two reports, or one and several of another kind of host; this is %d", len(reps))
	}
	return report.WriteSidesPage(a.out, reps[0], reps[1], reps[2:]...)
}

// oneReport shows one report, or makes of it what the flags say.
func (a *app) oneReport(dir string, f reportFlags, form format) error {
	dirs := []string{dir}
	if f.against != "" {
		dirs = append(dirs, f.against)
	}
	reps, err := readReports(dirs...)
	if err != nil {
		return err
	}
	rep := reps[0]
	if filepath.Base(dir) == "report.json" {
		dir = filepath.Dir(dir)
	}
	switch {
	case f.html:
		var before *v1alpha1.Report
		if len(reps) > 1 {
			before = reps[1]
		}
		path, err := report.RenderHTML(dir, rep, before)
		if err != nil {
			return err
		}
		fmt.Fprintln(a.out, path)
		return nil
	case f.record != "":
		names, err := report.Record(dir, f.record)
		for _, n := range names {
			fmt.Fprintln(a.out, filepath.Join(f.record, n))
		}
		return err
	case f.matrix:
		return report.WriteMatrixPage(a.out, rep)
	case f.cells:
		return report.WriteCellsPage(a.out, rep)
	case f.conformance:
		of, err := implementation(f.implementation)
		if err != nil {
			return err
		}
		return report.WriteConformance(a.out, rep, of)
	}
	if err := print(a, form, rep, func(w io.Writer) { a.showReport(w, rep, dir) }); err != nil {
		return err
	}
	return told(rep)
}

// told is the exit code of a report that was shown.
func told(rep *v1alpha1.Report) error {
	if code := suites.ExitCode(rep, nil); code != exitYes {
		return answer(code)
	}
	return nil
}

func readReports(dirs ...string) ([]*v1alpha1.Report, error) {
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err != nil {
			return nil, &usageError{text: fmt.Sprintf("no report in %q: %s", dir, cause(err)), hint: "`sickbay run NAME --report DIR` writes one."}
		}
	}
	return report.ReadAll(dirs...)
}

func implementation(given map[string]string) (v1alpha1.Implementation, error) {
	var of v1alpha1.Implementation
	into := map[string]*string{"organization": &of.Organization, "project": &of.Project, "url": &of.URL, "version": &of.Version, "contact": &of.Contact}
	for k, v := range given {
		if into[k] == nil {
			return of, usagef("--implementation %s: it has organization, project, url, version and contact", k)
		}
		*into[k] = v
	}
	return of, nil
}
