package remedy

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/node"
)

// fakeNode records what is run on it; a command whose words contain fail exits with 3.
type fakeNode struct {
	ran  []string
	in   map[string]string
	fail string
	hang bool
}

func (f *fakeNode) Name() string                         { return "w" }
func (f *fakeNode) Arch(context.Context) (string, error) { return "amd64", nil }
func (f *fakeNode) Run(ctx context.Context, c node.Command) ([]byte, error) {
	words := strings.Join(c.Argv, " ")
	f.ran = append(f.ran, words)
	if c.Stdin != nil {
		b, err := io.ReadAll(c.Stdin)
		if err != nil {
			return nil, err
		}
		f.in[words] = string(b)
	}
	if f.hang {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if f.fail != "" && strings.Contains(words, f.fail) {
		return []byte("half"), &node.ExitError{Node: "w", Argv: c.Argv, Code: 3, Output: "no"}
	}
	return []byte("did " + words), nil
}

func (f *fakeNode) Put(_ context.Context, path string, mode os.FileMode, content io.Reader) error {
	b, err := io.ReadAll(content)
	f.ran = append(f.ran, "put "+path+" "+mode.String())
	f.in[path] = string(b)
	return err
}

func worker(ready corev1.ConditionStatus) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "w"},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready, Reason: "Because"}}},
	}
}

func target(objects ...runtime.Object) (Target, *fakeNode, *fake.Clientset) {
	n := &fakeNode{in: map[string]string{}}
	kube := fake.NewClientset(objects...)
	return Target{
		Kube: kube,
		Nodes: func(name string) (node.Node, bool) {
			return n, name == "w"
		},
	}, n, kube
}

func plan(steps ...v1alpha1.Step) v1alpha1.Remedy {
	return v1alpha1.Remedy{Name: "cure", Steps: steps}
}

func verb(v string) v1alpha1.Step {
	return detectors.APIStep(v1alpha1.Safe, "because", v1alpha1.APIAction{Verb: v, Object: &v1alpha1.ObjectRef{Kind: "Node", Name: "w"}})
}

