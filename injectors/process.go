package injectors

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var process = Mechanism{
	Name: "process",
	Doc:  "hangs, freezes, throttles, kills or stops a unit of the node, such as containerd or the kubelet",
	New:  func() Params { return &Process{Unit: op.Containerd.Unit, Action: "hang", CPUMilli: 10} },
}

// Process are the parameters of process.
type Process struct {
	Unit string `json:"unit,omitempty"`
	// Action: hang (SIGSTOP to the main process), freeze (its cgroup, against SIGCONT and restarts), throttle (a CPU quota that
	// survives restarts), kill (SIGKILL, once), stop (systemctl stop).
	Action string `json:"action,omitempty" jsonschema:"enum=hang,enum=freeze,enum=throttle,enum=kill,enum=stop"`
	// CPUMilli is the quota of throttle, in thousandths of one CPU.
	CPUMilli int `json:"cpuMilli,omitempty"`
}

func (p *Process) Validate() error {
	switch {
	case !slices.Contains([]string{"hang", "freeze", "throttle", "kill", "stop"}, p.Action):
		return fmt.Errorf("action %q: want hang, freeze, throttle, kill or stop", p.Action)
	case p.CPUMilli < 1 || p.CPUMilli > 1000:
		return fmt.Errorf("cpuMilli %d: want 1 to 1000", p.CPUMilli)
	case p.Unit == "" || strings.ContainsAny(p.Unit, "/ \n"):
		return fmt.Errorf("unit %q: want a unit's name, such as containerd.service", p.Unit)
	case strings.HasPrefix(p.Unit, "sickbay-"):
		return fmt.Errorf("unit %q is what heals the node", p.Unit)
	}
	if !strings.Contains(p.Unit, ".") {
		p.Unit += ".service"
	}
	return nil
}

func (p *Process) Plan(ctx context.Context, n Node) (*Plan, error) {
	s, err := op.Show(ctx, n.Sys, p.Unit)
	if err != nil {
		return nil, err
	}
	if s.Load == "not-found" {
		return nil, process.unsupported("the node has no unit " + p.Unit)
	}
	var o op.Op
	switch p.Action {
	case "hang":
		o = &op.Halt{Unit: p.Unit}
	case "freeze":
		o = &op.Freezer{Unit: p.Unit}
	case "kill":
		o = &op.Kill{Unit: p.Unit}
	case "stop":
		o = &op.Unit{Bounce: op.Bounce{Unit: p.Unit}}
	case "throttle":
		o = &op.DropIn{File: op.File{
			Path: "/etc/systemd/system/" + p.Unit + ".d/90-limits.conf", Mode: 0o644,
			// The kernel takes no quota under 1 ms, which is 10 thousandths of the usual period of 100 ms.
			Data: fmt.Appendf(nil, "[Service]\nCPUQuota=%d.%d%%\nCPUQuotaPeriodSec=1s\n", p.CPUMilli/10, p.CPUMilli%10),
		}}
	}
	return &Plan{Ops: []op.Op{o}}, nil
}
