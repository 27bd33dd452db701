package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/text"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/internal/retry"
)

// StartWorkload applies the scenario's manifest, bound to the victim, and waits until all its pods are Ready.
func (s *Session) StartWorkload(ctx context.Context) error {
	text, err := s.Scenario.RenderWorkload(s.values())
	if err != nil || strings.TrimSpace(text) == "" {
		return err
	}
	s.detail("starting the workload")
	objects, err := s.tb.Workload(ctx, s.namespace, []byte(text), Bind(s.Node))
	s.created(objects)
	if err != nil {
		return fmt.Errorf("create the workload of scenario %s: %w", s.Name, err)
	}
	var why string
	err = retry.Until(ctx, s.t.Poll, s.t.Workload, func(ctx context.Context) (bool, error) {
		var err error
		why, err = s.WorkloadReady(ctx, false)
		if err != nil {
			return false, err
		}
		s.detail("waiting for the workload: %s", why)
		return why == "", nil
	})
	if err != nil {
		if why != "" && ctx.Err() == context.DeadlineExceeded {
			return Failf("the workload did not become Ready: %s", why)
		}
		return fmt.Errorf("wait for the workload: %w", err)
	}
	s.done(s.Node, "", "the workload runs on %s", s.Node)
	return nil
}

// Bind puts a pod on the node where its manifest does not say where it goes. Through the scheduler: what bypasses it says so
// with nodeName.
func Bind(node string) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) {
		if spec.NodeName != "" || len(spec.NodeSelector) > 0 || (spec.Affinity != nil && spec.Affinity.NodeAffinity != nil) {
			return
		}
		spec.NodeSelector = map[string]string{corev1.LabelHostname: node}
	}
}

// WorkloadReady says what is not ready yet, "" when everything is. After a fault, failed pods do not count: what the kubelet
// evicted or turned away stays in the API as a record, and its owner has made another.
func (s *Session) WorkloadReady(ctx context.Context, after bool) (string, error) {
	kube, all := s.tb.Kube(), metav1.ListOptions{}
	var waiting []string
	deployments, err1 := kube.AppsV1().Deployments(s.namespace).List(ctx, all)
	sets, err2 := kube.AppsV1().StatefulSets(s.namespace).List(ctx, all)
	daemons, err3 := kube.AppsV1().DaemonSets(s.namespace).List(ctx, all)
	pods, err4 := kube.CoreV1().Pods(s.namespace).List(ctx, all)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return "", err
	}
	wants := func(what, name string, has, want int32, ready bool) {
		if !ready {
			waiting = append(waiting, fmt.Sprintf("%s %s has %d of %d pods", what, name, has, want))
		}
	}
	for _, d := range deployments.Items {
		want := replicas(d.Spec.Replicas)
		wants("deployment", d.Name, d.Status.AvailableReplicas, want, d.Status.AvailableReplicas >= want)
	}
	for _, d := range sets.Items {
		want := replicas(d.Spec.Replicas)
		wants("stateful set", d.Name, d.Status.ReadyReplicas, want, d.Status.ReadyReplicas >= want)
	}
	for _, d := range daemons.Items {
		wants("daemon set", d.Name, d.Status.NumberReady, d.Status.DesiredNumberScheduled, daemonReady(&d))
	}
	if len(pods.Items) == 0 && len(waiting) == 0 {
		// A manifest of configuration only is fine, but a controller may not have made its pods yet.
		if slices.ContainsFunc(s.objects, hasPods) {
			waiting = append(waiting, "no pod yet")
		}
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.Status.Phase == corev1.PodSucceeded || PodReady(p) || after && p.Status.Phase == corev1.PodFailed {
			continue
		}
		waiting = append(waiting, DescribePod(p))
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

// PodReady says that a pod is Ready and not on its way out.
func PodReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil
		}
	}
	return false
}

// DescribePod is a pod in a few words: phase and whatever reason it gives.
func DescribePod(p *corev1.Pod) string {
	what := fmt.Sprintf("pod %s %s", p.Name, p.Status.Phase)
	if p.Status.Phase == corev1.PodRunning && PodReady(p) {
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
