// Package rehearsal is a cluster in memory for the tests of detectors: a fault on it is what its scenario says that it shows. Log lines are in
// the node's journal, events and conditions in the API. It needs no machine and proves nothing about a real node.
package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

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
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

// Cluster is one control plane and some workers. It is a suites.Testbed.
type Cluster struct {
	kube  *fake.Clientset
	names []string

	mu    sync.Mutex
	ill   map[string]*scenarios.Scenario // by node
	runs  map[string]string              // node → run
	known map[string]*scenarios.Scenario // of one's own
	looks int
}

// New makes a cluster. Scenarios of one's own are those that do not come with sickbay.
func New(workers int, own ...*scenarios.Scenario) *Cluster {
	c := &Cluster{names: []string{"control-plane"}, ill: map[string]*scenarios.Scenario{}, runs: map[string]string{}, known: map[string]*scenarios.Scenario{}}
	for i := range workers {
		c.names = append(c.names, fmt.Sprintf("worker-%d", i+1))
	}
	for _, sc := range own {
		c.known[sc.Metadata.Name] = sc
	}
	var nodes []runtime.Object
	for _, n := range c.names {
		nodes = append(nodes, c.node(n))
	}
	c.kube = fake.NewClientset(nodes...)
	c.kube.PrependReactor("create", "namespaces", func(a ktesting.Action) (bool, runtime.Object, error) {
		ns := a.(ktesting.CreateAction).GetObject().(*corev1.Namespace)
		return false, nil, c.kube.Tracker().Add(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: ns.Name}})
	})
	c.kube.PrependReactor("create", "pods", func(a ktesting.Action) (bool, runtime.Object, error) {
		p := a.(ktesting.CreateAction).GetObject().(*corev1.Pod)
		p.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
		return false, nil, nil
	})
	return c
}

// Timings are those of a cluster that waits for nothing.
func Timings() suites.Timings {
	t := suites.DefaultTimings()
	t.Poll, t.SlowPoll = 5*time.Millisecond, 10*time.Millisecond
	t.Quiet, t.Control, t.Settle = 50*time.Millisecond, time.Second, 200*time.Millisecond
	t.DetectorWait = time.Second
	return t
}

// Heal takes the fault off a node, as a remedy would.
func (c *Cluster) Heal(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.ill, node)
	c.publish(node)
}

func (c *Cluster) place(node, run, scenario string) error {
	sc := c.known[scenario]
	if sc == nil {
		var err error
		if sc, err = scenarios.Lookup(scenario); err != nil {
			return err
		}
	}
	for _, m := range sc.Spec.Manifest {
		if m.Log == nil && m.Event == nil && m.Condition == nil {
			return &injectors.UnsupportedError{Mechanism: "rehearsal", Reason: "scenario " + scenario + " shows more than log lines, events and conditions"}
		}
	}
	c.ill[node], c.runs[node] = sc, run
	return nil
}

// node is the Node object. The caller holds c.mu, or nobody has it yet.
func (c *Cluster) node(name string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	if name == c.names[0] {
		n.Labels[fault.ControlPlaneLabel] = ""
	}
	conditions := map[string]corev1.NodeCondition{"Ready": {Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}}
	if sc := c.ill[name]; sc != nil {
		for _, m := range sc.Spec.Manifest {
			if m.Condition != nil {
				conditions[m.Condition.Type] = corev1.NodeCondition{Type: corev1.NodeConditionType(m.Condition.Type), Status: corev1.ConditionStatus(m.Condition.Status),
					Reason: m.Condition.Reason, Message: m.Condition.Contains, LastTransitionTime: metav1.Now()}
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(conditions)) {
		n.Status.Conditions = append(n.Status.Conditions, conditions[k])
	}
	return n
}

func (c *Cluster) eventsOf(name string) []corev1.Event {
	sc := c.ill[name]
	if sc == nil {
		return nil
	}
	var out []corev1.Event
	for i, m := range sc.Spec.Manifest {
		if m.Event == nil {
			continue
		}
		id := fmt.Sprintf("%s-%d", c.runs[name], i)
		out = append(out, corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Name: id, Namespace: "default", UID: types.UID(id)}, Reason: m.Event.Reason, Message: m.Event.Contains, Type: m.Event.Type,
			InvolvedObject: corev1.ObjectReference{Kind: "Node", Name: name}, Count: 1, LastTimestamp: metav1.Now(), Source: corev1.EventSource{Component: "kubelet", Host: name},
		})
	}
	return out
}

func (c *Cluster) journal(name string) []v1alpha1.LogLine {
	var out []v1alpha1.LogLine
	if sc := c.ill[name]; sc != nil {
		for _, m := range sc.Spec.Manifest {
			if m.Log != nil {
				out = append(out, v1alpha1.LogLine{Source: m.Log.Unit, At: time.Now(), Level: "error", Text: m.Log.Contains})
			}
		}
	}
	return out
}

// publish brings the API up to date. The caller holds c.mu.
func (c *Cluster) publish(name string) {
	_ = c.kube.Tracker().Update(corev1.SchemeGroupVersion.WithResource("nodes"), c.node(name), "")
	for _, e := range c.eventsOf(name) {
		_ = c.kube.Tracker().Add(&e)
	}
}

func (c *Cluster) observe(name string) *v1alpha1.Observation {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	o := &v1alpha1.Observation{At: time.Now(), TookMS: 1}
	o.Journal.Cursor, o.Journal.Lines = fmt.Sprint(c.looks), c.journal(name)
	return o
}

