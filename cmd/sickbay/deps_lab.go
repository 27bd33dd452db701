package main

import (
	"context"
	"sync"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/agent"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/remedy"
	"github.com/sickbay-dev/sickbay/internal/testbed"
	"github.com/sickbay-dev/sickbay/suites"
)

func (realDeps) testbed(ctx context.Context, c *cluster.Cluster) (suites.Testbed, error) {
	if err := startWatchdog(); err != nil {
		return nil, err
	}
	return testbed.New(ctx, c)
}

func (realDeps) injecting(ctx context.Context, n node.Node) (injecting, error) {
	return agent.Install(ctx, n)
}

func (realDeps) agent(n node.Node) diagnose.Agent { return &lazyAgent{node: n} }

func (realDeps) remedyTarget(s *target) remedy.Target {
	t := remedy.Target{Nodes: func(name string) (node.Node, bool) { n, ok := s.nodes[name]; return n, ok }}
	t.Kube, t.REST = s.kube, s.rest
	if s.cluster != nil {
		t.Kube, t.REST, t.Original = s.cluster.Kube(), s.cluster.RESTConfig(), s.cluster.Original
	}
	return t
}

// lazyAgent puts the agent on a node at the first look, so that all nodes are prepared side by side and each within its bound.
type lazyAgent struct {
	node node.Node
	mu   sync.Mutex
	c    *agent.Client
}

func (l *lazyAgent) client(ctx context.Context) (*agent.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.c == nil {
		c, err := agent.Install(ctx, l.node)
		if err != nil {
			return nil, err
		}
		l.c = c
	}
	return l.c, nil
}

// Observe implements diagnose.Agent.
func (l *lazyAgent) Observe(ctx context.Context, ask diagnose.Ask) (*v1alpha1.Observation, error) {
	c, err := l.client(ctx)
	if err != nil {
		return nil, err
	}
	return c.Observe(ctx, protocol.ObserveOptions{Cursor: ask.Cursor, First: ask.Since, Node: l.node.Name(), Registries: ask.Registries})
}
