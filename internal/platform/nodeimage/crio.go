package nodeimage

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sickbay-dev/sickbay/internal/platform/debian"
)

// crioPackages are what CRI-O calls and Debian has: the monitor of each container, an OCI runtime of another make, and what puts images
// into its storage.
var crioPackages = []string{"conmon", "crun", "skopeo"}

// morePackages are those of the runtime.
func (p *plan) morePackages() []string {
	if p.spec.Runtime == CRIO {
		return crioPackages
	}
	return nil
}

// runtimeRootfs are folders of further files of a node.
func (p *plan) runtimeRootfs() []string {
	if p.crio == nil {
		return nil
	}
	return []string{filepath.Join(p.spec.Source, "crio", "rootfs")}
}

// runtimeUnit is the unit that is enabled.
func (p *plan) runtimeUnit() string {
	if p.crio != nil {
		return "crio"
	}
	return "containerd"
}

// runcFolder is where runc is. On a node with CRI-O a program of that name stands in front of it, see images/crio.
func (p *plan) runcFolder() string {
	if p.crio != nil {
		return "usr/local/libexec"
	}
	return "usr/local/sbin"
}

// crioFiles takes containerd's files out of kind's; CRI-O's own have come with images/crio.
func crioFiles(files map[string][]byte) {
	for _, f := range []string{"etc/containerd/config.toml", "etc/systemd/system/containerd.service", "etc/systemd/system/containerd-fuse-overlayfs.service",
		"etc/systemd/system-generators/sickbay-capabilities"} {
		delete(files, f)
	}
}

// crioRoot is where CRI-O's images are on a node.
const crioRoot = "var/lib/containers/storage"

// makeStorage puts the component images into CRI-O's storage as an operator would, with skopeo, and turns the storage into a layer.
func (p *plan) makeStorage(ctx context.Context, dir string) (err error) {
	work, err := os.MkdirTemp("", "sickbay-storage-")
	if err != nil {
		return fmt.Errorf("preparing a storage of images: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	layout := p.cache.path(p.components)
	data, err := os.ReadFile(filepath.Join(layout, ocispec.ImageIndexFile))
	if err != nil {
		return fmt.Errorf("reading the component images: %w", err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return fmt.Errorf("reading the component images: %w", err)
	}
	root := filepath.Join(work, "root")
	for i, m := range index.Manifests {
		name := m.Annotations["io.containerd.image.name"]
		detail(ctx, "%s", name)
		one := filepath.Join(work, fmt.Sprint("image-", i))
		if err := layoutOf(one, layout, m); err != nil {
			return fmt.Errorf("reading the component image %s: %w", name, err)
		}
		to := fmt.Sprintf("containers-storage:[overlay@%s+%s]%s", root, filepath.Join(work, "run"), name)
		if err := debian.Run(ctx, nil, "skopeo", "--insecure-policy", "copy", "--quiet", "oci:"+one, to); err != nil {
			return fmt.Errorf("storing the component image %s: %w", name, err)
		}
	}
	l, err := newLayer(dir)
	if err != nil {
		return err
	}
	l.same(crioRoot, root)
	return l.close()
}

// layoutOf is a layout of one image out of a layout of many: skopeo finds an image by its tag alone, and theirs are alike.
func layoutOf(dir, all string, m ocispec.Descriptor) error {
	m.Annotations = nil
	index, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{m}})
	if err != nil {
		return err
	}
	version, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	return cmp.Or(os.Mkdir(dir, 0o755), os.Symlink(filepath.Join(all, "blobs"), filepath.Join(dir, "blobs")),
		os.WriteFile(filepath.Join(dir, ocispec.ImageIndexFile), index, 0o644), os.WriteFile(filepath.Join(dir, ocispec.ImageLayoutFile), version, 0o644))
}

// same copies a folder with modes, owners and links: it holds root file systems.
func (l *layerWriter) same(name, from string) {
	first := map[uint64]string{} // by inode, of files with several names
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		link := ""
		if d.Type() == fs.ModeSymlink {
			if link, err = os.Readlink(p); err != nil {
				return err
			}
		}
		h, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		h.Name, h.Uname, h.Gname = path.Join(name, filepath.ToSlash(rel)), "", ""
		switch st, _ := info.Sys().(*syscall.Stat_t); {
		case d.IsDir():
			h.Name += "/"
			l.dirs[path.Clean(h.Name)] = true
			l.add(h, nil)
		case h.Typeflag != tar.TypeReg:
			l.add(h, nil)
		case st != nil && first[st.Ino] != "":
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first[st.Ino], 0
			l.add(h, nil)
		default:
			if st != nil && st.Nlink > 1 {
				first[st.Ino] = h.Name
			}
			f, err := os.Open(p)
			if err != nil {
				return err
			}
			defer f.Close()
			l.add(h, f)
		}
		return nil
	})
	if err != nil {
		l.err = cmp.Or(l.err, fmt.Errorf("copying %s into a layer: %w", from, err))
	}
}
