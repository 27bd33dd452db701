package testbed

import (
	"context"
	"sync"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/agent"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/fingerprint"
	"github.com/sickbay-dev/sickbay/internal/node"
)

// onNode is the agent on a real node.
type onNode struct{ client *agent.Client }

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
	return a.client.Observe(ctx, protocol.ObserveOptions{Cursor: ask.Cursor, First: ask.Since, Registries: ask.Registries})
}

// Leave takes the agent off the node again, if it was there.
func (l *lazyAgent) Leave(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.a == nil {
		return nil
	}
	return l.a.client.Leave(ctx)
}

func (a onNode) Path() string { return a.client.Path() }

func (a onNode) Check(ctx context.Context, in injectors.Injection) (*injectors.Status, error) {
	return a.client.Check(ctx, in)
}

func (a onNode) Sign(ctx context.Context, r injectors.SignRequest) (string, error) {
	return a.client.Sign(ctx, r)
}

func (a onNode) Inject(ctx context.Context, in injectors.Injection) (*injectors.Status, error) {
	return a.client.Inject(ctx, in)
}

func (a onNode) Recover(ctx context.Context, run, id string) ([]injectors.Status, error) {
	return a.client.Recover(ctx, protocol.Selector{Run: run, ID: id})
}

func (a onNode) Status(ctx context.Context) ([]injectors.Status, error) {
	return a.client.Status(ctx, false)
}

func (a onNode) Renew(ctx context.Context, run string, lease time.Duration) error {
	return a.client.Renew(ctx, run, lease)
}

func (a onNode) Fingerprint(ctx context.Context) (*fingerprint.Fingerprint, error) {
	return a.client.Fingerprint(ctx)
}
