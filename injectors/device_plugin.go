package injectors

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var devicePlugin = Mechanism{
	Name: "device-plugin",
	Doc:  "makes the devices of a running device plugin fail or be refused; readies the node for a plugin's devices (a preparation)",
	New: func() Params {
		return &DevicePlugin{Resource: "sickbay.dev/lamp", Reason: "the driver does not answer: input/output error"}
	},
}

const (
	// deviceVerb is a word in the command line of the plugin's process.
	deviceVerb = "device-plugin"
	// Where the plugin reads its devices' state, within its own root.
	deviceErrors  = "/run/devices/errors"
	deviceRefusal = "/run/devices/refusal"
)

// DevicePlugin are the parameters of device-plugin.
type DevicePlugin struct {
	// Action: devices (undone, it makes the kubelet count them no more), unhealthy (an error of some), refuse (none is handed out).
	Action string `json:"action" jsonschema:"enum=devices,enum=unhealthy,enum=refuse"`
	// Resource is what the kubelet calls the devices.
	Resource string `json:"resource,omitempty"`
	// Devices have the error; for unhealthy.
	Devices []string `json:"devices,omitempty"`
	// Reason is what the plugin answers; for refuse.
	Reason string `json:"reason,omitempty"`
}

func (d *DevicePlugin) Validate() error {
	if domain, name, ok := strings.Cut(d.Resource, "/"); !ok || !plainName.MatchString(domain) || !plainName.MatchString(name) {
		return fmt.Errorf("resource %q: want a domain and a name, such as sickbay.dev/lamp", d.Resource)
	}
	if (d.Action == "unhealthy") != (len(d.Devices) > 0) {
		return errors.New("devices are named for the action unhealthy, and only for it")
	}
	for _, id := range d.Devices {
		if !plainName.MatchString(id) {
			return fmt.Errorf("devices: %q is no device's name", id)
		}
	}
	switch d.Action {
	case "devices", "unhealthy":
	case "refuse":
		if strings.TrimSpace(d.Reason) == "" {
			return errors.New("reason is empty")
		}
	default:
		return fmt.Errorf("action %q: want devices, unhealthy or refuse", d.Action)
	}
	return nil
}

func (d *DevicePlugin) Plan(context.Context, Node) (*Plan, error) {
	const differs = "The plugin and the kubelet's interface are real; the devices are not, and their error is told to the plugin through a file in its root."
	switch d.Action {
	case "devices":
		return &Plan{Ops: restarting(kubeletUnit, &op.PluginDevices{Resource: d.Resource})}, nil
	case "unhealthy":
		return &Plan{Ops: []op.Op{&op.Told{Program: deviceVerb, File: deviceErrors, Data: strings.Join(d.Devices, "\n") + "\n"}}, Differs: differs}, nil
	default:
		return &Plan{Ops: []op.Op{&op.Told{Program: deviceVerb, File: deviceRefusal, Data: d.Reason + "\n"}}, Differs: differs}, nil
	}
}
