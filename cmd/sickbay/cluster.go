package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"al.essio.dev/pkg/shellescape"
	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
)

// clusterInfo is one cluster as `cluster status -o json` prints it.
type clusterInfo struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	Name       string             `json:"name"`
	Ours       bool               `json:"ours"`
	Adopted    bool               `json:"adopted,omitempty"`
	Topology   string             `json:"topology,omitempty"`
	Timings    string             `json:"timings,omitempty"`
	Image      string             `json:"image,omitempty"`
	Online     bool               `json:"online,omitempty"`
	Kubeconfig string             `json:"kubeconfig,omitempty"`
	Nodes      []cluster.NodeInfo `json:"nodes"`
	Isolation  *cluster.Isolation `json:"isolation,omitempty"`
}

func (a *app) cluster() *cobra.Command {
	return a.group("cluster", "Create, show and remove the kind cluster", "", `  sickbay cluster up --topology small
  sickbay cluster status
  sickbay cluster down`, a.clusterUp(), a.clusterDown(), a.clusterStatus())
}

func (a *app) clusterUp() *cobra.Command {
	g := clusterOptions{make: true}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Make the cluster, or say that it is there",
		Long: `Create the cluster, and the engine and node image if needed. An existing cluster of this name and shape is reused. A cluster that
sickbay did not make is never changed.`,
		Example: `  sickbay cluster up                      # one control plane, four workers
  sickbay cluster up --cluster two --topology small --timings stock
  sickbay cluster up --kubernetes 1.36`,
		Args: noArgs,
	}
	a.clusterFlags(cmd, &g)
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := g.check(); err != nil {
			return err
		}
		c, err := a.ready(cmd.Context(), g)
		if err != nil {
			return err
		}
		info := describeCluster(cmd.Context(), c)
		return print(a, *form, info, func(w io.Writer) { a.showCluster(w, info) })
	}
	return cmd
}

func (a *app) clusterDown() *cobra.Command {
	var name string
	var all bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Remove the cluster and everything that belongs to it",
		Long:  "Remove the cluster and everything that belongs to it. A cluster that was adopted (sickbay run --adopt) is given back instead: it stays.",
		Example: `  sickbay cluster down
  sickbay cluster down --all`,
		Args: noArgs,
	}
	a.clusterFlag(cmd, &name)
	cmd.Flags().BoolVar(&all, "all", false, "every cluster that sickbay made or adopted")
	cmd.MarkFlagsMutuallyExclusive("all", "cluster")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		e, err := a.deps.presentEngine(ctx)
		if err != nil {
			return err
		}
		names := []string{name}
		if all {
			names = nil
			list, err := a.deps.clusters(ctx, e)
			if err != nil {
				return err
			}
			for _, c := range list {
				if c.Ours {
					names = append(names, c.Name)
				}
			}
		}
		var errs []error
		for _, n := range names {
			errs = append(errs, a.deps.down(ctx, e, n))
		}
		return errors.Join(errs...)
	}
	return cmd
}

func (a *app) clusterStatus() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the clusters of this machine, whoever made them",
		Example: `  sickbay cluster status
  sickbay cluster status --cluster sickbay -o json`,
		Args: noArgs,
	}
	a.clusterFlag(cmd, &name)
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if cmd.Flags().Changed("cluster") {
			c, err := a.existing(ctx, name)
			if err != nil {
				return err
			}
			info := describeCluster(ctx, c)
			return print(a, *form, info, func(w io.Writer) { a.showCluster(w, info) })
		}
		e, err := a.deps.presentEngine(ctx)
		if err != nil {
			return err
		}
		list, err := a.deps.clusters(ctx, e)
		if err != nil {
			return err
		}
		infos := []clusterInfo{}
		for _, c := range list {
			infos = append(infos, describeCluster(ctx, c))
		}
		return print(a, *form, listOf("ClusterList", infos), func(w io.Writer) {
			if len(infos) == 0 {
				fmt.Fprintf(w, "no cluster on %s; `sickbay cluster up` creates one\n", e)
			}
			for i, info := range infos {
				if i > 0 {
					fmt.Fprintln(w)
				}
				a.showCluster(w, info)
			}
		})
	}
	return cmd
}

func describeCluster(ctx context.Context, c *cluster.Cluster) clusterInfo {
	info := clusterInfo{
		APIVersion: v1alpha1.APIVersion, Kind: "Cluster", Name: c.Name, Ours: c.Ours, Adopted: c.Adopted, Topology: c.Topology,
		Timings: c.Profile, Image: c.Image, Online: c.Online, Nodes: c.Nodes(),
	}
	if !c.Ours {
		return info
	}
	info.Kubeconfig, _ = c.Kubeconfig()
	if c.Adopted {
		return info
	}
	if iso, err := c.Isolation(ctx); err == nil {
		info.Isolation = &iso
	}
	return info
}

func (a *app) showCluster(w io.Writer, c clusterInfo) {
	whose := "made by sickbay"
	switch {
	case c.Adopted:
		whose = "made by others and adopted: `sickbay cluster down` gives it back"
	case !c.Ours:
		whose = "not made by sickbay: only diagnose reads it"
	}
	fmt.Fprintf(w, "cluster %s, %s\n", a.paint(bold, c.Name), whose)
	if c.Ours && !c.Adopted {
		fmt.Fprintf(w, "  topology %s, timings %s, image %s\n", c.Topology, c.Timings, c.Image)
		switch i := c.Isolation; {
		case c.Online:
			fmt.Fprintln(w, "  packets may leave this machine (--online)")
		case i != nil && i.InPlace:
			fmt.Fprintf(w, "  no packet leaves this machine (%d refused so far)\n", i.Kept+i.Escaped)
		case i != nil:
			fmt.Fprintln(w, a.paint(red, "  the rules that keep its packets on this machine are not in place"))
		}
	}
	table(w, func(row func(...string)) {
		row("  NODE", "ROLE", "STATE", "ADDRESS", "MAY FALL ILL")
		for _, n := range c.Nodes {
			ill := "never"
			if n.Victim {
				ill = "yes"
			}
			row("  "+n.Name, n.Role, n.State, n.IP, ill)
		}
	})
	if c.Kubeconfig != "" {
		fmt.Fprintf(w, "  kubectl --kubeconfig %s get nodes\n", shellescape.Quote(c.Kubeconfig))
	}
}
