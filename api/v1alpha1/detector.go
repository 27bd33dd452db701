package v1alpha1

import (
	"slices"
	"time"
)

// KindDetectorRequest is the kind of a request to a detector.
const KindDetectorRequest = "DetectorRequest"

// DetectorProtocol counts incompatible changes of what a program gets and answers. docs/detectors.md describes it.
const DetectorProtocol = 1

// DetectorRequest asks a program for one look at a cluster. It comes as one line of JSON on standard input; the answer is a Diagnosis on
// standard output. It says nothing of what was injected, nor where.
type DetectorRequest struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Protocol   int            `json:"protocol"`
	Look       int            `json:"look"` // 1 for the first of a run
	Cluster    string         `json:"cluster"`
	Nodes      []DetectorNode `json:"nodes"` // to look at, and no others: they may be made ill by other runs
	// Kubeconfig is a file with access to the cluster.
	Kubeconfig string `json:"kubeconfig"`
	// Since is when the run began. What is older is not of it.
	Since time.Time `json:"since"`
	// Deadline is when the answer is no longer waited for.
	Deadline time.Time `json:"deadline"`
	// Act asks to remedy what is wrong now; Diagnosis is the last answer. The answer to it is read and not judged.
	Act       bool       `json:"act,omitempty"`
	Diagnosis *Diagnosis `json:"diagnosis,omitempty"`
}

// DetectorNode is a node and how to run a command on it: Exec is what goes before the command's words, such as docker exec NAME.
type DetectorNode struct {
	Name string   `json:"name"`
	Exec []string `json:"exec"`
}

// KindMapping is the kind of a mapping file.
const KindMapping = "Mapping"

// Mapping translates what others say into failures and causes. The first rule that matches decides.
type Mapping struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Rules      []MappingRule `json:"rules"`
}

// MappingRule translates one thing. Texts may have * and ?; an empty one matches everything.
type MappingRule struct {
	// Exactly one of the three: a node condition's type, an event's reason, the failure or failure/cause of an answer.
	Condition string `json:"condition,omitempty"`
	Event     string `json:"event,omitempty"`
	Finding   string `json:"finding,omitempty"`
	// Status is the condition's status that means ill: True unless said otherwise. Several are separated by |.
	Status string `json:"status,omitempty"`
	// Reason and Message narrow a condition; Message narrows an event.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Is is the failure or failure/cause that it means; empty: nothing, it is not reported.
	Is string `json:"is,omitempty"`
}

// KindProfile is the kind of a profile file.
const KindProfile = "Profile"

// Profile is a choice of scenarios. Only and Skip are selectors as of --only and --skip.
type Profile struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   Metadata `json:"metadata"`
	Title      string   `json:"title,omitempty"`
	// Scenarios are folders or files of your own, relative to the profile. Those that come with sickbay are there without it.
	Scenarios []string `json:"scenarios,omitempty"`
	Only      []string `json:"only,omitempty"`
	Skip      []string `json:"skip,omitempty"`
}

// KindVocabulary is the kind of a vocabulary file.
const KindVocabulary = "Vocabulary"

// Vocabulary has failures that sickbay does not know, for scenarios of your own.
type Vocabulary struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Failures   []NamedFailure `json:"failures"`
}

// Has tells whether a failure, or a failure and cause, is in the vocabulary. A nil one has nothing.
func (v *Vocabulary) Has(failure, cause string) bool {
	if v == nil {
		return false
	}
	for _, f := range v.Failures {
		if f.Name != failure {
			continue
		}
		return cause == "" || slices.ContainsFunc(f.Causes, func(c NamedCause) bool { return c.Name == cause })
	}
	return false
}

// NamedFailure is one failure of a vocabulary with its causes.
type NamedFailure struct {
	Name   string       `json:"name"`
	Title  string       `json:"title,omitempty"`
	Causes []NamedCause `json:"causes"`
}

// NamedCause is one cause.
type NamedCause struct {
	Name  string `json:"name"`
	Title string `json:"title,omitempty"`
}
