package report

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// plain is a report of scenarios with a verdict each, one minute long.
func plain(verdicts ...any) *v1alpha1.Report {
	t0 := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	rep := &v1alpha1.Report{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindReport, Cluster: "sickbay", Started: t0, Ended: t0.Add(time.Hour), Results: []v1alpha1.ScenarioResult{}}
	for i := 0; i < len(verdicts); i += 2 {
		r := v1alpha1.ScenarioResult{Scenario: verdicts[i].(string), Profile: "core", Verdict: verdicts[i+1].(v1alpha1.Verdict), Started: t0, Ended: t0.Add(time.Minute), Clocks: v1alpha1.RunClocks{Finding: 20}, Expected: []string{"swap/swap-on"}}
		if r.Verdict != v1alpha1.VerdictPassed {
			r.FailedAt, r.Reason = v1alpha1.StepDetect, "missed it"
		}
		rep.Results = append(rep.Results, r)
	}
	rep.Verdict = Overall(rep)
	return rep
}

const (
	ok   = v1alpha1.VerdictPassed
	bad  = v1alpha1.VerdictFailed
	lost = v1alpha1.VerdictUnknown
	no   = v1alpha1.VerdictUnsupported
)

func TestDiff(t *testing.T) {
	old := plain("a", ok, "b", bad, "c", ok, "d", ok, "e", bad, "f", ok, "g", ok, "h", ok)
	now := plain("a", bad, "b", ok, "c", ok, "d", lost, "e", bad, "f", no, "g", ok, "g", bad, "i", bad, "j", ok)
	now.Results[2].Clocks.Finding, now.Results[2].Ended = 45, now.Results[2].Ended.Add(25*time.Second)
	d := Diff(old, now, DefaultSlowerThan())
	got := map[string]string{}
	for _, kind := range DiffKinds {
		var names []string
		for _, c := range ChangesOf(d, kind) {
			names = append(names, c.Case)
		}
		got[kind] = strings.Join(names, " ")
	}
	want := map[string]string{"broken": "a d i", "fixed": "b", "slower": "c", "failing": "e", "lost": "f h", "flaky": "g"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if d.Same != 1 {
		t.Errorf("%d the same, want j", d.Same)
	}
	if c := d.Slower[0]; c.Measure != "time to the finding" || c.From != 20 || c.To != 45 {
		t.Errorf("%+v", c)
	}
	text := DiffText(d)
	for _, part := range []string{"New failures (3)\n  a  failed, was passed: detect: missed it", "i  failed, was not there", "c  time to the finding: 45 s, was 20 s", "h  it is not in the new report"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}

func TestDiffSeesControlsAndDetectors(t *testing.T) {
	old, now := scored(6), scored(6)
	now.Results[5].ControlHeld = false
	now.Results[0].Detectors[1].Verdict = v1alpha1.VerdictFailed
	d := Diff(old, now, DefaultSlowerThan())
	var names []string
	for _, c := range d.Broken {
		names = append(names, c.Case)
	}
	if diff := cmp.Diff([]string{"pleg-disk [mine]", "conflist-missing (noop)"}, names); diff != "" {
		t.Error(diff)
	}
	if same := Diff(old, old, DefaultSlowerThan()); len(same.Broken)+len(same.Fixed)+len(same.Slower)+len(same.Lost) > 0 {
		t.Errorf("a report differs from itself: %+v", same)
	}
}

func shards(t *testing.T) []*v1alpha1.Report {
	t.Helper()
	suite := []string{"a", "b", "c", "d", "e"}
	one, two := plain("b", ok, "d", ok), plain("a", ok, "c", ok, "e", ok)
	one.Shard, two.Shard = &v1alpha1.Shard{Index: 1, Of: 2, Suite: suite}, &v1alpha1.Shard{Index: 2, Of: 2, Suite: suite}
	return []*v1alpha1.Report{one, two}
}

func TestMergeShards(t *testing.T) {
	got, err := Merge(shards(t))
	if err != nil {
		t.Fatal(err)
	}
	want := plain("a", ok, "b", ok, "c", ok, "d", ok, "e", ok)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMergeNamesWhatIsMissing(t *testing.T) {
	got, err := Merge(shards(t)[:1])
	if err != nil {
		t.Fatal(err)
	}
	if got.Verdict != v1alpha1.VerdictUnknown || len(got.Results) != 5 {
		t.Fatalf("%s with %d results", got.Verdict, len(got.Results))
	}
	if r := got.Results[4]; r.Scenario != "e" || r.Verdict != lost || !strings.Contains(r.Reason, "missing 2/2") {
		t.Errorf("%+v", r)
	}
	all := shards(t)
	all[1].Results = all[1].Results[:2]
	if got, err = Merge(all); err != nil || !strings.Contains(got.Results[4].Reason, "ended before it") {
		t.Errorf("%v, %v", got, err)
	}
}

func TestMergeRefuses(t *testing.T) {
	for part, change := range map[string]func([]*v1alpha1.Report) []*v1alpha1.Report{
		"there twice":     func(r []*v1alpha1.Report) []*v1alpha1.Report { return append(r, r[0]) },
		"another suite":   func(r []*v1alpha1.Report) []*v1alpha1.Report { r[1].Shard.Suite = r[1].Shard.Suite[1:]; return r },
		"some are not":    func(r []*v1alpha1.Report) []*v1alpha1.Report { r[0].Shard = nil; return r },
		"no report to me": func([]*v1alpha1.Report) []*v1alpha1.Report { return nil },
	} {
		if _, err := Merge(change(shards(t))); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v, want %q", err, part)
		}
	}
}

func TestSummaryLeadsWithFailuresAndFits(t *testing.T) {
	rep := scored(60)
	rep.Flakes = []v1alpha1.FlakeRate{{Scenario: "swap-on", Flaky: true, Passed: v1alpha1.Rate{N: 2, Of: 5}}, {Scenario: "pleg-disk", Passed: v1alpha1.Rate{N: 5, Of: 5}}}
	rep.KnownPassed = []v1alpha1.KnownFailure{{Scenario: "disk-full", Why: "a bug", Until: "2027-01-31"}}
	var b strings.Builder
	if err := WriteSummary(&b, rep, SummaryLimit); err != nil {
		t.Fatal(err)
	}
	s := b.String()
	failed, rest := strings.Index(s, "swap-on | ❌ failed | detect | detectors, asked blind"), strings.Index(s, "| pleg-disk | ✅ passed |")
	if failed < 0 || rest < failed || !strings.Contains(s, "`sickbay run swap-on --detector sickbay --detector exec:./mine") {
		t.Errorf("failed at %d, the rest at %d:\n%s", failed, rest, s)
	}
	for _, part := range []string{"| 1 | sickbay | 60/60", "repeated: swap-on passed 2/5", "take it off the list: disk-full, until 2027-01-31: a bug"} {
		if !strings.Contains(s, part) {
			t.Errorf("no %q in the summary", part)
		}
	}
	if strings.Contains(s, "pleg-disk passed 5/5") {
		t.Error("what always passed is told as flaky")
	}
	for _, limit := range []int{100, 5000, 9000, 20000} {
		b.Reset()
		if err := WriteSummary(&b, rep, limit); err != nil || b.Len() > limit {
			t.Errorf("%d bytes of at most %d, %v", b.Len(), limit, err)
		}
		if limit == 9000 && !strings.Contains(b.String(), "more do not fit here") {
			t.Errorf("what is left out is not counted:\n%s", b.String())
		}
	}
	now := plain("a", bad, "b", ok)
	b.Reset()
	if err := WriteDiffSummary(&b, Diff(plain("a", ok, "b", bad), now, DefaultSlowerThan()), now, SummaryLimit); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"## sickbay: 1 new failures, 1 fixed", "- **a**: failed, was passed: detect: missed it\n  - `sickbay run a`", "### Fixed (1)"} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("no %q in\n%s", part, b.String())
		}
	}
}

