package injectors

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var cniConfig = Mechanism{
	Name: "cni-config",
	Doc:  "removes, corrupts or shadows the node's CNI configuration",
	New:  func() Params { return &CNIConfig{Action: "remove", Dir: "/etc/cni/net.d", Plugin: "calico"} },
}

// CNIConfig are the parameters of cni-config.
type CNIConfig struct {
	// Action: remove every configuration, corrupt the one in use (cut in half), or shadow it by one that sorts before it and
	// names a plugin the node does not have, as an uninstalled network leaves behind.
	Action string `json:"action,omitempty" jsonschema:"enum=remove,enum=corrupt,enum=shadow"`
	Dir    string `json:"dir,omitempty"`
	// Plugin is what the shadowing configuration names.
	Plugin string `json:"plugin,omitempty"`
}

func (c *CNIConfig) Validate() error {
	if !slices.Contains([]string{"remove", "corrupt", "shadow"}, c.Action) {
		return fmt.Errorf("action %q: want remove, corrupt or shadow", c.Action)
	}
	if c.Plugin == "" || strings.ContainsAny(c.Plugin, "/\"\\ ") {
		return fmt.Errorf("plugin %q: want the name of a CNI plugin", c.Plugin)
	}
	return absolute(c.Dir)
}

func (c *CNIConfig) Plan(_ context.Context, n Node) (*Plan, error) {
	names, err := n.Sys.List(c.Dir)
	if err != nil {
		return nil, cniConfig.unsupported(err.Error())
	}
	var configs []string
	for _, f := range names {
		if slices.Contains([]string{".conf", ".conflist", ".json"}, path.Ext(f)) {
			configs = append(configs, path.Join(c.Dir, f))
		}
	}
	if len(configs) == 0 {
		return nil, cniConfig.unsupported("there is no CNI configuration in " + c.Dir + " to begin with")
	}
	p := &Plan{}
	switch c.Action {
	case "remove":
		for _, f := range configs {
			p.Ops = append(p.Ops, &op.File{Path: f, Absent: true, Theirs: true})
		}
	case "corrupt":
		text, err := n.Sys.Read(configs[0])
		if err != nil {
			return nil, err
		}
		// Cut inside, and something after it: the beginning alone could be a write that is still under way.
		p.Ops = append(p.Ops, &op.File{Path: configs[0], Data: append(slices.Clip(text[:len(text)/2]), "\n<<<<<<< HEAD\n"...), Theirs: true})
	case "shadow":
		text := fmt.Sprintf(`{
  "cniVersion": "1.0.0",
  "name": "k8s-pod-network",
  "plugins": [
    {"type": %q, "ipam": {"type": %q}}
  ]
}
`, c.Plugin, c.Plugin+"-ipam")
		p.Ops = append(p.Ops, &op.File{Path: path.Join(c.Dir, "00-"+c.Plugin+".conflist"), Data: []byte(text), Mode: 0o600})
	}
	return p, nil
}
