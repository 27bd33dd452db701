package injectors

import (
	"context"
	"fmt"
	"slices"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var runtimeUnit = Mechanism{
	Name: "runtime-unit",
	Doc:  "makes a restart of containerd take its pods with it (KillMode), and restarts it",
	New:  func() Params { return &RuntimeUnit{KillMode: "control-group", Restart: true} },
}

// RuntimeUnit are the parameters of runtime-unit.
type RuntimeUnit struct {
	// KillMode of containerd's unit; its own is process, which spares the shims.
	KillMode string `json:"killMode,omitempty" jsonschema:"enum=control-group,enum=mixed"`
	// Restart restarts containerd once, so that the pods die.
	Restart bool `json:"restart,omitempty"`
}

func (r *RuntimeUnit) Validate() error {
	if !slices.Contains([]string{"control-group", "mixed"}, r.KillMode) {
		return fmt.Errorf("killMode %q: want control-group or mixed", r.KillMode)
	}
	return nil
}

func (r *RuntimeUnit) Plan(context.Context, Node) (*Plan, error) {
	p := &Plan{Ops: []op.Op{&op.DropIn{File: op.File{
		Path: "/etc/systemd/system/" + containerdUnit + ".d/20-stop.conf", Mode: 0o644, Data: []byte("[Service]\nKillMode=" + r.KillMode + "\n"),
	}}}}
	if r.Restart {
		p.Ops = append(p.Ops, &op.Bounce{Unit: containerdUnit})
	}
	return p, nil
}
