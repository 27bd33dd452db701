package nodeimage

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/command"
)

// sandboxImage is the pause image that kind's containerd configuration names; checked when the files are made.
const sandboxImage = "registry.k8s.io/pause:3.10"

// makeKubernetesLayer puts the multi-call binary into the node under each of its names. Hard links, so that /proc/PID/exe
// of a kubelet says kubelet.
func (p *plan) makeKubernetesLayer(_ context.Context, dir string) error {
	l, err := newLayer(dir)
	if err != nil {
		return err
	}
	l.copyFile("usr/bin/kubelet", 0o755, filepath.Join(p.cache.path(p.kubernetes), "bin", "kube"))
	for _, n := range []string{"kubeadm", "kubectl"} {
		l.hardlink("usr/bin/"+n, "usr/bin/kubelet")
	}
	return l.close()
}

// makeRuntimeLayer puts the runtime, runc, the CNI plugins and crictl where kind's image has them.
func (p *plan) makeRuntimeLayer(_ context.Context, dir string) error {
	l, err := newLayer(dir)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		of *part
		to string
	}{{p.containerd, "usr/local/bin"}, {p.crio, "usr/local/bin"}, {p.crioRunc, "usr/local/sbin"}, {p.runc, p.runcFolder()}, {p.cni, "opt/cni/bin"}, {p.crictl, "usr/local/bin"}} {
		if f.of != nil {
			l.tree(f.to, filepath.Join(p.cache.path(f.of), "bin"), 0o755)
		}
	}
	return l.close()
}

// makeNodeFiles writes kind's own files for a node, with the few changes this image needs, and ours.
func (p *plan) makeNodeFiles(ctx context.Context, dir string) error {
	l, err := newLayer(dir)
	if err != nil {
		return err
	}
	executable := func(rel string) int64 {
		if strings.HasPrefix(rel, "usr/local/bin/") || strings.HasPrefix(rel, "kind/bin/") || strings.Contains(rel, "system-generators/") {
			return 0o755
		}
		return 0o644
	}
	// Every file by its path in the node; ours replace kind's.
	files := map[string][]byte{}
	own := filepath.Join(p.spec.Source, "node")
	for _, from := range append([]string{p.kind.dir, filepath.Join(own, "rootfs")}, p.runtimeRootfs()...) {
		err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(from, path)
			if err != nil {
				return err
			}
			data, err := os.ReadFile(path)
			files[filepath.ToSlash(rel)] = data
			return err
		})
		if err != nil {
			return fmt.Errorf("reading the node's files: %w", err)
		}
	}
	for _, unused := range []string{"LICENSES/README.txt", "usr/local/bin/clean-install"} {
		delete(files, unused)
	}
	if err := p.runtimeFiles(ctx, files); err != nil {
		return err
	}
	for _, m := range []string{"default-cni.yaml", "default-storage.yaml"} {
		data, err := os.ReadFile(filepath.Join(own, "manifests", m))
		if err != nil {
			return fmt.Errorf("reading a manifest: %w", err)
		}
		files["kind/manifests/"+m] = []byte(strings.NewReplacer("@CNI_IMAGE@", CNIImage, "@STORAGE_IMAGE@", StorageImage).Replace(string(data)))
	}
	files["kind/version"] = []byte(p.spec.Version)
	if files["kind/sickbay/packages.txt"], err = os.ReadFile(filepath.Join(p.cache.path(p.rootfs), packagesFile)); err != nil {
		return fmt.Errorf("reading the package versions: %w", err)
	}
	if files[sbomFile], err = p.sbom(files["kind/sickbay/packages.txt"]); err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(files)) {
		l.write(n, executable(n), files[n])
	}
	// What `systemctl enable` and `systemctl mask` would leave.
	const units = "etc/systemd/system/"
	for _, u := range []string{"kubelet", p.runtimeUnit(), "undo-mount-hacks"} {
		l.symlink(units+"multi-user.target.wants/"+u+".service", "/etc/systemd/system/"+u+".service")
	}
	// binfmt_misc belongs to the whole kernel, not to a node.
	l.symlink(units+"systemd-binfmt.service", "/dev/null")
	l.mkdir("etc/kubernetes/manifests", 0o755)
	l.mkdir("etc/cni/net.d", 0o755)
	return l.close()
}

// runtimeFiles adapts the files of the runtime.
func (p *plan) runtimeFiles(ctx context.Context, files map[string][]byte) (err error) {
	if p.crio != nil {
		crioFiles(files)
		return nil
	}
	const config = "etc/containerd/config.toml"
	if files[config], err = adaptContainerdConfig(files[config]); err != nil {
		return err
	}
	files["etc/containerd/cri-base.json"], err = p.baseSpec(ctx)
	return err
}

var sandboxLine = regexp.MustCompile(`(?m)^\s*sandbox_image\s*=\s*"([^"]+)"`)

// adaptContainerdConfig makes the one change a host without CAP_SYS_RESOURCE needs; elsewhere it changes nothing, because
// the bound it sets is containerd's own score, which kind's unit puts at -999.
func adaptContainerdConfig(config []byte) ([]byte, error) {
	const before, after = "restrict_oom_score_adj = false", "restrict_oom_score_adj = true"
	if strings.Count(string(config), before) != 1 {
		return nil, fmt.Errorf("kind's containerd configuration no longer says %q once: this kind is newer than the build knows", before)
	}
	if m := sandboxLine.FindSubmatch(config); m == nil || string(m[1]) != sandboxImage {
		return nil, fmt.Errorf("kind's containerd configuration no longer names %s as its sandbox image: this kind is newer than the build knows", sandboxImage)
	}
	return []byte(strings.Replace(string(config), before, after, 1)), nil
}

// baseSpec is what kind's Dockerfile makes with ctr and jq: containerd's default spec with kind's hook and no limits of
// the machine that built it.
func (p *plan) baseSpec(ctx context.Context) ([]byte, error) {
	out, err := command.Output(exec.CommandContext(ctx, filepath.Join(p.cache.path(p.containerd), "bin", "ctr"), "oci", "spec"))
	if err != nil {
		return nil, err
	}
	return withHook([]byte(out))
}

func withHook(spec []byte) ([]byte, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(spec, &top); err != nil {
		return nil, fmt.Errorf("reading containerd's default spec: %w", err)
	}
	var process map[string]json.RawMessage
	if err := json.Unmarshal(top["process"], &process); err != nil {
		return nil, fmt.Errorf("reading containerd's default spec: process: %w", err)
	}
	delete(process, "rlimits")
	var err error
	if top["process"], err = json.Marshal(process); err != nil {
		return nil, fmt.Errorf("changing containerd's default spec: %w", err)
	}
	top["hooks"] = json.RawMessage(`{"createContainer":[{"path":"/kind/bin/mount-product-files.sh"}]}`)
	data, err := json.Marshal(top)
	if err != nil {
		return nil, fmt.Errorf("changing containerd's default spec: %w", err)
	}
	return append(data, '\n'), nil
}
