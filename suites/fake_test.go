package suites

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
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
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// world is a cluster of one control plane and some workers, small enough that a test can make every step go wrong. A fault is
// a state of a node that its observations show, a log line per look, and a NotReady condition; the fake detector reads only
// observations, as the real ones do.
type world struct {
	offers func(node string) string // of sickbay.dev/lamp; nil for none
	t      *testing.T
	kube   *fake.Clientset

	mu      sync.Mutex
	nodes   []string
	sick    map[string]string // node → failure/cause its observations show
	placed  map[string][]injectors.Injection
	renewed map[string]int
	calls   []string
	leaked  map[string][]string // node → fingerprint changes
	claimed map[string]bool
	looks   int
	// cleanups are of the tests' own process: what is injected must be in it before.
	cleanups *Cleanups

	// Knobs.
	sign                                       *injectors.SignRequest // what every check asks for
	checkErr, injectErr, recoverErr, statusErr error
	checkOf                                    string // the mechanism that checkErr is of, "" for all
	recoverFails                               int    // how often recoverErr comes; below zero: always
	stale                                      []injectors.Status
	noEffect                                   bool
	contained                                  string
	silentFault                                bool              // no log line
	oldLine                                    bool              // the line is there before the fault
	blindAfterRemedy                           bool              // the agent does not answer any more
	show                                       map[string]string // injected mechanism → what observations show, "sick" by default
	remedyErr, beginErr                        error
	remedyWorks                                bool
	behind                                     string // shows after the first remedy
	blindCures                                 bool   // a blind restart cures it
	blindMakes                                 string // a blind restart makes this of it
	blindBreaks                                bool   // after a blind restart containers restart until the node is recovered
	healsAfter                                 int    // looks at the ill node after which it is well by itself
	remedies                                   int
	comesBack                                  int // looks after the remedy after which it is back
	back                                       int
	restarting                                 bool
	restarts                                   int32 // told so far, one more at every look
	proofFails                                 bool
	podsFail                                   bool
	leak                                       string // what inject leaves behind for ever
	hostLeak                                   string
	undoneBefore                               bool // the remedy leaves the injector something to undo
	running                                    map[string]bool
	together                                   [][]string
	onInject                                   func()
}

func newWorld(t *testing.T, workers ...string) *world {
	w := &world{
		t: t, nodes: append([]string{"cp"}, workers...), sick: map[string]string{}, placed: map[string][]injectors.Injection{},
		renewed: map[string]int{}, leaked: map[string][]string{}, claimed: map[string]bool{}, remedyWorks: true,
		show: map[string]string{}, running: map[string]bool{}, cleanups: &Cleanups{},
	}
	var objects []runtime.Object
	for _, n := range w.nodes {
		objects = append(objects, w.node(n))
	}
	w.kube = fake.NewClientset(objects...)
	w.kube.PrependReactor("create", "namespaces", func(a ktesting.Action) (bool, runtime.Object, error) {
		ns := a.(ktesting.CreateAction).GetObject().(*corev1.Namespace)
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: ns.Name}}
		return false, nil, w.kube.Tracker().Add(sa)
	})
	w.kube.PrependReactor("create", "pods", func(a ktesting.Action) (bool, runtime.Object, error) {
		p := a.(ktesting.CreateAction).GetObject().(*corev1.Pod)
		w.mu.Lock()
		fails := w.podsFail || (w.proofFails && p.Name == "proof")
		w.mu.Unlock()
		p.Status.Phase = corev1.PodRunning
		if !fails {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		} else {
			p.Status.Phase = corev1.PodPending
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}}}
		}
		return false, nil, nil
	})
	return w
}

func (w *world) node(name string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	if name == "cp" {
		n.Labels[fault.ControlPlaneLabel] = ""
	}
	status, reason := corev1.ConditionTrue, "KubeletReady"
	if w.sick[name] != "" {
		status, reason = corev1.ConditionFalse, "KubeletNotReady"
	}
	if w.offers != nil {
		n.Status.Allocatable = corev1.ResourceList{"sickbay.dev/lamp": resource.MustParse(w.offers(name))}
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status, Reason: reason, Message: w.sick[name]}}
	return n
}

