package node

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// A node may say what it likes, and as much.
func TestNodeOutputIsBounded(t *testing.T) {
	out, err := Local("n").Run(t.Context(), Sh("head -c 100000000 /dev/zero"))
	if !errors.Is(err, errTooMuch) || len(out) > maxOutput {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	s := &stream{announced: make(chan struct{})}
	for range 1000 {
		if _, err := s.Write(bytes.Repeat([]byte("x"), 4096)); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.head) > 2*keepOutput || len(s.last) > keepOutput {
		t.Errorf("a first line without an end: %d and %d bytes are held", len(s.head), len(s.last))
	}
}

func TestErrorsCarryNoEscapes(t *testing.T) {
	_, err := Local("n").Run(t.Context(), Sh(`printf '\033]0;owned\007\033[2J\302\233x\342\200\256y' >&2; exit 3`))
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\x07\u009b\u202e") || !strings.Contains(err.Error(), "xy") {
		t.Errorf("%q", err)
	}
}
