package report

import (
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

func TestCells(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	in := func(cell, scenario string, v v1alpha1.Verdict, signal string) v1alpha1.ScenarioResult {
		return v1alpha1.ScenarioResult{
			Scenario: scenario, Cell: cell, Verdict: v, Reason: "because", Started: at, Ended: at.Add(90 * time.Second), Steps: []v1alpha1.StepResult{}, Expected: []string{"swap/swap-on"},
			Clocks: v1alpha1.RunClocks{Signal: 3, Finding: 7}, Findings: []v1alpha1.Finding{{Failure: "swap", Cause: "swap-on"}}, Signals: []v1alpha1.Signal{{Want: "x", Text: signal}},
		}
	}
	rep := &v1alpha1.Report{Started: at, Ended: at, Results: []v1alpha1.ScenarioResult{
		in("runtime=crio", "swap-on", v1alpha1.VerdictPassed, "swap 17 on"), in("runtime=containerd", "swap-on", v1alpha1.VerdictPassed, "swap 99 on"),
		in("runtime=crio", "pleg-disk", v1alpha1.VerdictFailed, "crio hangs"), in("runtime=containerd", "pleg-disk", v1alpha1.VerdictPassed, "containerd hangs"),
	}}
	var b strings.Builder
	if err := WriteCellsPage(&b, rep); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| scenario | runtime=crio | runtime=containerd |", "| pleg-disk | failed 3 / 7 / 90 | passed 3 / 7 / 90 |",
		"- pleg-disk, runtime=crio: failed: because", "- runtime=crio: `crio hangs`\n- runtime=containerd: `containerd hangs`",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "\nswap-on\n") {
		t.Error("words that differ in numbers alone are told")
	}
	if err := WriteCellsPage(&b, &v1alpha1.Report{}); err == nil {
		t.Error("a report without cells has a page")
	}

	// The same scenario in two cells is two cases, two links and two rows.
	seen := map[string]bool{}
	for _, c := range cases(rep) {
		seen[c.key], seen["#"+linkName(c.result)] = true, true
	}
	if len(seen) != 8 || !seen["swap-on (runtime=crio)"] || !seen["#swap-on-runtime-crio"] {
		t.Errorf("%v", seen)
	}
	if m := NewMatrix(rep); len(m.Rows) != 4 || !strings.Contains(m.Rows[0].Scenario+m.Rows[1].Scenario, "runtime=") {
		t.Errorf("%+v", m.Rows)
	}
	if got := CellDir("kubernetes=1.34,runtime=crio"); got != "cells/kubernetes-1-34-runtime-crio" {
		t.Error(got)
	}
}
