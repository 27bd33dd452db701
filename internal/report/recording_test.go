package report

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
)

// A report of a real run, made of what is recorded of one: its bundle is the recording itself.
func reportOf(t *testing.T, scenario string, change func(*v1alpha1.ScenarioResult)) string {
	t.Helper()
	dir := t.TempDir()
	from := filepath.Join("..", "..", "detectors", "all", "testdata", "recorded", scenario)
	if err := os.CopyFS(filepath.Join(dir, "bundle"), os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	_, info, err := diagnose.FromBundle(from)
	if err != nil {
		t.Fatal(err)
	}
	r := v1alpha1.ScenarioResult{Scenario: scenario, Node: info.Nodes[0].Name, Verdict: v1alpha1.VerdictPassed, Expected: []string{"sandbox-create/shim-missing"}}
	if change != nil {
		change(&r)
	}
	rep := &v1alpha1.Report{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindReport, Verdict: r.Verdict, Results: []v1alpha1.ScenarioResult{r}}
	if err := Write(dir, rep); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRecord(t *testing.T) {
	into := t.TempDir()
	names, err := Record(reportOf(t, "shim-missing", nil), into)
	if err != nil || !slices.Equal(names, []string{"shim-missing"}) {
		t.Fatalf("%v %v", names, err)
	}
	for _, dir := range []string{"", "cleared"} {
		if h, _, err := diagnose.FromBundle(filepath.Join(into, "shim-missing", dir)); err != nil || len(h) != 1 {
			t.Errorf("%s: %d nodes, %v", dir, len(h), err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(into, "shim-missing", FileWant))
	if err != nil || !strings.Contains(string(raw), "- sandbox-create/shim-missing\n") {
		t.Errorf("%s %v", raw, err)
	}
	// Again, over what is there.
	if _, err := Record(reportOf(t, "shim-missing", nil), into); err != nil {
		t.Error(err)
	}
}

func TestRecordRefuses(t *testing.T) {
	for reason, change := range map[string]func(*v1alpha1.ScenarioResult){
		"nothing in":                         func(r *v1alpha1.ScenarioResult) { r.Verdict = v1alpha1.VerdictFailed },
		"nothing in ":                        func(r *v1alpha1.ScenarioResult) { r.Control = v1alpha1.ControlNoop },
		"which the scenario does not expect": func(r *v1alpha1.ScenarioResult) { r.Expected = []string{"swap/swap-on"} },
		"has no node elsewhere":              func(r *v1alpha1.ScenarioResult) { r.Node = "elsewhere" },
	} {
		into := t.TempDir()
		_, err := Record(reportOf(t, "shim-missing", change), into)
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(reason)) {
			t.Errorf("%q: %v", reason, err)
		}
		if left, _ := os.ReadDir(into); len(left) > 0 {
			t.Errorf("%q: left %v", reason, left)
		}
	}
}
