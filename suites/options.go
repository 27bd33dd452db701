package suites

import (
	"context"
	"errors"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	"github.com/sickbay-dev/sickbay/internal/usage"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites/detector"
)

// ErrInterrupted is the error of a run whose context ended and that has recovered since. Exit code 130.
var ErrInterrupted = errors.New("interrupted, and recovered")

// Options say how a scenario is run.
type Options struct {
	// Controls are runs that have to fail, where the harness itself is proved.
	Controls Controls
	// BlindRestart is how the blind restart of Controls is made. Empty restarts containerd, then the kubelet.
	BlindRestart Restart
	// Keep leaves a run that did not pass as it is, for looking at: fault, namespace and prepared node. The lease is
	// renewed for KeepFor a last time; after that the node heals itself.
	Keep    bool
	KeepFor time.Duration // default 30m
	// ReportDir receives report.json, junit.xml, report.html, timeline.jsonl and bundle/. Empty writes nothing.
	ReportDir string
	// Victim names the worker; empty takes a free one that is Ready. Run refuses a control plane.
	Victim string
	// RunID names the run; empty makes one. Only for Run: RunAll always makes its own.
	RunID string
	// Parallel bounds how many scenarios run at a time in RunAll. Default: as many as there are free workers.
	Parallel int
	// Version of sickbay, Profile and Shard are for the report: the profile that was asked for, the part of a suite that this is.
	Version, Profile string
	Shard            *v1alpha1.Shard
	Timings          Timings
	// KillAt makes the process kill itself (SIGKILL) at that point of the first run that gets there. It is how the kill matrix
	// kills exactly; nothing is cleaned up, as nothing is after any other SIGKILL.
	KillAt Point
	// Interrupt makes it an interruption (SIGINT), which recovers.
	Interrupt bool
	// Cleanups hold what is to be undone should the process be interrupted; nil for some of its own.
	Cleanups *Cleanups
	// Detectors are scored on each run's injection, besides its own steps; see package detector. Where sickbay's own are not among them,
	// they only prove that all was well before, and the run ends with detect. None is sickbay's own, without a score.
	Detectors []detector.Entry
	// Seed shuffles the order; 0 keeps it. Scenarios that take long still begin first, and those that need the host alone come last.
	Seed uint64
	// Repeat runs each scenario so often (at least once); Retries runs one that failed again, at most so often, and what passes then is flaky.
	Repeat, Retries int
	// Known are failures that are known: they do not fail the report.
	Known []v1alpha1.KnownFailure
	// Judge replaces the detectors in tests. Nil takes package detectors.
	Judge diagnose.JudgeFunc
}

// Controls say which control a run is, or which it makes on its way with its one injection. Each has to fail where it must.
type Controls string

// The controls of a run.
const (
	NoControls Controls = ""
	// OnlyNoop injects nothing: the run must stop at manifest, and no detector may speak.
	OnlyNoop = Controls(v1alpha1.ControlNoop)
	// OnlyNoRemedy withholds the remedy: clear must fail.
	OnlyNoRemedy = Controls(v1alpha1.ControlNoRemedy)
	// AllOnTheWay makes noop between baseline and inject, and no-remedy and a blind restart between detect and remediate;
	// CoreOnTheWay those of the core scenarios alone.
	AllOnTheWay  Controls = "all"
	CoreOnTheWay Controls = "core"
)

// control is what the whole run is.
func (c Controls) control() v1alpha1.Control {
	if c == OnlyNoop || c == OnlyNoRemedy {
		return v1alpha1.Control(c)
	}
	return v1alpha1.ControlNone
}

// onTheWay says that a scenario's controls are made on the way. A decoy has none: nothing is expected of it.
func (c Controls) onTheWay(sc *scenarios.Scenario) bool {
	return sc.Spec.Profile != v1alpha1.ProfileDecoy && (c == AllOnTheWay || c == CoreOnTheWay && sc.Spec.Profile == "core")
}

