package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/lab"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

// learner is somebody at a terminal, with a cache of their own.
type learner struct {
	t     *testing.T
	cache string
	store lab.Store
}

func newLearner(t *testing.T) *learner {
	l := &learner{t: t, cache: t.TempDir()}
	t.Setenv("SICKBAY_CACHE", l.cache)
	l.store = lab.Store{Dir: filepath.Join(l.cache, "labs")}
	return l
}

// begin makes a lab that runs, as `lab start` leaves it.
func (l *learner) begin(code string, change func(*lab.State)) {
	l.t.Helper()
	st := &lab.State{
		Code: code, Cluster: "sickbay", Node: "sickbay-worker", Run: strings.ToLower(code) + "-abcde", Phase: lab.Running, Lease: time.Hour, Language: "en",
		Record: lab.Record{Started: time.Now().Add(-5 * time.Minute)},
	}
	if change != nil {
		change(st)
	}
	if err := l.store.Save(st); err != nil {
		l.t.Fatal(err)
	}
	if st.Run != "" {
		l.record(cluster.Record{Cluster: "sickbay", Run: st.Run, Node: st.Node, Until: time.Now().Add(time.Hour)})
	}
}

func (l *learner) record(r cluster.Record) {
	l.t.Helper()
	dir := filepath.Join(l.cache, "runs", r.Cluster)
	raw, err := json.Marshal(r)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, r.Run+".json"), raw, 0o600)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *learner) types(args ...string) (code int, stdout, stderr string) {
	l.t.Helper()
	out, errs := file(l.t), file(l.t)
	a := newApp(strings.NewReader(""), out, errs)
	a.deps = &fakeDeps{t: l.t}
	code = a.execute(l.t.Context(), append([]string{"lab"}, args...))
	return code, content(l.t, out), content(l.t, errs)
}

// TestLabLadder: hints come one by one and are counted, and the cause is not told before the last.
func TestLabLadder(t *testing.T) {
	l := newLearner(t)
	l.begin("L07", nil)
	c, err := scenarios.FindCourse("L07")
	if err != nil {
		t.Fatal(err)
	}
	var before string
	for i, h := range c.Of.Spec.Hints {
		code, out, _ := l.types("hint")
		if code != exitYes || !strings.Contains(out, h.Says.En) {
			t.Errorf("hint %d: exit code %d, %s", i+1, code, out)
		}
		if i < 2 {
			before += out
		}
	}
	if strings.Contains(before, "conflist") {
		t.Errorf("the first hints tell it:\n%s", before)
	}
	if _, out, _ := l.types("hint"); !strings.Contains(out, "That was the last hint") || !strings.Contains(out, "sickbay explain cni/conflist-missing") {
		t.Error(out)
	}
	if st, err := l.store.Load("sickbay"); err != nil || st.Hints != len(c.Of.Spec.Hints) || len(st.Timeline) != st.Hints {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestLabAnswer(t *testing.T) {
	l := newLearner(t)
	l.begin("L18", nil) // two causes
	for _, c := range []struct {
		answer string
		code   int
		want   string
	}{
		{"plegg", exitUsage, "did you mean pleg?"},
		{"pleg/runtime-io-stal", exitUsage, "did you mean runtime-io-stall?"},
		{"cni/conflist-missing", exitNo, "No."},
		{"pleg", exitNo, "Which cause?"},
		{"pleg/runtime-io-stall", exitNo, "not the only one"},
		{"disk-pressure/imagefs-full", exitYes, "Right."},
	} {
		code, out, errs := l.types("answer", c.answer)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%s: exit code %d, want %d; %s%s", c.answer, code, c.code, out, errs)
		}
	}
	// A typing mistake is no answer.
	if st, err := l.store.Load("sickbay"); err != nil || len(st.Answers) != 4 || st.Named.IsZero() {
		t.Errorf("%+v, %v", st, err)
	}
}

// TestLabGoesOn: whatever ended the lab's process, or the lab, the next command says how to go on.
func TestLabGoesOn(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*lab.State)
		gone   bool // the node has healed itself
		want   []string
	}{
		"killed while it started":        {func(s *lab.State) { s.Phase, s.Run = lab.Starting, "" }, false, []string{"was cut short", "sickbay lab reset", "sickbay lab stop"}},
		"its time had come":              {nil, true, []string{"lab L07 is over", "sickbay lab reset", "sickbay lab stop"}},
		"paused":                         {func(s *lab.State) { s.Pause(time.Now()) }, false, []string{"is paused", "sickbay lab resume"}},
		"of a version with no such code": {func(s *lab.State) { s.Code = "L98" }, false, []string{`"L98"`}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLearner(t)
			l.begin("L07", c.change)
			if c.gone {
				if err := os.RemoveAll(filepath.Join(l.cache, "runs")); err != nil {
					t.Fatal(err)
				}
			}
			code, out, errs := l.types("hint")
			if code != exitUsage || out != "" {
				t.Errorf("exit code %d, %s", code, out)
			}
			for _, w := range c.want {
				if !strings.Contains(errs, w) {
					t.Errorf("no %q in %s", w, errs)
				}
			}
		})
	}
}

