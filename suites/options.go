package suites

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	"github.com/sickbay-dev/sickbay/internal/usage"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// ErrInterrupted is the error of a run whose context ended and that has recovered since. Exit code 130.
var ErrInterrupted = errors.New("interrupted, and recovered")

// Options say how a scenario is run.
type Options struct {
	// Noop injects nothing: the run must stop at manifest, and no detector may speak.
	Noop bool
	// NoRemedy withholds the remedy: clear must fail.
	NoRemedy bool
	// Controls makes the controls on the way, with the run's one injection: noop between baseline and inject, no-remedy and a
	// blind restart between detect and remediate. Each has to fail where it must, and the run goes on.
	Controls Controlled
	// OtherRemedy is applied instead of the findings' own, for the control that a blind restart does not cure.
	OtherRemedy *v1alpha1.Remedy
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
	// Version of sickbay, for the report.
	Version string
	Timings Timings
	// KillAt makes the process kill itself (SIGKILL) at that point of the first run that gets there. It is how the kill matrix
	// strikes exactly; nothing is cleaned up, as nothing is after any other SIGKILL.
	KillAt Point
	// Interrupt makes it an interruption (SIGINT), which recovers.
	Interrupt bool
	// Judge replaces the detectors in tests. Nil takes package detectors.
	Judge diagnose.JudgeFunc
}

// Controlled says whose controls are made on the way.
type Controlled string

// Which scenarios.
const (
	NoneControlled Controlled = ""
	AllControlled  Controlled = "all"
	CoreControlled Controlled = "core"
)

// covers tells whether a scenario's controls are made. A decoy has none: nothing is expected of it.
func (c Controlled) covers(sc *scenarios.Scenario) bool {
	return sc.Spec.Profile != scenarios.Decoy && (c == AllControlled || c == CoreControlled && sc.Spec.Profile == "core")
}

// Lab is a cluster that may be made ill. NewLab makes one of a real cluster; tests bring a fake.
type Lab interface {
	// Cluster is the cluster's name.
	Cluster() string
	// About describes the cluster for the report.
	About(ctx context.Context) (About, error)
	// Target is how diagnose reaches the same nodes. It carries nothing of the run.
	Target() diagnose.Target
	// Kube is the API client. Its calls end with their context.
	Kube() kubernetes.Interface
	// Agent reaches the injecting side of a node.
	Agent(ctx context.Context, node string) (Agent, error)
	// Workload creates what a rendered manifest declares in the namespace and returns how to delete the cluster-scoped rest
	// (the namespace takes its own with it). It calls adjust on every pod spec before creating it.
	Workload(ctx context.Context, namespace string, manifest []byte, adjust func(*corev1.PodSpec)) (Objects, error)
	// Rollout applies a rendered manifest over what is there in the namespace, otherwise like Workload.
	Rollout(ctx context.Context, namespace string, manifest []byte, adjust func(*corev1.PodSpec)) (Objects, error)
	// StartRegistry runs a registry beside the cluster, for the run and its victim. Whatever of it may be there is labelled
	// with both before it exists, so that RemoveServices finds it after a failure, and from another process.
	StartRegistry(ctx context.Context, run, node string, r scenarios.Registry) (*scenarios.RegistryValues, error)
	// RemoveServices removes what runs beside the cluster for a run. It does nothing when there is nothing.
	RemoveServices(ctx context.Context, run string) error
	// Image is the workload image that every node has (agnhost).
	Image() string
	// Claim takes a node for one run, across processes; the error names the holder. HostNode claims the host's kernel.
	Claim(ctx context.Context, node string) (release func(), err error)
	// Begin writes down on the host what a run is about to change, before it changes anything, so that whoever comes after its
	// process can undo it.
	Begin(ctx context.Context, r cluster.Record) (Hold, error)
	// Records are the runs on this cluster that have begun and not ended, of whatever process.
	Records() []cluster.Record
	// Remedy applies a finding's remedy as an operator would, and tells each step as it ends.
	Remedy(ctx context.Context, node string, remedy *v1alpha1.Remedy, done func(AppliedStep)) error
	// Mark takes a fingerprint to compare with later: of a node and of the API objects around it, the run's own namespace
	// included; for HostNode of the host and its engine.
	Mark(ctx context.Context, node, namespace string) (Mark, error)
	// RestoreImages puts preloaded images back that the kubelet's garbage collection removed from a node: there may be no
	// registry to pull them from. It does nothing when they are all there.
	RestoreImages(ctx context.Context, node string) error
}

