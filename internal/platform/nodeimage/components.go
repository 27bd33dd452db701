package nodeimage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/sickbay-dev/sickbay/internal/command"
)

// Images of our own in every node, besides those kubeadm names.
const (
	CNIImage      = "sickbay.dev/cni-agent:v1"
	StorageImage  = "sickbay.dev/storage:v1"
	RegistryImage = "sickbay.dev/registry:3.1.2"
	// AgnhostImage carries upstream's name, so that a workload which names it also runs on kind's own node image.
	AgnhostImage = "registry.k8s.io/e2e-test-images/agnhost:2.66.1"
)

// component is one container image inside the node image.
type component struct {
	Names  []string      `json:"names"`
	Layers []blob        `json:"layers"`
	Config digest.Digest `json:"config"`
}

// blob is a compressed layer in the layout, and what it is uncompressed.
type blob struct {
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
	DiffID digest.Digest `json:"diffID"`
	Plain  int64         `json:"plain"`
}

// componentWriter writes an OCI image layout: blobs by digest, shared layers once.
type componentWriter struct {
	dir      string
	arch     string
	all      []component
	manifest []ocispec.Descriptor
}

const componentsFile = "components.json"

// layer compresses what fill writes. Layers are zstd: containerd unpacks it at several times the speed of gzip, and every
// node unpacks its layers while it boots.
func (w *componentWriter) layer(fill func(*layerWriter) error) (b blob, err error) {
	tmp, err := os.MkdirTemp(w.dir, ".layer-")
	if err != nil {
		return b, fmt.Errorf("writing a component layer: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	lw, err := newLayer(tmp)
	if err != nil {
		return b, err
	}
	if err := errors.Join(fill(lw), lw.close()); err != nil {
		return b, err
	}
	plain, err := readLayer(tmp)
	if err != nil {
		return b, err
	}
	packed := filepath.Join(tmp, "packed")
	if b, err = compress(plain, packed); err == nil {
		err = os.Rename(packed, w.blobPath(b.Digest))
	}
	if err != nil {
		return b, fmt.Errorf("writing a component layer: %w", err)
	}
	return b, nil
}

func compress(plain layer, to string) (b blob, err error) {
	in, err := os.Open(plain.path)
	if err != nil {
		return b, err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return b, err
	}
	defer out.Close()
	sum, size := sha256.New(), counter(0)
	// One thread gives the same bytes on every machine.
	enc, err := zstd.NewWriter(io.MultiWriter(out, sum, &size), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	if err == nil {
		_, err = io.Copy(enc, in)
		err = errors.Join(err, enc.Close(), out.Close())
	}
	return blob{
		Digest: digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(sum.Sum(nil))), Size: int64(size),
		DiffID: digest.Digest(plain.DiffID), Plain: plain.Size,
	}, err
}

func (w *componentWriter) blobPath(d digest.Digest) string { return blobPath(w.dir, d) }

func blobPath(dir string, d digest.Digest) string {
	return filepath.Join(dir, "blobs", "sha256", d.Encoded())
}

func (w *componentWriter) json(v any) (digest.Digest, int64, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", 0, fmt.Errorf("describing a component image: %w", err)
	}
	d := digest.FromBytes(data)
	if err := os.WriteFile(w.blobPath(d), data, 0o644); err != nil {
		return "", 0, fmt.Errorf("describing a component image: %w", err)
	}
	return d, int64(len(data)), nil
}

// add puts an image of the layers under each of the names.
func (w *componentWriter) add(names []string, config ocispec.ImageConfig, layers ...blob) error {
	image := ocispec.Image{
		Created: &epoch, Platform: ocispec.Platform{Architecture: w.arch, OS: "linux"},
		Config: config, RootFS: ocispec.RootFS{Type: "layers"},
	}
	if !slices.ContainsFunc(image.Config.Env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		image.Config.Env = append(image.Config.Env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, l := range layers {
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, l.DiffID)
		image.History = append(image.History, ocispec.History{Created: &epoch, CreatedBy: "sickbay image build"})
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerZstd, Digest: l.Digest, Size: l.Size})
	}
	id, size, err := w.json(image)
	if err != nil {
		return err
	}
	m.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: id, Size: size}
	md, msize, err := w.json(m)
	if err != nil {
		return err
	}
	for _, n := range names {
		w.manifest = append(w.manifest, ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageManifest, Digest: md, Size: msize, Platform: &image.Platform,
			// The first is what containerd names the image by, the second what the specification knows.
			Annotations: map[string]string{"io.containerd.image.name": n, ocispec.AnnotationRefName: n[strings.LastIndex(n, ":")+1:]},
		})
	}
	w.all = append(w.all, component{Names: names, Layers: layers, Config: id})
	return nil
}

