package suites

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestTimingsAreMedians(t *testing.T) {
	t0 := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	run := func(manifest, clear float64, v Verdict) *Report {
		r := Result{Scenario: "swap-on", Verdict: v, Expected: []string{"swap/swap-on"}, Controls: []ControlRun{{Control: NoopControl, Started: t0, Ended: t0.Add(time.Hour)}}}
		at := t0
		for _, s := range Steps() {
			d := map[StepName]float64{Manifest: manifest, Clear: clear}[s]
			if d == 0 {
				d = 1
			}
			end := at.Add(time.Duration(d * float64(time.Second)))
			r.Steps = append(r.Steps, Step{Name: s, Started: at, Ended: end})
			at = end
		}
		return &Report{Started: t0, Kubernetes: "v1.37.2", Results: []Result{r}}
	}
	var b bytes.Buffer
	if err := WriteTimingsPage(&b, []*Report{run(10, 20, Passed), run(30, 25, Passed), run(11, 40, Passed), run(500, 500, Failed)}); err != nil {
		t.Fatal(err)
	}
	if want := "| swap-on | 3 | 1.0 | 1.0 | 11.0 | 1.0 | 1.0 | 25.0 | 1.0 | 56.0 | 36.0 | 15.0 | 5.0 |"; !strings.Contains(b.String(), want) {
		t.Errorf("want %s in\n%s", want, b.String())
	}
	if WriteTimingsPage(&b, []*Report{run(1, 1, Failed)}) == nil {
		t.Error("there are timings of nothing")
	}
}