// Hold is a run's record on the host; *cluster.Hold is one.
type Hold interface {
	// Renew notes that the lease was renewed.
	Renew() error
	// Remedy notes that a remedy is about to begin.
	Remedy() error
	// Leave lets go of a run that is to stay as it is until then.
	Leave(until time.Time) error
	// Release lets go of a run that could not be undone: whoever comes next does it.
	Release()
	// End forgets a run that is undone.
	End() error
}

// HostNode is the pseudo node name for what belongs to the host itself. Nothing is ever injected there.
const HostNode = "host"

// Agent injects on one node.
type Agent interface {
	// Path is where the agent's program is on the node.
	Path() string
	// Check says whether the fault can be hosted, changing nothing. An *injectors.UnsupportedError says that it cannot.
	Check(ctx context.Context, in injectors.Injection) (*injectors.Status, error)
	// Sign has a certificate signed by the cluster's CA; only a control-plane node can.
	Sign(ctx context.Context, r injectors.SignRequest) (string, error)
	Inject(ctx context.Context, in injectors.Injection) (*injectors.Status, error)
	// Recover undoes the injections of a run, or the one with the id when id is not empty. It is legal at any time.
	Recover(ctx context.Context, run, id string) ([]injectors.Status, error)
	// Status lists what the node's journal holds, recovered injections excluded.
	Status(ctx context.Context) ([]injectors.Status, error)
	Renew(ctx context.Context, run string, lease time.Duration) error
}

// Mark is a fingerprint taken earlier.
type Mark interface {
	// Changes takes another fingerprint and returns the readable differences, none when nothing was left behind.
	Changes(ctx context.Context) ([]string, error)
}

// Objects are API objects a run has made.
type Objects interface {
	// List is what was created.
	List() []unstructured.Unstructured
	// DeleteCluster deletes the cluster-scoped ones and waits until they are gone.
	DeleteCluster(ctx context.Context) error
}

// Timings are all waits of a run. A scenario's own timeouts win over the step bounds.
type Timings struct {
	// Steps bound each of the seven steps, see DefaultTimings.
	Steps map[StepName]time.Duration
	// Poll is the pause between two looks at the victim. 1s: a look costs 0.15s of node CPU, and the kubelet itself
	// relists and renews no faster.
	Poll time.Duration
	// SlowPoll replaces Poll after SlowAfter of waiting: signals that late come from fixed kubelet timers (PLEG 3m), where a
	// second more or less is nothing, and four scenarios side by side share two cores.
	SlowPoll  time.Duration
	SlowAfter time.Duration
	// Lease is how long a node waits for a renewal before it heals itself; renewed every third of it.
	Lease time.Duration
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
	// Settle is how long a fingerprint may still differ after everything is undone: units, mounts and the processes of ended
	// containers go away within some seconds of it.
	Settle time.Duration
	// Call bounds one call to an agent or the API that should be quick.
	Call time.Duration
	// Recovery bounds everything that is done on the way out after a failure or Ctrl-C.
	Recovery time.Duration
}

