package report

import (
	"bytes"
	"encoding/json"
	"errors"
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
	for _, name := range []string{FileHTML, FileJUnit, FileTimeline} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Size() == 0 {
			t.Errorf("%s: %v", name, err)
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
			if err := WriteHTML(&b, rep, nil); err != nil {
				t.Fatal(err)
			}
			page := b.String()
			// Only our own script elements close: one per run's data, and the page's own.
			if got, want := strings.Count(strings.ToLower(page), "</script>"), len(rep.Results)+1; got != want {
				t.Errorf("%d closing script tags, want %d: inlined data ends a script", got, want)
			}
			if strings.Contains(page, "<img") || strings.Contains(page, "<script>document") {
				t.Error("text of a log became markup")
			}
			if m := regexp.MustCompile(`(?i)(src|href)\s*=\s*["']?(https?:)?//|@import|url\(`).FindString(page); m != "" {
				t.Errorf("the page loads something: %s", m)
			}
			for _, want := range []string{"pleg-disk", "prefers-color-scheme: dark", "fsfreeze -u", "<svg class=\"chart\"", "ZgotmplZ"} {
				if has := strings.Contains(page, want); has == (want == "ZgotmplZ") {
					t.Errorf("%q in the page: %v", want, has)
				}
			}
		})
	}
}

// TestPageForLookingAt writes both pages to $SICKBAY_PAGES, for whoever works on them.
func TestPageForLookingAt(t *testing.T) {
	dir := os.Getenv("SICKBAY_PAGES")
	if dir == "" {
		t.Skip("SICKBAY_PAGES is not set")
	}
	for name, rep := range map[string]*v1alpha1.Report{"one": sample(), "many": many()} {
		if err := Write(filepath.Join(dir, name), rep); err != nil {
			t.Fatal(err)
		}
	}
}
