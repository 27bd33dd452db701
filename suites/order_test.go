package suites

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites/detector"
)

// failsFirst makes injections of a world fail so often.
func failsFirst(w *world, n int) {
	w.injectErr = errors.New("no")
	w.onInject = func() {
		if n--; n <= 0 {
			w.mu.Lock()
			w.injectErr = nil
			w.mu.Unlock()
		}
	}
}

// TestRetries: what passes at a retry is flaky and no pass; without retries a failure is final.
func TestRetries(t *testing.T) {
	for _, c := range []struct {
		name     string
		retries  int
		broken   int // looks of the contestant that find nothing: the runs in which it misses
		want     v1alpha1.Verdict
		attempts int
	}{
		{"none by default", 0, 1, "failed", 0},
		{"one is enough", 1, 1, "flaky", 1},
		{"it passes at once", 3, 0, "passed", 0},
		{"never", 2, 9, "failed", 2},
	} {
		t.Run(c.name, timeless(func(t *testing.T) {
			w := newWorld(t, "w1")
			e := whenIll("mine", "cni/conflist-missing")
			open, runs := e.Open, 0
			e.Open = func() (detector.Detector, error) {
				if runs++; runs <= c.broken {
					return nil, errors.New("not installed")
				}
				return open()
			}
			r, rep, err := one(t, w, scenario(), w.options(func(o *Options) {
				o.Retries, o.Detectors = c.retries, []detector.Entry{detector.Own(), e}
			}))
			d := detectorResult(t, r, "mine")
			if err != nil || r.Verdict != v1alpha1.VerdictPassed || d.Verdict != c.want || rep.Verdict != c.want || len(r.Attempts) != c.attempts {
				t.Errorf("%s, mine %s (%s), report %s, attempts %+v, %v", r.Verdict, d.Verdict, d.Reason, rep.Verdict, r.Attempts, err)
			}
			if code := ExitCode(rep, nil); (code == 0) != (c.want == "passed") {
				t.Errorf("exit code %d", code)
			}
			if c.want == "flaky" && (len(rep.Flakes) != 1 || rep.Flakes[0].Passed.String() != "1/2" || !strings.Contains(d.Reason, "not installed")) {
				t.Errorf("%+v; %s", rep.Flakes, d.Reason)
			}
			wellAgain(t, w)
		}))
	}
}

// TestRetriedRun: a run's own failure is made again as well.
func TestRetriedRun(t *testing.T) {
	timeless(func(t *testing.T) {
		w := newWorld(t, "w1")
		failsFirst(w, 1)
		r, rep, err := one(t, w, scenario(), w.options(func(o *Options) { o.Retries = 1 }))
		if err != nil || r.Verdict != v1alpha1.VerdictFlaky || rep.Verdict != v1alpha1.VerdictFlaky || len(r.Attempts) != 1 || r.Attempts[0].FailedAt != v1alpha1.StepInject {
			t.Errorf("%s: %s, report %s, %+v, %v", r.Verdict, r.Reason, rep.Verdict, r.Attempts, err)
		}
		wellAgain(t, w)
	})(t)
}

func TestRepeat(t *testing.T) {
	timeless(func(t *testing.T) {
		w := newWorld(t, "w1")
		failsFirst(w, 1)
		o := w.options(func(o *Options) { o.Repeat, o.Seed, o.ReportDir = 3, 7, t.TempDir() })
		rep, err := Run(t.Context(), fakeTestbed{w}, scenario(), o)
		if err != nil || len(rep.Results) != 3 || rep.Seed != 7 {
			t.Fatalf("%d results, seed %d, %v", len(rep.Results), rep.Seed, err)
		}
		var numbers []int
		for _, r := range rep.Results {
			numbers = append(numbers, r.Repeat)
		}
		if !slices.Equal(numbers, []int{1, 2, 3}) {
			t.Errorf("numbered %v", numbers)
		}
		if f := rep.Flakes; len(f) != 1 || f[0].Passed.String() != "2/3" || !f[0].Flaky {
			t.Errorf("%+v", f)
		}
		if rep.Verdict != v1alpha1.VerdictUnknown && rep.Verdict != v1alpha1.VerdictFailed {
			t.Errorf("one of three did not pass, and the report is %s", rep.Verdict)
		}
		for _, dir := range []string{"conflist-missing", "conflist-missing-2", "conflist-missing-3"} {
			if _, err := os.Stat(filepath.Join(o.ReportDir, "bundle", dir)); err != nil {
				t.Error(err)
			}
		}
		wellAgain(t, w)
	})(t)
}

