package injectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var cniBinary = Mechanism{
	Name: "cni-binary",
	Doc:  "removes a CNI plugin's program",
	New:  func() Params { return &CNIBinary{Dir: "/opt/cni/bin"} },
}

// CNIBinary are the parameters of cni-binary.
type CNIBinary struct {
	// Plugin is the program's name, such as host-local. Empty: the main plugin of the configuration in use.
	Plugin string `json:"plugin,omitempty"`
	Dir    string `json:"dir,omitempty"`
}

func (c *CNIBinary) Validate() error {
	if strings.Contains(c.Plugin, "/") {
		return fmt.Errorf("plugin %q: want a name, not a path", c.Plugin)
	}
	return absolute(c.Dir)
}

func (c *CNIBinary) Plan(_ context.Context, n Node) (*Plan, error) {
	name := c.Plugin
	if name == "" {
		conf, err := readConflist(n, cniDir)
		if err != nil {
			return nil, cniBinary.unsupported(err.Error())
		}
		name = conf.Plugins[0].Type
	}
	return removeProgram(cniBinary.Name, n, path.Join(c.Dir, name))
}

// removeProgram plans the removal of one program.
func removeProgram(mechanism string, n Node, p string) (*Plan, error) {
	if _, err := n.Sys.Stat(p); errors.Is(err, fs.ErrNotExist) {
		return nil, &UnsupportedError{Mechanism: mechanism, Reason: "the node has no " + p}
	} else if err != nil {
		return nil, err
	}
	return &Plan{Ops: []op.Op{&op.File{Path: p, Absent: true, Rename: true}}}, nil
}

const cniDir = "/etc/cni/net.d"

// conflist is a CNI configuration as far as faults need it.
type conflist struct {
	Name    string `json:"name"`
	Plugins []struct {
		Type string `json:"type"`
		IPAM struct {
			Type    string `json:"type"`
			DataDir string `json:"dataDir"`
			Subnet  string `json:"subnet"`
			Ranges  [][]struct {
				Subnet string `json:"subnet"`
			} `json:"ranges"`
		} `json:"ipam"`
	} `json:"plugins"`
}

// readConflist reads the configuration that the runtime uses: the first that can be read, in the order of names.
func readConflist(n Node, dir string) (conflist, error) {
	names, err := n.Sys.List(dir)
	if err != nil {
		return conflist{}, err
	}
	for _, f := range names {
		if !slices.Contains([]string{".conf", ".conflist", ".json"}, path.Ext(f)) {
			continue
		}
		b, err := n.Sys.Read(path.Join(dir, f))
		if err != nil {
			return conflist{}, err
		}
		var c conflist
		if json.Unmarshal(b, &c) == nil && len(c.Plugins) > 0 {
			return c, nil
		}
	}
	return conflist{}, fmt.Errorf("no CNI configuration in %s names a plugin", dir)
}