// TestLabListsTellNothing: neither the list nor completion names a cause, a failure or a scenario.
func TestLabListsTellNothing(t *testing.T) {
	l := newLearner(t)
	_, list, _ := l.types("list")
	_, asJSON, _ := l.types("list", "-o", "json")
	labs, _ := completeLabs(nil, nil, "")
	seen := list + asJSON + strings.Join(labs, "\n")
	all, err := scenarios.Courses()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if !strings.Contains(list, c.Of.Spec.Code) {
			t.Errorf("the list lacks %s", c.Of.Spec.Code)
		}
		for _, word := range []string{c.Metadata.Name, c.Spec.Title, c.Spec.Expect[0].Cause, c.Spec.Expect[0].Failure} {
			if strings.Contains(seen, word) {
				t.Errorf("%q is told", word)
			}
		}
	}
}

// TestStatusVeilsLabs: `sickbay status` does not tell what a lab is.
func TestStatusVeilsLabs(t *testing.T) {
	in := injectors.Injection{ID: "l07-abcde-i1", Run: "l07-abcde", Scenario: "l07", Mechanism: "cni-config", Params: json.RawMessage(`{"action":"remove"}`), Secret: true}
	open := injectors.Injection{ID: "x", Mechanism: "swap"}
	got := veiled([]injectors.Status{{Injection: in, Active: &injectors.Effect{Text: "no conflist"}, Notes: []string{"conflist"}}, {Injection: open}})
	raw, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"cni", "conflist", "remove"} {
		if strings.Contains(string(raw), word) {
			t.Errorf("%q is told: %s", word, raw)
		}
	}
	if got[1].Mechanism != "swap" || got[0].Run != "l07-abcde" {
		t.Errorf("%s", raw)
	}
}

// TestWatchdogWaitsForALab: a run that was given more time is not undone when its first time is over.
func TestWatchdogWaitsForALab(t *testing.T) {
	l := newLearner(t)
	r := cluster.Record{Cluster: "sickbay", Run: "l07-abcde", Node: "w", Until: time.Now().Add(-time.Minute)}
	l.record(r)
	if _, ok := prolonged(r); ok {
		t.Error("its time is over")
	}
	later := r
	later.Until = time.Now().Add(time.Hour)
	l.record(later)
	if got, ok := prolonged(r); !ok || !got.Until.After(time.Now()) {
		t.Errorf("%+v, %t", got, ok)
	}
}

// TestWatchdogEnds: of a lab that another process has stopped nothing is left to watch.
func TestWatchdogEnds(t *testing.T) {
	l := newLearner(t)
	r := cluster.Record{Cluster: "sickbay", Run: "l07-abcde", Node: "w", Until: time.Now().Add(time.Hour)}
	l.record(r)
	if ended(r) {
		t.Error("it runs")
	}
	hold, err := r.Take()
	if err == nil {
		err = hold.End()
	}
	if err != nil || !ended(r) {
		t.Errorf("%v: it was stopped", err)
	}
}

