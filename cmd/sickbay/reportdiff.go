package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/report"
)

func (a *app) reportDiff() *cobra.Command {
	slow := report.DefaultSlowerThan()
	failOn := []string{"broken"}
	var summary string
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Tell what changed between two reports",
		Long: `Tell what changed from one report to a later one: what broke, what was fixed, what got slower, what is flaky, and what no longer runs.

Exit code: 0, or 1 if something of --fail-on is among it.`,
		Example: `  sickbay report diff reports/yesterday reports/today
  sickbay report diff old new --fail-on broken,flaky,slower --slower 2
  sickbay report diff old new --summary issue.md   # Markdown that stands as an issue`,
		Args: args(cobra.ExactArgs(2), "two folders of reports"),
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&failOn, "fail-on", failOn, "what ends with exit code 1: "+strings.Join(report.DiffKinds, ", ")+", or none")
	fl.Float64Var(&slow.Factor, "slower", slow.Factor, "by what factor something must have got slower to be told")
	fl.DurationVar(&slow.By, "slower-by", slow.By, "and by how much at least")
	summaryFlag(cmd, &summary)
	_ = cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions(report.DiffKinds, cobra.ShellCompDirectiveNoFileComp))
	form := output(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		for _, k := range failOn {
			if k != "none" && !slices.Contains(report.DiffKinds, k) {
				return usagef("--fail-on %s: it must be of %s, or none", k, strings.Join(report.DiffKinds, ", "))
			}
		}
		if len(failOn) > 1 && slices.Contains(failOn, "none") {
			return usagef("--fail-on: none goes alone")
		}
		if !(slow.Factor >= 1) || math.IsInf(slow.Factor, 0) || slow.By < 0 { // NaN is neither
			return usagef("--slower must be 1 or more, and --slower-by not below zero")
		}
		if err := summaryFile(summary); err != nil {
			return err
		}
		reps, err := readReports(args...)
		if err != nil {
			return err
		}
		now := reps[1]
		d := report.Diff(reps[0], now, slow)
		if err := print(a, *form, d, func(w io.Writer) { fmt.Fprint(w, report.DiffText(d)) }); err != nil {
			return err
		}
		if err := a.summarize(summary, func(w io.Writer, limit int) error { return report.WriteDiffSummary(w, d, now, limit) }); err != nil {
			return err
		}
		if slices.ContainsFunc(failOn, func(k string) bool { return len(report.ChangesOf(d, k)) > 0 }) {
			return no
		}
		return nil
	}
	return cmd
}

func (a *app) reportMerge() *cobra.Command {
	var into, summary string
	cmd := &cobra.Command{
		Use:   "merge DIR...",
		Short: "Make one report of several, such as the shards of a suite",
		Long: `Make one report of several: of the shards of one suite, or of any others. A scenario that no shard brings is in it as unknown: a lost
machine never passes. DIR may also be a report.json.

Exit code: that of the merged report.`,
		Example: `  sickbay report merge shard-1 shard-2 shard-3 --into merged
  sickbay report merge shard-*.json --summary summary.md`,
		Args: args(cobra.MinimumNArgs(1), "the folders of one or more reports"),
	}
	cmd.Flags().StringVar(&into, "into", "", "write the merged report.json, junit.xml, report.html, timeline.jsonl and bundle/ into this folder")
	_ = cmd.MarkFlagDirname("into")
	summaryFlag(cmd, &summary)
	form := output(cmd)
	cmd.RunE = func(_ *cobra.Command, dirs []string) error {
		if _, err := readReports(dirs...); err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(into, "report.json")); into != "" && err == nil {
			return usagef("--into %s: there is a report in it: choose another folder", into)
		}
		if err := summaryFile(summary); err != nil {
			return err
		}
		if err := reportDir("--into", into); err != nil {
			return err
		}
		rep, err := report.MergeDirs(dirs, into)
		if err != nil {
			return err
		}
		if err := print(a, *form, rep, func(w io.Writer) { a.showReport(w, rep, into) }); err != nil {
			return err
		}
		if err := a.summarizeReport(summary, rep); err != nil {
			return err
		}
		return told(rep)
	}
	return cmd
}

func summaryFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "summary", "", "append a summary in Markdown to this file (default: $GITHUB_STEP_SUMMARY, where it is set)")
	_ = cmd.MarkFlagFilename("summary", "md")
}

// summaryFile refuses a file that cannot be written before hours are spent on what goes into it.
func summaryFile(file string) error {
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return usagef("--summary %s: %s", file, cause(err))
	}
	return f.Close()
}

// summarize appends to the file that was named, or to the one that GitHub shows with the step.
func (a *app) summarize(file string, write func(w io.Writer, limit int) error) error {
	if file == "" {
		file = os.Getenv("GITHUB_STEP_SUMMARY")
	}
	if file == "" {
		return nil
	}
	return report.AppendSummary(file, write)
}

func (a *app) summarizeReport(file string, rep *v1alpha1.Report) error {
	return a.summarize(file, func(w io.Writer, limit int) error { return report.WriteSummary(w, rep, limit) })
}
