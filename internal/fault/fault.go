// Package fault puts a scenario on a node and takes it back: for the runner, for `inject` and for `lab`.
//
//	clean ─ journal ─ prepare ─ workload ─ check ─ inject ─ measure ─ hold the lease ─ undo
//
// It may know scenarios, injections as data to hand to an agent, and observations, in which it waits for an action's signals. It knows
// nothing of detectors, findings or remedies, and does not judge.
package fault

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// Options say what is put where.
type Options struct {
	Scenario *scenarios.Scenario
	// Name is what records, labels and the node's journal call the scenario; empty for its own. A trainee must not read it there.
	Name string
	// Secret keeps names of mechanisms out of what lies on the node while the fault is there.
	Secret  bool
	Run     string // its id, see NewRunID
	Node    string // the victim
	Timings Timings
	// Looker looks for the signals that actions wait for; nil for one of its own.
	Looker *Looker
	Hooks  Hooks
}

// Hooks follow what happens. Each may be nil.
type Hooks struct {
	// Detail says what is being waited for.
	Detail func(text string)
	// Note says what somebody who reads the run's timeline should know.
	Note func(node, text string)
	// Done is told each action that was carried out; the mechanism is empty for what is no action.
	Done func(node, mechanism, text string)
	// Signals are seen for the first time.
	Signals func([]v1alpha1.Signal)
	// Reach is told a node before its agent is reached.
	Reach func(node string)
	// Injecting is called before the fault's n-th action is carried out, and what it returns after it. A rollout has no agent.
	Injecting func(ctx context.Context, n int, agent Agent, id string) (done func())
}

// Session is one scenario's fault on one node. Its steps are called in order by one goroutine; Renew and KeepLease may run beside them,
// and Undo may come at any time.
type Session struct {
	Options
	tb        Testbed
	t         Timings
	namespace string
	before    *v1alpha1.Observation // the look that signals have to be later than

	mu        sync.Mutex
	agents    map[string]Agent // nodes that were asked to inject anything
	placed    []placed         // in order of injection
	objects   []Objects        // through the API: the workload, and what was rolled out over it
	inAPI     bool             // the namespace may be there
	registry  *scenarios.RegistryValues
	record    RunRecord // nil before there was anything to undo
	contained string
	leaseLost string
	state     state
}

type placed struct {
	node string
	in   injectors.Injection
}

type state int

const (
	open   state = iota
	undone       // nothing is left
	left         // as it is, on purpose
)

// New begins nothing yet.
func New(tb Testbed, o Options) *Session {
	o.Timings = o.Timings.OnThisMachine()
	o.Scenario = o.Scenario.On(tb.Runtime())
	if o.Name == "" {
		o.Name = o.Scenario.Metadata.Name
	}
	if o.Looker == nil {
		o.Looker = NewLooker(diagnose.NewWatcher(tb.Target(), diagnose.Options{Since: o.Timings.History}), o.Node, o.Timings, nil)
	}
	return &Session{Options: o, tb: tb, t: o.Timings, namespace: RunNamespace(o.Run), agents: map[string]Agent{}}
}

// NewRunID makes a run's id that is a DNS label with the scenario's name in front, and short enough for "sickbay-" before it and
// injection ids behind it.
func NewRunID(scenario string) string {
	if len(scenario) > 38 {
		scenario = strings.TrimRight(scenario[:38], "-")
	}
	return scenario + "-" + strings.ToLower(rand.Text()[:5])
}

// Failure is a step that looked and saw that it is not as it must be. Any other error means that it could not look.
type Failure struct{ Reason string }

func (f *Failure) Error() string { return f.Reason }

// Failf makes a Failure.
func Failf(format string, args ...any) error { return &Failure{fmt.Sprintf(format, args...)} }

