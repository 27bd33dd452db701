package lab

import (
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// TestTwoAtOnce: a drill goes on by two, the last may be one, and none needs the machine for itself.
func TestTwoAtOnce(t *testing.T) {
	all, err := scenarios.Courses()
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(20) {
		d, err := NewDrill(all, Filter{Core: true, Shared: true}, seed, 5, false)
		if err != nil {
			t.Fatal(err)
		}
		d.AtOnce = 2
		var sizes []int
		seen := map[string]bool{}
		for ; d.At < len(d.Codes); d.At += len(d.Now()) {
			sizes = append(sizes, len(d.Now()))
			for _, code := range d.Now() {
				c, err := scenarios.FindCourse(code)
				if err != nil || seen[code] || fault.ClaimsHost(c.Scenario) {
					t.Errorf("%s: %v, seen %t", code, err, seen[code])
				}
				seen[code] = true
			}
		}
		if len(sizes) != 3 || sizes[2] != 1 || len(d.Now()) != 0 {
			t.Errorf("%v", sizes)
		}
	}
}

// TestTool: a detector is on the board by the rules of people.
func TestTool(t *testing.T) {
	c, err := scenarios.FindCourse("L18")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1764400000, 0)
	r := v1alpha1.ScenarioResult{Scenario: "pleg-disk", Started: at, Ended: at.Add(10 * time.Minute)}
	good := v1alpha1.Detected{Failure: "pleg", Cause: "runtime-io-stall", Found: true, RightNode: true, RightCause: true, Seconds: 200}
	other := v1alpha1.Detected{Failure: "disk-pressure", Cause: "imagefs-full", Found: true, RightNode: true, RightCause: true, Seconds: 20}
	d := v1alpha1.DetectorResult{Detector: "npd", Expected: []v1alpha1.Detected{good, other}, Wrong: []v1alpha1.WrongFinding{{Name: "cni"}}}
	watches := OfTool(c, r, d)
	if watches.Learner != "detector npd" || watches.Score.Detect != 20*time.Second || watches.Score.Wrong != 1 || watches.Score.Solved || watches.Score.Points != 0 || watches.Knew.Sub(at) != 200*time.Second {
		t.Errorf("%+v", watches)
	}
	d.Action = &v1alpha1.ActionResult{Cleared: true, Seconds: 40}
	if acts := OfTool(c, r, d); acts.Score.Mitigate != 4*time.Minute || acts.Score.Points != 95 {
		t.Errorf("%+v", acts.Score)
	}
	d.Expected[0].RightCause, d.Expected[1].RightNode = false, false
	if blind := OfTool(c, r, d); !blind.Named.IsZero() || !blind.Knew.IsZero() {
		t.Errorf("%+v", blind)
	}
	points, detect, mitigate := Summary([]Done{watches, {Score: Score{Points: 60, Detect: 40 * time.Second, Mitigate: time.Minute}}, {}})
	if points != 60 || detect != 30*time.Second || mitigate != time.Minute {
		t.Errorf("%d, %s, %s", points, detect, mitigate)
	}
}
