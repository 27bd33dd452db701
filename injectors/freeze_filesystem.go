package injectors

import (
	"context"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var freezeFilesystem = Mechanism{
	Name: "freeze-filesystem",
	Doc:  "blocks every write to a filesystem that dedicated-filesystem made (fsfreeze), and refuses any other",
	New:  func() Params { return &FreezeFilesystem{Path: op.Containerd.Root} },
}

// FreezeFilesystem are the parameters of freeze-filesystem.
type FreezeFilesystem struct {
	// Path is a directory on the filesystem.
	Path string `json:"path,omitempty"`
	// Disturb has the runtime update one container once the filesystem is frozen. A runtime that has nothing to write does not
	// notice a frozen disk; one that writes down a container's status holds the lock that listing containers needs, and PLEG
	// stalls.
	Disturb *Disturb `json:"disturb,omitempty"`
}

// Disturb chooses the container.
type Disturb struct {
	// Namespace and Pod choose; Pod is a name or its beginning. Both empty: any pod, outside kube-system if there is one.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
}

func (f *FreezeFilesystem) Validate() error { return absolute(f.Path) }

func (f *FreezeFilesystem) Plan(context.Context, Node) (*Plan, error) {
	p := &Plan{Ops: []op.Op{&op.Freeze{Path: f.Path}}}
	if f.Disturb != nil {
		p.Ops = append(p.Ops, &op.Occupy{KillTask: op.KillTask{Namespace: f.Disturb.Namespace, Pod: f.Disturb.Pod}})
	}
	return p, nil
}
