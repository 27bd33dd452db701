package nodeimage

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sickbay-dev/sickbay/internal/progress"
)

// imageConfigVersion is part of every image's name: raise it when imageConfig changes what a node gets.
const imageConfigVersion = "2"

// Labels of the image.
const (
	LabelKubernetes = "sickbay.dev/kubernetes"
	LabelRuntime    = "sickbay.dev/runtime" // where it is not the default one; cluster.RuntimeLabel reads it
	LabelContent    = "sickbay.dev/content"
	LabelRecipe     = "sickbay.dev/recipe"   // the content less the versions of Debian's packages
	LabelPackages   = "sickbay.dev/packages" // digest of /kind/sickbay/packages.txt
	LabelGo         = "sickbay.dev/go"
)

// dockerConfig is an image configuration with the one field Docker has beyond OCI's that a node needs.
type dockerConfig struct {
	Architecture string              `json:"architecture"`
	OS           string              `json:"os"`
	Created      string              `json:"created"`
	Config       ocispec.ImageConfig `json:"config"`
	RootFS       ocispec.RootFS      `json:"rootfs"`
	History      []ocispec.History   `json:"history"`
}

// stream is one layer of an archive: its size is known before it is read.
type stream struct {
	diffID digest.Digest
	size   int64
	open   func() (io.ReadCloser, error)
}

// imageConfig is what kind's own image has.
func (p *plan) imageConfig() (ocispec.ImageConfig, error) {
	list, err := os.ReadFile(filepath.Join(p.cache.path(p.rootfs), packagesFile))
	if err != nil {
		return ocispec.ImageConfig{}, fmt.Errorf("reading the package versions: %w", err)
	}
	sum := sha256.Sum256(list)
	content, err := p.contentKey()
	if err != nil {
		return ocispec.ImageConfig{}, err
	}
	config := ocispec.ImageConfig{
		Env: []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"container=docker", // systemd asks this variable whether it runs in a container
		},
		Entrypoint: []string{"/usr/local/bin/entrypoint", "/sbin/init"},
		StopSignal: "SIGRTMIN+3", // on SIGTERM systemd executes itself anew instead of ending
		Labels: map[string]string{
			LabelKubernetes: p.spec.Version, LabelContent: content, LabelRecipe: p.recipeKey(), LabelGo: p.goVer,
			LabelPackages: "sha256:" + hex.EncodeToString(sum[:]),
		},
	}
	if p.spec.Runtime != Containerd {
		config.Labels[LabelRuntime] = p.spec.Runtime
	}
	return config, nil
}

// writeArchive writes the node image for `docker load`. The archive is put together while it is read, from layers that
// are in the cache already: a copy of it would only double the room they take.
func (p *plan) writeArchive(w io.Writer) error {
	config, err := p.imageConfig()
	if err != nil {
		return err
	}
	ref, err := p.ref()
	if err != nil {
		return err
	}
	var layers []stream
	for _, part := range p.layers() {
		l, err := readLayer(p.cache.path(part))
		if err != nil {
			return err
		}
		layers = append(layers, stream{diffID: digest.Digest(l.DiffID), size: l.Size, open: func() (io.ReadCloser, error) { return os.Open(l.path) }})
	}
	return writeDockerArchive(w, ref, p.spec.Arch, config, layers)
}

func writeDockerArchive(w io.Writer, ref, arch string, config ocispec.ImageConfig, layers []stream) error {
	image := dockerConfig{Architecture: arch, OS: "linux", Created: epoch.Format("2006-01-02T15:04:05Z"), Config: config, RootFS: ocispec.RootFS{Type: "layers"}}
	manifest := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{RepoTags: []string{ref}}
	for _, l := range layers {
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, l.diffID)
		image.History = append(image.History, ocispec.History{Created: &epoch, CreatedBy: "sickbay image build"})
		manifest.Layers = append(manifest.Layers, l.diffID.Encoded()+"/layer.tar")
	}
	configData, err := json.Marshal(image)
	if err != nil {
		return fmt.Errorf("describing the image: %w", err)
	}
	manifest.Config = digest.FromBytes(configData).Encoded() + ".json"
	manifestData, err := json.Marshal([]any{manifest})
	if err != nil {
		return fmt.Errorf("describing the image: %w", err)
	}
	t := tar.NewWriter(w)
	file := func(name string, size int64, from io.Reader) error {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: epoch}); err != nil {
			return err
		}
		_, err := io.Copy(t, from)
		return err
	}
	err = errors.Join(
		file("manifest.json", int64(len(manifestData)), strings.NewReader(string(manifestData))),
		file(manifest.Config, int64(len(configData)), strings.NewReader(string(configData))),
	)
	for i, l := range layers {
		if err != nil {
			break
		}
		var in io.ReadCloser
		if in, err = l.open(); err == nil {
			err = errors.Join(file(manifest.Layers[i], l.size, in), in.Close())
		}
	}
	if err != nil {
		return fmt.Errorf("writing the image archive: %w", err)
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("writing the image archive: %w", err)
	}
	return nil
}

// LoadComponent puts one of the images inside the node image (RegistryImage, say) into the engine itself, for side
// services of a cluster. It builds what is missing.
func LoadComponent(ctx context.Context, engine Engine, spec Spec, name string) (err error) {
	if _, ok, err := inspect(ctx, engine, name); err != nil || ok {
		return err
	}
	p, err := planOf(ctx, spec)
	if err != nil {
		return err
	}
	if err := p.makeAll(ctx); err != nil {
		return err
	}
	task := progress.From(ctx).Start("load "+name+" into the engine", 0)
	defer func() { task.End(err) }()
	return loadArchive(ctx, engine, func(w io.Writer) error { return p.writeComponent(w, name) })
}

func (p *plan) writeComponent(w io.Writer, name string) error {
	c, err := p.sideImage(name)
	if err != nil {
		return err
	}
	dir := p.cache.path(p.components)
	data, err := os.ReadFile(blobPath(dir, c.Config))
	if err != nil {
		return fmt.Errorf("reading image %s: %w", name, err)
	}
	var image ocispec.Image
	if err := json.Unmarshal(data, &image); err != nil {
		return fmt.Errorf("reading image %s: %w", name, err)
	}
	var layers []stream
	for _, l := range c.Layers {
		layers = append(layers, stream{diffID: l.DiffID, size: l.Plain, open: func() (io.ReadCloser, error) {
			f, err := os.Open(blobPath(dir, l.Digest))
			if err != nil {
				return nil, err
			}
			z, err := zstd.NewReader(f)
			if err != nil {
				return nil, errors.Join(err, f.Close())
			}
			return unpacking{z, f}, nil
		}})
	}
	return writeDockerArchive(w, name, p.spec.Arch, image.Config, layers)
}

type unpacking struct {
	*zstd.Decoder
	file *os.File
}

func (u unpacking) Close() error { u.Decoder.Close(); return u.file.Close() }
