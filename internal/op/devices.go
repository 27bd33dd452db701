package op

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// DeviceCheckpoint is where the kubelet writes down the devices of device plugins.
const DeviceCheckpoint = "/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint"

// PluginDevices changes nothing when it is done. Undone, between a stop and a start of the kubelet, it makes the kubelet count a
// plugin's devices no more: it would do so for five minutes after the plugin has gone, and to the next run the node would look
// as if its plugin had crashed.
//
// The start is what does it. The checkpoint has to stay: a kubelet that finds a resource there and hears of no plugin says 0, one
// that finds nothing says nothing, and the Node object keeps the old number for ever (both seen live). The kubelet takes the
// entry out of its checkpoint by itself after five minutes.
type PluginDevices struct {
	asks[Files]
	Resource string `json:"resource"`
	Saved    bool   `json:"saved,omitempty"`
	// Restarts says that the kubelet is down for this, and will count anew.
	Restarts bool `json:"restarts,omitempty"`
}

func (*PluginDevices) Touches() []string { return []string{DeviceCheckpoint} }

func (p *PluginDevices) Describe() string { return "be ready for devices of " + p.Resource }

func (p *PluginDevices) Save(context.Context, Env) error {
	p.Saved = true
	return nil
}

func (*PluginDevices) Do(context.Context, Env) error { return nil }

// registeredDevices are the resources in the kubelet's checkpoint.
func registeredDevices(sys Files) ([]string, error) {
	b, err := sys.Read(DeviceCheckpoint)
	if err != nil {
		return nil, unlessGone(err)
	}
	var c struct {
		Data struct {
			RegisteredDevices map[string][]string
		}
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", DeviceCheckpoint, err)
	}
	return slices.Sorted(maps.Keys(c.Data.RegisteredDevices)), nil
}

func (p *PluginDevices) Pending(_ context.Context, env Env) (Rest, error) {
	if !p.Saved || p.Restarts {
		return Rest{}, nil
	}
	known, err := registeredDevices(p.sys)
	return todo(slices.Contains(known, p.Resource), err, "make the kubelet count the devices of %s no more", p.Resource)
}

func (p *PluginDevices) Undo(ctx context.Context, env Env) error {
	return undo(ctx, env, p, func() error {
		p.Restarts = true
		return env.Persist()
	})
}
