package apiserver

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/sickbay-dev/sickbay/internal/fingerprint"
)

// TestTake: what is the run's own or the cluster's counts, what is another run's, another node's or ends by itself does not.
func TestTake(t *testing.T) {
	named := func(ns, name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: ns, Name: name} }
	labelled := named("", "other")
	labelled.Labels = map[string]string{RunLabel: "2"}
	kept := named("lab", "web")
	kept.Finalizers, kept.Generation = []string{"a", "b"}, 3
	volume := func(name, claim string) *corev1.PersistentVolume {
		return &corev1.PersistentVolume{ObjectMeta: named("", name), Spec: corev1.PersistentVolumeSpec{ClaimRef: &corev1.ObjectReference{Namespace: claim}}}
	}
	kube := fake.NewClientset(
		&corev1.Node{ObjectMeta: named("", "n1"), Spec: corev1.NodeSpec{Unschedulable: true, Taints: []corev1.Taint{{Key: "k", Effect: "NoExecute"}}}},
		&corev1.Namespace{ObjectMeta: named("", "sickbay-1")}, &corev1.Namespace{ObjectMeta: named("", "sickbay-2")},
		&corev1.ConfigMap{ObjectMeta: named("sickbay-2", "foreign")}, &corev1.ConfigMap{ObjectMeta: named("sickbay-1", "own")},
		&corev1.Secret{ObjectMeta: named("kube-system", "token"), Type: "bootstrap.kubernetes.io/token"}, &corev1.Secret{ObjectMeta: named("lab", "s")},
		volume("v1", "sickbay-1"), volume("v2", "sickbay-2"), &storagev1.StorageClass{ObjectMeta: labelled},
		&storagev1.VolumeAttachment{ObjectMeta: named("", "here"), Spec: storagev1.VolumeAttachmentSpec{NodeName: "n1"}},
		&storagev1.VolumeAttachment{ObjectMeta: named("", "there"), Spec: storagev1.VolumeAttachmentSpec{NodeName: "n2"}},
		&nodev1.RuntimeClass{ObjectMeta: named("", "rc"), Handler: "h"}, &appsv1.Deployment{ObjectMeta: kept}, &appsv1.DaemonSet{ObjectMeta: named("lab", "ds")},
	)
	kube.PrependReactor("list", "csidrivers", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("refused") })
	f := Take(t.Context(), kube, "n1", "sickbay-1")
	want := map[string]string{
		"Node n1":                 "finalizers= unschedulable=true taints=k:NoExecute labels= annotations=",
		"Namespace sickbay-1":     "finalizers=",
		"ConfigMap sickbay-1/own": "finalizers=",
		"Secret lab/s":            "finalizers=",
		"PersistentVolume v1":     "finalizers=",
		"VolumeAttachment here":   "finalizers=",
		"RuntimeClass rc":         "finalizers= handler=h",
		"Deployment lab/web":      "finalizers=a+b generation=3",
		"DaemonSet lab/ds":        "finalizers= generation=0",
	}
	if diff := cmp.Diff(want, f.Areas[fingerprint.Objects]); diff != "" {
		t.Error(diff)
	}
	if why := f.Unknown[fingerprint.Objects]; !strings.Contains(why, "list each CSIDriver: refused") {
		t.Errorf("unknown: %q", why)
	}
}
