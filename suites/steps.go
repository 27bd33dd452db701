package suites

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/fingerprint/apiserver"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// Labels of everything a run makes through the API.
const (
	LabelRun      = apiserver.RunLabel
	LabelScenario = "sickbay.dev/scenario"
	LabelNode     = "sickbay.dev/node"
)

// baseline proves that everything is well before the run starts, makes the node able to host the fault, and takes the
// fingerprint that residue compares with.
func (r *run) baseline(ctx context.Context, st step) error {
	agent, err := r.agent(ctx, r.victim)
	if err != nil {
		return err
	}
	left, err := retry.Within(ctx, r.t.Call, agent.Status)
	if err != nil {
		return fmt.Errorf("ask node %s for what is injected on it: %w", r.victim, err)
	}
	if open := stillOpen(left); len(open) > 0 {
		return failf("node %s is not clean: %s; undo it with: sickbay recover --cluster %s", r.victim, strings.Join(open, ", "), r.s.lab.Cluster())
	}
	if err := r.noLeftNamespace(ctx); err != nil {
		return err
	}
	r.task.Detail("looking at all nodes")
	if err := r.silence(ctx, 1); err != nil {
		return err
	}
	st.saw("node %s is Ready, nothing is injected on it and no detector speaks", r.victim)

	r.task.Detail("taking a fingerprint of node %s", r.victim)
	if r.mark, err = r.s.lab.Mark(ctx, r.victim, r.ns); err != nil {
		return fmt.Errorf("take a fingerprint of node %s: %w", r.victim, err)
	}
	st.saw("fingerprint of the node taken")

	hold, err := r.s.lab.Begin(ctx, cluster.Record{Run: r.id, Scenario: r.sc.Metadata.Name, Node: r.victim, Lease: r.t.Lease, Host: claimsHost(r.sc)})
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.hold = hold
	r.mu.Unlock()
	if err := r.makeNamespace(ctx); err != nil {
		return err
	}
	if err := r.startRegistry(ctx, st); err != nil {
		return err
	}
	for i, a := range r.sc.Spec.Prepare {
		r.task.Detail("preparing: %s", a.Mechanism)
		if err := r.place(ctx, st, a, i, true); err != nil {
			return err
		}
		if err := r.waitUntil(ctx, a, "prepare"); err != nil {
			return err
		}
	}
	if len(r.sc.Spec.Prepare) > 0 {
		if err := r.waitNodeReady(ctx); err != nil {
			return err
		}
	}
	if err := r.workload(ctx, st); err != nil {
		return err
	}
	// Preparing restarts kubelet or containerd, and that leaves words in the journal: the baseline begins after them.
	r.watch.Restart()
	if err := r.silence(ctx, r.t.SureLooks); err != nil {
		return err
	}
	st.saw("no detector speaks on any node")
	return nil
}

// noLeftNamespace refuses a victim on which another run's namespace is left: what that run rolled out through the API ails its
// pods still, and no node's journal tells of it. The victim is claimed, so nobody is at work on it.
func (r *run) noLeftNamespace(ctx context.Context) error {
	list, err := retry.Within(ctx, r.t.Call, func(ctx context.Context) (*corev1.NamespaceList, error) {
		return r.s.lab.Kube().CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: LabelNode + "=" + r.victim})
	})
	if err != nil {
		return fmt.Errorf("look for what other runs left on cluster %s: %w", r.s.lab.Cluster(), err)
	}
	for _, ns := range list.Items {
		return failf("node %s is not clean: namespace %s of run %s is left; undo it with: sickbay recover --cluster %s --run %s",
			r.victim, ns.Name, ns.Labels[LabelRun], r.s.lab.Cluster(), ns.Labels[LabelRun])
	}
	return nil
}

// stillOpen names injections that were not recovered.
func stillOpen(list []injectors.Status) []string {
	var out []string
	for _, s := range list {
		if s.State != injectors.Recovered {
			out = append(out, fmt.Sprintf("%s of run %s (%s)", s.Mechanism, s.Run, s.State))
		}
	}
	return out
}

