package suites

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// residue undoes what is left and proves that the node is as it was. After a run whose remedy cleared the fault, recover
// must have found nothing left to do, but what the scenario declares as prepared.
func (r *run) residue(ctx context.Context, st step, cleared bool) error {
	undone, err := r.undo(ctx)
	if err != nil {
		return err
	}
	var extra []string
	for _, u := range undone {
		st.saw("recover undid: %s", u.text)
		if !u.prepared {
			extra = append(extra, u.text)
		}
	}
	if len(undone) == 0 {
		st.saw("recover found nothing left to do")
	}
	if cleared && len(extra) > 0 {
		return failf("the node looked cleared, but recover still had to undo: %s", strings.Join(extra, "; "))
	}
	if r.mark == nil {
		return nil
	}
	r.detail("comparing fingerprints of node %s", r.victim)
	if err := r.s.lab.RestoreImages(ctx, r.victim); err != nil {
		r.rec.note(r.victim, "preloaded images could not be put back: %v", err)
	}
	var changes []string
	err = retry.Until(ctx, 2*r.t.Poll, r.t.Settle, func(ctx context.Context) (bool, error) {
		var err error
		changes, err = r.mark.Changes(ctx)
		if err == nil && len(changes) > 0 {
			r.detail("%d difference(s) left: %s", len(changes), changes[0])
		}
		return err == nil && len(changes) == 0, err
	})
	r.res.Residue = changes
	switch {
	case err == nil:
		st.saw("the node's fingerprint equals the baseline")
		return nil
	case len(changes) > 0:
		return failf("left behind on node %s: %s", r.victim, strings.Join(changes, "; "))
	default:
		return fmt.Errorf("compare the fingerprint of node %s: %w", r.victim, err)
	}
}

// undoneItem is something that recover had to undo.
type undoneItem struct {
	text     string
	prepared bool
}

// undo recovers everything the run has placed and deletes what it made through the API, in the order that lets each succeed: the
// fault first, so that the kubelet can end pods; then the namespace, so that nothing holds a prepared filesystem; then what
// was prepared. It goes on after an error and returns all of them. It may be called twice.
func (r *run) undo(ctx context.Context) ([]undoneItem, error) {
	r.mu.Lock()
	list := slices.Clone(r.placed)
	nodes := slices.Sorted(maps.Keys(r.agents))
	r.mu.Unlock()
	slices.Reverse(list)

	var out []undoneItem
	var errs []error
	recoverOne := func(node, id string) {
		agent, err := r.agent(ctx, node)
		if err != nil {
			errs = append(errs, err)
			return
		}
		statuses, err := agent.Recover(ctx, r.id, id)
		for _, s := range statuses {
			for _, u := range s.Undone {
				out = append(out, undoneItem{fmt.Sprintf("%s on %s: %s", s.Mechanism, node, u), s.Prepared})
			}
			if s.Error != "" && err == nil {
				err = errors.New(s.Error)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("recover on node %s: %w", node, err))
		}
	}
	for _, p := range list {
		if !p.in.Prepared {
			r.setDetail("recovering %s on %s", p.in.Mechanism, p.node)
			recoverOne(p.node, p.in.ID)
		}
	}
	if err := r.deleteObjects(ctx); err != nil {
		errs = append(errs, err)
	}
	if len(list) > 0 {
		for _, node := range nodes {
			r.setDetail("recovering what is left on %s", node)
			recoverOne(node, "")
		}
	}
	if r.sc.Spec.Registry != nil {
		r.setDetail("removing the registry")
		if err := r.s.lab.RemoveServices(ctx, r.id); err != nil {
			errs = append(errs, err)
		}
	}
	if len(list) > 0 && len(errs) == 0 {
		if err := r.waitNodeReady(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	r.undone = len(errs) == 0
	return out, errors.Join(errs...)
}

func (r *run) setDetail(format string, args ...any) {
	if r.task != nil {
		r.task.Detail(format, args...)
	}
}

// deleteObjects deletes the namespace and the cluster-scoped objects, and waits until they are gone. Pods that the kubelet
// does not end within half of the time are deleted without it.
func (r *run) deleteObjects(ctx context.Context) error {
	if !r.nsMade {
		return nil
	}
	kube := r.s.lab.Kube()
	r.setDetail("deleting namespace %s", r.ns)
	if err := DeleteNamespace(ctx, kube, r.ns); err != nil {
		return err
	}
	patience := timeoutscale.Bound(45 * time.Second) // the default grace of 30s and one sync period
	errs := []error{NamespaceGone(ctx, kube, r.ns, patience, r.t.bound(r.sc, Residue), func(pod string) {
		r.rec.note(r.victim, "pod %s did not end by itself and was deleted without the kubelet", pod)
	})}
	r.nsMade = errs[0] != nil
	// A volume goes only after the last pod that has it.
	for _, o := range slices.Backward(r.made) {
		errs = append(errs, o.DeleteCluster(ctx))
	}
	return errors.Join(errs...)
}

// waitNodeReady waits until the victim is Ready, without pressure, cordon or taint.
func (r *run) waitNodeReady(ctx context.Context) error {
	return WaitWell(ctx, r.s.lab.Kube(), r.victim, r.t, r.setDetail)
}

// waitWell waits until a node is Ready, without pressure, cordon or taint.
func WaitWell(ctx context.Context, kube kubernetes.Interface, node string, t Timings, detail func(format string, args ...any)) error {
	why := "it was not seen"
	err := retry.Until(ctx, t.Poll/2, timeoutscale.Bound(2*time.Minute), func(ctx context.Context) (bool, error) {
		n, err := retry.Within(ctx, t.Call, func(ctx context.Context) (*corev1.Node, error) {
			return kube.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		})
		if err != nil {
			return false, err
		}
		why = NotReady(n)
		if why != "" {
			detail("waiting for node %s: %s", node, why)
		}
		return why == "", nil
	})
	if err != nil {
		if why != "" {
			return failf("node %s does not become well: %s", node, why)
		}
		return fmt.Errorf("wait for node %s: %w", node, err)
	}
	return nil
}
