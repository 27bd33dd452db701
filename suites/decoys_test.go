package suites

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// The decoys that are shipped load, and are what they say they are. `make decoys` runs them on a real cluster.
func TestDecoysLoad(t *testing.T) {
	files, err := filepath.Glob("decoys/*/scenario.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d decoys: %v", len(files), err)
	}
	for _, f := range files {
		s, err := scenarios.Load(f)
		if err != nil {
			t.Error(err)
			continue
		}
		if s.Metadata.Name != filepath.Base(filepath.Dir(f)) || s.Spec.Profile != v1alpha1.ProfileDecoy {
			t.Errorf("%s: name %s, profile %s", f, s.Metadata.Name, s.Spec.Profile)
		}
	}
}

func TestDecoy(t *testing.T) {
	decoy := scenario(func(s *scenarios.Scenario) { s.Spec.Profile, s.Spec.Expect = v1alpha1.ProfileDecoy, nil })
	for _, c := range []struct {
		name  string
		judge func(v1alpha1.History) []v1alpha1.Finding
		want  v1alpha1.Verdict
	}{
		{"silence", func(v1alpha1.History) []v1alpha1.Finding { return nil }, v1alpha1.VerdictPassed},
		{"a detector is taken in", judge, v1alpha1.VerdictFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "w1")
			r, rep, _ := one(t, w, decoy, options(func(o *Options) { o.Controls, o.Judge = AllOnTheWay, c.judge }))
			if r.Verdict != c.want || rep.Verdict != c.want || len(r.Steps) != 7 || len(r.Controls) > 0 {
				t.Errorf("%s at %s: %s; %d steps, %d controls", r.Verdict, r.FailedAt, r.Reason, len(r.Steps), len(r.Controls))
			}
			if (r.FailedAt == v1alpha1.StepDetect && strings.Contains(r.Reason, "this is no illness")) != (c.want == v1alpha1.VerdictFailed) {
				t.Errorf("%s: %s", r.FailedAt, r.Reason)
			}
			wellAgain(t, w)
		})
	}
}