// Testbed is a cluster whose nodes may be made ill and judged. Package testbed makes one of a real cluster; tests bring a fake.
type Testbed interface {
	fault.Testbed
	// About describes the cluster for the report.
	About(ctx context.Context) (About, error)
	// Claim takes a node for one run, across processes; the error names the holder. HostNode claims the host's kernel.
	Claim(ctx context.Context, node string) (release func(), err error)
	// Records are the runs on this cluster that have begun and not ended, of whatever process.
	Records() []cluster.Record
	// Remedy applies a finding's remedy as an operator would, and tells each step as it ends.
	Remedy(ctx context.Context, node string, remedy *v1alpha1.Remedy, done func(v1alpha1.AppliedStep)) error
	// Access is how a detector that is not sickbay's own reaches the cluster.
	Access() Access
	// Fingerprint takes a fingerprint to compare with later: of a node and of the API objects around it, the run's own namespace
	// included; for HostNode of the host and its engine.
	Fingerprint(ctx context.Context, node, namespace string) (Fingerprint, error)
}

// Access is what an operator of a cluster has.
type Access struct {
	Kubeconfig string // a file
	// Exec is what goes before a command's words to run it on a node.
	Exec func(node string) []string
	// Run runs a command on a node and returns its standard output.
	Run func(ctx context.Context, node string, argv ...string) ([]byte, error)
}

// HostNode is the pseudo node name for what belongs to the host itself. Nothing is ever injected there.
const HostNode = "host"

// Fingerprint is one taken earlier.
type Fingerprint interface {
	// Changes takes another fingerprint and returns the readable differences, none when nothing was left behind.
	Changes(ctx context.Context) ([]string, error)
}

// Timings are all waits of a run. A scenario's own timeouts win over the step bounds.
type Timings struct {
	// Steps bound each of the seven steps, see DefaultTimings.
	Steps map[v1alpha1.StepName]time.Duration
	// Those around the fault itself.
	fault.Timings
	// Quiet is how long no detector may speak and no restart count may move before a node counts as cleared, and
	// QuietLooks how many looks at least. 15s: longer than the 10s of the kubelet's status period, its sandbox retry
	// and the first crash-loop back-off, so that one whole round of each has passed.
	Quiet      time.Duration
	QuietLooks int
	// SureLooks is how many looks in a row must agree before detect passes: two, so that a finding which only flickers does
	// not count, at the price of one Poll.
	SureLooks int
	// Control bounds manifest under Noop and clear under NoRemedy: 60s without the signal, or with the finding, is the
	// control's proof. A minute is four status periods and six sandbox retries; waiting PLEG's three minutes for nothing
	// to happen would only prove that nothing was injected, which the agent's journal says at once.
	Control time.Duration
	// DetectorWait is how long other people's detectors have after the signals, which are all there by then: as long as detect.
	DetectorWait time.Duration
	// Settle is how long a fingerprint may still differ after everything is undone: units, mounts and the processes of ended
	// containers go away within some seconds of it.
	Settle time.Duration
	// Recovery bounds everything that is done on the way out after a failure or Ctrl-C.
	Recovery time.Duration
	// ImagesAgain is the pause between two attempts to put images back on a node that is not well enough yet for it.
	ImagesAgain time.Duration
	// UnderWay is how long a single step of a remedy has run when the process is killed in its middle: `docker exec` takes 60 ms
	// to begin.
	UnderWay time.Duration
	// KeepFor is how long a kept run stays, unless Options say otherwise.
	KeepFor time.Duration
}

// DefaultTimings are the measured defaults, with the fixed kubelet timers they have to cover.
func DefaultTimings() Timings {
	return Timings{
		Steps: map[v1alpha1.StepName]time.Duration{
			// Preparing a filesystem or driver restarts kubelet or containerd: Ready is back within 15s, pods within 30s more.
			v1alpha1.StepBaseline: 2 * time.Minute,
			// The mechanism itself takes a second; Until matchers between two actions wait for a condition (10s status period).
			v1alpha1.StepInject: 90 * time.Second,
			// PLEG: threshold 3m + relist period 1s + status period 10s; CSI: RPC timeout 2m + retry. Measured: 194s at the quick
			// profile, 4m21s stock.
			v1alpha1.StepManifest: 6 * time.Minute,
			// All signals are there when detect begins, so this is for sources that lag the journal: conditions, PSI, back-off counts.
			v1alpha1.StepDetect: 60 * time.Second,
			// Drain waits for graceful termination (30s), then restarts.
			v1alpha1.StepRemediate: 4 * time.Minute,
			// Conditions return after the pressure transition period (quick 5s, stock 5m) + eviction loop 10s + status period 10s;
			// pods after image back-off (10s, 20s, 40s) and a fresh sandbox.
			v1alpha1.StepClear: 3 * time.Minute,
			// Namespace deletion waits for graceful pod deletion; preparation undone restarts kubelet and containerd.
			v1alpha1.StepResidue: 3 * time.Minute,
		},
		Timings:    fault.DefaultTimings(),
		Quiet:      15 * time.Second,
		QuietLooks: 5,
		SureLooks:  2,
		Control:    60 * time.Second, DetectorWait: 60 * time.Second,
		Settle:      30 * time.Second,
		Recovery:    4 * time.Minute,
		ImagesAgain: 5 * time.Second, UnderWay: 100 * time.Millisecond, KeepFor: 30 * time.Minute,
	}
}

