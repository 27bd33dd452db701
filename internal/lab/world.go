// Package lab is what happens between a person and a scenario: a fault that is not told, a state that outlives the terminal, a referee
// that tells a fix from a workaround, and the score.
//
// It may know scenarios and labs, faults and findings. The referee asks for a lab's own end state first; that no detector speaks is one
// of its questions and never the only one.
package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// scriptBound bounds one question to a node: the slowest waits five seconds for a pod or for a runtime that hangs.
const scriptBound = 30 * time.Second

// World is the cluster around one lab.
type World struct {
	fault.Testbed
	Course *scenarios.Course
	// Session is the lab's, or one that was made again from its state: it knows namespace and workload.
	Session *fault.Session
	// Node reaches any node of the cluster; ControlPlane is the one that kubectl runs on.
	Node         func(name string) node.Node
	ControlPlane string
	// Placed are the ids of what was injected, by node.
	Placed map[string][]string
	// Remedy applies a finding's remedy, as an operator would.
	Remedy func(ctx context.Context, node string, r *v1alpha1.Remedy, done func(v1alpha1.AppliedStep)) error
	Judge  diagnose.JudgeFunc // nil for the detectors
	// Vouched is a CA that the operator vouches for, as PEM: without it no remedy has a node trust anybody.
	Vouched string
	// Pause is between two looks of the detectors: a second, unless told otherwise.
	Pause time.Duration
}

func (w *World) ill() string { return w.Session.Node }

// script runs a shell script and answers whether it ended well, with what it printed. An error means that it did not run.
func (w *World) script(ctx context.Context, on, script string) (out string, yes bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(scriptBound))
	defer cancel()
	argv := []string{"env", "NODE=" + w.ill(), "NAMESPACE=" + w.Session.Namespace(), "CONTROL_PLANE=" + w.ControlPlane}
	if on == w.ControlPlane {
		argv = append(argv, "KUBECONFIG=/etc/kubernetes/admin.conf")
	}
	raw, err := w.Node(on).Run(ctx, node.Command{Argv: append(argv, "sh", "-c", script)})
	var exit *node.ExitError
	if errors.As(err, &exit) {
		return exit.Output, false, nil
	}
	return string(raw), err == nil, err
}

// Holds asks one question of a lab.
func (w *World) Holds(ctx context.Context, c v1alpha1.LabCheck) (bool, error) {
	var yes bool
	var err error
	switch {
	case c.Node != "":
		_, yes, err = w.script(ctx, w.ill(), c.Node)
	case c.Cluster != "":
		_, yes, err = w.script(ctx, w.ControlPlane, c.Cluster)
	case c.Match != nil:
		var o *v1alpha1.Observation
		if o, err = w.Session.Looker.Observe(ctx); err == nil {
			yes, err = w.matches(*c.Match, o)
		}
	}
	return yes != c.Not && err == nil, err
}

// matches asks for a state: compared with a look that saw nothing, whatever holds is new. Where the API server did not answer nothing is
// known.
func (w *World) matches(m v1alpha1.Matcher, o *v1alpha1.Observation) (bool, error) {
	if o.API == nil && m.Unit == nil {
		return false, fmt.Errorf("the API server did not tell of node %s", w.ill())
	}
	s, err := fault.NewSignals(w.ill(), w.Session.Namespace(), &v1alpha1.Observation{}, []v1alpha1.Matcher{m})
	if err != nil {
		return false, err
	}
	s.Feed(o)
	return s.SeenAny(), nil
}

// Do runs commands of a mutant or of a way to solve it. What a command answers is its own matter: the referee says what came of it.
func (w *World) Do(ctx context.Context, list []v1alpha1.LabDo) error {
	for _, d := range list {
		on, script := w.ill(), d.Node
		if d.Cluster != "" {
			on, script = w.ControlPlane, d.Cluster
		}
		if out, yes, err := w.script(ctx, on, script); err != nil {
			return fmt.Errorf("on node %s: %s: %w", on, script, err)
		} else if !yes {
			return fmt.Errorf("on node %s: %s: %s", on, script, out)
		}
	}
	return nil
}

// Diagnose looks twice at every node, reading back only a little: what was cured a minute ago must not count.
func (w *World) Diagnose(ctx context.Context) (v1alpha1.Diagnosis, error) {
	watch := diagnose.NewWatcher(w.Target(), diagnose.Options{Since: 15 * time.Second})
	if ca := cmp.Or(w.Vouched, w.Session.RegistryCA()); ca != "" {
		if err := watch.Trust(ca); err != nil {
			return v1alpha1.Diagnosis{}, fmt.Errorf("the registry's CA: %w", err)
		}
	}
	for i := range 2 {
		if i > 0 {
			if err := retry.Sleep(ctx, cmp.Or(w.Pause, time.Second)); err != nil {
				return v1alpha1.Diagnosis{}, err
			}
		}
		if _, err := watch.Look(ctx); err != nil {
			return v1alpha1.Diagnosis{}, fmt.Errorf("look at the nodes: %w", err)
		}
	}
	return watch.Diagnose(w.Judge), nil
}

// Knew looks until the detectors have named every cause of the lab, or the lab does not go on, and tells when that was: what a tool would
// have known, and a learner reads afterwards.
func (w *World) Knew(ctx context.Context, on func() bool) (time.Time, error) {
	watch := diagnose.NewWatcher(w.Target(), diagnose.Options{Since: time.Minute})
	for on() {
		// A node that does not answer just now may do so the next time.
		if _, err := watch.Look(ctx); err == nil {
			named := map[string]bool{}
			for _, f := range watch.Diagnose(w.Judge).Findings {
				named[f.Name()] = true
			}
			if !slices.ContainsFunc(w.Course.Spec.Expect, func(e v1alpha1.Expected) bool { return !named[e.Failure+"/"+e.Cause] }) {
				return time.Now(), nil
			}
		}
		if err := retry.Sleep(ctx, cmp.Or(w.Pause, 3*time.Second)); err != nil {
			return time.Time{}, err
		}
	}
	return time.Time{}, errors.New("the lab was over before the detectors knew")
}

// undone tells whether what the lab injected was taken back with sickbay's own journal, or with its namespace.
func (w *World) undone(ctx context.Context) (bool, error) {
	ns, err := w.Kube().CoreV1().Namespaces().Get(ctx, w.Session.Namespace(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && ns.DeletionTimestamp != nil {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for namespace %s: %w", w.Session.Namespace(), err)
	}
	for on, ids := range w.Placed {
		a, err := w.Agent(ctx, on)
		if err != nil {
			return false, err
		}
		list, err := a.Status(ctx)
		if err != nil {
			return false, err
		}
		there := map[string]bool{}
		for _, s := range list {
			there[s.ID] = s.State != injectors.Recovered
		}
		for _, id := range ids {
			if !there[id] {
				return true, nil
			}
		}
	}
	return false, nil
}