func unschedulable(t *testing.T, kube *fake.Clientset) bool {
	t.Helper()
	n, err := kube.CoreV1().Nodes().Get(t.Context(), "w", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return n.Spec.Unschedulable
}

func TestStepsRunInOrderAndKeepTheirOutput(t *testing.T) {
	tg, n, kube := target(worker(corev1.ConditionTrue))
	var cordonedMeanwhile bool
	var told []string
	res, err := Apply(t.Context(), tg, plan(verb("cordon"), detectors.NodeStep(v1alpha1.Safe, "w", "because", "one", "two words"), verb("wait-ready"), verb("uncordon")),
		Options{OnStep: func(s StepResult) {
			if s.Ended.IsZero() {
				told = append(told, s.Step.Run)
			}
			if s.Index == 1 && !s.Ended.IsZero() {
				cordonedMeanwhile = unschedulable(t, kube)
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(n.ran, []string{"one two words"}) || res.Steps[1].Output != "did one two words" {
		t.Errorf("ran %q, output %q", n.ran, res.Steps[1].Output)
	}
	if !cordonedMeanwhile || unschedulable(t, kube) {
		t.Error("the node must be cordoned during the disruptive step and not after")
	}
	for i, s := range res.Steps {
		if !s.Done() || s.Step.Run != told[i] {
			t.Errorf("step %d: %+v, told %q", i, s, told[i])
		}
	}
}

func TestAFailingStepStopsThePlanButUncordons(t *testing.T) {
	tg, n, kube := target(worker(corev1.ConditionTrue))
	n.fail = "break"
	res, err := Apply(t.Context(), tg, plan(verb("cordon"), detectors.NodeStep(v1alpha1.Safe, "w", "", "break"), detectors.NodeStep(v1alpha1.Safe, "w", "", "later"), verb("uncordon")), Options{})
	var step *StepError
	var exit *node.ExitError
	if !errors.As(err, &step) || step.Number != 2 || step.Of != 4 || !errors.As(err, &exit) || exit.Code != 3 {
		t.Errorf("err = %v", err)
	}
	if !slices.Equal(n.ran, []string{"break"}) {
		t.Errorf("ran %q after the failure", n.ran)
	}
	if unschedulable(t, kube) {
		t.Error("the node was left cordoned")
	}
	if res.Steps[1].Done() || res.Steps[1].Error == "" || res.Steps[1].Output != "half" || res.Steps[2].Skipped == "" || !res.Steps[3].Done() {
		t.Errorf("results %+v", res.Steps)
	}
}

func TestAPlanThatNeverCordonedDoesNotUncordon(t *testing.T) {
	n := worker(corev1.ConditionTrue)
	n.Spec.Unschedulable = true
	tg, f, kube := target(n)
	f.fail = "break"
	if _, err := Apply(t.Context(), tg, plan(detectors.NodeStep(v1alpha1.Safe, "w", "", "break"), verb("uncordon")), Options{}); err == nil {
		t.Fatal("no error")
	}
	if !unschedulable(t, kube) {
		t.Error("a node somebody else cordoned was uncordoned by a plan that failed")
	}
}

func TestInterruptedPlanUncordons(t *testing.T) {
	tg, n, kube := target(worker(corev1.ConditionTrue))
	n.hang = true
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("ctrl-c")
	_, err := Apply(ctx, tg, plan(verb("cordon"), detectors.NodeStep(v1alpha1.Safe, "w", "", "slow"), verb("uncordon")), Options{OnStep: func(s StepResult) {
		if s.Index == 1 && s.Ended.IsZero() {
			cancel(stopped)
		}
	}})
	if !errors.Is(err, stopped) {
		t.Errorf("err = %v", err)
	}
	if unschedulable(t, kube) {
		t.Error("the node was left cordoned")
	}
}

func TestStepsAreBounded(t *testing.T) {
	tg, n, _ := target(worker(corev1.ConditionFalse))
	n.hang = true
	quick := Bounds{Exec: 20 * time.Millisecond, WaitReady: 20 * time.Millisecond}
	for _, s := range []v1alpha1.Step{detectors.NodeStep(v1alpha1.Safe, "w", "", "slow"), verb("wait-ready")} {
		_, err := Apply(t.Context(), tg, plan(s), Options{Bounds: quick})
		if err == nil || !strings.Contains(err.Error(), "not done within 20ms") {
			t.Errorf("%s: %v", s.Run, err)
		}
	}
}

func TestDryRunTouchesNothing(t *testing.T) {
	tg, n, kube := target(worker(corev1.ConditionTrue))
	kube.ClearActions()
	res, err := Apply(t.Context(), tg, plan(verb("cordon"), detectors.NodeStep(v1alpha1.Safe, "w", "", "one")), Options{DryRun: true})
	if err != nil || len(n.ran) != 0 || len(kube.Actions()) != 0 || len(res.Steps) != 2 || res.Steps[0].Done() {
		t.Errorf("%v, ran %q, asked %v", err, n.ran, kube.Actions())
	}
}

func TestImpossiblePlansAreRefusedWhole(t *testing.T) {
	for name, s := range map[string]v1alpha1.Step{
		"empty": {Class: v1alpha1.Safe}, "no class": {On: "w", Exec: []string{"x"}}, "two kinds": {Class: v1alpha1.Safe, On: "w", Exec: []string{"x"}, Restore: "/y"}, "nowhere": {Class: v1alpha1.Safe, Exec: []string{"x"}},
		"nothing": {Class: v1alpha1.Safe, API: &v1alpha1.APIAction{Verb: "evict"}},
	} {
		tg, n, _ := target()
		if _, err := Apply(t.Context(), tg, plan(detectors.NodeStep(v1alpha1.Safe, "w", "", "first"), s), Options{}); err == nil || len(n.ran) > 0 {
			t.Errorf("%s: %v, ran %q", name, err, n.ran)
		}
	}
	tg, _, _ := target()
	if _, err := Apply(t.Context(), tg, plan(verb("explode")), Options{}); err == nil || !strings.Contains(err.Error(), "explode") {
		t.Errorf("unknown verb: %v", err)
	}
	if _, err := Apply(t.Context(), tg, plan(detectors.NodeStep(v1alpha1.Safe, "other", "", "x")), Options{}); err == nil || !strings.Contains(err.Error(), "other") {
		t.Errorf("unknown node: %v", err)
	}
	if _, err := Apply(t.Context(), Target{}, plan(verb("cordon")), Options{}); err == nil {
		t.Error("no access to the API and no error")
	}
}

func pod(name string, owned bool) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", UID: "1"}, Spec: corev1.PodSpec{NodeName: "w"}, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
	if owned {
		yes := true
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "rs", Controller: &yes}}
	}
	return p
}

func TestDrainMovesOwnedPodsAndLeavesBareOnes(t *testing.T) {
	tg, _, kube := target(worker(corev1.ConditionTrue), pod("owned", true), pod("bare", false))
	kube.Resources = []*metav1.APIResourceList{{GroupVersion: "v1"}} // no eviction served: the helper deletes instead
	res, err := Apply(t.Context(), tg, plan(verb("drain")), Options{Bounds: Bounds{Drain: 2 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	left, err := kube.CoreV1().Pods("ns").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) != 1 || left.Items[0].Name != "bare" {
		t.Errorf("left %v, %v", left.Items, err)
	}
	if !strings.Contains(res.Steps[0].Output, "bare") {
		t.Errorf("the output does not say what was left alone: %q", res.Steps[0].Output)
	}
}

func dynamicTarget(objects ...runtime.Object) (Target, *dynamicfake.FakeDynamicClient) {
	tg, _, _ := target()
	d := dynamicfake.NewSimpleDynamicClient(scheme.Scheme, objects...)
	m := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Version: "v1"}, {Group: "apps", Version: "v1"}})
	m.Add(schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, meta.RESTScopeNamespace)
	m.Add(schema.GroupVersionKind{Version: "v1", Kind: "Node"}, meta.RESTScopeRoot)
	m.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, meta.RESTScopeNamespace)
	tg.Dynamic, tg.Mapper = d, m
	return tg, d
}

