package detectors_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
)

func finding(failure, cause string, certainty v1alpha1.Certainty, covers ...v1alpha1.Pattern) v1alpha1.Finding {
	return v1alpha1.Finding{Failure: failure, Cause: cause, Node: "n", Certainty: certainty, Summary: "s of " + cause, Covers: covers}
}

func names(found []v1alpha1.Finding) string {
	var out []string
	for _, f := range found {
		out = append(out, f.Failure+"/"+f.Cause)
	}
	return strings.Join(out, " ")
}

func TestReduceFoldsConsequences(t *testing.T) {
	got := detectors.Reduce([]v1alpha1.Finding{
		finding("image-pull", "registry-tls", v1alpha1.Certain),
		finding("node-notready", "kubelet-stopped", v1alpha1.Certain, v1alpha1.Pattern{Failure: "image-pull"}),
		finding("swap", "swap-on", v1alpha1.Certain, v1alpha1.Pattern{Failure: "node-notready", Cause: "kubelet-stopped"}),
	})
	if names(got) != "swap/swap-on" {
		t.Fatalf("got %s", names(got))
	}
	// The chain ends at the top, with both consequences in words.
	want := []string{"node-notready/kubelet-stopped: s of kubelet-stopped", "image-pull/registry-tls: s of registry-tls"}
	for _, w := range want {
		if !slices.Contains(got[0].Consequences, w) {
			t.Errorf("explains %q, want %q", got[0].Consequences, w)
		}
	}
}

func TestReduceKeeps(t *testing.T) {
	for name, c := range map[string]struct {
		in   []v1alpha1.Finding
		want string
	}{
		"a certain finding beside a likely one that would cover it": {[]v1alpha1.Finding{
			finding("swap", "swap-on", v1alpha1.Likely, v1alpha1.Pattern{Failure: "node-notready"}), finding("node-notready", "kubelet-stopped", v1alpha1.Certain),
		}, "swap/swap-on node-notready/kubelet-stopped"},
		"one of two that cover each other": {[]v1alpha1.Finding{
			finding("swap", "swap-on", v1alpha1.Certain, v1alpha1.Pattern{Failure: "cni"}), finding("cni", "conflist-missing", v1alpha1.Certain, v1alpha1.Pattern{Failure: "swap"}),
		}, "swap/swap-on"},
		"the certain of two about the same": {[]v1alpha1.Finding{
			finding("cni", "ipam-exhausted", v1alpha1.Likely), finding("cni", "conflist-missing", v1alpha1.Certain),
		}, "cni/conflist-missing"},
		"one of two alike": {[]v1alpha1.Finding{finding("cni", "conflist-missing", v1alpha1.Certain), finding("cni", "conflist-missing", v1alpha1.Likely)}, "cni/conflist-missing"},
		"unfreezing before making room before the rest": {[]v1alpha1.Finding{
			finding("cni", "conflist-missing", v1alpha1.Certain), finding("disk-pressure", "imagefs-full", v1alpha1.Certain), finding("clock-cert", "client-cert-expired", v1alpha1.Certain), finding("pleg", "runtime-io-stall", v1alpha1.Certain),
		}, "pleg/runtime-io-stall disk-pressure/imagefs-full clock-cert/client-cert-expired cni/conflist-missing"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := names(detectors.Reduce(c.in)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestReduceCoversOnlyItsObject(t *testing.T) {
	a, b := &v1alpha1.ObjectRef{Kind: "Pod", Namespace: "d", Name: "a"}, &v1alpha1.ObjectRef{Kind: "Pod", Namespace: "d", Name: "b"}
	oom, probeA, probeB := finding("oom-throttle", "memory-limit", v1alpha1.Certain, v1alpha1.Pattern{Failure: "probe-kill", Object: a}), finding("probe-kill", "probe-too-aggressive", v1alpha1.Certain), finding("probe-kill", "probe-too-aggressive", v1alpha1.Certain)
	oom.Object, probeA.Object, probeB.Object = a, a, b
	got := detectors.Reduce([]v1alpha1.Finding{oom, probeA, probeB})
	if len(got) != 2 || got[0].Object != b {
		t.Errorf("got %+v", got)
	}
}

type liar struct{}

func (liar) Failure() string { return "cni" }
func (liar) Judge(v1alpha1.History) []v1alpha1.Finding {
	return []v1alpha1.Finding{{Failure: "cni", Cause: "gremlins"}}
}

func TestVocabularyIsEnforced(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a finding outside the vocabulary passed")
		}
	}()
	detectors.Judge(v1alpha1.History{{}}, []detectors.Detector{liar{}})
}

func verbs(r *v1alpha1.Remedy) string {
	var out []string
	for _, s := range r.Steps {
		if s.API != nil {
			out = append(out, s.API.Verb)
		} else {
			out = append(out, "node")
		}
	}
	return strings.Join(out, " ")
}

func TestRemedyBrackets(t *testing.T) {
	gentle := detectors.NodeStep("n", "w", "true")
	rough := gentle.Disrupts()
	ready := detectors.WaitReady("n")
	for name, c := range map[string]struct {
		place detectors.Place
		steps []v1alpha1.Step
		want  string
	}{
		"nothing disrupts":       {detectors.Place{Node: "n", API: true}, []v1alpha1.Step{gentle, ready}, "node wait-ready"},
		"one disrupts":           {detectors.Place{Node: "n", API: true}, []v1alpha1.Step{gentle, rough, ready}, "node cordon node wait-ready uncordon"},
		"pods would be lost":     {detectors.Place{Node: "n", API: true}, []v1alpha1.Step{gentle.Loses(), ready}, "cordon drain node wait-ready uncordon"},
		"cordoned by somebody":   {detectors.Place{Node: "n", API: true, Cordoned: true}, []v1alpha1.Step{gentle.Loses(), ready}, "drain node wait-ready"},
		"no API":                 {detectors.Place{Node: "n"}, []v1alpha1.Step{rough, ready}, "node"},
		"deleting a pod is mild": {detectors.Place{Node: "n", API: true}, []v1alpha1.Step{detectors.DeletePod("a", "b", "w")}, "delete"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := verbs(c.place.NewRemedy("x", c.steps...)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	if r := (detectors.Place{Node: "n"}).NewRemedy("x", ready); r != nil {
		t.Errorf("a plan of nothing: %+v", r)
	}
}

// What Run says is what a shell does with it.
func TestRunIsQuotedForAShell(t *testing.T) {
	words := []string{"printf", "%s\n", "plain", "two words", "it's", `"$HOME"`, "a;b", "", "*", "café", `back\slash`}
	step := detectors.NodeStep("n", "w", words...)
	out, err := exec.CommandContext(t.Context(), "sh", "-c", step.Run).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Join(words[2:], "\n") + "\n"; string(out) != want {
		t.Errorf("%s gave %q, want %q", step.Run, out, want)
	}
}
