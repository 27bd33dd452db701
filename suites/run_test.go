package suites

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ktesting "k8s.io/client-go/testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/report"
	"github.com/sickbay-dev/sickbay/scenarios"
)

func one(t *testing.T, w *world, sc *scenarios.Scenario, o Options) (v1alpha1.ScenarioResult, *v1alpha1.Report, error) {
	t.Helper()
	o.Cleanups = w.cleanups
	rep, err := Run(t.Context(), fakeTestbed{w}, sc, o)
	if rep == nil || len(rep.Results) != 1 {
		t.Fatalf("no result: %v", err)
	}
	return rep.Results[0], rep, err
}

// timeless runs a test by a clock that jumps to the next timer as soon as everything waits.
func timeless(test func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			t.Cleanup(func() { time.Sleep(time.Minute) }) // what nobody waits for, such as a look that was given up, ends
			test(t)
		})
	}
}

// wellAgain holds after every run, however it went: nothing injected, nothing in the API, no claim, nothing registered.
func wellAgain(t *testing.T, w *world) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for n, p := range w.placed {
		if len(p) > 0 {
			t.Errorf("node %s still has %d injection(s)", n, len(p))
		}
	}
	for n, s := range w.sick {
		t.Errorf("node %s is still ill: %s", n, s)
	}
	if len(w.claimed) > 0 {
		t.Errorf("still claimed: %v", w.claimed)
	}
	list, err := w.kube.CoreV1().Namespaces().List(context.Background(), metav1.ListOptions{})
	if err != nil || len(list.Items) > 0 {
		t.Errorf("namespaces left: %v %v", list.Items, err)
	}
	if p := w.cleanups.Pending(); len(p) > 0 {
		t.Errorf("clean-ups left in the registry: %v", p)
	}
}

func stepOf(r v1alpha1.ScenarioResult, name v1alpha1.StepName) v1alpha1.StepResult {
	for _, s := range r.Steps {
		if s.Name == name {
			return s
		}
	}
	return v1alpha1.StepResult{}
}

func TestPassesAllSevenSteps(t *testing.T) {
	w := newWorld(t, "w1", "w2")
	dir := t.TempDir()
	r, rep, err := one(t, w, scenario(func(s *scenarios.Scenario) {
		s.Spec.Prepare = []v1alpha1.Action{{Mechanism: "dedicated-filesystem"}}
	}), options(func(o *Options) { o.ReportDir = dir }))
	if err != nil || r.Verdict != v1alpha1.VerdictPassed || rep.Verdict != v1alpha1.VerdictPassed || ExitCode(rep, err) != 0 {
		t.Fatalf("verdict %s at %s: %s (%v)", r.Verdict, r.FailedAt, r.Reason, err)
	}
	for i, name := range v1alpha1.Steps() {
		if r.Steps[i].Name != name || r.Steps[i].Verdict != v1alpha1.VerdictPassed {
			t.Errorf("step %d is %s %s, want %s passed", i, r.Steps[i].Name, r.Steps[i].Verdict, name)
		}
	}
	order := []string{"begin w1", "check w1 dedicated-filesystem", "inject w1 dedicated-filesystem", "check w1 cni-config", "inject w1 cni-config", "remedy w1 cure-conflist-missing", "recover w1 ", "end w1"}
	at := -1
	for _, want := range order {
		i := slices.IndexFunc(w.calls[at+1:], func(c string) bool { return strings.HasPrefix(c, want) })
		if i < 0 {
			t.Fatalf("call %q is missing or out of order: %v", want, w.calls)
		}
		at += i + 1
	}
	for _, s := range r.Signals {
		if s.At.IsZero() || s.Text == "" {
			t.Errorf("signal %q was not noted", s.Want)
		}
	}
	if len(r.Findings) != 1 || findingName(r.Findings[0]) != "cni/conflist-missing" || len(r.Remedies) != 1 {
		t.Errorf("findings %v, remedies %v", r.Findings, r.Remedies)
	}
	if r.Clocks.Signal <= 0 || r.Clocks.Finding <= 0 || r.Clocks.Remedied < r.Clocks.Finding || r.Clocks.Cleared < r.Clocks.Remedied {
		t.Errorf("clocks are out of order: %+v", r.Clocks)
	}
	h, info, err := diagnose.FromBundle(filepath.Join(dir, "bundle"))
	if err != nil || len(h) != 3 || info.Cluster != "fake" {
		t.Fatalf("bundle: %v %v", info, err)
	}
	if d := diagnose.Judge(h, judge); len(d.Findings) != 1 || d.Findings[0].Node != "w1" {
		t.Errorf("the bundle does not replay to the same finding: %+v", d.Findings)
	}
	if h, _, err := diagnose.FromBundle(filepath.Join(dir, "bundle", "cleared")); err != nil || len(diagnose.Judge(h, judge).Findings) > 0 {
		t.Errorf("the cleared bundle is not silent: %v", err)
	}
	wellAgain(t, w)
}

// steps is a progress sink that tells which step begins.
type steps func(name string)

func (s steps) Start(title string, bound time.Duration) progress.Task {
	if part := strings.Split(title, " · "); len(part) == 3 {
		s(part[1])
	}
	return progress.Discard.Start(title, bound)
}
func (steps) Note(string, ...any) {}