func TestConformance(t *testing.T) {
	rep := plain("a", ok, "b", bad, "c", no, "d", lost)
	rep.Results[3].Profile = "extended"
	rep.Results[0].Controls = []v1alpha1.ControlRun{{Control: v1alpha1.ControlNoop, Held: true}}
	c := Conformance(rep, "", v1alpha1.Implementation{URL: "https://example.com"})
	want := []v1alpha1.ProfileScore{
		{Name: "core", Result: v1alpha1.ProfileFailure, Statistics: v1alpha1.ProfileCounts{Passed: 1, Failed: 1, Unsupported: 1}, Score: 0.5, Passed: []string{"a"},
			Failed: []v1alpha1.FailedCase{{Scenario: "b", Verdict: bad, At: v1alpha1.StepDetect, Reason: "missed it"}}, Unsupported: []v1alpha1.UnmetScenario{{Scenario: "c", Reason: "detect: missed it"}}},
		{Name: "extended", Result: v1alpha1.ProfilePartial, Statistics: v1alpha1.ProfileCounts{Unknown: 1}, Failed: []v1alpha1.FailedCase{{Scenario: "d", Verdict: lost, At: v1alpha1.StepDetect, Reason: "missed it"}}},
	}
	if diff := cmp.Diff(want, c.Profiles); diff != "" {
		t.Error(diff)
	}
	if c.Implementation.Project != "sickbay" || c.Implementation.URL == "" {
		t.Errorf("%+v", c.Implementation)
	}
	var b strings.Builder
	rep = scored(12)
	rep.Results[3].Detectors = nil // apparmor is unsupported here
	if c := Conformance(rep, "mine", v1alpha1.Implementation{}); len(c.Profiles[0].Unsupported) != 1 || c.Detection == nil || c.Detection.Found.Of != 11 {
		t.Errorf("%+v", c)
	}
	if err := WriteConformance(&b, rep, v1alpha1.Implementation{}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "kind: ConformanceReport"); n != 2 || !strings.Contains(b.String(), "project: mine") {
		t.Errorf("%d documents:\n%s", n, b.String())
	}
}
