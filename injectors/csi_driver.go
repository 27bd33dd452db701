package injectors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var csiDriver = Mechanism{
	Name: "csi-driver",
	Doc:  "damages a CSI volume, or takes its node driver's registration or its answers away; makes the volumes for it (a preparation)",
	New:  func() Params { return &CSIDriver{Driver: "csi.sickbay.dev", Size: "16Mi"} },
}

const (
	// volumesDir holds the images of CSI volumes, by run: the path is all that the host sees of a loop device, and tells whose it
	// is. It is sickbay's own, so that whatever clears up after a cluster finds them.
	volumesDir = "/var/lib/sickbay/volumes"
	// driverVerb is a word in the command line of the driver's process.
	driverVerb = "csi-driver"

	registryDir = kubeletRoot + "/plugins_registry"

	// volumeMost: a volume is there to be mounted, not to be filled.
	volumeLeast, volumeMost = 16 << 20, 64 << 20
	volumesMost             = 8
	// volumeName is how long a volume's name may be.
	volumeName = 24
)

// CSIDriver are the parameters of csi-driver.
type CSIDriver struct {
	// Action: volumes (make their images), corrupt (the superblock of one that is not mounted), deregister (the socket of the
	// driver's registrar goes), hang (SIGSTOP to the driver).
	Action string `json:"action" jsonschema:"enum=volumes,enum=corrupt,enum=deregister,enum=hang"`
	// Driver is the driver's name, or its end: a run's own driver has the run's name before it.
	Driver string `json:"driver,omitempty"`
	// Volumes are made by the action volumes, each Size large.
	Volumes []string `json:"volumes,omitempty"`
	Size    Size     `json:"size,omitempty"`
	// Volume is damaged by the action corrupt.
	Volume string `json:"volume,omitempty"`
}

var plainName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)

func (c *CSIDriver) Validate() error {
	if !plainName.MatchString(c.Driver) {
		return fmt.Errorf("driver %q: want a CSI driver's name", c.Driver)
	}
	if (c.Action == "volumes") != (len(c.Volumes) > 0) {
		return errors.New("volumes are named for the action volumes, and only for it")
	}
	if (c.Action == "corrupt") != (c.Volume != "") {
		return errors.New("volume is named for the action corrupt, and only for it")
	}
	for _, v := range append(slices.Clone(c.Volumes), c.Volume) {
		if v != "" && (!plainName.MatchString(v) || len(v) > volumeName) {
			return fmt.Errorf("volume %q: want lower-case letters, digits and dashes, at most %d", v, volumeName)
		}
	}
	switch c.Action {
	case "volumes":
		n, err := c.Size.Bytes()
		if err != nil {
			return err
		}
		if n < volumeLeast || n > volumeMost {
			return fmt.Errorf("size %s: want %d to %d MiB", c.Size, volumeLeast>>20, volumeMost>>20)
		}
		if len(c.Volumes) > volumesMost {
			return fmt.Errorf("volumes: %d of them, want at most %d", len(c.Volumes), volumesMost)
		}
	case "corrupt", "deregister", "hang":
	default:
		return fmt.Errorf("action %q: want volumes, corrupt, deregister or hang", c.Action)
	}
	return nil
}

func imageOf(run, volume string) string { return path.Join(volumesDir, run, volume+".img") }

func (c *CSIDriver) Plan(ctx context.Context, n Node) (*Plan, error) {
	unsupported := csiDriver.unsupportedf
	switch c.Action {
	case "volumes":
		if _, err := n.Sys.Stat("/dev/loop-control"); err != nil {
			return nil, unsupported("no loop devices: %v", err)
		}
		if err := haveTool(ctx, n, "mkfs.ext4"); err != nil {
			return nil, unsupported("the node has no mkfs.ext4")
		}
		size, err := c.Size.Bytes()
		if err != nil {
			return nil, err
		}
		v := &op.Volumes{
			Dir: path.Join(volumesDir, n.Run), Bytes: size, Program: driverVerb,
			Homes: []string{
				path.Join(registryDir, "*"+c.Driver+"-reg.sock"),
				path.Join(kubeletRoot, "plugins", "*"+c.Driver),
				path.Join(kubeletRoot, "plugins/kubernetes.io/csi", "*"+c.Driver),
			},
		}
		for _, name := range c.Volumes {
			v.Names = append(v.Names, path.Base(imageOf(n.Run, name)))
		}
		return &Plan{Ops: []op.Op{&op.OwnDir{Path: v.Dir}, v}}, nil
	case "corrupt":
		if _, err := n.Sys.Stat(imageOf(n.Run, c.Volume)); err != nil {
			return nil, &RequestError{fmt.Errorf("volume %s: %w (make it with the action volumes first)", c.Volume, err)}
		}
		// The first superblock of an ext4 is at 1024, wherever its blocks begin; its copies are left alone.
		return &Plan{Ops: []op.Op{&op.Scribble{Path: imageOf(n.Run, c.Volume), Offset: 1024, Bytes: 1024}}}, nil
	case "deregister":
		names, err := n.Sys.List(registryDir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		p := &Plan{}
		for _, name := range names {
			if strings.HasSuffix(name, c.Driver+"-reg.sock") {
				p.Ops = append(p.Ops, &op.Socket{Path: path.Join(registryDir, name)})
			}
		}
		if len(p.Ops) == 0 {
			return nil, unsupported("no registrar of %s has its socket in %s", c.Driver, registryDir)
		}
		return p, nil
	default:
		return &Plan{Ops: []op.Op{&op.Halt{Program: driverVerb}}}, nil
	}
}
