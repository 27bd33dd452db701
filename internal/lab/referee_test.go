package lab

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// TestHonestLearner: nothing done is refused, the right fix is accepted, and the units were restarted before it was.
func TestHonestLearner(t *testing.T) {
	f := newFakeCluster(t)
	r := f.referee(t)
	v, err := r.Judge(t.Context())
	if err != nil || v.Solved || reasons(v) != "still-ill" {
		t.Fatalf("unsolved: %s, %v, %v", reasons(v), v.Solved, err)
	}
	if slices.Contains(f.scripts, "systemctl restart kubelet") {
		t.Error("the referee restarts what is not solved")
	}
	f.shell("fix")
	if v, err = r.Judge(t.Context()); err != nil || !v.Solved {
		t.Fatalf("solved: %s, %v", asJSON(v), err)
	}
	for _, u := range []string{"systemctl restart containerd", "systemctl restart kubelet"} {
		if !slices.Contains(f.scripts, u) {
			t.Errorf("no %s before it was called solved", u)
		}
	}
	pods, err := f.kube.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: proofLabel})
	if err != nil || len(pods.Items) > 0 {
		t.Errorf("%d proof pods are left, %v", len(pods.Items), err)
	}
}

// TestCheaters: each makes the symptom go away, and is refused for its own reason.
func TestCheaters(t *testing.T) {
	for want, cheat := range map[v1alpha1.Refusal]func(*fakeCluster){
		v1alpha1.RefusedNotLasting:   func(f *fakeCluster) { f.returns = true },
		v1alpha1.RefusedNodeCordoned: func(f *fakeCluster) { f.shell("kubectl cordon $NODE") },
		v1alpha1.RefusedNodeRecreated: func(f *fakeCluster) {
			f.edit(func(n *corev1.Node) { n.UID = "another" })
		},
		v1alpha1.RefusedWorkloadDeleted: func(f *fakeCluster) {
			if err := f.kube.AppsV1().Deployments(namespace).Delete(f.t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
				f.t.Error(err)
			}
		},
		v1alpha1.RefusedHealthyDestroyed: func(f *fakeCluster) {
			if err := f.kube.AppsV1().DaemonSets("kube-system").Delete(f.t.Context(), "kube-proxy", metav1.DeleteOptions{}); err != nil {
				f.t.Error(err)
			}
		},
		v1alpha1.RefusedRecovered:     func(f *fakeCluster) { f.recovered = true },
		v1alpha1.RefusedSymptomHidden: func(f *fakeCluster) { f.output = "null" },
		v1alpha1.RefusedThreshold:     func(f *fakeCluster) { f.eviction = map[string]string{"nodefs.available": "0%"} },
	} {
		t.Run(string(want), func(t *testing.T) {
			f := newFakeCluster(t)
			r := f.referee(t)
			r.Timings.Settle = 100 * time.Millisecond
			f.shell("fix")
			cheat(f)
			v, err := r.Judge(t.Context())
			if err != nil || v.Solved || !v.For(want) {
				t.Errorf("solved %t, refused as %q, %v", v.Solved, reasons(v), err)
			}
		})
	}
}

// TestWhere: a rollout that binds by the node's label what was bound by nodeName moves nothing, nor does its undoing.
func TestWhere(t *testing.T) {
	name := corev1.PodSpec{NodeName: "w1"}
	label := corev1.PodSpec{NodeSelector: map[string]string{corev1.LabelHostname: "w1"}}
	both := corev1.PodSpec{NodeName: "w1", NodeSelector: label.NodeSelector}
	for _, same := range []corev1.PodSpec{label, both} {
		if where(same) != where(name) {
			t.Errorf("%s is not %s", where(same), where(name))
		}
	}
	for _, other := range []corev1.PodSpec{
		{}, {NodeName: "w2"}, {NodeSelector: map[string]string{corev1.LabelHostname: "w2"}}, {NodeSelector: map[string]string{corev1.LabelHostname: "w1", "disk": "ssd"}},
	} {
		if where(other) == where(name) {
			t.Errorf("%s is the same as elsewhere", where(other))
		}
	}
}

