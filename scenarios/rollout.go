package scenarios

import (
	"encoding/json"
	"io/fs"
)

// MechanismWorkload is the one mechanism that no agent knows: the harness itself changes the run's workload through the API, as
// a rollout that went wrong does in the field. Its undo is the end of the run's namespace.
const MechanismWorkload = "workload"

// Rollout are the parameters of workload.
type Rollout struct {
	// Manifest is a file in the scenario's folder, a template with the same values as the workload's own. It is applied over
	// what is there (server-side apply), so a Deployment needs to show only what changes.
	Manifest string `json:"manifest"`
}

// Rollout are the action's parameters when it is a workload action, nil when an agent carries it out.
func (a Action) Rollout() *Rollout {
	if a.Mechanism != MechanismWorkload {
		return nil
	}
	r := &Rollout{}
	raw, err := json.Marshal(a.Params)
	if err == nil {
		err = json.Unmarshal(raw, r)
	}
	if err != nil {
		return &Rollout{} // the loader has said so
	}
	return r
}

// rollout checks what a workload action names.
func (d *document) rollout(path string, a Action, s *Scenario, dir fs.FS) {
	if a.On != "" && a.On != OnVictim {
		d.errorf(path+".on", "mechanism %s acts through the API, not on a node: leave `on` out", MechanismWorkload)
	}
	p := path + ".params.manifest"
	r := a.Rollout()
	if r.Manifest == "" {
		d.errorf(p, "mechanism %s needs the parameter manifest: a file in the scenario's folder", MechanismWorkload)
		return
	}
	if dir != nil {
		d.manifest(p, r.Manifest, s, dir)
	}
}
