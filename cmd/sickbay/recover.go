package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/agent/protocol"
	"github.com/sickbay-dev/sickbay/cluster"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/observation"
	"github.com/sickbay-dev/sickbay/progress"
	"github.com/sickbay-dev/sickbay/suites"
)

// nodeStatus is what one node's journal says.
type nodeStatus struct {
	Node       string             `json:"node"`
	Injections []injectors.Status `json:"injections"`
	Error      string             `json:"error,omitempty"` // it could not be asked
}

// statusReport is what status and recover print as data.
type statusReport struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Cluster    string       `json:"cluster"`
	Nodes      []nodeStatus `json:"nodes"`
}

// callBound is for one call to a node's agent, its installation included; recovering waits for restarts of kubelet and containerd.
const (
	callBound    = 20 * time.Second
	recoverBound = 3 * time.Minute
)

func (a *app) status() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what is injected on the cluster's nodes, measured on the nodes themselves",
		Long:  "Show what is injected, by every node's own journal, with the effect measured now. Exit code 1 when something is injected.",
		Example: `  sickbay status
  sickbay status -o json`,
		Args: noArgs,
	}
	a.clusterFlag(cmd, &name)
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		c, err := a.ours(ctx, name)
		if err != nil {
			return err
		}
		rep := a.onNodes(ctx, c, nil, callBound, func(ctx context.Context, in injecting) ([]injectors.Status, error) { return in.Status(ctx, true) })
		rep.Kind = "InjectionStatus"
		ill := false
		for i := range rep.Nodes {
			rep.Nodes[i].Injections = slices.DeleteFunc(rep.Nodes[i].Injections, func(s injectors.Status) bool { return s.State == injectors.Recovered })
			ill = ill || len(rep.Nodes[i].Injections) > 0
		}
		if err := print(a, *form, rep, func(w io.Writer) { a.showStatus(w, rep) }); err != nil {
			return err
		}
		switch {
		case unreached(rep) != nil:
			return unreached(rep)
		case ill:
			return no
		}
		return nil
	}
	return cmd
}

func (a *app) showStatus(w io.Writer, rep statusReport) {
	any := false
	for _, n := range rep.Nodes {
		for _, s := range n.Injections {
			any = true
			effect := ""
			if s.Active != nil {
				effect = s.Active.Text
			}
			lease := "no lease"
			if !s.LeaseEnds.IsZero() {
				lease = "heals itself in " + progress.Elapsed(time.Until(s.LeaseEnds))
			}
			fmt.Fprintf(w, "%s: %s %s (run %s, %s)", a.paint(bold, n.Node), s.Mechanism, s.State, s.Run, lease)
			if effect != "" {
				fmt.Fprintf(w, ": %s", effect)
			}
			fmt.Fprintln(w)
			if s.Error != "" {
				fmt.Fprintf(w, "  %s\n", a.paint(red, s.Error))
			}
		}
	}
	if !any {
		fmt.Fprintf(w, "nothing is injected on cluster %s\n", rep.Cluster)
	} else {
		fmt.Fprintf(w, "undo all of it: sickbay recover --cluster %s --all\n", rep.Cluster)
	}
}

func (a *app) recover() *cobra.Command {
	var name, run, node string
	var all bool
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Undo what is injected, from the nodes' own journals",
		Long: `Undo what is injected. What an injection displaced is kept in a journal on its node, so this works from another process,
after a crash, half-way, and twice.`,
		Example: `  sickbay recover                    # everything on every node
  sickbay recover --run pleg-disk-3f9a2c
  sickbay recover --node sickbay-worker2`,
		Args: noArgs,
	}
	a.clusterFlag(cmd, &name)
	a.nodeFlag(cmd, &node, "only on this node")
	cmd.Flags().StringVar(&run, "run", "", "only what this run injected (sickbay status names them)")
	cmd.Flags().BoolVar(&all, "all", false, "everything, on every node (the default)")
	cmd.MarkFlagsMutuallyExclusive("all", "run")
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		c, err := a.ours(ctx, name)
		if err != nil {
			return err
		}
		var only []string
		if node != "" {
			if !c.Has(node) {
				return usagef("cluster %s has no node %q", c.Name, node)
			}
			only = []string{node}
		}
		sel := protocol.Selector{Run: run, All: run == ""}
		task := progress.From(ctx).Start("recover cluster "+c.Name, recoverBound)
		rep := a.onNodes(ctx, c, only, recoverBound, func(ctx context.Context, in injecting) ([]injectors.Status, error) { return in.Recover(ctx, sel) })
		rep.Kind = "Recovered"
		err = errors.Join(unreached(rep), unrecovered(rep), dropNamespaces(ctx, c, run, node), c.RemoveServices(ctx, run, node))
		task.End(err)
		if perr := print(a, *form, rep, func(w io.Writer) { showRecovered(w, rep) }); perr != nil {
			return perr
		}
		return err
	}
	return cmd
}

