package chaos

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/suites"
)

// oneNode is a cluster of one node that is ill until it was looked at healsAfter times, or for ever.
type oneNode struct {
	suites.Testbed
	looks, healsAfter int
}

func (l *oneNode) Target() diagnose.Target {
	look := func(context.Context, diagnose.Ask) (*v1alpha1.Observation, error) {
		o := &v1alpha1.Observation{At: time.Now(), TookMS: 3}
		if l.looks++; l.healsAfter == 0 || l.looks < l.healsAfter {
			o.Runtime.LastCNILoad = "no network config found"
		}
		return o, nil
	}
	return diagnose.Target{Cluster: "fake", Nodes: []diagnose.Node{{Name: "w1", Agent: diagnose.AgentFunc(look)}}}
}

// TestACellAsksTheDetectors: a node that is as before has to be well for them, too, in time.
func TestACellAsksTheDetectors(t *testing.T) {
	for name, tc := range map[string]struct {
		healsAfter int
		least      time.Duration
		want       string
	}{
		"well":                {healsAfter: 1},
		"well after a while":  {healsAfter: 8, least: 7 * time.Second},
		"never well":          {want: "sickbay diagnose does not say that it is well: cni/conflist-missing on w1"},
		"too late to be well": {healsAfter: 1000, want: "2m0s after node w1 was as before"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &Runner{Lab: &oneNode{healsAfter: tc.healsAfter}, Judge: func(h v1alpha1.History) []v1alpha1.Finding {
					if h.Last().Runtime.LastCNILoad == "" {
						return nil
					}
					return []v1alpha1.Finding{{Failure: "cni", Cause: "conflist-missing", Node: h.Last().Node}}
				}}
				took, err := c.silent(t.Context(), "w1")
				if tc.want == "" && (err != nil || took < tc.least || took > tc.least+5*time.Second) {
					t.Errorf("took %s, want about %s: %v", took, tc.least, err)
				}
				if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
					t.Errorf("want an error with %q: %v", tc.want, err)
				}
			})
		})
	}
}

func TestKillMatrixShowsWhatWasNotRun(t *testing.T) {
	results := map[KillCase]Result{}
	for _, r := range []Result{
		{KillCase: KillCase{"a", suites.Point(v1alpha1.StepBaseline), Wait}, Verdict: v1alpha1.VerdictPassed, Healed: 3.4},
		{KillCase: KillCase{"a", suites.MidInject, Wait}, Verdict: v1alpha1.VerdictFailed, Reason: "left on the host: a swap file"},
		{KillCase: KillCase{"a", suites.Point(v1alpha1.StepClear), Recover}, Verdict: v1alpha1.VerdictUnknown, Reason: "the run ended before clear"},
		{KillCase: KillCase{"b", suites.Point(v1alpha1.StepBaseline), Wait}, Verdict: v1alpha1.VerdictUnsupported},
		{KillCase: KillCase{"b", suites.Point(v1alpha1.StepInject), Recover}, Verdict: v1alpha1.VerdictPassed, Healed: 12.2, Silent: 7},
	} {
		results[r.KillCase] = r
	}
	var b strings.Builder
	WriteMatrix(&b, []string{"a", "b"}, results)
	if strings.Contains(b.String(), "## interrupt") {
		t.Error("a table of Ctrl-C, which nobody tried")
	}
	for _, want := range []string{
		"| scenario | baseline | inject | mid-inject | manifest | detect | remediate | mid-remediate | clear | residue |\n",
		"| a | 3 | · | ✗ | · | · | · | · | · | · |\n",
		"| b | – | · | · | · | · | · | · | · | · |\n",
		"| a | · | · | · | · | · | · | · | ? | · |\n",
		"Of 18 cells 1 passed, 1 failed, 0 ended before their point, 1 are unsupported on this host, 15 were not run.",
		"| b | · | 12+7 | · | · | · | · | · | · | · |\n",
		"Of 18 cells 1 passed, 0 failed, 1 ended before their point, 0 are unsupported on this host, 16 were not run.",
		"- `a/mid-inject/wait` (failed): left on the host: a swap file\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, b.String())
		}
	}
}
