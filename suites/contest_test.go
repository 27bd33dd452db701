package suites

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites/detector"
)

// says is a detector that names things on nodes that the node itself, or f, says are ill.
func says(name string, f func(node, sick string) []string) detector.Entry {
	return detector.New(name, detector.Func(func(ctx context.Context, l detector.Look) (v1alpha1.Diagnosis, error) {
		var d v1alpha1.Diagnosis
		for _, n := range l.Nodes {
			sick, err := l.Run(ctx, n.Name, "what")
			if err != nil {
				return d, err
			}
			for _, s := range f(n.Name, string(sick)) {
				failure, cause, _ := strings.Cut(s, "/")
				d.Findings = append(d.Findings, v1alpha1.Finding{Failure: failure, Cause: cause, Node: n.Name, Summary: "so it seems"})
			}
		}
		return d, nil
	}))
}

// whenIll says something of nodes that are ill.
func whenIll(name string, what ...string) detector.Entry {
	return says(name, func(_, sick string) []string {
		if sick == "" {
			return nil
		}
		return what
	})
}

func detectorResult(t *testing.T, r v1alpha1.ScenarioResult, name string) v1alpha1.DetectorResult {
	t.Helper()
	i := slices.IndexFunc(r.Detectors, func(d v1alpha1.DetectorResult) bool { return d.Detector == name })
	if i < 0 {
		t.Fatalf("no result of %s: %+v", name, r.Detectors)
	}
	return r.Detectors[i]
}

// TestContestants: each gets what it deserves, and none of them changes what becomes of sickbay or of another.
func TestContestants(t *testing.T) {
	const right = "cni/conflist-missing"
	hang := detector.New("hangs", detector.Func(func(context.Context, detector.Look) (v1alpha1.Diagnosis, error) {
		time.Sleep(30 * time.Second)
		return v1alpha1.Diagnosis{}, nil
	}))
	hang.Timeout = 50 * time.Millisecond
	first := sync.Map{} // nodes that were ill at a look before
	list := []struct {
		entry                    detector.Entry
		verdict                  v1alpha1.Verdict
		reason                   string // part of it
		named, node, found, both bool   // both: right cause as well
		wrong                    v1alpha1.WrongPlace
	}{
		{whenIll("right", right), "passed", "", true, true, true, true, ""},
		{whenIll("class", "cni"), "passed", "", true, true, true, false, ""},
		{whenIll("wrong-cause", "cni/ipam-exhausted"), "failed", "wrong cause: cni/ipam-exhausted on w1", true, true, true, false, "victim"},
		{whenIll("everything", right, "pleg/runtime-hung", "swap/swap-on"), "failed", "extra finding: pleg/runtime-hung on w1", true, true, true, true, "victim"},
		{whenIll("another", "pleg/runtime-hung"), "failed", "missed: " + right, false, false, false, false, "victim"},
		{whenIll("silent"), "failed", "missed: " + right, false, false, false, false, ""},
		{says("wrong-node", func(node, _ string) []string {
			if _, ill := first.Load("w1"); ill && node == "cp" {
				return []string{right}
			}
			return nil
		}), "failed", "wrong node: " + right, true, false, false, false, "bystander"},
		{says("watch", func(node, sick string) []string {
			if sick != "" {
				first.Store(node, true)
			}
			return nil
		}), "failed", "missed", false, false, false, false, ""},
		{says("cries-cni", func(string, string) []string { return []string{right} }), "failed", "before anything was injected", true, true, false, false, "baseline"},
		{detector.None(), "passed", "as a control must", false, false, false, false, ""},
		{hang, "failed", "it did not answer within", false, false, false, false, ""},
		{detector.New("panics", detector.Func(func(context.Context, detector.Look) (v1alpha1.Diagnosis, error) { panic("no") })), "failed", "it panicked: no", false, false, false, false, ""},
		{detector.New("fails", detector.Func(func(context.Context, detector.Look) (v1alpha1.Diagnosis, error) {
			return v1alpha1.Diagnosis{}, errors.New("no such file")
		})), "failed", "no such file", false, false, false, false, ""},
		{detector.New("nameless", detector.Func(func(context.Context, detector.Look) (v1alpha1.Diagnosis, error) {
			return v1alpha1.Diagnosis{Findings: []v1alpha1.Finding{{Node: "w1"}}}, nil
		})), "failed", "has no failure", false, false, false, false, ""},
	}
	timeless(func(t *testing.T) {
		w := newWorld(t, "w1")
		o := w.options(func(o *Options) { o.Detectors = []detector.Entry{detector.Own()} })
		for _, c := range list {
			o.Detectors = append(o.Detectors, c.entry)
		}
		r, rep, err := one(t, w, scenario(), o)
		if err != nil || r.Verdict != v1alpha1.VerdictPassed {
			t.Fatalf("sickbay's own run: %s at %s: %s, %v", r.Verdict, r.FailedAt, r.Reason, err)
		}
		if rep.Verdict != v1alpha1.VerdictFailed {
			t.Errorf("contestants missed it, and the report is %s", rep.Verdict)
		}
		for _, c := range list {
			d := detectorResult(t, r, c.entry.Name)
			if d.Verdict != c.verdict || !strings.Contains(d.Reason, c.reason) {
				t.Errorf("%s: %s: %s; want %s: …%s…", d.Detector, d.Verdict, d.Reason, c.verdict, c.reason)
			}
			if e := d.Expected[0]; e.Named != c.named || e.RightNode != c.node || e.Found != c.found || e.RightCause != c.both {
				t.Errorf("%s: %+v", d.Detector, e)
			}
			if places := places(d); c.wrong != "" && !slices.Contains(places, c.wrong) || c.wrong == "" && len(places) > 0 {
				t.Errorf("%s: wrong at %v, want %q", d.Detector, places, c.wrong)
			}
		}
		own := detectorResult(t, r, detector.OwnName)
		if own.Verdict != v1alpha1.VerdictPassed || !own.Expected[0].RightCause || own.Action == nil || !own.Action.Cleared || !own.Action.CauseRight {
			t.Errorf("sickbay: %+v %+v", own, own.Action)
		}
		if len(rep.Detectors) != len(list)+1 || len(rep.Scores) != 2*(len(list)+1) {
			t.Errorf("%d detectors, %d scores", len(rep.Detectors), len(rep.Scores))
		}
		wellAgain(t, w)
	})(t)
}

