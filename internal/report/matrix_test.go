package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

func TestMatrix(t *testing.T) {
	at := func(node string, names ...string) (out []v1alpha1.Finding) {
		for _, n := range names {
			f, c, _ := splitName(n)
			out = append(out, v1alpha1.Finding{Failure: f, Cause: c, Node: node})
		}
		return out
	}
	rep := &v1alpha1.Report{Verdict: v1alpha1.VerdictFailed, Results: []v1alpha1.ScenarioResult{
		{Scenario: "both", Node: "w", Verdict: v1alpha1.VerdictPassed, Expected: []string{"cni/conflist-missing", "swap/swap-on"}, Findings: at("w", "cni/conflist-missing", "swap/swap-on")},
		{Scenario: "swap-on", Node: "w", Verdict: v1alpha1.VerdictFailed, Expected: []string{"swap/swap-on"}, Findings: at("w", "node-notready/kubelet-stopped")},
		{Scenario: "conflist-missing", Node: "w", Verdict: v1alpha1.VerdictPassed, Expected: []string{"cni/conflist-missing"},
			Findings: at("w", "cni/conflist-missing", "pleg/runtime-hung")},
		{Scenario: "conflist-missing", Control: v1alpha1.ControlNoop, Expected: []string{"cni/conflist-missing"}, Findings: at("w", "pleg/runtime-hung")},
		{Scenario: "apparmor-denied", Verdict: v1alpha1.VerdictUnsupported, Reason: "no | AppArmor", Expected: []string{"security-denial/apparmor-denied"}},
	}}
	m := NewMatrix(rep)
	var b bytes.Buffer
	if err := WriteMatrix(&b, m); err != nil {
		t.Fatal(err)
	}
	const want = `                  1  2  3  4
conflist-missing  ✗  ·  ■  ·
swap-on           ·  ✗  ·  –
both              ·  ·  ■  ■

 1 pleg/runtime-hung
 2 node-notready/kubelet-stopped
 3 cni/conflist-missing
 4 swap/swap-on
`
	if !strings.HasPrefix(b.String(), want) || m.Clean {
		t.Errorf("clean %v\n%s", m.Clean, b.String())
	}
	b.Reset()
	if err := WriteMatrixPage(&b, rep); err != nil || !strings.Contains(b.String(), `| apparmor-denied | **unsupported**: no \| AppArmor |`) {
		t.Errorf("%v\n%s", err, b.String())
	}
	rep.Results[1].Findings, rep.Results[2].Findings = at("w", "swap/swap-on"), at("w", "cni/conflist-missing")
	if !NewMatrix(rep).Clean {
		t.Error("nothing is confused, and still it is not clean")
	}
	rep.Results[1].Findings = at("elsewhere", "swap/swap-on")
	if NewMatrix(rep).Clean {
		t.Error("the right finding on the wrong node is clean")
	}
	if NewMatrix(&v1alpha1.Report{Results: []v1alpha1.ScenarioResult{{Expected: []string{"a/b"}, Verdict: v1alpha1.VerdictFailed}}}) != nil {
		t.Error("there is a matrix of nothing")
	}
}
