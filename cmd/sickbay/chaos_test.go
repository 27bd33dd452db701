package main

import (
	"path/filepath"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/chaos"
	"github.com/sickbay-dev/sickbay/suites"
)

func TestCellsOfTheKillMatrix(t *testing.T) {
	f := chaosFlags{}
	core, err := ofProfile("core")
	if err != nil {
		t.Fatal(err)
	}
	all, err := f.cells()
	if err != nil || len(core) == 0 || len(all) != len(core)*9*3 {
		t.Fatalf("%d cells, %v; want %d scenarios at 9 points in 3 modes", len(all), err, len(core))
	}
	for i, c := range all {
		if last := i >= len(all)-9*3; claimsHost(c.Scenario) != last {
			t.Errorf("cell %d of %d is %s: what claims the host runs alone, after the others", i+1, len(all), c)
		}
	}
	f.scenarios, f.points, f.modes = []string{"swap-on"}, []string{"mid-inject"}, []string{"wait"}
	one, err := f.cells()
	if want := (chaos.KillCase{Scenario: "swap-on", Point: suites.MidInject, Mode: chaos.Wait}); err != nil || len(one) != 1 || one[0] != want {
		t.Errorf("%v, %v; want only %s", one, err, want)
	}
	f.points = []string{"middle"}
	if _, err := f.cells(); !isUsage(err) {
		t.Errorf("a point that is none: %v", err)
	}
}

func TestTheBookKeepsTheLastResult(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sub", "results")
	b, err := openBook(file)
	if err != nil {
		t.Fatal(err)
	}
	cell := chaos.KillCase{Scenario: "swap-on", Point: suites.MidInject, Mode: chaos.Wait}
	for _, v := range []v1alpha1.Verdict{v1alpha1.VerdictFailed, v1alpha1.VerdictPassed} {
		if err := b.add(chaos.Result{KillCase: cell, Verdict: v}); err != nil {
			t.Fatal(err)
		}
	}
	again, err := openBook(file)
	if err != nil || !again.passed(cell) || len(again.results) != 1 {
		t.Errorf("read again: %v, %v", again, err)
	}
}
