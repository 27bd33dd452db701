// Package protocol is what sickbay and its agent say to each other: verbs, options and errors.
//
// It knows neither how a node is reached nor how it is read. One call is one process: a verb, a JSON document behind it or on standard
// input, one JSON document on standard output. An error is a JSON document too, with exit status 1; a request the agent does not
// understand has exit status 2.
package protocol

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// Dir is where everything of sickbay's lives on a node. On a kind node /var is a volume on the host's disk, never the
// filesystem that an injector fills or freezes.
const Dir = "/var/lib/sickbay"

// Verbs of the agent. What they take is a JSON document.
const (
	VerbObserve     = "observe"     // look once: ObserveOptions → v1alpha1.Observation
	VerbInject      = "inject"      // injectors.Injection → injectors.Status
	VerbCheck       = "check"       // the same, changes nothing
	VerbRecover     = "recover"     // injectors.Selector → []injectors.Status
	VerbStatus      = "status"      // StatusOptions → []injectors.Status
	VerbRenew       = "renew"       // Renewal → how many injections it covers
	VerbSweep       = "sweep"       // recover whatever lease has run out → []injectors.Status
	VerbSign        = "sign"        // injectors.SignRequest → Signed; only on a control-plane node
	VerbFingerprint = "fingerprint" // FingerprintOptions → fingerprint.Fingerprint
	VerbVersion     = "version"     // → Version
	VerbEnter       = "enter"       // PID COMMAND...: become the command in the namespaces of the process
)

// Stay, behind VerbObserve, has the agent stay: ObserveOptions after ObserveOptions on standard input → Answer after Answer.
const Stay = "--stay"

// PaceFlag stands before the verb, with a number behind it, where the bounds of a call are stretched: see package pace.
const PaceFlag = "--pace="

// Answer is that of an agent that stays, to one ObserveOptions.
type Answer struct {
	Observation json.RawMessage `json:"observation,omitempty"`
	Error       *Error          `json:"error,omitempty"`
}

// StaysFor is how long an agent that stays waits for the next question before it ends by itself. It ends at once with its standard
// input, which is all that whoever asks has to close, be it by dying; this is for when that does not get through.
const StaysFor = time.Minute

// Bounds of one look, on a machine as fast as the reference.
const (
	// DefaultFirst is how far back the first look reads logs: a kubelet's longest back-off between two tries is 5 minutes,
	// so ten hold at least one full round.
	DefaultFirst = 10 * time.Minute
	// DefaultMaxLines bounds the log lines of one look. Five nodes starting up write about 1,500 each.
	DefaultMaxLines = 3000
	// DefaultOverall bounds a look in which something does not answer; a healthy one takes a tenth of it.
	DefaultOverall = 2 * time.Second
	// DefaultPerSource bounds each source: whoever asks is to know within 3 s, the way to the node included. A machine with more to do than
	// it can gives more: see collect.Look.
	DefaultPerSource = 1200 * time.Millisecond
)

// ObserveOptions say how to look. The zero value is a first look with the default bounds.
type ObserveOptions struct {
	// Cursor continues the logs where the previous look ended: Observation.Journal.Cursor. Empty for a first look.
	Cursor string `json:"cursor,omitempty"`
	// First is how far back a look without cursor reads the logs.
	First time.Duration `json:"first,omitempty"`
	// MaxLines bounds the log lines; the newest stay.
	MaxLines int `json:"maxLines,omitempty"`
	// Overall bounds the whole look, PerSource each of its parts.
	Overall   time.Duration `json:"overall,omitempty"`
	PerSource time.Duration `json:"perSource,omitempty"`
	// Registries are hosts whose TLS is probed even when the log shows no failed pull from them.
	Registries []string `json:"registries,omitempty"`
	// Node is the Kubernetes name of the node; its host name when empty.
	Node string `json:"node,omitempty"`
	// Endpoint is the CRI socket, when it is known better than the kubelet's configuration says.
	Endpoint string `json:"endpoint,omitempty"`
}

// WithDefaults fills in what is not set.
func (o ObserveOptions) WithDefaults() ObserveOptions {
	if o.First <= 0 {
		o.First = DefaultFirst
	}
	if o.MaxLines <= 0 {
		o.MaxLines = DefaultMaxLines
	}
	if o.Overall <= 0 {
		o.Overall = timeoutscale.Bound(DefaultOverall)
	}
	if o.PerSource <= 0 {
		o.PerSource = timeoutscale.Bound(DefaultPerSource)
	}
	if o.PerSource > o.Overall {
		o.PerSource = o.Overall
	}
	return o
}

// FingerprintOptions say whose fingerprint it is.
type FingerprintOptions struct {
	Node string `json:"node"`
}

// StatusOptions say what status tells.
type StatusOptions struct {
	// Active measures the effect of each injection, too.
	Active bool `json:"active"`
}

// Renewal prolongs the leases of a run.
type Renewal struct {
	Run string        `json:"run"`
	For time.Duration `json:"for"`
}

// Reasons of an Error.
const (
	ReasonUnsupported = "unsupported" // this node or host cannot host the fault
	ReasonRequest     = "bad-request" // the agent does not understand what was asked
	ReasonFailed      = "failed"      // it was tried and did not work
)

// Error is what the agent answers when it could not do what was asked.
type Error struct {
	Text      string `json:"error"`
	Reason    string `json:"reason,omitempty"`
	Mechanism string `json:"mechanism,omitempty"` // of an unsupported fault
}

func (e *Error) Error() string {
	if e.Reason == ReasonUnsupported && e.Mechanism != "" {
		return fmt.Sprintf("%s is unsupported here: %s", e.Mechanism, e.Text)
	}
	return e.Text
}

// Signed is what the cluster's CA has signed.
type Signed struct {
	Certificate string `json:"certificate"` // PEM; there is never a key in it
}

// Version is what the agent says of itself.
type Version struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	Arch    string `json:"arch"`
}
