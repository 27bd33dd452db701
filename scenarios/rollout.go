package scenarios

import (
	"io/fs"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// rollout checks what a workload action names.
func (d *document) rollout(path string, a v1alpha1.Action, s *Scenario, dir fs.FS) {
	if a.On != "" && a.On != v1alpha1.OnVictim {
		d.errorf(path+".on", "mechanism %s acts through the API, not on a node: leave `on` out", v1alpha1.MechanismWorkload)
	}
	p := path + ".params.manifest"
	r := a.Rollout()
	if r.Manifest == "" {
		d.errorf(p, "mechanism %s needs the parameter manifest: a file in the scenario's folder", v1alpha1.MechanismWorkload)
		return
	}
	if dir != nil {
		d.manifest(p, r.Manifest, s, dir)
	}
}
