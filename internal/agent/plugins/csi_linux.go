package plugins

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sickbay-dev/sickbay/internal/op"
)

// ImageKey is the volume attribute that names a volume's disk image on the node.
const ImageKey = "image"

// CSIDriver is a CSI node driver for disk images: it stages a volume by attaching its image to a loop device and mounting the
// ext4 in it, and publishes it by a bind mount.
type CSIDriver struct {
	Name   string
	Node   string // the node's name
	Socket string
	// Images is the only directory whose images are mounted.
	Images string

	csi.UnimplementedIdentityServer
	csi.UnimplementedNodeServer
	mu sync.Mutex // one volume at a time: they are few, and mounts are looked up before they are made
}

// Serve answers until ctx ends.
func (d *CSIDriver) Serve(ctx context.Context) error {
	l, err := listen(d.Socket)
	if err != nil {
		return err
	}
	return serve(ctx, l, func(s *grpc.Server) {
		csi.RegisterIdentityServer(s, d)
		csi.RegisterNodeServer(s, d)
	})
}

func (d *CSIDriver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: d.Name, VendorVersion: "1"}, nil
}

func (*CSIDriver) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{}, nil
}

func (*CSIDriver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}

func (d *CSIDriver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.Node}, nil
}

func (*CSIDriver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	return &csi.NodeGetCapabilitiesResponse{Capabilities: []*csi.NodeServiceCapability{{
		Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME}},
	}}}, nil
}

func (d *CSIDriver) NodeStageVolume(_ context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	image, at := r.VolumeContext[ImageKey], r.StagingTargetPath
	switch {
	case r.VolumeId == "" || at == "" || r.VolumeCapability == nil:
		return nil, status.Error(codes.InvalidArgument, "volume, staging path and capability are needed")
	case r.VolumeCapability.GetMount() == nil:
		return nil, status.Error(codes.InvalidArgument, "only filesystem volumes are served")
	case filepath.Clean(image) != image || filepath.Dir(image) != d.Images:
		return nil, status.Errorf(codes.InvalidArgument, "volume %s: attribute %s is %q, want a file in %s", r.VolumeId, ImageKey, image, d.Images)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	mounted, err := mountedAt(at)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if mounted {
		return &csi.NodeStageVolumeResponse{}, nil
	}
	if err := stage(image, at); err != nil {
		return nil, status.Errorf(codes.Internal, "volume %s: %v", r.VolumeId, err)
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

// attachTries bounds the race for a free loop device with everybody else on the host.
const attachTries = 8

func stage(image, at string) error {
	sys := op.Host()
	if err := os.MkdirAll(at, 0o750); err != nil {
		return err
	}
	var n int
	var release func() error
	for try := 1; ; try++ {
		var err error
		if n, _, err = sys.FreeLoop(); err != nil {
			return err
		}
		release, err = sys.AttachLoop(n, image, image)
		if errors.Is(err, op.ErrLoopBusy) && try < attachTries {
			continue
		}
		if err != nil {
			return fmt.Errorf("attach %s: %w", image, err)
		}
		break
	}
	dev := fmt.Sprintf("/dev/loop%d", n)
	err := sys.Mount(dev, at, "ext4", 0, "")
	// mount(8) explains these two codes in the same words.
	switch {
	case errors.Is(err, unix.EINVAL):
		err = fmt.Errorf("mount %s (%s) as ext4: wrong fs type, bad option or bad superblock: %w", dev, image, err)
	case errors.Is(err, unix.EUCLEAN), errors.Is(err, unix.EBADMSG):
		err = fmt.Errorf("mount %s (%s) as ext4: the filesystem is damaged: %w", dev, image, err)
	case err != nil:
		err = fmt.Errorf("mount %s (%s) as ext4: %w", dev, image, err)
	}
	// The mount holds the device now; without one the kernel frees it here.
	return errors.Join(err, release())
}

func (d *CSIDriver) NodeUnstageVolume(_ context.Context, r *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	if r.VolumeId == "" || r.StagingTargetPath == "" {
		return nil, status.Error(codes.InvalidArgument, "volume and staging path are needed")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := unmountAll(r.StagingTargetPath); err != nil {
		return nil, status.Errorf(codes.Internal, "volume %s: %v", r.VolumeId, err)
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

func (d *CSIDriver) NodePublishVolume(_ context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	if r.VolumeId == "" || r.TargetPath == "" || r.StagingTargetPath == "" || r.VolumeCapability == nil {
		return nil, status.Error(codes.InvalidArgument, "volume, staging path, target path and capability are needed")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	staged, err := mountedAt(r.StagingTargetPath)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if !staged {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is not staged at %s", r.VolumeId, r.StagingTargetPath)
	}
	if there, err := mountedAt(r.TargetPath); err != nil || there {
		return &csi.NodePublishVolumeResponse{}, err
	}
	if err := os.MkdirAll(r.TargetPath, 0o750); err != nil {
		return nil, status.Errorf(codes.Internal, "volume %s: %v", r.VolumeId, err)
	}
	flags := op.Bind
	if r.Readonly {
		flags |= op.ReadOnlyFlag
	}
	if err := op.Host().Mount(r.StagingTargetPath, r.TargetPath, "", flags, ""); err != nil {
		return nil, status.Errorf(codes.Internal, "volume %s: %v", r.VolumeId, err)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (d *CSIDriver) NodeUnpublishVolume(_ context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if r.VolumeId == "" || r.TargetPath == "" {
		return nil, status.Error(codes.InvalidArgument, "volume and target path are needed")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := unmountAll(r.TargetPath); err != nil {
		return nil, status.Errorf(codes.Internal, "volume %s: %v", r.VolumeId, err)
	}
	if err := os.Remove(r.TargetPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, status.Errorf(codes.Internal, "volume %s: %v", r.VolumeId, err)
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func mountedAt(p string) (bool, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(strings.TrimRight(p, "/")))
	return len(mounts) > 0, err
}

// unmountAll takes away what is mounted at p, one over the other.
func unmountAll(p string) error {
	for {
		there, err := mountedAt(p)
		if err != nil || !there {
			return err
		}
		if err := op.Host().Unmount(strings.TrimRight(p, "/"), false); err != nil {
			return err
		}
	}
}
