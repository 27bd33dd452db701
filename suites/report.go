package suites

import (
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// ReportKind is the kind of a Report document.
const ReportKind = "Report"

// Verdict is the outcome of a step, a scenario or a report. Unknown never passes.
type Verdict string

// Verdicts. Skipped is for steps only: those after the one that did not pass.
const (
	Passed      Verdict = "passed"
	Failed      Verdict = "failed"
	Unsupported Verdict = "unsupported" // this node or host cannot host the fault; the reason says why
	Unknown     Verdict = "unknown"     // could not be told: the cluster or node was not reached, or the run was interrupted
	Skipped     Verdict = "skipped"
)

// StepName names one of the seven steps.
type StepName string

// The seven steps, in order.
const (
	Baseline  StepName = "baseline"
	Inject    StepName = "inject"
	Manifest  StepName = "manifest"
	Detect    StepName = "detect"
	Remediate StepName = "remediate"
	Clear     StepName = "clear"
	Residue   StepName = "residue"
)

// Steps returns the seven steps in order.
func Steps() []StepName {
	return []StepName{Baseline, Inject, Manifest, Detect, Remediate, Clear, Residue}
}

// Control is a run that must not pass.
type Control string

// The controls. NoControl is an ordinary run.
const (
	NoControl   Control = ""
	NoopControl Control = "noop"      // nothing is injected: must stop at manifest, and no detector may speak
	NoRemedy    Control = "no-remedy" // the remedy is withheld: clear must fail
	OtherRemedy Control = "other-remedy"
	// BlindRestart restarts containerd and kubelet instead, as who does not know what is wrong does first: clear must fail.
	BlindRestart Control = "blind-restart"
)

// Report is what one call of Run or RunAll saw.
type Report struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Cluster    string `json:"cluster"`
	Version    string `json:"version,omitempty"`    // of sickbay
	Kubernetes string `json:"kubernetes,omitempty"` // server version
	Host       string `json:"host,omitempty"`       // operating system, kernel and cgroup version of the victim's kernel
	// HostKind is what of that host decides how faults show and which of them it can have.
	HostKind HostKind `json:"hostKind"`
	// Pace is by how much bounds were stretched on that machine, 1 for not at all: see package pace.
	Pace    float64   `json:"pace"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Verdict Verdict   `json:"verdict"`
	Results []Result  `json:"results"`
	// HostChanges is what was left behind on the host side, as readable differences. Several scenarios run side by side
	// share one host, so it belongs to the report and not to one of them. Anything here makes the report failed.
	HostChanges []string `json:"hostChanges,omitempty"`
	// Controls counts the controls made on the way; empty when none was asked for.
	Controls []ControlCount `json:"controls,omitempty"`
	// Matrix is scenarios against findings; null for a single scenario.
	Matrix *Matrix `json:"matrix,omitempty"`
}

// Result is one scenario's run.
type Result struct {
	Scenario string   `json:"scenario"`
	Title    string   `json:"title"`
	Profile  string   `json:"profile,omitempty"`
	Guide    []string `json:"guide,omitempty"`
	Run      string   `json:"run"`            // id of the run: its namespace is sickbay-<run>
	Node     string   `json:"node,omitempty"` // the victim
	Control  Control  `json:"control,omitempty"`
	// ControlHeld tells, for a control, that the run failed where and how it must.
	ControlHeld bool `json:"controlHeld,omitempty"`
	// Controls are those made on the way, with the same injection.
	Controls []ControlRun `json:"controls,omitempty"`

	Verdict  Verdict  `json:"verdict"`
	FailedAt StepName `json:"failedAt,omitempty"` // the first step that did not pass
	Reason   string   `json:"reason,omitempty"`   // why, in one or two sentences
	Fidelity Fidelity `json:"fidelity"`

	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Steps   []Step    `json:"steps"`

	Expected     []string           `json:"expected"`               // failure/cause
	Consequences []string           `json:"consequences,omitempty"` // that may also be found
	Signals      []Signal           `json:"signals,omitempty"`
	Findings     []v1alpha1.Finding `json:"findings,omitempty"` // as given at detect, later rounds appended
	Remedies     []AppliedStep      `json:"remedies,omitempty"`
	Residue      []string           `json:"residue,omitempty"` // what was left behind on the node, readable
	Clocks       Clocks             `json:"clocks"`
	Timeline     []Entry            `json:"timeline,omitempty"`
	// Recover is the command that undoes by hand, set when something may still be injected (Keep, or recovery failed).
	Recover string `json:"recover,omitempty"`
}

// Fidelity says how literal this run's fault was.
type Fidelity struct {
	Level   string `json:"level"` // real, contained
	Differs string `json:"differs,omitempty"`
}

// Clocks are the durations worth comparing between runs, in seconds since the injection began; 0 means it did not happen.
type Clocks struct {
	Signal   float64 `json:"signalSeconds,omitempty"`   // when the last expected signal appeared
	Finding  float64 `json:"findingSeconds,omitempty"`  // the first look at which all expected findings were named
	Remedied float64 `json:"remediedSeconds,omitempty"` // the last remedy had been applied
	Cleared  float64 `json:"clearedSeconds,omitempty"`
}

// Step is one of the seven.
type Step struct {
	Name    StepName      `json:"name"`
	Verdict Verdict       `json:"verdict"`
	Started time.Time     `json:"started,omitzero"`
	Ended   time.Time     `json:"ended,omitzero"`
	Bound   time.Duration `json:"boundNanoseconds,omitempty"`
	Reason  string        `json:"reason,omitempty"` // why it did not pass
	Seen    []string      `json:"seen,omitempty"`   // what was seen, in the order it was
}

// Signal is one manifest matcher and what satisfied it.
type Signal struct {
	Want string    `json:"want"`
	At   time.Time `json:"at,omitzero"` // zero: not seen
	Text string    `json:"text,omitempty"`
}

// AppliedStep is one step of a remedy that was carried out.
type AppliedStep struct {
	Finding string        `json:"finding"` // failure/cause
	Remedy  string        `json:"remedy"`
	Step    v1alpha1.Step `json:"step"`
	Started time.Time     `json:"started"`
	Ended   time.Time     `json:"ended"`
	Output  string        `json:"output,omitempty"` // last lines
	Error   string        `json:"error,omitempty"`
}

// EntryKind sorts timeline entries.
type EntryKind string

// Kinds of timeline entries.
const (
	EntryStep      EntryKind = "step"
	EntryInject    EntryKind = "inject"
	EntryLog       EntryKind = "log"
	EntryEvent     EntryKind = "event"
	EntryCondition EntryKind = "condition"
	EntrySignal    EntryKind = "signal"
	EntryFinding   EntryKind = "finding"
	EntryRemedy    EntryKind = "remedy"
	EntryNote      EntryKind = "note"
)

// Entry is one line of the timeline (timeline.jsonl has one a line).
type Entry struct {
	At       time.Time `json:"at"`
	Kind     EntryKind `json:"kind"`
	Scenario string    `json:"scenario,omitempty"`
	Node     string    `json:"node,omitempty"`
	Source   string    `json:"source,omitempty"` // journal/kubelet, api.events …
	Level    string    `json:"level,omitempty"`
	Text     string    `json:"text"`
}
