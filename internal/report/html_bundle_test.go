package report

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// Each run of a repeated scenario has a bundle of its own, and the page links that one.
func TestBundleOfRepeatedRun(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"swap-on", "swap-on-2"} {
		if err := os.MkdirAll(filepath.Join(dir, "bundle", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	rep := &v1alpha1.Report{Results: []v1alpha1.ScenarioResult{{Scenario: "swap-on", Repeat: 1}, {Scenario: "swap-on", Repeat: 2}, {Scenario: "swap-on", Repeat: 3}}}
	for i, want := range []string{"bundle/swap-on", "bundle/swap-on-2", ""} {
		v, err := newRunView(rep, &rep.Results[i], dir)
		if err != nil {
			t.Fatal(err)
		}
		if v.Bundle != want {
			t.Errorf("run %d links %q, want %q", i+1, v.Bundle, want)
		}
	}
}
