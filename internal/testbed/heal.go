package testbed

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/remedy"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

const (
	// Grace is how long after the end of its lease a node may take to heal itself before somebody else does it: four looks of its
	// own timer.
	Grace = 20 * time.Second
	// healBound bounds undoing one run from outside: a dedicated filesystem takes a minute to be merged back.
	healBound = 4 * time.Minute
	// healPatience is how long the kubelet gets to end a run's pods before they are deleted without it. Their grace period is a
	// few seconds.
	healPatience = 20 * time.Second
)

// OrphanedRun is what a run has begun and not ended, or what there is of one that nobody has a record of.
type OrphanedRun struct {
	cluster.Record
	Recorded  bool
	Namespace string   // "" when it is gone
	Services  []string // containers beside the cluster
}

// ListOrphans lists what runs on this cluster have made outside the nodes' own journals: records on the host, namespaces, and containers
// beside the nodes. Runs that are going on just now are among them. Where one of the three cannot be asked, the others are told all
// the same, with the error.
func ListOrphans(ctx context.Context, c *cluster.Cluster) ([]OrphanedRun, error) {
	by := map[string]*OrphanedRun{}
	of := func(run, node, scenario string) *OrphanedRun {
		if by[run] == nil {
			by[run] = &OrphanedRun{Record: cluster.Record{Cluster: c.Name, Run: run, Node: node, Scenario: scenario}}
		}
		return by[run]
	}
	records, err := cluster.Records(c.Name)
	errs := []error{err}
	for _, r := range records {
		*of(r.Run, r.Node, r.Scenario) = OrphanedRun{Record: r, Recorded: true}
	}
	call, cancel := context.WithTimeout(ctx, fault.Timings{}.OnThisMachine().Call)
	defer cancel()
	list, err := c.Kube().CoreV1().Namespaces().List(call, metav1.ListOptions{LabelSelector: fault.LabelRun})
	if err != nil {
		errs = append(errs, fmt.Errorf("list the namespaces of runs on cluster %s: %w", c.Name, err))
	} else {
		for _, ns := range list.Items {
			of(ns.Labels[fault.LabelRun], ns.Labels[fault.LabelNode], ns.Labels[fault.LabelScenario]).Namespace = ns.Name
		}
	}
	services, err := c.Services(ctx)
	errs = append(errs, err)
	for _, s := range services {
		l := of(s.Run, s.Node, "")
		l.Services = append(l.Services, s.Name)
	}
	out := make([]OrphanedRun, 0, len(by))
	for _, run := range slices.Sorted(maps.Keys(by)) {
		out = append(out, *by[run])
	}
	return out, errors.Join(errs...)
}

// healer undoes one run from outside, without its process.
type healer struct {
	*kindTestbed
	run string
	rec cluster.Record
	did []string
}

func newHealer(c *cluster.Cluster, r cluster.Record) *healer {
	lab := newKindTestbed(c, "")
	lab.images[r.Node] = r.Images
	return &healer{kindTestbed: lab, run: r.Run, rec: r}
}

// Heal undoes a run whose process is gone, and forgets it when nothing is left. It first waits for the node to heal itself for
// patience. It answers with what it had to do itself. A run that is in somebody's hands is a *cluster.ClaimedError.
func Heal(ctx context.Context, c *cluster.Cluster, r cluster.Record, patience time.Duration) ([]string, error) {
	hold, err := r.Take()
	if err != nil {
		return nil, err
	}
	h := newHealer(c, r)
	if err := h.heal(ctx, patience); err != nil {
		hold.Release()
		return h.did, fmt.Errorf("undo run %s on node %s: %w", r.Run, r.Node, err)
	}
	return h.did, hold.End()
}

// Undo undoes a run in whosever hands it is, when somebody asks for it. The record of one that lives stays with it.
func Undo(ctx context.Context, c *cluster.Cluster, l OrphanedRun) ([]string, error) {
	if l.Recorded && !l.Alive {
		return Heal(ctx, c, l.Record, 0)
	}
	h := newHealer(c, l.Record)
	err := h.heal(ctx, 0)
	return h.did, err
}

func (h *healer) say(format string, args ...any) { h.did = append(h.did, fmt.Sprintf(format, args...)) }

// heal goes in the runner's own order: the faults, so that the kubelet can end pods; the namespace, so that nothing stands on what
// was prepared; then that. It goes on after an error, and returns all of them.
func (h *healer) heal(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, max(0, patience)+timeoutscale.Bound(healBound), fmt.Errorf("undoing it took longer than %s", timeoutscale.Bound(healBound)))
	defer cancel()
	var errs []error
	// An engine that was restarted leaves all nodes stopped, the API server's with them.
	wake := func(thawed bool) {
		for _, n := range h.c.Nodes() {
			if mine := n.Name == h.rec.Node; mine || n.State != "running" {
				did, err := h.c.Wake(ctx, n.Name, thawed && mine)
				h.did, errs = append(h.did, did...), append(errs, err)
			}
		}
	}
	wake(false)
	if patience > 0 {
		// That it ends without the journal's being empty is no error: the rest is done from here.
		_ = retry.Until(ctx, time.Second, patience, func(ctx context.Context) (bool, error) {
			left, err := h.faults(ctx)
			return err == nil && len(left) == 0, err
		})
	}
	if err := h.recoverFaults(ctx); err != nil {
		wake(true) // a frozen filesystem may have kept the node from it; what is left is tried again below
	}
	errs = append(errs, h.clean(ctx), h.recover(ctx))
	if err := errors.Join(errs...); err != nil || !h.c.Has(h.rec.Node) {
		return err
	}
	if err := h.RestoreImages(ctx, h.rec.Node); err != nil {
		return err
	}
	return fault.WaitReady(ctx, h.Kube(), h.rec.Node, fault.Timings{}.OnThisMachine(), func(string, ...any) {})
}