// agent reaches a node's agent and remembers it for leases and recovery.
func (r *run) agent(ctx context.Context, node string) (Agent, error) {
	r.mu.Lock()
	a, ok := r.agents[node]
	r.mu.Unlock()
	if ok {
		return a, nil
	}
	r.s.touch(node)
	a, err := r.s.lab.Agent(ctx, node)
	if err != nil {
		return nil, fmt.Errorf("reach the agent on node %s: %w", node, err)
	}
	r.mu.Lock()
	r.agents[node] = a
	r.mu.Unlock()
	return a, nil
}

// silence waits until no detector speaks on any watched node and the victim is Ready, for looks in a row. A finding restarts
// the histories, so that old words do not speak for ever.
func (r *run) silence(ctx context.Context, looks int) error {
	quiet := 0
	var last error
	started := time.Now()
	for quiet < looks {
		d, err := r.lookAround(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case err != nil:
		default:
			last = nil
			o := r.watch.Histories()[r.victim].Last()
			switch {
			case len(d.Findings) > 0:
				last = failf("before anything was injected, detectors say: %s", strings.Join(summaries(d.Findings), "; "))
				r.watch.Restart()
			case o.API == nil || o.API.Node == nil:
				last = failf("the API server has no node %s", r.victim)
			case NotReady(o.API.Node) != "":
				last = failf("node %s is not well before anything was injected: %s", r.victim, NotReady(o.API.Node))
			case !observed(o):
				why, _ := o.Unreadable(v1alpha1.SourceUnits)
				last = fmt.Errorf("node %s cannot be observed: %s", r.victim, why)
			}
			if last != nil {
				quiet = 0
				r.detail("%s", last)
			} else {
				quiet++
				r.before = o
				r.unread = unreadSet(o)
			}
			if quiet >= looks {
				return nil
			}
		}
		if err := sleep(ctx, r.pause(started)); err != nil {
			if last != nil {
				return last
			}
			return err
		}
	}
	return nil
}

// observed tells whether the agent gave anything at all.
func observed(o *v1alpha1.Observation) bool { return o.TookMS > 0 || len(o.Units) > 0 }

func unreadSet(o *v1alpha1.Observation) map[string]bool {
	out := map[string]bool{}
	for _, u := range o.Unknown {
		out[u.What] = true
	}
	return out
}

func summaries(list []v1alpha1.Finding) []string {
	var out []string
	for _, f := range list {
		out = append(out, fmt.Sprintf("%s on %s: %s", findingName(f), f.Node, f.Summary))
	}
	return out
}

// sleep waits, or returns ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *run) makeNamespace(ctx context.Context) error {
	r.nsMade = true // before the call: one that fails may have been carried out
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:   r.ns,
		Labels: map[string]string{LabelRun: r.id, LabelScenario: r.sc.Metadata.Name, LabelNode: r.victim},
	}}
	err := retry.Accepted(ctx, r.t.Poll, r.t.Call, func(ctx context.Context) error {
		_, err := r.s.lab.Kube().CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("create namespace %s: %w", r.ns, err)
	}
	// Pods want the default service account, which the controller makes a moment later.
	err = retry.Until(ctx, r.t.Poll/4, r.t.Call, func(ctx context.Context) (bool, error) {
		_, err := r.s.lab.Kube().CoreV1().ServiceAccounts(r.ns).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("wait for the default service account of namespace %s: %w", r.ns, err)
	}
	return nil
}

// Places are the nodes an action acts on, the victim first.
func Places(lab Lab, a scenarios.Action, victim string) []string {
	out := []string{victim}
	if a.On != scenarios.OnEveryNode {
		return out
	}
	for _, n := range lab.Target().Nodes {
		if n.Name != victim {
			out = append(out, n.Name)
		}
	}
	return out
}

func controlPlane(ctx context.Context, lab Lab) (string, error) {
	list, err := lab.Kube().CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: controlPlaneLabel})
	if err != nil {
		return "", fmt.Errorf("look for the control plane: %w", err)
	}
	if len(list.Items) == 0 {
		return "", fmt.Errorf("cluster %s has no node labelled %s", lab.Cluster(), controlPlaneLabel)
	}
	return list.Items[0].Name, nil
}

