package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/report"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

// reported writes a report with one verdict for each scenario.
func reported(t *testing.T, shard *v1alpha1.Shard, verdicts map[string]v1alpha1.Verdict) string {
	t.Helper()
	rep := &v1alpha1.Report{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindReport, Cluster: "sickbay", Shard: shard}
	for _, name := range []string{"a", "b", "c"} {
		if v := verdicts[name]; v != "" {
			rep.Results = append(rep.Results, v1alpha1.ScenarioResult{Scenario: name, Verdict: v, Ended: time.Time{}.Add(time.Minute)})
		}
	}
	rep.Verdict = report.Overall(rep)
	dir := t.TempDir()
	if err := report.Write(dir, rep); err != nil {
		t.Fatal(err)
	}
	return dir
}

type verdicts = map[string]v1alpha1.Verdict

func TestReportExitCode(t *testing.T) {
	for v, want := range map[v1alpha1.Verdict]int{v1alpha1.VerdictPassed: exitYes, v1alpha1.VerdictFailed: exitNo, v1alpha1.VerdictUnknown: exitTrouble} {
		dir := reported(t, nil, verdicts{"a": v})
		if code, out, _ := call(t, &fakeDeps{t: t}, "", "report", dir); code != want || !strings.Contains(out, string(v)) {
			t.Errorf("a report that %s: exit code %d, want %d", v, code, want)
		}
		if code, out, stderr := call(t, &fakeDeps{t: t}, "", "report", dir, "--html"); code != exitYes {
			t.Errorf("writing the page of a report that %s: exit code %d\n%s%s", v, code, out, stderr)
		}
	}
}

