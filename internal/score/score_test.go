package score

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

func TestWilson(t *testing.T) {
	// The intervals of Wilson (1927) as statistics packages give them.
	for _, c := range []struct {
		n, of     int
		low, high float64
	}{{0, 0, 0, 0}, {0, 10, 0, 0.2775}, {10, 10, 0.7225, 1}, {1, 2, 0.0945, 0.9055}, {8, 10, 0.4902, 0.9433}, {50, 100, 0.4038, 0.5962}} {
		if low, high := Wilson(c.n, c.of); low != c.low || high != c.high {
			t.Errorf("%d of %d: %v to %v, want %v to %v", c.n, c.of, low, high, c.low, c.high)
		}
	}
}

func result(scenario string, v v1alpha1.Verdict, expected []v1alpha1.Detected, wrong ...v1alpha1.WrongFinding) v1alpha1.ScenarioResult {
	return v1alpha1.ScenarioResult{Scenario: scenario, Profile: "core", Verdict: v1alpha1.VerdictPassed, Detectors: []v1alpha1.DetectorResult{{
		Detector: "mine", Role: v1alpha1.RoleContestant, Verdict: v, Expected: expected, Wrong: wrong, Looks: 2, Errors: []string{"x"}}}}
}

func TestOf(t *testing.T) {
	right := v1alpha1.Detected{Failure: "cni", Cause: "conflist-missing", Named: true, RightNode: true, Found: true, CauseNamed: true, RightCause: true, Seconds: 5, AfterSignal: 2}
	class := v1alpha1.Detected{Failure: "cni", Cause: "conflist-invalid", Named: true, RightNode: true, Found: true, Seconds: 9, AfterSignal: 4}
	missed := v1alpha1.Detected{Failure: "pleg", Cause: "runtime-hung"}
	decoy := result("oddity", v1alpha1.VerdictFailed, nil, v1alpha1.WrongFinding{Name: "cni", Place: v1alpha1.WrongDecoy}, v1alpha1.WrongFinding{Name: "cni", Place: v1alpha1.WrongBystander})
	decoy.Profile = v1alpha1.ProfileDecoy
	acted := result("a", v1alpha1.VerdictPassed, []v1alpha1.Detected{right})
	acted.Detectors[0].Action = &v1alpha1.ActionResult{Acted: true, CauseRight: true, Cleared: true, Seconds: 12, PodsKilled: []string{"x/y"}, Residue: []string{"z"}}
	untold := result("d", v1alpha1.VerdictUnknown, []v1alpha1.Detected{missed})
	rep := &v1alpha1.Report{Detectors: []v1alpha1.DetectorInfo{{Name: "mine"}}, Results: []v1alpha1.ScenarioResult{
		acted, result("b", v1alpha1.VerdictPassed, []v1alpha1.Detected{class}), result("c", v1alpha1.VerdictFailed, []v1alpha1.Detected{missed},
			v1alpha1.WrongFinding{Name: "cni", Place: v1alpha1.WrongBaseline}), untold, decoy,
	}}
	got := Of(rep)
	if len(got) != 3 || got[0].Failure != "" || got[1].Failure != "cni" || got[2].Failure != "pleg" {
		t.Fatalf("%+v", got)
	}
	all := got[0]
	for name, c := range map[string][2]string{
		"passed": {all.Passed.String(), "2/3"}, "found": {all.Found.String(), "2/3"}, "right cause": {all.RightCause.String(), "1/3"},
		"baseline": {all.FalseBaseline.String(), "1/4"}, "decoy": {all.FalseDecoy.String(), "1/1"}, "bystander": {all.FalseBystander.String(), "1/4"},
		"extra": {all.Extra.String(), "0/3"}, "cleared": {all.Action.Cleared.String(), "1/1"}, "cleared, cause right": {all.Action.ClearedRightCause.String(), "1/1"},
		"cleared, cause wrong": {all.Action.ClearedWrongCause.String(), "0/0"}, "of cni": {got[1].RightCause.String(), "1/2"}, "of pleg": {got[2].Found.String(), "0/1"},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %s, want %s", name, c[0], c[1])
		}
	}
	if diff := cmp.Diff(v1alpha1.Spread{N: 2, Median: 3, Min: 2, Max: 4}, all.AfterSignal); diff != "" {
		t.Error(diff)
	}
	if all.Looks != 8 || all.Errors != 4 || all.Action.PodsKilled != 1 || all.Action.Residue != 1 || got[2].Action != nil {
		t.Errorf("%+v %+v", all, all.Action)
	}
}

func TestFlakes(t *testing.T) {
	run := func(v v1alpha1.Verdict) v1alpha1.ScenarioResult {
		return v1alpha1.ScenarioResult{Scenario: "a", Verdict: v}
	}
	for _, c := range []struct {
		name  string
		runs  []v1alpha1.Verdict
		n, of int
		flaky bool
	}{
		{"once", []v1alpha1.Verdict{"passed"}, 0, 0, false},
		{"all passed", []v1alpha1.Verdict{"passed", "passed"}, 2, 2, false},
		{"one did not", []v1alpha1.Verdict{"passed", "failed", "unknown"}, 1, 3, true},
		{"passed at the retry", []v1alpha1.Verdict{"flaky"}, 1, 2, true},
		{"unsupported says nothing", []v1alpha1.Verdict{"unsupported", "passed"}, 0, 0, false},
	} {
		rep := &v1alpha1.Report{}
		for _, v := range c.runs {
			rep.Results = append(rep.Results, run(v))
		}
		got := flakes(rep)
		switch {
		case c.of == 0 && len(got) != 0:
			t.Errorf("%s: %+v", c.name, got)
		case c.of > 0 && (len(got) != 1 || got[0].Passed.N != c.n || got[0].Passed.Of != c.of || got[0].Flaky != c.flaky):
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
