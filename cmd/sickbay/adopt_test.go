package main

import (
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
)

// TestAdopt: a cluster of others is taken with the flag and a word alone.
func TestAdopt(t *testing.T) {
	for _, c := range []struct {
		args, in string
		adopted  bool
		says     string
	}{
		{"", "", false, "run --adopt --cluster dev"},
		{"--adopt", "", false, "nobody is there to be asked"},
		{"--adopt", "n\n", false, "nothing was done"},
		{"--adopt", "y\n", true, "Adopting it means"},
		{"--adopt --yes", "", true, ""},
		{"--adopt --yes --topology small", "", false, "do not apply"},
		{"--yes", "", false, "--yes needs --adopt"},
	} {
		w := &fakeDeps{
			t: t, engine: func() (*engine.Engine, error) { return theEngine, nil },
			cluster: func(name string) (*cluster.Cluster, error) { return &cluster.Cluster{Name: name}, nil },
		}
		code, _, stderr := call(t, w, c.in, append([]string{"run", "swap-on", "--cluster", "dev", "--node", "none"}, strings.Fields(c.args)...)...)
		if got := len(w.adopted) == 1; got != c.adopted || code != exitUsage || !strings.Contains(stderr, c.says) {
			t.Errorf("%q %q: adopted %t, exit code %d\n%s", c.args, c.in, got, code, stderr)
		}
	}
}
