package v1alpha1

import "fmt"

// DetectorRole says what is demanded of a detector in a run.
type DetectorRole string

// The roles.
const (
	// RoleContestant has to find what is expected: a miss fails the report.
	RoleContestant DetectorRole = "contestant"
	// RoleReference is scored, and fails nothing: what a person with kubectl sees.
	RoleReference DetectorRole = "reference"
	// RoleControl must find nothing. One that does proves that the scoring is wrong, and fails the report.
	RoleControl DetectorRole = "control"
)

// DetectorInfo is one detector of a report.
type DetectorInfo struct {
	Name string       `json:"name"`
	Spec string       `json:"spec"` // as --detector had it
	Role DetectorRole `json:"role"`
	Acts bool         `json:"acts,omitempty"` // it was asked to remediate as well
}

// DetectorResult is what one detector made of one injection.
type DetectorResult struct {
	Detector string       `json:"detector"`
	Role     DetectorRole `json:"role"`
	// Verdict is passed when each expected failure was found, no wrong cause was named and nothing else was said; for a control when
	// nothing was found.
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason,omitempty"`
	// Expected has one entry for each finding that the scenario expects; none for a decoy.
	Expected []Detected `json:"expected"`
	// Wrong is what was said and is not expected.
	Wrong []WrongFinding `json:"wrong,omitempty"`
	Looks int            `json:"looks"`
	// Errors are the looks that gave no answer: a crash, a timeout, garbage.
	Errors []string      `json:"errors,omitempty"`
	Action *ActionResult `json:"action,omitempty"`
}

// Detected says how far one expected finding was named.
type Detected struct {
	Failure string `json:"failure"`
	Cause   string `json:"cause"`
	// Named: the failure was named, on whatever node. RightNode: on the victim as well. Found: newly so, after the injection.
	Named     bool `json:"named"`
	RightNode bool `json:"rightNode"`
	Found     bool `json:"found"`
	// CauseNamed: found with a cause at all; RightCause: with this one and no other.
	CauseNamed bool `json:"causeNamed"`
	RightCause bool `json:"rightCause"`
	// Seconds from the injection to the first answer with it, and from the moment its last signal could be read: below zero where the
	// detector knew before that. Both are zero where it was not found.
	Seconds     float64 `json:"seconds,omitempty"`
	AfterSignal float64 `json:"afterSignalSeconds,omitempty"`
}

// WrongPlace says where a wrong finding was given.
type WrongPlace string

// Places of wrong findings.
const (
	WrongBaseline  WrongPlace = "baseline"  // before anything was injected
	WrongDecoy     WrongPlace = "decoy"     // on an oddity that is no illness
	WrongBystander WrongPlace = "bystander" // on a node that is well
	WrongVictim    WrongPlace = "victim"    // another failure or cause than the one injected
)

// WrongFinding is a finding that is not expected.
type WrongFinding struct {
	Name  string     `json:"name"` // failure/cause, or failure
	Node  string     `json:"node"`
	Place WrongPlace `json:"place"`
	Looks int        `json:"looks"` // in so many
}

// ActionResult is what a detector's remedy did.
type ActionResult struct {
	// Run is the run whose fault it was let loose on: sickbay's own is the scored one, others get an injection of their own.
	Run string `json:"run"`
	// Acted: it found something and was asked to remedy it. CauseRight: the cause it had named was the right one.
	Acted      bool    `json:"acted"`
	CauseRight bool    `json:"causeRight"`
	Cleared    bool    `json:"cleared"`
	Seconds    float64 `json:"seconds,omitempty"` // from the finding until it was cleared
	Reason     string  `json:"reason,omitempty"`  // why it was not
	// PodsKilled are pods that were Ready before it acted and are gone since, as namespace/name; Restarts are those of containers
	// that were ready.
	PodsKilled []string `json:"podsKilled,omitempty"`
	Restarts   int      `json:"restarts"`
	// Residue is what it left behind on the node or left to be undone.
	Residue []string `json:"residue,omitempty"`
}

// Score sums one detector's results for one failure, or for all of them.
type Score struct {
	Detector string `json:"detector"`
	Failure  string `json:"failure,omitempty"` // empty: all
	// Passed counts injections; the next three count expected findings.
	Passed     Rate `json:"passed"`
	Found      Rate `json:"found"`
	RightCause Rate `json:"rightCause"`
	RightNode  Rate `json:"rightNode"`
	// AfterSignal are seconds from the signal being readable to the finding, of those found.
	AfterSignal Spread `json:"afterSignalSeconds"`
	// The runs in which something was said that was not so: before the injection, on a decoy, on a node that was well, and beside
	// what was expected on the victim.
	FalseBaseline  Rate `json:"falseBaseline"`
	FalseDecoy     Rate `json:"falseDecoy"`
	FalseBystander Rate `json:"falseBystander"`
	Extra          Rate `json:"extra"`
	Looks          int  `json:"looks"`
	Errors         int  `json:"errors"`
	// Action is nil for a detector that was not asked to act.
	Action *ActionScore `json:"action,omitempty"`
}

// ActionScore sums what a detector's remedies did.
type ActionScore struct {
	Cleared           Rate   `json:"cleared"`
	ClearedRightCause Rate   `json:"clearedRightCause"` // where the cause it named was right
	ClearedWrongCause Rate   `json:"clearedWrongCause"` // where it was not
	Seconds           Spread `json:"seconds"`
	PodsKilled        int    `json:"podsKilled"`
	Restarts          int    `json:"restarts"`
	Residue           int    `json:"residue"` // runs that left something behind
}

// Rate is N of Of, with Wilson's 95 % interval. All are zero where Of is.
type Rate struct {
	N    int     `json:"n"`
	Of   int     `json:"of"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

func (r Rate) String() string { return fmt.Sprintf("%d/%d", r.N, r.Of) }

// Spread is the spread of some numbers; all are zero where N is.
type Spread struct {
	N      int     `json:"n"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// FlakeRate is how often repeated runs of a scenario passed. Detector is empty for the run's own seven steps.
type FlakeRate struct {
	Scenario string `json:"scenario"`
	Detector string `json:"detector,omitempty"`
	Passed   Rate   `json:"passed"`
	Flaky    bool   `json:"flaky"` // some passed and some did not
}

// Attempt is a run that did not pass and was made again (--retries).
type Attempt struct {
	Run      string   `json:"run"`
	Verdict  Verdict  `json:"verdict"`
	FailedAt StepName `json:"failedAt,omitempty"`
	Reason   string   `json:"reason,omitempty"`
}

// KnownFailure is an entry of a list of failures that are known and do not fail a report. It says why, and until when.
type KnownFailure struct {
	Scenario string `json:"scenario"`           // may have * and ?
	Detector string `json:"detector,omitempty"` // empty: the run's own steps; may have * and ?
	Why      string `json:"why"`
	Until    string `json:"until"` // the last day, as 2027-01-31
}

// KindKnownFailures is the kind of a list of known failures.
const KindKnownFailures = "KnownFailures"

// KnownFailures is the list.
type KnownFailures struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Failures   []KnownFailure `json:"failures"`
}
