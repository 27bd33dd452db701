package report

import (
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// TestOverallOfDetectors: a detector that is scored fails the report as a scenario does, unless nothing is demanded of it or the failure is
// known; a retried pass is no pass.
func TestOverallOfDetectors(t *testing.T) {
	detector := func(role v1alpha1.DetectorRole, v v1alpha1.Verdict) func(*v1alpha1.ScenarioResult) {
		return func(r *v1alpha1.ScenarioResult) {
			r.Detectors = append(r.Detectors, v1alpha1.DetectorResult{Detector: "mine", Role: role, Verdict: v})
		}
	}
	verdict := func(v v1alpha1.Verdict) func(*v1alpha1.ScenarioResult) {
		return func(r *v1alpha1.ScenarioResult) { r.Verdict = v }
	}
	known := func(detector string) func(*v1alpha1.ScenarioResult) {
		return func(r *v1alpha1.ScenarioResult) {
			r.Known = append(r.Known, v1alpha1.KnownFailure{Scenario: "a", Detector: detector})
		}
	}
	for _, c := range []struct {
		name string
		do   []func(*v1alpha1.ScenarioResult)
		want v1alpha1.Verdict
	}{
		{"a contestant misses", []func(*v1alpha1.ScenarioResult){detector(v1alpha1.RoleContestant, "failed")}, "failed"},
		{"a baseline misses", []func(*v1alpha1.ScenarioResult){detector(v1alpha1.RoleReference, "failed")}, "passed"},
		{"a control finds something", []func(*v1alpha1.ScenarioResult){detector(v1alpha1.RoleControl, "failed")}, "failed"},
		{"a control finds nothing", []func(*v1alpha1.ScenarioResult){detector(v1alpha1.RoleControl, "passed")}, "passed"},
		{"a contestant's miss is known", []func(*v1alpha1.ScenarioResult){detector(v1alpha1.RoleContestant, "failed"), known("m*")}, "passed"},
		{"another's is known", []func(*v1alpha1.ScenarioResult){detector(v1alpha1.RoleContestant, "failed"), known("other")}, "failed"},
		{"the run's is known, not the contestant's", []func(*v1alpha1.ScenarioResult){detector(v1alpha1.RoleContestant, "failed"), known("")}, "failed"},
		{"the run fails, the contestant is known", []func(*v1alpha1.ScenarioResult){verdict("failed"), known("mine")}, "failed"},
		{"the run's failure is known", []func(*v1alpha1.ScenarioResult){verdict("failed"), known("")}, "passed"},
		{"passed when made again", []func(*v1alpha1.ScenarioResult){verdict("flaky")}, "flaky"},
		{"a contestant passed when made again", []func(*v1alpha1.ScenarioResult){detector(v1alpha1.RoleContestant, "flaky")}, "flaky"},
		{"unsupported stays so", []func(*v1alpha1.ScenarioResult){verdict("unsupported"), known("")}, "unsupported"},
	} {
		r := v1alpha1.ScenarioResult{Scenario: "a", Verdict: "passed"}
		for _, do := range c.do {
			do(&r)
		}
		if got := Overall(&v1alpha1.Report{Results: []v1alpha1.ScenarioResult{r}}); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
