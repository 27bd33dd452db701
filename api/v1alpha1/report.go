package v1alpha1

import (
	"fmt"
	"strings"
	"time"
)

// KindReport is the kind of a Report document.
const KindReport = "Report"

// Verdict is the outcome of a step, a scenario or a report. VerdictUnknown never passes.
type Verdict string

// Verdicts. VerdictSkipped is for steps: those after the one that did not pass.
const (
	VerdictPassed      Verdict = "passed"
	VerdictFailed      Verdict = "failed"
	VerdictUnsupported Verdict = "unsupported" // this node or host cannot host the fault; the reason says why
	VerdictUnknown     Verdict = "unknown"     // could not be told: the cluster or node was not reached, or the run was interrupted
	VerdictSkipped     Verdict = "skipped"
	// VerdictFlaky is a scenario that failed, and passed when it was tried again: it has not passed.
	VerdictFlaky Verdict = "flaky"
)

// StepName names one of the seven steps.
type StepName string

// The seven steps, in order.
const (
	StepBaseline  StepName = "baseline"
	StepInject    StepName = "inject"
	StepManifest  StepName = "manifest"
	StepDetect    StepName = "detect"
	StepRemediate StepName = "remediate"
	StepClear     StepName = "clear"
	StepResidue   StepName = "residue"
)

// Steps returns the seven steps in order.
func Steps() []StepName {
	return []StepName{StepBaseline, StepInject, StepManifest, StepDetect, StepRemediate, StepClear, StepResidue}
}

// Control is a run that must not pass.
type Control string

// The controls. ControlNone is an ordinary run.
const (
	ControlNone     Control = ""
	ControlNoop     Control = "noop"      // nothing is injected: must stop at manifest, and no detector may speak
	ControlNoRemedy Control = "no-remedy" // the remedy is withheld: clear must fail
	// ControlBlindRestart restarts containerd and kubelet instead of the remedy: clear must fail.
	ControlBlindRestart Control = "blind-restart"
)

// Report is the result of one `sickbay run`: one scenario or many.
type Report struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Cluster    string `json:"cluster"`
	Version    string `json:"version,omitempty"` // of sickbay
	Profile    string `json:"profile,omitempty"` // that was asked for; empty when scenarios were named
	// Shard is set in the report of a part of a suite. A merged report has none.
	Shard      *Shard `json:"shard,omitempty"`
	Kubernetes string `json:"kubernetes,omitempty"` // server version
	Host       string `json:"host,omitempty"`       // operating system, kernel and cgroup version of the victim's kernel
	// HostKind is what of that host decides how faults show and which of them it can have.
	HostKind HostKind `json:"hostKind"`
	// Pace is by how much bounds were stretched on that machine, 1 for not at all: see package timeoutscale.
	Pace    float64          `json:"pace"`
	Started time.Time        `json:"started"`
	Ended   time.Time        `json:"ended"`
	Verdict Verdict          `json:"verdict"`
	Results []ScenarioResult `json:"results"`
	// HostChanges is what was left behind on the host side, as readable differences. Several scenarios run side by side
	// share one host, so it belongs to the report and not to one of them. Anything here makes the report failed.
	HostChanges []string `json:"hostChanges,omitempty"`
	// Controls counts the controls made on the way; empty when none was asked for.
	Controls []ControlCount `json:"controls,omitempty"`
	// Matrix is scenarios against findings; null for a single scenario.
	Matrix *Matrix `json:"matrix,omitempty"`
	// Seed is what the order was shuffled with.
	Seed uint64 `json:"seed,omitempty"`
	// Detectors are those that were scored, in the order given; Scores has each of them over all failures and for each failure.
	Detectors []DetectorInfo `json:"detectors,omitempty"`
	Scores    []Score        `json:"scores,omitempty"`
	// Flakes are there where runs were repeated.
	Flakes []FlakeRate `json:"flakes,omitempty"`
	// KnownPassed are known failures that passed: take them off the list.
	KnownPassed []KnownFailure `json:"knownPassed,omitempty"`
}

// Shard is a part of a suite; other machines run the rest.
type Shard struct {
	Index int `json:"index"` // from 1
	Of    int `json:"of"`
	// Suite names the scenarios of all shards, in the order of the whole suite's report: what no shard brings is missing.
	Suite []string `json:"suite"`
}

// String is for people: "2/5".
func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.Index, s.Of) }

// ScenarioResult is one scenario's run.
type ScenarioResult struct {
	Scenario string   `json:"scenario"`
	Cell     string   `json:"cell,omitempty"` // of a suite with --matrix: kubernetes=1.34,runtime=crio
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

	Started time.Time    `json:"started"`
	Ended   time.Time    `json:"ended"`
	Steps   []StepResult `json:"steps"`

	Expected []string        `json:"expected"` // failure/cause
	Signals  []Signal        `json:"signals,omitempty"`
	Findings []Finding       `json:"findings,omitempty"` // as given at detect, later rounds appended
	Remedies []AppliedStep   `json:"remedies,omitempty"`
	Residue  []string        `json:"residue,omitempty"` // what was left behind on the node, readable
	Clocks   RunClocks       `json:"clocks"`
	Timeline []TimelineEntry `json:"timeline,omitempty"`
	// Recover is the command that undoes by hand, set when something may still be injected (Keep, or recovery failed).
	Recover string `json:"recover,omitempty"`

	Labels map[string]string `json:"labels,omitempty"` // of the scenario
	// Detectors are the results of the detectors that were scored.
	Detectors []DetectorResult `json:"detectors,omitempty"`
	// Repeat counts the runs of one scenario (--repeat) from 1; Attempts are those before this one that failed (--retries).
	Repeat   int       `json:"repeat,omitempty"`
	Attempts []Attempt `json:"attempts,omitempty"`
	// Known are the known failures that excuse this result or a detector's in it.
	Known []KnownFailure `json:"known,omitempty"`
}