// DefaultTimings are the measured defaults, with the fixed kubelet timers they have to cover.
func DefaultTimings() Timings {
	return Timings{
		Steps: map[StepName]time.Duration{
			// Preparing a filesystem or driver restarts kubelet or containerd: Ready is back within 15s, pods within 30s more.
			Baseline: 2 * time.Minute,
			// The mechanism itself takes a second; Until matchers between two actions wait for a condition (10s status period).
			Inject: 90 * time.Second,
			// PLEG: threshold 3m + relist period 1s + status period 10s; CSI: RPC timeout 2m + retry. Measured: 194s at the quick
			// profile, 4m21s stock.
			Manifest: 6 * time.Minute,
			// All signals are there when detect begins, so this is for sources that lag the journal: conditions, PSI, back-off counts.
			Detect: 60 * time.Second,
			// Drain waits for graceful termination (30s), then restarts.
			Remediate: 4 * time.Minute,
			// Conditions return after the pressure transition period (quick 5s, stock 5m) + eviction loop 10s + status period 10s;
			// pods after image back-off (10s, 20s, 40s) and a fresh sandbox.
			Clear: 3 * time.Minute,
			// Namespace deletion waits for graceful pod deletion; preparation undone restarts kubelet and containerd.
			Residue: 3 * time.Minute,
		},
		Poll:       time.Second,
		SlowPoll:   2 * time.Second,
		SlowAfter:  45 * time.Second,
		Lease:      60 * time.Second,
		Quiet:      15 * time.Second,
		QuietLooks: 5,
		SureLooks:  2,
		Control:    60 * time.Second,
		Settle:     30 * time.Second,
		Call:       20 * time.Second,
		Recovery:   4 * time.Minute,
	}
}

// stretched are the timings for this machine. What has to pass, not to be waited for at most, is as long on any: it covers the
// kubelet's own timers (Quiet, Control) or spares the node (the pauses).
func (t Timings) stretched() Timings {
	steps := map[StepName]time.Duration{}
	for k, v := range t.Steps {
		steps[k] = timeoutscale.Bound(v)
	}
	t.Steps = steps
	for _, d := range []*time.Duration{&t.Lease, &t.Settle, &t.Call, &t.Recovery} {
		*d = timeoutscale.Bound(*d)
	}
	return t
}

// WithDefaults fills what is zero, stretched for this machine.
func (t Timings) WithDefaults() Timings {
	d := DefaultTimings().stretched()
	steps := map[StepName]time.Duration{}
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
		{&t.Poll, d.Poll}, {&t.SlowPoll, d.SlowPoll}, {&t.SlowAfter, d.SlowAfter}, {&t.Lease, d.Lease}, {&t.Quiet, d.Quiet},
		{&t.Control, d.Control}, {&t.Settle, d.Settle}, {&t.Call, d.Call}, {&t.Recovery, d.Recovery},
	} {
		if *p.have <= 0 {
			*p.have = p.def
		}
	}
	if t.QuietLooks <= 0 {
		t.QuietLooks = d.QuietLooks
	}
	if t.SureLooks <= 0 {
		t.SureLooks = d.SureLooks
	}
	return t
}

// bound is a step's bound for a scenario: the scenario's own timeout, else the default.
func (t Timings) bound(s *scenarios.Scenario, step StepName) time.Duration {
	own := map[StepName]scenarios.Duration{
		Baseline: s.Spec.Timeouts.Baseline, Inject: s.Spec.Timeouts.Inject, Manifest: s.Spec.Timeouts.Manifest,
		Detect: s.Spec.Timeouts.Detect, Remediate: s.Spec.Timeouts.Remediate, Clear: s.Spec.Timeouts.Clear,
		Residue: s.Spec.Timeouts.Residue,
	}[step]
	if own > 0 {
		return timeoutscale.Bound(time.Duration(own))
	}
	return t.Steps[step]
}

// ExitCode is what a process that ran this should end with: 0 all passed, 1 something failed, 3 something could not be told
// or set up, 130 interrupted after recovery. A suite in which something passed and the rest is unsupported here is 0.
func ExitCode(r *Report, err error) int {
	switch {
	case errors.Is(err, ErrInterrupted):
		return 130
	case errors.As(err, new(*usage.Error)):
		return 2
	case r == nil || len(r.Results) == 0:
		return 3
	}
	switch r.Verdict {
	case Failed:
		return 1
	case Passed:
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
