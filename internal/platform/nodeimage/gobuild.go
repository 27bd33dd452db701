package nodeimage

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/command"
	"github.com/sickbay-dev/sickbay/internal/platform/buildcache"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// goPart is one `go build` in one of the modules below images/.
type goPart struct {
	name   string
	module string // folder below the source; empty where upstream is built
	// upstream is a module that is built in itself, with its own go.mod and go.sum: it comes from the module cache.
	upstream upstream
	// modfile replaces the module's go.mod, for another pinned version; go.sum is the file beside it.
	modfile string
	builds  []goBuild
	into    func(*plan) **part
}

// upstream pins a module by its version, and by the checksum of its content.
type upstream struct{ module, version, sum string }

// goBuild makes one or several programs with the same flags. out is a file, or a folder when several packages are named.
type goBuild struct {
	out      string
	packages []string
	tags     string
	ldflags  string
	cgo      bool
}

// buildDate is fixed: a date of its own would make every build different.
const buildDate = "2026-01-01T00:00:00Z"

// goParts are the programs of a node. modfile pins the wanted version of Kubernetes.
func goParts(spec Spec, modfile string) []goPart {
	minor := strings.Split(strings.TrimPrefix(spec.Version, "v"), ".")[1]
	const version = "k8s.io/component-base/version."
	kube := strings.Join([]string{
		"-X " + version + "gitVersion=" + spec.Version, "-X " + version + "gitMajor=1", "-X " + version + "gitMinor=" + minor,
		"-X " + version + "gitTreeState=clean", "-X " + version + "buildDate=" + buildDate,
		"-X k8s.io/client-go/pkg/version.gitVersion=" + spec.Version,
	}, " ")
	const plugins = "github.com/containernetworking/plugins/"
	const criTools, criToolsVersion = "sigs.k8s.io/cri-tools", "v1.37.0"
	return append(runtimeParts(spec.Runtime), []goPart{
		{name: "crictl", into: func(p *plan) **part { return &p.crictl }, builds: []goBuild{
			{out: "bin/crictl", packages: []string{"./cmd/crictl"}, ldflags: "-X " + criTools + "/pkg/version.Version=" + criToolsVersion},
		}, upstream: upstream{criTools, criToolsVersion, "h1:BmTImEoTX3KPXCLwmIU9mfCC8umUqF4R8WibY9eVU9Y="}},
		{name: "kubernetes", module: "kubernetes", modfile: modfile, into: func(p *plan) **part { return &p.kubernetes }, builds: []goBuild{
			{out: "bin/kube", packages: []string{"./cmd/kube"}, ldflags: kube},
			{out: "bin/kube-proxy", packages: []string{"./cmd/kube-proxy"}, ldflags: kube},
			{out: "bin/agnhost", packages: []string{"k8s.io/kubernetes/test/images/agnhost"}},
		}},
		// seccomp needs libseccomp, and runc enters namespaces before Go starts: the only part in C.
		{name: "runc", module: "runc", into: func(p *plan) **part { return &p.runc }, builds: []goBuild{
			{out: "bin/runc", packages: []string{"github.com/opencontainers/runc"}, tags: "seccomp", cgo: true},
		}},
		{name: "cni", module: "cni", into: func(p *plan) **part { return &p.cni }, builds: []goBuild{
			{out: "bin/", packages: []string{plugins + "plugins/ipam/host-local", plugins + "plugins/main/loopback", plugins + "plugins/main/ptp",
				plugins + "plugins/main/bridge", plugins + "plugins/meta/portmap"}, ldflags: "-X " + plugins + "pkg/utils/buildversion.BuildVersion=@" + strings.TrimSuffix(plugins, "/") + "@"},
		}},
		{name: "etcd", module: "etcd", into: func(p *plan) **part { return &p.etcd }, builds: []goBuild{{out: "bin/etcd", packages: []string{"go.etcd.io/etcd/server/v3"}}}},
		{name: "coredns", module: "coredns", into: func(p *plan) **part { return &p.coredns }, builds: []goBuild{{out: "bin/coredns", packages: []string{"."}}}},
		{name: "registry", module: "registry", into: func(p *plan) **part { return &p.registry }, builds: []goBuild{{out: "bin/registry", packages: []string{"."}}}},
		{name: "addons", module: "addons", into: func(p *plan) **part { return &p.addons }, builds: []goBuild{
			{out: "bin/", packages: []string{"./cmd/pause", "./cmd/cni-agent", "./cmd/storage"}},
		}},
	}...)
}

// goPart turns a recipe into a part. Its key covers the module's own files, the checksums of everything it imports, the
// flags and the compiler.
func (p *plan) goPart(g goPart) (*part, error) {
	sources, err := p.sourcesOf(g)
	if err != nil {
		return nil, fmt.Errorf("image part %s: %w", g.name, err)
	}
	fields := []string{sources, g.modfile, p.goVer, p.spec.Arch}
	for _, b := range g.builds {
		fields = append(fields, b.out, b.tags, b.ldflags, fmt.Sprint(b.cgo), strings.Join(b.packages, " "))
	}
	return &part{Part: buildcache.Part{Name: g.name, Key: hash(fields...), Make: func(ctx context.Context, dir string) error {
		folder, err := p.folderOf(ctx, g)
		if err != nil {
			return err
		}
		for _, b := range g.builds {
			if err := goRun(ctx, folder, dir, g.modfile, b); err != nil {
				return err
			}
		}
		return nil
	}}, fetch: func(ctx context.Context) {
		folder, err := p.folderOf(ctx, g)
		if err != nil {
			return // the build will tell
		}
		for _, b := range g.builds {
			// Listing with dependencies downloads the modules that are imported, and only those. Should it fail, the build will tell.
			_, _ = command.Output(goCommand(ctx, folder, append(b.flags("list", g.modfile), append([]string{"-deps"}, b.packages...)...)...))
		}
	}}, nil
}

