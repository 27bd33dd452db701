package v1alpha1

// KindConformanceReport is the kind of a ConformanceReport document.
const KindConformanceReport = "ConformanceReport"

// ConformanceReport is the short statement of what one implementation of detection and remedies can do, after the model of Gateway API's
// conformance reports: small enough to be sent to a repository and compared by reading it.
type ConformanceReport struct {
	APIVersion     string         `json:"apiVersion"`
	Kind           string         `json:"kind"`
	Date           string         `json:"date"` // RFC 3339, UTC
	Implementation Implementation `json:"implementation"`
	Environment    JudgedOn       `json:"environment"`
	Profiles       []ProfileScore `json:"profiles"`
	// Detection is there for a detector that was scored: how much it found, how fast, and what it said that was not so.
	Detection *Score `json:"detection,omitempty"`
}

// Implementation says what was judged and who stands behind it.
type Implementation struct {
	Organization string `json:"organization,omitempty"`
	Project      string `json:"project"`
	URL          string `json:"url,omitempty"`
	Version      string `json:"version,omitempty"`
	Contact      string `json:"contact,omitempty"`
}

// JudgedOn says where it was judged.
type JudgedOn struct {
	Sickbay    string   `json:"sickbay,omitempty"` // version
	Kubernetes string   `json:"kubernetes,omitempty"`
	Host       string   `json:"host,omitempty"`
	HostKind   HostKind `json:"hostKind"`
}

// ProfileScore is one profile's outcome.
type ProfileScore struct {
	Name       string          `json:"name"`
	Result     ProfileResult   `json:"result"`
	Statistics ProfileCounts   `json:"statistics"`
	Score      float64         `json:"score"` // passed of those that could run here, 0 to 1
	Failed     []FailedCase    `json:"failed,omitempty"`
	Passed     []string        `json:"passed,omitempty"`
	Skipped    []UnmetScenario `json:"skipped,omitempty"`
	// Unsupported could not be had on this host; it says nothing of the implementation.
	Unsupported []UnmetScenario `json:"unsupported,omitempty"`
}

// ProfileResult is success, partial or failure.
type ProfileResult string

// Results of a profile. Partial: nothing failed, but something was unsupported, skipped or could not be told.
const (
	ProfileSuccess ProfileResult = "success"
	ProfilePartial ProfileResult = "partial"
	ProfileFailure ProfileResult = "failure"
)

// ProfileCounts count scenarios. Unknown ones could not be told and count as failed in the score.
type ProfileCounts struct {
	Passed      int `json:"passed"`
	Failed      int `json:"failed"`
	Flaky       int `json:"flaky"`
	Unknown     int `json:"unknown"`
	Skipped     int `json:"skipped"`
	Unsupported int `json:"unsupported"`
}

// FailedCase is a scenario that did not pass.
type FailedCase struct {
	Scenario string   `json:"scenario"`
	Verdict  Verdict  `json:"verdict"`
	At       StepName `json:"at,omitempty"`
	Reason   string   `json:"reason,omitempty"`
}

// UnmetScenario is a scenario that was not run to its end, and why.
type UnmetScenario struct {
	Scenario string `json:"scenario"`
	Reason   string `json:"reason,omitempty"`
}
