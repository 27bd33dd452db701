package detector

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// written reads what others have written into the API: node conditions and events, and for kubectl the pods' own states. Only what is
// newer than the run counts.
type written struct {
	m *Mapping
	// person is a reader who looks at everything, the kubelet's own words and the pods included, and settles on one explanation a node:
	// the first of the mapping. Otherwise the writers are agents, and each of their words is a finding.
	person bool
}

// Conditions reads node conditions and events of whatever agent writes them. A nil mapping takes the one that comes with sickbay.
func Conditions(name string, m *Mapping) Entry {
	if m == nil {
		m = builtin("conditions")
	}
	return New(name, written{m: m})
}

// NPD reads what node-problem-detector writes with its maintainers' configuration.
func NPD() Entry { return New("npd", written{m: builtin("npd")}) }

// Kubectl is the naive on-call: what kubectl get nodes, describe and events show, and one explanation for it.
func Kubectl() Entry {
	e := New("kubectl", written{m: builtin("kubectl"), person: true})
	e.Role = v1alpha1.RoleReference
	return e
}

// sign is one thing seen that a rule knows.
type sign struct {
	rule int
	node string
	text string
	at   time.Time
	from string
}

func (w written) Diagnose(ctx context.Context, look Look) (v1alpha1.Diagnosis, error) {
	if look.Kube == nil {
		return v1alpha1.Diagnosis{}, fmt.Errorf("there is no access to the API server")
	}
	nodes, err := look.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return v1alpha1.Diagnosis{}, fmt.Errorf("list nodes: %w", err)
	}
	pods, err := look.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return v1alpha1.Diagnosis{}, fmt.Errorf("list pods: %w", err)
	}
	events, err := look.Kube.CoreV1().Events("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return v1alpha1.Diagnosis{}, fmt.Errorf("list events: %w", err)
	}
	since := look.Since.Truncate(time.Second) // the API's times have no fractions
	signs := w.conditions(nodes.Items, since)
	signs = append(signs, w.events(events.Items, pods.Items, since)...)
	if w.person {
		signs = append(signs, w.pods(pods.Items)...)
	}
	signs = slices.DeleteFunc(signs, func(s sign) bool { return !look.Asks(s.node) })
	return w.findings(signs), nil
}

func (w written) conditions(nodes []corev1.Node, since time.Time) (out []sign) {
	for i := range nodes {
		for _, c := range nodes[i].Status.Conditions {
			if !c.LastTransitionTime.IsZero() && c.LastTransitionTime.Time.Before(since) {
				continue
			}
			if n := w.m.conditionRule(string(c.Type), string(c.Status), c.Reason, c.Message); n >= 0 {
				out = append(out, sign{n, nodes[i].Name, fmt.Sprintf("%s=%s: %s: %s", c.Type, c.Status, c.Reason, c.Message), c.LastTransitionTime.Time, "api.node"})
			}
		}
	}
	return out
}

// theKubelets are components of Kubernetes itself: what they say is not an agent's finding.
var theKubelets = []string{"kubelet", "node-controller", "default-scheduler", "taint-eviction-controller"}

func (w written) events(events []corev1.Event, pods []corev1.Pod, since time.Time) (out []sign) {
	on := map[string]string{}
	for i := range pods {
		on[pods[i].Namespace+"/"+pods[i].Name] = pods[i].Spec.NodeName
	}
	for i := range events {
		e := &events[i]
		from := e.Source.Component
		if from == "" {
			from = e.ReportingController
		}
		if facts.EventTime(e).Before(since) || !w.person && slices.Contains(theKubelets, from) {
			continue
		}
		node := e.Source.Host
		switch e.InvolvedObject.Kind {
		case "Node":
			node = e.InvolvedObject.Name
		case "Pod":
			if n := on[e.InvolvedObject.Namespace+"/"+e.InvolvedObject.Name]; n != "" {
				node = n
			}
		}
		if n := w.m.eventRule(e.Reason, e.Message); n >= 0 {
			out = append(out, sign{n, node, e.Reason + ": " + e.Message, facts.EventTime(e), "api.events"})
		}
	}
	return out
}

// pods are the states of containers that do not run, as `kubectl get pods` shows them.
func (w written) pods(pods []corev1.Pod) (out []sign) {
	for i := range pods {
		p := &pods[i]
		for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			for _, s := range []corev1.ContainerState{c.State, c.LastTerminationState} {
				reason, message := "", ""
				switch {
				case s.Waiting != nil:
					reason, message = s.Waiting.Reason, s.Waiting.Message
				case s.Terminated != nil:
					reason, message = s.Terminated.Reason, s.Terminated.Message
				}
				if reason == "" || c.Ready {
					continue
				}
				if n := w.m.eventRule(reason, message); n >= 0 {
					out = append(out, sign{n, p.Spec.NodeName, fmt.Sprintf("pod %s/%s: %s: %s", p.Namespace, p.Name, reason, message), time.Time{}, "api.pods"})
				}
			}
		}
	}
	return out
}

func (w written) findings(signs []sign) v1alpha1.Diagnosis {
	slices.SortStableFunc(signs, func(a, b sign) int { return a.rule - b.rule })
	d := v1alpha1.Diagnosis{Findings: []v1alpha1.Finding{}}
	for _, s := range signs {
		failure, cause, ok := w.m.rules[s.rule].is()
		said := slices.ContainsFunc(d.Findings, func(f v1alpha1.Finding) bool {
			return f.Node == s.node && (w.person || f.Failure == failure && f.Cause == cause)
		})
		if !ok || said {
			continue
		}
		d.Findings = append(d.Findings, v1alpha1.Finding{
			Failure: failure, Cause: cause, Node: s.node, Certainty: v1alpha1.Likely, Summary: text.Short(s.text, 200),
			Evidence: []v1alpha1.Evidence{{Source: s.from, At: s.at.UTC(), Text: text.Short(s.text, 400)}},
		})
	}
	return d
}