func places(d v1alpha1.DetectorResult) []v1alpha1.WrongPlace {
	var out []v1alpha1.WrongPlace
	for _, w := range d.Wrong {
		out = append(out, w.Place)
	}
	return out
}

// TestControlOnly: the control finds nothing anywhere, and that is green; its score is that of one that finds nothing.
func TestControlOnly(t *testing.T) {
	timeless(func(t *testing.T) {
		w := newWorld(t, "w1")
		r, rep, err := one(t, w, scenario(), w.options(func(o *Options) { o.Detectors = []detector.Entry{detector.None()} }))
		if err != nil || rep.Verdict != v1alpha1.VerdictPassed || r.Verdict != v1alpha1.VerdictPassed {
			t.Fatalf("%s: %s: %s, %v", rep.Verdict, r.Verdict, r.Reason, err)
		}
		if s := rep.Scores[0]; s.Passed.N != 0 || s.Passed.Of != 1 || s.Found.N != 0 || s.Found.Of != 1 {
			t.Errorf("%+v", s)
		}
		if len(r.Remedies) > 0 || w.remedies > 0 {
			t.Error("sickbay remedied where it was not asked to take part")
		}
		wellAgain(t, w)
	})(t)
}

// TestOwnDetectorOnly: without sickbay's, a contestant's miss is the run's.
func TestOwnDetectorOnly(t *testing.T) {
	for _, c := range []struct {
		entry detector.Entry
		want  v1alpha1.Verdict
		at    v1alpha1.StepName
	}{{whenIll("mine", "cni/conflist-missing"), "passed", ""}, {whenIll("mine", "pleg"), "failed", "detect"}} {
		timeless(func(t *testing.T) {
			w := newWorld(t, "w1")
			r, rep, _ := one(t, w, scenario(), w.options(func(o *Options) { o.Detectors = []detector.Entry{c.entry} }))
			if r.Verdict != c.want || r.FailedAt != c.at || rep.Verdict != c.want {
				t.Errorf("%s at %s (%s), report %s", r.Verdict, r.FailedAt, r.Reason, rep.Verdict)
			}
			wellAgain(t, w)
		})(t)
	}
}

