package agent

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
	"github.com/sickbay-dev/sickbay/internal/node"
)

// liar is a node whose agent is somebody else's.
type liar struct{ answer string }

func (l liar) Name() string                                              { return "n" }
func (l liar) Arch(context.Context) (string, error)                      { return "amd64", nil }
func (l liar) Put(context.Context, string, os.FileMode, io.Reader) error { return nil }
func (l liar) Run(_ context.Context, cmd node.Command) (out []byte, err error) {
	if cmd.Stdout == nil {
		return []byte(l.answer), nil
	}
	_, err = io.WriteString(cmd.Stdout, l.answer)
	return nil, err
}

func TestHostileAnswers(t *testing.T) {
	many := strings.Repeat("{},", 200_000) + "{}"
	for name, answer := range map[string]string{
		"many pods":   `{"api":{"pods":[` + many + `]}}`,
		"many nulls":  `{"journal":{"lines":[` + strings.Repeat("null,", 100_000) + `null]}}`,
		"deep":        `{"units":` + strings.Repeat("[", 1000),
		"no document": "\x00\x01",
		"another":     `{"units":7}`,
	} {
		c := &Client{node: liar{answer: answer}}
		for range 2 { // the second is asked of an agent that stays
			if o, err := c.Observe(t.Context(), protocol.ObserveOptions{}); err == nil {
				t.Errorf("%s: %+v", name, o)
			}
		}
	}
	a := newAnswers(io.MultiReader(strings.NewReader(`{"error":{"error":"`), strings.NewReader(strings.Repeat("x", maxAnswer+1))))
	if _, err := a.next(); err == nil || !strings.Contains(err.Error(), "16 MiB") {
		t.Errorf("an answer without an end: %v", err)
	}
}

// FuzzObservation: an agent's answer of any content is an observation or an error.
func FuzzObservation(f *testing.F) {
	for _, s := range []string{`{"node":"n","at":"2026-11-24T00:00:00Z","units":{"kubelet":{}},"journal":{"lines":[{"text":"x"}]}}`, "null", "[]", `{"api":{"pods":[{"spec":{"containers":[null]}}]}}`, `{"observation":{},"error":{"error":"x"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var o *v1alpha1.Observation
		if decode(raw, &o) == nil && o != nil {
			_ = o.KubeletName()
			_, _ = o.Unreadable(v1alpha1.SourceUnits)
		}
		_, _ = newAnswers(bytes.NewReader(raw)).next()
	})
}