// TestShellHistory: what was typed goes into the timeline with its time and without secrets.
func TestShellHistory(t *testing.T) {
	st := &lab.State{}
	typed(st, "w1", "#1764400000\ncrictl ps\n#1764400060\ncurl -H 'Authorization: Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6Ing'  https://x\n\n")
	if len(st.Timeline) != 2 || st.Timeline[0].Text != "w1: crictl ps" || st.Timeline[0].At.Unix() != 1764400000 {
		t.Fatalf("%+v", st.Timeline)
	}
	if strings.Contains(st.Timeline[1].Text, "eyJ") {
		t.Errorf("a token is in the timeline: %s", st.Timeline[1].Text)
	}
}

// TestLabEnds: the debrief tells the cause and goes into the history; the last lab of a sealed drill opens its seal.
func TestLabEnds(t *testing.T) {
	l := newLearner(t)
	d := &lab.Drill{Codes: []string{"L07"}, Seed: 7, Salt: "salt"}
	d.Seal = lab.Seal(d.Salt, d.Seed, d.Codes)
	l.begin("L07", func(s *lab.State) {
		s.Drill = d
		s.Named, s.SolvedAt, s.Phase = time.Now(), time.Now(), lab.Solved
	})
	le, err := lessonOn("sickbay", "")
	if err != nil {
		t.Fatal(err)
	}
	out, dir := file(t), t.TempDir()
	a := newApp(nil, out, file(t))
	told, err := le.debrief(time.Now(), dir, []string{"file /etc/fstab.bak: new"})
	if err != nil {
		t.Fatal(err)
	}
	a.showDebrief(told)
	if err := a.nextOfDrill(t.Context(), le); err != nil {
		t.Fatal(err)
	}
	shown := content(t, out)
	for _, want := range []string{"It was cni/conflist-missing", "Left behind: file /etc/fstab.bak: new", "95 points, solved in", "salt salt, seed 7, codes L07; seal " + d.Seal} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in:\n%s", want, shown)
		}
	}
	for _, ext := range []string{".md", ".html"} {
		if _, err := os.Stat(filepath.Join(dir, "l07-abcde"+ext)); err != nil {
			t.Error(err)
		}
	}
	if _, err := l.store.Load("sickbay"); err == nil {
		t.Error("the lab is still there")
	}
	if code, out, _ := l.types("progress"); code != exitYes || !strings.Contains(out, "L07") || !strings.Contains(out, "95") {
		t.Errorf("progress: exit code %d, %s", code, out)
	}
}

// TestVerifyGoesOn: what has a proof is not proven again, good or bad; --retry-failed takes only the good ones for proven. A table is
// written all the same.
func TestVerifyGoesOn(t *testing.T) {
	l := newLearner(t)
	c, err := scenarios.FindCourse("L07")
	if err != nil {
		t.Fatal(err)
	}
	file, table := lab.Proofs{File: filepath.Join(l.store.Dir, "proofs.jsonl")}, filepath.Join(t.TempDir(), "labs.md")
	for _, ok := range []bool{false, true} {
		if err := file.Add(lab.Proof{Code: "L07", Scenario: "conflist-missing", Of: lab.Hash(*c), Checks: []lab.Check{{Name: "unsolved", OK: ok}}}); err != nil {
			t.Fatal(err)
		}
		flag, want := "--resume", exitNo
		if ok {
			flag, want = "--retry-failed", exitYes
		}
		// No engine and no cluster may be asked for.
		code, out, errs := l.types("verify", "conflist-missing", flag, "--table", table)
		raw, err := os.ReadFile(table)
		if code != want || err != nil || !strings.Contains(string(raw), "| L07 | conflist-missing |") {
			t.Errorf("%s: exit code %d, %v, %s%s", flag, code, err, out, errs)
		}
	}
	if code, _, errs := l.types("verify", "--all", "--resume", "--retry-failed"); code != exitUsage {
		t.Errorf("exit code %d, %s", code, errs)
	}
}