// TestBlindRequest: a request says nothing of the victim.
func TestBlindRequest(t *testing.T) {
	timeless(func(t *testing.T) {
		var mu sync.Mutex
		var looks []detector.Look
		w := newWorld(t, "w1", "w2")
		_, _, err := one(t, w, scenario(), w.options(func(o *Options) {
			o.Victim = "w2"
			o.Detectors = []detector.Entry{detector.New("spy", detector.Func(func(_ context.Context, l detector.Look) (v1alpha1.Diagnosis, error) {
				mu.Lock()
				defer mu.Unlock()
				looks = append(looks, l)
				spaces, err := l.Kube.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
				for _, ns := range spaces.Items {
					if strings.Contains(ns.Name, "conflist") {
						t.Errorf("namespace %s tells the scenario", ns.Name)
					}
				}
				return v1alpha1.Diagnosis{}, err
			}))}
		}))
		if err != nil || len(looks) < 3 {
			t.Fatalf("%d looks: %v", len(looks), err)
		}
		for i, l := range looks {
			var nodes []string
			for _, n := range l.Nodes {
				nodes = append(nodes, n.Name)
			}
			if !slices.Equal(nodes, []string{"cp", "w1", "w2"}) || l.Look != i+1 || !l.Since.Equal(looks[0].Since) || l.Act || l.Kubeconfig == "" || l.Nodes[0].Exec[1] != "cp" {
				t.Errorf("look %d: %+v", i+1, l.DetectorRequest)
			}
		}
	})(t)
}

// TestDecoyContestants: an oddity that is no illness must not be taken for one, by anybody.
func TestDecoyContestants(t *testing.T) {
	timeless(func(t *testing.T) {
		decoy := scenario(func(s *scenarios.Scenario) { s.Spec.Profile, s.Spec.Expect = v1alpha1.ProfileDecoy, nil })
		w := newWorld(t, "w1")
		silent := func(v1alpha1.History) []v1alpha1.Finding { return nil }
		r, rep, err := one(t, w, decoy, w.options(func(o *Options) {
			o.Judge = silent
			o.Detectors = []detector.Entry{detector.Own(), whenIll("taken-in", "cni"), whenIll("wise"), detector.None()}
		}))
		if err != nil || r.Verdict != v1alpha1.VerdictPassed || rep.Verdict != v1alpha1.VerdictFailed {
			t.Fatalf("%s: %s, report %s, %v", r.Verdict, r.Reason, rep.Verdict, err)
		}
		for name, want := range map[string]v1alpha1.Verdict{"sickbay": "passed", "taken-in": "failed", "wise": "passed", "none": "passed"} {
			if d := detectorResult(t, r, name); d.Verdict != want {
				t.Errorf("%s: %s: %s", name, d.Verdict, d.Reason)
			}
		}
		if s := rep.Scores[1]; s.Detector != "taken-in" || s.FalseDecoy.N != 1 {
			t.Errorf("%+v", s)
		}
	})(t)
}