func (w *componentWriter) close() error {
	write := func(name string, v any) error {
		data, err := json.Marshal(v)
		if err == nil {
			err = os.WriteFile(filepath.Join(w.dir, name), data, 0o644)
		}
		if err != nil {
			return fmt.Errorf("writing the component images: %s: %w", name, err)
		}
		return nil
	}
	return errors.Join(
		write(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}),
		write(ocispec.ImageIndexFile, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: w.manifest}),
		write(componentsFile, w.all),
	)
}

// makeComponents writes the layout of all images a node starts with.
func (p *plan) makeComponents(ctx context.Context, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return fmt.Errorf("writing the component images: %w", err)
	}
	wanted, err := p.kubeadmImages(ctx)
	if err != nil {
		return err
	}
	w := &componentWriter{dir: dir, arch: p.spec.Arch}
	rootfs, err := openTar(filepath.Join(p.cache.path(p.rootfs), "layer.tar"))
	if err != nil {
		return err
	}
	defer rootfs.Close()
	bin := func(of *part, name string) string { return filepath.Join(p.cache.path(of), "bin", name) }
	single := func(of *part, name, at string, more ...func(*layerWriter) error) (blob, error) {
		return w.layer(func(l *layerWriter) error {
			l.mkdir("tmp", 0o1777)
			l.copyFile(at, 0o755, bin(of, name))
			for _, m := range more {
				if err := m(l); err != nil {
					return err
				}
			}
			return nil
		})
	}

	// Three images share the layer of the multi-call binary: stored once, unpacked once, on the control plane only.
	controlPlane := []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"}
	multi, err := single(p.kubernetes, "kube", "usr/local/bin/kube", func(l *layerWriter) error {
		for _, n := range controlPlane {
			l.hardlink("usr/local/bin/"+n, "usr/local/bin/kube")
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range controlPlane {
		if err := w.add(wanted.named(n), ocispec.ImageConfig{Entrypoint: []string{n}}, multi); err != nil {
			return err
		}
	}
	proxy, err := single(p.kubernetes, "kube-proxy", "usr/local/bin/kube-proxy", func(l *layerWriter) error { return netfilterTools(rootfs, l) })
	if err != nil {
		return err
	}
	if err := w.add(wanted.named("kube-proxy"), ocispec.ImageConfig{Entrypoint: []string{"kube-proxy"}}, proxy); err != nil {
		return err
	}

	for _, c := range []struct {
		names    []string
		of       *part
		bin, at  string
		config   ocispec.ImageConfig
		contents func(*layerWriter) error
	}{
		{names: wanted.named("etcd"), of: p.etcd, bin: "etcd", at: "usr/local/bin/etcd", config: ocispec.ImageConfig{Entrypoint: []string{"etcd"}}},
		{names: wanted.named("coredns"), of: p.coredns, bin: "coredns", at: "coredns", config: ocispec.ImageConfig{Entrypoint: []string{"/coredns"}}},
		// kind's containerd configuration names an older pause than kubeadm.
		{names: append(wanted.named("pause"), sandboxImage), of: p.addons, bin: "pause", at: "pause", config: ocispec.ImageConfig{Entrypoint: []string{"/pause"}, User: "65535:65535"}},
		{names: []string{CNIImage}, of: p.addons, bin: "cni-agent", at: "usr/local/bin/cni-agent", config: ocispec.ImageConfig{Entrypoint: []string{"cni-agent"}}},
		{names: []string{StorageImage}, of: p.addons, bin: "storage", at: "usr/local/bin/storage", config: ocispec.ImageConfig{Entrypoint: []string{"storage"}}},
		{names: []string{AgnhostImage}, of: p.kubernetes, bin: "agnhost", at: "agnhost", config: ocispec.ImageConfig{Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}},
			contents: func(l *layerWriter) error { return shellTools(ctx, rootfs, l) }},
		{names: []string{RegistryImage}, of: p.registry, bin: "registry", at: "usr/local/bin/registry",
			config:   ocispec.ImageConfig{Entrypoint: []string{"registry"}, Cmd: []string{"serve", "/etc/distribution/config.yml"}, ExposedPorts: map[string]struct{}{"5000/tcp": {}}},
			contents: func(l *layerWriter) error { registryConfig(l); return nil }},
	} {
		var more []func(*layerWriter) error
		if c.contents != nil {
			more = append(more, c.contents)
		}
		l, err := single(c.of, c.bin, c.at, more...)
		if err != nil {
			return err
		}
		if err := w.add(c.names, c.config, l); err != nil {
			return err
		}
	}
	if missing := wanted.unused(); len(missing) > 0 {
		return fmt.Errorf("kubeadm %s wants images nothing here builds: %s", p.spec.Version, strings.Join(missing, ", "))
	}
	return w.close()
}

func registryConfig(l *layerWriter) {
	const config = `version: 0.1
log: {level: info}
storage:
  filesystem: {rootdirectory: /var/lib/registry}
  delete: {enabled: true}
http: {addr: ":5000"}
`
	l.mkdir("var/lib/registry", 0o755)
	l.write("etc/distribution/config.yml", 0o644, []byte(config))
}

// imageNames are the names kubeadm expects, and which of them found a builder.
type imageNames struct {
	all  []string
	used map[string]bool
}

// named answers the names whose last path element is the given one.
func (n *imageNames) named(base string) []string {
	var out []string
	for _, full := range n.all {
		repo := full[:strings.LastIndex(full, ":")]
		if path.Base(repo) == base {
			n.used[full] = true
			out = append(out, full)
		}
	}
	return out
}

func (n *imageNames) unused() []string {
	return slices.DeleteFunc(slices.Clone(n.all), func(s string) bool { return n.used[s] })
}

func (p *plan) kubeadmImages(ctx context.Context) (*imageNames, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(p.cache.path(p.kubernetes), "bin", "kube"), "kubeadm", "config", "images", "list", "--kubernetes-version", p.spec.Version)
	out, err := command.Output(cmd)
	if err != nil {
		return nil, err
	}
	n := &imageNames{used: map[string]bool{}}
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); strings.Contains(line, ":") {
			n.all = append(n.all, line)
		}
	}
	if len(n.all) < 7 {
		return nil, fmt.Errorf("%s named only %d images: %s", cmd, len(n.all), out)
	}
	return n, nil
}

