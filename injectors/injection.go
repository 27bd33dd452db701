package injectors

import (
	"encoding/json"
	"time"
)

// Injection is one fault on one node, as the harness asks the agent for it (JSON on the agent's standard input).
type Injection struct {
	// ID names the injection in the journal; unique per node, given by the harness: <run>-<n>-<mechanism>, and of a secret one <run>-<n>.
	ID string `json:"id"`
	// Run groups the injections of one scenario run; leases and recovery go by run.
	Run string `json:"run"`
	// Scenario is for people who read `sickbay status`; nothing judges by it.
	Scenario string `json:"scenario,omitempty"`
	// Mechanism is the injector's name, such as fill-disk.
	Mechanism string `json:"mechanism"`
	// Params are the mechanism's own, decoded strictly into its struct.
	Params json.RawMessage `json:"params,omitempty"`
	// Signed is the certificate (PEM) that the cluster's CA made, where Check had asked for one in Status.Sign.
	Signed string `json:"signed,omitempty"`
	// Prepared marks what the scenario declares as preparation: it stays through remediation and is undone at residue.
	Prepared bool `json:"prepared,omitempty"`
	// Secret marks an injection that somebody on the node has to find out about: its record is not there to be read by eye.
	Secret bool `json:"secret,omitempty"`
	// Lease is how long the node waits for a renewal before it heals itself. Zero means the agent's default.
	Lease time.Duration `json:"lease,omitempty"`
}

// State is where an injection stands.
type State string

// States of an injection: Planned → Injecting → Injected → Recovering → Recovered. A crash leaves it in any of them, and
// Recover is legal from all.
const (
	Planned    State = "planned"
	Injecting  State = "injecting"
	Injected   State = "injected"
	Recovering State = "recovering"
	Recovered  State = "recovered"
)

// Status is what a node's journal says of one injection (JSON from the agent).
type Status struct {
	Injection
	State     State     `json:"state"`
	Since     time.Time `json:"since"`
	LeaseEnds time.Time `json:"leaseEnds,omitzero"`
	Error     string    `json:"error,omitempty"`
	// Fidelity is real, or contained with the sentence on what Differs from a real node: some mechanisms choose by the host.
	Fidelity string `json:"fidelity,omitempty"`
	Differs  string `json:"differs,omitempty"`
	// LeaseLeft is the time until the node heals itself, counted since boot: it holds whatever the wall clock says.
	LeaseLeft time.Duration `json:"leaseLeft,omitempty"`
	// Sign is what a control-plane node has to sign before the injection can be made; only from Check.
	Sign *SignRequest `json:"sign,omitempty"`
	// Active is the measured effect: always from Inject, from List when asked for.
	Active *Effect `json:"active,omitempty"`
	// Undone lists what recover still had to undo; empty when a remedy had cleared it all.
	Undone []string `json:"undone,omitempty"`
	// Notes are differences that recover tidied although the fault was gone, or left as they are.
	Notes []string `json:"notes,omitempty"`
}

// Selector chooses injections; its zero value chooses none.
type Selector struct {
	Run string `json:"run,omitempty"`
	ID  string `json:"id,omitempty"` // of one injection, whatever its run
	All bool   `json:"all,omitempty"`
}

func (s Selector) matches(run, id string) bool {
	return s.All || s.Run != "" && s.Run == run || s.ID != "" && s.ID == id
}

// Effect is what an injector measures of its own fault: never a log line, always the state itself.
type Effect struct {
	Present bool   `json:"present"`
	Text    string `json:"text"`
}

// UnsupportedError says why this node or host cannot host a fault.
type UnsupportedError struct {
	Mechanism string `json:"mechanism"`
	Reason    string `json:"reason"`
}

func (e *UnsupportedError) Error() string {
	return e.Mechanism + " is unsupported here: " + e.Reason
}