func (w *world) call(format string, args ...any) {
	w.calls = append(w.calls, fmt.Sprintf(format, args...))
}

func (w *world) setNode(name string) {
	if err := w.kube.Tracker().Update(corev1.SchemeGroupVersion.WithResource("nodes"), w.node(name), ""); err != nil {
		w.t.Error(err)
	}
}

func (w *world) observe(name string, ask diagnose.Ask) (*v1alpha1.Observation, error) {
	time.Sleep(time.Millisecond) // a look takes time, also by a clock that jumps
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	if w.blindAfterRemedy && w.remedies > 0 {
		return nil, errors.New("exec: no answer")
	}
	o := &v1alpha1.Observation{At: time.Now(), TookMS: 3, Units: map[string]v1alpha1.Unit{"kubelet": {Name: "kubelet", SubState: "running"}}}
	o.Journal.Cursor = fmt.Sprint(w.looks)
	if w.comesBack > 0 && w.remedies > 0 && len(w.placed[name]) > 0 {
		if w.back++; w.back > w.comesBack {
			w.sick[name] = "cni/conflist-missing"
			w.setNode(name)
		}
	}
	if w.healsAfter > 0 && w.sick[name] != "" {
		if w.healsAfter--; w.healsAfter == 0 {
			delete(w.sick, name)
			w.setNode(name)
		}
	}
	o.Runtime.LastCNILoad = w.sick[name]
	line := v1alpha1.LogLine{Source: "kubelet", At: time.Now(), Level: "error", Text: "E1 cni plugin not initialized"}
	if w.sick[name] != "" && !w.silentFault {
		o.Journal.Lines = append(o.Journal.Lines, line)
	}
	if w.oldLine && ask.Cursor == "" {
		line.At = time.Now().Add(-time.Minute)
		o.Journal.Lines = append(o.Journal.Lines, line)
	}
	return o, nil
}

// ObserveAPI is the API server's view.
func (w *world) ObserveAPI(_ context.Context, nodes []string) (map[string]*v1alpha1.API, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]*v1alpha1.API{}
	for _, n := range nodes {
		api := &v1alpha1.API{Node: w.node(n)}
		if w.restarting && w.remedies > 0 {
			w.restarts++
			api.Pods = []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "app"}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", RestartCount: w.restarts}}}}}
		}
		if w.sick[n] != "" {
			api.Events = []corev1.Event{{ObjectMeta: metav1.ObjectMeta{UID: types.UID(n)}, Reason: "NodeNotReady", Count: 1, LastTimestamp: metav1.Now(), InvolvedObject: corev1.ObjectReference{Kind: "Node", Name: n}}}
		}
		out[n] = api
	}
	return out, nil
}

// judge is the fake detector: it knows only observations.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	o := h.Last()
	if o.Runtime.LastCNILoad == "" {
		return nil
	}
	var out []v1alpha1.Finding
	for _, s := range strings.Split(o.Runtime.LastCNILoad, "+") {
		failure, cause, _ := strings.Cut(s, "/")
		f := v1alpha1.Finding{Failure: failure, Cause: cause, Node: o.Node, Certainty: v1alpha1.Certain, Summary: s + " it is",
			Evidence: []v1alpha1.Evidence{{Source: "runtime.status", Text: o.Runtime.LastCNILoad}}}
		if cause != "no-remedy" {
			f.Remedy = &v1alpha1.Remedy{Name: "cure-" + cause, Steps: []v1alpha1.Step{{Run: "cure " + s, Why: "it is ill", On: o.Node, Exec: []string{"cure"}, Class: v1alpha1.Safe}}}
			if cause == "destroys" {
				f.Remedy.Steps[0].Class = v1alpha1.Destructive
			}
		}
		out = append(out, f)
	}
	return out
}

type fakeAgent struct {
	w    *world
	node string
}

func (a *fakeAgent) Path() string { return "/agent" }