// netfilterTools copies iptables and nft with the libraries they load. Links are direct: the alternatives a maintainer
// script would set are not there. iptables speaks to nf_tables, as on every distribution of the last years.
func netfilterTools(rootfs *tarIndex, l *layerWriter) error {
	files := []string{"usr/sbin/xtables-nft-multi", "usr/sbin/nft"}
	for name, e := range rootfs.entries {
		if dir, base := path.Split(name); path.Base(dir) == "xtables" && strings.HasSuffix(base, ".so") && strings.HasPrefix(dir, "usr/lib/") && e.header.Name != "" {
			files = append(files, name)
		}
	}
	if err := copyWithLibraries(rootfs, l, files); err != nil {
		return err
	}
	for _, n := range []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
		l.symlink("usr/sbin/"+n, "xtables-nft-multi")
	}
	l.mkdir("run", 0o755)
	return nil
}

// copyWithLibraries copies programs and every library they need, each with the links that lead to it.
func copyWithLibraries(rootfs *tarIndex, l *layerWriter, files []string) error {
	// Debian's /bin, /lib … are links into /usr.
	for _, top := range []string{"bin", "lib", "lib64", "sbin"} {
		if e, ok := rootfs.entries[top]; ok && e.header.Linkname != "" {
			l.symlink(top, e.header.Linkname)
		}
	}
	done := map[string]bool{}
	slices.Sort(files)
	for todo := files; len(todo) > 0; todo = todo[1:] {
		name := todo[0]
		if done[name] {
			continue
		}
		done[name] = true
		real, e, err := rootfs.resolve(name)
		if err != nil {
			return fmt.Errorf("root file system: %w", err)
		}
		if name != real {
			l.symlink(name, "/"+real)
			if done[real] {
				continue
			}
			done[real] = true
		}
		l.copy(real, e.header.Mode&0o777, e.header.Size, rootfs.section(e))
		needed, err := libraries(rootfs, e)
		if err != nil {
			return fmt.Errorf("%s: %w", real, err)
		}
		todo = append(todo, needed...)
	}
	return nil
}