// stretched are the timings for this machine. What has to pass, not to be waited for at most, is as long on any: it covers the
// kubelet's own timers (Quiet, Control) or spares the node (the pauses).
func (t Timings) stretched() Timings {
	steps := map[v1alpha1.StepName]time.Duration{}
	for k, v := range t.Steps {
		steps[k] = timeoutscale.Bound(v)
	}
	t.Steps = steps
	for _, d := range []*time.Duration{&t.Settle, &t.Recovery, &t.DetectorWait} {
		*d = timeoutscale.Bound(*d)
	}
	t.Timings = fault.Timings{}.OnThisMachine()
	return t
}

// WithDefaults fills what is zero, stretched for this machine.
func (t Timings) WithDefaults() Timings {
	d := DefaultTimings().stretched()
	steps := map[v1alpha1.StepName]time.Duration{}
	for k, v := range d.Steps {
		steps[k] = v
		if own := t.Steps[k]; own > 0 {
			steps[k] = own
		}
	}
	t.Steps = steps
	for _, p := range []struct {
		have *time.Duration
		def  time.Duration
	}{
		{&t.Quiet, d.Quiet}, {&t.Control, d.Control}, {&t.DetectorWait, d.DetectorWait}, {&t.Settle, d.Settle}, {&t.Recovery, d.Recovery},
		{&t.ImagesAgain, d.ImagesAgain}, {&t.UnderWay, d.UnderWay}, {&t.KeepFor, d.KeepFor},
	} {
		if *p.have <= 0 {
			*p.have = p.def
		}
	}
	t.Timings = t.Timings.OnThisMachine()
	if t.QuietLooks <= 0 {
		t.QuietLooks = d.QuietLooks
	}
	if t.SureLooks <= 0 {
		t.SureLooks = d.SureLooks
	}
	return t
}

// bound is a step's bound for a scenario: the scenario's own timeout, else the default.
func (t Timings) bound(s *scenarios.Scenario, step v1alpha1.StepName) time.Duration {
	own := map[v1alpha1.StepName]v1alpha1.Duration{
		v1alpha1.StepBaseline: s.Spec.Timeouts.Baseline, v1alpha1.StepInject: s.Spec.Timeouts.Inject, v1alpha1.StepManifest: s.Spec.Timeouts.Manifest,
		v1alpha1.StepDetect: s.Spec.Timeouts.Detect, v1alpha1.StepRemediate: s.Spec.Timeouts.Remediate, v1alpha1.StepClear: s.Spec.Timeouts.Clear,
		v1alpha1.StepResidue: s.Spec.Timeouts.Residue,
	}[step]
	if own > 0 {
		return timeoutscale.Bound(time.Duration(own))
	}
	return t.Steps[step]
}

// ExitCode is what a process that ran this should end with: 0 all passed, 1 something failed, 3 something could not be told
// or set up, 130 interrupted after recovery. A suite in which something passed and the rest is unsupported here is 0.
func ExitCode(r *v1alpha1.Report, err error) int {
	switch {
	case errors.Is(err, ErrInterrupted):
		return 130
	case errors.As(err, new(*usage.Error)), errors.As(err, new(*scenarios.Error)):
		return 2
	case r == nil || len(r.Results) == 0:
		return 3
	}
	switch r.Verdict {
	case v1alpha1.VerdictFailed, v1alpha1.VerdictFlaky:
		return 1
	case v1alpha1.VerdictPassed:
		if err != nil {
			return 3
		}
		return 0
	default:
		return 3
	}
}

// About describes a cluster for the report.
type About struct {
	Kubernetes string // server version
	Host       string // for people: kernel, runtime and kind of the machine under the nodes
	Kind       v1alpha1.HostKind
}