// Checked asks the node's agent whether it can host an injection, which changes nothing, and fetches what the mechanism cannot
// have on its own node: a certificate signed by the cluster's CA.
func Checked(ctx context.Context, lab Lab, agent Agent, in injectors.Injection) (injectors.Injection, error) {
	st, err := agent.Check(ctx, in)
	if err != nil || st == nil || st.Sign == nil {
		return in, err
	}
	name, err := controlPlane(ctx, lab)
	if err != nil {
		return in, err
	}
	signer, err := lab.Agent(ctx, name)
	if err != nil {
		return in, fmt.Errorf("reach the agent on node %s: %w", name, err)
	}
	if in.Signed, err = signer.Sign(ctx, *st.Sign); err != nil {
		return in, fmt.Errorf("have a certificate signed on node %s: %w", name, err)
	}
	return in, nil
}

func (r *run) injection(a scenarios.Action, n int, prepared bool) (injectors.Injection, error) {
	raw, err := r.values().Params(a)
	if err != nil {
		return injectors.Injection{}, fmt.Errorf("scenario %s: parameters of %s: %w", r.sc.Metadata.Name, a.Mechanism, err)
	}
	what := "i"
	if prepared {
		what = "p"
	}
	return injectors.Injection{
		ID: fmt.Sprintf("%s-%s%d-%s", r.id, what, n+1, a.Mechanism), Run: r.id, Scenario: r.sc.Metadata.Name,
		Mechanism: a.Mechanism, Params: raw, Prepared: prepared, Lease: r.t.Lease,
	}, nil
}

// check asks a node whether it can host an action, and completes it; it changes nothing.
func (r *run) check(ctx context.Context, node string, a scenarios.Action, n int, prepared bool) (injectors.Injection, Agent, error) {
	in, err := r.injection(a, n, prepared)
	if err != nil {
		return in, nil, err
	}
	agent, err := r.agent(ctx, node)
	if err != nil {
		return in, nil, err
	}
	call, cancel := context.WithTimeout(ctx, r.t.Call)
	defer cancel()
	if in, err = Checked(call, r.s.lab, agent, in); err != nil {
		return in, nil, fmt.Errorf("node %s cannot host %s: %w", node, a.Mechanism, err)
	}
	return in, agent, nil
}

// place carries out one action wherever it acts.
func (r *run) place(ctx context.Context, st step, a scenarios.Action, n int, prepared bool) error {
	if w := a.Rollout(); w != nil {
		return r.rollout(ctx, st, w, n)
	}
	for _, node := range Places(r.s.lab, a, r.victim) {
		if err := r.placeOn(ctx, st, node, a, n, prepared); err != nil {
			return err
		}
	}
	return nil
}

// placeOn checks and injects one action. It is noted as placed before the call, so that recovery covers also a half-done one.
func (r *run) placeOn(ctx context.Context, st step, node string, a scenarios.Action, n int, prepared bool) error {
	in, agent, err := r.check(ctx, node, a, n, prepared)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.placed = append(r.placed, placed{node, in})
	r.mu.Unlock()
	began := time.Now()
	mid := r.s.opts.KillAt == MidInject && !prepared && n == middle(len(r.sc.Spec.Inject))
	if mid {
		go r.strikeWhile(ctx, agent, in.ID)
	}
	status, err := agent.Inject(ctx, in)
	if mid {
		r.strike(MidInject) // it was done before the journal was seen
	}
	verb := map[bool]string{false: "injected", true: "prepared"}[prepared]
	if err != nil {
		return fmt.Errorf("%s on node %s: %w", a.Mechanism, node, err)
	}
	text := fmt.Sprintf("%s %s on %s in %s", verb, a.Mechanism, node, time.Since(began).Round(time.Millisecond))
	if status != nil {
		if status.Active != nil {
			text += ": " + status.Active.Text
			if !status.Active.Present {
				return failf("%s on node %s was carried out and has no effect: %s", a.Mechanism, node, status.Active.Text)
			}
		}
		// A mechanism that chose by the host says what it became; real is what the scenario declares anyway, unless it is contained.
		if !prepared && status.Fidelity == "contained" {
			r.res.Fidelity = Fidelity{Level: status.Fidelity, Differs: status.Differs}
			text += "; contained: " + status.Differs
		}
	}
	st.saw("%s", text)
	r.rec.add(Entry{Kind: EntryInject, Node: node, Source: a.Mechanism, Text: text})
	return nil
}