// places are the nodes a run may have injected into: its victim, and all where it had the machine for itself.
func (h *healer) places() []string {
	var out []string
	for _, n := range h.c.Nodes() {
		if n.State == "running" && h.rec.Host || n.Name == h.rec.Node {
			out = append(out, n.Name)
		}
	}
	return out
}

// injected is an injection of the run, of one node.
type injected struct{ node, id string }

// faults lists what of the run is still injected, preparations left out, newest first.
func (h *healer) faults(ctx context.Context) ([]injected, error) {
	var out []injected
	var errs []error
	for _, n := range h.places() {
		list, err := retry.Within(ctx, fault.Timings{}.OnThisMachine().Call, func(ctx context.Context) ([]injectors.Status, error) {
			a, err := h.Agent(ctx, n)
			if err != nil {
				return nil, err
			}
			return a.Status(ctx)
		})
		errs = append(errs, err)
		for _, s := range slices.Backward(list) {
			if s.Run == h.run && !s.Prepared {
				out = append(out, injected{n, s.ID})
			}
		}
	}
	return out, errors.Join(errs...)
}

func (h *healer) recoverFaults(ctx context.Context) error {
	list, err := h.faults(ctx)
	errs := []error{err}
	for _, f := range list {
		errs = append(errs, h.recoverOn(ctx, f.node, f.id))
	}
	return errors.Join(errs...)
}

func (h *healer) recover(ctx context.Context) error {
	var errs []error
	for _, n := range h.places() {
		errs = append(errs, h.recoverOn(ctx, n, ""))
	}
	return errors.Join(errs...)
}

// recoverOn undoes one injection of a node, or all of the run's with no id.
func (h *healer) recoverOn(ctx context.Context, node, id string) error {
	a, err := h.Agent(ctx, node)
	if err != nil {
		return err
	}
	st, err := a.Recover(ctx, h.run, id)
	for _, s := range st {
		if s.Error == "" {
			what := "nothing was left to undo"
			if len(s.Undone) > 0 {
				what = strings.Join(s.Undone, "; ")
			}
			h.say("node %s: %s: %s", node, s.Mechanism, what)
		}
	}
	if err != nil {
		return fmt.Errorf("recover on node %s: %w", node, err)
	}
	return nil
}

// clean removes what a run has made outside its nodes.
func (h *healer) clean(ctx context.Context) error {
	var errs []error
	if h.rec.Remedied && h.c.Has(h.rec.Node) {
		errs = append(errs, h.uncordon(ctx), remedy.Forget(ctx, h.c.Node(h.rec.Node)))
	}
	ns := fault.RunNamespace(h.run)
	there, err := h.Kube().CoreV1().Namespaces().Get(ctx, ns, metav1.GetOptions{})
	if err == nil && there.Name == ns {
		h.say("namespace %s deleted", ns)
	}
	if err := fault.DeleteNamespace(ctx, h.Kube(), ns); err != nil {
		return errors.Join(append(errs, err)...)
	}
	errs = append(errs,
		fault.DeleteClusterObjects(ctx, h.Kube(), h.run),
		fault.NamespaceGone(ctx, h.Kube(), ns, timeoutscale.Bound(healPatience), timeoutscale.Bound(healBound), func(pod string) { h.say("pod %s deleted without the kubelet", pod) }),
		h.RemoveServices(ctx, h.run),
		h.c.RemoveServices(ctx, "", h.rec.Node), // what a remedy had opened to read a file of the node's image
	)
	return errors.Join(errs...)
}

// uncordon ends the cordon of a remedy that never came to its end. The run would not have begun on a node that was cordoned.
func (h *healer) uncordon(ctx context.Context) error {
	n, err := h.Kube().CoreV1().Nodes().Get(ctx, h.rec.Node, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("ask whether node %s is cordoned: %w", h.rec.Node, err)
	}
	if !n.Spec.Unschedulable {
		return nil
	}
	_, err = h.Kube().CoreV1().Nodes().Patch(ctx, h.rec.Node, types.MergePatchType, []byte(`{"spec":{"unschedulable":null}}`), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("uncordon node %s: %w", h.rec.Node, err)
	}
	h.say("node %s uncordoned", h.rec.Node)
	return nil
}

// SweepDue heals what runs of dead processes have left on a cluster and neither the node nor the watchdog has healed in time. told
// hears of every run that is looked after, before it begins.
func SweepDue(ctx context.Context, c *cluster.Cluster, told func(cluster.Record)) ([]string, error) {
	records, err := cluster.Records(c.Name)
	errs := []error{err}
	var did []string
	for _, r := range records {
		if r.Alive || time.Now().Before(r.Due().Add(Grace)) {
			continue
		}
		told(r)
		d, err := Heal(ctx, c, r, 0)
		if errors.As(err, new(*cluster.ClaimedError)) {
			continue // the watchdog is at it
		}
		did, errs = append(did, d...), append(errs, err)
	}
	return did, errors.Join(errs...)
}
