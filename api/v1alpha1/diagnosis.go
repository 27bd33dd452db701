package v1alpha1

import (
	"time"
)

// KindDiagnosis is the kind of a Diagnosis document.
const KindDiagnosis = "Diagnosis"

// NodeUnknown is something that could not be read, and where.
type NodeUnknown struct {
	Node string `json:"node,omitempty"`
	What string `json:"what"`
	Why  string `json:"why"`
}

// Diagnosis is the answer: what is wrong, on which node, from which cause, and what could not be seen.
type Diagnosis struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Cluster    string `json:"cluster,omitempty"`
	// Context is the kubeconfig context that commands name, where it is not kind-CLUSTER.
	Context string    `json:"context,omitempty"`
	At      time.Time `json:"at,omitzero"` // of the newest observation
	// Healthy means: no finding, and every node was seen by its agent or the API server. A single source that could not be
	// read does not make it false, but is listed.
	Healthy  bool          `json:"healthy"`
	Nodes    []string      `json:"nodes"`
	Findings []Finding     `json:"findings"`
	Unknown  []NodeUnknown `json:"unknown"`
	// Pods says for each node with a finding how many of its pods are not ready.
	Pods []NodePods `json:"pods,omitempty"`
	// Recording is set when a bundle was judged: the answer is about that moment, not about now.
	Recording *Recording `json:"recording,omitempty"`
}

// NodePods counts the pods of a node that have not ended, and names those that are not ready.
type NodePods struct {
	Node     string   `json:"node"`
	Total    int      `json:"total"`
	NotReady []string `json:"notReady"` // namespace/name
}

// Recording says when and by what a bundle was recorded.
type Recording struct {
	At   time.Time `json:"at"`
	By   string    `json:"by,omitempty"` // version of sickbay
	Note string    `json:"note,omitempty"`
}

// KindBundle is the kind of bundle.yaml; BundleFormat counts incompatible changes of the layout. docs/bundle.md describes it.
const (
	KindBundle   = "Bundle"
	BundleFormat = 1
)

// Bundle is bundle.yaml, the index of a bundle of histories.
type Bundle struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Format     int          `json:"format"`
	Cluster    string       `json:"cluster,omitempty"`
	Context    string       `json:"context,omitempty"` // where it is not kind-CLUSTER
	RecordedAt time.Time    `json:"recordedAt"`
	RecordedBy string       `json:"recordedBy,omitempty"` // version of sickbay
	Note       string       `json:"note,omitempty"`
	Nodes      []BundleNode `json:"nodes"`
}

// BundleNode is one node's file.
type BundleNode struct {
	Name  string `json:"name"`
	File  string `json:"file"` // relative, with forward slashes
	Looks int    `json:"looks"`
}
