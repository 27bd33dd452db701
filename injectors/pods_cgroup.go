package injectors

import (
	"context"
	"errors"
	"io/fs"
	"path"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var podsCgroup = Mechanism{
	Name: "pods-cgroup",
	Doc:  "makes the cgroup below which every pod gets its own read-only, as a remount by a container that was given too much does",
	New:  func() Params { return &PodsCgroup{} },
}

// PodsCgroup has no parameters: which directory it is depends on the cgroup version and driver.
type PodsCgroup struct{}

func (*PodsCgroup) Validate() error { return nil }

// Plan implements Params. On version 1 the memory controller stands for all: a pod that fails in one is not made.
func (*PodsCgroup) Plan(_ context.Context, n Node) (*Plan, error) {
	for _, hierarchy := range []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup"} {
		// By cgroup driver, and below kind's own cgroup root.
		for _, dir := range []string{"kubelet.slice/kubelet-kubepods.slice", "kubepods.slice", "kubelet/kubepods", "kubepods"} {
			p := path.Join(hierarchy, dir)
			switch _, err := n.Sys.Stat(p); {
			case err == nil:
				return &Plan{Ops: []op.Op{&op.ReadOnly{Path: p}}}, nil
			case !errors.Is(err, fs.ErrNotExist):
				return nil, err
			}
		}
	}
	return nil, podsCgroup.unsupported("no cgroup of the kubelet's pods was found below /sys/fs/cgroup")
}
