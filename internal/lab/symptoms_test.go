package lab

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// TestSymptoms: what is ill comes first, and another run's objects are nobody's symptoms.
func TestSymptoms(t *testing.T) {
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "w1"}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
		{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse},
		{Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue, Reason: "KubeletHasDiskPressure"},
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue},
	}}}
	pod := func(ns, name string, st corev1.PodStatus) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Status: st}
	}
	waiting := corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{RestartCount: 2, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}}}
	event := func(ns, name string, at metav1.Time) *corev1.Event {
		return &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: name}, Type: corev1.EventTypeWarning, Reason: "Failed", LastTimestamp: at}
	}
	kube := fake.NewClientset(node, pod("a", "well", ready()), pod(namespace, "ill", waiting), pod("sickbay-other-12345", "theirs", waiting),
		event(namespace, "old", metav1.NewTime(now.Add(-time.Minute))), event(namespace, "new", now), event("sickbay-other-12345", "theirs", now))
	s, err := LookAt(t.Context(), kube, namespace)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Conditions) != 2 || s.Conditions[0].Type != "DiskPressure" || !s.Conditions[0].Bad || s.Conditions[1].Bad {
		t.Errorf("conditions: %s", asJSON(s.Conditions))
	}
	if len(s.Pods) != 2 || s.Pods[0] != (Pod{Name: namespace + "/ill", Status: "ImagePullBackOff", Restarts: 2, Bad: true}) || s.Pods[1].Bad {
		t.Errorf("pods: %s", asJSON(s.Pods))
	}
	if len(s.Events) != 2 || s.Events[0].Object != "Pod/new" || !s.Events[0].Bad {
		t.Errorf("events: %s", asJSON(s.Events))
	}
}
