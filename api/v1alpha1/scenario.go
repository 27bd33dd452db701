package v1alpha1

import (
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// KindScenario is the kind of a scenario document.
const KindScenario = "Scenario"

// Scenario is one failure to be injected, found, cleared and undone, as scenario.yaml declares it.
type Scenario struct {
	APIVersion string       `json:"apiVersion" jsonschema:"enum=sickbay.dev/v1alpha1"`
	Kind       string       `json:"kind" jsonschema:"enum=Scenario"`
	Metadata   Metadata     `json:"metadata"`
	Spec       ScenarioSpec `json:"spec"`
}

// Metadata names a scenario.
type Metadata struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
}

// ProfileDecoy is the profile of an oddity that is no illness: detectors must stay silent. It expects nothing, may prove itself by its
// injection alone, and is no lab.
const ProfileDecoy = "decoy"

// ScenarioSpec is what a scenario does and expects.
type ScenarioSpec struct {
	Title    string   `json:"title"`
	Profile  string   `json:"profile" jsonschema:"enum=core,enum=extended,enum=decoy"`
	Guide    []string `json:"guide,omitempty"` // sections of docs/guide.md, such as "4.9", "11.1"
	Fidelity Fidelity `json:"fidelity"`
	// Claims is what the scenario needs for itself besides one worker: "host" when it touches the shared kernel (real swap).
	Claims []string `json:"claims,omitempty"`
	// Registry runs beside the cluster for as long as the run does. It is up before anything is prepared.
	Registry *Registry `json:"registry,omitempty"`
	// Workload is a manifest file in the scenario's folder, or shared/NAME for one that sickbay's scenarios share (shared/app.yaml: one
	// agnhost pod). It is applied before the baseline and bound to the victim by nodeName; a Go template with what WorkloadValues holds.
	Workload string `json:"workload,omitempty"`
	// Prepare are mechanisms that make the node able to host the fault; part of the baseline, undone at residue.
	Prepare []Action `json:"prepare,omitempty"`
	// Inject are the mechanisms of the fault, in order. An action may wait for a signal before the next one starts.
	Inject []Action `json:"inject"`
	// Manifest are the signals that show the fault took hold; all must be seen.
	Manifest []Matcher `json:"manifest,omitempty"`
	// Vocabulary is a file beside the scenario with failures of your own, which sickbay's detectors do not know.
	Vocabulary string `json:"vocabulary,omitempty"`
	// Expect are the findings detectors must give, blind, and the only ones: what a cause brings about is folded into its finding.
	Expect []Expected `json:"expect,omitempty"`
	// DestructiveRemedy: a remedy of the findings has a destructive step. On a node that sickbay did not make nobody takes it unasked.
	DestructiveRemedy bool `json:"destructiveRemedy,omitempty"`
	// CRIO is what is otherwise on nodes with CRI-O. Scenarios are written for containerd: its unit, its root and its certs.d in parameters
	// and signals stand for CRI-O's there.
	CRIO     *OnCRIO  `json:"crio,omitempty"`
	Timeouts Timeouts `json:"timeouts,omitempty"`
}

// OnCRIO is what a scenario has otherwise on nodes with CRI-O.
type OnCRIO struct {
	// Unsupported is why the fault cannot exist there.
	Unsupported string `json:"unsupported,omitempty"`
	// Differs is one sentence on what differs there from a real node with CRI-O; the fault is contained then.
	Differs string `json:"differs,omitempty"`
	// Inject is the fault there, where more is needed for it; empty for the same.
	Inject []Action `json:"inject,omitempty"`
	// Manifest are the signals there, where CRI-O says it in other words; empty for the same.
	Manifest []Matcher `json:"manifest,omitempty"`
}

// Fidelity says how literal the fault is.
type Fidelity struct {
	Level string `json:"level" jsonschema:"enum=real,enum=contained"`
	// Differs is the one sentence on what differs from a real node; required when contained.
	Differs string `json:"differs,omitempty"`
	// Fallback is what the scenario, becomes where the host does not allow the real mechanism (swap): the sentence for contained.
	Fallback string `json:"fallback,omitempty"`
}

// Registry is a real image registry that speaks TLS, with a CA of its own, on the cluster's network.
type Registry struct {
	// Images are what it holds, such as shop/app:1.0.
	Images []string `json:"images"`
	// Private wants a user and a password at every pull; {{.Registry.PullSecret}} has them.
	Private bool `json:"private,omitempty"`
	// Certificate is what it shows: a good one unless told otherwise.
	Certificate string `json:"certificate,omitempty" jsonschema:"enum=expired,enum=other-name"`
}

// Action is one use of an injector.
type Action struct {
	Mechanism string `json:"mechanism"`
	// Params are the mechanism's own; their texts are Go templates with what WorkloadValues holds.
	Params map[string]any `json:"params,omitempty"`
	// On is where it acts: "victim" (default) or "every-node", which is for preparing what a fault of the whole machine needs.
	On string `json:"on,omitempty" jsonschema:"enum=victim,enum=every-node"`
	// Until must match before the next action starts; bounded by Timeouts.Inject.
	Until []Matcher `json:"until,omitempty"`

	// Line is where the action stands in scenario.yaml, for errors.
	Line int `json:"-" yaml:"-"`
}

// Where an action acts.
const (
	OnVictim    = "victim"
	OnEveryNode = "every-node"
)