// Three looks in a row have to agree, two of them at all nodes. The last look of manifest is the first one, where it was right.
func TestDetectGoesOnFromManifest(t *testing.T) {
	for name, c := range map[string]struct {
		silent func(step string, looks int) bool // what detectors say of looks so far in that step
		want   int                               // looks in detect, at three nodes
	}{
		"named at the signal":          {func(string, int) bool { return false }, 3 + 3},
		"named later":                  {func(step string, _ int) bool { return step == "manifest" }, 1 + 3 + 3},
		"named, and then not for once": {func(step string, looks int) bool { return step == "detect" && looks <= 3 }, 3 + 3 + 3 + 3},
	} {
		t.Run(name, timeless(func(t *testing.T) {
			w := newWorld(t, "w1", "w2")
			looks := func() int { w.mu.Lock(); defer w.mu.Unlock(); return w.looks }
			at := map[string]int{} // step → looks before it
			now := ""
			ctx := progress.Into(t.Context(), steps(func(step string) { now, at[step] = step, looks() }))
			rep, err := Run(ctx, fakeTestbed{w}, scenario(), w.options(func(o *Options) {
				o.Victim = "w1"
				o.Judge = func(h v1alpha1.History) []v1alpha1.Finding {
					if c.silent(now, looks()-at[now]) {
						return nil
					}
					return judge(h)
				}
			}))
			if err != nil || rep.Verdict != v1alpha1.VerdictPassed {
				t.Fatalf("%v %+v", err, rep)
			}
			if got := at["remediate"] - at["detect"]; got != c.want {
				t.Errorf("%d looks in detect, want %d", got, c.want)
			}
		}))
	}
}

func TestLeaseIsRenewedWhileTheRunLives(t *testing.T) {
	w := newWorld(t, "w1")
	sc := scenario(func(s *scenarios.Scenario) { s.Spec.Timeouts.Manifest = v1alpha1.Duration(150 * time.Millisecond) })
	w.silentFault = true
	if r, _, _ := one(t, w, sc, options()); r.FailedAt != v1alpha1.StepManifest {
		t.Fatalf("failed at %s", r.FailedAt)
	}
	if w.renewed["w1"] < 3 {
		t.Errorf("the lease of 30ms was renewed %d times in 150ms", w.renewed["w1"])
	}
	n := w.renewed["w1"]
	time.Sleep(40 * time.Millisecond)
	if w.renewed["w1"] != n {
		t.Error("the lease is renewed after the run has ended")
	}
}

