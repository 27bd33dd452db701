package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joshdk/go-junit"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/usage"
)

func sortTimeline(list []v1alpha1.TimelineEntry) {
	sort.SliceStable(list, func(i, j int) bool { return list[i].At.Before(list[j].At) })
}

func splitName(s string) (string, string, bool) { return strings.Cut(s, "/") }

func TestJUnitThroughAReaderOthersUse(t *testing.T) {
	var b bytes.Buffer
	rep := many()
	if err := WriteJUnit(&b, rep); err != nil {
		t.Fatal(err)
	}
	suites, err := junit.IngestReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	if len(suites) != 1 {
		t.Fatalf("%d suites", len(suites))
	}
	s := suites[0]
	if s.Totals.Tests != 7 || s.Totals.Passed != 3 || s.Totals.Failed != 2 || s.Totals.Skipped != 1 || s.Totals.Error != 1 {
		t.Errorf("totals %+v", s.Totals)
	}
	names := map[string]junit.Test{}
	for _, c := range s.Tests {
		if _, twice := names[c.Name]; twice {
			t.Errorf("the case name %q is there twice", c.Name)
		}
		names[c.Name] = c
	}
	for name, status := range map[string]junit.Status{
		"pleg-disk": junit.StatusPassed, "swap-on": junit.StatusFailed, "apparmor-denied": junit.StatusSkipped, "clock-skew": junit.StatusError,
		"conflist-missing (noop)": junit.StatusPassed, "nothing left on the host": junit.StatusFailed,
	} {
		if names[name].Status != status {
			t.Errorf("%s is %q, want %s", name, names[name].Status, status)
		}
	}
	out := names["pleg-disk"].SystemOut
	for _, step := range v1alpha1.Steps() {
		if !strings.Contains(out, string(step)) {
			t.Errorf("system-out lacks the step %s:\n%s", step, out)
		}
	}
	if !strings.Contains(names["apparmor-denied"].Message, "the kernel has no AppArmor") {
		t.Errorf("skipped without its reason: %q", names["apparmor-denied"].Message)
	}
	if d := names["pleg-disk"].Duration.Seconds(); d != 268 {
		t.Errorf("duration %v", d)
	}
}

func TestJUnitSurvivesWhatLogsHold(t *testing.T) {
	rep := sample()
	rep.Results[0].Verdict, rep.Results[0].Reason = v1alpha1.VerdictFailed, hostile
	rep.Results[0].Steps[0].Seen = []string{hostile}
	var b bytes.Buffer
	if err := WriteJUnit(&b, rep); err != nil {
		t.Fatal(err)
	}
	suites, err := junit.IngestReader(&b)
	if err != nil {
		t.Fatalf("control characters and CDATA ends broke the file: %v", err)
	}
	if !strings.Contains(suites[0].Tests[0].SystemOut, "</script>") {
		t.Error("the line was lost")
	}
}

func TestReportRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	want := many()
	if err := Write(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	// JSON has no invalid characters: the hostile line's escape is kept, that is all there is to compare.
	a, _ := json.Marshal(want)
	b, _ := json.Marshal(got)
	if diff := cmp.Diff(string(a), string(b)); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{FileJSON, FileHTML, FileJUnit, FileTimeline} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		} else if fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has log lines of nodes, and the mode %v", name, fi.Mode())
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, FileTimeline))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(raw)) {
		var e v1alpha1.TimelineEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Text == "" {
			t.Fatalf("line %d: %v", n+1, err)
		}
		n++
	}
	if n == 0 {
		t.Error("the timeline is empty")
	}
	before, err := os.ReadFile(filepath.Join(dir, FileHTML))
	if err != nil {
		t.Fatal(err)
	}
	path, err := RenderHTML(dir, want, nil)
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("rendering again from report.json gives another page (%v)", err)
	}
}

func TestReadReportErrors(t *testing.T) {
	dir := t.TempDir()
	check := func(part string) {
		t.Helper()
		_, err := Read(dir)
		if err == nil || !strings.Contains(err.Error(), part) || !errors.As(err, new(*usage.Error)) {
			t.Errorf("error %v, want a usage error with %q", err, part)
		}
	}
	check("sickbay run NAME --report")
	if err := os.WriteFile(filepath.Join(dir, FileJSON), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("is no report")
	if err := os.WriteFile(filepath.Join(dir, FileJSON), []byte(`{"apiVersion":"v9","kind":"Other"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	check("v9 Other")
}

func TestHTMLIsSelfContainedAndInert(t *testing.T) {
	for name, rep := range map[string]*v1alpha1.Report{"one": sample(), "many": many()} {
		t.Run(name, func(t *testing.T) {
			rep.Results[0].Reason = hostile
			rep.Results[0].Steps[0].Seen = []string{hostile}
			rep.Results[0].Findings[0].Summary = hostile
			var b bytes.Buffer
			if err := WriteHTML(&b, rep, PageOptions{}); err != nil {
				t.Fatal(err)
			}
			page := b.String()
			// Only our own script elements close: the lines are packed.
			if got, want := strings.Count(strings.ToLower(page), "</script>"), 1; got != want {
				t.Errorf("%d closing script tags, want %d: inlined data ends a script", got, want)
			}
			if strings.Contains(page, "<img") || strings.Contains(page, "<script>document") {
				t.Error("text of a log became markup")
			}
			if m := regexp.MustCompile(`(?i)(src|href)\s*=\s*["']?(https?:)?//|@import|url\(`).FindString(page); m != "" {
				t.Errorf("the page loads something: %s", m)
			}
			for _, want := range []string{"pleg-disk", "prefers-color-scheme: dark", "fsfreeze -u", "class=\"chart\"", "ZgotmplZ"} {
				if has := strings.Contains(page, want); has == (want == "ZgotmplZ") {
					t.Errorf("%q in the page: %v", want, has)
				}
			}
		})
	}
}

