package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/testbed"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

// illness is a scenario's fault on a node, without the runner's judgement: what inject and lab make.
type illness struct {
	lab       suites.Lab
	scenario  *scenarios.Scenario
	shown     string // the scenario's name, or "lab"
	run       string
	node      string
	namespace string
	registry  *scenarios.RegistryValues
	contained string // the sentence, where the host only allowed a contained fault
	release   func()
	cluster   *cluster.Cluster
	hold      suites.Hold
	agents    map[string]suites.Agent
	made      []suites.Objects // through the API
}

const (
	labelRun      = cluster.RunLabel
	labelScenario = "sickbay.dev/scenario"
	labelNode     = cluster.NodeLabel // runs of other processes do not demand silence of that node
	// leaseWhileHere is renewed every third of it while the process lives; a killed process leaves a node that heals itself.
	leaseWhileHere = time.Minute
	// makeIllBound covers the slowest prepare, a filesystem of its own for the runtime, and conditions that follow the
	// kubelet's status period.
	makeIllBound = 5 * time.Minute
)

// makeIll prepares and injects. When it fails or ctx ends, what was begun is undone.
func (a *app) makeIll(ctx context.Context, lab suites.Lab, c *cluster.Cluster, s *scenarios.Scenario, victim string, lease time.Duration, secret bool) (_ *illness, err error) {
	ill := &illness{lab: lab, cluster: c, scenario: s, shown: s.Metadata.Name, agents: map[string]suites.Agent{}}
	if secret {
		ill.shown = "lab" // the names of run and namespace are the first that a trainee sees
	}
	ill.run = suites.NewRunID(ill.shown)
	ill.namespace = "sickbay-" + ill.run
	if err := ill.claim(ctx, c, victim); err != nil {
		return nil, err
	}
	undo := suites.Registry.Add("run "+ill.run+" on "+ill.node, "sickbay recover --cluster "+c.Name+" --run "+ill.run, func(ctx context.Context) error {
		return ill.recover(ctx)
	})
	ctx, cancel := context.WithTimeoutCause(ctx, timeoutscale.Bound(makeIllBound), fmt.Errorf("making %s ill took longer than %s", ill.node, timeoutscale.Bound(makeIllBound)))
	defer cancel()
	title := "make " + ill.node + " ill"
	if !secret {
		title += ": " + s.Metadata.Name
	}
	task := progress.From(ctx).Start(title, timeoutscale.Bound(makeIllBound))
	defer func() {
		task.End(err)
		if err == nil {
			undo.Forget()
			return
		}
		fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), suites.DefaultTimings().Recovery)
		defer cancel()
		err = errors.Join(err, undo.Run(fresh))
		ill.release()
	}()
	detail := func(format string, args ...any) {
		if !secret {
			task.Detail(format, args...)
		}
	}
	if err := ill.begin(ctx, lease); err != nil {
		return nil, err
	}
	began := time.Now()
	for i, act := range slices.Concat(s.Spec.Prepare, s.Spec.Inject) {
		if i == len(s.Spec.Prepare) {
			if err := ill.workload(ctx); err != nil {
				return nil, err
			}
		}
		detail("%s", act.Mechanism)
		if err := ill.place(ctx, act, i, i < len(s.Spec.Prepare), lease); err != nil {
			return nil, err
		}
		if err := ill.wait(ctx, act, began, detail); err != nil {
			return nil, err
		}
	}
	return ill, nil
}

// claim takes the named worker, or the first that is free.
func (i *illness) claim(ctx context.Context, c *cluster.Cluster, victim string) error {
	var claims []func()
	i.release = func() {
		for _, r := range claims {
			r()
		}
	}
	if slices.Contains(i.scenario.Spec.Claims, "host") {
		r, err := i.lab.Claim(ctx, suites.HostNode)
		if err != nil {
			return err
		}
		claims = append(claims, r)
	}
	candidates := c.Victims()
	if victim != "" {
		candidates = []string{victim}
	}
	var last error
	for _, n := range candidates {
		r, err := i.lab.Claim(ctx, n)
		if err != nil {
			last = err
			continue
		}
		claims = append(claims, r)
		i.node = n
		return i.clean(ctx)
	}
	i.release()
	if last == nil {
		last = fmt.Errorf("cluster %s has no worker", c.Name)
	}
	return last
}