func TestEveryFailingPath(t *testing.T) {
	unsupported := &injectors.UnsupportedError{Mechanism: "apparmor", Reason: "the kernel has no AppArmor"}
	cases := []struct {
		name    string
		world   func(*world)
		sc      func(*scenarios.Scenario)
		opts    func(*Options)
		at      v1alpha1.StepName
		verdict v1alpha1.Verdict
		reason  string // part of it
		exit    int
		unclean bool // nothing can bring this one back
		check   func(*testing.T, *world, v1alpha1.ScenarioResult)
	}{
		{name: "a stale injection", world: func(w *world) {
			w.stale = []injectors.Status{{Injection: injectors.Injection{Run: "old", Mechanism: "swap"}, State: injectors.Injected}}
		}, at: v1alpha1.StepBaseline, verdict: v1alpha1.VerdictFailed, reason: "swap of run old (injected); undo it with: sickbay recover", exit: 1},
		{name: "a recovered one is fine", world: func(w *world) {
			w.stale = []injectors.Status{{Injection: injectors.Injection{Run: "old", Mechanism: "swap"}, State: injectors.Recovered}}
		}, verdict: v1alpha1.VerdictPassed},
		{name: "the journal cannot be read", world: func(w *world) { w.statusErr = errors.New("exec: container is paused") },
			at: v1alpha1.StepBaseline, verdict: v1alpha1.VerdictUnknown, reason: "container is paused", exit: 3},
		{name: "a bystander is ill", world: func(w *world) { w.sick["cp"] = "pleg/runtime-hung"; w.setNode("cp") },
			at: v1alpha1.StepBaseline, verdict: v1alpha1.VerdictFailed, reason: "pleg/runtime-hung on cp", exit: 1, unclean: true},
		{name: "the workload never runs", world: func(w *world) { w.podsFail = true }, sc: func(s *scenarios.Scenario) { s.Spec.Workload = "w" },
			at: v1alpha1.StepBaseline, verdict: v1alpha1.VerdictFailed, reason: "ContainerCreating", exit: 1},
		{name: "prepare unsupported", world: func(w *world) { w.checkErr = unsupported },
			sc: func(s *scenarios.Scenario) { s.Spec.Prepare = []v1alpha1.Action{{Mechanism: "apparmor"}} },
			at: v1alpha1.StepBaseline, verdict: v1alpha1.VerdictUnsupported, reason: "no AppArmor", exit: 3, check: func(t *testing.T, w *world, _ v1alpha1.ScenarioResult) {
				if slices.ContainsFunc(w.calls, func(c string) bool { return strings.HasPrefix(c, "inject") }) {
					t.Errorf("something was injected after an unsupported check: %v", w.calls)
				}
			}},
		{name: "a machine that cannot host the fault", world: func(w *world) { w.checkErr, w.checkOf = unsupported, "machine-clock" },
			sc: func(s *scenarios.Scenario) {
				s.Spec.Claims, s.Spec.Inject = []string{"host"}, []v1alpha1.Action{{Mechanism: "machine-clock"}}
				s.Spec.Prepare = []v1alpha1.Action{{Mechanism: "kubelet-config"}}
			},
			at: v1alpha1.StepBaseline, verdict: v1alpha1.VerdictUnsupported, reason: "no AppArmor", exit: 3, check: func(t *testing.T, w *world, _ v1alpha1.ScenarioResult) {
				if slices.ContainsFunc(w.calls, func(c string) bool { return strings.HasPrefix(c, "inject") }) {
					t.Errorf("the node was prepared for a fault that the machine cannot host: %v", w.calls)
				}
			}},
		{name: "inject unsupported", world: func(w *world) { w.checkErr = unsupported },
			at: v1alpha1.StepInject, verdict: v1alpha1.VerdictUnsupported, reason: "apparmor is unsupported here: the kernel has no AppArmor", exit: 3},
		{name: "inject fails half-way", world: func(w *world) { w.injectErr = errors.New("losetup: no free device") },
			at: v1alpha1.StepInject, verdict: v1alpha1.VerdictUnknown, reason: "no free device", exit: 3},
		{name: "inject without effect", world: func(w *world) { w.noEffect = true },
			at: v1alpha1.StepInject, verdict: v1alpha1.VerdictFailed, reason: "has no effect", exit: 1},
		{name: "until never comes", sc: func(s *scenarios.Scenario) {
			s.Spec.Inject[0].Until = []v1alpha1.Matcher{{Condition: &v1alpha1.ConditionMatcher{Type: "DiskPressure", Status: "True"}}}
		}, at: v1alpha1.StepInject, verdict: v1alpha1.VerdictFailed, reason: "DiskPressure=True", exit: 1},
		{name: "the fault does not show", world: func(w *world) { w.silentFault = true },
			at: v1alpha1.StepManifest, verdict: v1alpha1.VerdictFailed, reason: `log of kubelet "cni plugin not initialized"`, exit: 1},
		{name: "an old line is no signal", world: func(w *world) { w.silentFault, w.oldLine = true, true },
			at: v1alpha1.StepManifest, verdict: v1alpha1.VerdictFailed, reason: `still no log of kubelet`, exit: 1},
		{name: "missed", world: func(w *world) { w.show["cni-config"] = "" },
			sc: func(s *scenarios.Scenario) {
				s.Spec.Manifest = []v1alpha1.Matcher{{Unit: &v1alpha1.UnitMatcher{Name: "kubelet", SubState: "x"}}}
			},
			at: v1alpha1.StepManifest, verdict: v1alpha1.VerdictFailed, exit: 1},
		{name: "wrong cause", world: func(w *world) { w.show["cni-config"] = "cni/conflist-invalid" },
			at: v1alpha1.StepDetect, verdict: v1alpha1.VerdictFailed, reason: "wrong cause: cni/conflist-invalid instead of cni/conflist-missing on w1", exit: 1},
		{name: "extra finding", world: func(w *world) { w.show["cni-config"] = "cni/conflist-missing+swap/swap-on" },
			at: v1alpha1.StepDetect, verdict: v1alpha1.VerdictFailed, reason: "extra finding: swap/swap-on on w1", exit: 1},
		{name: "only another failure", world: func(w *world) { w.show["cni-config"] = "swap/swap-on" },
			at: v1alpha1.StepDetect, verdict: v1alpha1.VerdictFailed, reason: "missed: cni/conflist-missing on w1", exit: 1},
		{name: "a bystander falls ill", world: func(w *world) {
			w.onInject = func() { w.mu.Lock(); defer w.mu.Unlock(); w.sick["w2"] = "pleg/runtime-hung" }
		}, at: v1alpha1.StepDetect, verdict: v1alpha1.VerdictFailed, reason: "extra finding on another node: pleg/runtime-hung on w2", exit: 1, unclean: true},
		{name: "the wrong node too", world: func(w *world) {
			w.onInject = func() { w.mu.Lock(); defer w.mu.Unlock(); w.sick["w2"] = "cni/conflist-missing" }
		}, at: v1alpha1.StepDetect, verdict: v1alpha1.VerdictFailed, reason: "wrong node: cni/conflist-missing on w2 instead of w1", exit: 1, unclean: true},
		{name: "no remedy known", world: func(w *world) { w.show["cni-config"] = "cni/no-remedy" },
			sc: func(s *scenarios.Scenario) {
				s.Spec.Expect = []v1alpha1.Expected{{Failure: "cni", Cause: "no-remedy"}}
			},
			at: v1alpha1.StepRemediate, verdict: v1alpha1.VerdictFailed, reason: "has no remedy", exit: 1},
		{name: "a destructive remedy that nobody declared", world: func(w *world) { w.show["cni-config"] = "cni/destroys" },
			sc: func(s *scenarios.Scenario) {
				s.Spec.Expect = []v1alpha1.Expected{{Failure: "cni", Cause: "destroys"}}
			},
			at: v1alpha1.StepRemediate, verdict: v1alpha1.VerdictFailed, reason: "does not declare destructiveRemedy: cure cni/destroys", exit: 1},
		{name: "a destructive remedy that is declared", world: func(w *world) { w.show["cni-config"] = "cni/destroys" },
			sc: func(s *scenarios.Scenario) {
				s.Spec.Expect, s.Spec.DestructiveRemedy = []v1alpha1.Expected{{Failure: "cni", Cause: "destroys"}}, true
			}, verdict: v1alpha1.VerdictPassed},
		{name: "remedy errors", world: func(w *world) { w.remedyErr = errors.New("exit status 1: no such file") },
			at: v1alpha1.StepRemediate, verdict: v1alpha1.VerdictFailed, reason: "no such file", exit: 1},
		{name: "remedy without effect", world: func(w *world) { w.remedyWorks = false },
			at: v1alpha1.StepClear, verdict: v1alpha1.VerdictFailed, reason: "detectors still say cni/conflist-missing", exit: 1},
		{name: "it comes back", world: func(w *world) { w.comesBack = 2 },
			at: v1alpha1.StepClear, verdict: v1alpha1.VerdictFailed, reason: "detectors still say", exit: 1},
		{name: "restarts go on", world: func(w *world) { w.restarting = true },
			at: v1alpha1.StepClear, verdict: v1alpha1.VerdictFailed, reason: "restart counts hold still for 0s", exit: 1},
		{name: "no fresh pod runs", world: func(w *world) { w.proofFails = true },
			at: v1alpha1.StepClear, verdict: v1alpha1.VerdictFailed, reason: "proof pod: pod proof Pending (ContainerCreating)", exit: 1},
		{name: "blind is not clear", world: func(w *world) { w.blindAfterRemedy = true },
			at: v1alpha1.StepClear, verdict: v1alpha1.VerdictFailed, reason: "; units: exec: no answer", exit: 1},
		{name: "only looked cleared", world: func(w *world) { w.undoneBefore = true },
			at: v1alpha1.StepResidue, verdict: v1alpha1.VerdictFailed, reason: "recover still had to undo: cni-config on w1: restored conflist", exit: 1},
		{name: "something is left on the node", world: func(w *world) { w.leak = "w1: + loops /dev/loop3 (/var/x)" },
			at: v1alpha1.StepResidue, verdict: v1alpha1.VerdictFailed, reason: "/dev/loop3", exit: 1, check: func(t *testing.T, _ *world, r v1alpha1.ScenarioResult) {
				if len(r.Residue) != 1 {
					t.Errorf("residue %v", r.Residue)
				}
			}},
		{name: "noop", opts: func(o *Options) { o.Controls = OnlyNoop }, at: v1alpha1.StepManifest, verdict: v1alpha1.VerdictFailed, reason: "nothing was injected, and the signal did not come", exit: 1,
			check: func(t *testing.T, w *world, r v1alpha1.ScenarioResult) {
				if !r.ControlHeld {
					t.Error("the control did not hold")
				}
				if len(w.calls) > 0 && slices.ContainsFunc(w.calls, func(c string) bool { return strings.HasPrefix(c, "inject") }) {
					t.Errorf("noop injected: %v", w.calls)
				}
			}},
		{name: "noop and the detector speaks", opts: func(o *Options) {
			o.Controls = OnlyNoop
			// It is silent at the baseline and speaks after a few looks, whatever it sees.
			o.Judge = func(h v1alpha1.History) []v1alpha1.Finding {
				if len(h) < 5 {
					return nil
				}
				return []v1alpha1.Finding{{Failure: "swap", Cause: "swap-on", Node: h.Last().Node, Summary: "made up"}}
			}
		}, at: v1alpha1.StepManifest, verdict: v1alpha1.VerdictFailed, reason: "still detectors say: swap/swap-on", exit: 1, check: func(t *testing.T, _ *world, r v1alpha1.ScenarioResult) {
			if r.ControlHeld {
				t.Error("the control held although a detector spoke")
			}
		}},
		{name: "no remedy control", opts: func(o *Options) { o.Controls = OnlyNoRemedy }, at: v1alpha1.StepClear, verdict: v1alpha1.VerdictFailed, reason: "detectors still say", exit: 1,
			check: func(t *testing.T, w *world, r v1alpha1.ScenarioResult) {
				if !r.ControlHeld || w.remedies > 0 {
					t.Errorf("held %v, remedies %d", r.ControlHeld, w.remedies)
				}
			}},
		{name: "contained", world: func(w *world) { w.contained = "this host has swap of its own" }, verdict: v1alpha1.VerdictPassed,
			check: func(t *testing.T, _ *world, r v1alpha1.ScenarioResult) {
				if r.Fidelity.Level != "contained" || r.Fidelity.Differs != "this host has swap of its own" {
					t.Errorf("fidelity %+v", r.Fidelity)
				}
			}},
	}
	for _, c := range cases {
		t.Run(c.name, timeless(func(t *testing.T) {
			w := newWorld(t, "w1", "w2")
			if c.world != nil {
				c.world(w)
			}
			sc := scenario()
			if c.sc != nil {
				c.sc(sc)
			}
			if sc.Spec.Workload != "" {
				withWorkload(t, sc)
			}
			o := options(func(o *Options) { o.Victim = "w1" })
			if c.opts != nil {
				c.opts(&o)
			}
			r, rep, err := one(t, w, sc, o)
			if r.Verdict != c.verdict || r.FailedAt != c.at || !strings.Contains(r.Reason, c.reason) {
				t.Errorf("%s at %q: %s (%v)\nwant %s at %q: %s", r.Verdict, r.FailedAt, r.Reason, err, c.verdict, c.at, c.reason)
			}
			if got := ExitCode(rep, err); got != c.exit {
				t.Errorf("exit code %d, want %d", got, c.exit)
			}
			if len(r.Steps) != 7 {
				t.Errorf("%d steps", len(r.Steps))
			}
			if c.check != nil {
				c.check(t, w, r)
			}
			if !c.unclean {
				wellAgain(t, w)
			}
		}))
	}
}