func onPod(v string) v1alpha1.Step {
	return detectors.APIStep(v1alpha1.Safe, "", v1alpha1.APIAction{Verb: v, Object: &v1alpha1.ObjectRef{Kind: "Pod", Namespace: "ns", Name: "owned"}, Patch: `{"metadata":{"labels":{"a":"b"}}}`})
}

func onOwned(v string) v1alpha1.Step {
	s := onPod(v)
	s.API.Patch = ""
	return s
}

// evictions makes the fake evict as the API server does: the pod goes, and its owner makes the given one.
func evictions(kube *fake.Clientset, successor *corev1.Pod) *[]string {
	var asked []string
	kube.PrependReactor("create", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetSubresource() != "eviction" {
			return false, nil, nil
		}
		e := a.(clienttesting.CreateAction).GetObject().(*policyv1.Eviction)
		asked = append(asked, e.Name+" "+string(*e.DeleteOptions.Preconditions.UID))
		pods := corev1.SchemeGroupVersion.WithResource("pods")
		if err := kube.Tracker().Delete(pods, e.Namespace, e.Name); err != nil {
			return true, nil, err
		}
		if successor != nil {
			return true, nil, kube.Tracker().Create(pods, successor, e.Namespace)
		}
		return true, nil, nil
	})
	return &asked
}

func readyPod(name, uid string) *corev1.Pod {
	p := pod(name, true)
	p.UID = types.UID(uid)
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	return p
}

