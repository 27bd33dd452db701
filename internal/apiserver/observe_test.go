package apiserver

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	ktesting "k8s.io/client-go/testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// secretWords are planted in every place that may hold one.
const planted = "hunter2"

func TestObserveAPISplitsByNodeAndTellsNoSecret(t *testing.T) {
	date := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", date.Format(http.TimeFormat))
		switch r.URL.Path {
		case "/version":
			_, _ = w.Write([]byte(`{"gitVersion":"v1.37.2"}`))
		case "/api/v1/nodes/w1/proxy/configz":
			_, _ = w.Write([]byte(`{"kubeletconfig":{"cgroupDriver":"systemd","failSwapOn":true,"evictionPressureTransitionPeriod":"5m0s","evictionHard":{"nodefs.available":"0%"}}}`))
		default:
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer server.Close()

	pod := func(name, on string, secrets ...string) *corev1.Pod {
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, Namespace: "app", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "x"}},
				Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: planted},
			},
			Spec: corev1.PodSpec{NodeName: on, Containers: []corev1.Container{{
				Env:           []corev1.EnvVar{{Name: "TOKEN", Value: planted}},
				LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{HTTPHeaders: []corev1.HTTPHeader{{Name: "Authorization", Value: planted}}}}},
			}}},
		}
		for _, s := range secrets {
			p.Spec.ImagePullSecrets = append(p.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
		}
		return p
	}
	event := func(name, kind, object, component, host string, at time.Time) *corev1.Event {
		return &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "app"}, Source: corev1.EventSource{Component: component, Host: host},
			InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: "app", Name: object}, LastTimestamp: metav1.NewTime(at),
		}
	}
	plane := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp", Labels: map[string]string{"node-role.kubernetes.io/control-plane": ""}}}
	plane.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "172.20.0.9"}, {Type: corev1.NodeHostName, Address: "cp"}}
	dockerConfig := []byte(`{"auths":{"registry.local:5000":{"auth":"` + planted + `"}}}`)
	w1Node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "w1"}}
	plane.Status.NodeInfo.BootID, w1Node.Status.NodeInfo.BootID = "one-boot", "one-boot"
	kube := fake.NewClientset(
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kube-root-ca.crt", Namespace: "kube-system"}, Data: map[string]string{"ca.crt": "-----BEGIN CERTIFICATE-----\naGk=\n-----END CERTIFICATE-----\n"}},
		plane, w1Node, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "w2"}},
		pod("a", "w1", "pull", "gone"), pod("b", "w2"), pod("waiting", ""),
		event("late", "Pod", "a", "kubelet", "w1", date.Add(time.Minute)), event("early", "Node", "w1", "node-controller", "", date),
		event("old pod", "Pod", "deleted", "kubelet", "w1", date), event("other", "Pod", "b", "kubelet", "w2", date),
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "pull", Namespace: "app"}, Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: dockerConfig}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "spare", Namespace: "app"}, Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(planted)}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "password", Namespace: "app"}, Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"p": []byte(planted)}},
	)
	view, err := Observe(t.Context(), &rest.Config{Host: server.URL}, kube, []string{"w1", "w2", "unregistered"})
	if err != nil {
		t.Fatal(err)
	}
	w1 := view["w1"]
	if w1.ServerVersion != "v1.37.2" || !w1.ServerDate.Equal(date) || time.Since(w1.AskedAt) > time.Minute {
		t.Errorf("server %q at %v, asked at %v", w1.ServerVersion, w1.ServerDate, w1.AskedAt)
	}
	if w1.Node == nil || len(w1.Pods) != 1 || w1.Pods[0].Name != "a" || len(w1.Pending) != 1 || view["w2"].Pods[0].Name != "b" {
		t.Errorf("w1 %+v", w1)
	}
	if !w1.SameKernel || view["w2"].SameKernel {
		t.Errorf("w1 is on the control plane's machine: %t; w2, whose boot nobody knows: %t", w1.SameKernel, view["w2"].SameKernel)
	}
	if z := w1.Configz; z == nil || z.CgroupDriver != "systemd" || !*z.FailSwapOn || z.EvictionPressureTransitionPeriod != "5m0s" || view["w2"].Configz != nil {
		t.Errorf("configz %+v, of a kubelet that does not answer %+v", z, view["w2"].Configz)
	}
	if u := view["unregistered"]; u == nil || u.Node != nil {
		t.Errorf("unregistered: %+v", u)
	}
	var events []string
	for _, e := range w1.Events {
		events = append(events, e.Name)
	}
	slices.Sort(events[:2]) // of the same second
	if !slices.Equal(events, []string{"early", "old pod", "late"}) {
		t.Errorf("events %v", events)
	}
	if !slices.Equal(w1.Endpoints, []string{"172.20.0.9", "cp"}) {
		t.Errorf("endpoints %v", w1.Endpoints)
	}
	if !slices.Equal(w1.ClusterCAs, []string{"8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"}) {
		t.Errorf("the cluster's CAs are %v", w1.ClusterCAs)
	}
	// Of one node it is no other answer, and no other node is listed for it but the control plane's.
	if one, err := Observe(t.Context(), &rest.Config{Host: server.URL}, kube, []string{"w1"}); err != nil || !one["w1"].SameKernel || !slices.Equal(one["w1"].Endpoints, w1.Endpoints) {
		t.Errorf("asked for w1 alone: %+v, %v", one["w1"], err)
	}
	want := []v1alpha1.PullSecret{
		{Namespace: "app", Name: "gone"},
		{Namespace: "app", Name: "pull", Exists: true, Hosts: []string{"registry.local:5000"}},
		{Namespace: "app", Name: "spare", Exists: true, Error: "its .dockerconfigjson is not JSON"},
	}
	if !slices.EqualFunc(w1.PullSecrets, want, func(a, b v1alpha1.PullSecret) bool {
		return a.Name == b.Name && a.Exists == b.Exists && a.Error == b.Error && slices.Equal(a.Hosts, b.Hosts)
	}) {
		t.Errorf("pull secrets %+v", w1.PullSecrets)
	}
	if all := string(mustJSON(t, view)); strings.Contains(all, planted) || strings.Contains(all, "managedFields") {
		t.Errorf("a secret is in the observation:\n%s", all)
	}
}

