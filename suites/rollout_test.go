package suites

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// rollingOut is a scenario whose fault is a manifest.
func rollingOut(t *testing.T) *scenarios.Scenario {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"faulty.yaml": "image {{.Image}} on {{.Node}}",
		scenarios.FileName: `apiVersion: sickbay.dev/v1alpha1
kind: Scenario
metadata: {name: conflist-missing}
spec:
  title: a bad rollout
  profile: core
  fidelity: {level: real}
  inject:
    - {mechanism: workload, params: {manifest: faulty.yaml}}
  manifest:
    - log: {unit: kubelet, contains: cni plugin not initialized}
  expect:
    - {failure: cni, cause: conflist-missing}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sc, err := scenarios.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

func TestARolloutIsAFault(t *testing.T) {
	rolledOut := func(w *world) bool {
		return slices.ContainsFunc(w.calls, func(c string) bool {
			return strings.HasPrefix(c, "rollout sickbay-conflist-missing-") && strings.HasSuffix(c, "image agnhost:test on w1")
		})
	}
	w := newWorld(t, "w1")
	r, _, err := one(t, w, rollingOut(t), options())
	if err != nil || r.Verdict != v1alpha1.VerdictPassed || !rolledOut(w) {
		t.Errorf("%s at %s: %s (%v), calls %v", r.Verdict, r.FailedAt, r.Reason, err, w.calls)
	}
	wellAgain(t, w)

	w = newWorld(t, "w1")
	r, _, _ = one(t, w, rollingOut(t), options(func(o *Options) { o.Controls = OnlyNoop }))
	if r.FailedAt != v1alpha1.StepManifest || rolledOut(w) {
		t.Errorf("noop: failed at %q, calls %v", r.FailedAt, w.calls)
	}
	wellAgain(t, w)
}

// What a killed harness rolled out is in no node's journal: the next run on that node must see it all the same.
func TestANamespaceLeftOnTheVictimIsTold(t *testing.T) {
	w := newWorld(t, "w1")
	if _, err := w.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "sickbay-old", Labels: map[string]string{fault.LabelRun: "old", fault.LabelNode: "w1"},
	}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r, _, _ := one(t, w, scenario(), options())
	if r.FailedAt != v1alpha1.StepBaseline || !strings.Contains(r.Reason, "recover --cluster fake --run old") {
		t.Errorf("failed at %q: %s", r.FailedAt, r.Reason)
	}
}
