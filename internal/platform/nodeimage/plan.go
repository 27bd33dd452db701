package nodeimage

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/sickbay-dev/sickbay/internal/command"
	"github.com/sickbay-dev/sickbay/internal/platform/buildcache"
	"github.com/sickbay-dev/sickbay/internal/platform/debian"
	"github.com/sickbay-dev/sickbay/internal/progress"
)

// Repository is the name, without a tag, of every image built here.
const Repository = "sickbay.dev/node"

// recipes are this package's own files: a changed recipe must remake the parts it makes.
//
//go:embed rootfs.go components.go store.go nodefiles.go sbom.go tarfile.go crio.go containerd17.go
var recipes embed.FS

func recipe(names ...string) (string, error) {
	var fields []string
	for _, n := range names {
		data, err := recipes.ReadFile(n)
		if err != nil {
			return "", fmt.Errorf("reading the recipe %s: %w", n, err)
		}
		fields = append(fields, string(data))
	}
	return hash(fields...), nil
}

// plan is every part of one image, in the order they depend on each other.
type plan struct {
	spec  Spec
	cache cache
	kind  kindFiles
	goVer string

	kubernetes, runc, cni, crictl, etcd, coredns, registry, addons *part
	containerd, crio, crioRunc                                     *part // the runtime: the first, or the others
	rootfs, components                                             *part
	// The layers of the image are the rootfs and these, the one that changes least first.
	kubernetesLayer, runtimeLayer, store, nodeFiles *part
}

func newPlan(ctx context.Context, spec Spec) (*plan, error) {
	if runtime.GOOS != "linux" || spec.Arch != runtime.GOARCH {
		return nil, fmt.Errorf("a node image for linux/%s cannot be built on %s/%s: name one with --image, or let the engine pull kind's own", spec.Arch, runtime.GOOS, runtime.GOARCH)
	}
	p := &plan{spec: spec, cache: newCache(spec.CacheDir)}
	var err error
	if p.goVer, err = goVersion(ctx, spec.Source); err != nil {
		return nil, err
	}
	if p.kind, err = findKindFiles(ctx, spec.Source); err != nil {
		return nil, err
	}
	modfile, err := modfileOf(spec.Source, spec.Version)
	if err != nil {
		return nil, err
	}
	for _, g := range goParts(spec, modfile) {
		made, err := p.goPart(g)
		if err != nil {
			return nil, err
		}
		*g.into(p) = made
	}

	key := func(recipeFiles []string, extra ...string) (string, error) {
		r, err := recipe(append(recipeFiles, "tarfile.go")...)
		return hash(append([]string{r, spec.Arch}, extra...)...), err
	}
	keys := func(parts ...*part) []string {
		var out []string
		for _, p := range parts {
			out = append(out, p.Key)
		}
		return out
	}
	add := func(name string, make func(context.Context, string) error, after []*part, recipeFiles []string, extra ...string) (*part, error) {
		k, err := key(recipeFiles, append(keys(after...), extra...)...)
		return &part{Part: buildcache.Part{Name: name, Key: k, Make: make}, after: after}, err
	}
	if p.rootfs, err = add("rootfs", p.makeRootfs, nil, []string{"rootfs.go"}, append([]string{debian.Recipe()}, p.morePackages()...)...); err != nil {
		return nil, err
	}
	if p.components, err = add("components", p.makeComponents, []*part{p.kubernetes, p.etcd, p.coredns, p.registry, p.addons, p.rootfs}, []string{"components.go"}, spec.Version); err != nil {
		return nil, err
	}
	if p.kubernetesLayer, err = add("kubernetes-layer", p.makeKubernetesLayer, []*part{p.kubernetes}, []string{"nodefiles.go"}); err != nil {
		return nil, err
	}
	if p.runtimeLayer, err = add("runtime-layer", p.makeRuntimeLayer, present(p.containerd, p.crio, p.crioRunc, p.runc, p.cni, p.crictl), []string{"nodefiles.go"}); err != nil {
		return nil, err
	}
	own := []string{spec.Version, p.kind.hash}
	for _, folder := range append([]string{filepath.Join(spec.Source, "node")}, p.runtimeRootfs()...) {
		tree, err := hashTree(folder)
		if err != nil {
			return nil, fmt.Errorf("the node image's own files: %w", err)
		}
		own = append(own, tree)
	}
	nodeRecipe := []string{"nodefiles.go", "sbom.go"}
	switch spec.Runtime {
	case CRIO:
		nodeRecipe = append(nodeRecipe, "crio.go")
		p.store, err = add("storage", p.makeStorage, []*part{p.components}, []string{"crio.go"})
	case Containerd17:
		p.store, err = add("store", p.makeStore17, []*part{p.components, p.containerd}, []string{"store.go", "containerd17.go"})
	default:
		p.store, err = add("store", p.makeStore, []*part{p.components, p.containerd}, []string{"store.go"})
	}
	if err != nil {
		return nil, err
	}
	p.nodeFiles, err = add("node-files", p.makeNodeFiles, append(p.programs(), p.rootfs), nodeRecipe, own...)
	return p, err
}

// present leaves out what this image has not.
func present(parts ...*part) []*part {
	return slices.DeleteFunc(parts, func(p *part) bool { return p == nil })
}

