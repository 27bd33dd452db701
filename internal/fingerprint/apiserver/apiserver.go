// Package apiserver takes the fingerprint of a cluster's API objects, as far as a scenario or its remedy may touch them.
//
// It is apart from package fingerprint so that the agent does not carry an API client.
package apiserver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	set := func(kind string, m metav1.ObjectMeta, extra ...string) {
		ns := m.Namespace
		if ns == "" && kind == "Namespace" {
			ns = m.Name
		}
		if strings.HasPrefix(ns, RunNamespacePrefix) && ns != ownNamespace {
			return
		}
		if run := m.Labels[RunLabel]; run != "" && RunNamespacePrefix+run != ownNamespace {
			return
		}
		key := kind + " " + m.Name
		if m.Namespace != "" {
			key = kind + " " + m.Namespace + "/" + m.Name
		}
		v := append([]string{"finalizers=" + strings.Join(m.Finalizers, "+")}, extra...)
		f.Set(fingerprint.Objects, key, strings.Join(v, " "))
	}
	all := metav1.ListOptions{}
	fail := func(kind string, err error) bool {
		if err != nil {
			f.Fail(fingerprint.Objects, fmt.Errorf("list %s: %w", kind, err))
		}
		return err != nil
	}
	if l, err := kube.CoreV1().Namespaces().List(ctx, all); !fail("namespaces", err) {
		for _, o := range l.Items {
			set("Namespace", o.ObjectMeta)
		}
	}
	if o, err := kube.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{}); !fail("node "+node, err) {
		set("Node", o.ObjectMeta, "unschedulable="+fmt.Sprint(o.Spec.Unschedulable), "taints="+taints(o.Spec.Taints), "labels="+labels(o.Labels), "annotations="+keys(o.Annotations))
	}
	if l, err := kube.CoreV1().PersistentVolumes().List(ctx, all); !fail("persistentvolumes", err) {
		for _, o := range l.Items {
			if o.Spec.ClaimRef == nil || !strings.HasPrefix(o.Spec.ClaimRef.Namespace, RunNamespacePrefix) || o.Spec.ClaimRef.Namespace == ownNamespace {
				set("PersistentVolume", o.ObjectMeta)
			}
		}
	}
	if l, err := kube.StorageV1().StorageClasses().List(ctx, all); !fail("storageclasses", err) {
		for _, o := range l.Items {
			set("StorageClass", o.ObjectMeta)
		}
	}
	if l, err := kube.StorageV1().CSIDrivers().List(ctx, all); !fail("csidrivers", err) {
		for _, o := range l.Items {
			set("CSIDriver", o.ObjectMeta)
		}
	}
	if l, err := kube.StorageV1().VolumeAttachments().List(ctx, all); !fail("volumeattachments", err) {
		for _, o := range l.Items {
			if o.Spec.NodeName == node {
				set("VolumeAttachment", o.ObjectMeta)
			}
		}
	}
	if l, err := kube.NodeV1().RuntimeClasses().List(ctx, all); !fail("runtimeclasses", err) {
		for _, o := range l.Items {
			set("RuntimeClass", o.ObjectMeta, "handler="+o.Handler)
		}
	}
	if l, err := kube.AppsV1().DaemonSets("").List(ctx, all); !fail("daemonsets", err) {
		for _, o := range l.Items {
			set("DaemonSet", o.ObjectMeta, fmt.Sprintf("generation=%d", o.Generation))
		}
	}
	if l, err := kube.AppsV1().Deployments("").List(ctx, all); !fail("deployments", err) {
		for _, o := range l.Items {
			set("Deployment", o.ObjectMeta, fmt.Sprintf("generation=%d", o.Generation))
		}
	}
	if l, err := kube.CoreV1().ConfigMaps("").List(ctx, all); !fail("configmaps", err) {
		for _, o := range l.Items {
			set("ConfigMap", o.ObjectMeta)
		}
	}
	if l, err := kube.CoreV1().Secrets("").List(ctx, all); !fail("secrets", err) {
		for _, o := range l.Items {
			if o.Type != "bootstrap.kubernetes.io/token" { // expires by itself
				set("Secret", o.ObjectMeta)
			}
		}
	}
	return f
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
func keys(m map[string]string) string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}
