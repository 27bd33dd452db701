package injectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var swap = Mechanism{
	Name:     "swap",
	Doc:      "turns a small swap file on and makes the kubelet refuse swap; contained to the kubelet's view where the host has swap",
	New:      func() Params { return &Swap{Size: "4Mi", Path: "/var/swapfile", Mode: "auto", Fstab: true} },
	HostWide: true,
}

// Swap are the parameters of swap.
type Swap struct {
	// Size of the swap file; a few MiB, for it is the whole host that swaps to it.
	Size Size   `json:"size,omitempty"`
	Path string `json:"path,omitempty"`
	// Fstab also writes the line into /etc/fstab that brings it back after a reboot.
	Fstab bool `json:"fstab,omitempty"`
	// Mode: real turns swap on, contained only shows the kubelet a swap that is not there, auto decides by the host.
	Mode string `json:"mode,omitempty" jsonschema:"enum=auto,enum=real,enum=contained"`
}

func (s *Swap) Validate() error {
	n, err := s.Size.Bytes()
	switch {
	case err != nil:
		return err
	case n < 1<<20 || n > 64<<20:
		return fmt.Errorf("size %s: want 1Mi to 64Mi", s.Size)
	case !slices.Contains([]string{"auto", "real", "contained"}, s.Mode):
		return fmt.Errorf("mode %q: want auto, real or contained", s.Mode)
	}
	return absolute(s.Path)
}

// why says why swap cannot really be turned on here; "" when it can.
func (s *Swap) why(n Node) (string, error) {
	swaps, err := n.Sys.Swaps()
	if errors.Is(err, fs.ErrNotExist) {
		return "the kernel knows no swap", nil
	}
	if err != nil {
		return "", err
	}
	if len(swaps) > 0 {
		return "the host has swap already: " + swaps[0], nil
	}
	fsys, err := n.Sys.Statfs(path.Dir(s.Path))
	if err != nil {
		return "", err
	}
	if fsys.Type != "ext4" && fsys.Type != "xfs" {
		return fmt.Sprintf("%s is neither ext4 nor xfs, which alone take a plain swap file", path.Dir(s.Path)), nil
	}
	return "", nil
}

func (s *Swap) Plan(_ context.Context, n Node) (*Plan, error) {
	bytes, err := s.Size.Bytes()
	if err != nil {
		return nil, err
	}
	refuse, err := refusal(n)
	if err != nil {
		return nil, err
	}
	why, err := s.why(n)
	if err != nil {
		return nil, err
	}
	if s.Mode == "real" && why != "" {
		return nil, swap.unsupported(why)
	}
	if s.Mode == "contained" || why != "" {
		if why == "" {
			why = "the scenario asks for it"
		}
		// The file is in the journal's directory: it goes with the injection.
		shown := path.Join(n.Dir, "swaps")
		text := fmt.Sprintf("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n%-40sfile\t\t%d\t\t0\t\t-2\n", s.Path, bytes>>10)
		return &Plan{
			Ops: restarting(kubeletUnit, append([]op.Op{
				&op.File{Path: shown, Data: []byte(text), Mode: 0o644},
				&op.DropIn{File: op.File{
					Path: "/etc/systemd/system/kubelet.service.d/90-swap.conf", Mode: 0o644,
					Data: []byte("[Service]\nBindReadOnlyPaths=" + shown + ":/proc/swaps\n"),
				}},
			}, refuse...)...),
			Differs: "swap is shown to the kubelet by a file over its /proc/swaps, not turned on, because " + why,
		}, nil
	}
	ops := []op.Op{&op.Swap{Path: s.Path, Bytes: bytes}}
	if s.Fstab {
		line := s.Path + " none swap sw 0 0\n"
		was, err := n.Sys.Read("/etc/fstab")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if len(was) > 0 && was[len(was)-1] != '\n' {
			line = "\n" + line
		}
		ops = append(ops, &op.File{Path: "/etc/fstab", Data: append(slices.Clip(was), line...), Mode: 0o644})
	}
	return &Plan{Ops: restarting(kubeletUnit, append(ops, refuse...)...)}, nil
}

// refusal makes the kubelet refuse swap, unless its configuration does so already: then the fault is the swap alone, and a
// remedy that turns it off leaves nothing to undo.
func refusal(n Node) ([]op.Op, error) {
	if b, err := n.Sys.Read("/var/lib/kubelet/config.yaml"); err == nil {
		var c struct {
			FailSwapOn *bool `json:"failSwapOn"`
		}
		if yaml.Unmarshal(b, &c) == nil && c.FailSwapOn != nil && *c.FailSwapOn {
			return nil, nil
		}
	}
	o, err := kubeletMerge(map[string]json.RawMessage{"failSwapOn": json.RawMessage("true")})
	if err != nil {
		return nil, err
	}
	return []op.Op{o}, nil
}
