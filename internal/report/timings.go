package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/usage"
)

// WriteTimingsPage writes docs/results/timings.md: every scenario's median over all reports in which it passed, step by step, and how much
// of it is the kubelet's own time. quiet is how long a run listens for silence before a node counts as cleared.
func WriteTimingsPage(w io.Writer, reps []*v1alpha1.Report, quiet time.Duration) error {
	runs := map[string][]v1alpha1.ScenarioResult{}
	var order []string
	for _, rep := range reps {
		for _, r := range rep.Results {
			if r.Verdict != v1alpha1.VerdictPassed || r.Control != v1alpha1.ControlNone || r.Profile == "decoy" {
				continue
			}
			if runs[r.Scenario] == nil {
				order = append(order, r.Scenario)
			}
			runs[r.Scenario] = append(runs[r.Scenario], r)
		}
	}
	if len(order) == 0 {
		return usage.Errorf("no scenario passed in any of these reports: there is nothing to time")
	}
	slices.SortStableFunc(order, func(a, b string) int {
		return byVocabulary(strings.Join(runs[a][0].Expected, " "), strings.Join(runs[b][0].Expected, " "))
	})
	var b strings.Builder
	fmt.Fprintf(&b, `# Where the time goes

Medians in seconds, over the runs that passed. Made by `+"`sickbay report DIR… --timings`"+`; do not edit. %s · Kubernetes %s · %s

- **kubelet**: from the fault to its signal, and from the remedy to the proof of health: timers of the kubelet and the runtime that
  cannot be shortened (PLEG's threshold 3 m, CSI's RPC 2 m, status period 10 s, image and crash-loop back-off 10 s upwards).
- **proof**: %s without a finding, so that every period of the kubelet passes once.
- **ours**: the rest: observations, fingerprints, preparation, the workload, remedies and undoing.

`, reps[len(reps)-1].Started.UTC().Format("2006-01-02"), reps[len(reps)-1].Kubernetes, reps[len(reps)-1].Host, quiet)
	b.WriteString("| scenario | runs |")
	for _, s := range v1alpha1.Steps() {
		fmt.Fprintf(&b, " %s |", s)
	}
	b.WriteString(" total | kubelet | proof | ours |\n|---|---|" + strings.Repeat("---|", len(v1alpha1.Steps())+4) + "\n")
	for _, name := range order {
		list := runs[name]
		fmt.Fprintf(&b, "| %s | %d |", name, len(list))
		for _, s := range v1alpha1.Steps() {
			fmt.Fprintf(&b, " %.1f |", median(list, func(r v1alpha1.ScenarioResult) float64 { return stepSeconds(r, s) }))
		}
		proof := func(r v1alpha1.ScenarioResult) float64 {
			return min(quiet.Seconds(), stepSeconds(r, v1alpha1.StepClear))
		}
		kubelet := func(r v1alpha1.ScenarioResult) float64 {
			return stepSeconds(r, v1alpha1.StepManifest) + stepSeconds(r, v1alpha1.StepClear) - proof(r)
		}
		fmt.Fprintf(&b, " %.1f | %.1f | %.1f | %.1f |\n", median(list, wholeRun), median(list, kubelet), median(list, proof),
			median(list, func(r v1alpha1.ScenarioResult) float64 { return wholeRun(r) - kubelet(r) - proof(r) }))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// stepSeconds is how long a step took. Controls made on the way are no steps: they do not count.
func stepSeconds(r v1alpha1.ScenarioResult, name v1alpha1.StepName) float64 {
	for _, s := range r.Steps {
		if s.Name == name && !s.Started.IsZero() {
			return max(0, s.Ended.Sub(s.Started).Round(time.Millisecond).Seconds())
		}
	}
	return 0
}

func median[T any](list []T, of func(T) float64) float64 {
	v := make([]float64, len(list))
	for i, r := range list {
		v[i] = of(r)
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
