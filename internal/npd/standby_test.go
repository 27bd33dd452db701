package npd

import (
	"context"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
)

// answers are all healthy but these.
func answers(at time.Time, but map[string]Answer) round {
	r := round{At: at, Answers: map[string]Answer{}}
	for _, f := range failures.All() {
		r.Answers[f.Name] = Answer{Message: healthy(f)}
	}
	for name, a := range but {
		r.Answers[name] = a
	}
	return r
}

func TestMetrics(t *testing.T) {
	m := newMetrics()
	at := time.Unix(1700000000, 0)
	m.show(answers(at, map[string]Answer{"cni": {Status: NonOK, Cause: "conflist-missing", Certainty: v1alpha1.Certain}, "pleg": {Status: Unknown}}), time.Second)
	read := func() string {
		w := httptest.NewRecorder()
		m.handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		b, _ := io.ReadAll(w.Body)
		return string(b)
	}
	text := read()
	for _, want := range []string{
		`sickbay_problem{failure="cni"} 1`, `sickbay_problem{failure="swap"} 0`, `sickbay_unknown{failure="pleg"} 1`, `sickbay_unknown{failure="cni"} 0`,
		`sickbay_problem_info{cause="conflist-missing",certainty="certain",failure="cni"} 1`, "sickbay_last_look_timestamp_seconds 1.7e+09", "# TYPE sickbay_problem gauge",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, `sickbay_problem{failure="pleg"}`) {
		t.Error("what is unknown has a value")
	}
	m.show(answers(at, nil), time.Second)
	if text := read(); strings.Contains(text, "conflist-missing") || !strings.Contains(text, `sickbay_problem{failure="pleg"} 0`) {
		t.Errorf("a problem that is gone stays:\n%s", text)
	}
}

func TestConditions(t *testing.T) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	kube := fake.NewClientset(n)
	c := conditions{kube: kube, node: "n1", set: map[string]corev1.NodeCondition{}}
	get := func() map[corev1.NodeConditionType]corev1.NodeCondition {
		t.Helper()
		n, err := kube.CoreV1().Nodes().Get(t.Context(), "n1", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		out := map[corev1.NodeConditionType]corev1.NodeCondition{}
		for _, c := range n.Status.Conditions {
			out[c.Type] = c
		}
		return out
	}
	first := time.Unix(1700000000, 0)
	ill := Answer{Status: NonOK, Message: "conflist-missing: there is no CNI configuration"}
	if err := c.write(t.Context(), answers(first, map[string]Answer{"cni": ill, "pleg": {Status: Unknown, Message: "not read"}})); err != nil {
		t.Fatal(err)
	}
	got := get()
	if got["Ready"].Status != corev1.ConditionTrue || len(got) != len(failures.All())+1 || got["PLEGProblem"].Status != corev1.ConditionUnknown ||
		got["SwapProblem"].Status != corev1.ConditionFalse || got["CNIProblem"].Status != corev1.ConditionTrue || got["CNIProblem"].Reason != "CNIProblem" || got["CNIProblem"].Message != ill.Message {
		t.Errorf("%+v", got)
	}
	// Nothing new, nothing written; a process that begins anew keeps when it began.
	calls := len(kube.Actions())
	if err := c.write(t.Context(), answers(first.Add(time.Minute), map[string]Answer{"cni": ill, "pleg": {Status: Unknown, Message: "not read"}})); err != nil || len(kube.Actions()) != calls {
		t.Errorf("%d calls more, %v", len(kube.Actions())-calls, err)
	}
	again := conditions{kube: kube, node: "n1", set: map[string]corev1.NodeCondition{}}
	later := first.Add(time.Hour)
	if err := again.write(t.Context(), answers(later, map[string]Answer{"cni": ill})); err != nil {
		t.Fatal(err)
	}
	if got := get(); !got["CNIProblem"].LastTransitionTime.Time.Equal(first) || !got["CNIProblem"].LastHeartbeatTime.Time.Equal(later) || !got["PLEGProblem"].LastTransitionTime.Time.Equal(later) {
		t.Errorf("%+v", got)
	}
}

// TestStandby ends with its context, and says what it could not write.
func TestStandby(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	on := diagnose.Target{Nodes: []diagnose.Node{{Name: "n1", Agent: diagnose.AgentFunc(func(context.Context, diagnose.Ask) (*v1alpha1.Observation, error) {
		return &v1alpha1.Observation{Node: "n1"}, nil
	})}}}
	var said error
	err := Standby(ctx, on, StandbyOptions{
		CheckOptions: CheckOptions{State: t.TempDir(), Look: diagnose.Options{Since: time.Minute}}, Listen: "127.0.0.1:0", Kube: fake.NewClientset(),
		Said: func(err error) { said = err; cancel() },
	})
	if err != nil || said == nil || !strings.Contains(said.Error(), "conditions of node n1") {
		t.Errorf("%v, said %v", err, said)
	}
	if err := Standby(t.Context(), on, StandbyOptions{Listen: "nowhere"}); err == nil || !strings.Contains(err.Error(), "serve metrics") {
		t.Errorf("%v", err)
	}
}