// Matcher is one signal; exactly one of its fields is set. Text fields match by substring.
type Matcher struct {
	Log       *LogMatcher       `json:"log,omitempty"`
	Event     *EventMatcher     `json:"event,omitempty"`
	Condition *ConditionMatcher `json:"condition,omitempty"`
	Pod       *PodMatcher       `json:"pod,omitempty"`
	Unit      *UnitMatcher      `json:"unit,omitempty"`
	// Allocatable is what the node offers of an extended resource, as its Node object says.
	Allocatable *AllocatableMatcher `json:"allocatable,omitempty"`
	Throttled   *ThrottledMatcher   `json:"throttled,omitempty"`
	Cgroup      *CgroupMatcher      `json:"cgroup,omitempty"`
}

// LogMatcher matches a journal line written after the injection began.
type LogMatcher struct {
	Unit     string `json:"unit" jsonschema:"enum=kubelet,enum=containerd,enum=crio,enum=kernel"`
	Contains string `json:"contains"`
}

// EventMatcher matches an event on the victim or its pods seen after the injection began.
type EventMatcher struct {
	Reason   string `json:"reason"`
	Contains string `json:"contains,omitempty"`
	Type     string `json:"type,omitempty" jsonschema:"enum=Normal,enum=Warning"`
}

// ConditionMatcher matches a condition of the victim's Node object.
type ConditionMatcher struct {
	Type     string `json:"type"`
	Status   string `json:"status" jsonschema:"enum=True,enum=False,enum=Unknown"`
	Reason   string `json:"reason,omitempty"`
	Contains string `json:"contains,omitempty"`
}

// PodMatcher matches a pod of the workload.
type PodMatcher struct {
	Name     string `json:"name,omitempty"` // prefix; empty = any pod of the scenario's namespace
	Phase    string `json:"phase,omitempty"`
	Reason   string `json:"reason,omitempty"` // of the pod, or of a container's waiting or terminated state, last state included
	Contains string `json:"contains,omitempty"`
}

// UnitMatcher matches a systemd unit.
type UnitMatcher struct {
	Name     string `json:"name"`
	SubState string `json:"subState,omitempty"`
	Result   string `json:"result,omitempty"`
}

// ThrottledMatcher matches a container of the workload that its CPU quota stops again and again. It reads the cgroup's own
// counters: no event and no log line tells of throttling.
type ThrottledMatcher struct {
	Container string `json:"container,omitempty"` // empty = any container of the scenario's namespace
	// Percent is the share of throttled CPU periods since the injection began, or since the container's start.
	Percent int `json:"percent" jsonschema:"minimum=1,maximum=100"`
}

// AllocatableMatcher matches when the node offers so many of an extended resource.
type AllocatableMatcher struct {
	Resource string `json:"resource"` // such as sickbay.dev/lamp
	Is       int64  `json:"is"`
}

// Of tells whether the node offers so many. A node that never had any does not: it has no such entry.
func (m *AllocatableMatcher) Of(n *corev1.Node) bool {
	q, ok := n.Status.Allocatable[corev1.ResourceName(m.Resource)]
	return ok && q.Value() == m.Is
}

// CgroupMatcher matches the cgroup that a running container's process is in, as /proc/PID/cgroup has it: where a fault says
// nothing anywhere, this is where it shows.
type CgroupMatcher struct {
	Pod      string `json:"pod,omitempty"` // prefix; empty = any pod of the scenario's namespace
	Contains string `json:"contains"`
}

// Expected is a finding by name.
type Expected struct {
	Failure string `json:"failure"`
	Cause   string `json:"cause"`
	// AfterRemedy marks a second illness hidden behind the first: it shows, and has to be found, only once the others are
	// remedied (a missing pull secret behind an untrusted certificate).
	AfterRemedy bool `json:"afterRemedy,omitempty"`
}

// Timeouts bound the steps; zero takes the runner's default, suites.DefaultTimings.
type Timeouts struct {
	Baseline  Duration `json:"baseline,omitempty"`
	Inject    Duration `json:"inject,omitempty"`
	Manifest  Duration `json:"manifest,omitempty"`
	Detect    Duration `json:"detect,omitempty"`
	Remediate Duration `json:"remediate,omitempty"`
	Clear     Duration `json:"clear,omitempty"`
	Residue   Duration `json:"residue,omitempty"`
}

// Duration is a time.Duration written as in Kubernetes ("90s", "5m").
type Duration time.Duration

// Std is the duration as package time has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the duration as Kubernetes does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "90s"; a bare number is an error because it does not say its unit.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is no duration: write it like 90s, 5m or 1h30m", b)
	}
	*d = Duration(v)
	return nil
}

// MarshalJSON writes the duration as a string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the duration from a string.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s is no duration: write it as a string like \"90s\"", b)
	}
	return d.UnmarshalText([]byte(s))
}

// MechanismWorkload is the one mechanism that no agent knows: the harness itself changes the run's workload through the API, as
// a rollout that went wrong does in the field. Its undo is the end of the run's namespace.
const MechanismWorkload = "workload"

// Rollout are the parameters of workload.
type Rollout struct {
	// Manifest is a file in the scenario's folder, a template with the same values as the workload's own. It is applied over
	// what is there (server-side apply), so a Deployment needs to show only what changes.
	Manifest string `json:"manifest"`
}

// Rollout are the action's parameters when it is a workload action, nil when an agent carries it out.
func (a Action) Rollout() *Rollout {
	if a.Mechanism != MechanismWorkload {
		return nil
	}
	r := &Rollout{}
	raw, err := json.Marshal(a.Params)
	if err == nil {
		err = json.Unmarshal(raw, r)
	}
	if err != nil {
		return &Rollout{} // the loader has said so
	}
	return r
}