// withWorkload gives the scenario a real folder, as the loader would.
func withWorkload(t *testing.T, sc *scenarios.Scenario) {
	t.Helper()
	dir := t.TempDir()
	doc := `apiVersion: sickbay.dev/v1alpha1
kind: Scenario
metadata: {name: conflist-missing}
spec:
  title: t
  profile: core
  fidelity: {level: real}
  workload: workload.yaml
  inject: [{mechanism: cni-config, params: {action: remove}}]
  manifest: [{log: {unit: kubelet, contains: cni}}]
  expect: [{failure: cni, cause: conflist-missing}]
`
	for name, text := range map[string]string{
		"scenario.yaml": doc,
		"workload.yaml": `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"app","namespace":"{{.Namespace}}"},"spec":{"nodeName":"{{.Node}}","containers":[{"name":"c","image":"{{.Image}}"}]}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := scenarios.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	loaded.Spec.Manifest = sc.Spec.Manifest
	loaded.Spec.Inject[0].Params = nil
	*sc = *loaded
}

func TestInterruptInEveryStepRecovers(t *testing.T) {
	for _, name := range v1alpha1.Steps() {
		t.Run(string(name), func(t *testing.T) {
			w := newWorld(t, "w1")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ctx = progress.Into(ctx, interruptAt{string(name), cancel})
			rep, err := Run(ctx, fakeTestbed{w}, scenario(), w.options())
			if !errors.Is(err, ErrInterrupted) || ExitCode(rep, err) != 130 {
				t.Fatalf("error %v, exit %d", err, ExitCode(rep, err))
			}
			if len(rep.Results) != 1 {
				t.Fatal("the interrupted run has no result")
			}
			r := rep.Results[0]
			if st := stepOf(r, v1alpha1.StepResidue); st.Verdict != v1alpha1.VerdictPassed {
				t.Errorf("residue is %s: %s", st.Verdict, st.Reason)
			}
			if name != v1alpha1.StepResidue && (r.Verdict != v1alpha1.VerdictUnknown || r.FailedAt != name) {
				t.Errorf("%s at %s: %s", r.Verdict, r.FailedAt, r.Reason)
			}
			wellAgain(t, w)
		})
	}
}

func TestInterruptInTheMiddleOfInjecting(t *testing.T) {
	w := newWorld(t, "w1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.onInject = cancel
	_, err := Run(ctx, fakeTestbed{w}, scenario(), w.options())
	if !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	wellAgain(t, w)
}

func TestRecoveryThatFailsSaysHow(t *testing.T) {
	w := newWorld(t, "w1")
	w.recoverErr, w.recoverFails = errors.New("exec: container is paused"), -1
	r, _, _ := one(t, w, scenario(), options())
	if r.FailedAt != v1alpha1.StepResidue || !strings.Contains(r.Recover, "sickbay recover --cluster fake --run "+r.Run) {
		t.Errorf("%s at %s, recover %q", r.Verdict, r.FailedAt, r.Recover)
	}
	if w.calls[len(w.calls)-1] != "release w1" {
		t.Errorf("the run's record was not left to whoever comes next: %v", w.calls)
	}
	pending := w.cleanups.Pending()
	if len(pending) != 1 || !strings.Contains(pending[0], r.Recover) {
		t.Fatalf("pending %v", pending)
	}
}

// The next scenario must not fail for what the one before left on the worker: recovery is tried again, and a worker that stays
// ill gets no other.
func TestANodeThatStaysIllGetsNoOtherScenario(t *testing.T) {
	for fails, want := range map[int]v1alpha1.Verdict{1: v1alpha1.VerdictPassed, -1: v1alpha1.VerdictUnknown} {
		w := newWorld(t, "w1")
		w.recoverErr, w.recoverFails = errors.New("loop1 is held"), fails
		list := []*scenarios.Scenario{
			scenario(func(s *scenarios.Scenario) { s.Metadata.Name = "first" }), scenario(func(s *scenarios.Scenario) { s.Metadata.Name = "second" }),
		}
		rep, _ := RunAll(t.Context(), fakeTestbed{w}, list, w.options())
		first, second := rep.Results[0], rep.Results[1]
		if first.FailedAt != v1alpha1.StepResidue || second.Verdict != want {
			t.Errorf("%d failures: the first failed at %s, the second %s (%s), want %s", fails, first.FailedAt, second.Verdict, second.Reason, want)
		}
		if want == v1alpha1.VerdictUnknown && !strings.Contains(second.Reason, "not clean after run "+first.Run) {
			t.Errorf("the second was not begun because: %s", second.Reason)
		}
	}
}

func TestNothingBeginsWithoutARecord(t *testing.T) {
	w := newWorld(t, "w1")
	w.beginErr = errors.New("no space left on device")
	r, _, _ := one(t, w, scenario(), options())
	if r.FailedAt != v1alpha1.StepBaseline || r.Verdict != v1alpha1.VerdictUnknown || !strings.Contains(r.Reason, "no space left") {
		t.Errorf("%s at %s: %s", r.Verdict, r.FailedAt, r.Reason)
	}
	if slices.ContainsFunc(w.calls, func(c string) bool { return strings.HasPrefix(c, "inject") }) {
		t.Errorf("injected all the same: %v", w.calls)
	}
	wellAgain(t, w)
}

func TestPointsAreTheStepsAndTheMiddleOfTwo(t *testing.T) {
	if got := fmt.Sprint(Points()); got != "[baseline inject mid-inject manifest detect remediate mid-remediate clear residue]" {
		t.Error(got)
	}
}

func TestAPanicStillRecovers(t *testing.T) {
	w := newWorld(t, "w1")
	r, rep, err := one(t, w, scenario(), options(func(o *Options) {
		o.Judge = func(h v1alpha1.History) []v1alpha1.Finding {
			if h.Last().Runtime.LastCNILoad != "" {
				panic("nil pointer")
			}
			return nil
		}
	}))
	if r.Verdict != v1alpha1.VerdictUnknown || !strings.Contains(r.Reason, "nil pointer") || ExitCode(rep, err) != 3 {
		t.Errorf("%s: %s, exit %d", r.Verdict, r.Reason, ExitCode(rep, err))
	}
	wellAgain(t, w)
}

func TestKeepLeavesAFailedRunAndSaysHowToUndoIt(t *testing.T) {
	w := newWorld(t, "w1")
	w.remedyWorks = false
	r, _, _ := one(t, w, scenario(), options(func(o *Options) { o.Keep = true; o.KeepFor = time.Hour }))
	if len(w.placed["w1"]) != 1 || w.sick["w1"] == "" {
		t.Error("the fault was not kept")
	}
	if !slices.ContainsFunc(w.calls, func(c string) bool { return strings.HasPrefix(c, "renew") && strings.HasSuffix(c, "1h0m0s") }) {
		t.Error("the lease was not renewed for as long as the run is kept")
	}
	if w.calls[len(w.calls)-1] != "leave w1" {
		t.Errorf("the host does not know that the run was left on purpose: %v", w.calls)
	}
	if r.Recover == "" || len(w.cleanups.Pending()) > 0 {
		t.Errorf("recover %q, pending %v", r.Recover, w.cleanups.Pending())
	}
}

func TestASecondIllnessBehindTheFirst(t *testing.T) {
	sc := scenario(func(s *scenarios.Scenario) {
		s.Spec.Expect = append(s.Spec.Expect, v1alpha1.Expected{Failure: "image-pull", Cause: "registry-auth", AfterRemedy: true})
	})
	w := newWorld(t, "w1")
	w.behind = "image-pull/registry-auth"
	r, _, err := one(t, w, sc, options())
	if err != nil || r.Verdict != v1alpha1.VerdictPassed || len(r.Findings) != 2 || w.remedies != 2 {
		t.Fatalf("%s at %s: %s; %d findings, %d remedies", r.Verdict, r.FailedAt, r.Reason, len(r.Findings), w.remedies)
	}
	wellAgain(t, w)

	w = newWorld(t, "w1") // nothing behind it
	r, _, _ = one(t, w, sc, options())
	if r.FailedAt != v1alpha1.StepRemediate || !strings.Contains(r.Reason, "image-pull/registry-auth") {
		t.Errorf("%s at %s: %s", r.Verdict, r.FailedAt, r.Reason)
	}
}

func TestVictimChoice(t *testing.T) {
	t.Run("the control plane is refused", func(t *testing.T) {
		rep, err := Run(t.Context(), fakeTestbed{newWorld(t, "w1")}, scenario(), options(func(o *Options) { o.Victim = "cp" }))
		if ExitCode(rep, err) != 2 || !strings.Contains(err.Error(), "the workers of cluster fake are w1") {
			t.Errorf("exit %d: %v", ExitCode(rep, err), err)
		}
	})
	t.Run("one that is not Ready is passed over", func(t *testing.T) {
		w := newWorld(t, "w1", "w2")
		if _, err := w.kube.CoreV1().Nodes().Update(t.Context(), &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: "w1"}, Spec: corev1.NodeSpec{Unschedulable: true},
			Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
		}, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if r, _, _ := one(t, w, scenario(), options()); r.Node != "w2" || r.Verdict != v1alpha1.VerdictPassed {
			t.Errorf("victim %s: %s", r.Node, r.Reason)
		}
	})
	t.Run("the only one, not Ready for a moment, is waited for, and not for ever", func(t *testing.T) {
		w := newWorld(t, "w1")
		left := 5
		w.kube.PrependReactor("list", "nodes", func(ktesting.Action) (bool, runtime.Object, error) {
			if left--; left < 0 {
				return false, nil, nil
			}
			n := w.node("w1")
			n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute}}
			return true, &corev1.NodeList{Items: []corev1.Node{*n}}, nil
		})
		if r, _, err := one(t, w, scenario(), options()); err != nil || r.Verdict != v1alpha1.VerdictPassed || left > 0 {
			t.Errorf("%+v, %v", r, err)
		}
		wellAgain(t, w)
		left = 1 << 30
		r, rep, err := one(t, w, scenario(), options())
		if r.Verdict != v1alpha1.VerdictUnknown || ExitCode(rep, err) != 3 || !strings.Contains(err.Error(), "no free worker: w1: it has the taint node.kubernetes.io/unreachable:NoExecute") {
			t.Errorf("%s, exit %d: %v", r.Verdict, ExitCode(rep, err), err)
		}
	})
	t.Run("one held by another process is passed over, and named when it is the last", func(t *testing.T) {
		w := newWorld(t, "w1", "w2")
		w.claimed["w1"] = true
		if r, _, _ := one(t, w, scenario(), options()); r.Node != "w2" {
			t.Errorf("victim %s", r.Node)
		}
		w.claimed["w2"] = true
		r, rep, err := one(t, w, scenario(), options())
		if r.Verdict != v1alpha1.VerdictUnknown || ExitCode(rep, err) != 3 || !strings.Contains(err.Error(), "held by process 42 (sickbay run other)") {
			t.Errorf("%s, exit %d: %v", r.Verdict, ExitCode(rep, err), err)
		}
	})
}

func TestSideBySideOnAWorkerEach(t *testing.T) {
	w := newWorld(t, "w1", "w2")
	var list []*scenarios.Scenario
	for _, name := range []string{"a", "b", "c"} {
		list = append(list, scenario(func(s *scenarios.Scenario) { s.Metadata.Name = name }))
	}
	list = append(list, scenario(func(s *scenarios.Scenario) { s.Metadata.Name, s.Spec.Claims = "alone", []string{"host"} }))
	dir := t.TempDir()
	rep, err := RunAll(t.Context(), fakeTestbed{w}, list, w.options(func(o *Options) { o.ReportDir = dir }))
	if err != nil || rep.Verdict != v1alpha1.VerdictPassed || len(rep.Results) != 4 {
		for _, r := range rep.Results {
			t.Errorf("%s on %s: %s at %s: %s", r.Scenario, r.Node, r.Verdict, r.FailedAt, r.Reason)
		}
		t.Fatalf("%s %v", rep.Verdict, err)
	}
	for i, name := range []string{"a", "b", "c", "alone"} {
		if rep.Results[i].Scenario != name {
			t.Errorf("result %d is %s: the order must be the caller's", i, rep.Results[i].Scenario)
		}
		if _, _, err := diagnose.FromBundle(filepath.Join(dir, "bundle", name)); err != nil {
			t.Error(err)
		}
	}
	alone := rep.Results[3]
	for _, r := range rep.Results[:3] {
		if r.Started.Before(alone.Ended) && alone.Started.Before(r.Ended) {
			t.Errorf("%s ran beside the scenario that claims the host", r.Scenario)
		}
	}
	if !slices.ContainsFunc(w.together, func(nodes []string) bool { return len(nodes) == 2 }) {
		t.Error("two workers were never ill at the same time")
	}
	wellAgain(t, w)
}

func TestWhatIsLeftOnTheHostFailsTheReport(t *testing.T) {
	w := newWorld(t, "w1")
	w.hostLeak = "host: + loops /dev/loop9"
	r, rep, err := one(t, w, scenario(), options())
	if r.Verdict != v1alpha1.VerdictPassed || rep.Verdict != v1alpha1.VerdictFailed || ExitCode(rep, err) != 1 || len(rep.HostChanges) != 1 {
		t.Errorf("%s, %s, %v", r.Verdict, rep.Verdict, rep.HostChanges)
	}
}

func TestVerdictOfASuite(t *testing.T) {
	rep := func(v ...v1alpha1.Verdict) *v1alpha1.Report {
		r := &v1alpha1.Report{}
		for _, v := range v {
			r.Results = append(r.Results, v1alpha1.ScenarioResult{Verdict: v})
		}
		r.Verdict = report.Overall(r)
		return r
	}
	for _, c := range []struct {
		list []v1alpha1.Verdict
		want v1alpha1.Verdict
		exit int
	}{
		{[]v1alpha1.Verdict{v1alpha1.VerdictPassed, v1alpha1.VerdictPassed}, v1alpha1.VerdictPassed, 0},
		{[]v1alpha1.Verdict{v1alpha1.VerdictPassed, v1alpha1.VerdictUnsupported}, v1alpha1.VerdictPassed, 0},
		{[]v1alpha1.Verdict{v1alpha1.VerdictUnsupported}, v1alpha1.VerdictUnsupported, 3},
		{[]v1alpha1.Verdict{v1alpha1.VerdictPassed, v1alpha1.VerdictUnknown}, v1alpha1.VerdictUnknown, 3},
		{[]v1alpha1.Verdict{v1alpha1.VerdictPassed, v1alpha1.VerdictUnknown, v1alpha1.VerdictFailed}, v1alpha1.VerdictFailed, 1},
		{nil, v1alpha1.VerdictUnknown, 3},
	} {
		r := rep(c.list...)
		if r.Verdict != c.want || ExitCode(r, nil) != c.exit {
			t.Errorf("%v: %s, exit %d", c.list, r.Verdict, ExitCode(r, nil))
		}
	}
}

func TestSecondInterruptTellsHowToRecover(t *testing.T) {
	reg := &Cleanups{}
	done := reg.Add("scenario x on node w1", "sickbay recover --cluster c --run x", func(context.Context) error { return nil })
	var out lockedBuffer
	exited := make(chan int, 1)
	ctx, stop := withInterrupt(t.Context(), &out, reg, func(code int) { exited <- code })
	defer stop()
	interruptSelf(t)
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("the first interrupt did not end the context")
	}
	interruptSelf(t) // the same Ctrl-C, passed on by a wrapper
	select {
	case <-exited:
		t.Fatal("an interrupt that came twice at once ended the process before it could recover")
	case <-time.After(sameInterrupt + 100*time.Millisecond):
	}
	interruptSelf(t)
	select {
	case code := <-exited:
		if code != 130 {
			t.Errorf("exit %d", code)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the second interrupt did not end the process")
	}
	if !strings.Contains(out.String(), "sickbay recover --cluster c --run x") {
		t.Errorf("it does not say how to recover: %s", out.String())
	}
	if err := done.Run(t.Context()); err != nil || len(reg.Pending()) > 0 {
		t.Error("a clean-up that ran is still pending")
	}
}

func TestAnotherProcessesPatientIsNoBystander(t *testing.T) {
	w := newWorld(t, "w1", "w2")
	// Another process has begun on w2: its namespace says so, and the node is ill.
	if _, err := w.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "sickbay-other", Labels: map[string]string{fault.LabelRun: "other", fault.LabelNode: "w2"},
	}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.sick["w2"] = "pleg/runtime-hung"
	// It ends in the middle of our run; what its node's journal holds must still not count.
	w.onInject = func() {
		if err := w.kube.CoreV1().Namespaces().Delete(t.Context(), "sickbay-other", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}
	r, _, err := one(t, w, scenario(), options(func(o *Options) { o.Victim = "w1" }))
	if err != nil || r.Verdict != v1alpha1.VerdictPassed {
		t.Errorf("%s at %s: %s (%v)", r.Verdict, r.FailedAt, r.Reason, err)
	}
}

func TestOnlyOurOwnAndNobodysIsLeftByUs(t *testing.T) {
	w := newPool(fakeTestbed{newWorld(t, "w1", "w2")}, nil)
	w.runs = []string{"pleg-disk-abcde"}
	w.touch("w1")
	const journal = "/var/lib/sickbay/journal/"
	theirs := journal + "pleg-disk-zzzzz-p1-dedicated-filesystem/02-image"
	also := journal + "pleg-disk-abcdef-p1-dedicated-filesystem/02-image" // whose name begins like ours
	own := journal + "pleg-disk-abcde-p1-dedicated-filesystem/02-image"
	const shop = "/var/lib/sickbay/volumes/shop.img"
	keep := []string{
		"host: + loops loop1 (" + own + ")",
		"host: ~ loops loop2: " + theirs + " → " + own, // the device of theirs is ours now
		"host: ~ loops loop3: " + own + " → " + theirs,
		"host: ~ loops loop4: " + theirs + " → /tmp/image", // nobody's: somebody has to be told
		"host: + swaps /x (16)",
		"host: + loops loop6 (" + shop + ")",
		"host: + loops loop6 (" + shop + Owned(OfNode, "w1") + ")",
		"host: + loops loop6 (" + shop + Owned(OfNode, "w1", "w2") + ")", // may be ours
		"host: ~ loops loop7: " + shop + Owned(OfNode, "w2") + " → " + shop + Owned(OfNode, "w1"),
		"host: + containers registry (image)" + Owned(OfRun, "pleg-disk-abcde"),
		"host: + containers registry (image)",
	}
	got := w.withoutOthers(append([]string{
		"host: + loops loop0 (" + theirs + ")", "host: - loops loop0 (" + also + ")", "host: ~ loops loop5: " + theirs + " → " + also,
		"host: + loops loop6 (" + shop + Owned(OfNode, "w2") + ")", "host: + loops loop6 (" + shop + Owned(OfNode, "w2", "other-worker") + ")",
		"host: ~ loops loop7: " + shop + Owned(OfNode, "w2") + " → " + shop + Owned(OfNode, "other-worker"),
		"host: + containers registry (image)" + Owned(OfRun, "registry-tls-5ndsb"), "host: - volumes 0a1b (local)" + Owned(OfRun, "registry-tls-5ndsb"),
	}, keep...))
	if !slices.Equal(got, keep) {
		t.Errorf("\n got %q\nwant %q", got, keep)
	}
}

func TestPoolSharesItsWorkers(t *testing.T) {
	w := newWorld(t, "w1")
	pool, err := OpenPool(t.Context(), fakeTestbed{w})
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan v1alpha1.ScenarioResult, 3)
	for range 3 { // one worker: they have to wait for each other
		go func() {
			rep, err := pool.Run(t.Context(), scenario(), w.options())
			if err != nil {
				t.Error(err)
				results <- v1alpha1.ScenarioResult{}
				return
			}
			results <- rep.Results[0]
		}()
	}
	for range 3 {
		if r := <-results; r.Verdict != v1alpha1.VerdictPassed {
			t.Errorf("%s at %s: %s", r.Verdict, r.FailedAt, r.Reason)
		}
	}
	if changes, err := pool.Close(t.Context(), quick()); err != nil || len(changes) > 0 {
		t.Errorf("%v %v", changes, err)
	}
	wellAgain(t, w)
}

func TestPreparesEveryNode(t *testing.T) {
	w := newWorld(t, "w1", "w2")
	r, _, err := one(t, w, scenario(func(s *scenarios.Scenario) {
		s.Spec.Prepare = []v1alpha1.Action{{Mechanism: "dedicated-filesystem", On: v1alpha1.OnEveryNode}}
	}), options())
	if err != nil || r.Verdict != v1alpha1.VerdictPassed {
		t.Fatalf("%s at %s: %s (%v)", r.Verdict, r.FailedAt, r.Reason, err)
	}
	for _, n := range w.nodes {
		for _, call := range []string{"inject " + n + " dedicated-filesystem", "recover " + n + " "} {
			if !slices.ContainsFunc(w.calls, func(c string) bool { return strings.HasPrefix(c, call) }) {
				t.Errorf("no call %q: %v", call, w.calls)
			}
		}
	}
	if slices.ContainsFunc(w.calls, func(c string) bool {
		return strings.HasPrefix(c, "inject ") && strings.Contains(c, "cni-config") && !strings.Contains(c, r.Node)
	}) {
		t.Errorf("the fault was injected elsewhere, too: %v", w.calls)
	}
	wellAgain(t, w)
}

// TestAnAPIServerThatStartsAnewIsWaitedFor: one answer cut off before a run ends no run.
func TestAnAPIServerThatStartsAnewIsWaitedFor(t *testing.T) {
	w := newWorld(t, "w1")
	failed := 0
	w.kube.PrependReactor("list", "nodes", func(ktesting.Action) (bool, runtime.Object, error) {
		if failed++; failed < 3 {
			return true, nil, io.EOF
		}
		return false, nil, nil
	})
	if r, _, err := one(t, w, scenario(), options()); err != nil || r.Verdict != v1alpha1.VerdictPassed || failed < 3 {
		t.Errorf("%+v, %v", r, err)
	}
	wellAgain(t, w)
}