// TestTwoLabs: of two on a cluster a command says which one it is about, and a drill goes on once both are over.
func TestTwoLabs(t *testing.T) {
	l := newLearner(t)
	d := &lab.Drill{Codes: []string{"L07", "L04"}, AtOnce: 2, Seed: 9}
	l.begin("L07", func(s *lab.State) { s.Drill = d })
	l.begin("L04", func(s *lab.State) { s.Drill, s.Beside, s.Node = d, true, "sickbay-worker2" })
	if code, _, errs := l.types("hint"); code != exitUsage || !strings.Contains(errs, "--lab L07 or --lab L04") {
		t.Errorf("exit code %d, %s", code, errs)
	}
	if code, _, errs := l.types("hint", "--lab", "L05"); code != exitUsage || !strings.Contains(errs, "but L07 and L04") {
		t.Errorf("exit code %d, %s", code, errs)
	}
	if code, out, errs := l.types("hint", "--lab", "l04"); code != exitYes || !strings.Contains(out, "Hint 1") {
		t.Errorf("exit code %d, %s%s", code, out, errs)
	}
	first, err := lessonOn("sickbay", "L07")
	if err != nil || first.st.Hints != 0 {
		t.Fatalf("%v, %+v", err, first)
	}
	second, err := lessonOn("sickbay", "L04")
	if err != nil || second.st.Hints != 1 {
		t.Fatalf("%v, %+v", err, second)
	}
	out := file(t)
	a := newApp(nil, out, file(t))
	for _, le := range []*lesson{second, first} {
		if _, err := le.debrief(time.Now(), t.TempDir(), nil); err != nil {
			t.Fatal(err)
		}
		if err := a.nextOfDrill(t.Context(), le); err != nil {
			t.Fatal(err)
		}
	}
	if shown := content(t, out); !strings.Contains(shown, "Lab L07 is still on.") || strings.Count(shown, "last lab of the drill: 0 of 200 points") != 1 {
		t.Error(shown)
	}
}

// TestToolsDrill: a detector takes the drill that people take, and is listed beside them.
func TestToolsDrill(t *testing.T) {
	l := newLearner(t)
	deps := ready(t)
	var ran []string
	deps.report = func(_ context.Context, list []*scenarios.Scenario, o suites.Options) (*v1alpha1.Report, error) {
		rep := &v1alpha1.Report{}
		for _, s := range list {
			ran = append(ran, s.Metadata.Name)
			e := s.Spec.Expect[0]
			rep.Results = append(rep.Results, v1alpha1.ScenarioResult{Scenario: s.Metadata.Name, Started: time.Now(), Ended: time.Now(), Detectors: []v1alpha1.DetectorResult{{
				Detector: o.Detectors[0].Name, Expected: []v1alpha1.Detected{{Failure: e.Failure, Cause: e.Cause, Found: true, RightNode: true, RightCause: true, Seconds: 12}},
				Action: &v1alpha1.ActionResult{Cleared: true, Seconds: 30},
			}}})
		}
		return rep, nil
	}
	out, errs := file(t), file(t)
	a := newApp(strings.NewReader(""), out, errs)
	a.deps = deps
	if code := a.execute(t.Context(), []string{"lab", "drill", "--seed", "5", "--count", "2", "--detector", "sickbay"}); code != exitYes {
		t.Fatalf("exit code %d, %s", code, content(t, errs))
	}
	if shown := content(t, out); len(ran) != 2 || !strings.Contains(shown, "detector sickbay") || !strings.Contains(shown, "200 of 200") || !strings.Contains(shown, "--seed 5") {
		t.Errorf("%v: %s", ran, shown)
	}
	if _, shown, _ := l.types("progress", "--learner", "detector sickbay"); strings.Count(shown, "detector sickbay") != 2 {
		t.Error(shown)
	}
}

// TestDecoys: each is no illness, one of a seed is always the same, and its code is no lab's.
func TestDecoys(t *testing.T) {
	seen := map[string]bool{}
	for at := range 10 {
		d := &lab.Drill{Seed: 1<<64 - 5, At: at}
		odd, code, err := decoyOf(d)
		if err != nil {
			t.Fatal(err)
		}
		again, _, _ := decoyOf(d)
		if _, err := scenarios.FindCourse(code); err == nil || odd.Spec.Profile != v1alpha1.ProfileDecoy || again.Metadata.Name != odd.Metadata.Name {
			t.Errorf("%s is %s of profile %s", code, odd.Metadata.Name, odd.Spec.Profile)
		}
		seen[odd.Metadata.Name] = true
	}
	if len(seen) < 5 {
		t.Errorf("%d different ones of ten", len(seen))
	}
}
