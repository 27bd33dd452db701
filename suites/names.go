package suites

import "github.com/sickbay-dev/sickbay/api/v1alpha1"

// The report's types under the names that the runner uses.
type (
	Verdict      = v1alpha1.Verdict
	StepName     = v1alpha1.StepName
	Control      = v1alpha1.Control
	Report       = v1alpha1.Report
	Result       = v1alpha1.ScenarioResult
	Fidelity     = v1alpha1.Fidelity
	Step         = v1alpha1.StepResult
	Signal       = v1alpha1.Signal
	AppliedStep  = v1alpha1.AppliedStep
	Entry        = v1alpha1.TimelineEntry
	ControlRun   = v1alpha1.ControlRun
	ControlCount = v1alpha1.ControlCount
	HostKind     = v1alpha1.HostKind
)

const (
	ReportKind     = v1alpha1.KindReport
	Passed         = v1alpha1.VerdictPassed
	Failed         = v1alpha1.VerdictFailed
	Unsupported    = v1alpha1.VerdictUnsupported
	Unknown        = v1alpha1.VerdictUnknown
	Skipped        = v1alpha1.VerdictSkipped
	Baseline       = v1alpha1.StepBaseline
	Inject         = v1alpha1.StepInject
	Manifest       = v1alpha1.StepManifest
	Detect         = v1alpha1.StepDetect
	Remediate      = v1alpha1.StepRemediate
	Clear          = v1alpha1.StepClear
	Residue        = v1alpha1.StepResidue
	NoControl      = v1alpha1.ControlNone
	NoopControl    = v1alpha1.ControlNoop
	NoRemedy       = v1alpha1.ControlNoRemedy
	BlindRestart   = v1alpha1.ControlBlindRestart
	BlindCures     = v1alpha1.BlindCures
	EntryStep      = v1alpha1.EntryStep
	EntryInject    = v1alpha1.EntryInject
	EntryLog       = v1alpha1.EntryLog
	EntryEvent     = v1alpha1.EntryEvent
	EntryCondition = v1alpha1.EntryCondition
	EntrySignal    = v1alpha1.EntrySignal
	EntryFinding   = v1alpha1.EntryFinding
	EntryRemedy    = v1alpha1.EntryRemedy
	EntryNote      = v1alpha1.EntryNote
)

// Steps returns the seven steps in order.
func Steps() []StepName { return v1alpha1.Steps() }
