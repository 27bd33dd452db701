package v1alpha1

import (
	"slices"
	"time"
)

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
	// Check is a command that shows the same without sickbay: on the node, unless it is kubectl's.
	Check string `json:"check,omitempty"`

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

// Class says what a step can cost. It decides what may be done without asking.
type Class string

// The classes, from the mildest. A step without a class is refused.
const (
	Safe        Class = "safe"        // reversible, and no running pod is disturbed
	Disruptive  Class = "disruptive"  // running pods are disturbed, nothing is lost
	Destructive Class = "destructive" // something cannot be had back, or what belongs to an owner is changed
)

// Classes lists the classes from the mildest.
func Classes() []Class { return []Class{Safe, Disruptive, Destructive} }

// AtLeast tells that c is as severe as other; an unknown class is the most severe.
func (c Class) AtLeast(other Class) bool {
	known := Classes()
	i := slices.Index(known, c)
	return i < 0 || i >= slices.Index(known, other)
}

// Class is the class of the plan's most severe step.
func (r *Remedy) Class() Class {
	worst := Safe
	for _, s := range r.Steps {
		if s.Class.AtLeast(worst) {
			worst = s.Class
		}
	}
	return worst
}

// Step is one typed step of a remedy. Exactly one of Exec, API and Restore is set. Package detectors has the constructors.
type Step struct {
	Run       string `json:"run"` // the command an operator would type, derived from Exec or API
	Why       string `json:"why"`
	Class     Class  `json:"class"`
	Risk      string `json:"risk,omitempty"`      // of a destructive step: what is lost, or whose decision is changed
	Undo      string `json:"undo,omitempty"`      // shell command on node On that takes the step back
	On        string `json:"on,omitempty"`        // node on which Exec runs; empty for API steps
	LosesPods bool   `json:"losesPods,omitempty"` // pods would be lost: drain first

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
	Patch       string `json:"patch,omitempty"`      // strategic merge patch, JSON; of patch and remake
}

// Aside is what the name of a file ends with that a remedy moved out of the way or keeps a copy of. Neither systemd, CNI, containerd
// nor the kubelet's drop-in directory reads a file of such a name. CRI-O's does: what comes from there is kept beside the directory.
const Aside = ".sickbay-aside"

// The verbs of APIAction, each with the kubectl command it stands for.
const (
	VerbCordon    = "cordon"     // kubectl cordon NODE
	VerbUncordon  = "uncordon"   // kubectl uncordon NODE
	VerbDrain     = "drain"      // kubectl drain NODE --ignore-daemonsets --delete-emptydir-data --timeout=60s; bare pods stay
	VerbPatch     = "patch"      // kubectl patch --type=strategic
	VerbWaitReady = "wait-ready" // kubectl wait --for=condition=Ready NODE
	// VerbEvict evicts a pod that has an owner to make it again; PodDisruptionBudgets hold. It waits until the pod is gone and,
	// where it was Ready, until its successor is.
	VerbEvict = "evict"
	// VerbRemake makes a pod without an owner again, with Patch applied: only when a server-side dry run accepts the new pod
	// with everything the old one had is the old one evicted.
	VerbRemake = "remake"
	// VerbRenewClientCert makes a new kubelet client certificate for a node: a key and request made on the node, a
	// CertificateSigningRequest of kubernetes.io/kube-apiserver-client-kubelet created and approved with the operator's own
	// access, certificate and key written to /var/lib/kubelet/pki/kubelet-client-<time>.pem and kubelet-client-current.pem
	// linked to it. The key never leaves the node.
	VerbRenewClientCert = "renew-client-cert"
)
