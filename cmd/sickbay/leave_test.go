package main

import (
	"context"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/node"
)

// visitors are agents that note that they were taken off their nodes.
type visitors struct {
	fakeDeps
	mu   sync.Mutex
	left []string
}

type visitor struct {
	of *visitors
	on string
}

func (v *visitors) agent(n node.Node) diagnose.Agent { return visitor{v, n.Name()} }

func (v visitor) Observe(context.Context, diagnose.Ask) (*v1alpha1.Observation, error) {
	return &v1alpha1.Observation{Node: v.on}, nil
}

func (v visitor) Visit() {}

func (v visitor) Leave(context.Context) error {
	v.of.mu.Lock()
	defer v.of.mu.Unlock()
	v.of.left = append(v.of.left, v.on)
	return nil
}

// TestNodesOfOthersAreLeft: no agent stays on a node that sickbay did not make, unless it is asked for.
func TestNodesOfOthersAreLeft(t *testing.T) {
	for _, keep := range []bool{false, true} {
		v := &visitors{}
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		a := newApp(nil, null, null)
		a.deps = v
		args := []string{"diagnose", "--ssh", "n1=root@h1.invalid", "--ssh", "n2=root@h2.invalid", "-q"}
		if keep {
			args = append(args, "--keep-agent")
		}
		a.execute(t.Context(), args)
		slices.Sort(v.left)
		if want := map[bool][]string{false: {"n1", "n2"}}[keep]; !slices.Equal(v.left, want) {
			t.Errorf("keep %t: left %v, want %v", keep, v.left, want)
		}
		_ = null.Close()
	}
}
