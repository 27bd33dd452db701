package failures

import (
	"strings"
	"testing"
)

// Every name of the vocabulary is explained, and nothing else.
func TestExplainCoversTheVocabulary(t *testing.T) {
	known := map[string]bool{}
	for _, f := range All() {
		for _, cause := range append([]Cause{{}}, f.Causes...) {
			name := strings.TrimSuffix(f.Name+"/"+cause.Name, "/")
			known[name] = true
			if _, ok := texts[name]; !ok {
				t.Errorf("%s has no text of its own", name)
			}
			x, ok := Explain(f.Name, cause.Name)
			if !ok || x.Symptom == "" || x.Cause == "" || x.First == "" || x.Verify == "" || len(x.Look) == 0 || len(x.Fix) == 0 || len(x.Seed) == 0 {
				t.Errorf("%s is not explained in full: %+v", name, x)
			}
		}
	}
	for name := range texts {
		if !known[name] {
			t.Errorf("%s is explained and not in the vocabulary", name)
		}
	}
	for _, s := range Symptoms() {
		for _, f := range s.Failures {
			if !known[f] {
				t.Errorf("symptom %q leads to %s, which is not in the vocabulary", s.Seen, f)
			}
		}
	}
	if _, ok := Explain("cni", "gremlins"); ok {
		t.Error("an unknown cause is explained")
	}
}
