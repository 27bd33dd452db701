package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sickbay-dev/sickbay/internal/fingerprint/apiserver"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

const (
	// consumersGrace is how long pods may take to end before what serves them goes as well: a second of grace period in the
	// manifests, and the kubelet unmounts within a sync or two. Later they are ended with everything else.
	consumersGrace = 30 * time.Second
	consumersPoll  = 500 * time.Millisecond
)

// RunNamespace is the namespace of a run.
func RunNamespace(run string) string { return apiserver.RunNamespacePrefix + run }

// NamespaceGone waits until a namespace that was deleted is gone, for bound at most. Pods that the kubelet does not end within
// patience are deleted without it; forced hears of them.
func NamespaceGone(ctx context.Context, kube kubernetes.Interface, name string, patience, bound time.Duration, forced func(pod string)) error {
	started := time.Now()
	err := retry.Until(ctx, consumersPoll, bound, func(ctx context.Context) (bool, error) {
		_, err := kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		if err == nil && time.Since(started) > patience {
			err = forcePods(ctx, kube, name, forced)
		}
		return false, err
	})
	if err != nil {
		return fmt.Errorf("wait until namespace %s is gone: %w", name, err)
	}
	return nil
}

func forcePods(ctx context.Context, kube kubernetes.Interface, namespace string, forced func(pod string)) error {
	pods, err := kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	zero := int64(0)
	for i := range pods.Items {
		p := &pods.Items[i]
		forced(p.Name)
		if err := kube.CoreV1().Pods(namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// DeleteNamespace deletes a run's namespace, without waiting for its end. Pods of a DaemonSet serve others: without its CSI
// driver the kubelet cannot unmount a pod's volume, and the pod never ends. So where there is one, everybody else ends first.
func DeleteNamespace(ctx context.Context, kube kubernetes.Interface, name string) error {
	if err := endConsumers(ctx, kube, name); err != nil && ctx.Err() != nil {
		return fmt.Errorf("end the pods of namespace %s: %w", name, err)
	}
	err := kube.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete namespace %s: %w", name, err)
	}
	return nil
}

func endConsumers(ctx context.Context, kube kubernetes.Interface, ns string) error {
	sets, err := kube.AppsV1().DaemonSets(ns).List(ctx, metav1.ListOptions{})
	if err != nil || len(sets.Items) == 0 {
		return err
	}
	background := metav1.DeletePropagationBackground
	all, o := metav1.ListOptions{}, metav1.DeleteOptions{PropagationPolicy: &background}
	err = errors.Join(
		kube.AppsV1().Deployments(ns).DeleteCollection(ctx, o, all),
		kube.AppsV1().StatefulSets(ns).DeleteCollection(ctx, o, all),
		kube.BatchV1().Jobs(ns).DeleteCollection(ctx, o, all),
	)
	if err != nil {
		return err
	}
	return retry.Until(ctx, consumersPoll, timeoutscale.Bound(consumersGrace), func(ctx context.Context) (bool, error) {
		pods, err := kube.CoreV1().Pods(ns).List(ctx, all)
		if err != nil {
			return false, err
		}
		left := 0
		for i := range pods.Items {
			p := &pods.Items[i]
			if servesOthers(p) {
				continue
			}
			left++
			if p.DeletionTimestamp == nil {
				if err := kube.CoreV1().Pods(ns).Delete(ctx, p.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
					return false, err
				}
			}
		}
		return left == 0, nil
	})
}

func servesOthers(p *corev1.Pod) bool {
	ref := metav1.GetControllerOf(p)
	return ref != nil && ref.Kind == "DaemonSet"
}

// DeleteClusterObjects deletes what a run made outside its namespace, by its label: for a run whose process is gone.
func DeleteClusterObjects(ctx context.Context, kube kubernetes.Interface, run string) error {
	if run == "" {
		return nil
	}
	of, o := metav1.ListOptions{LabelSelector: LabelRun + "=" + run}, metav1.DeleteOptions{}
	var errs []error
	for what, drop := range map[string]func(context.Context, metav1.DeleteOptions, metav1.ListOptions) error{
		"persistent volumes": kube.CoreV1().PersistentVolumes().DeleteCollection,
		"CSI drivers":        kube.StorageV1().CSIDrivers().DeleteCollection,
		"storage classes":    kube.StorageV1().StorageClasses().DeleteCollection,
		"runtime classes":    kube.NodeV1().RuntimeClasses().DeleteCollection,
		"priority classes":   kube.SchedulingV1().PriorityClasses().DeleteCollection,
	} {
		if err := drop(ctx, o, of); err != nil {
			errs = append(errs, fmt.Errorf("delete %s of run %s: %w", what, run, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Session) makeNamespace(ctx context.Context) error {
	locked(s, func() any { s.inAPI = true; return nil }) // before the call: one that fails may have been carried out
	kube := s.tb.Kube().CoreV1()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: s.namespace, Labels: map[string]string{LabelRun: s.Run, LabelScenario: s.Name, LabelNode: s.Node},
	}}
	err := retry.Accepted(ctx, s.t.Poll, s.t.Call, func(ctx context.Context) error {
		_, err := kube.Namespaces().Create(ctx, ns, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("create namespace %s: %w", s.namespace, err)
	}
	// Pods want the default service account, which the controller makes a moment later.
	err = retry.Until(ctx, s.t.Poll/4, s.t.Call, func(ctx context.Context) (bool, error) {
		_, err := kube.ServiceAccounts(s.namespace).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("wait for the default service account of namespace %s: %w", s.namespace, err)
	}
	return nil
}