// TestPagesForLookingAt writes pages to $SICKBAY_PAGES, for whoever works on them and for the test in browser/.
func TestPagesForLookingAt(t *testing.T) {
	dir := os.Getenv("SICKBAY_PAGES")
	if dir == "" {
		t.Skip("SICKBAY_PAGES is not set")
	}
	before := scored(60)
	before.Started, before.Results[0].Verdict, before.Results[2].Verdict = before.Started.AddDate(0, 0, -1), v1alpha1.VerdictFailed, v1alpha1.VerdictPassed
	for name, rep := range map[string]*v1alpha1.Report{"one": sample(), "many": many(), "suite": core(), "large": scored(60)} {
		if err := Write(filepath.Join(dir, name), rep); err != nil {
			t.Fatal(err)
		}
	}
	large := filepath.Join(dir, "large")
	if err := os.MkdirAll(filepath.Join(large, "bundle", "pleg-disk"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := RenderHTML(large, scored(60), before); err != nil {
		t.Fatal(err)
	}
	if err := WriteScoreboard(io.Discard, []*v1alpha1.Report{scored(60)}, filepath.Join(dir, "scores")); err != nil {
		t.Fatal(err)
	}
}

// A suite of 60 scenarios and four detectors, each run with 400 lines, stays small enough to be attached and opened.
func TestPageOfALargeSuiteIsSmall(t *testing.T) {
	var b bytes.Buffer
	if err := WriteHTML(&b, scored(60), PageOptions{Before: scored(30)}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", b.Len())
	if b.Len() > 2_000_000 {
		t.Errorf("%d bytes, more than 2 MB", b.Len())
	}
}

func TestPageLeadsToFailures(t *testing.T) {
	rep := many()
	rep.Profile, rep.HostChanges = "core", nil
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "bundle", "swap-on"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, FileJSON), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := WriteHTML(&b, rep, PageOptions{Dir: dir, Before: plain("swap-on", ok, "pleg-disk", bad)}); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	last := 0
	for _, part := range []string{
		"<title>profile core · failed · sickbay · sickbay</title>", "New failures", `<a href="#swap-on">swap-on</a>`,
		`<tr data-run="swap-on" data-v="failed"`, `<tr data-run="clock-skew" data-v="unknown"`, `<tr data-run="apparmor-denied" data-v="unsupported"`, `<tr data-run="pleg-disk" data-v="passed"`,
		`<section class="run" id="swap-on" data-v="failed">` + "\n<details open>", `sickbay run swap-on`, `href="bundle/swap-on/"`, "; was &#43;20 s", `<section class="run" id="pleg-disk" data-v="passed">` + "\n<details>",
		`href="#pleg-disk/`, `id="conflist-missing-noop" data-v="passed"`, `<a href="report.json">`,
	} {
		at := strings.Index(page[last:], part)
		if at < 0 {
			t.Fatalf("no %q after byte %d", part, last)
		}
		last += at
	}
	if strings.Contains(page, `href="timeline.jsonl"`) || strings.Contains(page, `href="bundle/pleg-disk/"`) {
		t.Error("a file that is not there is linked")
	}
}

// The page of a control that held is green, as its case in junit.xml is.
func TestPageOfAControlThatHeldIsGreen(t *testing.T) {
	rep := many()
	rep.Results, rep.HostChanges = rep.Results[5:], nil
	rep.Verdict = Overall(rep)
	var b bytes.Buffer
	if err := WriteHTML(&b, rep, PageOptions{}); err != nil {
		t.Fatal(err)
	}
	if page := b.String(); !strings.Contains(page, `<div class="hero passed">`) || !strings.Contains(page, `<span class="badge passed">held</span>`) || strings.Contains(page, "badge failed") {
		t.Error("a control that held is not green")
	}
}

func TestEvidenceIsFoundInTheTimeline(t *testing.T) {
	r := sample().Results[0]
	for _, f := range r.Findings {
		for _, e := range f.Evidence {
			line, want := lineOf(r.Timeline, e), map[string]string{"journal/kubelet": "PLEG is not healthy", "api.node": "DiskPressure: "}[e.Source]
			if (line >= 0) != (want != "") || line >= 0 && !strings.HasPrefix(r.Timeline[line].Text, want) {
				t.Errorf("%s %q is line %d", e.Source, e.Text, line)
			}
		}
	}
	cut := v1alpha1.Evidence{Source: "kmsg", Text: "one two…nine ten"}
	if n := lineOf([]v1alpha1.TimelineEntry{{Source: "journal/kernel", Text: "one two three"}, {Source: "journal/kernel", Text: "one  two three nine ten"}}, cut); n != 1 {
		t.Errorf("a line that was cut in its middle: %d", n)
	}
	for _, s := range r.Signals {
		if line := signalLine(r.Timeline, s); line < 0 && s.Want != `condition Ready=False "PLEG is not healthy"` {
			t.Errorf("%s has no line", s.Want)
		}
	}
}
