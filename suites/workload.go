package suites

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// values are what manifests and parameters may use.
func (r *run) values() scenarios.WorkloadValues {
	v := scenarios.WorkloadValues{Node: r.victim, Namespace: r.ns, Image: r.s.lab.Image(), Run: r.id, Registry: r.registry}
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.agents[r.victim]; a != nil {
		v.Agent = a.Path()
	}
	return v
}

// startRegistry starts the scenario's registry beside the cluster; undo removes it by its labels.
func (r *run) startRegistry(ctx context.Context, st step) error {
	if r.sc.Spec.Registry == nil {
		return nil
	}
	r.task.Detail("starting a registry")
	began := time.Now()
	var err error
	if r.registry, err = r.s.lab.StartRegistry(ctx, r.id, r.victim, *r.sc.Spec.Registry); err != nil {
		return fmt.Errorf("start the registry of scenario %s: %w", r.sc.Metadata.Name, err)
	}
	st.saw("registry %s runs beside the cluster, after %s", r.registry.Host, time.Since(began).Round(100*time.Millisecond))
	return nil
}

// workload applies the scenario's manifest, bound to the victim, and waits until all its pods are Ready.
func (r *run) workload(ctx context.Context, st step) error {
	text, err := r.sc.RenderWorkload(r.values())
	if err != nil {
		return err
	}
	if strings.TrimSpace(text) == "" {
		return nil
	}
	r.task.Detail("starting the workload")
	objects, err := r.s.lab.Workload(ctx, r.ns, []byte(text), Bind(r.victim))
	if objects != nil {
		r.made = append(r.made, objects)
	}
	if err != nil {
		return fmt.Errorf("create the workload of scenario %s: %w", r.sc.Metadata.Name, err)
	}
	var why string
	err = retry.Until(ctx, r.t.Poll, r.t.bound(r.sc, v1alpha1.StepBaseline), func(ctx context.Context) (bool, error) {
		var err error
		why, err = r.workloadReady(ctx, false)
		if err != nil {
			return false, err
		}
		r.task.Detail("waiting for the workload: %s", why)
		return why == "", nil
	})
	if err != nil {
		if why != "" && ctx.Err() == context.DeadlineExceeded {
			return failf("the workload did not become Ready: %s", why)
		}
		return fmt.Errorf("wait for the workload: %w", err)
	}
	st.saw("the workload runs on %s", r.victim)
	return nil
}

// workloadReady says what is not ready yet, "" when everything is. After a fault, failed pods do not count: what the kubelet
// evicted or turned away stays in the API as a record, and its owner has made another.
func (r *run) workloadReady(ctx context.Context, after bool) (string, error) {
	kube := r.s.lab.Kube()
	var waiting []string
	deployments, err := kube.AppsV1().Deployments(r.ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, d := range deployments.Items {
		if want := replicas(d.Spec.Replicas); d.Status.AvailableReplicas < want {
			waiting = append(waiting, fmt.Sprintf("deployment %s has %d of %d pods", d.Name, d.Status.AvailableReplicas, want))
		}
	}
	sets, err := kube.AppsV1().StatefulSets(r.ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, s := range sets.Items {
		if want := replicas(s.Spec.Replicas); s.Status.ReadyReplicas < want {
			waiting = append(waiting, fmt.Sprintf("stateful set %s has %d of %d pods", s.Name, s.Status.ReadyReplicas, want))
		}
	}
	daemons, err := kube.AppsV1().DaemonSets(r.ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, d := range daemons.Items {
		if !daemonReady(&d) {
			waiting = append(waiting, fmt.Sprintf("daemon set %s has %d of %d pods", d.Name, d.Status.NumberReady, d.Status.DesiredNumberScheduled))
		}
	}
	pods, err := kube.CoreV1().Pods(r.ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	if len(pods.Items) == 0 && len(waiting) == 0 {
		// A manifest of configuration only is fine, but a controller may not have made its pods yet.
		if slices.ContainsFunc(r.made, hasPods) {
			waiting = append(waiting, "no pod yet")
		}
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.Status.Phase == corev1.PodSucceeded || podIsReady(p) || after && p.Status.Phase == corev1.PodFailed {
			continue
		}
		waiting = append(waiting, describePod(p))
	}
	return strings.Join(waiting, "; "), nil
}

func hasPods(o Objects) bool {
	for _, u := range o.List() {
		switch u.GetKind() {
		case "Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "ReplicaSet":
			return true
		}
	}
	return false
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

func daemonReady(d *appsv1.DaemonSet) bool {
	return d.Status.ObservedGeneration >= d.Generation && d.Status.DesiredNumberScheduled > 0 && d.Status.NumberReady >= d.Status.DesiredNumberScheduled
}

func podIsReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil
		}
	}
	return false
}

// describePod is a pod in a few words: phase and whatever reason it gives.
func describePod(p *corev1.Pod) string {
	what := fmt.Sprintf("pod %s %s", p.Name, p.Status.Phase)
	if p.Status.Phase == corev1.PodRunning && podIsReady(p) {
		return what + ", Ready"
	}
	var why []string
	for _, s := range podStates(p) {
		if s.reason != "" && !strings.HasPrefix(s.reason, "ContainersNot") && s.reason != "PodCompleted" {
			why = append(why, strings.TrimSuffix(s.reason+": "+text.Short(s.message, 120), ": "))
		}
	}
	if len(why) > 0 {
		what += " (" + strings.Join(why, "; ") + ")"
	}
	return what
}

// proofProbe asks the pod over its network, every second: a pod without a working network never becomes Ready. Not /healthz:
// netexec answers 412 there for as long as it serves no UDP.
func proofProbe() *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/hostname", Port: intstr.FromInt32(8080)}},
		PeriodSeconds: 1, TimeoutSeconds: 2, FailureThreshold: 3,
	}
}