func (a *fakeAgent) Check(_ context.Context, in injectors.Injection) (*injectors.Status, error) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.w.call("check %s %s", a.node, in.Mechanism)
	if a.w.checkOf != "" && a.w.checkOf != in.Mechanism {
		return &injectors.Status{Injection: in}, nil
	}
	return &injectors.Status{Injection: in, Sign: a.w.sign}, a.w.checkErr
}

func (a *fakeAgent) Sign(_ context.Context, r injectors.SignRequest) (string, error) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.w.call("sign %s %s", a.node, r.Certificate)
	return "signed " + r.Certificate, nil
}

func (a *fakeAgent) Inject(ctx context.Context, in injectors.Injection) (*injectors.Status, error) {
	w := a.w
	w.mu.Lock()
	for _, p := range w.placed[a.node] {
		if p.Run != in.Run || p.ID == in.ID {
			w.mu.Unlock()
			return nil, fmt.Errorf("%s of run %s is there already", p.ID, p.Run)
		}
	}
	if !slices.ContainsFunc(w.cleanups.Pending(), func(p string) bool { return strings.Contains(p, in.Run) }) {
		w.t.Errorf("inject %s: no recovery was registered before the first change", in.Mechanism)
	}
	w.call("inject %s %s", a.node, in.Mechanism)
	w.placed[a.node] = append(w.placed[a.node], in)
	if w.leak != "" {
		w.leaked[a.node] = append(w.leaked[a.node], w.leak)
	}
	if !in.Prepared {
		show, ok := w.show[in.Mechanism]
		if !ok {
			show = "cni/conflist-missing"
		}
		w.sick[a.node] = show
		w.setNode(a.node)
		w.running[a.node] = true
		var now []string
		for n := range w.running {
			now = append(now, n)
		}
		slices.Sort(now)
		w.together = append(w.together, now)
	}
	err, hook := w.injectErr, w.onInject
	fidelity := "real"
	if w.contained != "" {
		fidelity = "contained"
	}
	st := &injectors.Status{Injection: in, State: injectors.Injected, Fidelity: fidelity, Differs: w.contained, Active: &injectors.Effect{Present: !w.noEffect, Text: "conflist gone"}}
	w.mu.Unlock()
	if hook != nil {
		hook()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return st, err
}

func (a *fakeAgent) Recover(ctx context.Context, run, id string) ([]injectors.Status, error) {
	w := a.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		w.t.Error("recover was called on a context that had ended")
	}
	w.call("recover %s %s", a.node, id)
	if w.recoverErr != nil && w.recoverFails != 0 {
		w.recoverFails--
		return nil, w.recoverErr
	}
	var out []injectors.Status
	var keep []injectors.Injection
	for _, in := range w.placed[a.node] {
		if in.Run != run || (id != "" && in.ID != id) {
			keep = append(keep, in)
			continue
		}
		st := injectors.Status{Injection: in, State: injectors.Recovered}
		if in.Prepared {
			st.Undone = []string{"unmounted"}
		} else {
			if w.sick[a.node] != "" || w.undoneBefore {
				st.Undone = []string{"restored conflist"}
			}
			delete(w.sick, a.node)
			delete(w.running, a.node)
			w.restarting = w.restarting && !w.blindBreaks
			w.setNode(a.node)
		}
		out = append(out, st)
	}
	w.placed[a.node] = keep
	return out, nil
}

func (a *fakeAgent) Status(context.Context) ([]injectors.Status, error) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	out := slices.Clone(a.w.stale)
	for _, in := range a.w.placed[a.node] {
		out = append(out, injectors.Status{Injection: in, State: injectors.Injected})
	}
	return out, a.w.statusErr
}

func (a *fakeAgent) Renew(_ context.Context, run string, lease time.Duration) error {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.w.renewed[a.node]++
	a.w.call("renew %s %s", run, lease)
	return nil
}

type fakeTestbed struct{ *world }

func (l fakeTestbed) Cluster() string { return "fake" }
func (l fakeTestbed) Runtime() string { return "" }

func (l fakeTestbed) About(context.Context) (About, error) {
	return About{Kubernetes: "v1.37.2", Host: "fake host", Kind: v1alpha1.HostKind{CgroupVersion: 2, LSMs: []string{"apparmor"}, Virtualization: "none"}}, nil
}

