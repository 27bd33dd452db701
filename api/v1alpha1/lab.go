package v1alpha1

// KindLab is the kind of a lab document.
const KindLab = "Lab"

// Lab is a scenario as a person gets it, as lab.yaml beside scenario.yaml declares it: a page, hints, and an end state of its own. The
// referee asks for the end state and not for the detectors alone.
type Lab struct {
	APIVersion string   `json:"apiVersion" jsonschema:"enum=sickbay.dev/v1alpha1"`
	Kind       string   `json:"kind" jsonschema:"enum=Lab"`
	Metadata   Metadata `json:"metadata"` // the scenario's name
	Spec       LabSpec  `json:"spec"`
}

// LabTopics are the parts of a node that labs are about.
var LabTopics = []string{"kubelet", "runtime", "network", "storage", "images", "workload", "devices"}

// LabSpec is what a lab says and wants.
type LabSpec struct {
	// Code is what the lab is called while it runs, such as L07: it says nothing of the cause.
	Code    string `json:"code"`
	Level   int    `json:"level" jsonschema:"minimum=1,maximum=3"`
	Topic   string `json:"topic"`
	Minutes int    `json:"minutes"` // what it typically takes
	// Page is the alert in one line, as the pager shows it.
	Page string `json:"page,omitempty"`
	// Story is the ticket: symptoms, and no cause.
	Story Text `json:"story"`
	// Goals are the end state. A lab is solved when all hold, and still do after kubelet and runtime were restarted.
	Goals []LabGoal `json:"goals"`
	// Keeps is a shell script on the node whose answer must be the same at the end as at the start: what a right fix does not destroy.
	Keeps string `json:"keeps,omitempty"`
	// Restarts are the units that are restarted before a lab counts as solved: kubelet and containerd unless told otherwise.
	Restarts []string `json:"restarts,omitempty"`
	// Allows are reasons to refuse that are none here: in a lab about a threshold, changing it is the fix.
	Allows []string `json:"allows,omitempty"`
	// Hints go from where to look to what it is; the last names the cause.
	Hints []LabHint `json:"hints"`
	// Mutants are wrong fixes that the referee has to refuse, each for its reason.
	Mutants []LabMutant `json:"mutants,omitempty"`
	// Solve are right fixes besides the finding's own remedy; the referee has to accept each.
	Solve []LabWay `json:"solve,omitempty"`
}

// Text is a text in the languages of labs. What is missing is shown in English.
type Text struct {
	En string `json:"en"`
	Ko string `json:"ko,omitempty"`
}

// In is the text in a language.
func (t Text) In(language string) string {
	if language == "ko" && t.Ko != "" {
		return t.Ko
	}
	return t.En
}

// LabGoal is one thing that has to hold in the end. Its text tells nothing of how.
type LabGoal struct {
	Says  Text     `json:"says"`
	Holds LabCheck `json:"holds"`
}

// LabHint is one rung of the ladder. While is the proof that what it says can be seen: true while the fault is there, false after it.
type LabHint struct {
	Says  Text     `json:"says"`
	While LabCheck `json:"while,omitzero"`
}

// LabCheck is a question that is answered with yes or no; exactly one of Node, Cluster and Match is set.
type LabCheck struct {
	// Node is a shell script on the node; yes is exit code 0. $NODE and $NAMESPACE are the lab's.
	Node string `json:"node,omitempty"`
	// Cluster is the same on the control plane, with kubectl.
	Cluster string   `json:"cluster,omitempty"`
	Match   *Matcher `json:"match,omitempty"` // of a state: a condition, pod, unit, allocatable or cgroup
	// Not turns the answer round.
	Not bool `json:"not,omitempty"`
}

// LabMutant is a wrong fix. One without Does is among those that every lab has, by its name.
type LabMutant struct {
	Name    string  `json:"name"`
	Does    []LabDo `json:"does,omitempty"`
	Refused string  `json:"refused,omitempty"` // the reason expected of the referee
	// Undo takes it back, so that the next one can be tried on the same fault. One without is tried on a fault of its own.
	Undo []LabDo `json:"undo,omitempty"`
}

// LabWay is a right fix, as somebody would type it.
type LabWay struct {
	Name string  `json:"name"`
	Does []LabDo `json:"does"`
}

// LabDo is one command, a shell script; exactly one field is set.
type LabDo struct {
	Node    string `json:"node,omitempty"`
	Cluster string `json:"cluster,omitempty"`
}

// Refusal is why the referee does not call a lab solved.
type Refusal string

// The reasons of the referee. All but the first two name a workaround.
const (
	RefusedStillIll         Refusal = "still-ill"         // a goal is not met
	RefusedNotLasting       Refusal = "not-lasting"       // it came back after a restart of kubelet and runtime
	RefusedWorkloadDeleted  Refusal = "workload-deleted"  // what has to run was deleted
	RefusedWorkloadScaled   Refusal = "workload-scaled"   // fewer replicas than there were
	RefusedWorkloadMoved    Refusal = "workload-moved"    // it no longer has to run on the node
	RefusedProbeDisabled    Refusal = "probe-disabled"    // a probe was taken out
	RefusedLimitDisabled    Refusal = "limit-disabled"    // a limit was taken out
	RefusedThreshold        Refusal = "threshold-off"     // the kubelet no longer watches a resource
	RefusedNodeCordoned     Refusal = "node-cordoned"     // cordoned or tainted
	RefusedNodeRecreated    Refusal = "node-recreated"    // another Node object, or none
	RefusedRecovered        Refusal = "sickbay-recover"   // the injection was undone
	RefusedSymptomHidden    Refusal = "symptom-hidden"    // what tells of the illness was silenced
	RefusedHealthyDestroyed Refusal = "healthy-destroyed" // something well was deleted
)

// Refusals lists all reasons.
func Refusals() []string {
	return []string{
		string(RefusedStillIll), string(RefusedNotLasting), string(RefusedWorkloadDeleted), string(RefusedWorkloadScaled), string(RefusedWorkloadMoved),
		string(RefusedProbeDisabled), string(RefusedLimitDisabled), string(RefusedThreshold), string(RefusedNodeCordoned), string(RefusedNodeRecreated),
		string(RefusedRecovered), string(RefusedSymptomHidden), string(RefusedHealthyDestroyed),
	}
}