// TestWhatMayNotBeReadIsSaid: a caller without the rights is told what is not compared, why, and which rule is missing; what may be read
// is taken, and the view counts as whole.
func TestWhatMayNotBeReadIsSaid(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/version" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(`{"gitVersion":"v1.37.2"}`))
	}))
	defer server.Close()
	kube := fake.NewClientset(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "w1"}},
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "app"}, Spec: corev1.PodSpec{NodeName: "w1"}})
	for _, kind := range []string{"configmaps", "secrets"} {
		kube.PrependReactor("*", kind, func(a ktesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(a.GetResource().GroupResource(), "", errors.New("no rule"))
		})
	}
	view, err := Observe(t.Context(), &rest.Config{Host: server.URL}, kube, []string{"w1", "w2"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, u := range view["w1"].Unread {
		got[u.What] = u.Why
	}
	for what, rule := range map[string]string{
		v1alpha1.SourceClusterCAs: "get on configmaps kube-root-ca.crt in kube-system", v1alpha1.SourcePullSecrets: "list and get on secrets", v1alpha1.SourceKubelet: "get on nodes/proxy",
	} {
		if why := got[what]; !strings.Contains(strings.ToLower(why), "forbidden") || !strings.Contains(why, "a role that allows "+rule+" is missing") {
			t.Errorf("%s: %q", what, why)
		}
	}
	if u := view["w2"].Unread; len(u) != 1 || u[0].What != v1alpha1.SourceClusterCAs {
		t.Errorf("a node without pods: %v", u)
	}
}

// Half of the names would make a wrong server of a right one.
func TestAPIServersAreAllNamedOrNone(t *testing.T) {
	l := &lists{endpoints: []string{"172.20.0.9"}, nodes: []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "w1"}}}}
	if got := l.apiServers(); len(got) > 0 {
		t.Errorf("without a control plane's node: %v", got)
	}
}

func TestObserveAPIOfADeadServer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	if view, err := Observe(t.Context(), &rest.Config{Host: server.URL}, fake.NewClientset(), []string{"w1"}); err == nil || view != nil {
		t.Errorf("%v, %v", view, err)
	}
	hang := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer slow.Close()
	defer close(hang)
	start := time.Now()
	_, err := Observe(t.Context(), &rest.Config{Host: slow.URL}, fake.NewClientset(), []string{"w1"})
	if err == nil || !strings.Contains(err.Error(), "did not answer within 2s") || time.Since(start) > 4*time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
}

// TestOwnPodsAreNotLookedAt: the pods by which nodes are read are no part of the cluster's state; one that cannot pull its image is no
// finding.
func TestOwnPodsAreNotLookedAt(t *testing.T) {
	own := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: DebugPrefix + "w1-x", Namespace: "app", Labels: map[string]string{LabelDebug: "node"}}, Spec: corev1.PodSpec{NodeName: "w1"}}
	theirs := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "app", Labels: map[string]string{LabelDebug: "node"}}, Spec: corev1.PodSpec{NodeName: "w1"}}
	said := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "app"}, Source: corev1.EventSource{Component: "kubelet", Host: "w1"}, InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "app", Name: own.Name}}
	l, err := list(t.Context(), fake.NewClientset(own, theirs, said), []string{"w1", "w2"})
	if err != nil || len(l.pods) != 1 || l.pods[0].Name != "shop" || len(l.events) != 0 {
		t.Errorf("%v %v %v", l.pods, l.events, err)
	}
}