// waitUntil waits for an action's own signals before the next action.
func (r *run) waitUntil(ctx context.Context, a scenarios.Action, what string) error {
	if len(a.Until) == 0 {
		return nil
	}
	before := r.before
	if before == nil {
		return fmt.Errorf("%s %s: there is no look to compare its signals with", what, a.Mechanism)
	}
	sig := newSignals(r.victim, r.ns, before, a.Until)
	err := r.until(ctx, func(o *v1alpha1.Observation) (bool, error) {
		r.noteSignals(sig.feed(o))
		r.detail("after %s, waiting for %s", a.Mechanism, strings.Join(sig.missing(), ", "))
		return len(sig.missing()) == 0, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return failf("after %s, before the next action: did not see %s", a.Mechanism, strings.Join(sig.missing(), ", "))
	}
	return err
}

func (r *run) noteSignals(fresh []Signal) {
	for _, s := range fresh {
		r.rec.add(Entry{At: s.At, Kind: EntrySignal, Node: r.victim, Text: s.Want + ": " + s.Text})
	}
}

// inject carries out the fault's actions in order.
func (r *run) inject(ctx context.Context, st step) error {
	if r.control == NoopControl {
		r.began = time.Now()
		st.saw("noop: nothing was injected")
		return nil
	}
	for i, a := range r.sc.Spec.Inject {
		if w := a.Rollout(); w != nil {
			if _, err := r.sc.Render(w.Manifest, r.values()); err != nil {
				return err
			}
			continue
		}
		for _, node := range Places(r.s.lab, a, r.victim) {
			if _, _, err := r.check(ctx, node, a, i, false); err != nil {
				return err
			}
		}
	}
	r.began = time.Now()
	for i, a := range r.sc.Spec.Inject {
		r.task.Detail("injecting: %s", a.Mechanism)
		if err := r.place(ctx, st, a, i, false); err != nil {
			return err
		}
		if err := r.waitUntil(ctx, a, "inject"); err != nil {
			return err
		}
	}
	return nil
}

// manifest waits for the fault's own signals. Meanwhile the detectors are asked as well, only to learn when they first knew: what
// they say decides nothing here, but under noop, when it must be nothing.
func (r *run) manifest(ctx context.Context, st step) error {
	sig := newSignals(r.victim, r.ns, r.before, r.sc.Spec.Manifest)
	// What the inject step has read already counts: it is later than the baseline's last look.
	first, later := split(r.sc.Spec.Expect)
	var spoke []v1alpha1.Finding
	done := false
	feed := func(o *v1alpha1.Observation) bool {
		fresh := sig.feed(o)
		r.noteSignals(fresh)
		for _, s := range fresh {
			st.saw("%s: %s", s.Want, s.Text)
			if r.control != NoopControl {
				r.res.Clocks.Signal = r.since()
			}
		}
		return len(sig.missing()) == 0
	}
	for _, o := range r.sinceBefore() {
		if done = feed(&o); done {
			break
		}
	}
	var err error
	if !done {
		err = r.until(ctx, func(o *v1alpha1.Observation) (bool, error) {
			d := r.judge(r.victim)
			if r.control == NoopControl && len(d.Findings) > 0 {
				spoke = d.Findings
			}
			if r.res.Clocks.Finding == 0 && len(d.Findings) > 0 && assess(d.Findings, r.victim, first, later).ok() {
				r.res.Clocks.Finding = r.since()
				r.rec.add(Entry{Kind: EntryFinding, Node: r.victim, Text: "first named: " + strings.Join(findingNames(d.Findings), ", ")})
			}
			ok := feed(o)
			if !ok {
				r.detail("waiting for %s (%d of %d seen)", strings.Join(sig.missing(), ", "), len(sig.found)-len(sig.missing()), len(sig.found))
			}
			return ok, nil
		})
	}
	r.res.Signals = sig.found
	if len(sig.found) == 0 {
		st.saw("there is no signal to wait for: the injection has measured its own effect")
	}
	if r.control == NoopControl {
		r.res.Findings = spoke
		switch {
		case len(spoke) > 0:
			return failf("nothing was injected, and still detectors say: %s", strings.Join(summaries(spoke), "; "))
		case sig.seenAny():
			return failf("nothing was injected, and still a signal of the fault was seen: %s: the scenario's manifest does not prove it", strings.Join(seenSignals(sig), ", "))
		case errors.Is(err, context.DeadlineExceeded):
			return failf("nothing was injected, and the signal did not come within %s, as it must not: %s", r.bound(Manifest), strings.Join(sig.missing(), ", "))
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return failf("the fault was injected and did not show: after %s still no %s", r.bound(Manifest), strings.Join(sig.missing(), ", "))
	}
	return err
}

func seenSignals(s *signals) []string {
	var out []string
	for _, f := range s.found {
		if !f.At.IsZero() {
			out = append(out, f.Want)
		}
	}
	return out
}

// sinceBefore are the victim's looks after the baseline.
func (r *run) sinceBefore() []v1alpha1.Observation {
	var out []v1alpha1.Observation
	for _, o := range r.watch.Histories()[r.victim] {
		if r.before != nil && o.At.After(r.before.At) {
			out = append(out, o)
		}
	}
	return out
}

// detect asks the detectors, blind, until they name what the scenario expects and nothing else, on the right node, and all
// other nodes are silent; several looks in a row have to agree.
func (r *run) detect(ctx context.Context, st step) error {
	first, later := split(r.sc.Spec.Expect)
	findings, err := r.name(ctx, st, first, later)
	r.res.Findings, r.named = findings, findings
	if dir := r.bundleDir(); dir != "" {
		r.writeBundle(dir, "baseline to finding")
		r.detected = true
	}
	return err
}

// silent is detect for a decoy: the oddity is there, and no detector speaks on any node for twice the time that counts as cleared.
func (r *run) silent(ctx context.Context, st step) error {
	began := time.Now()
	for looks := 0; looks < r.t.QuietLooks || time.Since(began) < 2*r.t.Quiet; looks++ {
		d, err := r.lookAround(ctx)
		if err != nil {
			return err
		}
		if len(d.Findings) > 0 {
			r.res.Findings = d.Findings
			return failf("this is no illness, and still detectors say: %s", strings.Join(summaries(d.Findings), "; "))
		}
		r.detail("silent for %s of %s", time.Since(began).Round(time.Second), 2*r.t.Quiet)
		if err := sleep(ctx, r.t.Poll); err != nil {
			return err
		}
	}
	st.saw("no detector spoke on any node for %s", 2*r.t.Quiet)
	return nil
}

// name waits until exactly the expected findings are named, and returns the last ones that were.
func (r *run) name(ctx context.Context, st step, expected, allowed []scenarios.Expected) ([]v1alpha1.Finding, error) {
	started := time.Now()
	sure := 0
	around := false
	var last []v1alpha1.Finding
	var a assessment
	flicker := map[string]int{}
	var lookErr error
	for {
		// The victim alone while it is not yet right; everybody from then on.
		var findings []v1alpha1.Finding
		if around = around || (a.ok() && last != nil); around {
			d, err := r.lookAround(ctx)
			lookErr = err
			findings = d.Findings
		} else {
			if _, lookErr = r.look(ctx, r.victim); lookErr == nil {
				findings = r.judge(r.victim).Findings
			}
		}
		if lookErr == nil {
			last = findings
			a = assess(findings, r.victim, expected, allowed)
			for _, w := range a.wrong {
				flicker[w]++
			}
			if a.ok() {
				if r.res.Clocks.Finding == 0 {
					r.res.Clocks.Finding = r.since()
					r.rec.add(Entry{Kind: EntryFinding, Node: r.victim, Text: "first named: " + strings.Join(findingNames(findings), ", ")})
				}
				sure++
			} else {
				sure = 0
			}
			// The first agreeing look saw only the victim, and does not count.
			if sure > r.t.SureLooks {
				break
			}
			r.detail("detectors say %s", orNothing(strings.Join(findingNames(findings), ", ")))
		}
		if err := sleep(ctx, r.pause(started)); err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				return last, err
			}
			if lookErr != nil && last == nil {
				return last, fmt.Errorf("look at node %s: %w", r.victim, lookErr)
			}
			return last, failf("detectors, asked blind, said %s: %s", orNothing(strings.Join(findingNames(last), ", ")), a)
		}
	}
	for _, f := range last {
		st.saw("%s on %s (%s): %s", findingName(f), f.Node, f.Certainty, f.Summary)
		r.rec.add(Entry{Kind: EntryFinding, Node: f.Node, Text: findingName(f) + ": " + f.Summary})
	}
	for _, w := range slices.Sorted(maps.Keys(flicker)) {
		st.saw("for %d look(s) before that, also %s", flicker[w], w)
	}
	if r.watched > 0 {
		st.saw("%d other node(s) silent", r.watched)
	}
	return last, nil
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// remediate applies the findings' own remedies. What shows only behind a first illness is found and remedied in further rounds.
// It never asks an agent to recover.
func (r *run) remediate(ctx context.Context, st step) error {
	if r.control == NoRemedy {
		st.saw("the remedy is withheld")
		return nil
	}
	first, later := split(r.sc.Spec.Expect)
	if other := r.s.opts.OtherRemedy; other != nil {
		st.saw("applying %s instead of the findings' own remedies", other.Name)
		return r.apply(ctx, st, "other", other)
	}
	findings := r.named
	done := slices.Clone(first)
	for {
		if err := r.applyAll(ctx, st, findings); err != nil {
			return err
		}
		r.res.Clocks.Remedied = r.since()
		if len(later) == 0 {
			return nil
		}
		r.watch.Restart()
		allowed := slices.Concat(done, later)
		next, err := r.nextIllness(ctx, st, later, allowed)
		if err != nil {
			return err
		}
		r.res.Findings = append(r.res.Findings, next...)
		later = slices.DeleteFunc(slices.Clone(later), func(e scenarios.Expected) bool {
			return slices.ContainsFunc(next, func(f v1alpha1.Finding) bool { return f.Failure == e.Failure && f.Cause == e.Cause })
		})
		findings = next
	}
}

// nextIllness waits for at least one of the findings that only show after a remedy.
func (r *run) nextIllness(ctx context.Context, st step, later, allowed []scenarios.Expected) ([]v1alpha1.Finding, error) {
	bound, cancel := context.WithTimeout(ctx, r.t.bound(r.sc, Detect))
	defer cancel()
	var next []v1alpha1.Finding
	var last []v1alpha1.Finding
	err := r.until(bound, func(*v1alpha1.Observation) (bool, error) {
		last = r.judge(r.victim).Findings
		r.detail("waiting for what was hidden behind it: %s; detectors say %s", strings.Join(names(later), ", "), orNothing(strings.Join(findingNames(last), ", ")))
		if a := assess(last, r.victim, nil, allowed); len(a.wrong) > 0 {
			return false, nil
		}
		next = slices.DeleteFunc(slices.Clone(last), func(f v1alpha1.Finding) bool {
			return !slices.ContainsFunc(later, func(e scenarios.Expected) bool { return f.Failure == e.Failure && f.Cause == e.Cause })
		})
		return len(next) > 0, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, failf("after the first remedy detectors said %s instead of %s", orNothing(strings.Join(findingNames(last), ", ")), strings.Join(names(later), " or "))
	}
	for _, f := range next {
		st.saw("behind it: %s on %s: %s", findingName(f), f.Node, f.Summary)
		r.rec.add(Entry{Kind: EntryFinding, Node: f.Node, Text: findingName(f) + ": " + f.Summary})
	}
	return next, err
}

// applyAll applies the remedies of the findings in order, the same remedy for the same object once.
func (r *run) applyAll(ctx context.Context, st step, findings []v1alpha1.Finding) error {
	done := map[string]bool{}
	r.left = 0
	for _, f := range findings {
		if f.Remedy == nil || len(f.Remedy.Steps) == 0 {
			return failf("%s on %s has no remedy", findingName(f), f.Node)
		}
		r.left += len(f.Remedy.Steps)
	}
	r.left -= middle(r.left)
	for _, f := range findings {
		key := f.Remedy.Name
		for _, s := range f.Remedy.Steps {
			key += "\n" + s.On + s.Run
		}
		if done[key] {
			continue
		}
		done[key] = true
		if i := slices.IndexFunc(f.Remedy.Steps, func(s v1alpha1.Step) bool { return s.Class == v1alpha1.Destructive }); i >= 0 && !r.sc.Spec.DestructiveRemedy {
			return failf("step %d of remedy %s is destructive (%s), and the scenario does not declare destructiveRemedy: %s", i+1, f.Remedy.Name, f.Remedy.Steps[i].Risk, f.Remedy.Steps[i].Run)
		}
		if err := r.apply(ctx, st, findingName(f), f.Remedy); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) apply(ctx context.Context, st step, finding string, remedy *v1alpha1.Remedy) error {
	r.task.Detail("applying %s", remedy.Name)
	if err := r.hold.Remedy(); err != nil {
		return fmt.Errorf("write down that a remedy begins: %w", err)
	}
	if len(remedy.Steps) == 1 {
		defer time.AfterFunc(underWay, func() { r.strike(MidRemediate) }).Stop()
	}
	err := r.s.lab.Remedy(ctx, r.victim, remedy, func(a AppliedStep) {
		a.Finding, a.Remedy = finding, remedy.Name
		r.res.Remedies = append(r.res.Remedies, a)
		level := ""
		text := a.Step.Run
		if a.Error != "" {
			level = "error"
			text += ": " + a.Error
		}
		st.saw("%s", text)
		if r.left--; r.left <= 0 {
			r.strike(MidRemediate)
		}
		r.rec.add(Entry{At: a.Started, Kind: EntryRemedy, Node: r.victim, Source: remedy.Name, Level: level, Text: text})
		r.task.Detail("applying %s: %s", remedy.Name, a.Step.Run)
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("remedy %s: %w", remedy.Name, err)
	default:
		return failf("the remedy %s of %s did not work: %s", remedy.Name, finding, err)
	}
}

// clear proves that the node is well again: no detector speaks for a while and several looks, the node is Ready without
// taints, the workload runs, a fresh pod runs on it, and no container restarts any more.
func (r *run) clear(ctx context.Context, st step) error {
	if r.control != NoRemedy {
		r.detail("putting back the images that the kubelet deleted, if it did")
		if err := r.s.lab.RestoreImages(ctx, r.victim); err != nil && ctx.Err() == nil {
			// The node may not be well enough yet; the proof pod will tell.
			r.rec.note(r.victim, "preloaded images could not be put back yet: %v", err)
		}
	}
	// A fresh history: what was said before the remedy must not speak now, and what still holds will be said again.
	r.watch.Restart()
	r.proofs++
	began := time.Now()
	var (
		silentSince time.Time
		silent      int
		restarts    = -1
		still       time.Time
		proof       string
		proofReady  bool
		told        = map[string]bool{}
		why         []string
		speaks      bool // in the last look
		imagesDone  = r.control == NoRemedy
		lastImages  time.Time
	)
	cleared := func(o *v1alpha1.Observation) bool {
		why = nil
		now := time.Now()
		d := r.judge(r.victim)
		speaks = len(d.Findings) > 0
		for _, f := range d.Findings {
			if n := findingName(f); !told[n] {
				told[n] = true
				r.rec.add(Entry{Kind: EntryFinding, Node: f.Node, Level: "warning", Text: "after the remedy still: " + n + ": " + f.Summary})
			}
		}
		unread := r.newlyUnread(o)
		switch {
		case speaks:
			why = append(why, "detectors still say "+strings.Join(summaries(d.Findings), "; "))
			silent, silentSince = 0, time.Time{}
			r.watch.Restart()
		case len(unread) > 0:
			why = append(why, "cannot be seen: "+strings.Join(unread, "; "))
			silent, silentSince = 0, time.Time{}
		default:
			silent++
			if silentSince.IsZero() {
				silentSince = now
			}
			if silent < r.t.QuietLooks || now.Sub(silentSince) < r.t.Quiet {
				why = append(why, fmt.Sprintf("silent for %s of %s", now.Sub(silentSince).Round(time.Second), r.t.Quiet))
			}
		}

		ready := ""
		switch {
		case o.API == nil || o.API.Node == nil:
			ready = "the API server does not show it"
		default:
			ready = NotReady(o.API.Node)
		}
		if ready != "" {
			why = append(why, "node "+r.victim+" is not well: "+ready)
			return false
		}
		if !imagesDone && now.Sub(lastImages) > 5*time.Second {
			lastImages = now
			imagesDone = r.s.lab.RestoreImages(ctx, r.victim) == nil
		}

		n, moved := countRestarts(o.API)
		if n != restarts {
			if restarts >= 0 {
				r.rec.note(r.victim, "restart counts moved: %s", moved)
			}
			restarts, still = n, now
		}
		if now.Sub(still) < r.t.Quiet {
			why = append(why, fmt.Sprintf("restart counts hold still for %s of %s", now.Sub(still).Round(time.Second), r.t.Quiet))
		}

		if r.sc.Spec.Workload != "" {
			lame, err := retry.Within(ctx, r.t.Call, func(ctx context.Context) (string, error) { return r.workloadReady(ctx, true) })
			if err != nil {
				lame = err.Error()
			}
			if lame != "" {
				why = append(why, "the workload does not run: "+lame)
			}
		}

		if proof == "" {
			name, err := r.startProof(ctx)
			if err != nil {
				why = append(why, "the proof pod could not be created: "+err.Error())
				return false
			}
			proof = name
		}
		if !proofReady {
			text, ok := r.podReady(ctx, proof)
			if !ok {
				why = append(why, "proof pod: "+text)
				return false
			}
			proofReady = true
			st.saw("a fresh pod runs on %s: %s", r.victim, text)
			r.rec.note(r.victim, "proof pod %s is Ready", proof)
		}
		return len(why) == 0
	}
	err := r.until(ctx, func(o *v1alpha1.Observation) (bool, error) {
		ok := cleared(o)
		r.detail("%s", strings.Join(why, "; "))
		// A blind restart gets all of the bound while the node looks better, and no more than the others while it does not.
		if r.control == BlindRestart && speaks && time.Since(began) >= r.t.Control {
			return false, failf("not cleared %s after it: %s", r.t.Control, strings.Join(why, "; "))
		}
		return ok, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return failf("not cleared within %s: %s", r.bound(Clear), strings.Join(why, "; "))
	}
	if err != nil {
		return err
	}
	// The bystanders have to have been silent all the while: their journals continue at detect's cursors.
	d, err := r.lookAround(ctx)
	if err != nil {
		return err
	}
	if len(d.Findings) > 0 {
		return failf("cleared on %s, but now detectors say %s", r.victim, strings.Join(summaries(d.Findings), "; "))
	}
	r.res.Clocks.Cleared = r.since()
	st.saw("no detector spoke for %s, node Ready, restart counts still", r.t.Quiet)
	return nil
}

// countRestarts sums the restarts of all containers on the node; the text names those that restarted at all.
func countRestarts(api *v1alpha1.API) (int, string) {
	n := 0
	var named []string
	if api != nil {
		for i := range api.Pods {
			p := &api.Pods[i]
			for _, c := range p.Status.ContainerStatuses {
				n += int(c.RestartCount)
				if c.RestartCount > 0 {
					named = append(named, fmt.Sprintf("%s/%s %s=%d", p.Namespace, p.Name, c.Name, c.RestartCount))
				}
			}
		}
	}
	return n, strings.Join(named, ", ")
}

// proofName is a new one for each clear: events about the pod of a control must not speak about a later one.
func (r *run) proofName() string {
	if r.proofs == 1 {
		return "proof"
	}
	return fmt.Sprintf("proof-%d", r.proofs)
}

// startProof creates a pod that has to be scheduled, pulled, given a network and probed on the victim.
func (r *run) startProof(ctx context.Context) (string, error) {
	no := false
	zero := int64(0)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: r.proofName(), Namespace: r.ns, Labels: map[string]string{LabelRun: r.id, "sickbay.dev/role": "proof"}},
		Spec: corev1.PodSpec{
			// Through the scheduler, not by nodeName: a cordon or taint that a remedy forgot must show.
			NodeSelector:                  map[string]string{corev1.LabelHostname: r.victim},
			AutomountServiceAccountToken:  &no,
			TerminationGracePeriodSeconds: &zero,
			Containers: []corev1.Container{{
				Name: "proof", Image: r.s.lab.Image(), ImagePullPolicy: corev1.PullIfNotPresent,
				Args:           []string{"netexec", "--http-port=8080", "--udp-port=-1"},
				ReadinessProbe: proofProbe(),
			}},
		},
	}
	err := retry.Accepted(ctx, r.t.Poll, r.t.Call, func(ctx context.Context) error {
		_, err := r.s.lab.Kube().CoreV1().Pods(r.ns).Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
	if apierrors.IsAlreadyExists(err) {
		err = nil
	}
	return pod.Name, err
}

// podReady tells whether a pod is Ready, and in words why not.
func (r *run) podReady(ctx context.Context, name string) (string, bool) {
	p, err := retry.Within(ctx, r.t.Call, func(ctx context.Context) (*corev1.Pod, error) {
		return r.s.lab.Kube().CoreV1().Pods(r.ns).Get(ctx, name, metav1.GetOptions{})
	})
	if err != nil {
		return err.Error(), false
	}
	return describePod(p), podIsReady(p)
}