// clean refuses a node on which something is injected already.
func (i *illness) clean(ctx context.Context) error {
	agent, err := i.agent(ctx, i.node)
	if err != nil {
		i.release()
		return err
	}
	open, err := agent.Status(ctx)
	if err != nil {
		i.release()
		return fmt.Errorf("ask node %s for what is injected on it: %w", i.node, err)
	}
	for _, s := range open {
		if s.State != injectors.Recovered {
			i.release()
			return hint(fmt.Errorf("node %s is ill already: %s of run %s", i.node, s.Mechanism, s.Run), "Undo it with: sickbay recover --cluster %s --run %s", i.lab.Cluster(), s.Run)
		}
	}
	return nil
}

func (i *illness) agent(ctx context.Context, node string) (suites.Agent, error) {
	if a, ok := i.agents[node]; ok {
		return a, nil
	}
	a, err := i.lab.Agent(ctx, node)
	if err != nil {
		return nil, fmt.Errorf("reach the agent on node %s: %w", node, err)
	}
	i.agents[node] = a
	return a, nil
}

// begin makes what comes before the node is touched: the run's record on this host, its namespace, and the registry of a scenario
// that has one.
func (i *illness) begin(ctx context.Context, lease time.Duration) error {
	var err error
	if i.hold, err = i.lab.Begin(ctx, cluster.Record{Run: i.run, Scenario: i.shown, Node: i.node, Lease: lease, Host: slices.Contains(i.scenario.Spec.Claims, "host")}); err != nil {
		return err
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: i.namespace, Labels: map[string]string{labelRun: i.run, labelScenario: i.shown, labelNode: i.node},
	}}
	if _, err := i.lab.Kube().CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create namespace %s: %w", i.namespace, err)
	}
	if r := i.scenario.Spec.Registry; r != nil {
		if i.registry, err = i.lab.StartRegistry(ctx, i.run, i.node, *r); err != nil {
			return fmt.Errorf("start the registry of %s: %w", i.shown, err)
		}
	}
	return nil
}

// values are what manifests and parameters may use.
func (i *illness) values() scenarios.WorkloadValues {
	v := scenarios.WorkloadValues{Node: i.node, Namespace: i.namespace, Image: i.lab.Image(), Run: i.run, Registry: i.registry}
	if a := i.agents[i.node]; a != nil {
		v.Agent = a.Path()
	}
	return v
}

func (i *illness) workload(ctx context.Context) error {
	manifest, err := i.scenario.RenderWorkload(i.values())
	if err != nil || manifest == "" {
		return err
	}
	objects, err := i.lab.Workload(ctx, i.namespace, []byte(manifest), suites.Bind(i.node))
	i.note(objects)
	if err != nil {
		return err
	}
	return every(ctx, time.Second, func() (bool, error) {
		pods, err := i.lab.Kube().CoreV1().Pods(i.namespace).List(ctx, metav1.ListOptions{})
		if err != nil || len(pods.Items) == 0 {
			return false, err
		}
		for _, p := range pods.Items {
			if p.Status.Phase != corev1.PodRunning && p.Status.Phase != corev1.PodSucceeded {
				return false, nil
			}
		}
		return true, nil
	})
}

func (i *illness) note(o suites.Objects) {
	if o != nil {
		i.made = append(i.made, o)
	}
}

func (i *illness) place(ctx context.Context, act scenarios.Action, n int, prepared bool, lease time.Duration) error {
	if w := act.Rollout(); w != nil {
		objects, err := suites.RollOut(ctx, i.lab, i.scenario, w, i.values())
		i.note(objects)
		return err
	}
	for _, node := range suites.Places(i.lab, act, i.node) {
		if err := i.placeOn(ctx, node, act, n, prepared, lease); err != nil {
			return err
		}
	}
	return nil
}