func TestOrder(t *testing.T) {
	named := func(name string, change ...func(*scenarios.Scenario)) *scenarios.Scenario {
		return scenario(append(change, func(s *scenarios.Scenario) { s.Metadata.Name = name })...)
	}
	var list []*scenarios.Scenario
	for _, n := range []string{"a", "b", "c", "d", "e"} {
		list = append(list, named(n))
	}
	list = append(list, named("host", func(s *scenarios.Scenario) { s.Spec.Claims = []string{"host"} }),
		named("long", func(s *scenarios.Scenario) { s.Spec.Timeouts.Manifest = v1alpha1.Duration(time.Hour) }))
	order := func(seed uint64, more ...detector.Entry) string {
		s := &session{opts: Options{Seed: seed, Detectors: more}, t: quick().WithDefaults()}
		var out []string
		for _, it := range s.items(list) {
			out = append(out, it.sc.Metadata.Name)
		}
		return strings.Join(out, " ")
	}
	if got := order(0); got != "long host a b c d e" {
		t.Errorf("without a seed: %s", got)
	}
	if got := order(0, whenIll("mine", "pleg")); got != "long a b c d e host" {
		t.Errorf("with another detector, which would see the host's fault everywhere: %s", got)
	}
	if first, again, other := order(1), order(1), order(2); first != again || first == other {
		t.Errorf("seed 1: %s, %s; seed 2: %s", first, again, other)
	}
	if got := order(1); !strings.HasPrefix(got, "long host ") {
		t.Errorf("seed 1: %s", got)
	}
}

func TestKnownFailures(t *testing.T) {
	timeless(func(t *testing.T) {
		w := newWorld(t, "w1")
		known := []v1alpha1.KnownFailure{{Scenario: "conflist-*", Detector: "mine", Why: "it looks for conditions only"}, {Scenario: "conflist-missing", Why: "it was so"}, {Scenario: "other", Why: "not run"}}
		r, rep, err := one(t, w, scenario(), w.options(func(o *Options) {
			o.Known, o.Retries, o.Detectors = known, 2, []detector.Entry{detector.Own(), whenIll("mine", "pleg")}
		}))
		if err != nil || rep.Verdict != v1alpha1.VerdictPassed || len(r.Attempts) > 0 || !slices.Equal(r.Known, known[:1]) {
			t.Errorf("%s, known %+v, attempts %+v, %v", rep.Verdict, r.Known, r.Attempts, err)
		}
		if d := detectorResult(t, r, "mine"); d.Verdict != v1alpha1.VerdictFailed {
			t.Errorf("a known failure is one all the same: %s", d.Verdict)
		}
		if !slices.Equal(rep.KnownPassed, known[1:2]) {
			t.Errorf("stale: %+v", rep.KnownPassed)
		}
	})(t)
}

func TestLoadKnown(t *testing.T) {
	const head = "apiVersion: sickbay.dev/v1alpha1\nkind: KnownFailures\nfailures:\n"
	now := time.Date(2026, 11, 29, 23, 0, 0, 0, time.UTC)
	for _, c := range []struct{ doc, want string }{
		{head + "- {scenario: a, why: so, until: 2026-11-29}\n", ""},
		{head + "- {scenario: a, why: so, until: 2026-11-28}\n", "entry 1 (a) was known until 2026-11-28"},
		{head + "- {scenario: a, until: 2027-01-01}\n", `known.yaml:4:3: failures[0] lacks the field "why"`},
		{head + "- {scenario: a, why: ' ', until: 2027-01-01}\n", "does not say why"},
		{head + "- {scenario: a, why: so, until: ''}\n", `until "": write the last day, such as 2026-12-29`},
		{head + "- {scenario: '', why: so, until: 2027-01-01}\n", "names no scenario"},
		{head + "- {scenario: a, wy: so, until: 2027-01-01}\n", `known.yaml:4:17: unknown field "wy" in failures[0]; did you mean "why"?`},
		{head + "- {scenario: a, why: so, until: 2027-01-01}\n- {scenario: a, why: [so], until: 2027-01-01}\n", "known.yaml:5:17: why must be a string, not a list"},
		{head + "- {scenario: 3, why: so, until: 2027-01-01}\n", "known.yaml:4:14: scenario must be a string, not the number 3"},
		{"apiVersion: sickbay.dev/v1alpha1\nkind: KnownFailures\nfailures: {}\n", "known.yaml:3:1: failures must be a list"},
		{head + "- {scenario: a\n", "known.yaml:4:"},
		{"kind: Report\n", "want sickbay.dev/v1alpha1 KnownFailures"},
	} {
		file := filepath.Join(t.TempDir(), "known.yaml")
		if err := os.WriteFile(file, []byte(c.doc), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadKnown(file, now)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.doc, err, c.want)
		}
		if err != nil && ExitCode(nil, err) != 2 {
			t.Errorf("exit code %d", ExitCode(nil, err))
		}
	}
}
