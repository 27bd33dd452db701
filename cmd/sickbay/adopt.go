package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
)

func adoptFlags(cmd *cobra.Command, g *clusterOptions) {
	cmd.Flags().BoolVar(&g.adopt, "adopt", false, "take a kind cluster that sickbay did not make, after showing what that means")
	cmd.Flags().BoolVar(&g.yes, "yes", false, "with --adopt: do not ask")
}

// adopt has a cluster that somebody else made taken, if its owner says so. One that was adopted before gets its marks again: a restart of its
// nodes takes them away.
func (a *app) adopt(ctx context.Context, c *cluster.Cluster, g clusterOptions) (*cluster.Cluster, error) {
	if !g.asIs() || g.online {
		return nil, usagef("cluster %s was not made by sickbay: --image, --kubernetes, --runtime, --topology, --timings and --online do not apply", c.Name)
	}
	if !c.Adopted && !g.yes {
		if err := a.askToAdopt(ctx, c); err != nil {
			return nil, err
		}
	}
	c, err := a.deps.adopt(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := checkVictim(c.Name, g.victim, c.Victims(), c.Has(g.victim)); err != nil {
		return nil, err
	}
	a.sweep(ctx, c)
	return c, nil
}

func (a *app) askToAdopt(ctx context.Context, c *cluster.Cluster) error {
	var workers []string
	for _, n := range c.Nodes() {
		if n.Role == cluster.Worker {
			workers = append(workers, n.Name)
		}
	}
	a.say(`Cluster %s was not made by sickbay. Adopting it means:
  - Runs make %s ill. Pods there are restarted, evicted or lose what they keep on the node; the node may stay broken for minutes.
  - Some faults reach this machine's kernel: swap, full tables, a frozen disk.
  - Its packets may leave this machine, as before: sickbay does not isolate it.
  - Each node gets a mark (a mount below %s), an agent in /var/lib/sickbay, and an image for the scenarios' pods. This machine notes the containers and a kubeconfig.
  - It stays yours: `+"`sickbay cluster down --cluster %s`"+` gives it back and deletes nothing else.
`, c.Name, strings.Join(workers, ", "), cluster.Mark, c.Name)
	a.say("Adopt it? [y/N] ")
	line, err := a.readLine(ctx)
	switch {
	case errors.Is(err, io.EOF):
		return &usageError{text: fmt.Sprintf("cluster %s is not adopted, and nobody is there to be asked", c.Name), hint: "Pass --yes to adopt it without asking."}
	case err != nil:
		return err
	case !strings.EqualFold(line, "y") && !strings.EqualFold(line, "yes"):
		return usagef("cluster %s is not adopted; nothing was done", c.Name)
	}
	return nil
}
