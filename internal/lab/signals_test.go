package lab

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestSignals(t *testing.T) {
	start := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	event := func(name, kind, ns, object, reason string, after time.Duration) *corev1.Event {
		return &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Reason: reason, Message: "because", FirstTimestamp: metav1.NewTime(start.Add(after)),
			InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: ns, Name: object}}
	}
	kube := fake.NewClientset(
		event("a", "Node", "", victim, "NodeNotReady", 50*time.Second),
		event("b", "Node", "", victim, "NodeNotReady", 40*time.Second), // the first of a reason counts
		event("c", "Pod", namespace, "late", "FailedCreatePodSandBox", 10*time.Second),
		event("d", "Node", "", "another", "NodeNotReady", 5*time.Second),
		event("e", "Pod", "default", "theirs", "BackOff", 5*time.Second),
		event("f", "Node", "", victim, "Starting", -time.Hour),
	)
	got, err := Signals(t.Context(), kube, victim, namespace, start)
	if err != nil || len(got) != 2 {
		t.Fatalf("%s, %v", asJSON(got), err)
	}
	if got[0].Text != "Pod/late FailedCreatePodSandBox: because" || got[1].At != start.Add(40*time.Second) {
		t.Errorf("%s", asJSON(got))
	}
}
