package detectors_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/observation"
)

func finding(failure, cause string, certainty detectors.Certainty, covers ...detectors.Pattern) detectors.Finding {
	return detectors.Finding{Failure: failure, Cause: cause, Node: "n", Certainty: certainty, Summary: "s of " + cause, Covers: covers}
}

func names(found []detectors.Finding) string {
	var out []string
	for _, f := range found {
		out = append(out, f.Failure+"/"+f.Cause)
	}
	return strings.Join(out, " ")
}

func TestReduceFoldsConsequences(t *testing.T) {
	got := detectors.Reduce([]detectors.Finding{
		finding("image-pull", "registry-tls", detectors.Certain),
		finding("node-notready", "kubelet-stopped", detectors.Certain, detectors.Pattern{Failure: "image-pull"}),
		finding("swap", "swap-on", detectors.Certain, detectors.Pattern{Failure: "node-notready", Cause: "kubelet-stopped"}),
	})
	if names(got) != "swap/swap-on" {
		t.Fatalf("got %s", names(got))
	}
	// The chain ends at the top, with both consequences in words.
	want := []string{"node-notready/kubelet-stopped: s of kubelet-stopped", "image-pull/registry-tls: s of registry-tls"}
	for _, w := range want {
		if !slices.Contains(got[0].Explains, w) {
			t.Errorf("explains %q, want %q", got[0].Explains, w)
		}
	}
}

func TestReduceKeeps(t *testing.T) {
	for name, c := range map[string]struct {
		in   []detectors.Finding
		want string
	}{
		"a certain finding beside a likely one that would cover it": {[]detectors.Finding{
			finding("swap", "swap-on", detectors.Likely, detectors.Pattern{Failure: "node-notready"}), finding("node-notready", "kubelet-stopped", detectors.Certain),
		}, "swap/swap-on node-notready/kubelet-stopped"},
		"one of two that cover each other": {[]detectors.Finding{
			finding("swap", "swap-on", detectors.Certain, detectors.Pattern{Failure: "cni"}), finding("cni", "conflist-missing", detectors.Certain, detectors.Pattern{Failure: "swap"}),
		}, "swap/swap-on"},
		"the certain of two about the same": {[]detectors.Finding{
			finding("cni", "ipam-exhausted", detectors.Likely), finding("cni", "conflist-missing", detectors.Certain),
		}, "cni/conflist-missing"},
		"one of two alike": {[]detectors.Finding{finding("cni", "conflist-missing", detectors.Certain), finding("cni", "conflist-missing", detectors.Likely)}, "cni/conflist-missing"},
		"unfreezing before making room before the rest": {[]detectors.Finding{
			finding("cni", "conflist-missing", detectors.Certain), finding("disk-pressure", "imagefs-full", detectors.Certain), finding("clock-cert", "client-cert-expired", detectors.Certain), finding("pleg", "runtime-io-stall", detectors.Certain),
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
	a, b := &detectors.ObjectRef{Kind: "Pod", Namespace: "d", Name: "a"}, &detectors.ObjectRef{Kind: "Pod", Namespace: "d", Name: "b"}
	oom, probeA, probeB := finding("oom-throttle", "memory-limit", detectors.Certain, detectors.Pattern{Failure: "probe-kill", Object: a}), finding("probe-kill", "probe-too-aggressive", detectors.Certain), finding("probe-kill", "probe-too-aggressive", detectors.Certain)
	oom.Object, probeA.Object, probeB.Object = a, a, b
	got := detectors.Reduce([]detectors.Finding{oom, probeA, probeB})
	if len(got) != 2 || got[0].Object != b {
		t.Errorf("got %+v", got)
	}
}

type liar struct{}

func (liar) Failure() string { return "cni" }
func (liar) Judge(observation.History) []detectors.Finding {
	return []detectors.Finding{{Failure: "cni", Cause: "gremlins"}}
}

func TestVocabularyIsEnforced(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a finding outside the vocabulary passed")
		}
	}()
	detectors.Judge(observation.History{{}}, []detectors.Detector{liar{}})
}

func verbs(r *detectors.Remedy) string {
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
		steps []detectors.Step
		want  string
	}{
		"nothing disrupts":       {detectors.Place{Node: "n", API: true}, []detectors.Step{gentle, ready}, "node wait-ready"},
		"one disrupts":           {detectors.Place{Node: "n", API: true}, []detectors.Step{gentle, rough, ready}, "node cordon node wait-ready uncordon"},
		"pods would be lost":     {detectors.Place{Node: "n", API: true}, []detectors.Step{gentle.Loses(), ready}, "cordon drain node wait-ready uncordon"},
		"cordoned by somebody":   {detectors.Place{Node: "n", API: true, Cordoned: true}, []detectors.Step{gentle.Loses(), ready}, "drain node wait-ready"},
		"no API":                 {detectors.Place{Node: "n"}, []detectors.Step{rough, ready}, "node"},
		"deleting a pod is mild": {detectors.Place{Node: "n", API: true}, []detectors.Step{detectors.DeletePod("a", "b", "w")}, "delete"},
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
