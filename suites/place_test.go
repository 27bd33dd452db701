package suites

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ktesting "k8s.io/client-go/testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/fault/faulttest"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// TestFakeAgentContract: what the other tests here believe of an agent holds for a node's own.
func TestFakeAgentContract(t *testing.T) {
	agent := func(noEffect bool) func(t *testing.T) (fault.Agent, injectors.Injection) {
		return func(t *testing.T) (fault.Agent, injectors.Injection) {
			w := newWorld(t, "w1")
			w.noEffect = noEffect
			w.cleanups.Add("run "+faulttest.Run, "", func(context.Context) error { return nil })
			return &fakeAgent{w, "w1"}, injectors.Injection{Mechanism: "cni-config"}
		}
	}
	faulttest.Contract(t, agent(false), agent(true))
}

// TestPlace places a fault as inject and lab do: nothing is looked away from that the runner looks at.
func TestPlace(t *testing.T) {
	prepared := func(s *scenarios.Scenario) {
		s.Spec.Prepare = []v1alpha1.Action{{Mechanism: "dedicated-filesystem"}}
	}
	until := func(m v1alpha1.Matcher) func(*scenarios.Scenario) {
		return func(s *scenarios.Scenario) { s.Spec.Inject[0].Until = []v1alpha1.Matcher{m} }
	}
	// left counts down what has to be asked again.
	var left int
	for _, c := range []struct {
		name  string
		world func(*testing.T, *world)
		sc    func(*scenarios.Scenario)
		want  string // part of the error; empty for none
	}{
		{name: "all is well", sc: prepared},
		{name: "the injection has no effect", world: func(_ *testing.T, w *world) { w.noEffect = true },
			want: "cni-config on node w1 was carried out and has no effect"},
		{name: "a preparation whose effect is there already", sc: func(s *scenarios.Scenario) {
			prepared(s)
			s.Spec.Inject = nil
		}, world: func(_ *testing.T, w *world) { w.noEffect = true }},
		{name: "an event is waited for", sc: until(v1alpha1.Matcher{Event: &v1alpha1.EventMatcher{Reason: "NodeNotReady"}})},
		{name: "an event that does not come", sc: until(v1alpha1.Matcher{Event: &v1alpha1.EventMatcher{Reason: "Evicted"}}), want: "did not see event Evicted"},
		{name: "a pod that is not there", sc: until(v1alpha1.Matcher{Pod: &v1alpha1.PodMatcher{Name: "app", Reason: "OOMKilled"}}), want: "did not see pod app OOMKilled"},
		{name: "a signal that nothing reads", sc: until(v1alpha1.Matcher{}), want: "cannot be read"},
		{name: "a prepared node is Ready only later", sc: prepared, world: func(_ *testing.T, w *world) {
			left = 3
			w.kube.PrependReactor("get", "nodes", func(ktesting.Action) (bool, runtime.Object, error) {
				if left--; left < 0 {
					return false, nil, nil
				}
				return true, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "w1"}}, nil
			})
		}},
		{name: "a state that an earlier run has left, and that the workload ended", sc: until(v1alpha1.Matcher{Allocatable: &v1alpha1.AllocatableMatcher{Resource: "sickbay.dev/lamp"}}),
			world: func(_ *testing.T, w *world) {
				w.offers = func(node string) string {
					if begun, _ := w.kube.CoreV1().Namespaces().List(context.Background(), metav1.ListOptions{}); len(begun.Items) == 0 || w.sick[node] != "" {
						return "0"
					}
					return "2"
				}
			}},
		{name: "an API server that starts", world: func(_ *testing.T, w *world) {
			left = 3
			w.kube.PrependReactor("create", "namespaces", func(ktesting.Action) (bool, runtime.Object, error) {
				if left--; left < 0 {
					return false, nil, nil
				}
				return true, nil, apierrors.NewServiceUnavailable("starting")
			})
		}},
		{name: "another run's namespace is left", world: func(t *testing.T, w *world) {
			if _, err := w.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
				Name: "sickbay-old", Labels: map[string]string{fault.LabelRun: "old", fault.LabelNode: "w1"},
			}}, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}, want: "namespace sickbay-old of run old is left; undo it with: sickbay recover --cluster fake --run old"},
		{name: "another run's fault is left", world: func(_ *testing.T, w *world) {
			w.placed["w1"] = []injectors.Injection{{Run: "old", Mechanism: "swap"}}
		}, want: "swap of run old (injected)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "w1")
			left = 0
			if c.world != nil {
				c.world(t, w)
			}
			sc := scenario()
			if c.sc != nil {
				c.sc(sc)
			}
			s := fault.New(fakeTestbed{w}, fault.Options{Scenario: sc, Run: fault.NewRunID("x"), Node: "w1", Timings: quick().Timings})
			undo := w.cleanups.Add("run "+s.Run, s.RecoverCommand(), func(ctx context.Context) error { _, err := s.Undo(ctx); return err })
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := s.Place(ctx)
			if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
			if left > 0 {
				t.Errorf("%d more times it should have been asked", left)
			}
			if err := undo.Run(t.Context()); err != nil || !s.Undone() {
				t.Error(err)
			}
		})
	}
}