func (i *illness) placeOn(ctx context.Context, node string, act scenarios.Action, n int, prepared bool, lease time.Duration) error {
	agent, err := i.agent(ctx, node)
	if err != nil {
		return err
	}
	params, err := i.values().Params(act)
	if err != nil {
		return err
	}
	in := injectors.Injection{
		ID: fmt.Sprintf("%s-%d-%s", i.run, n, act.Mechanism), Run: i.run, Scenario: i.shown,
		Mechanism: act.Mechanism, Params: params, Prepared: prepared, Lease: lease,
	}
	if in, err = suites.Checked(ctx, i.lab, agent, in); err != nil {
		return fmt.Errorf("node %s cannot host %s: %w", node, act.Mechanism, err)
	}
	st, err := agent.Inject(ctx, in)
	if err != nil {
		return fmt.Errorf("inject %s on node %s: %w", act.Mechanism, node, err)
	}
	if st.Fidelity == "contained" {
		i.contained = st.Differs
	}
	return nil
}

// wait waits for what the next action needs, and for a prepared node to be Ready again.
func (i *illness) wait(ctx context.Context, act scenarios.Action, began time.Time, detail func(string, ...any)) error {
	if len(act.Until) == 0 {
		return nil
	}
	watch := diagnose.NewWatcher(i.lab.Target().Only(i.node), diagnose.Options{Since: time.Since(began) + time.Second})
	return every(ctx, time.Second, func() (bool, error) {
		seen, err := watch.Look(ctx)
		if err != nil {
			return false, err
		}
		o := seen[i.node]
		for _, m := range act.Until {
			ok, what := matches(m, &o)
			if !ok {
				detail("waiting for %s", what)
				return false, nil
			}
		}
		return true, nil
	})
}

// matches tells whether one look shows a signal. Only what an action can sensibly wait for is known here.
func matches(m scenarios.Matcher, o *v1alpha1.Observation) (bool, string) {
	switch {
	case m.Condition != nil:
		what := m.Condition.Type + "=" + m.Condition.Status
		if o.API == nil || o.API.Node == nil {
			return false, what
		}
		for _, c := range o.API.Node.Status.Conditions {
			if string(c.Type) == m.Condition.Type && string(c.Status) == m.Condition.Status && strings.Contains(c.Message, m.Condition.Contains) {
				return true, what
			}
		}
		return false, what
	case m.Allocatable != nil:
		if o.API == nil || o.API.Node == nil {
			return false, "allocatable " + m.Allocatable.Resource
		}
		return m.Allocatable.Of(o.API.Node), fmt.Sprintf("allocatable %s %d", m.Allocatable.Resource, m.Allocatable.Is)
	case m.Unit != nil:
		u := o.Units[m.Unit.Name]
		return (m.Unit.SubState == "" || u.SubState == m.Unit.SubState) && (m.Unit.Result == "" || u.Result == m.Unit.Result), "unit " + m.Unit.Name
	case m.Log != nil:
		return slices.ContainsFunc(o.Journal.Lines, func(l v1alpha1.LogLine) bool {
			return l.Source == m.Log.Unit && strings.Contains(l.Text, m.Log.Contains)
		}), fmt.Sprintf("%q in the log of %s", m.Log.Contains, m.Log.Unit)
	default:
		return true, "a signal that only `sickbay run` reads"
	}
}

func every(ctx context.Context, pause time.Duration, f func() (bool, error)) error {
	for {
		done, err := f()
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// keepAlive renews the lease until ctx ends.
func (i *illness) keepAlive(ctx context.Context) {
	tick := time.NewTicker(timeoutscale.Bound(leaseWhileHere) / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = i.hold.Renew() // as below
			for _, a := range i.agents {
				call, cancel := context.WithTimeout(ctx, timeoutscale.Bound(leaseWhileHere)/4)
				_ = a.Renew(call, i.run, timeoutscale.Bound(leaseWhileHere)) // a lease that is lost only heals the node early
				cancel()
			}
		}
	}
}

// recover undoes everything of the run. It is legal at any time.
func (i *illness) recover(ctx context.Context) error {
	if i.hold == nil {
		return nil // nothing was begun
	}
	_, err := testbed.Undo(ctx, i.cluster, testbed.Left{Record: cluster.Record{Run: i.run, Node: i.node}})
	for _, o := range slices.Backward(i.made) {
		err = errors.Join(err, o.DeleteCluster(ctx))
	}
	if err != nil {
		i.hold.Release()
		return err
	}
	return i.hold.End()
}
