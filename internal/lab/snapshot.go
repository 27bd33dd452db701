package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
)

// Snapshot is what of a cluster a fix must not change, as it was once the fault was in place.
type Snapshot struct {
	Nodes     map[string]Node     `json:"nodes"`
	Workloads map[string]Workload `json:"workloads"` // by KIND NAMESPACE/NAME
	// Eviction are the kubelet's hard thresholds; nil where they could not be read.
	Eviction map[string]string `json:"eviction,omitempty"`
	// Output is where the node's services write to.
	Output string `json:"output,omitempty"`
	// Kept is the answer of the lab's own question for what has to be kept.
	Kept string `json:"kept,omitempty"`
}

// Node is a Node object in short.
type Node struct {
	UID    string `json:"uid"`
	Closed string `json:"closed,omitempty"` // why nothing new is scheduled there, other than by its conditions
}

// Workload is what runs pods, or a pod that nothing owns.
type Workload struct {
	Lab      bool   `json:"lab"` // in the lab's own namespace
	Replicas int32  `json:"replicas"`
	Where    string `json:"where"` // how it is bound to nodes
	// Containers are by name.
	Containers map[string]Container `json:"containers,omitempty"`
	// Over: a pod that ended by itself or was evicted. Its record may be deleted.
	Over bool `json:"over,omitempty"`
}

// Container is what watches over a container.
type Container struct {
	Liveness  *corev1.Probe   `json:"liveness,omitempty"`
	Readiness *corev1.Probe   `json:"readiness,omitempty"`
	Limits    map[string]bool `json:"limits,omitempty"`
}

const outputScript = `systemctl is-active systemd-journald; systemctl show kubelet containerd -p Id,StandardOutput,StandardError,LogLevelMax`

// Snapshot reads the cluster as it is.
func (w *World) Snapshot(ctx context.Context) (Snapshot, error) {
	s := Snapshot{}
	var err error
	if s.Nodes, err = w.nodes(ctx); err != nil {
		return s, err
	}
	if s.Workloads, err = w.workloads(ctx); err != nil {
		return s, err
	}
	if o, err := w.Session.Looker.Observe(ctx); err == nil {
		s.Eviction = eviction(o)
	}
	if s.Output, _, err = w.script(ctx, w.ill(), outputScript); err != nil {
		return s, fmt.Errorf("ask node %s where its services write to: %w", w.ill(), err)
	}
	if k := w.Course.Of.Spec.Keeps; k != "" {
		if s.Kept, _, err = w.script(ctx, w.ill(), k); err != nil {
			return s, fmt.Errorf("ask node %s what has to be kept: %w", w.ill(), err)
		}
	}
	return s, nil
}

// eviction are the thresholds on disk: they count at the kubelet's next start, and a kubelet that is down has none at work.
func eviction(o *v1alpha1.Observation) map[string]string {
	if o.Kubelet.File.EvictionHard != nil {
		return maps.Clone(o.Kubelet.File.EvictionHard)
	}
	return maps.Clone(o.Kubelet.Config.EvictionHard)
}

func (w *World) nodes(ctx context.Context) (map[string]Node, error) {
	list, err := w.Kube().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	out := map[string]Node{}
	for _, n := range list.Items {
		x := Node{UID: string(n.UID)}
		if n.Name == w.ill() { // other runs may be at work on other nodes
			x.Closed = closed(&n)
		}
		out[n.Name] = x
	}
	return out, nil
}

func (w *World) workloads(ctx context.Context) (map[string]Workload, error) {
	out := map[string]Workload{}
	add := func(kind string, m metav1.ObjectMeta, replicas int32, spec corev1.PodSpec) {
		if m.Namespace != w.Session.Namespace() && strings.HasPrefix(m.Namespace, fault.RunNamespace("")) {
			return // another run's, which comes and goes
		}
		x := Workload{Lab: m.Namespace == w.Session.Namespace(), Replicas: replicas, Where: where(spec), Containers: map[string]Container{}}
		for _, c := range spec.Containers {
			k := Container{Liveness: c.LivenessProbe, Readiness: c.ReadinessProbe, Limits: map[string]bool{}}
			for r := range c.Resources.Limits {
				k.Limits[string(r)] = true
			}
			x.Containers[c.Name] = k
		}
		out[kind+" "+m.Namespace+"/"+m.Name] = x
	}
	kube, all := w.Kube(), metav1.ListOptions{}
	deployments, err := kube.AppsV1().Deployments("").List(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("list deployments: %w", err)
	}
	for _, d := range deployments.Items {
		n := int32(1)
		if d.Spec.Replicas != nil {
			n = *d.Spec.Replicas
		}
		add("deployment", d.ObjectMeta, n, d.Spec.Template.Spec)
	}
	daemons, err := kube.AppsV1().DaemonSets("").List(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("list daemon sets: %w", err)
	}
	for _, d := range daemons.Items {
		add("daemonset", d.ObjectMeta, 1, d.Spec.Template.Spec)
	}
	pods, err := kube.CoreV1().Pods("").List(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	for _, p := range pods.Items {
		if metav1.GetControllerOf(&p) == nil && p.Labels[proofLabel] == "" {
			add("pod", p.ObjectMeta, 1, p.Spec)
			key := "pod " + p.Namespace + "/" + p.Name
			if x, ok := out[key]; ok && (p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded) {
				x.Over = true
				out[key] = x
			}
		}
	}
	return out, nil
}

// where is how a pod is bound to nodes. By nodeName, by the node's label or by both is the same; the scheduler's own choice, which fills
// nodeName of a pod with a selector, is not among it.
func where(s corev1.PodSpec) string {
	b := struct {
		Selector map[string]string    `json:"selector,omitempty"`
		Affinity *corev1.NodeAffinity `json:"affinity,omitempty"`
		Name     string               `json:"name,omitempty"`
	}{Name: s.NodeName}
	if len(s.NodeSelector) > 0 {
		b.Selector = maps.Clone(s.NodeSelector)
		b.Name = b.Selector[corev1.LabelHostname]
		delete(b.Selector, corev1.LabelHostname)
	}
	if s.Affinity != nil {
		b.Affinity = s.Affinity.NodeAffinity
	}
	raw, _ := json.Marshal(b) // plain fields
	return string(raw)
}