// libraries answers where the libraries and the loader of an ELF file are.
func libraries(rootfs *tarIndex, e tarEntry) ([]string, error) {
	f, err := elf.NewFile(rootfs.section(e))
	if err != nil {
		return nil, fmt.Errorf("reading the program: %w", err)
	}
	defer f.Close()
	var out []string
	for _, prog := range f.Progs {
		if prog.Type == elf.PT_INTERP {
			loader, err := io.ReadAll(prog.Open())
			if err != nil {
				return nil, fmt.Errorf("reading the program's loader: %w", err)
			}
			// /lib64/ld-linux… as /usr/lib64/…: the first element is a link that is in the layer already.
			loaderPath := strings.TrimPrefix(string(bytes.TrimRight(loader, "\x00")), "/")
			if top, ok := rootfs.entries[strings.SplitN(loaderPath, "/", 2)[0]]; ok && top.header.Linkname != "" {
				loaderPath = path.Join(top.header.Linkname, strings.SplitN(loaderPath, "/", 2)[1])
			}
			out = append(out, loaderPath)
		}
	}
	names, err := f.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("reading the program's libraries: %w", err)
	}
	for _, n := range names {
		found := ""
		for _, dir := range []string{"usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib"} {
			if _, ok := rootfs.entries[path.Join(dir, n)]; ok {
				found = path.Join(dir, n)
				break
			}
		}
		if found == "" {
			return nil, fmt.Errorf("library %s: %w in the root file system", n, fs.ErrNotExist)
		}
		out = append(out, found)
	}
	return out, nil
}

// shellTools gives an image a shell and the usual small commands: a static busybox and its links.
func shellTools(ctx context.Context, rootfs *tarIndex, l *layerWriter) (err error) {
	_, e, err := rootfs.resolve("usr/bin/busybox")
	if err != nil {
		return fmt.Errorf("root file system: %w", err)
	}
	l.copy("bin/busybox", 0o755, e.header.Size, rootfs.section(e))
	// busybox itself knows which commands it has; it is static, so it runs here as well.
	tmp, err := os.MkdirTemp("", "sickbay-busybox-")
	if err != nil {
		return fmt.Errorf("asking busybox for its commands: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	program := filepath.Join(tmp, "busybox")
	out, err := os.OpenFile(program, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return fmt.Errorf("asking busybox for its commands: %w", err)
	}
	_, err = io.Copy(out, rootfs.section(e))
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("asking busybox for its commands: %w", err)
	}
	list, err := command.Output(exec.CommandContext(ctx, program, "--list"))
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(list) {
		if name != "busybox" {
			l.symlink("bin/"+name, "busybox")
		}
	}
	l.write("etc/passwd", 0o644, []byte("root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"))
	l.write("etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\n"))
	return nil
}
