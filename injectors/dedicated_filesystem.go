package injectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var dedicatedFilesystem = Mechanism{
	Name: "dedicated-filesystem",
	Doc:  "gives the runtime or the kubelet a small filesystem of its own, which alone may then be filled or frozen (a preparation)",
	New:  func() Params { return &DedicatedFilesystem{Path: op.Containerd.Root} },
}

const (
	kubeletRoot = "/var/lib/kubelet"
	kubeletFile = kubeletRoot + "/config.yaml"
	kubeletUnit = "kubelet.service"

	// spare is the room a filesystem gets beyond its content when no size is given: 30 % and 256 MiB keep an evictionHard of
	// 15 % silent until the fault.
	spareFixed   = 256 << 20
	sparePercent = 30
	// smallestFS: ext4 with its journal takes 20 MiB of anything smaller.
	smallestFS = 64 << 20
)

// DedicatedFilesystem are the parameters of dedicated-filesystem.
type DedicatedFilesystem struct {
	// Path is the directory: /var/lib/containerd, with CRI-O /var/lib/containers, or /var/lib/kubelet.
	Path string `json:"path,omitempty"`
	// Size of the filesystem, such as "1Gi". Empty: what the directory holds, and a third more.
	Size Size `json:"size,omitempty"`
	// Inodes the filesystem has. 0: one for every 16 KiB.
	Inodes int64 `json:"inodes,omitempty"`
	// KubeletConfig is merged into the kubelet's configuration, such as evictionHard: kind sets that to 0 %.
	KubeletConfig map[string]json.RawMessage `json:"kubeletConfig,omitempty"`
}

func (d *DedicatedFilesystem) Validate() error {
	if roots := []string{op.Containerd.Root, op.CRIO.Root, kubeletRoot}; !slices.Contains(roots, d.Path) {
		return fmt.Errorf("path %q: want one of %s", d.Path, strings.Join(roots, ", "))
	}
	n, err := d.Size.Bytes()
	if err != nil {
		return err
	}
	if n != 0 && n < smallestFS {
		return fmt.Errorf("size %s is less than %d MiB", d.Size, smallestFS>>20)
	}
	if d.Inodes < 0 {
		return fmt.Errorf("inodes %d is negative", d.Inodes)
	}
	return nil
}

func (d *DedicatedFilesystem) Plan(ctx context.Context, n Node) (*Plan, error) {
	unsupported := dedicatedFilesystem.unsupportedf
	cri := op.CRIOf(n.Sys)
	if _, err := n.Sys.Stat("/dev/loop-control"); err != nil {
		return nil, unsupported("no loop devices: %v", err)
	}
	for _, tool := range []string{"mkfs.ext4", "cp", "du"} {
		if err := haveTool(ctx, n, tool); err != nil {
			return nil, unsupported("the node has no %s", tool)
		}
	}
	made, err := n.Made()
	if err != nil {
		return nil, err
	}
	for _, m := range made {
		if m.Target == d.Path {
			return nil, &RequestError{fmt.Errorf("%s has a filesystem of sickbay's already: recover that injection first", d.Path)}
		}
	}
	used, err := usage(ctx, n, d.Path)
	if err != nil {
		return nil, err
	}
	size, err := d.Size.Bytes()
	if err != nil {
		return nil, err
	}
	if size == 0 {
		size = used + used/100*sparePercent + spareFixed
	}
	if need := used + used/10 + smallestFS; size < need {
		return nil, &RequestError{fmt.Errorf("size %s: %s holds %d MiB, so the filesystem needs at least %d MiB", d.Size, d.Path, used>>20, need>>20)}
	}
	size = size &^ (1<<20 - 1)

	loop := &op.LoopFS{Target: d.Path, Bytes: size, Inodes: d.Inodes, Seed: true, Clear: d.Path == cri.Root}
	plan := &Plan{Ops: []op.Op{op.PauseUnit(kubeletUnit)}}
	add := func(o ...op.Op) { plan.Ops = append(plan.Ops, o...) }
	if d.Path == cri.Root {
		add(op.PauseUnit(cri.Unit))
	}
	add(loop)
	if len(d.KubeletConfig) > 0 {
		m, err := kubeletMerge(d.KubeletConfig)
		if err != nil {
			return nil, err
		}
		add(m)
	}
	if d.Path == cri.Root {
		add(&op.Resume{Unit: cri.Unit})
	}
	add(&op.Tasks{Over: d.Path}, &op.Resume{Unit: kubeletUnit})
	return plan, nil
}

// haveTool looks for a program where systemd's own path has it.
func haveTool(_ context.Context, n Node, tool string) error {
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"} {
		if _, err := n.Sys.Stat(path.Join(dir, tool)); err == nil {
			return nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fs.ErrNotExist
}

// onlyVanished tells that du missed nothing but files that went between its listing and its counting them, as a runtime's do: it
// goes on then, tells the sum, and ends with 1.
func onlyVanished(err error) bool {
	for line := range strings.Lines(err.Error()) {
		if !strings.HasSuffix(strings.TrimSpace(line), ": No such file or directory") {
			return false
		}
	}
	return true
}

// usage is what a directory takes on its own filesystem.
func usage(ctx context.Context, n Node, dir string) (int64, error) {
	out, err := n.Sys.Run(ctx, "du", "--summarize", "--one-file-system", "--block-size=1", dir)
	if err != nil && !onlyVanished(err) {
		return 0, err
	}
	number, _, _ := strings.Cut(string(out), "\t")
	used, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("du %s: %w", dir, err)
	}
	return used, nil
}
