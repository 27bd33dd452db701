package injectors

import (
	"encoding/json"
	"time"
)

// Injection is one fault on one node, as the harness asks the agent for it (JSON on the agent's standard input).
type Injection struct {
	// ID names the injection in the journal; unique per node, given by the harness: <run>-<n>-<mechanism>.
	ID string `json:"id"`
	// Run groups the injections of one scenario run; leases and recovery go by run.
	Run string `json:"run"`
	// Scenario is for people who read `sickbay status`; nothing judges by it.
	Scenario string `json:"scenario,omitempty"`
	// Mechanism is the injector's name, such as fill-disk.
	Mechanism string `json:"mechanism"`
	// Params are the mechanism's own, decoded strictly into its struct.
	Params json.RawMessage `json:"params,omitempty"`
	// Prepared marks what the scenario declares as preparation: it stays through remediation and is undone at residue.
	Prepared bool `json:"prepared,omitempty"`
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
	// Active is the measured effect, filled when asked for.
	Active *Effect `json:"active,omitempty"`
	// Contained is the sentence on what differs from a real node, when the host did not allow the mechanism's real way and it
	// fell back to a contained one (swap); empty when the fault is as the scenario declares it.
	Contained string `json:"contained,omitempty"`
	// Undone lists what recover still had to undo; empty when a remedy had cleared it all.
	Undone []string `json:"undone,omitempty"`
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
