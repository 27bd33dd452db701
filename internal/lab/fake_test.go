package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/scenarios"
)

const victim, run, namespace = "w1", "l99-abcde", "sickbay-l99-abcde"

// fakeCluster is a cluster of one control plane and one worker, whose scripts are a handful of words.
type fakeCluster struct {
	t  *testing.T
	mu sync.Mutex

	ill       bool
	returns   bool // the illness, at a restart of a unit
	unfixable bool // the right fix does nothing
	hidden    int  // how often a hint is asked before the fault shows in it
	recovered bool // the node's journal is empty
	output    string
	kept      string
	eviction  map[string]string
	injected  []injectors.Injection
	records   []cluster.Record
	scripts   []string // that were run

	kube *fake.Clientset
}

func newFakeCluster(t *testing.T) *fakeCluster {
	f := &fakeCluster{t: t, ill: true, output: "active journal", kept: "uuid-1", eviction: map[string]string{"nodefs.available": "10%"}}
	one := int32(1)
	probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz"}}, PeriodSeconds: 10, FailureThreshold: 3}
	spec := corev1.PodSpec{NodeName: victim, Containers: []corev1.Container{{Name: "shop", LivenessProbe: probe, Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"memory": {}}}}}}
	meta := func(ns, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: ns, Name: name, UID: types.UID(name)}
	}
	f.kube = fake.NewClientset(
		f.node("cp"), f.node(victim),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&appsv1.Deployment{ObjectMeta: meta(namespace, "shop"), Spec: appsv1.DeploymentSpec{Replicas: &one, Template: corev1.PodTemplateSpec{Spec: spec}}, Status: appsv1.DeploymentStatus{AvailableReplicas: 1}},
		&appsv1.DaemonSet{ObjectMeta: meta("kube-system", "kube-proxy"), Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 1, NumberReady: 1}},
		&corev1.Pod{ObjectMeta: meta(namespace, "app"), Spec: spec, Status: ready()},
	)
	f.kube.PrependReactor("create", "namespaces", func(a ktesting.Action) (bool, runtime.Object, error) {
		ns := a.(ktesting.CreateAction).GetObject().(*corev1.Namespace)
		return false, nil, f.kube.Tracker().Add(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: ns.Name}})
	})
	f.kube.PrependReactor("create", "pods", func(a ktesting.Action) (bool, runtime.Object, error) {
		a.(ktesting.CreateAction).GetObject().(*corev1.Pod).Status = ready()
		return false, nil, nil
	})
	f.kube.PrependReactor("create", "deployments", func(a ktesting.Action) (bool, runtime.Object, error) {
		a.(ktesting.CreateAction).GetObject().(*appsv1.Deployment).Status.AvailableReplicas = 1
		return false, nil, nil
	})
	// The fake knows no scale: it is the deployment's own field.
	f.kube.PrependReactor("get", "deployments", func(a ktesting.Action) (bool, runtime.Object, error) {
		return a.GetSubresource() == "scale", &autoscalingv1.Scale{}, nil
	})
	f.kube.PrependReactor("update", "deployments", func(a ktesting.Action) (bool, runtime.Object, error) {
		if a.GetSubresource() != "scale" {
			return false, nil, nil
		}
		s := a.(ktesting.UpdateAction).GetObject().(*autoscalingv1.Scale)
		// A reactor holds the client's lock: it may only ask the tracker.
		x, err := f.kube.Tracker().Get(appsv1.SchemeGroupVersion.WithResource("deployments"), namespace, "shop")
		if err == nil {
			d := x.(*appsv1.Deployment).DeepCopy()
			d.Spec.Replicas = &s.Spec.Replicas
			err = f.kube.Tracker().Update(appsv1.SchemeGroupVersion.WithResource("deployments"), d, namespace)
		}
		return true, s, err
	})
	return f
}

func ready() corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
}

func (f *fakeCluster) node(name string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name)}}
	if name == "cp" {
		n.Labels = map[string]string{fault.ControlPlaneLabel: ""}
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	return n
}

func (f *fakeCluster) edit(change func(*corev1.Node)) {
	n, err := f.kube.CoreV1().Nodes().Get(f.t.Context(), victim, metav1.GetOptions{})
	if err == nil {
		change(n)
		_, err = f.kube.CoreV1().Nodes().Update(f.t.Context(), n, metav1.UpdateOptions{})
	}
	if err != nil {
		f.t.Error(err)
	}
}

