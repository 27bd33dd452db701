package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/retry"
)

// Supported refuses what cannot exist with the nodes' runtime.
func (s *Session) Supported() error {
	if why := s.Scenario.Unsupported; why != "" {
		return &injectors.UnsupportedError{Mechanism: s.Scenario.Spec.Inject[0].Mechanism, Reason: why}
	}
	return nil
}

// Clean refuses a node on which another run has left something: an injection in the node's journal, or a namespace. What was rolled out
// through the API ails its pods still, and no node's journal has it. The victim is claimed, so nobody is at work on it.
func (s *Session) Clean(ctx context.Context) error {
	agent, err := s.agent(ctx, s.Node)
	if err != nil {
		return err
	}
	injected, err := retry.Within(ctx, s.t.Call, agent.Status)
	if err != nil {
		return fmt.Errorf("ask node %s for what is injected on it: %w", s.Node, err)
	}
	for _, i := range injected {
		if i.State != injectors.Recovered {
			return s.unclean(i.Run, "%s of run %s (%s)", i.Mechanism, i.Run, i.State)
		}
	}
	list, err := retry.Within(ctx, s.t.Call, func(ctx context.Context) (*corev1.NamespaceList, error) {
		return s.tb.Kube().CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: LabelNode + "=" + s.Node})
	})
	if err != nil {
		return fmt.Errorf("look for what other runs left on cluster %s: %w", s.tb.Cluster(), err)
	}
	for _, ns := range list.Items {
		run := ns.Labels[LabelRun]
		return s.unclean(run, "namespace %s of run %s is left", ns.Name, run)
	}
	return nil
}

func (s *Session) unclean(run, format string, args ...any) error {
	return Failf("node %s is not clean: %s; undo it with: sickbay recover --cluster %s --run %s", s.Node, fmt.Sprintf(format, args...), s.tb.Cluster(), run)
}

// Prepare makes the node able to host the fault, and waits until it is Ready again.
func (s *Session) Prepare(ctx context.Context) error {
	if len(s.Scenario.Spec.Prepare) == 0 {
		return nil
	}
	if err := s.machineRefuses(ctx); err != nil {
		return err
	}
	for i, a := range s.Scenario.Spec.Prepare {
		s.detail("preparing: %s", a.Mechanism)
		if err := s.act(ctx, a, i, true); err != nil {
			return err
		}
	}
	return s.WaitReady(ctx)
}

// machineRefuses asks, before a node is prepared for it, whether the machine can host a fault that reaches beyond its node: what is
// prepared may ail a node that can never have the fault. Whether a node can host the others may depend on what is prepared.
func (s *Session) machineRefuses(ctx context.Context) error {
	for i, a := range s.Scenario.Spec.Inject {
		if m, ok := injectors.Lookup(a.Mechanism); !ok || !m.HostWide {
			continue
		}
		_, _, err := s.checked(ctx, s.Node, a, i, false)
		if unsupported := (*injectors.UnsupportedError)(nil); errors.As(err, &unsupported) {
			return err
		}
	}
	return nil
}

// WaitReady waits until the victim is Ready, without pressure, cordon or taint.
func (s *Session) WaitReady(ctx context.Context) error {
	return WaitReady(ctx, s.tb.Kube(), s.Node, s.t, s.detail)
}

