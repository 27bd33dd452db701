package lab

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// mostSymptoms bounds each of a page's lists.
const mostSymptoms = 60

// Symptoms are what kubectl shows of a cluster, in short: what an on-call looks at first.
type Symptoms struct {
	Conditions []Condition `json:"conditions"`
	Events     []Event     `json:"events"` // newest first
	Pods       []Pod       `json:"pods"`   // ill ones first
}

// Condition is one of a node: Ready, and whichever is not as it should be.
type Condition struct {
	Node    string    `json:"node"`
	Type    string    `json:"type"`
	Status  string    `json:"status"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
	Bad     bool      `json:"bad"`
}

// Event is one of the cluster.
type Event struct {
	At      time.Time `json:"at"`
	Object  string    `json:"object"`
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Bad     bool      `json:"bad"`
}

// Pod is one line of `kubectl get pods`.
type Pod struct {
	Name     string `json:"name"` // NAMESPACE/NAME
	Node     string `json:"node"`
	Status   string `json:"status"`
	Restarts int32  `json:"restarts"`
	Bad      bool   `json:"bad"`
}

// LookAt reads the symptoms. What belongs to other runs than those of the namespaces is left out.
func LookAt(ctx context.Context, kube kubernetes.Interface, namespaces ...string) (Symptoms, error) {
	var s Symptoms
	other := func(ns string) bool {
		return !slices.Contains(namespaces, ns) && strings.HasPrefix(ns, fault.RunNamespace(""))
	}
	nodes, err := kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, fmt.Errorf("list nodes: %w", err)
	}
	for _, n := range nodes.Items {
		for _, c := range n.Status.Conditions {
			bad := facts.Unwell(c)
			if bad || c.Type == corev1.NodeReady {
				s.Conditions = append(s.Conditions, Condition{n.Name, string(c.Type), string(c.Status), c.Reason, text.Short(c.Message, 300), c.LastTransitionTime.Time, bad})
			}
		}
	}
	events, err := kube.CoreV1().Events("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, fmt.Errorf("list events: %w", err)
	}
	for i := range events.Items {
		e := &events.Items[i]
		if !other(e.Namespace) {
			s.Events = append(s.Events, Event{facts.EventTime(e), e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name, e.Reason, text.Short(e.Message, 300), e.Type == corev1.EventTypeWarning})
		}
	}
	slices.SortStableFunc(s.Events, func(a, b Event) int { return b.At.Compare(a.At) })
	pods, err := kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, fmt.Errorf("list pods: %w", err)
	}
	for i := range pods.Items {
		if p := &pods.Items[i]; !other(p.Namespace) {
			s.Pods = append(s.Pods, line(p))
		}
	}
	slices.SortStableFunc(s.Pods, func(a, b Pod) int {
		if a.Bad != b.Bad {
			return map[bool]int{true: -1, false: 1}[a.Bad]
		}
		return cmp.Compare(a.Name, b.Name)
	})
	s.Events, s.Pods = s.Events[:min(len(s.Events), mostSymptoms)], s.Pods[:min(len(s.Pods), mostSymptoms)]
	return s, nil
}

// line is a pod as kubectl words it: what a container waits for says more than the phase.
func line(p *corev1.Pod) Pod {
	out := Pod{Name: p.Namespace + "/" + p.Name, Node: p.Spec.NodeName, Status: cmp.Or(p.Status.Reason, string(p.Status.Phase)), Bad: !fault.PodReady(p) && p.Status.Phase != corev1.PodSucceeded}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		out.Restarts += c.RestartCount
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "":
			out.Status = c.State.Waiting.Reason
		case c.State.Terminated != nil && c.State.Terminated.ExitCode != 0:
			out.Status = c.State.Terminated.Reason
		}
	}
	if p.DeletionTimestamp != nil {
		out.Status = "Terminating"
	}
	return out
}