// Place does it all: the node must be clean at the start, and is ill at the end. Whoever calls it undoes what a failed one has begun.
func (s *Session) Place(ctx context.Context) error {
	if err := s.Supported(); err != nil {
		return err
	}
	if err := s.Clean(ctx); err != nil {
		return err
	}
	if err := s.lookBefore(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{s.Begin, s.Prepare, s.StartWorkload, s.lookBefore, s.Check, s.Inject} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// lookBefore takes the look that signals are compared with: what a preparation or the workload has made of the node is what the fault's signals have to differ from. A node that had
// devices before offers 0 of them until the workload brings them again.
func (s *Session) lookBefore(ctx context.Context) error {
	before, err := s.Looker.Observe(ctx)
	if err != nil {
		return fmt.Errorf("look at node %s: %w", s.Node, err)
	}
	s.From(before)
	return nil
}

// Injected are the ids of what was injected, by node. Preparations are among them.
func (s *Session) Injected() map[string][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string][]string{}
	for _, p := range s.placed {
		out[p.node] = append(out[p.node], p.in.ID)
	}
	return out
}

// From sets the look that signals have to be later than.
func (s *Session) From(before *v1alpha1.Observation) { s.before = before }

// Namespace is the run's.
func (s *Session) Namespace() string { return s.namespace }

// RegistryCA is the PEM of the run's registry's CA, which who runs a registry knows; empty where there is none.
func (s *Session) RegistryCA() string {
	return locked(s, func() string {
		if s.registry == nil {
			return ""
		}
		return s.registry.CA
	})
}

// Contained says how the fault differs from one on a real node; empty where it does not.
func (s *Session) Contained() string { return locked(s, func() string { return s.contained }) }

// Record is the run's record on the host; nil before Begin.
func (s *Session) Record() RunRecord { return locked(s, func() RunRecord { return s.record }) }

// Undone says that nothing is left of it.
func (s *Session) Undone() bool { return locked(s, func() bool { return s.state == undone }) }

// RecoverCommand undoes it by hand.
func (s *Session) RecoverCommand() string {
	return fmt.Sprintf("sickbay recover --cluster %s --run %s", s.tb.Cluster(), s.Run)
}

func locked[A any](s *Session, get func() A) A {
	s.mu.Lock()
	defer s.mu.Unlock()
	return get()
}

func (s *Session) detail(format string, args ...any) {
	if s.Hooks.Detail != nil {
		s.Hooks.Detail(fmt.Sprintf(format, args...))
	}
}

func (s *Session) note(node, format string, args ...any) {
	if s.Hooks.Note != nil {
		s.Hooks.Note(node, fmt.Sprintf(format, args...))
	}
}

func (s *Session) done(node, mechanism, format string, args ...any) {
	if s.Hooks.Done != nil {
		s.Hooks.Done(node, mechanism, fmt.Sprintf(format, args...))
	}
}

// agent reaches a node's agent and remembers it for leases and recovery.
func (s *Session) agent(ctx context.Context, node string) (Agent, error) {
	if a := locked(s, func() Agent { return s.agents[node] }); a != nil {
		return a, nil
	}
	if s.Hooks.Reach != nil {
		s.Hooks.Reach(node)
	}
	a, err := s.tb.Agent(ctx, node)
	if err != nil {
		return nil, fmt.Errorf("reach the agent on node %s: %w", node, err)
	}
	locked(s, func() Agent { s.agents[node] = a; return a })
	return a, nil
}

// values are what manifests and parameters may use.
func (s *Session) values() scenarios.WorkloadValues {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := scenarios.WorkloadValues{Node: s.Node, Namespace: s.namespace, Image: s.tb.Image(), Run: s.Run, Registry: s.registry}
	if a := s.agents[s.Node]; a != nil {
		v.Agent = a.Path()
	}
	return v
}

// EveryNode says that a scenario reaches nodes beside its victim.
func EveryNode(sc *scenarios.Scenario) bool {
	return slices.ContainsFunc(slices.Concat(sc.Spec.Prepare, sc.Spec.Inject), func(a v1alpha1.Action) bool { return a.On == v1alpha1.OnEveryNode })
}

// ClaimsHost says that a scenario needs the host's kernel for itself.
func ClaimsHost(sc *scenarios.Scenario) bool { return slices.Contains(sc.Spec.Claims, "host") }

// Begin makes what comes before the node is touched: the run's record on this host, its namespace, and its registry.
func (s *Session) Begin(ctx context.Context) error {
	record, err := s.tb.Begin(ctx, cluster.Record{Run: s.Run, Scenario: s.Name, Node: s.Node, Lease: s.t.Lease, Host: ClaimsHost(s.Scenario)})
	if err != nil {
		return err
	}
	locked(s, func() RunRecord { s.record = record; return record })
	if err := s.makeNamespace(ctx); err != nil {
		return err
	}
	return s.startRegistry(ctx)
}

func (s *Session) startRegistry(ctx context.Context) error {
	spec := s.Scenario.Spec.Registry
	if spec == nil {
		return nil
	}
	s.detail("starting a registry")
	began := time.Now()
	r, err := s.tb.StartRegistry(ctx, s.Run, s.Node, *spec)
	if err != nil {
		return fmt.Errorf("start the registry of scenario %s: %w", s.Name, err)
	}
	locked(s, func() any { s.registry = r; return nil })
	// Who runs a registry knows its CA, as an operator does; what is wrong with a node it does not tell. A rehearsed one has none.
	if r.CA != "" {
		if err := s.Looker.Trust(r.CA); err != nil {
			return fmt.Errorf("the registry's CA: %w", err)
		}
	}
	s.done(s.Node, "", "registry %s runs beside the cluster, after %s", r.Host, time.Since(began).Round(100*time.Millisecond))
	return nil
}