func TestReportDiffGates(t *testing.T) {
	const ok, bad, not = v1alpha1.VerdictPassed, v1alpha1.VerdictFailed, v1alpha1.VerdictUnsupported
	old := reported(t, nil, verdicts{"a": ok, "b": bad, "c": ok})
	for _, c := range []struct {
		now  verdicts
		args string
		code int
		says string
	}{
		{verdicts{"a": ok, "b": bad, "c": ok}, "", exitYes, "Still failing (1)"},
		{verdicts{"a": ok, "b": ok, "c": ok}, "", exitYes, "Fixed (1)"},
		{verdicts{"a": bad, "b": bad, "c": ok}, "", exitNo, "New failures (1)"},
		{verdicts{"a": bad, "b": bad, "c": ok}, "--fail-on none", exitYes, "New failures (1)"},
		{verdicts{"a": not, "b": bad, "c": ok}, "", exitYes, "No longer passing (1)"},
		{verdicts{"a": not, "b": bad, "c": ok}, "--fail-on broken,lost", exitNo, "No longer passing (1)"},
	} {
		args := append([]string{"report", "diff", old, reported(t, nil, c.now)}, strings.Fields(c.args)...)
		if code, out, stderr := call(t, &fakeDeps{t: t}, "", args...); code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%v %s: exit code %d, want %d with %q\n%s%s", c.now, c.args, code, c.code, c.says, out, stderr)
		}
	}
	summary := filepath.Join(t.TempDir(), "issue.md")
	call(t, &fakeDeps{t: t}, "", "report", "diff", old, reported(t, nil, verdicts{"a": bad}), "--summary", summary)
	if raw, err := os.ReadFile(summary); err != nil || !strings.Contains(string(raw), "## sickbay: 1 new failures") {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestReportMerge(t *testing.T) {
	suite := []string{"a", "b", "c"}
	one := reported(t, &v1alpha1.Shard{Index: 1, Of: 2, Suite: suite}, verdicts{"a": v1alpha1.VerdictPassed, "c": v1alpha1.VerdictPassed})
	two := reported(t, &v1alpha1.Shard{Index: 2, Of: 2, Suite: suite}, verdicts{"b": v1alpha1.VerdictPassed})
	if err := os.MkdirAll(filepath.Join(two, "bundle", "node"), 0o755); err != nil {
		t.Fatal(err)
	}
	// As an archive of a shard leaves it, which keeps no modes.
	if err := os.WriteFile(filepath.Join(two, "bundle", "node", "look.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	into := filepath.Join(t.TempDir(), "merged")
	if code, _, stderr := call(t, &fakeDeps{t: t}, "", "report", "merge", two, filepath.Join(one, "report.json"), "--into", into); code != exitYes {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	rep, err := report.Read(into)
	if err != nil || len(rep.Results) != 3 || rep.Results[1].Scenario != "b" || rep.Shard != nil {
		t.Errorf("%+v, %v", rep, err)
	}
	if _, err := os.Stat(filepath.Join(into, "bundle", "b", "node")); err != nil {
		t.Error("the observations of the shard with one scenario are not in a folder of its name: ", err)
	}
	for name, mode := range map[string]os.FileMode{"": 0o700, "b": 0o700, "b/node": 0o700, "b/node/look.json": 0o600} {
		if fi, err := os.Stat(filepath.Join(into, "bundle", name)); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("others can read the observations: bundle/%s: %v, %v", name, fi.Mode(), err)
		}
	}
	if code, out, _ := call(t, &fakeDeps{t: t}, "", "report", "merge", one); code != exitTrouble || !strings.Contains(out, "missing 2/2") {
		t.Errorf("without a shard: exit code %d\n%s", code, out)
	}
}

// TestReportByItsFile: the page is beside report.json, and a report of nothing says so.
func TestReportByItsFile(t *testing.T) {
	dir := reported(t, nil, verdicts{})
	code, out, _ := call(t, &fakeDeps{t: t}, "", "report", filepath.Join(dir, "report.json"))
	if want := "nothing was run\nreport: " + filepath.Join(dir, "report.html") + "\n"; code != exitTrouble || out != want {
		t.Errorf("exit code %d\n%s, want %s", code, out, want)
	}
}

// TestMergeKeepsAllObservations: two whole reports of the same scenario have each their own, and inputs stay as they are.
func TestMergeKeepsAllObservations(t *testing.T) {
	var dirs []string
	for _, look := range []string{"first", "second"} {
		dir := reported(t, nil, verdicts{"a": v1alpha1.VerdictPassed, "b": v1alpha1.VerdictPassed})
		for _, sc := range []string{"a", "b"} {
			if err := os.MkdirAll(filepath.Join(dir, "bundle", sc), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "bundle", sc, "bundle.yaml"), []byte(look), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		dirs = append(dirs, dir)
	}
	into := filepath.Join(t.TempDir(), "merged")
	if code, _, stderr := call(t, &fakeDeps{t: t}, "", "report", "merge", dirs[0], dirs[1], "--into", into); code != exitYes {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	for file, want := range map[string]string{"a": "first", "a-2": "second", "b": "first", "b-2": "second"} {
		if raw, err := os.ReadFile(filepath.Join(into, "bundle", file, "bundle.yaml")); err != nil || string(raw) != want {
			t.Errorf("bundle/%s: %q, %v", file, raw, err)
		}
	}
}

func TestSummaryGoesWhereGitHubShowsIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "step.md")
	t.Setenv("GITHUB_STEP_SUMMARY", file)
	w := ready(t)
	w.report = func(context.Context, []*scenarios.Scenario, suites.Options) (*v1alpha1.Report, error) {
		return result(v1alpha1.VerdictFailed), nil
	}
	for range 2 {
		if code, _, _ := callAs(t, t.Context(), w, "", "run", "pleg-disk"); code != exitNo {
			t.Errorf("exit code %d", code)
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil || strings.Count(string(raw), "## sickbay pleg-disk: failed") != 2 {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestSuiteRunsItsShard(t *testing.T) {
	seen := map[string]int{}
	var suite []string
	for _, shard := range []string{"1/3", "2/3", "3/3"} {
		w := ready(t)
		w.report = func(_ context.Context, list []*scenarios.Scenario, o suites.Options) (*v1alpha1.Report, error) {
			for _, sc := range list {
				seen[sc.Metadata.Name]++
			}
			if o.Shard == nil || o.Shard.String() != shard || o.Profile != "core" {
				t.Errorf("%s: %+v", shard, o)
			}
			suite = o.Shard.Suite
			return result(v1alpha1.VerdictPassed), nil
		}
		if code, _, stderr := call(t, w, "", "suite", "--shard", shard); code != exitYes {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
	}
	if len(seen) != len(suite) || !slices.Contains(suite, "pleg-disk") || seen["pleg-disk"] != 1 {
		t.Errorf("%v of %v", seen, suite)
	}
}

// TestTheSameReportTwice: it would count twice, or be compared with itself, by whatever path it is named.
func TestTheSameReportTwice(t *testing.T) {
	dir := reported(t, nil, verdicts{"a": v1alpha1.VerdictPassed, "b": v1alpha1.VerdictFailed})
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	at, copied := reported(t, nil, nil), filepath.Join(t.TempDir(), "copy")
	if err := report.Write(at, &v1alpha1.Report{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindReport, Started: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(copied, os.DirFS(at)); err != nil {
		t.Fatal(err)
	}
	for _, two := range [][]string{{dir, dir}, {dir, dir + "/."}, {dir, link}, {link, filepath.Join(dir, "report.json")}, {at, copied}} {
		for _, args := range [][]string{
			{"merge", two[0], two[1]},
			{"diff", two[0], two[1]},
			{two[0], "--html", "--against", two[1]},
			{two[0], two[1], "--timings"},
			{two[0], two[1], "--durations"},
			{two[0], two[1], "--scoreboard"},
			{two[0], two[1], "--sides"},
		} {
			code, out, stderr := call(t, &fakeDeps{t: t}, "", append([]string{"report"}, args...)...)
			if code != exitUsage || out != "" || !strings.Contains(stderr, two[0]+" and "+two[1]+" are the same report, given twice") {
				t.Errorf("%q: exit code %d\n%s%s", args, code, out, stderr)
			}
		}
	}
}