func TestEvictWaitsForTheSuccessor(t *testing.T) {
	quick := Options{Bounds: Bounds{Successor: 50 * time.Millisecond, Change: 50 * time.Millisecond, Delete: 50 * time.Millisecond}}
	tg, _, kube := target(readyPod("owned", "1"))
	asked := evictions(kube, readyPod("other", "2"))
	if res, err := Apply(t.Context(), tg, plan(onOwned("evict")), quick); err != nil || !strings.Contains(res.Steps[0].Output, "successor other is Ready") {
		t.Errorf("%v: %+v", err, res.Steps)
	}
	if !slices.Equal(*asked, []string{"owned 1"}) {
		t.Errorf("asked %q", *asked)
	}
	if res, err := Apply(t.Context(), tg, plan(onOwned("evict")), quick); err != nil || !strings.Contains(res.Steps[0].Output, "not there") {
		t.Errorf("evicting twice: %v", err)
	}
	// Two replicas of one owner: the second stays while the first one's successor is not Ready.
	tg, _, kube = target(readyPod("owned", "1"), readyPod("twin", "9"))
	asked = evictions(kube, pod("other", true))
	twin := onOwned("evict")
	twin.API.Object = &v1alpha1.ObjectRef{Kind: "Pod", Namespace: "ns", Name: "twin"}
	if _, err := Apply(t.Context(), tg, plan(onOwned("evict"), twin), quick); err == nil || !strings.Contains(err.Error(), "successor") || len(*asked) != 1 {
		t.Errorf("err = %v, evicted %q", err, *asked)
	}
	// A pod that does not serve takes nothing with it.
	tg, _, kube = target(pod("owned", true))
	evictions(kube, nil)
	if _, err := Apply(t.Context(), tg, plan(onOwned("evict")), quick); err != nil {
		t.Error(err)
	}
}

func TestEvictionIsRefused(t *testing.T) {
	quick := Options{Bounds: Bounds{Change: 20 * time.Millisecond, Delete: 20 * time.Millisecond}}
	tg, _, _ := target(pod("owned", false))
	if _, err := Apply(t.Context(), tg, plan(onOwned("evict")), quick); err == nil || !strings.Contains(err.Error(), "no owner") {
		t.Errorf("a bare pod was evicted: %v", err)
	}
	tg, _, kube := target(readyPod("owned", "1"))
	kube.PrependReactor("create", "pods/eviction", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewTooManyRequests("it would violate the pod's disruption budget", 1)
	})
	_, err := Apply(t.Context(), tg, plan(onOwned("evict")), quick)
	if err == nil || !strings.Contains(err.Error(), "disruption budget") {
		t.Errorf("a budget: %v", err)
	}
	// A pod that never goes, as on a node whose kubelet is dead.
	tg, _, kube = target(readyPod("owned", "1"))
	kube.PrependReactor("create", "pods/eviction", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, nil })
	if _, err := Apply(t.Context(), tg, plan(onOwned("evict")), quick); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("err = %v, want that it is not gone", err)
	}
}

