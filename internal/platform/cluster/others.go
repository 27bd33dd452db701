package cluster

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
)

// otherLabels are on the containers that k3d and minikube make nodes of.
var otherLabels = []string{"app=k3d", "created_by.minikube.sigs.k8s.io=true"}

// OthersNodes reaches those of a cluster's nodes that k3d or minikube made as containers of this engine: the container has the node's name
// and its address.
func OthersNodes(ctx context.Context, e *engine.Engine, nodes []corev1.Node) (map[string]node.Node, error) {
	out := map[string]node.Node{}
	for _, label := range otherLabels {
		cs, err := inspectAll(ctx, e, "label="+label)
		if err != nil {
			return nil, err
		}
		for i := range nodes {
			if slices.ContainsFunc(cs, func(c container) bool { return c.name() == nodes[i].Name && c.at(nodes[i].Status.Addresses) }) {
				out[nodes[i].Name] = node.Container(e, nodes[i].Name)
			}
		}
	}
	return out, nil
}

// at tells whether one of these addresses is the container's.
func (c container) at(addresses []corev1.NodeAddress) bool {
	for _, n := range c.NetworkSettings.Networks {
		if n.IPAddress != "" && slices.ContainsFunc(addresses, func(a corev1.NodeAddress) bool { return a.Address == n.IPAddress }) {
			return true
		}
	}
	return false
}
