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

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/testbed"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
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
	// Runs is what runs have made outside the nodes' journals: through the API, beside the cluster.
	Runs []runStatus `json:"runs"`
}

// runStatus is what is known of one run outside the nodes' journals.
type runStatus struct {
	Run       string    `json:"run"`
	Scenario  string    `json:"scenario,omitempty"`
	Node      string    `json:"node,omitempty"`
	Process   int       `json:"process,omitempty"` // 0 where nothing is recorded of it
	Alive     bool      `json:"alive"`             // the process has the run in hand
	HealsAt   time.Time `json:"healsAt,omitzero"`  // when it is undone at the latest, should the process die now
	Namespace string    `json:"namespace,omitempty"`
	Services  []string  `json:"services,omitempty"`
	Undone    []string  `json:"undone,omitempty"` // by recover
}

func runStatuses(list []testbed.OrphanedRun) []runStatus {
	out := []runStatus{}
	for _, l := range list {
		s := runStatus{Run: l.Run, Scenario: l.Scenario, Node: l.Node, Process: l.PID, Alive: l.Alive, Namespace: l.Namespace, Services: l.Services}
		if l.Recorded {
			s.HealsAt = l.Due().UTC().Truncate(time.Second)
		}
		out = append(out, s)
	}
	return out
}

func (r runStatus) String() string {
	s := fmt.Sprintf("%s: run %s", r.Node, r.Run)
	switch {
	case r.Alive:
		s += fmt.Sprintf(" of process %d", r.Process)
	case r.Process != 0:
		s += fmt.Sprintf(" of process %d, which is gone; undone by itself at %s", r.Process, r.HealsAt.Local().Format("15:04:05"))
	default:
		s += ", of which this machine has no record"
	}
	if r.Namespace != "" {
		s += "; namespace " + r.Namespace
	}
	if len(r.Services) > 0 {
		s += "; beside the cluster " + strings.Join(r.Services, ", ")
	}
	return s
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
		Short: "Show what is injected on each node now",
		Long:  "Show what is injected on each node, with its effect measured now. Exit code 1 if something is injected.",
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
		a.news(ctx)
		left, lerr := testbed.ListOrphans(ctx, c)
		rep.Runs = runStatuses(left)
		ill := len(left) > 0
		for i := range rep.Nodes {
			rep.Nodes[i].Injections = veiled(slices.DeleteFunc(rep.Nodes[i].Injections, func(s injectors.Status) bool { return s.State == injectors.Recovered }))
			ill = ill || len(rep.Nodes[i].Injections) > 0
		}
		if err := print(a, *form, rep, func(w io.Writer) { a.showStatus(w, rep) }); err != nil {
			return err
		}
		switch err := errors.Join(unreached(rep), lerr); {
		case err != nil:
			return err
		case ill:
			return no
		}
		return nil
	}
	return cmd
}

// veiled hides what a lab's injections are: somebody is about to find out.
func veiled(list []injectors.Status) []injectors.Status {
	for i, s := range list {
		if s.Secret {
			list[i] = injectors.Status{Injection: injectors.Injection{ID: s.ID, Run: s.Run, Secret: true, Mechanism: "a lab's fault"}, State: s.State, Since: s.Since, LeaseEnds: s.LeaseEnds, LeaseLeft: s.LeaseLeft}
		}
	}
	return list
}