func TestRemake(t *testing.T) {
	bare := func() *corev1.Pod {
		p := pod("owned", false)
		p.Labels = map[string]string{"app": "shop"}
		p.Spec.Volumes = []corev1.Volume{{Name: "kube-api-access-x", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}}, {Name: "data"}}
		p.Spec.Containers = []corev1.Container{{Name: "c", Image: "a:1", Env: []corev1.EnvVar{{Name: "SECRET", Value: "s"}},
			LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{HTTPHeaders: []corev1.HTTPHeader{{Name: "Authorization", Value: "h"}}}}},
			VolumeMounts:  []corev1.VolumeMount{{Name: "kube-api-access-x"}, {Name: "data", MountPath: "/d"}}}}
		return p
	}
	remake := onOwned("remake")
	remake.API.Patch = `{"spec":{"containers":[{"name":"c","image":"a:2"}]}}`
	for name, c := range map[string]struct {
		admit func(*corev1.Pod) error
		says  string
	}{
		"all it had": {nil, ""},
		"admission adds": {func(p *corev1.Pod) error {
			p.Spec.Containers = append([]corev1.Container{{Name: "sidecar"}}, p.Spec.Containers...)
			return nil
		}, ""},
		"admission refuses": {func(*corev1.Pod) error { return errors.New("policy says no") }, "policy says no"},
		"a probe's header is lost": {func(p *corev1.Pod) error {
			p.Spec.Containers[0].LivenessProbe.HTTPGet.HTTPHeaders[0].Value = ""
			return nil
		}, "without spec.containers[0].livenessProbe.httpGet.httpHeaders[0].value"},
		"something is lost": {func(p *corev1.Pod) error { p.Spec.Containers[0].Env = nil; return nil }, "without spec.containers[0].env[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			tg, _, kube := target(bare())
			asked := evictions(kube, nil)
			kube.PrependReactor("create", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
				create, ok := a.(clienttesting.CreateActionImpl)
				if !ok || a.GetSubresource() != "" || len(create.CreateOptions.DryRun) == 0 {
					return false, nil, nil
				}
				p := create.Object.(*corev1.Pod).DeepCopy()
				if c.admit != nil {
					if err := c.admit(p); err != nil {
						return true, nil, err
					}
				}
				return true, p, nil
			})
			_, err := Apply(t.Context(), tg, plan(remake), Options{Bounds: Bounds{Change: time.Second}})
			now, _ := kube.CoreV1().Pods("ns").Get(t.Context(), "owned", metav1.GetOptions{})
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) || len(*asked) > 0 || now == nil || now.UID != "1" {
					t.Errorf("err = %v, want %q; evicted %q", err, c.says, *asked)
				}
				return
			}
			if err != nil || len(*asked) != 1 {
				t.Fatalf("%v, evicted %q", err, *asked)
			}
			got := now.Spec.Containers[0]
			if now.UID == "1" || got.Image != "a:2" || got.Env[0].Value != "s" || got.LivenessProbe.HTTPGet.HTTPHeaders[0].Value != "h" || len(now.Spec.Volumes) != 1 || len(got.VolumeMounts) != 1 || now.Labels["app"] != "shop" || now.Spec.NodeName != "w" {
				t.Errorf("made %+v", now)
			}
		})
	}
	tg, _, _ := target(pod("owned", true))
	if _, err := Apply(t.Context(), tg, plan(remake), Options{}); err == nil || !strings.Contains(err.Error(), "belongs to ReplicaSet rs") {
		t.Errorf("a pod with an owner: %v", err)
	}
}

func TestUndo(t *testing.T) {
	tg, n, _ := target()
	one := detectors.MoveAside("w", "/a", "")
	two := detectors.NodeStep(v1alpha1.Safe, "w", "", "two")
	two.Undo = "untwo"
	late := detectors.NodeStep(v1alpha1.Safe, "w", "", "late")
	late.Undo = "unlate"
	n.fail = "late"
	res, err := Apply(t.Context(), tg, plan(one, detectors.Restart("w", "kubelet.service", ""), two, late), Options{})
	if err == nil {
		t.Fatal("no error")
	}
	n.ran, n.fail = nil, "untwo"
	Undo(t.Context(), tg, &res, Options{})
	if want := []string{"sh -ec untwo", "sh -ec mv -fT -- /a.sickbay-aside /a", "systemctl restart kubelet.service"}; !slices.Equal(n.ran, want) {
		t.Errorf("ran %q", n.ran)
	}
	if s := res.Steps; s[0].Undone.IsZero() || s[2].UndoErr == "" || !s[2].Undone.IsZero() || !s[3].Undone.IsZero() {
		t.Errorf("%+v", s)
	}
}

// A signal that plainly stays ends the wait for what it keeps from happening.
func TestWatchEndsTheWait(t *testing.T) {
	tg, _, _ := target(worker(corev1.ConditionFalse))
	stays := errors.New("the same error again")
	_, err := Apply(t.Context(), tg, plan(verb("wait-ready")), Options{Watch: func(context.Context) error { return stays }})
	if !errors.Is(err, stays) {
		t.Errorf("err = %v", err)
	}
}