// Check asks every node whether it can host the fault. It changes nothing.
func (s *Session) Check(ctx context.Context) error {
	for i, a := range s.Scenario.Spec.Inject {
		if w := a.Rollout(); w != nil {
			if _, err := s.Scenario.Render(w.Manifest, s.values()); err != nil {
				return err
			}
			continue
		}
		for _, node := range s.nodes(a) {
			if _, _, err := s.checked(ctx, node, a, i, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// Inject carries out the fault's actions in order. One that has no effect is a Failure.
func (s *Session) Inject(ctx context.Context) error {
	for i, a := range s.Scenario.Spec.Inject {
		s.detail("injecting: %s", a.Mechanism)
		if err := s.act(ctx, a, i, false); err != nil {
			return err
		}
	}
	return nil
}

// act carries out one action wherever it acts, and waits for the signals that have to come before the next one.
func (s *Session) act(ctx context.Context, a v1alpha1.Action, n int, prepared bool) error {
	if w := a.Rollout(); w != nil {
		if err := s.rollOut(ctx, w, n); err != nil {
			return err
		}
	} else {
		for _, node := range s.nodes(a) {
			if err := s.injectOn(ctx, node, a, n, prepared); err != nil {
				return err
			}
		}
	}
	return s.await(ctx, a)
}

// nodes are where an action acts, the victim first.
func (s *Session) nodes(a v1alpha1.Action) []string {
	out := []string{s.Node}
	if a.On != v1alpha1.OnEveryNode {
		return out
	}
	for _, n := range s.tb.Target().Nodes {
		if n.Name != s.Node {
			out = append(out, n.Name)
		}
	}
	return out
}

func (s *Session) injection(a v1alpha1.Action, n int, prepared bool) (injectors.Injection, error) {
	raw, err := s.values().Params(a)
	if err != nil {
		return injectors.Injection{}, fmt.Errorf("scenario %s: parameters of %s: %w", s.Name, a.Mechanism, err)
	}
	what := "i"
	if prepared {
		what = "p"
	}
	id := fmt.Sprintf("%s-%s%d", s.Run, what, n+1)
	if !s.Secret {
		id += "-" + a.Mechanism
	}
	return injectors.Injection{
		ID: id, Secret: s.Secret, Run: s.Run, Scenario: s.Name,
		Mechanism: a.Mechanism, Params: raw, Prepared: prepared, Lease: s.t.Lease,
	}, nil
}

// checked asks a node whether it can host an action, and completes it; it changes nothing.
func (s *Session) checked(ctx context.Context, node string, a v1alpha1.Action, n int, prepared bool) (injectors.Injection, Agent, error) {
	in, err := s.injection(a, n, prepared)
	if err != nil {
		return in, nil, err
	}
	agent, err := s.agent(ctx, node)
	if err != nil {
		return in, nil, err
	}
	call, cancel := context.WithTimeout(ctx, s.t.Call)
	defer cancel()
	st, err := agent.Check(call, in)
	if err == nil && st != nil && st.Sign != nil {
		in.Signed, err = s.sign(call, *st.Sign)
	}
	if err != nil {
		return in, nil, fmt.Errorf("node %s cannot host %s: %w", node, a.Mechanism, err)
	}
	return in, agent, nil
}

// sign fetches what a mechanism cannot have on its own node: a certificate signed by the cluster's CA.
func (s *Session) sign(ctx context.Context, r injectors.SignRequest) (string, error) {
	list, err := s.tb.Kube().CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: ControlPlaneLabel})
	if err != nil {
		return "", fmt.Errorf("look for the control plane: %w", err)
	}
	if len(list.Items) == 0 {
		return "", fmt.Errorf("cluster %s has no node labelled %s", s.tb.Cluster(), ControlPlaneLabel)
	}
	name := list.Items[0].Name
	signer, err := s.tb.Agent(ctx, name)
	if err != nil {
		return "", fmt.Errorf("reach the agent on node %s: %w", name, err)
	}
	cert, err := signer.Sign(ctx, r)
	if err != nil {
		return "", fmt.Errorf("have a certificate signed on node %s: %w", name, err)
	}
	return cert, nil
}

// injectOn checks and injects one action. It is noted as placed before the call, so that recovery covers also a half-done one.
func (s *Session) injectOn(ctx context.Context, node string, a v1alpha1.Action, n int, prepared bool) error {
	in, agent, err := s.checked(ctx, node, a, n, prepared)
	if err != nil {
		return err
	}
	locked(s, func() any { s.placed = append(s.placed, placed{node, in}); return nil })
	began := time.Now()
	finished := func() {}
	if s.Hooks.Injecting != nil && !prepared {
		finished = s.Hooks.Injecting(ctx, n, agent, in.ID)
	}
	status, err := agent.Inject(ctx, in)
	finished()
	if err != nil {
		return fmt.Errorf("%s on node %s: %w", a.Mechanism, node, err)
	}
	if status.Active == nil {
		return fmt.Errorf("%s on node %s: the agent did not measure the effect", a.Mechanism, node)
	}
	verb := map[bool]string{false: "injected", true: "prepared"}[prepared]
	text := fmt.Sprintf("%s %s on %s in %s: %s", verb, a.Mechanism, node, time.Since(began).Round(time.Millisecond), status.Active.Text)
	// A node may have what a preparation is for; a fault that is there already is none.
	if !prepared && !status.Active.Present {
		return Failf("%s on node %s was carried out and has no effect: %s", a.Mechanism, node, status.Active.Text)
	}
	// A mechanism that chose by the host says what it became; real is what the scenario declares anyway, unless it is contained.
	if !prepared && status.Fidelity == "contained" {
		locked(s, func() any { s.contained = status.Differs; return nil })
		text += "; contained: " + status.Differs
	}
	s.done(node, a.Mechanism, "%s", strings.TrimSuffix(text, ": "))
	return nil
}

// rollOut applies a manifest over the workload in the run's namespace.
func (s *Session) rollOut(ctx context.Context, w *v1alpha1.Rollout, n int) error {
	began := time.Now()
	text, err := s.Scenario.Render(w.Manifest, s.values())
	if err != nil {
		return err
	}
	objects, err := retry.Within(ctx, s.t.Call, func(ctx context.Context) (Objects, error) {
		return s.tb.Rollout(ctx, s.namespace, []byte(text), Bind(s.Node))
	})
	names := s.created(objects)
	if s.Hooks.Injecting != nil {
		s.Hooks.Injecting(ctx, n, nil, "")()
	}
	if err != nil {
		return fmt.Errorf("roll out %s of scenario %s: %w", w.Manifest, s.Name, err)
	}
	s.done(s.Node, v1alpha1.MechanismWorkload, "applied %s (%s) in %s", w.Manifest, strings.Join(names, ", "), time.Since(began).Round(time.Millisecond))
	return nil
}

// created remembers objects, also those of a call that failed, and returns their names.
func (s *Session) created(o Objects) []string {
	if o == nil {
		return nil
	}
	locked(s, func() any { s.objects = append(s.objects, o); return nil })
	var names []string
	for _, u := range o.List() {
		names = append(names, strings.ToLower(u.GetKind())+"/"+u.GetName())
	}
	return names
}

// await waits for an action's own signals.
func (s *Session) await(ctx context.Context, a v1alpha1.Action) error {
	if len(a.Until) == 0 {
		return nil
	}
	if s.before == nil {
		return fmt.Errorf("%s: there is no look to compare its signals with", a.Mechanism)
	}
	sig, err := NewSignals(s.Node, s.namespace, s.before, a.Until)
	if err != nil {
		return fmt.Errorf("%s: %w", a.Mechanism, err)
	}
	err = s.Looker.Until(ctx, func(o *v1alpha1.Observation) (bool, error) {
		if fresh := sig.Feed(o); s.Hooks.Signals != nil {
			s.Hooks.Signals(fresh)
		}
		s.detail("after %s, waiting for %s", a.Mechanism, strings.Join(sig.Missing(), ", "))
		return len(sig.Missing()) == 0, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return Failf("after %s, before the next action: did not see %s", a.Mechanism, strings.Join(sig.Missing(), ", "))
	}
	return err
}