// ObserveAPI is the API server's view.
func (c *Cluster) ObserveAPI(ctx context.Context, nodes []string) (map[string]*v1alpha1.API, error) {
	pods, err := c.kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]*v1alpha1.API{}
	for _, n := range nodes {
		out[n] = &v1alpha1.API{Node: c.node(n), Events: c.eventsOf(n)}
		for _, p := range pods.Items {
			if p.Spec.NodeName == n || p.Spec.NodeSelector[corev1.LabelHostname] == n {
				out[n].Pods = append(out[n].Pods, p)
			}
		}
	}
	return out, nil
}

// The rest is what suites.Testbed wants.

func (c *Cluster) Cluster() string            { return "rehearsal" }
func (c *Cluster) Runtime() string            { return "" }
func (c *Cluster) Image() string              { return "agnhost" }
func (c *Cluster) Kube() kubernetes.Interface { return c.kube }
func (c *Cluster) Records() []cluster.Record  { return nil }

func (c *Cluster) About(context.Context) (suites.About, error) {
	return suites.About{Host: "a rehearsal in memory"}, nil
}

func (c *Cluster) Target() diagnose.Target {
	t := diagnose.Target{Cluster: c.Cluster(), API: c}
	for _, n := range c.names {
		t.Nodes = append(t.Nodes, diagnose.Node{Name: n, Agent: diagnose.AgentFunc(func(context.Context, diagnose.Ask) (*v1alpha1.Observation, error) {
			return c.observe(n), nil
		})})
	}
	return t
}

// Access: the only command of a node is journalctl.
func (c *Cluster) Access() suites.Access {
	return suites.Access{
		Exec: func(string) []string { return []string{"false"} },
		Run: func(_ context.Context, node string, argv ...string) ([]byte, error) {
			if len(argv) == 0 || argv[0] != "journalctl" {
				return nil, fmt.Errorf("a node of a rehearsal has journalctl and nothing else: %s", strings.Join(argv, " "))
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			var out strings.Builder
			for _, l := range c.journal(node) {
				fmt.Fprintln(&out, l.Text)
			}
			return []byte(out.String()), nil
		},
	}
}

func (c *Cluster) Agent(_ context.Context, node string) (fault.Agent, error) {
	return &agent{c, node}, nil
}

func (c *Cluster) Claim(context.Context, string) (func(), error) { return func() {}, nil }

func (c *Cluster) Begin(context.Context, cluster.Record) (fault.RunRecord, error) {
	return record{}, nil
}
func (c *Cluster) RestoreImages(context.Context, string) error { return nil }

func (c *Cluster) Remedy(context.Context, string, *v1alpha1.Remedy, func(v1alpha1.AppliedStep)) error {
	return errors.New("a rehearsal has nothing to remedy")
}

func (c *Cluster) Fingerprint(context.Context, string, string) (suites.Fingerprint, error) {
	return nothing{}, nil
}

func (c *Cluster) Workload(context.Context, string, []byte, func(*corev1.PodSpec)) (fault.Objects, error) {
	return nothing{}, nil
}

func (c *Cluster) Rollout(context.Context, string, []byte, func(*corev1.PodSpec)) (fault.Objects, error) {
	return nil, &injectors.UnsupportedError{Mechanism: v1alpha1.MechanismWorkload, Reason: "a rehearsal runs no workloads"}
}

func (c *Cluster) StartRegistry(context.Context, string, string, v1alpha1.Registry) (*scenarios.RegistryValues, error) {
	return &scenarios.RegistryValues{Host: "registry.test"}, nil
}
func (c *Cluster) RemoveServices(context.Context, string) error { return nil }

type nothing struct{}

func (nothing) Changes(context.Context) ([]string, error) { return nil, nil }
func (nothing) List() []unstructured.Unstructured         { return nil }
func (nothing) DeleteCluster(context.Context) error       { return nil }

type record struct{}

func (record) Renew() error          { return nil }
func (record) Remedy() error         { return nil }
func (record) Leave(time.Time) error { return nil }
func (record) Release()              {}
func (record) End() error            { return nil }

type agent struct {
	c    *Cluster
	node string
}

func (a *agent) Path() string { return "/agent" }

func (a *agent) Check(_ context.Context, in injectors.Injection) (*injectors.Status, error) {
	return &injectors.Status{Injection: in}, nil
}

func (a *agent) Sign(context.Context, injectors.SignRequest) (string, error) { return "signed", nil }

func (a *agent) Inject(_ context.Context, in injectors.Injection) (*injectors.Status, error) {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	if !in.Prepared {
		if err := a.c.place(a.node, in.Run, in.Scenario); err != nil {
			return nil, err
		}
		a.c.publish(a.node)
	}
	return &injectors.Status{Injection: in, State: injectors.Injected, Fidelity: "real", Active: &injectors.Effect{Present: true, Text: "as its scenario says"}}, nil
}

func (a *agent) Recover(_ context.Context, run, _ string) ([]injectors.Status, error) {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	if a.c.runs[a.node] != run || a.c.ill[a.node] == nil {
		return nil, nil
	}
	delete(a.c.ill, a.node)
	a.c.publish(a.node)
	return []injectors.Status{{State: injectors.Recovered, Undone: []string{"what the scenario shows"}}}, nil
}

func (a *agent) Status(context.Context) ([]injectors.Status, error) { return nil, nil }
func (a *agent) Renew(context.Context, string, time.Duration) error { return nil }
