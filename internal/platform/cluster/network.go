package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/platform/engine"
)

// Network is the engine's network that every cluster of ours, and what serves it, is on. The user's `kind` network is not touched.
const Network = "sickbay"

// bridge is the network's interface on the host, where the engine takes a name for it: podman 4.3 does not.
const bridge = "sickbay0"

// networkBound bounds making or removing a network: iptables rules of docker, under a second unless the host is very busy.
const networkBound = 30 * time.Second

type network struct {
	ID     string `json:"Id"`
	Labels map[string]string
	IPAM   struct {
		Config []struct{ Subnet string }
	}
	Containers map[string]struct{ Name string }
	// podman's names for the same
	Subnets []struct {
		Subnet  string `json:"subnet"`
		Gateway string `json:"gateway"`
	} `json:"subnets"`
	NetLabels map[string]string `json:"labels"`
	Interface string            `json:"network_interface"`
}

// bridge is the network's interface on the host.
func (n network) bridge() string { return cmp.Or(n.Interface, bridge) }

// resolvers are the addresses on the host that answer for the nodes' names: podman's resolver listens on the gateway, docker's in
// each node.
func (n network) resolvers() []string {
	var s []string
	for _, c := range n.Subnets {
		if c.Gateway != "" {
			s = append(s, c.Gateway)
		}
	}
	return s
}

func (n network) owned() bool {
	return n.Labels[ownedLabel] == "true" || n.NetLabels[ownedLabel] == "true"
}

func (n network) subnets() []string {
	var s []string
	for _, c := range n.IPAM.Config {
		s = append(s, c.Subnet)
	}
	for _, c := range n.Subnets {
		s = append(s, c.Subnet)
	}
	return s
}

// findNetwork looks for the network; false when there is none.
func findNetwork(ctx context.Context, e *engine.Engine) (network, bool, error) {
	out, err := run(ctx, e, lookBound, "network", "inspect", Network)
	if err != nil {
		if s := strings.ToLower(err.Error()); strings.Contains(s, "no such network") || strings.Contains(s, "not found") {
			return network{}, false, nil
		}
		return network{}, false, fmt.Errorf("look for the network %s: %w", Network, err)
	}
	var all []network
	if err := json.Unmarshal(out, &all); err != nil {
		return network{}, false, fmt.Errorf("decode what %s says of the network %s: %w", e, Network, err)
	}
	if len(all) == 0 {
		return network{}, false, nil
	}
	return all[0], true, nil
}

// ensureNetwork makes the network unless it is there. One of that name that is not ours is left alone.
func ensureNetwork(ctx context.Context, e *engine.Engine) (network, error) {
	n, ok, err := findNetwork(ctx, e)
	if err != nil {
		return network{}, err
	}
	if !ok {
		// IPv4 only: an IPv6 subnet needs ip6tables, which hosts lack more often than tests need it.
		args := []string{"network", "create", "--driver", "bridge", "--label", ownedLabel + "=true"}
		if e.Provider == engine.Podman {
			args = append(args, "--interface-name", bridge)
		} else {
			args = append(args, "--opt", "com.docker.network.bridge.name="+bridge)
		}
		_, err := run(ctx, e, networkBound, append(args, Network)...)
		if err != nil && strings.Contains(err.Error(), "unknown flag: --interface-name") {
			_, err = run(ctx, e, networkBound, append(args[:len(args)-2], Network)...)
		}
		if err != nil {
			return network{}, fmt.Errorf("make the network %s: %w", Network, err)
		}
		if n, ok, err = findNetwork(ctx, e); err != nil || !ok {
			return network{}, fmt.Errorf("the network %s was made and is not there: %w", Network, err)
		}
	}
	if !n.owned() {
		return network{}, &TakenError{
			What: fmt.Sprintf("a network named %s exists and sickbay did not make it", Network),
			Way:  fmt.Sprintf("rename or remove it (`%s network rm %s`)", e.Provider, Network),
		}
	}
	return n, nil
}

// removeNetwork removes the network when it is ours and nothing is on it any more. It tells whether it is gone.
func removeNetwork(ctx context.Context, e *engine.Engine) (gone bool, err error) {
	n, ok, err := findNetwork(ctx, e)
	if err != nil || !ok {
		return err == nil, err
	}
	if !n.owned() {
		return false, nil
	}
	used, err := inUse(ctx, e)
	if err != nil || used {
		return false, err
	}
	_, err = run(ctx, e, networkBound, "network", "rm", Network)
	if err != nil && strings.Contains(err.Error(), "active endpoints") {
		if used, err := removeEndpoints(ctx, e); err != nil || used {
			return false, err
		}
		_, err = run(ctx, e, networkBound, "network", "rm", Network)
	}
	if err != nil {
		return false, fmt.Errorf("remove the network %s: %w", Network, err)
	}
	return true, nil
}

// inUse tells whether a container is on the network. Stopped ones are not in the network's list, but keep it in use all the same.
func inUse(ctx context.Context, e *engine.Engine) (bool, error) {
	users, err := run(ctx, e, lookBound, "ps", "-a", "-q", "--filter", "network="+Network)
	return len(strings.Fields(string(users))) > 0, err
}

// removeEndpoints takes off the network what the engine kept of containers that are gone: docker does so when a container is removed
// while it starts. Nothing is taken off when a container is on the network by now.
func removeEndpoints(ctx context.Context, e *engine.Engine) (used bool, err error) {
	n, _, err := findNetwork(ctx, e)
	if err != nil {
		return false, err
	}
	if used, err := inUse(ctx, e); err != nil || used {
		return used, err
	}
	for _, c := range n.Containers {
		if _, err := run(ctx, e, networkBound, "network", "disconnect", "--force", Network, c.Name); err != nil {
			return false, fmt.Errorf("take %s, which is gone, off the network %s: %w", c.Name, Network, err)
		}
	}
	return false, nil
}

// Shelter readies the network on which no packet leaves the machine for a cluster that somebody else makes, and answers with its
// name. As for clusters of ours, the rules are in place before the first node is.
func Shelter(ctx context.Context, e *engine.Engine, image string) (string, error) {
	if err := sameNetwork(ctx, e, UpOptions{}); err != nil {
		return "", err
	}
	n, err := ensureNetwork(ctx, e)
	if err != nil {
		return "", err
	}
	return Network, isolate(ctx, e, image, n)
}

// Unshelter removes the network and its rules when nobody is on it any more.
func Unshelter(ctx context.Context, e *engine.Engine, image string) error {
	gone, err := removeNetwork(ctx, e)
	if err != nil || !gone {
		return err
	}
	if image == "" {
		image = anyNodeImage(ctx, e)
	}
	return removeRules(ctx, e, image)
}
