package injectors

import (
	"context"
	"fmt"
	"slices"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var runtimeUnit = Mechanism{
	Name: "runtime-unit",
	Doc:  "makes a restart of the runtime take its pods with it (KillMode), and restarts it",
	New:  func() Params { return &RuntimeUnit{KillMode: "control-group", Restart: true} },
}

// RuntimeUnit are the parameters of runtime-unit.
type RuntimeUnit struct {
	// KillMode of the runtime's unit; its own is process, which spares the shims.
	KillMode string `json:"killMode,omitempty" jsonschema:"enum=control-group,enum=mixed"`
	// Restart restarts the runtime once, so that the pods die.
	Restart bool `json:"restart,omitempty"`
}

func (r *RuntimeUnit) Validate() error {
	if !slices.Contains([]string{"control-group", "mixed"}, r.KillMode) {
		return fmt.Errorf("killMode %q: want control-group or mixed", r.KillMode)
	}
	return nil
}

func (r *RuntimeUnit) Plan(_ context.Context, n Node) (*Plan, error) {
	cri := op.CRIOf(n.Sys)
	p := &Plan{Ops: []op.Op{&op.DropIn{File: op.File{
		Path: "/etc/systemd/system/" + cri.Unit + ".d/20-stop.conf", Mode: 0o644, Data: []byte("[Service]\nKillMode=" + r.KillMode + "\n"),
	}}}}
	if r.Restart {
		p.Ops = append(p.Ops, &op.Bounce{Unit: cri.Unit})
	}
	return p, nil
}