func showRecovered(w io.Writer, rep statusReport) {
	n := 0
	for _, x := range rep.Nodes {
		for _, s := range x.Injections {
			n++
			what := "there was nothing left to undo"
			if len(s.Undone) > 0 {
				what = strings.Join(s.Undone, "; ")
			}
			fmt.Fprintf(w, "%s: %s of run %s: %s\n", x.Node, s.Mechanism, s.Run, what)
		}
	}
	if n == 0 {
		fmt.Fprintf(w, "nothing was injected on cluster %s\n", rep.Cluster)
	}
}

// dropNamespaces removes the namespaces of runs that were recovered. A run that still lives would lose its own: recover says
// in its help that it undoes runs.
func dropNamespaces(ctx context.Context, c *cluster.Cluster, run, node string) error {
	selector := labelRun
	if run != "" {
		selector += "=" + run
	}
	if node != "" {
		selector += "," + labelNode + "=" + node // other nodes' runs go on
	}
	ctx, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()
	list, err := c.Kube().CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return fmt.Errorf("list the namespaces of runs on cluster %s: %w", c.Name, err)
	}
	var errs []error
	for _, ns := range list.Items {
		errs = append(errs, suites.DeleteNamespace(ctx, c.Kube(), ns.Name), suites.DeleteClusterObjects(ctx, c.Kube(), ns.Labels[labelRun]))
	}
	return errors.Join(errs...)
}

func unreached(rep statusReport) error {
	var errs []error
	for _, n := range rep.Nodes {
		if n.Error != "" {
			errs = append(errs, errors.New(n.Error))
		}
	}
	return errors.Join(errs...)
}

func unrecovered(rep statusReport) error {
	var errs []error
	for _, n := range rep.Nodes {
		for _, s := range n.Injections {
			if s.State != injectors.Recovered {
				errs = append(errs, fmt.Errorf("%s of run %s on node %s is still %s: %s", s.Mechanism, s.Run, n.Node, s.State, s.Error))
			}
		}
	}
	return errors.Join(errs...)
}

// injecting is the injecting side of an agent.
type injecting interface {
	Recover(ctx context.Context, sel protocol.Selector) ([]injectors.Status, error)
	Status(ctx context.Context, active bool) ([]injectors.Status, error)
}

// onNodes asks the nodes side by side, each within its bound; one that does not answer is told and holds nobody up.
func (a *app) onNodes(ctx context.Context, c *cluster.Cluster, only []string, bound time.Duration, f func(context.Context, injecting) ([]injectors.Status, error)) statusReport {
	rep := statusReport{APIVersion: observation.APIVersion, Cluster: c.Name}
	for _, n := range c.Nodes() {
		if len(only) == 0 || slices.Contains(only, n.Name) {
			rep.Nodes = append(rep.Nodes, nodeStatus{Node: n.Name, Injections: []injectors.Status{}})
		}
	}
	var wg sync.WaitGroup
	for i := range rep.Nodes {
		n := &rep.Nodes[i]
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, bound)
			defer cancel()
			in, err := a.world.injecting(ctx, c.Node(n.Node))
			if err == nil {
				var got []injectors.Status
				if got, err = f(ctx, in); got != nil {
					n.Injections = got
				}
			}
			if err != nil {
				n.Error = fmt.Sprintf("node %s: %s", n.Node, err)
			}
		})
	}
	wg.Wait()
	return rep
}
