package lab

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// telling are words that give a scenario away.
func telling(c scenarios.Course) map[string]bool {
	out := map[string]bool{c.Metadata.Name: true}
	for _, e := range c.Spec.Expect {
		out[e.Failure], out[e.Cause] = true, true
	}
	for _, a := range append(slices.Clone(c.Spec.Prepare), c.Spec.Inject...) {
		out[a.Mechanism] = true
	}
	return out
}

// TestSecrecy: what a placement writes beside the fault itself names neither scenario nor mechanism nor cause: the record on this
// machine, the namespace with its labels, and ids in the node's journal, which name its folders and cgroups.
func TestSecrecy(t *testing.T) {
	all, err := scenarios.Courses()
	if err != nil {
		t.Fatal(err)
	}
	placed := 0
	for _, c := range all {
		if slices.ContainsFunc(c.Spec.Inject, waits) || slices.ContainsFunc(c.Spec.Prepare, waits) {
			continue // for signals of a real node
		}
		t.Run(c.Of.Spec.Code, func(t *testing.T) {
			f := newFakeCluster(t)
			code := strings.ToLower(c.Of.Spec.Code)
			s := fault.New(fakeBed{fakeCluster: f}, fault.Options{Scenario: c.Scenario, Name: code, Secret: true, Run: fault.NewRunID(code), Node: victim})
			if err := s.Place(t.Context()); err != nil {
				t.Fatal(err)
			}
			placed++
			namespaces, err := f.kube.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			written := asJSON(f.records) + asJSON(namespaces.Items) + s.RecoverCommand()
			for _, in := range f.injected {
				if !in.Secret {
					t.Errorf("%s is not secret: its record can be read by eye", in.ID)
				}
				written += " " + in.ID + " " + in.Run + " " + in.Scenario
			}
			for _, word := range slices.Sorted(maps.Keys(telling(c))) {
				if strings.Contains(written, word) {
					t.Errorf("%q stands in what was written:\n%s", word, written)
				}
			}
		})
	}
	if placed < 20 {
		t.Errorf("only %d labs were placed", placed)
	}
}

func waits(a v1alpha1.Action) bool { return len(a.Until) > 0 }

// TestStateTellsNothing: the state file names the lab by its code.
func TestStateTellsNothing(t *testing.T) {
	c, err := scenarios.FindCourse("conflist-missing")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(State{Code: c.Of.Spec.Code, Cluster: "sickbay", Node: victim, Run: "l07-abcde", Placed: map[string][]string{victim: {"l07-abcde-i1"}}})
	if err != nil {
		t.Fatal(err)
	}
	for word := range telling(*c) {
		if strings.Contains(string(raw), word) {
			t.Errorf("%q stands in the state", word)
		}
	}
}
