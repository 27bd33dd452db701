package testbed

import (
	"context"
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

// installAgent puts the agent on a node.
func installAgent(ctx context.Context, n node.Node) (nodeAgent, error) {
	c, err := agent.Install(ctx, n)
	if err != nil {
		return nil, err
	}
	return onNode{c}, nil
}

func (a onNode) Path() string { return a.client.Path() }

func (a onNode) Observe(ctx context.Context, ask diagnose.Ask) (*v1alpha1.Observation, error) {
	return a.client.Observe(ctx, protocol.ObserveOptions{Cursor: ask.Cursor, First: ask.Since, Registries: ask.Registries})
}

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