// layers answers the parts that are the image's layers, bottom first.
func (p *plan) layers() []*part {
	return []*part{p.rootfs, p.runtimeLayer, p.kubernetesLayer, p.store, p.nodeFiles}
}

// programs answers the parts that Go builds.
func (p *plan) programs() []*part {
	return present(p.kubernetes, p.containerd, p.crio, p.crioRunc, p.runc, p.cni, p.crictl, p.etcd, p.coredns, p.registry, p.addons)
}

// recipeKey is the hash of everything that goes into the image and is known before it is made.
func (p *plan) recipeKey() string {
	fields := []string{imageConfigVersion}
	for _, l := range p.layers() {
		fields = append(fields, l.Key)
	}
	return hash(fields...)
}

// contentKey adds the versions of the Debian packages, which are known once they were taken.
func (p *plan) contentKey() (string, error) {
	list, err := os.ReadFile(filepath.Join(p.cache.path(p.rootfs), packagesFile))
	if err != nil {
		return "", fmt.Errorf("reading the package versions: %w", err)
	}
	return hash(p.recipeKey(), string(list)), nil
}

func (p *plan) ref() (string, error) {
	key, err := p.contentKey()
	if err != nil {
		return "", err
	}
	return repository(p.spec.Runtime) + ":" + p.spec.Version + "-" + key[:12], nil
}

// held answers the image that the engine has of this plan: by its name where the package versions are known, else one of the same recipe,
// whatever Debian had then.
func (p *plan) held(ctx context.Context, engine Engine) (ref string, ok bool, err error) {
	if ref, err = p.ref(); err == nil {
		_, ok, err = inspect(ctx, engine, ref)
		return ref, ok, err
	}
	out, err := command.Output(engine.Command(ctx, "images", "--filter", "label="+LabelRecipe+"="+p.recipeKey(), "--format", "{{.Repository}}:{{.Tag}}"))
	for _, ref := range strings.Fields(out) {
		if strings.HasPrefix(ref, repository(p.spec.Runtime)+":"+p.spec.Version+"-") {
			return ref, true, nil
		}
	}
	return "", false, err
}

// all answers every part, each after those it needs.
func (p *plan) all() []*part {
	return append(append([]*part{p.rootfs}, p.programs()...), p.runtimeLayer, p.kubernetesLayer, p.components, p.store, p.nodeFiles)
}

// makeAll makes what is missing of all parts.
func (p *plan) makeAll(ctx context.Context) error { return p.makeThese(ctx, p.all()) }

// makeThese makes what is missing. The root file system is made beside the compiling: it waits for the network and for one
// core, and the compiler leaves room for it.
func (p *plan) makeThese(ctx context.Context, parts []*part) error {
	var todo []*part
	for _, part := range parts {
		if !p.cache.Has(part.Part) {
			todo = append(todo, part)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	if err := os.MkdirAll(p.cache.Dir, 0o755); err != nil {
		return fmt.Errorf("making the cache of image parts: %w", err)
	}
	unlock, err := p.cache.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := checkSpace(p.needs(ctx, todo), buildcache.FreeSpace); err != nil {
		return err
	}
	if err := prepareHost(ctx, todo); err != nil {
		return err
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var beside, rootfs sync.WaitGroup
	if slices.Contains(todo, p.rootfs) {
		rootfs.Go(func() {
			if err := p.makeOne(ctx, p.rootfs, todo); err != nil {
				cancel(err)
			}
		})
	}
	// The compiler does not wait for the network, and the later parts need not either: their modules come in beside the first.
	fetching, stopFetching := context.WithCancel(ctx)
	defer stopFetching()
	beside.Go(func() {
		for _, part := range todo {
			if part.fetch != nil && part != p.kubernetes && fetching.Err() == nil {
				part.fetch(fetching)
			}
		}
	})
	for _, part := range todo {
		if part == p.rootfs {
			continue
		}
		if slices.Contains(part.after, p.rootfs) {
			rootfs.Wait()
		}
		if ctx.Err() != nil {
			break
		}
		if err := p.makeOne(ctx, part, todo); err != nil {
			cancel(err)
			break
		}
	}
	stopFetching()
	rootfs.Wait()
	beside.Wait()
	return context.Cause(ctx)
}

func (p *plan) makeOne(ctx context.Context, part *part, todo []*part) (err error) {
	task := progress.From(ctx).Start(fmt.Sprintf("build the node image, step %d/%d: %s", slices.Index(todo, part)+1, len(todo), part.Name), 0)
	task.Expect(p.cache.Expected(part.Name))
	defer func() { task.End(err) }()
	return p.cache.Ensure(withTask(ctx, task), part.Part)
}

func (p *plan) readComponents() ([]component, error) {
	file := filepath.Join(p.cache.path(p.components), componentsFile)
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the list of component images: %w", err)
	}
	var all []component
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("reading the list of component images: %s: %w", file, err)
	}
	return all, nil
}

// taskKey carries the running step's task, for recipes that can tell more than their name.
type taskKey struct{}

func withTask(ctx context.Context, t progress.Task) context.Context {
	return context.WithValue(ctx, taskKey{}, t)
}

func detail(ctx context.Context, format string, args ...any) {
	if t, ok := ctx.Value(taskKey{}).(progress.Task); ok {
		t.Detail("%s", strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}