// Named is the scenario, with its cell where there are several.
func (r ScenarioResult) Named() string {
	if r.Cell == "" {
		return r.Scenario
	}
	return r.Scenario + " (" + r.Cell + ")"
}

// RunClocks are the durations worth comparing between runs, in seconds since the injection began; 0 means it did not happen.
type RunClocks struct {
	Signal   float64 `json:"signalSeconds,omitempty"`   // when the last expected signal appeared
	Finding  float64 `json:"findingSeconds,omitempty"`  // the first look at which all expected findings were named
	Remedied float64 `json:"remediedSeconds,omitempty"` // the last remedy had been applied
	Cleared  float64 `json:"clearedSeconds,omitempty"`
}

// StepResult is one of the seven steps of a run.
type StepResult struct {
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
	Finding string    `json:"finding"` // failure/cause
	Remedy  string    `json:"remedy"`
	Step    Step      `json:"step"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Output  string    `json:"output,omitempty"` // last lines
	Error   string    `json:"error,omitempty"`
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

// TimelineEntry is one line of the timeline (timeline.jsonl has one a line).
type TimelineEntry struct {
	At       time.Time `json:"at"`
	Kind     EntryKind `json:"kind"`
	Scenario string    `json:"scenario,omitempty"`
	Node     string    `json:"node,omitempty"`
	Source   string    `json:"source,omitempty"` // journal/kubelet, api.events …
	Level    string    `json:"level,omitempty"`
	Text     string    `json:"text"`
}

// ControlRun is a control made on the way: a step that had to fail.
type ControlRun struct {
	Control Control  `json:"control"`
	At      StepName `json:"at"`
	// Held tells that it failed as it must.
	Held    bool      `json:"held"`
	Verdict Verdict   `json:"verdict"` // of the step: failed when held
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Reason  string    `json:"reason,omitempty"` // why the step failed; why the control did not hold
	Seen    []string  `json:"seen,omitempty"`
}

// ControlCount is one control over a whole report.
type ControlCount struct {
	Control Control  `json:"control"`
	Made    int      `json:"made"`
	Held    int      `json:"held"`
	NotHeld []string `json:"notHeld,omitempty"` // scenarios
}

func (c ControlCount) String() string {
	s := fmt.Sprintf("%s: red in %d of %d, as it must be", c.Control, c.Held, c.Made)
	if len(c.NotHeld) > 0 {
		s += "; not in " + strings.Join(c.NotHeld, ", ")
	}
	if c.Control == ControlBlindRestart {
		s += fmt.Sprintf(" (it may cure %d core failures)", BlindCures)
	}
	return s
}

// BlindCures is how many of the core failures a blind restart of containerd and kubelet may cure. Where the illness is in those
// processes themselves (a stopped one, say), it is the cure; more than three of fifteen are faults too weak for the field.
const BlindCures = 3

// Matrix is the confusion matrix of one report: scenarios against findings. Off the diagonal may stand only what a scenario
// declares as a consequence.
type Matrix struct {
	Columns []string    `json:"columns"` // failure/cause, in the vocabulary's order
	Rows    []MatrixRow `json:"rows"`
	// Clean tells that nothing was missed and nothing found that is not declared.
	Clean bool `json:"clean"`
}

// MatrixRow is one scenario; Cells has one for every column.
type MatrixRow struct {
	Scenario string       `json:"scenario"`
	Cells    []MatrixCell `json:"cells"`
}

// MatrixCell is how often a scenario's run gave a finding, on any node, and what that means.
type MatrixCell struct {
	N    int      `json:"n"`
	Kind CellKind `json:"kind,omitempty"`
}

// CellKind is what a cell means; empty for what was neither expected nor found.
type CellKind string

// Kinds of cells.
const (
	CellExpected CellKind = "expected"
	CellWrong    CellKind = "wrong"  // neither, or on another node
	CellMissed   CellKind = "missed" // expected, and not found
)

// HostKind is the kind of machine under the nodes. The zero value means that it could not be asked.
type HostKind struct {
	CgroupVersion int `json:"cgroupVersion,omitempty"` // 1 or 2
	// LSMs are the kernel's security modules, in its order; empty where securityfs cannot be read.
	LSMs []string `json:"lsms,omitempty"`
	// Virtualization is none, kvm, tcg (QEMU's software emulation) or another monitor's name.
	Virtualization string `json:"virtualization,omitempty"`
}

// String is for people: "cgroup v2, LSMs lockdown,apparmor, tcg".
func (k HostKind) String() string {
	words := []string{fmt.Sprintf("cgroup v%d", k.CgroupVersion)}
	if len(k.LSMs) > 0 {
		words = append(words, "LSMs "+strings.Join(k.LSMs, ","))
	}
	if k.Virtualization != "" && k.Virtualization != "none" {
		words = append(words, k.Virtualization)
	}
	return strings.Join(words, ", ")
}
