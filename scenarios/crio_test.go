package scenarios

import (
	"encoding/json"
	"strings"
	"testing"
)

// On a node with CRI-O no scenario speaks of containerd any more, and the one that was read stays as it is.
func TestOnCRIO(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for i := range all {
		s := &all[i]
		before, err := json.Marshal(s.Spec)
		if err != nil {
			t.Fatal(err)
		}
		if s.On("") != s {
			t.Errorf("%s is another with containerd", s.Metadata.Name)
		}
		on := s.On(CRIO)
		if on.On(CRIO) != on {
			t.Errorf("%s is put into other words twice", s.Metadata.Name)
		}
		if after, _ := json.Marshal(s.Spec); string(after) != string(before) {
			t.Errorf("%s itself was changed", s.Metadata.Name)
		}
		if on.Unsupported != "" {
			continue
		}
		said, err := json.Marshal([]any{on.Spec.Prepare, on.Spec.Inject, on.Spec.Manifest})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(said), "containerd") {
			t.Errorf("%s still speaks of containerd with CRI-O: %s", s.Metadata.Name, said)
		}
		if string(said) != mustJSON(t, []any{s.Spec.Prepare, s.Spec.Inject, s.Spec.Manifest}) {
			changed++
		}
	}
	if changed < 10 {
		t.Errorf("only %d scenarios are put into other words", changed)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
