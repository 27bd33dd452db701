package injectors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var runtimeBinary = Mechanism{
	Name: "runtime-binary",
	Doc:  "removes the runtime's shim or its OCI runtime",
	New:  func() Params { return &RuntimeBinary{Program: "shim"} },
}

// RuntimeBinary are the parameters of runtime-binary.
type RuntimeBinary struct {
	// Program: shim (containerd-shim-runc-v2, with CRI-O conmon) or runc.
	Program string `json:"program,omitempty" jsonschema:"enum=shim,enum=runc"`
	// RestartRuntime restarts the runtime afterwards: containerd remembers where it found the shim, and says another thing then.
	RestartRuntime bool `json:"restartRuntime,omitempty"`
}

func (r *RuntimeBinary) Validate() error {
	if !slices.Contains([]string{"shim", "runc"}, r.Program) {
		return fmt.Errorf("program %q: want shim or runc", r.Program)
	}
	return nil
}

// Plan implements Params. Every copy on the runtime's path goes: containerd takes the first it finds.
func (r *RuntimeBinary) Plan(_ context.Context, n Node) (*Plan, error) {
	name, cri := r.Program, op.CRIOf(n.Sys)
	if name == "shim" {
		name = cri.Shim
	}
	p := &Plan{}
	var seen []op.Stat
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		st, err := n.Sys.Stat(path.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// /bin is a link to /usr/bin: one file, two names.
		if slices.ContainsFunc(seen, func(o op.Stat) bool { return o.Dev == st.Dev && o.Ino == st.Ino }) {
			continue
		}
		seen = append(seen, st)
		p.Ops = append(p.Ops, &op.File{Path: path.Join(dir, name), Absent: true, Rename: true})
	}
	if len(p.Ops) == 0 {
		return nil, runtimeBinary.unsupported("the node has no " + name)
	}
	if r.RestartRuntime {
		p.Ops = append(p.Ops, &op.Bounce{Unit: cri.Unit})
	}
	return p, nil
}