// shell is what the scripts of the fake's labs do.
func (f *fakeCluster) shell(script string) (out string, yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scripts = append(f.scripts, script)
	switch {
	case script == "well?":
		return "", !f.ill
	case script == "ill?" && f.hidden > 0:
		f.hidden--
		return "", false
	case script == "ill?":
		return "", f.ill
	case script == "fix" && f.hidden > 0:
		return "there is nothing to fix yet", false
	case script == "fix":
		f.ill = f.unfixable
		return "", true
	case script == "break":
		f.ill = true
		return "", true
	case script == "mkfs":
		f.ill, f.kept = false, "uuid-2"
		return "", true
	case script == "keep?":
		return f.kept, true
	case script == outputScript:
		return f.output, true
	case strings.Contains(script, "StandardOutput=null"):
		f.output = "silenced"
		return "", true
	case strings.Contains(script, "rm /etc/systemd/system/kubelet.service.d/99-quiet"):
		f.output = "active journal"
		return "", true
	case script == "kubectl cordon $NODE", script == "kubectl uncordon $NODE":
		f.edit(func(n *corev1.Node) { n.Spec.Unschedulable = !strings.Contains(script, "un") })
		return "", true
	case strings.Contains(script, "systemctl"):
		f.ill = f.ill || f.returns && strings.HasPrefix(script, "systemctl restart")
		return "", true
	case script == "true":
		return "", true
	}
	return "no such script: " + script, false
}

// fakeNode is one of its nodes.
type fakeNode struct {
	node.Node
	f    *fakeCluster
	name string
}

func (n fakeNode) Run(_ context.Context, c node.Command) ([]byte, error) {
	if !slices.Contains(c.Argv, "NODE="+victim) || !slices.Contains(c.Argv, "NAMESPACE="+namespace) {
		n.f.t.Errorf("a script lacks its variables: %q", c.Argv)
	}
	out, yes := n.f.shell(c.Argv[len(c.Argv)-1])
	if !yes {
		return nil, &node.ExitError{Node: n.name, Argv: c.Argv, Code: 1, Output: out}
	}
	return []byte(out), nil
}

func (n fakeNode) Put(context.Context, string, os.FileMode, io.Reader) error { return nil }

// fakeBed is it as a testbed.
type fakeBed struct {
	fault.Testbed
	*fakeCluster
}

func (b fakeBed) Cluster() string            { return "fake" }
func (b fakeBed) Runtime() string            { return "" }
func (b fakeBed) Kube() kubernetes.Interface { return b.kube }
func (b fakeBed) Image() string              { return "agnhost:test" }

func (b fakeBed) Agent(_ context.Context, on string) (fault.Agent, error) {
	return fakeAgent{f: b.fakeCluster, on: on}, nil
}

func (b fakeBed) Target() diagnose.Target {
	observe := func(context.Context, diagnose.Ask) (*v1alpha1.Observation, error) {
		o := &v1alpha1.Observation{At: time.Now()}
		b.mu.Lock()
		defer b.mu.Unlock()
		o.Kubelet.File.EvictionHard = b.eviction
		if b.ill {
			o.Runtime.LastCNILoad = "ill"
		}
		return o, nil
	}
	api := diagnose.APIFunc(func(ctx context.Context, names []string) (map[string]*v1alpha1.API, error) {
		out := map[string]*v1alpha1.API{}
		for _, n := range names {
			x, err := b.kube.CoreV1().Nodes().Get(ctx, n, metav1.GetOptions{})
			if err != nil {
				return nil, err
			}
			out[n] = &v1alpha1.API{Node: x}
		}
		return out, nil
	})
	return diagnose.Target{Cluster: "fake", API: api, Nodes: []diagnose.Node{{Name: victim, Agent: diagnose.AgentFunc(observe)}}}
}

func (b fakeBed) Begin(_ context.Context, r cluster.Record) (fault.RunRecord, error) {
	b.records = append(b.records, r)
	return fakeRecord{}, nil
}

func (b fakeBed) Workload(context.Context, string, []byte, func(*corev1.PodSpec)) (fault.Objects, error) {
	return fakeObjects{}, nil
}

func (b fakeBed) Rollout(context.Context, string, []byte, func(*corev1.PodSpec)) (fault.Objects, error) {
	return fakeObjects{}, nil
}

func (b fakeBed) StartRegistry(_ context.Context, run, _ string, _ v1alpha1.Registry) (*scenarios.RegistryValues, error) {
	return &scenarios.RegistryValues{Host: "registry-" + run}, nil
}

