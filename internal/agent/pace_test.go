package agent

import (
	"slices"
	"testing"

	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// An agent that is told nothing measures its node, when it first needs to know: while a cluster starts, that is how busy it is.
func TestAgentsAreToldTheFactor(t *testing.T) {
	defer timeoutscale.Set(timeoutscale.Factor())
	here, far := node.Container(nil, "n"), node.SSH("n", "user@host", false)
	for _, c := range []struct {
		node   node.Node
		factor float64
		want   []string
	}{
		{here, 1, []string{"agent", "--pace=1.0", "observe"}},
		{here, 2, []string{"agent", "--pace=2.0", "observe"}},
		{far, 1, []string{"agent", "observe"}}, // it may be slower than this machine
		{far, 2, []string{"agent", "--pace=2.0", "observe"}},
	} {
		timeoutscale.Set(c.factor)
		if got := (&Client{node: c.node, path: "agent"}).command(nil, "observe").Argv; !slices.Equal(got, c.want) {
			t.Errorf("factor %v: %q, want %q", c.factor, got, c.want)
		}
	}
}
