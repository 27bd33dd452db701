package lab

import (
	"context"
	"errors"
	"testing"
	"time"
)

// traces is a node on which something is left for a number of looks.
type traces struct {
	looks, gone int
	before      string
}

func (f *traces) Traces(context.Context, string) ([]byte, error) { return []byte("as it was"), nil }

func (f *traces) Left(_ context.Context, _ string, before []byte) ([]string, error) {
	f.before = string(before)
	if f.looks++; f.looks == 1 {
		return nil, errors.New("the node does not answer yet")
	}
	if f.looks < f.gone {
		return []string{"file /etc/kubelet.conf.bak: new"}, nil
	}
	return nil, nil
}

// TestResidue: what stays is the learner's, what goes away within a moment is not.
func TestResidue(t *testing.T) {
	s, st := Store{Dir: t.TempDir()}, &State{Cluster: "sickbay", Node: "w1"}
	if left, err := s.Residue(t.Context(), &traces{}, st, time.Millisecond, time.Second); left != nil || err != nil {
		t.Errorf("nobody looked before: %q, %v", left, err)
	}
	for _, c := range []struct{ gone, left int }{{3, 0}, {1 << 30, 1}} {
		f := &traces{gone: c.gone}
		if err := s.KeepTraces(t.Context(), f, st); err != nil {
			t.Fatal(err)
		}
		bound := time.Second
		if c.left > 0 {
			bound = 50 * time.Millisecond
		}
		left, err := s.Residue(t.Context(), f, st, time.Millisecond, bound)
		if err != nil || len(left) != c.left || f.before != "as it was" {
			t.Errorf("%q, %v", left, err)
		}
		if err := s.KeepTraces(t.Context(), f, st); err != nil {
			t.Fatal(err)
		}
		if err := s.Remove(st); err != nil { // it was given up
			t.Fatal(err)
		}
		f.looks = 0
		if left, _ := s.Residue(t.Context(), f, st, time.Millisecond, bound); left != nil || f.looks > 0 {
			t.Errorf("asked again: %q", left)
		}
	}
}