// TestWorkarounds are those that are seen by comparing.
func TestWorkarounds(t *testing.T) {
	probe := func(change func(*corev1.Probe)) *corev1.Probe {
		p := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/"}}, PeriodSeconds: 2, FailureThreshold: 2}
		change(p)
		return p
	}
	same := func(*corev1.Probe) {}
	base := func() Snapshot {
		return Snapshot{
			Nodes: map[string]Node{"w1": {UID: "1"}}, Eviction: map[string]string{"nodefs.available": "10%", "memory.available": "100Mi"}, Output: "o", Kept: "k",
			Workloads: map[string]Workload{
				"deployment ns/shop":             {Lab: true, Replicas: 2, Where: "w1", Containers: map[string]Container{"c": {Liveness: probe(same), Readiness: probe(same), Limits: map[string]bool{"memory": true}}}},
				"pod ns/evicted":                 {Lab: true, Over: true},
				"deployment kube-system/coredns": {Replicas: 2},
			},
		}
	}
	shop := func(s *Snapshot, change func(*Workload, *Container)) {
		w := s.Workloads["deployment ns/shop"]
		c := w.Containers["c"]
		w.Containers = maps.Clone(w.Containers)
		change(&w, &c)
		w.Containers["c"] = c
		s.Workloads["deployment ns/shop"] = w
	}
	for name, c := range map[string]struct {
		change func(*Snapshot)
		want   string
	}{
		"nothing": {func(*Snapshot) {}, ""},
		"a longer probe": {func(s *Snapshot) {
			shop(s, func(_ *Workload, c *Container) {
				c.Liveness = probe(func(p *corev1.Probe) { p.PeriodSeconds, p.FailureThreshold = 10, 6 })
			})
		}, ""},
		"another port": {func(s *Snapshot) {
			shop(s, func(_ *Workload, c *Container) { c.Liveness = probe(func(p *corev1.Probe) { p.HTTPGet.Path = "/x" }) })
		}, ""},
		"no probe": {func(s *Snapshot) { shop(s, func(_ *Workload, c *Container) { c.Readiness = nil }) }, "probe-disabled"},
		"a probe of nothing": {func(s *Snapshot) {
			shop(s, func(_ *Workload, c *Container) {
				c.Liveness = probe(func(p *corev1.Probe) { p.HTTPGet, p.Exec = nil, &corev1.ExecAction{Command: []string{"true"}} })
			})
		}, "probe-disabled"},
		"a probe of next year": {func(s *Snapshot) {
			shop(s, func(_ *Workload, c *Container) {
				c.Liveness = probe(func(p *corev1.Probe) { p.FailureThreshold = 100000 })
			})
		}, "probe-disabled"},
		"no limit":         {func(s *Snapshot) { shop(s, func(_ *Workload, c *Container) { c.Limits = nil }) }, "limit-disabled"},
		"to zero":          {func(s *Snapshot) { shop(s, func(w *Workload, _ *Container) { w.Replicas = 0 }) }, "workload-scaled"},
		"more":             {func(s *Snapshot) { shop(s, func(w *Workload, _ *Container) { w.Replicas = 3 }) }, ""},
		"elsewhere":        {func(s *Snapshot) { shop(s, func(w *Workload, _ *Container) { w.Where = "w2" }) }, "workload-moved"},
		"deleted":          {func(s *Snapshot) { delete(s.Workloads, "deployment ns/shop") }, "workload-deleted"},
		"what was evicted": {func(s *Snapshot) { delete(s.Workloads, "pod ns/evicted") }, ""},
		"somebody else's":  {func(s *Snapshot) { delete(s.Workloads, "deployment kube-system/coredns") }, "healthy-destroyed"},
		"cordoned":         {func(s *Snapshot) { s.Nodes["w1"] = Node{UID: "1", Closed: "it is cordoned"} }, "node-cordoned"},
		"another node":     {func(s *Snapshot) { s.Nodes["w1"] = Node{UID: "2"} }, "node-recreated"},
		"no node":          {func(s *Snapshot) { delete(s.Nodes, "w1") }, "node-recreated"},
		"a lower threshold": {func(s *Snapshot) {
			s.Eviction = map[string]string{"nodefs.available": "1%", "memory.available": "100Mi"}
		}, "threshold-off"},
		"a threshold gone": {func(s *Snapshot) { s.Eviction = map[string]string{"nodefs.available": "10%"} }, "threshold-off"},
		"a higher threshold": {func(s *Snapshot) {
			s.Eviction = map[string]string{"nodefs.available": "15%", "memory.available": "200Mi"}
		}, ""},
		"thresholds unread": {func(s *Snapshot) { s.Eviction = nil }, ""},
		"silenced":          {func(s *Snapshot) { s.Output = "null" }, "symptom-hidden"},
		"data lost":         {func(s *Snapshot) { s.Kept = "" }, "healthy-destroyed"},
	} {
		t.Run(name, func(t *testing.T) {
			now := base()
			c.change(&now)
			if got := reasons(Verdict{Refused: Workarounds(base(), now)}); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestConditionTaintsAreNoCordon: the node's own conditions come and go, and so do their taints.
func TestConditionTaintsAreNoCordon(t *testing.T) {
	n := &corev1.Node{}
	n.Spec.Taints = []corev1.Taint{{Key: "node.kubernetes.io/disk-pressure", Effect: corev1.TaintEffectNoSchedule}}
	if why := closed(n); why != "" {
		t.Error(why)
	}
	n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "keep-out", Effect: corev1.TaintEffectNoExecute})
	if why := closed(n); !strings.Contains(why, "keep-out") {
		t.Errorf("%q", why)
	}
}

// TestOtherRuns: what another run does on the same cluster is nobody's workaround.
func TestOtherRuns(t *testing.T) {
	f := newFakeCluster(t)
	other := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "sickbay-swap-on-xyzab", Name: "app"}}
	pods := f.kube.CoreV1().Pods(other.Namespace)
	if _, err := pods.Create(t.Context(), other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r := f.referee(t)
	f.shell("fix")
	if err := pods.Delete(t.Context(), "app", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	cp, err := f.kube.CoreV1().Nodes().Get(t.Context(), "cp", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cp.Spec.Unschedulable = true
	if _, err := f.kube.CoreV1().Nodes().Update(t.Context(), cp, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if v, err := r.Look(t.Context()); err != nil || !v.Well() {
		t.Errorf("%s, %v", asJSON(v), err)
	}
}
