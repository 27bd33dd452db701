package main

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"github.com/sickbay-dev/sickbay/internal/agent"
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

func (realDeps) hostNode(name string) (node.Node, error) {
	file, err := agent.Binary(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	program, err := os.Open(file) // for as long as this process is there
	if err != nil {
		return nil, fmt.Errorf("open the agent: %w", err)
	}
	return node.Host(name, program), nil
}

func (realDeps) agent(n node.Node) diagnose.Agent { return testbed.NewAgent(n) }

func (realDeps) remedyTarget(s *target) remedy.Target {
	t := remedy.Target{Nodes: s.node}
	t.Kube, t.REST = s.kube, s.rest
	if s.cluster != nil {
		t.Kube, t.REST, t.Original = s.cluster.Kube(), s.cluster.RESTConfig(), s.cluster.Original
	}
	return t
}
