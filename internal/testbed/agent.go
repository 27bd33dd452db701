package testbed

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/agent"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
	"github.com/sickbay-dev/sickbay/internal/apiserver"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/node"
)

// onNode is the agent on a real node.
type onNode struct{ *agent.Client }

// NewAgent looks at a node. The agent is installed at its first use, so that all nodes get theirs side by side and each within its bound.
func NewAgent(n node.Node) diagnose.Agent { return &lazyAgent{node: n} }

type lazyAgent struct {
	node  node.Node
	mu    sync.Mutex
	a     *onNode
	guest bool
}

// Visit has the agent come with each look and leave nothing, because the node is somebody else's. It is called before the first look.
func (l *lazyAgent) Visit() { l.guest = true }

func (l *lazyAgent) get(ctx context.Context) (*onNode, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.a == nil {
		bring := agent.Install
		if l.guest {
			bring = agent.Guest
		}
		c, err := bring(ctx, l.node)
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
	o, err := a.Client.Observe(ctx, protocol.ObserveOptions{Cursor: ask.Cursor, First: ask.Since, Registries: ask.Registries})
	if o != nil {
		withoutDebugPods(o)
	}
	return o, err
}

// withoutDebugPods leaves out the pods by which nodes are read through the API: they are no part of what is looked at.
func withoutDebugPods(o *v1alpha1.Observation) {
	ours := func(pod string) bool { return strings.HasPrefix(pod, apiserver.DebugPrefix) }
	o.Runtime.Sandboxes = slices.DeleteFunc(o.Runtime.Sandboxes, func(s v1alpha1.Sandbox) bool { return ours(s.Name) })
	o.Runtime.Containers = slices.DeleteFunc(o.Runtime.Containers, func(c v1alpha1.Container) bool { return ours(c.Pod) })
	o.Containers = slices.DeleteFunc(o.Containers, func(c v1alpha1.ContainerUsage) bool { return ours(c.Pod) })
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
