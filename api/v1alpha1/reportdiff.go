package v1alpha1

import "time"

// KindReportDiff is the kind of a ReportDiff document.
const KindReportDiff = "ReportDiff"

// ReportDiff is what `sickbay report diff OLD NEW` tells: each list has its cases in the new report's order.
type ReportDiff struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Old        ReportRef `json:"old"`
	New        ReportRef `json:"new"`
	// Broken did not fail before and does now: failed, or of unknown outcome.
	Broken []CaseChange `json:"broken,omitempty"`
	Fixed  []CaseChange `json:"fixed,omitempty"`
	// Slower passed in both reports, and took longer than the bounds allow.
	Slower []CaseChange `json:"slower,omitempty"`
	// Flaky are those of the new report that passed in one attempt and failed in another.
	Flaky []CaseChange `json:"flaky,omitempty"`
	// Lost passed before, and are unsupported, skipped or not there now.
	Lost []CaseChange `json:"lost,omitempty"`
	// Failing did not pass in either report.
	Failing []CaseChange `json:"failing,omitempty"`
	// Same is how many cases changed in nothing.
	Same int `json:"same"`
}

// ReportRef says which report one was.
type ReportRef struct {
	Cluster    string    `json:"cluster"`
	Version    string    `json:"version,omitempty"`
	Kubernetes string    `json:"kubernetes,omitempty"`
	Started    time.Time `json:"started"`
	Verdict    Verdict   `json:"verdict"`
}

// CaseChange is one case in both reports. Was is empty where only the new report has it, Is where only the old one has it.
type CaseChange struct {
	Case   string  `json:"case"`
	Was    Verdict `json:"was,omitempty"`
	Is     Verdict `json:"is,omitempty"`
	Reason string  `json:"reason,omitempty"`
	// Measure is what got slower, From and To its seconds.
	Measure string  `json:"measure,omitempty"`
	From    float64 `json:"fromSeconds,omitempty"`
	To      float64 `json:"toSeconds,omitempty"`
}
