// Package apiserver takes the fingerprint of a cluster's API objects, as far as a scenario or its remedy may touch them.
//
// It is apart from package fingerprint so that the agent does not carry an API client.
package apiserver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/sickbay-dev/sickbay/internal/fingerprint"
)

// RunNamespacePrefix begins the namespaces of runs. Other runs' namespaces come and go and are left out.
const RunNamespacePrefix = "sickbay-"

// RunLabel is on everything a run makes through the API, cluster-scoped objects too.
const RunLabel = "sickbay.dev/run"

// Take reads the objects around one node. ownNamespace is the run's own namespace, which must be gone in the end.
func Take(ctx context.Context, kube kubernetes.Interface, node, ownNamespace string) *fingerprint.Fingerprint {
	f := fingerprint.New("api", time.Now())
	set := func(kind string, m metav1.Object, extra ...string) {
		ns, key := m.GetNamespace(), kind+" "+m.GetName()
		switch {
		case ns != "":
			key = kind + " " + ns + "/" + m.GetName()
		case kind == "Namespace":
			ns = m.GetName()
		}
		if strings.HasPrefix(ns, RunNamespacePrefix) && ns != ownNamespace {
			return
		}
		if run := m.GetLabels()[RunLabel]; run != "" && RunNamespacePrefix+run != ownNamespace {
			return
		}
		v := append([]string{"finalizers=" + strings.Join(m.GetFinalizers(), "+")}, extra...)
		f.Set(fingerprint.Objects, key, strings.Join(v, " "))
	}
	if o, err := kube.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{}); err != nil {
		f.Fail(fingerprint.Objects, fmt.Errorf("get node %s: %w", node, err))
	} else {
		set("Node", o, "unschedulable="+fmt.Sprint(o.Spec.Unschedulable), "taints="+taints(o.Spec.Taints), "labels="+labels(o.Labels), "annotations="+keys(o.Annotations))
	}
	for kind, list := range map[string]func(context.Context) (runtime.Object, error){
		"Namespace":        all(kube.CoreV1().Namespaces().List),
		"PersistentVolume": all(kube.CoreV1().PersistentVolumes().List),
		"StorageClass":     all(kube.StorageV1().StorageClasses().List),
		"CSIDriver":        all(kube.StorageV1().CSIDrivers().List),
		"VolumeAttachment": all(kube.StorageV1().VolumeAttachments().List),
		"RuntimeClass":     all(kube.NodeV1().RuntimeClasses().List),
		"DaemonSet":        all(kube.AppsV1().DaemonSets("").List),
		"Deployment":       all(kube.AppsV1().Deployments("").List),
		"ConfigMap":        all(kube.CoreV1().ConfigMaps("").List),
		"Secret":           all(kube.CoreV1().Secrets("").List),
	} {
		objects, err := list(ctx)
		if err == nil {
			err = meta.EachListItem(objects, func(o runtime.Object) error {
				m, err := meta.Accessor(o)
				if err != nil {
					return err
				}
				if extra, ours := counts(o, m, node, ownNamespace); ours {
					set(kind, m, extra...)
				}
				return nil
			})
		}
		if err != nil {
			f.Fail(fingerprint.Objects, fmt.Errorf("list each %s: %w", kind, err))
		}
	}
	return f
}

// counts tells whether an object is of the node's or the run's concern, and what of it counts besides its finalizers.
func counts(o runtime.Object, m metav1.Object, node, ownNamespace string) (extra []string, ours bool) {
	switch o := o.(type) {
	case *corev1.PersistentVolume:
		c := o.Spec.ClaimRef
		return nil, c == nil || !strings.HasPrefix(c.Namespace, RunNamespacePrefix) || c.Namespace == ownNamespace
	case *storagev1.VolumeAttachment:
		return nil, o.Spec.NodeName == node
	case *corev1.Secret:
		return nil, o.Type != "bootstrap.kubernetes.io/token" // expires by itself
	case *nodev1.RuntimeClass:
		return []string{"handler=" + o.Handler}, true
	case *appsv1.DaemonSet, *appsv1.Deployment:
		return []string{fmt.Sprintf("generation=%d", m.GetGeneration())}, true
	}
	return nil, true
}

// all is a client's method that lists, for lists of any kind.
func all[L runtime.Object](list func(context.Context, metav1.ListOptions) (L, error)) func(context.Context) (runtime.Object, error) {
	return func(ctx context.Context) (runtime.Object, error) { return list(ctx, metav1.ListOptions{}) }
}

func taints(ts []corev1.Taint) string {
	var out []string
	for _, t := range ts {
		out = append(out, t.ToString())
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

func labels(m map[string]string) string {
	var out []string
	for k, v := range m {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

// keys are annotation names only: values such as the volumes controller's change by themselves.
func keys(m map[string]string) string { return strings.Join(slices.Sorted(maps.Keys(m)), ",") }
