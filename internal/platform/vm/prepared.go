package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"al.essio.dev/pkg/shellescape"

	"github.com/sickbay-dev/sickbay/internal/platform/buildcache"
	"github.com/sickbay-dev/sickbay/internal/platform/debian"
	"github.com/sickbay-dev/sickbay/internal/progress"
)

// Image is the node image that the guest's engine gets.
type Image struct {
	// Ref is its name there, without a digest.
	Ref string
	// Key names its content; Ref does where it holds a hash of it.
	Key string
	// Write writes it as `docker load` reads it.
	Write func(ctx context.Context, w io.Writer) error
}

// preparedVersion is part of every prepared disk's key: raise it when prepare leaves something else on it.
const preparedVersion = "1"

const preparedFile = "disk.qcow2"

// preparedPart is the base disk with the node image in its engine: an overlay that holds only what the image added.
func (b *builder) preparedPart() buildcache.Part {
	p := buildcache.Part{Name: "prepared", Key: buildcache.Hash(preparedVersion, b.base.Key, b.image.Ref, b.image.Key)}
	p.Make = func(ctx context.Context, dir string) error { return b.prepare(ctx, dir) }
	return p
}

// prepare boots the base once, loads the image and shuts the guest down cleanly.
func (b *builder) prepare(ctx context.Context, dir string) (err error) {
	// Nothing of this boot stays with the disk.
	work := filepath.Join(dir, "boot")
	if err := os.Mkdir(work, 0o700); err != nil {
		return fmt.Errorf("prepare the guest's disk: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	archive := filepath.Join(work, "image.tar")
	b.task.Detail("taking %s", b.image.Ref)
	if err := writeImage(ctx, archive, b.image); err != nil {
		return err
	}
	disk := filepath.Join(dir, preparedFile)
	// Parts are neighbours, and the name is relative: the cache can be moved.
	backing := filepath.Join("..", filepath.Base(b.cache.Path(b.base)), diskFile)
	if err := createOverlay(ctx, disk, backing, "raw"); err != nil {
		return err
	}
	k, err := newKeys()
	if err != nil {
		return err
	}
	if err := errors.Join(k.save(work), writePayload(filepath.Join(work, payloadFile), k, nil)); err != nil {
		return err
	}
	m := b.machine(bootDisks(disk, work, imageDisk(archive))...)
	r, err := start(m, work, false)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.stop(b.o.Timeouts.Stop))
		}
	}()
	b.task.Detail("booting")
	c, err := r.wait(ctx, b.o, b.task)
	if err != nil {
		return err
	}
	defer c.Close()
	b.task.Detail("waiting for the guest's container engine")
	bound, cancel := context.WithTimeoutCause(ctx, b.o.Timeouts.Load, fmt.Errorf("not within %s", b.o.Timeouts.Load))
	defer cancel()
	if err := c.Run(bound, "systemctl start docker.service", Streams{}); err != nil {
		return err
	}
	b.task.Detail("loading %s into the guest's container engine", b.image.Ref)
	// An image that was pulled by its digest has no name in the archive: the last word of what is said is its id then.
	ref := shellescape.Quote(b.image.Ref)
	load := "said=$(docker load --quiet < /dev/disk/by-id/virtio-image) && { docker image inspect " + ref + " >/dev/null 2>&1 || docker tag \"${said##* }\" " + ref + "; }"
	if err := c.Run(bound, load, Streams{}); err != nil {
		return fmt.Errorf("load the node image: %w", err)
	}
	b.task.Detail("shutting the guest down")
	if err := r.poweroff(ctx, c, b.o); err != nil {
		return err
	}
	// QEMU was told not to care; the disk gets its name only when this machine has it for good.
	return synchronize(disk)
}

func writeImage(ctx context.Context, file string, image Image) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("take the node image: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := image.Write(ctx, f); err != nil {
		return fmt.Errorf("take the node image: %w", err)
	}
	// A disk consists of whole sectors.
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return f.Truncate((info.Size() + 511) &^ 511)
}

func synchronize(file string) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// createOverlay makes a disk that holds only what differs from another, which is never written to.
func createOverlay(ctx context.Context, file, backing, format string) error {
	return debian.Run(ctx, nil, "qemu-img", "create", "-q", "-f", "qcow2", "-b", backing, "-F", format, file)
}

func imageDisk(archive string) disk {
	return disk{File: archive, Format: "raw", Serial: "image", ReadOnly: true}
}

// builder makes the disks a guest rests on.
type builder struct {
	o      Options
	cache  *buildcache.Cache
	base   buildcache.Part
	image  Image
	choice Choice
	task   progress.Task
}

func (b *builder) machine(disks ...disk) machine {
	base := b.cache.Path(b.base)
	return machine{
		Accel: b.choice.Accel, CPUs: b.o.CPUs, MemoryMiB: b.o.MemoryMiB,
		Kernel: filepath.Join(base, kernel), Initrd: filepath.Join(base, initrd), Append: commandLine, Disks: disks,
	}
}
