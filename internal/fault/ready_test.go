package fault

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestNotReadyByTheKubeletsOwnTypes: what other agents say about a node neither holds a run up nor fails it, whichever way they mean it.
func TestNotReadyByTheKubeletsOwnTypes(t *testing.T) {
	for _, c := range []struct {
		kind   corev1.NodeConditionType
		status corev1.ConditionStatus
		well   bool
	}{
		{corev1.NodeMemoryPressure, corev1.ConditionTrue, false},
		{corev1.NodeDiskPressure, corev1.ConditionFalse, true},
		{corev1.NodeNetworkUnavailable, corev1.ConditionTrue, false},
		{"FrequentKubeletRestart", corev1.ConditionTrue, true}, // node-problem-detector, for twenty minutes after the last restart
		{"KernelReady", corev1.ConditionTrue, true},            // EKS' node monitoring agent: True is well
		{"KernelReady", corev1.ConditionFalse, true},
	} {
		n := &corev1.Node{}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}, {Type: c.kind, Status: c.status}}
		if got := NotReady(n) == ""; got != c.well {
			t.Errorf("%s=%s: well %v: %s", c.kind, c.status, got, NotReady(n))
		}
	}
	for _, status := range []corev1.ConditionStatus{corev1.ConditionFalse, corev1.ConditionUnknown} {
		n := &corev1.Node{}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}}
		if NotReady(n) == "" {
			t.Errorf("Ready=%s is well", status)
		}
	}
}
