package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/debugpod/podtest"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
)

// away are nodes that are reached only as the target reaches them.
type away struct{ *fakeDeps }

func (away) agent(n node.Node) diagnose.Agent {
	return diagnose.AgentFunc(func(ctx context.Context, _ diagnose.Ask) (*v1alpha1.Observation, error) {
		if _, err := n.Run(ctx, node.Argv("true")); err != nil {
			return nil, err
		}
		return &v1alpha1.Observation{Node: n.Name()}, nil
	})
}

func TestDiagnoseThroughAPI(t *testing.T) {
	a := podtest.Serve(t, podtest.Node("n1", "docker.io/library/busybox:1.37"), podtest.Node("n2"))
	_, stdout, stderr := call(t, away{&fakeDeps{t: t}}, "", "diagnose", "--context", "away", "--kubeconfig", a.Kubeconfig, "-o", "json")
	var d v1alpha1.Diagnosis
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		t.Fatalf("%v\n%s%s", err, stdout, stderr)
	}
	for _, u := range d.Unknown {
		if u.What == "node" {
			t.Errorf("%s was not read: %s", u.Node, u.Why)
		}
	}
	if !slices.Equal(d.Nodes, []string{"n1", "n2"}) || d.Cluster != "away" || d.Context != "away" {
		t.Errorf("%+v", d)
	}
	if want := "namespace tools reads each node and is deleted afterwards; image busybox:stable, to be pulled on 1 node, docker.io/library/busybox:1.37 on 1 node"; !strings.Contains(stderr, want) {
		t.Errorf("no %q in %s", want, stderr)
	}
	if made, left := a.Made(), a.Pods(); len(made) != 2 || len(left) != 0 {
		t.Errorf("%d pods were made, left: %v", len(made), left)
	}
}

// TestPlanOfAnotherCluster: nodes of the same name may have the same ills there; nothing is looked at.
func TestPlanOfAnotherCluster(t *testing.T) {
	a := podtest.Serve(t, podtest.Node("n1"))
	for where, plan := range map[string]string{
		"--cluster dev":  `"cluster": "dev"`,
		"--context prod": `"cluster": "prod", "context": "prod"`,
	} {
		file := write(t, "plan.json", `{"apiVersion": "sickbay.dev/v1alpha1", "kind": "Diagnosis", `+plan+`, "fix": {"plan": {"hash": "sha256:0"}}}`)
		code, _, stderr := call(t, away{&fakeDeps{t: t}}, "", "diagnose", "--context", "away", "--kubeconfig", a.Kubeconfig, "--fix", "--plan", file)
		if code != exitUsage || len(a.Made()) > 0 || !strings.Contains(stderr, file+" is a plan for ") || !strings.Contains(stderr, "Apply it with "+where+", or make a plan for away") {
			t.Errorf("exit code %d, made %v\n%s", code, a.Made(), stderr)
		}
	}
}

// TestThroughAPIInterrupted: Ctrl-C leaves no pod.
func TestThroughAPIInterrupted(t *testing.T) {
	a := podtest.Serve(t, podtest.Node("n1"))
	ctx, cancel := context.WithCancel(t.Context())
	a.Status(func(*corev1.Pod) corev1.PodStatus { cancel(); return corev1.PodStatus{Phase: corev1.PodPending} })
	code, _, stderr := callContext(t, ctx, away{&fakeDeps{t: t}}, "", "diagnose", "--context", "away", "--kubeconfig", a.Kubeconfig)
	if code != exitInterrupted || len(a.Made()) != 1 || len(a.Pods()) != 0 {
		t.Errorf("exit code %d, %d made, left: %v\n%s", code, len(a.Made()), a.Pods(), stderr)
	}
}

// TestThroughAPIForbidden: what is missing is named, and nothing is made.
func TestThroughAPIForbidden(t *testing.T) {
	a := podtest.Serve(t, podtest.Node("n1"))
	a.Deny("create pods")
	code, _, stderr := call(t, away{&fakeDeps{t: t}}, "", "diagnose", "--context", "away", "--kubeconfig", a.Kubeconfig)
	if code != exitTrouble || !strings.Contains(stderr, "may not create pods in namespace tools") || !strings.Contains(stderr, "--ssh NODE=user@host") || len(a.Made()) != 0 {
		t.Errorf("exit code %d, %d made\n%s", code, len(a.Made()), stderr)
	}
}

// TestKindWithoutEngine: a kind cluster whose engine is out of reach is read through the API, if a kubeconfig has its context.
func TestKindWithoutEngine(t *testing.T) {
	d := &fakeDeps{t: t, engine: func() (*engine.Engine, error) { return nil, errors.New("the engine is away") }}
	code, _, stderr := call(t, away{d}, "", "diagnose", "--context", "kind-lab")
	if code != exitUsage && code != exitTrouble || !strings.Contains(stderr, "the engine is away") || !strings.Contains(stderr, `no context "kind-lab"`) {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestMinikubeAsContainers: nodes that are containers of the engine are reached there, without a pod.
func TestMinikubeAsContainers(t *testing.T) {
	n := podtest.Node("minikube")
	n.Labels = map[string]string{minikubeLabel: "minikube"}
	a := podtest.Serve(t, n)
	a.Deny("create pods")
	d := &fakeDeps{t: t, engine: func() (*engine.Engine, error) { return theEngine, nil }}
	_, stdout, stderr := call(t, away{d}, "", "diagnose", "--context", "away", "--kubeconfig", a.Kubeconfig, "-o", "json")
	var got v1alpha1.Diagnosis
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || !slices.Equal(got.Nodes, []string{"minikube"}) || len(a.Made()) != 0 {
		t.Errorf("%v %v, %d pods made\n%s", err, got.Nodes, len(a.Made()), stderr)
	}
}
