// Package nodeimage decides which image a kind node runs and, where no registry answers, builds it from Go modules and
// Debian packages.
//
// It may know Go, Debian's packages, image formats and a container engine's command line; it knows nothing of clusters,
// nodes that run, scenarios or detectors. What it builds goes into a cache of parts, each named by a hash of everything
// that went into it, so that nothing is built twice and an interrupted build goes on where it stopped.
package nodeimage

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/trusted"
)

// Engine is the command line of a container engine, with the environment that makes it talk to the right one.
type Engine interface {
	Command(ctx context.Context, args ...string) *exec.Cmd
}

// Spec says which image to build, from what, and where to keep the parts.
type Spec struct {
	// Version is a Kubernetes version pinned in Source (v1.37.2) or its minor (1.37, v1.37); empty for DefaultVersion.
	Version string
	// Runtime is one of Runtimes; empty for the first.
	Runtime string
	// Source is the images folder of the project; empty to look for it (see FindSource).
	Source string
	// CacheDir keeps the parts; empty for DefaultCacheDir.
	CacheDir string
	// Arch is the node's architecture; empty for this machine's, the only one that can be built.
	Arch string
}

// DefaultCacheDir is where parts are kept: $SICKBAY_CACHE, else sickbay in the user's cache folder.
func DefaultCacheDir() (string, error) {
	if dir := os.Getenv("SICKBAY_CACHE"); dir != "" {
		return filepath.Join(dir, "image"), nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("looking for a cache folder: %w (set SICKBAY_CACHE to a folder with some GiB to spare)", err)
	}
	return filepath.Join(dir, "sickbay", "image"), nil
}

// complete fills the defaults in and checks what can be checked without building.
func (s Spec) complete() (Spec, error) {
	var err error
	if s.Runtime == "" {
		s.Runtime = Containerd
	}
	if !slices.Contains(Runtimes(), s.Runtime) {
		return s, &UnknownRuntimeError{s.Runtime}
	}
	if s.Source == "" {
		if s.Source, err = FindSource(); err != nil {
			return s, err
		}
	}
	if s.Version, err = pinnedVersion(s.Source, s.Version); err != nil {
		return s, err
	}
	if s.CacheDir == "" {
		if s.CacheDir, err = DefaultCacheDir(); err != nil {
			return s, err
		}
	}
	if s.CacheDir, err = filepath.Abs(s.CacheDir); err != nil {
		return s, fmt.Errorf("cache folder: %w", err)
	}
	// Programs in it are run, as root.
	if err := trusted.Path(s.CacheDir); err != nil {
		return s, fmt.Errorf("cache folder: %w; set SICKBAY_CACHE to a folder of your own", err)
	}
	if s.Arch == "" {
		s.Arch = runtime.GOARCH
	}
	return s, nil
}

// planOf is the plan of a spec whose defaults are filled in.
func planOf(ctx context.Context, spec Spec) (*plan, error) {
	spec, err := spec.complete()
	if err != nil {
		return nil, err
	}
	return newPlan(ctx, spec)
}

// Ref answers the name Build gives the image, which holds a hash of all that goes into it. Of the parts it makes only the root file
// system, where that is missing: its packages' versions are in the name.
func Ref(ctx context.Context, spec Spec) (string, error) {
	p, err := planOf(ctx, spec)
	if err != nil {
		return "", err
	}
	if err := p.makeThese(ctx, []*part{p.rootfs}); err != nil {
		return "", err
	}
	return p.ref()
}

// Build makes sure that the engine holds the image of the spec and answers its name. What is in the engine is not loaded,
// what is in the cache is not built. It must run as root on Debian or Ubuntu with Go installed.
func Build(ctx context.Context, engine Engine, spec Spec) (string, error) {
	p, err := planOf(ctx, spec)
	if err != nil {
		return "", err
	}
	if ref, ok, err := p.held(ctx, engine); err != nil || ok {
		return ref, err
	}
	if err := p.makeAll(ctx); err != nil {
		return "", err
	}
	ref, err := p.ref()
	if err != nil {
		return "", err
	}
	return ref, p.load(ctx, engine)
}

// Export writes the image of the spec as an archive that `docker load` and `podman load` read, building what is missing.
func Export(ctx context.Context, spec Spec, w io.Writer) (ref string, err error) {
	p, err := planOf(ctx, spec)
	if err != nil {
		return "", err
	}
	if err := p.makeAll(ctx); err != nil {
		return "", err
	}
	if ref, err = p.ref(); err != nil {
		return "", err
	}
	return ref, p.writeArchive(w)
}

// load streams the image from the cache into the engine.
func (p *plan) load(ctx context.Context, engine Engine) (err error) {
	task := progress.From(ctx).Start("load the node image into the engine", 0)
	defer func() { task.End(err) }()
	task.Expect(p.cache.Expected("load"))
	defer p.cache.Measure("load")(&err)
	return loadArchive(ctx, engine, p.writeArchive)
}

// loadArchive pipes what write produces into `load` of the engine.
func loadArchive(ctx context.Context, engine Engine, write func(io.Writer) error) error {
	cmd := engine.Command(ctx, "load", "--quiet")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	werr := write(in)
	if cerr := in.Close(); werr == nil {
		werr = cerr
	}
	// The engine's own words come first: when it gives up, the write ends in a broken pipe that says nothing.
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, strings.TrimSpace(out.String()))
	}
	if werr != nil {
		return fmt.Errorf("%s: writing the image: %w", cmd, werr)
	}
	return nil
}