func (l fakeTestbed) Target() diagnose.Target {
	t := diagnose.Target{Cluster: "fake", API: l.world}
	for _, n := range l.nodes {
		t.Nodes = append(t.Nodes, diagnose.Node{Name: n, Agent: diagnose.AgentFunc(func(_ context.Context, ask diagnose.Ask) (*v1alpha1.Observation, error) {
			return l.observe(n, ask)
		})})
	}
	return t
}

func (l fakeTestbed) Kube() kubernetes.Interface { return l.kube }

func (l fakeTestbed) Access() Access {
	return Access{Kubeconfig: "/fake/kubeconfig", Exec: func(node string) []string { return []string{"reach", node} },
		Run: func(_ context.Context, node string, argv ...string) ([]byte, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			return []byte(l.sick[node]), nil
		}}
}

func (l fakeTestbed) Agent(_ context.Context, node string) (fault.Agent, error) {
	return &fakeAgent{l.world, node}, nil
}

type fakeObjects struct {
	list    []unstructured.Unstructured
	deleted *bool
}

func (o fakeObjects) List() []unstructured.Unstructured   { return o.list }
func (o fakeObjects) DeleteCluster(context.Context) error { *o.deleted = true; return nil }

func (l fakeTestbed) Workload(ctx context.Context, ns string, manifest []byte, adjust func(*corev1.PodSpec)) (fault.Objects, error) {
	var pod corev1.Pod
	if err := json.Unmarshal(manifest, &pod); err != nil {
		return nil, err
	}
	adjust(&pod.Spec)
	if _, err := l.kube.CoreV1().Pods(ns).Create(ctx, &pod, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	return fakeObjects{nil, new(bool)}, nil
}

func (l fakeTestbed) Rollout(_ context.Context, ns string, manifest []byte, _ func(*corev1.PodSpec)) (fault.Objects, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.call("rollout %s %s", ns, manifest)
	node := l.nodes[1]
	l.sick[node] = "cni/conflist-missing"
	l.setNode(node)
	return fakeObjects{nil, new(bool)}, nil
}

func (l fakeTestbed) StartRegistry(_ context.Context, run, node string, _ v1alpha1.Registry) (*scenarios.RegistryValues, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.call("registry %s", node)
	return &scenarios.RegistryValues{Host: "registry." + run + ".test"}, nil
}

func (l fakeTestbed) RemoveServices(context.Context, string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.call("remove services")
	return nil
}

func (l fakeTestbed) Image() string { return "agnhost:test" }

func (l fakeTestbed) Claim(_ context.Context, node string) (func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claimed[node] {
		return nil, fmt.Errorf("%s is held by process 42 (sickbay run other)", node)
	}
	l.claimed[node] = true
	return func() { l.mu.Lock(); defer l.mu.Unlock(); delete(l.claimed, node) }, nil
}

// fakeHold notes the life of a run's record.
type fakeHold struct {
	l    fakeTestbed
	node string
}

func (l fakeTestbed) Records() []cluster.Record { return nil }

func (l fakeTestbed) Begin(_ context.Context, r cluster.Record) (fault.RunRecord, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.call("begin %s", r.Node)
	return fakeHold{l, r.Node}, l.beginErr
}

func (h fakeHold) note(what string) {
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	h.l.call("%s %s", what, h.node)
}

func (h fakeHold) Renew() error          { return nil }
func (h fakeHold) Remedy() error         { return nil }
func (h fakeHold) Leave(time.Time) error { h.note("leave"); return nil }
func (h fakeHold) Release()              { h.note("release") }
func (h fakeHold) End() error            { h.note("end"); return nil }

func (l fakeTestbed) Remedy(ctx context.Context, node string, remedy *v1alpha1.Remedy, done func(v1alpha1.AppliedStep)) error {
	l.mu.Lock()
	l.call("remedy %s %s", node, remedy.Name)
	err := l.remedyErr
	if remedy.Name == string(v1alpha1.ControlBlindRestart) {
		err = nil
		switch {
		case l.blindCures:
			delete(l.sick, node)
		case l.blindBreaks:
			l.restarting = true
		case l.blindMakes != "":
			l.sick[node] = l.blindMakes
		}
		l.setNode(node)
	} else if l.remedies++; err == nil && l.remedyWorks {
		delete(l.sick, node)
		if l.behind != "" {
			l.sick[node], l.behind = l.behind, ""
		}
		l.setNode(node)
	}
	l.mu.Unlock()
	for _, s := range remedy.Steps {
		a := v1alpha1.AppliedStep{Step: s, Started: time.Now(), Ended: time.Now()}
		if err != nil {
			a.Error = err.Error()
		}
		done(a)
	}
	return errors.Join(err, ctx.Err())
}

type fakeFingerprint struct {
	l      fakeTestbed
	node   string
	before int
}

func (m fakeFingerprint) Changes(context.Context) ([]string, error) {
	m.l.mu.Lock()
	defer m.l.mu.Unlock()
	if m.node == HostNode {
		if m.l.hostLeak != "" {
			return []string{m.l.hostLeak}, nil
		}
		return nil, nil
	}
	return slices.Clone(m.l.leaked[m.node][m.before:]), nil
}

func (l fakeTestbed) Fingerprint(_ context.Context, node, _ string) (Fingerprint, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fakeFingerprint{l, node, len(l.leaked[node])}, nil
}

func (l fakeTestbed) RestoreImages(context.Context, string) error { return nil }

// quick are timings for tests: everything that passes takes milliseconds, everything that fails a fraction of a second.
func quick() Timings {
	steps := map[v1alpha1.StepName]time.Duration{}
	for _, s := range v1alpha1.Steps() {
		// A step of the fake lab takes 20 ms; under -race on a busy machine it was seen to take more than 400 ms.
		steps[s] = 1500 * time.Millisecond
	}
	steps[v1alpha1.StepResidue] = 2 * time.Second
	return Timings{
		Steps: steps, Timings: fault.Timings{
			Poll: 2 * time.Millisecond, SlowPoll: 4 * time.Millisecond, SlowAfter: time.Second, Lease: 30 * time.Millisecond, Call: time.Second,
		},
		Quiet: 20 * time.Millisecond, QuietLooks: 3, SureLooks: 2, Control: 300 * time.Millisecond, Settle: 50 * time.Millisecond,
		Recovery: 5 * time.Second,
	}
}

func scenario(change ...func(*scenarios.Scenario)) *scenarios.Scenario {
	s := &scenarios.Scenario{}
	s.Metadata.Name = "conflist-missing"
	s.Spec.Title = "The CNI configuration is gone"
	s.Spec.Profile = "core"
	s.Spec.Fidelity.Level = "real"
	s.Spec.Inject = []v1alpha1.Action{{Mechanism: "cni-config"}}
	s.Spec.Manifest = []v1alpha1.Matcher{
		{Log: &v1alpha1.LogMatcher{Unit: "kubelet", Contains: "cni plugin not initialized"}},
		{Condition: &v1alpha1.ConditionMatcher{Type: "Ready", Status: "False"}},
		{Event: &v1alpha1.EventMatcher{Reason: "NodeNotReady"}},
	}
	s.Spec.Expect = []v1alpha1.Expected{{Failure: "cni", Cause: "conflist-missing"}}
	for _, c := range change {
		c(s)
	}
	return s
}

func options(change ...func(*Options)) Options {
	o := Options{Timings: quick(), Judge: judge}
	for _, c := range change {
		c(&o)
	}
	return o
}

// options are those with the world's clean-ups.
func (w *world) options(change ...func(*Options)) Options {
	return options(append(change, func(o *Options) { o.Cleanups = w.cleanups })...)
}

// interruptAt is a progress sink that calls f when the named step begins.
type interruptAt struct {
	step string
	f    func()
}

func (i interruptAt) Start(title string, bound time.Duration) progress.Task {
	if strings.Contains(title, "· "+i.step+" ·") {
		i.f()
	}
	return progress.Discard.Start(title, bound)
}
func (i interruptAt) Note(string, ...any) {}
