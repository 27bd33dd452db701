package docs_test

import (
	"slices"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/docs"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// What a scenario shows, read by matchers that know nothing of the pages, leads to the page of its failure.
func TestWhatScenariosShowLeadsToTheirFailure(t *testing.T) {
	all, err := scenarios.All()
	if err != nil {
		t.Fatal(err)
	}
	// Nothing says anything there: a counter, or an application's own words, are the signal.
	silent := []string{"bridge-netfilter-off", "cpu-throttled", "handler-mismatch", "silent-mismatch"}
	for _, s := range all {
		var texts []string
		for _, m := range s.Spec.Manifest {
			switch {
			case m.Log != nil:
				texts = append(texts, m.Log.Contains)
			case m.Event != nil && m.Event.Contains != "":
				texts = append(texts, m.Event.Contains)
			case m.Event != nil:
				texts = append(texts, m.Event.Reason)
			case m.Condition != nil:
				texts = append(texts, m.Condition.Contains)
			case m.Pod != nil:
				texts = append(texts, m.Pod.Contains, m.Pod.Reason)
			}
		}
		leads := slices.ContainsFunc(texts, func(text string) bool {
			hits := docs.Search(text)
			return slices.ContainsFunc(hits, func(h docs.Hit) bool {
				return h.Length > 0 && h.Length == hits[0].Length && slices.ContainsFunc(s.Spec.Expect, func(e v1alpha1.Expected) bool { return e.Failure == h.Failure })
			})
		})
		if leads == slices.Contains(silent, s.Metadata.Name) {
			t.Errorf("%s: its signals %q lead to its failure: %t", s.Metadata.Name, texts, leads)
		}
	}
}