func (a *app) showStatus(w io.Writer, rep statusReport) {
	any := len(rep.Runs) > 0
	for _, r := range rep.Runs {
		fmt.Fprintln(w, r)
	}
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
		Short: "Undo injected faults",
		Long:  `Undo injected faults. How to undo each is recorded on its node, so this works from any process, after a crash, and twice.`,
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
				return noNode(c, node)
			}
			only = []string{node}
		}
		sel := injectors.Selector{Run: run, All: run == ""}
		task := progress.From(ctx).Start("recover cluster "+c.Name, timeoutscale.Bound(recoverBound))
		a.news(ctx)
		woken, err := wake(ctx, c, only)
		runs, uerr := undo(ctx, c, run, node)
		if run != "" && len(runs) == 1 {
			only = placesOf(c, runs[0].Node) // another node, which may not answer, has nothing of it
		}
		// The nodes' journals also have what no record and no namespace shows.
		rep := a.onNodes(ctx, c, only, recoverBound, func(ctx context.Context, in injecting) ([]injectors.Status, error) { return in.Recover(ctx, sel) })
		rep.Kind, rep.Runs = "Recovered", runs
		err = errors.Join(err, unreached(rep), unrecovered(rep), uerr)
		task.End(err)
		if perr := print(a, *form, rep, func(w io.Writer) { showRecovered(w, woken, rep) }); perr != nil {
			return perr
		}
		return err
	}
	return cmd
}

func showRecovered(w io.Writer, woken []string, rep statusReport) {
	for _, s := range woken {
		fmt.Fprintln(w, s)
	}
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
	for _, r := range rep.Runs {
		n++
		fmt.Fprintf(w, "%s: run %s: %s\n", r.Node, r.Run, strings.Join(r.Undone, "; "))
	}
	if n == 0 {
		fmt.Fprintf(w, "nothing was injected on cluster %s\n", rep.Cluster)
	}
}

// placesOf are the nodes that a run with this victim may have injected into.
func placesOf(c *cluster.Cluster, victim string) []string {
	var out []string
	for _, n := range c.Nodes() {
		if n.Name == victim || n.Role == cluster.ControlPlane {
			out = append(out, n.Name)
		}
	}
	return out
}

// wake makes the nodes run again whose containers are paused or stopped: no agent answers there.
func wake(ctx context.Context, c *cluster.Cluster, only []string) ([]string, error) {
	var did []string
	var errs []error
	for _, n := range c.Nodes() {
		if n.State != "running" && (len(only) == 0 || slices.Contains(only, n.Name)) {
			d, err := c.Wake(ctx, n.Name, false)
			did, errs = append(did, d...), append(errs, err)
		}
	}
	return did, errors.Join(errs...)
}

// undo undoes what runs have made outside the nodes' journals, side by side. A run that still lives loses its own: recover says in
// its help that it undoes runs.
func undo(ctx context.Context, c *cluster.Cluster, run, node string) ([]runStatus, error) {
	left, err := testbed.ListOrphans(ctx, c)
	left = slices.DeleteFunc(left, func(l testbed.OrphanedRun) bool {
		return run != "" && l.Run != run || node != "" && l.Node != node // other nodes' runs go on
	})
	out := runStatuses(left)
	errs := make([]error, len(left))
	var wg sync.WaitGroup
	for i, l := range left {
		wg.Go(func() { out[i].Undone, errs[i] = testbed.Undo(ctx, c, l) })
	}
	wg.Wait()
	return out, errors.Join(append(errs, err)...)
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
	Recover(ctx context.Context, sel injectors.Selector) ([]injectors.Status, error)
	Status(ctx context.Context, active bool) ([]injectors.Status, error)
}

// onNodes asks the nodes side by side, each within its bound; one that does not answer is told and holds nobody up.
func (a *app) onNodes(ctx context.Context, c *cluster.Cluster, only []string, bound time.Duration, f func(context.Context, injecting) ([]injectors.Status, error)) statusReport {
	rep := statusReport{APIVersion: v1alpha1.APIVersion, Cluster: c.Name, Runs: []runStatus{}}
	for _, n := range c.Nodes() {
		if len(only) == 0 || slices.Contains(only, n.Name) {
			rep.Nodes = append(rep.Nodes, nodeStatus{Node: n.Name, Injections: []injectors.Status{}})
		}
	}
	var wg sync.WaitGroup
	for i := range rep.Nodes {
		n := &rep.Nodes[i]
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(bound))
			defer cancel()
			in, err := a.deps.injecting(ctx, c.Node(n.Node))
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
