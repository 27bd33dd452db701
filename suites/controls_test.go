package suites

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/report"
	"github.com/sickbay-dev/sickbay/scenarios"
)

func howOften(calls []string, prefix string) (n int) {
	for _, c := range calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

func controlOf(t *testing.T, r Result, c Control) ControlRun {
	t.Helper()
	i := slices.IndexFunc(r.Controls, func(x ControlRun) bool { return x.Control == c })
	if i < 0 {
		t.Fatalf("control %s was not made: %+v", c, r.Controls)
	}
	return r.Controls[i]
}

// Each case is one run with its controls: what they came to, how often the fault was injected, and the report's verdict.
func TestControlsOnTheWay(t *testing.T) {
	for _, c := range []struct {
		name    string
		world   func(*world)
		judge   func() func(v1alpha1.History) []v1alpha1.Finding
		held    map[Control]bool
		injects int
		verdict Verdict // of the report
	}{
		{name: "all hold", held: map[Control]bool{NoopControl: true, NoRemedy: true, BlindRestart: true}, injects: 1, verdict: Passed},
		{name: "a blind restart cures", world: func(w *world) { w.blindCures = true },
			held: map[Control]bool{NoopControl: true, NoRemedy: true, BlindRestart: false}, injects: 2, verdict: Passed},
		{name: "a blind restart makes another illness of it", world: func(w *world) { w.blindMakes = "pleg/runtime-hung" },
			held: map[Control]bool{NoopControl: true, NoRemedy: true, BlindRestart: true}, injects: 2, verdict: Passed},
		{name: "a blind restart leaves what the remedy is not for", world: func(w *world) { w.blindBreaks = true },
			held: map[Control]bool{NoopControl: true, NoRemedy: true, BlindRestart: true}, injects: 2, verdict: Passed},
		{name: "the fault goes away by itself", world: func(w *world) { w.healsAfter = 12 },
			held: map[Control]bool{NoopControl: true, NoRemedy: false}, injects: 1, verdict: Failed},
		{name: "a detector speaks before the fault", judge: func() func(v1alpha1.History) []v1alpha1.Finding {
			var looks atomic.Int32 // nodes are judged side by side
			return func(h v1alpha1.History) []v1alpha1.Finding {
				if h.Last().Node == "w1" {
					looks.Add(1)
				}
				if n := looks.Load(); n > 8 && n < 11 {
					return []v1alpha1.Finding{{Failure: "swap", Cause: "swap-on", Node: "w1", Summary: "made up"}}
				}
				return judge(h)
			}
		}, held: map[Control]bool{NoopControl: false, NoRemedy: true, BlindRestart: true}, injects: 1, verdict: Failed},
	} {
		t.Run(c.name, timeless(func(t *testing.T) {
			w := newWorld(t, "w1")
			if c.world != nil {
				c.world(w)
			}
			r, rep, err := one(t, w, scenario(), options(func(o *Options) {
				o.Controls = AllOnTheWay
				if c.judge != nil {
					o.Judge = c.judge()
				}
			}))
			if r.Verdict != Passed || rep.Verdict != c.verdict || (ExitCode(rep, err) == 0) != (c.verdict == Passed) {
				t.Errorf("scenario %s at %s: %s; report %s, exit %d (%v)", r.Verdict, r.FailedAt, r.Reason, rep.Verdict, ExitCode(rep, err), err)
			}
			if len(r.Controls) != len(c.held) || len(r.Steps) != 7 {
				t.Errorf("%d controls, %d steps", len(r.Controls), len(r.Steps))
			}
			for control, held := range c.held {
				if x := controlOf(t, r, control); x.Held != held || x.Reason == "" || x.Ended.Before(x.Started) {
					t.Errorf("%s: %+v, want held %v", control, x, held)
				}
			}
			if n := howOften(w.calls, "inject w1 cni-config"); n != c.injects {
				t.Errorf("injected %d times, want %d: %v", n, c.injects, w.calls)
			}
			if slices.ContainsFunc(r.Remedies, func(a AppliedStep) bool { return a.Remedy == string(BlindRestart) }) {
				t.Error("the blind restart is listed as a cure")
			}
			if len(r.Findings) != 1 || r.Clocks.Signal <= 0 {
				t.Errorf("findings %v, clocks %+v", r.Findings, r.Clocks)
			}
			wellAgain(t, w)
		}))
	}
}

// The remedies come in the order blind, own; and the runs of the controls are nowhere taken for the scenario's own steps.
func TestOwnRemedyComesAfterTheBlindOne(t *testing.T) {
	w := newWorld(t, "w1")
	if r, _, _ := one(t, w, scenario(), options(func(o *Options) { o.Controls = AllOnTheWay })); r.Verdict != Passed {
		t.Fatalf("%s: %s", r.FailedAt, r.Reason)
	}
	blind := slices.Index(w.calls, "remedy w1 blind-restart")
	own := slices.Index(w.calls, "remedy w1 cure-conflist-missing")
	if blind < 0 || own < blind {
		t.Errorf("calls %v", w.calls)
	}
}

func TestControlsAreNotMadeOnAControl(t *testing.T) {
	w := newWorld(t, "w1")
	r, _, _ := one(t, w, scenario(), options(func(o *Options) { o.Controls = OnlyNoop }))
	if !r.ControlHeld || len(r.Controls) > 0 {
		t.Errorf("held %v, controls %v", r.ControlHeld, r.Controls)
	}
}

func TestInterruptedInAControl(t *testing.T) {
	for _, c := range []Control{NoopControl, NoRemedy, BlindRestart} {
		t.Run(string(c), func(t *testing.T) {
			w := newWorld(t, "w1")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ctx = progress.Into(ctx, interruptAt{"control " + string(c), cancel})
			rep, err := Run(ctx, fakeLab{w}, scenario(), w.options(func(o *Options) { o.Controls = AllOnTheWay }))
			if !errors.Is(err, ErrInterrupted) || ExitCode(rep, err) != 130 {
				t.Errorf("%v", err)
			}
			if rep == nil || rep.Results[0].Verdict != Unknown {
				t.Errorf("%+v", rep)
			}
			wellAgain(t, w)
		})
	}
}

// A suite with its controls: each is a test case of its own name, and the report counts them.
func TestControlsInASuite(t *testing.T) {
	w := newWorld(t, "w1", "w2")
	list := []*scenarios.Scenario{}
	for _, n := range []string{"a", "b"} {
		list = append(list, scenario(func(s *scenarios.Scenario) { s.Metadata.Name = n }))
	}
	rep, err := RunAll(t.Context(), fakeLab{w}, list, w.options(func(o *Options) { o.Controls = AllOnTheWay }))
	if err != nil || rep.Verdict != Passed {
		t.Fatalf("%s %v", rep.Verdict, err)
	}
	want := []ControlCount{{Control: NoopControl, Made: 2, Held: 2}, {Control: NoRemedy, Made: 2, Held: 2}, {Control: BlindRestart, Made: 2, Held: 2}}
	if fmt.Sprint(rep.Controls) != fmt.Sprint(want) {
		t.Errorf("%v", rep.Controls)
	}
	if rep.Matrix == nil || !rep.Matrix.Clean || len(rep.Matrix.Rows) != 2 {
		t.Errorf("matrix %+v", rep.Matrix)
	}
	names := junitNames(t, rep)
	if len(names) != 8 || !slices.Contains(names, "a (blind-restart)") {
		t.Errorf("%v", names)
	}
}

func junitNames(t *testing.T, rep *Report) []string {
	t.Helper()
	var buf bytes.Buffer
	if err := report.WriteJUnit(&buf, rep); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Tests  int `xml:"tests,attr"`
		Suites []struct {
			Cases []struct {
				Name string `xml:"name,attr"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(buf.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Tests != len(doc.Suites[0].Cases) {
		t.Errorf("%d tests, %d cases", doc.Tests, len(doc.Suites[0].Cases))
	}
	var names []string
	for _, c := range doc.Suites[0].Cases {
		if slices.Contains(names, c.Name) {
			t.Errorf("two test cases are called %q", c.Name)
		}
		names = append(names, c.Name)
	}
	return names
}

func TestBlindRestartMayCureSome(t *testing.T) {
	rep := func(cured int) *Report {
		r := &Report{}
		for i := range 15 {
			x := Result{Scenario: fmt.Sprint("s", i), Profile: "core", Verdict: Passed, Expected: []string{fmt.Sprintf("f%d/c", i)}}
			x.Controls = []ControlRun{{Control: BlindRestart, At: Clear, Verdict: Failed, Held: true}}
			if i < cured {
				x.Controls[0].Verdict, x.Controls[0].Held = Passed, false
			}
			r.Results = append(r.Results, x)
		}
		// An extended scenario does not count.
		r.Results = append(r.Results, Result{Scenario: "x", Profile: "extended", Verdict: Passed, Expected: []string{"f14/d"}, Controls: []ControlRun{{Control: BlindRestart, Verdict: Passed}}})
		r.Verdict = report.Overall(r)
		return r
	}
	if r := rep(BlindCures); r.Verdict != Passed || len(junitNames(t, r)) != 32 {
		t.Errorf("%s", r.Verdict)
	}
	if r := rep(BlindCures + 1); r.Verdict != Failed || len(junitNames(t, r)) != 33 {
		t.Errorf("%s", r.Verdict)
	}
}