// TestActing: a detector that acts gets a fault of its own, and is judged by sickbay's detectors.
func TestActing(t *testing.T) {
	for _, c := range []struct {
		name            string
		cures, leaves   bool
		cleared, acted  bool
		cause           string
		causeRight      bool
		reason, residue string
	}{
		{"cures", true, false, true, true, "cni/conflist-missing", true, "", ""},
		{"cures for another reason", true, false, true, true, "cni", false, "", ""},
		{"does nothing", false, false, false, true, "cni/conflist-missing", true, "not cleared", ""},
		{"leaves something", true, true, true, true, "cni/conflist-missing", true, "", "rule left"},
		{"finds nothing", false, false, false, false, "", false, "found nothing", ""},
	} {
		t.Run(c.name, timeless(func(t *testing.T) {
			w := newWorld(t, "w1")
			e := whenIll("mender", c.cause)
			if c.cause == "" {
				e = whenIll("mender")
			}
			open, acts := e.Open, 0
			e.Acts = true
			e.Open = func() (detector.Detector, error) {
				d, err := open()
				return detector.Func(func(ctx context.Context, l detector.Look) (v1alpha1.Diagnosis, error) {
					if !l.Act {
						return d.Diagnose(ctx, l)
					}
					acts++
					if len(l.Diagnosis.Findings) == 0 {
						t.Error("asked to act without what it had found")
					}
					w.mu.Lock()
					defer w.mu.Unlock()
					if c.cures {
						delete(w.sick, "w1")
						w.setNode("w1")
					}
					if c.leaves {
						w.leaked["w1"] = append(w.leaked["w1"], "rule left")
					}
					return v1alpha1.Diagnosis{}, nil
				}), err
			}
			r, rep, err := one(t, w, scenario(), w.options(func(o *Options) { o.Detectors = []detector.Entry{detector.Own(), e} }))
			if err != nil || r.Verdict != v1alpha1.VerdictPassed {
				t.Fatalf("%s: %s, %v", r.Verdict, r.Reason, err)
			}
			a := detectorResult(t, r, "mender").Action
			if a == nil || a.Cleared != c.cleared || a.Acted != c.acted || a.CauseRight != c.causeRight || !strings.Contains(a.Reason, c.reason) || strings.Join(a.Residue, "") != c.residue {
				t.Fatalf("%+v", a)
			}
			if a.Run == r.Run || acts > 1 || c.acted && acts != 1 {
				t.Errorf("run %s, acted %d times", a.Run, acts)
			}
			if s := rep.Scores[2].Action; rep.Scores[2].Detector != "mender" || s == nil || s.Cleared.Of != 1 {
				t.Errorf("%+v", rep.Scores[2])
			}
			wellAgain(t, w)
		}))
	}
}

// TestHostilePrograms: programs that hang, crash, print garbage or 100 MB fail alone, and the suite ends in time: five scenarios with five
// seconds each for what cannot answer would take more than the test's bound.
func TestHostilePrograms(t *testing.T) {
	dir := t.TempDir()
	var list []detector.Entry
	for name, script := range map[string]string{
		"hangs":   "sleep 300 & sleep 300",
		"crashes": "kill -SEGV $$",
		"garbage": "echo '<html>'",
		"floods":  "trap '' PIPE; head -c 100000000 /dev/zero",
		"right":   `cat >/dev/null; [ -e ` + dir + `/ill ] && echo '{"findings":[{"failure":"cni","cause":"conflist-missing","node":"w1"}]}' || echo '{}'`,
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		e := detector.Exec(name, false, file)
		if name == "hangs" {
			e.Timeout = 200 * time.Millisecond
		}
		list = append(list, e)
	}
	w := newWorld(t, "w1")
	w.onInject = func() {
		if err := os.WriteFile(filepath.Join(dir, "ill"), nil, 0o600); err != nil {
			t.Error(err)
		}
	}
	r, rep, err := one(t, w, scenario(), w.options(func(o *Options) {
		o.Detectors = append(list, detector.Own())
		o.Timings.DetectorWait, o.Timings.Steps[v1alpha1.StepDetect] = 20*time.Second, 20*time.Second
	}))
	if err != nil || r.Verdict != v1alpha1.VerdictPassed || rep.Verdict != v1alpha1.VerdictFailed {
		t.Fatalf("%s at %s: %s, report %s, %v", r.Verdict, r.FailedAt, r.Reason, rep.Verdict, err)
	}
	for name, want := range map[string]string{"hangs": "it did not answer within", "crashes": "segmentation fault", "garbage": "is no", "floods": "it wrote more than 4", "right": ""} {
		d := detectorResult(t, r, name)
		if (d.Verdict == v1alpha1.VerdictPassed) != (name == "right") || !strings.Contains(d.Reason, want) {
			t.Errorf("%s: %s: %s", name, d.Verdict, d.Reason)
		}
	}
	wellAgain(t, w)
}
