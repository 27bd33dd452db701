package fault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/retry"
)

// Undone is something that recovery had to undo.
type Undone struct {
	Text     string
	Prepared bool // what the scenario declares as preparation
}

// Undo recovers everything that was placed and deletes what was made through the API, in the order that lets each succeed: the
// fault first, so that the kubelet can end pods; then the namespace, so that nothing holds a prepared filesystem; then what
// was prepared. It goes on after an error and returns all of them. It may be called twice.
func (s *Session) Undo(ctx context.Context) ([]Undone, error) {
	s.mu.Lock()
	placed := slices.Clone(s.placed)
	nodes := slices.Sorted(maps.Keys(s.agents))
	s.mu.Unlock()

	var out []Undone
	var errs []error
	recoverOn := func(node, id string) {
		u, err := s.recover(ctx, node, id)
		out, errs = append(out, u...), append(errs, err)
	}
	for _, p := range slices.Backward(placed) {
		if !p.in.Prepared {
			s.detail("recovering %s on %s", p.in.Mechanism, p.node)
			recoverOn(p.node, p.in.ID)
		}
	}
	errs = append(errs, s.deleteObjects(ctx))
	if len(placed) > 0 {
		for _, node := range nodes {
			s.detail("recovering what is left on %s", node)
			recoverOn(node, "")
		}
	}
	if s.Scenario.Spec.Registry != nil {
		s.detail("removing the registry")
		errs = append(errs, s.tb.RemoveServices(ctx, s.Run))
	}
	if len(placed) > 0 && errors.Join(errs...) == nil {
		errs = append(errs, s.WaitReady(ctx))
		if err := s.tb.RestoreImages(ctx, s.Node); err != nil {
			s.note(s.Node, "preloaded images could not be put back: %v", err)
		}
	}
	err := errors.Join(errs...)
	if err == nil {
		locked(s, func() any { s.state = undone; return nil })
	}
	return out, err
}

func (s *Session) recover(ctx context.Context, node, id string) ([]Undone, error) {
	agent, err := s.agent(ctx, node)
	if err != nil {
		return nil, err
	}
	statuses, err := agent.Recover(ctx, s.Run, id)
	var out []Undone
	for _, st := range statuses {
		for _, u := range st.Undone {
			out = append(out, Undone{fmt.Sprintf("%s on %s: %s", st.Mechanism, node, u), st.Prepared})
		}
		if st.Error != "" && err == nil {
			err = errors.New(st.Error)
		}
	}
	if err != nil {
		err = fmt.Errorf("recover on node %s: %w", node, err)
	}
	return out, err
}

// deleteObjects deletes the namespace and the cluster-scoped objects, and waits until they are gone.
func (s *Session) deleteObjects(ctx context.Context) error {
	s.mu.Lock()
	there, objects := s.inAPI, slices.Clone(s.objects)
	s.mu.Unlock()
	if !there {
		return nil
	}
	kube := s.tb.Kube()
	s.detail("deleting namespace %s", s.namespace)
	if err := DeleteNamespace(ctx, kube, s.namespace); err != nil {
		return err
	}
	err := NamespaceGone(ctx, kube, s.namespace, s.t.PodsEnd, s.t.NamespaceGone, func(pod string) {
		s.note(s.Node, "pod %s did not end by itself and was deleted without the kubelet", pod)
	})
	locked(s, func() any { s.inAPI = err != nil; return nil })
	// A volume goes only after the last pod that has it.
	for _, o := range slices.Backward(objects) {
		err = errors.Join(err, o.DeleteCluster(ctx))
	}
	return err
}

// Close ends the run's record on the host where everything is undone, and leaves it to whoever comes next where it is not.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.record == nil || s.state == left:
		return nil
	case s.state == open:
		s.record.Release()
		return nil
	}
	if err := s.record.End(); err != nil {
		return fmt.Errorf("forget run %s, which is undone: %w", s.Run, err)
	}
	return nil
}

// NotReady says why a node does not count as Ready and schedulable, "" when it does.
func NotReady(n *corev1.Node) string {
	for _, c := range n.Status.Conditions {
		if facts.Unwell(c) {
			return fmt.Sprintf("%s=%s (%s: %s)", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	if n.Spec.Unschedulable {
		return "it is cordoned"
	}
	for _, t := range n.Spec.Taints {
		if t.Effect != corev1.TaintEffectPreferNoSchedule {
			return fmt.Sprintf("it has the taint %s:%s", t.Key, t.Effect)
		}
	}
	if !slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodeReady }) {
		return "it has no Ready condition yet"
	}
	return ""
}

// WaitReady waits until a node is Ready, without pressure, cordon or taint.
func WaitReady(ctx context.Context, kube kubernetes.Interface, node string, t Timings, detail func(format string, args ...any)) error {
	why := "it was not seen"
	err := retry.Until(ctx, t.Poll/2, t.NodeReady, func(ctx context.Context) (bool, error) {
		n, err := retry.Within(ctx, t.Call, func(ctx context.Context) (*corev1.Node, error) {
			return kube.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		})
		if err != nil {
			return false, err
		}
		if why = NotReady(n); why != "" {
			detail("waiting for node %s: %s", node, why)
		}
		return why == "", nil
	})
	switch {
	case err == nil:
		return nil
	case why != "":
		return Failf("node %s did not become Ready: %s", node, why)
	default:
		return fmt.Errorf("wait for node %s: %w", node, err)
	}
}