// sourcesOf is the hash of what a part is built from.
func (p *plan) sourcesOf(g goPart) (string, error) {
	if u := g.upstream; u.module != "" {
		return hash(u.module, u.version, u.sum), nil
	}
	return hashSources(filepath.Join(p.spec.Source, g.module), g.modfile)
}

// folderOf is where a part is built. An upstream module is fetched for it.
func (p *plan) folderOf(ctx context.Context, g goPart) (string, error) {
	u := g.upstream
	if u.module == "" {
		return filepath.Join(p.spec.Source, g.module), nil
	}
	// Outside of any module: within one, its go.mod would join in.
	out, err := command.Output(goCommand(ctx, p.cache.Dir, "mod", "download", "-json", u.module+"@"+u.version))
	if err != nil {
		return "", fmt.Errorf("fetching %s %s: %w", u.module, u.version, err)
	}
	var got struct{ Dir, Sum string }
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		return "", fmt.Errorf("fetching %s %s: %w", u.module, u.version, err)
	}
	if got.Sum != u.sum {
		return "", fmt.Errorf("fetching %s %s: its checksum is %s, and %s is pinned", u.module, u.version, got.Sum, u.sum)
	}
	return got.Dir, nil
}

// flags are those of a go command about these packages that decide which files belong to them.
func (b goBuild) flags(command, modfile string) []string {
	out := []string{command}
	if b.tags != "" {
		out = append(out, "-tags", b.tags)
	}
	if modfile != "" {
		out = append(out, "-modfile", modfile)
	}
	return out
}

// hashSources covers a module with the one pinned set of versions that is used.
func hashSources(folder, modfile string) (string, error) {
	tree, err := hashTreeExcept(folder, func(rel string) bool {
		return strings.HasPrefix(rel, "versions/") || modfile != "" && (rel == "go.mod" || rel == "go.sum")
	})
	if err != nil || modfile == "" {
		return tree, err
	}
	fields := []string{tree}
	for _, f := range []string{modfile, strings.TrimSuffix(modfile, ".mod") + ".sum"} {
		data, err := os.ReadFile(filepath.Join(folder, f))
		if err != nil {
			return "", fmt.Errorf("reading the pinned versions: %w", err)
		}
		fields = append(fields, string(data))
	}
	return hash(fields...), nil
}

func goRun(ctx context.Context, folder, dir, modfile string, b goBuild) error {
	ldflags, err := fillVersion(ctx, folder, b.ldflags)
	if err != nil {
		return err
	}
	out := filepath.Join(dir, filepath.FromSlash(b.out))
	if strings.HasSuffix(b.out, "/") {
		out += string(filepath.Separator)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return fmt.Errorf("making room for programs: %w", err)
	}
	// -v tells the package being compiled: six minutes of Kubernetes are not to look like a hang.
	args := append(b.flags("build", modfile), "-v", "-trimpath", "-o", out, "-ldflags", strings.TrimSpace("-s -w "+ldflags))
	cmd := goCommand(ctx, folder, append(args, b.packages...)...)
	if b.cgo {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=1")
	}
	var errs bytes.Buffer
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	lines := bufio.NewScanner(io.TeeReader(pipe, &errs))
	for lines.Scan() {
		detail(ctx, "%s", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s (in %s): %w: %s", cmd, folder, err, text.Tail(errs.String(), 15))
	}
	return nil
}

// goCommand runs go with what the machine's own settings must not change: nothing rewrites go.mod, no workspace joins in.
func goCommand(ctx context.Context, folder string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly -buildvcs=false", "GOWORK=off", "CGO_ENABLED=0")
	return cmd
}

// fillVersion replaces @module@ in the flags by the module's pinned version.
func fillVersion(ctx context.Context, folder, flags string) (string, error) {
	before, rest, ok := strings.Cut(flags, "@")
	if !ok {
		return flags, nil
	}
	module, after, _ := strings.Cut(rest, "@")
	version, err := command.Output(goCommand(ctx, folder, "list", "-m", "-f", "{{.Version}}", module))
	if err != nil {
		return "", err
	}
	return before + strings.TrimSpace(version) + after, nil
}

// goVersion is the compiler that the sources ask for, which need not be the one that the working directory has.
func goVersion(ctx context.Context, source string) (string, error) {
	out, err := command.Output(goCommand(ctx, filepath.Dir(source), "env", "GOVERSION"))
	if err != nil {
		return "", fmt.Errorf("building a node image needs Go: %w (install it from https://go.dev/dl)", err)
	}
	return strings.TrimSpace(out), nil
}
