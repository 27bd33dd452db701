package testbed

import (
	"context"
	"sync"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/agent"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/node"
)

// onNode is the agent on a real node.
type onNode struct{ *agent.Client }

// NewAgent looks at a node. The agent is installed at its first use, so that all nodes get theirs side by side and each within its bound.
func NewAgent(n node.Node) diagnose.Agent { return &lazyAgent{node: n} }

type lazyAgent struct {
	node node.Node
	mu   sync.Mutex
	a    *onNode
}

func (l *lazyAgent) get(ctx context.Context) (*onNode, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.a == nil {
		c, err := agent.Install(ctx, l.node)
		if err != nil {
			return nil, err
		}
		l.a = &onNode{c}
	}
	return l.a, nil
}

func (l *lazyAgent) Observe(ctx context.Context, ask diagnose.Ask) (*v1alpha1.Observation, error) {
	a, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	return a.Client.Observe(ctx, protocol.ObserveOptions{Cursor: ask.Cursor, First: ask.Since, Registries: ask.Registries})
}

// Leave takes the agent off the node again, if it was there.
func (l *lazyAgent) Leave(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.a == nil {
		return nil
	}
	return l.a.Leave(ctx)
}

func (a onNode) Recover(ctx context.Context, run, id string) ([]injectors.Status, error) {
	if id != "" {
		run = ""
	}
	return a.Client.Recover(ctx, injectors.Selector{Run: run, ID: id})
}

func (a onNode) Status(ctx context.Context) ([]injectors.Status, error) {
	return a.Client.Status(ctx, false)
}