type fakeObjects struct{}

func (fakeObjects) List() []unstructured.Unstructured   { return nil }
func (fakeObjects) DeleteCluster(context.Context) error { return nil }

type fakeRecord struct{}

func (fakeRecord) Renew() error          { return nil }
func (fakeRecord) Remedy() error         { return nil }
func (fakeRecord) Leave(time.Time) error { return nil }
func (fakeRecord) Release()              {}
func (fakeRecord) End() error            { return nil }

type fakeAgent struct {
	fault.Agent
	f  *fakeCluster
	on string
}

func (a fakeAgent) Path() string { return "/agent" }
func (a fakeAgent) Check(context.Context, injectors.Injection) (*injectors.Status, error) {
	return &injectors.Status{}, nil
}

func (a fakeAgent) Inject(_ context.Context, in injectors.Injection) (*injectors.Status, error) {
	a.f.injected = append(a.f.injected, in)
	return &injectors.Status{Injection: in, Active: &injectors.Effect{Present: true, Text: "it is ill"}}, nil
}

func (a fakeAgent) Status(context.Context) ([]injectors.Status, error) {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	if a.f.recovered {
		return nil, nil
	}
	var out []injectors.Status
	for _, in := range a.f.injected {
		out = append(out, injectors.Status{Injection: in, State: injectors.Injected})
	}
	return out, nil
}

func (a fakeAgent) Recover(context.Context, string, string) ([]injectors.Status, error) {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	a.f.recovered, a.f.ill = true, false
	return nil, nil
}

// detector finds the fake's illness.
func detector(h v1alpha1.History) []v1alpha1.Finding {
	if h.Last().Runtime.LastCNILoad != "ill" {
		return nil
	}
	return []v1alpha1.Finding{{Failure: "cni", Cause: "conflist-missing", Node: h.Last().Node, Remedy: &v1alpha1.Remedy{Name: "fix"}}}
}

const fakeLab = `apiVersion: sickbay.dev/v1alpha1
kind: Lab
metadata: {name: try}
spec:
  code: L99
  level: 1
  topic: network
  minutes: 10
  story: {en: something is off, ko: 무언가 이상하다}
  goals: [{says: {en: it works}, holds: {node: "well?"}}]
  keeps: "keep?"
  hints:
    - {says: {en: look here}, while: {node: "ill?"}}
    - {says: {en: it is this}, while: {node: "well?", not: true}}
  mutants:
    - name: cordon
    - name: silence
    - name: delete-workload
    - name: scale-down
    - name: restart-kubelet
    - name: nothing
      does: [{cluster: "true"}]
      undo: [{node: "true"}]
      refused: still-ill
    - name: recover
    - name: a-new-filesystem
      does: [{node: mkfs}]
      refused: healthy-destroyed
  solve:
    - name: by-hand
      does: [{node: fix}]
`

func (f *fakeCluster) world(t *testing.T) *World {
	t.Helper()
	l, err := scenarios.ParseLab([]byte(fakeLab), "lab.yaml", "try")
	if err != nil {
		t.Fatal(err)
	}
	s := &scenarios.Scenario{}
	s.Metadata.Name = "try"
	s.Spec.Expect = []v1alpha1.Expected{{Failure: "cni", Cause: "conflist-missing"}}
	bed := fakeBed{fakeCluster: f}
	f.injected = []injectors.Injection{{ID: run + "-i1", Run: run}}
	return &World{
		Testbed: bed, Course: &scenarios.Course{Scenario: s, Of: l}, ControlPlane: "cp", Judge: detector, Pause: time.Millisecond,
		Node:    func(name string) node.Node { return fakeNode{f: f, name: name} },
		Session: fault.New(bed, fault.Options{Scenario: s, Run: run, Node: victim}),
		Placed:  map[string][]string{victim: {run + "-i1"}},
		Remedy: func(_ context.Context, _ string, _ *v1alpha1.Remedy, _ func(v1alpha1.AppliedStep)) error {
			f.shell("fix")
			return nil
		},
	}
}

var quick = Timings{Poll: time.Millisecond, Settle: 2 * time.Second, Quiet: 5 * time.Millisecond, Restart: time.Second}

func (f *fakeCluster) referee(t *testing.T) *Referee {
	w := f.world(t)
	before, err := w.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &Referee{World: w, Before: before, Timings: quick}
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(b)
}
