package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

func TestTimingsAreMedians(t *testing.T) {
	t0 := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	run := func(manifest, clear float64, v v1alpha1.Verdict) *v1alpha1.Report {
		r := v1alpha1.ScenarioResult{Scenario: "swap-on", Verdict: v, Expected: []string{"swap/swap-on"}, Controls: []v1alpha1.ControlRun{{Control: v1alpha1.ControlNoop, Started: t0, Ended: t0.Add(time.Hour)}}}
		at := t0
		for _, s := range v1alpha1.Steps() {
			d := map[v1alpha1.StepName]float64{v1alpha1.StepManifest: manifest, v1alpha1.StepClear: clear}[s]
			if d == 0 {
				d = 1
			}
			end := at.Add(time.Duration(d * float64(time.Second)))
			r.Steps = append(r.Steps, v1alpha1.StepResult{Name: s, Started: at, Ended: end})
			at = end
		}
		return &v1alpha1.Report{Started: t0, Kubernetes: "v1.37.2", Results: []v1alpha1.ScenarioResult{r}}
	}
	var b bytes.Buffer
	if err := WriteTimingsPage(&b, []*v1alpha1.Report{run(10, 20, v1alpha1.VerdictPassed), run(30, 25, v1alpha1.VerdictPassed), run(11, 40, v1alpha1.VerdictPassed), run(500, 500, v1alpha1.VerdictFailed)}, 15*time.Second); err != nil {
		t.Fatal(err)
	}
	if want := "| swap-on | 3 | 1.0 | 1.0 | 11.0 | 1.0 | 1.0 | 25.0 | 1.0 | 56.0 | 36.0 | 15.0 | 5.0 |"; !strings.Contains(b.String(), want) {
		t.Errorf("want %s in\n%s", want, b.String())
	}
	if WriteTimingsPage(&b, []*v1alpha1.Report{run(1, 1, v1alpha1.VerdictFailed)}, 15*time.Second) == nil {
		t.Error("there are timings of nothing")
	}
}
