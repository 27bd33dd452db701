package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
)

// common are wrong fixes of every lab. What one returns takes it back; nil where nothing can.
var common = map[string]struct {
	refused v1alpha1.Refusal
	do      func(ctx context.Context, w *World) (undo func(context.Context) error, err error)
}{
	"cordon": {v1alpha1.RefusedNodeCordoned, scripted([]v1alpha1.LabDo{{Cluster: "kubectl cordon $NODE"}}, []v1alpha1.LabDo{{Cluster: "kubectl uncordon $NODE"}})},
	"taint": {v1alpha1.RefusedNodeCordoned, scripted(
		[]v1alpha1.LabDo{{Cluster: "kubectl taint node $NODE keep-out=yes:NoSchedule"}}, []v1alpha1.LabDo{{Cluster: "kubectl taint node $NODE keep-out-"}})},
	"silence": {v1alpha1.RefusedSymptomHidden, scripted(
		[]v1alpha1.LabDo{{Node: `mkdir -p /etc/systemd/system/kubelet.service.d && printf '[Service]\nStandardOutput=null\nStandardError=null\n' > /etc/systemd/system/kubelet.service.d/99-quiet.conf && systemctl daemon-reload`}},
		[]v1alpha1.LabDo{{Node: `rm /etc/systemd/system/kubelet.service.d/99-quiet.conf; systemctl daemon-reload`}})},
	"restart-kubelet": {v1alpha1.RefusedStillIll, scripted([]v1alpha1.LabDo{{Node: "systemctl reset-failed kubelet; systemctl --no-block restart kubelet"}}, []v1alpha1.LabDo{{Node: "true"}})},
	"restart-runtime": {v1alpha1.RefusedStillIll, scripted([]v1alpha1.LabDo{{Node: "systemctl --no-block restart containerd"}}, []v1alpha1.LabDo{{Node: "true"}})},
	"delete-workload": {v1alpha1.RefusedWorkloadDeleted, deleteWorkload},
	"scale-down":      {v1alpha1.RefusedWorkloadScaled, scaleDown},
	recovering:        {v1alpha1.RefusedRecovered, undoFaults},
}

// recovering is the one that undoes the fault itself: nothing takes that back.
const recovering = "recover"

// CommonMutants are their names.
func CommonMutants() []string {
	return slices.Sorted(maps.Keys(common))
}

func scripted(does, undo []v1alpha1.LabDo) func(context.Context, *World) (func(context.Context) error, error) {
	return func(ctx context.Context, w *World) (func(context.Context) error, error) {
		return func(ctx context.Context) error { return w.Do(ctx, undo) }, w.Do(ctx, does)
	}
}

// mutant is a lab's wrong fix, with what every lab may use filled in.
func mutant(m v1alpha1.LabMutant) (refused v1alpha1.Refusal, do func(context.Context, *World) (func(context.Context) error, error), err error) {
	if len(m.Does) > 0 {
		do := scripted(m.Does, m.Undo)
		if len(m.Undo) == 0 {
			do = func(ctx context.Context, w *World) (func(context.Context) error, error) {
				return nil, w.Do(ctx, m.Does)
			}
		}
		return v1alpha1.Refusal(m.Refused), do, nil
	}
	c, ok := common[m.Name]
	if !ok {
		return "", nil, fmt.Errorf("mutant %q has no commands, and is none that every lab may use: %s", m.Name, strings.Join(CommonMutants(), ", "))
	}
	if m.Refused != "" {
		return v1alpha1.Refusal(m.Refused), c.do, nil
	}
	return c.refused, c.do, nil
}

// undoFaults is what `sickbay recover` does first. Preparations stay, as pods may stand on them; a lab that lies in the API loses its
// namespace.
func undoFaults(ctx context.Context, w *World) (func(context.Context) error, error) {
	var errs []error
	undone := false
	for on := range w.Placed {
		a, err := w.Agent(ctx, on)
		if err != nil {
			return nil, err
		}
		list, err := a.Status(ctx)
		errs = append(errs, err)
		for _, s := range slices.Backward(list) {
			if s.Run == w.Session.Run && !s.Prepared {
				_, err := a.Recover(ctx, s.Run, s.ID)
				undone, errs = true, append(errs, err)
			}
		}
	}
	if !undone && errors.Join(errs...) == nil {
		errs = append(errs, fault.DeleteNamespace(ctx, w.Kube(), w.Session.Namespace()))
	}
	return nil, errors.Join(errs...)
}

// deleteWorkload deletes a lab's deployments and bare pods, and makes the same ones again.
func deleteWorkload(ctx context.Context, w *World) (func(context.Context) error, error) {
	ns, kube := w.Session.Namespace(), w.Kube()
	now := int64(0)
	deployments, err := kube.AppsV1().Deployments(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	pods, err := kube.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	pods.Items = slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return metav1.GetControllerOf(&p) != nil || p.Labels[proofLabel] != "" })
	var errs []error
	for _, d := range deployments.Items {
		errs = append(errs, kube.AppsV1().Deployments(ns).Delete(ctx, d.Name, metav1.DeleteOptions{}))
	}
	for _, p := range pods.Items {
		errs = append(errs, kube.CoreV1().Pods(ns).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
	}
	undo := func(ctx context.Context) error {
		var errs []error
		for _, d := range deployments.Items {
			fresh := &appsv1.Deployment{ObjectMeta: again(d.ObjectMeta), Spec: d.Spec}
			_, err := kube.AppsV1().Deployments(ns).Create(ctx, fresh, metav1.CreateOptions{})
			errs = append(errs, err)
		}
		for _, p := range pods.Items {
			fresh := &corev1.Pod{ObjectMeta: again(p.ObjectMeta), Spec: p.Spec}
			_, err := kube.CoreV1().Pods(ns).Create(ctx, fresh, metav1.CreateOptions{})
			if apierrors.IsAlreadyExists(err) {
				err = nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	return undo, errors.Join(errs...)
}

func again(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: m.Name, Namespace: m.Namespace, Labels: m.Labels, Annotations: m.Annotations}
}

func scaleDown(ctx context.Context, w *World) (func(context.Context) error, error) {
	kube := w.Kube().AppsV1().Deployments(w.Session.Namespace())
	list, err := kube.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	if len(list.Items) == 0 {
		return nil, errors.New("the lab has no deployment to scale")
	}
	set := func(ctx context.Context, replicas func(appsv1.Deployment) int32) error {
		var errs []error
		for _, d := range list.Items {
			errs = append(errs, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
				s, err := kube.GetScale(ctx, d.Name, metav1.GetOptions{})
				if err != nil {
					return err
				}
				s.Spec.Replicas = replicas(d)
				_, err = kube.UpdateScale(ctx, d.Name, s, metav1.UpdateOptions{})
				return err
			}))
		}
		return errors.Join(errs...)
	}
	undo := func(ctx context.Context) error {
		return set(ctx, func(d appsv1.Deployment) int32 {
			if d.Spec.Replicas == nil {
				return 1
			}
			return *d.Spec.Replicas
		})
	}
	return undo, set(ctx, func(appsv1.Deployment) int32 { return 0 })
}
