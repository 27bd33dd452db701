package v1alpha1

import "time"

// Certainty says how sure a finding is. Evidence that fits two causes gives Likely, and Finding.ToConfirm says what would settle it.
type Certainty string

// The two certainties; there is no third, since a guess is not a finding.
const (
	Certain Certainty = "certain"
	Likely  Certainty = "likely"
)

// Finding is one illness of one node, with what proves it and what cures it.
type Finding struct {
	Failure   string     `json:"failure"` // name from package failures
	Cause     string     `json:"cause"`   // name from package failures
	Node      string     `json:"node"`
	Object    *ObjectRef `json:"object"` // the pod, claim or device it is about; nil when the node as a whole is ill
	Certainty Certainty  `json:"certainty"`
	Summary   string     `json:"summary"` // one sentence for a person
	// ToConfirm says what would settle it, when Certainty is Likely.
	ToConfirm string     `json:"toConfirm,omitempty"`
	Evidence  []Evidence `json:"evidence"`
	// Consequences are consequences that need no finding of their own, in words.
	Consequences []string `json:"consequences"`
	Remedy       *Remedy  `json:"remedy"`
	// ManualAction says why there is no remedy, or what the remedy leaves to a person: whose decision or knowledge is needed.
	ManualAction string `json:"manualAction,omitempty"`

	// Affects are objects beside Object that this finding harms: what is found about them may be its consequence.
	Affects []ObjectRef `json:"-"`
}

// Name is failure/cause.
func (f Finding) Name() string { return f.Failure + "/" + f.Cause }

// ObjectRef names an API object.
type ObjectRef struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// Evidence is one observed fact.
type Evidence struct {
	Source string    `json:"source"` // as observation sources: journal/kubelet, runtime.status, filesystems, api.events …
	At     time.Time `json:"at,omitzero"`
	Text   string    `json:"text"`
}

// Remedy is a plan that clears a finding, smallest step first.
type Remedy struct {
	Name  string `json:"name"`
	Steps []Step `json:"steps"`
}

// Step is one typed step of a remedy. Exactly one of Exec, API and Restore is set.
type Step struct {
	Run        string `json:"run"` // the command an operator would type, derived from Exec or API
	Why        string `json:"why"`
	Disruptive bool   `json:"disruptive"`          // running pods are disturbed
	On         string `json:"on,omitempty"`        // node on which Exec runs; empty for API steps
	LosesPods  bool   `json:"losesPods,omitempty"` // pods would be lost: drain first

	Exec []string   `json:"exec,omitempty"` // argv on the node
	API  *APIAction `json:"api,omitempty"`
	// Restore is an absolute path on node On that is put back as the node's image (kind) or its package has it, with mode and
	// times: the only source an operator has for a binary that is gone.
	Restore string `json:"restore,omitempty"`
}

// APIAction is a change through the API server, as kubectl would make it.
type APIAction struct {
	Verb   string     `json:"verb"` // one of the Verb constants
	Object *ObjectRef `json:"object,omitempty"`
	// Subresource of Object, such as resize; empty for the object itself.
	Subresource string `json:"subresource,omitempty"`
	APIVersion  string `json:"apiVersion,omitempty"` // of Object, "v1" when empty
	Patch       string `json:"patch,omitempty"`      // strategic merge patch, JSON
	Manifest    string `json:"manifest,omitempty"`   // YAML, for apply
}

// The verbs of APIAction, each with the kubectl command it stands for.
const (
	VerbCordon    = "cordon"     // kubectl cordon NODE
	VerbUncordon  = "uncordon"   // kubectl uncordon NODE
	VerbDrain     = "drain"      // kubectl drain NODE --ignore-daemonsets --delete-emptydir-data --timeout=60s; bare pods stay
	VerbDelete    = "delete"     // kubectl delete; waits until the object is gone, at most the object's grace period + 30s
	VerbPatch     = "patch"      // kubectl patch --type=strategic
	VerbApply     = "apply"      // kubectl apply -f -
	VerbWaitReady = "wait-ready" // kubectl wait --for=condition=Ready NODE
	// VerbRenewClientCert makes a new kubelet client certificate for a node: a key and request made on the node, a
	// CertificateSigningRequest of kubernetes.io/kube-apiserver-client-kubelet created and approved with the operator's own
	// access, certificate and key written to /var/lib/kubelet/pki/kubelet-client-<time>.pem and kubelet-client-current.pem
	// linked to it. The key never leaves the node.
	VerbRenewClientCert = "renew-client-cert"
)

// Disrupts marks the step as disturbing running pods.
func (s Step) Disrupts() Step { s.Disruptive = true; return s }

// Loses marks the step as one that running pods do not survive: the node is drained before it.
func (s Step) Loses() Step { s.Disruptive, s.LosesPods = true, true; return s }
