package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/report"
	"github.com/sickbay-dev/sickbay/suites"
)

func (a *app) report() *cobra.Command {
	var html, matrix, timings, sides bool
	var record string
	cmd := &cobra.Command{
		Use:   "report DIR...",
		Short: "Show the report of an earlier run",
		Example: `  sickbay report /tmp/report
  sickbay report /tmp/report -o json | jq '.results[].clocks'
  sickbay report /tmp/report --html   # write report.html again, with this version's page
  sickbay report /tmp/report --matrix > docs/results/confusion-matrix.md
  sickbay report reports/timings/* --timings > docs/results/timings.md
  sickbay report reports/today reports/vm/* --sides > docs/results/cgroup-v1-v2.md`,
		Args: args(cobra.MinimumNArgs(1), "the folder of a report"),
	}
	cmd.Flags().BoolVar(&html, "html", false, "rewrite report.html from report.json and print its path")
	cmd.Flags().BoolVar(&matrix, "matrix", false, "print the confusion matrix, the controls and each scenario's fidelity, as a Markdown page")
	cmd.Flags().StringVar(&record, "record", "", "write recordings of the passed scenarios for the detectors' tests, below this folder")
	cmd.Flags().BoolVar(&timings, "timings", false, "print each scenario's median times over several reports, as a Markdown page")
	cmd.Flags().BoolVar(&sides, "sides", false, "compare the evidence of two reports, as a Markdown page")
	cmd.MarkFlagsMutuallyExclusive("html", "matrix", "record", "timings", "sides")
	_ = cmd.MarkFlagDirname("record")
	form := output(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if timings || sides {
			var reps []*v1alpha1.Report
			for _, dir := range args {
				rep, err := report.Read(dir)
				if err != nil {
					return err
				}
				reps = append(reps, rep)
			}
			if timings {
				return report.WriteTimingsPage(a.out, reps, suites.DefaultTimings().Quiet)
			}
			if len(reps) < 2 {
				return usagef("--sides takes two reports, or one and several of another kind of host; this is %d", len(reps))
			}
			return report.WriteSidesPage(a.out, reps[0], reps[1], reps[2:]...)
		}
		if len(args) > 1 {
			return usagef("one report at a time; these are %d (only --timings and --sides take several)", len(args))
		}
		if _, err := os.Stat(args[0]); err != nil {
			return &usageError{text: fmt.Sprintf("no report in %s: %s", args[0], err), hint: "`sickbay run NAME --report DIR` writes one."}
		}
		if html {
			path, err := report.RenderHTML(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, path)
			return nil
		}
		if record != "" {
			names, err := report.Record(args[0], record)
			for _, n := range names {
				fmt.Fprintln(a.out, filepath.Join(record, n))
			}
			return err
		}
		rep, err := report.Read(args[0])
		if err != nil {
			return err
		}
		if matrix {
			return report.WriteMatrixPage(a.out, rep)
		}
		return print(a, *form, rep, func(w io.Writer) { a.showReport(w, rep, args[0]) })
	}
	return cmd
}