func TestPatchIsStrategicAndReachesSubresources(t *testing.T) {
	tg, d := dynamicTarget(pod("owned", true))
	var asked []string
	d.PrependReactor("patch", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		p := a.(clienttesting.PatchAction)
		asked = append(asked, string(p.GetPatchType())+" "+p.GetName()+"/"+p.GetSubresource()+" "+string(p.GetPatch()))
		return true, &unstructured.Unstructured{Object: map[string]any{}}, nil
	})
	s := onPod("patch")
	if _, err := Apply(t.Context(), tg, plan(s), Options{}); err != nil {
		t.Fatal(err)
	}
	s.API.Subresource = "resize"
	if _, err := Apply(t.Context(), tg, plan(s), Options{}); err != nil {
		t.Fatal(err)
	}
	const patch = "application/strategic-merge-patch+json owned/"
	if !slices.Equal(asked, []string{patch + " " + s.API.Patch, patch + "resize " + s.API.Patch}) {
		t.Errorf("asked %q", asked)
	}
}

func TestRestore(t *testing.T) {
	tg, n, _ := target()
	s := detectors.RestoreStep("w", "/usr/local/bin/shim", "")
	if _, err := Apply(t.Context(), tg, plan(s), Options{}); err == nil || !strings.Contains(err.Error(), "reinstall") {
		t.Errorf("without a source: %v", err)
	}
	tg.Original = func(context.Context, string, string) (*File, error) {
		return &File{Mode: 0o755, ModTime: time.Unix(1e9, 0), Content: []byte("elf")}, nil
	}
	if _, err := Apply(t.Context(), tg, plan(s), Options{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"put /usr/local/bin/shim -rwxr-xr-x", "touch -d 2001-09-09T01:46:40Z /usr/local/bin/shim"}
	if !slices.Equal(n.ran, want) || n.in["/usr/local/bin/shim"] != "elf" {
		t.Errorf("ran %q", n.ran)
	}
}

func TestRenewClientCert(t *testing.T) {
	tg, n, kube := target(worker(corev1.ConditionTrue))
	kube.PrependReactor("create", "certificatesigningrequests", func(a clienttesting.Action) (bool, runtime.Object, error) {
		csr := a.(clienttesting.CreateAction).GetObject().(*certificatesv1.CertificateSigningRequest)
		csr.Name = "csr-1"
		return false, nil, nil
	})
	kube.PrependReactor("update", "certificatesigningrequests", func(a clienttesting.Action) (bool, runtime.Object, error) {
		u := a.(clienttesting.UpdateAction)
		csr := u.GetObject().(*certificatesv1.CertificateSigningRequest)
		if u.GetSubresource() == "approval" && csr.Spec.SignerName == certificatesv1.KubeAPIServerClientKubeletSignerName {
			csr.Status.Certificate = []byte("CERT")
			return true, csr, kube.Tracker().Update(schema.GroupVersionResource{Group: "certificates.k8s.io", Version: "v1", Resource: "certificatesigningrequests"}, csr, "")
		}
		return false, nil, nil
	})
	if _, err := Apply(t.Context(), tg, plan(verb("renew-client-cert")), Options{}); err != nil {
		t.Fatal(err)
	}
	if len(n.ran) != 2 || !strings.Contains(n.ran[0], "openssl req") || n.in[n.ran[1]] != "CERT" {
		t.Errorf("ran %q with %q", n.ran, n.in)
	}
	left, err := kube.CertificatesV1().CertificateSigningRequests().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) != 0 {
		t.Errorf("left %d requests, %v", len(left.Items), err)
	}
	n.ran, n.fail = nil, "openssl req"
	if _, err := Apply(t.Context(), tg, plan(verb("renew-client-cert")), Options{}); err == nil || !strings.Contains(n.ran[len(n.ran)-1], "rm -f") {
		t.Errorf("err %v, ran %q: the key of a failed renewal must go", err, n.ran)
	}
}
