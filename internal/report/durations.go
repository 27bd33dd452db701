package report

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/usage"
)

// WriteDurations writes suites/durations.yaml: the median seconds of every scenario's seven steps over all reports in which it passed.
func WriteDurations(w io.Writer, reps []*v1alpha1.Report) error {
	runs := map[string][]v1alpha1.ScenarioResult{}
	for _, rep := range reps {
		for _, r := range rep.Results {
			if r.Verdict == v1alpha1.VerdictPassed && r.Control == v1alpha1.ControlNone {
				runs[r.Scenario] = append(runs[r.Scenario], r)
			}
		}
	}
	if len(runs) == 0 {
		return usage.Errorf("no scenario passed in any of these reports: there is nothing to time")
	}
	if _, err := fmt.Fprintln(w, "# Median seconds of a scenario's seven steps, by which --shard balances. Made by `sickbay report DIR... --durations`; do not edit."); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(runs)) {
		if _, err := fmt.Fprintf(w, "%s: %.0f\n", name, median(runs[name], wholeRun)); err != nil {
			return err
		}
	}
	return nil
}

// wholeRun is the time of a run's seven steps, without the controls made between them.
func wholeRun(r v1alpha1.ScenarioResult) (t float64) {
	for _, s := range v1alpha1.Steps() {
		t += stepSeconds(r, s)
	}
	return t
}
