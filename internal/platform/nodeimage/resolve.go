package nodeimage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"

	"github.com/sickbay-dev/sickbay/internal/command"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/text"
)

const (
	// probeTimeout is how long a registry may take to name the image's layers. A registry that answers does so within a
	// second or two; one that drops packets would otherwise hold the user up for minutes.
	probeTimeout = 15 * time.Second
	// pullTimeout is for the layers themselves: 400 MB over a slow line.
	pullTimeout = 15 * time.Minute
)

// Source says where an image came from.
type Source string

// Where an image came from.
const (
	Named  Source = "named"  // the user named it
	Local  Source = "local"  // the engine held it already
	Pulled Source = "pulled" // kind's own, from its registry
	Built  Source = "built"  // from Go modules and Debian packages
)

// Request says which image is wanted.
type Request struct {
	// Image is a name given by the user: it is used or the request fails.
	Image string
	// Version is a Kubernetes version or minor; empty for the default.
	Version string
	// Runtime is one of Runtimes; empty for the default. Only the default is to be had from a registry.
	Runtime string
	// NoPull and NoBuild forbid the third and the fourth way.
	NoPull, NoBuild bool
	// Spec is used to build; its Version is filled from the one above.
	Spec Spec
}

// Resolved is an image the engine holds.
type Resolved struct {
	Ref    string `json:"ref"`
	Source Source `json:"source"`
	// ID is the digest of the image's configuration in this engine.
	ID string `json:"id"`
}

// ways are what resolve may do; tests put fakes in their place.
type ways struct {
	// local answers the image's ID when the engine holds it.
	local func(ctx context.Context, ref string) (id string, ok bool, err error)
	// builtRefs answers names of images built here for the version that would serve as they are, best first.
	builtRefs func(ctx context.Context) []string
	pull      func(ctx context.Context, ref string) error
	build     func(ctx context.Context) (ref string, err error)
}

// Resolve finds an image for the nodes, in this order: the one the user named; one the engine holds; kind's own, pulled;
// one built here.
func Resolve(ctx context.Context, engine Engine, req Request) (Resolved, error) {
	req.Spec.Version, req.Spec.Runtime = req.Version, req.Runtime
	return resolve(ctx, req, ways{
		local:     func(ctx context.Context, ref string) (string, bool, error) { return inspect(ctx, engine, ref) },
		builtRefs: func(ctx context.Context) []string { return builtRefs(ctx, engine, req.Spec) },
		pull: func(ctx context.Context, ref string) error {
			return pull(ctx, engine, ref, req.Image == "" && !req.NoBuild)
		},
		build: func(ctx context.Context) (string, error) { return Build(ctx, engine, req.Spec) },
	})
}

func resolve(ctx context.Context, req Request, w ways) (Resolved, error) {
	held := func(ref string, source Source) (Resolved, bool, error) {
		id, ok, err := w.local(ctx, ref)
		return Resolved{Ref: ref, Source: source, ID: id}, ok, err
	}
	must := func(ref string, source Source) (Resolved, error) {
		r, ok, err := held(ref, source)
		if err == nil && !ok {
			err = fmt.Errorf("the engine does not hold image %s although it was just %s", ref, source)
		}
		return r, err
	}

	if req.Image != "" {
		r, ok, err := held(req.Image, Named)
		if err != nil || ok {
			return r, err
		}
		if req.NoPull {
			return Resolved{}, fmt.Errorf("image %s is not in the engine and pulling is not allowed: load it there first", req.Image)
		}
		if err := w.pull(ctx, req.Image); err != nil {
			return Resolved{}, fmt.Errorf("image %s was named but is neither in the engine nor to be had: %w", req.Image, err)
		}
		return must(req.Image, Named)
	}

	upstream := ""
	if repository(req.Runtime) == Repository {
		upstream = upstreamImage(req.Version)
	}
	candidates := w.builtRefs(ctx)
	if upstream != "" {
		candidates = append(candidates, upstream)
	}
	for _, ref := range candidates {
		if r, ok, err := held(ref, Local); err != nil || ok {
			return r, err
		}
	}

	var failed []error
	if upstream != "" && !req.NoPull {
		err := w.pull(ctx, upstream)
		if err == nil {
			return must(upstream, Pulled)
		}
		if ctx.Err() != nil {
			return Resolved{}, err
		}
		failed = append(failed, err)
	}
	if req.NoBuild {
		return Resolved{}, fmt.Errorf("no node image: none is local, building is not allowed: %w", errors.Join(append(failed, errNoWay)...))
	}
	ref, err := w.build(ctx)
	if err != nil {
		return Resolved{}, errors.Join(append([]error{fmt.Errorf("building a node image: %w", err)}, failed...)...)
	}
	return must(ref, Built)
}

var errNoWay = errors.New("name an image with --image, or allow pulling or building")

// upstreamImage is kind's own image for the version, or empty when kind's release names none. Only the default comes with
// a digest, and only a full version names a tag.
func upstreamImage(version string) string {
	if version == "" {
		return defaults.Image
	}
	full := "v" + strings.TrimPrefix(version, "v")
	_, tag, _ := strings.Cut(defaults.Image, ":")
	tag, _, _ = strings.Cut(tag, "@")
	if tag == full || strings.HasPrefix(tag, full+".") {
		return defaults.Image
	}
	if strings.Count(full, ".") == 2 {
		return "kindest/node:" + full
	}
	return ""
}

// builtRefs answers the image that the source would build now, when the engine has it. Without a source (an installed program) nothing newer can be
// built, so any image built earlier for the version serves.
func builtRefs(ctx context.Context, engine Engine, spec Spec) []string {
	if p, err := planOf(ctx, spec); err == nil {
		if ref, ok, err := p.held(ctx, engine); err == nil && ok {
			return []string{ref}
		}
		return nil
	}
	want := "v" + strings.TrimPrefix(spec.Version, "v")
	if spec.Version == "" {
		want = DefaultVersion
	}
	out, err := command.Output(engine.Command(ctx, "images", "--format", "{{.Repository}}:{{.Tag}}", repository(spec.Runtime)))
	if err != nil {
		return nil // the engine's own trouble shows at the next command
	}
	return slices.DeleteFunc(strings.Fields(out), func(ref string) bool {
		tag := strings.TrimPrefix(ref, repository(spec.Runtime)+":")
		return !strings.HasPrefix(tag, want+"-") && !strings.HasPrefix(tag, want+".")
	})
}

// inspect answers the image's ID when the engine holds it.
func inspect(ctx context.Context, engine Engine, ref string) (id string, ok bool, err error) {
	cmd := engine.Command(ctx, "image", "inspect", "--format", "{{.Id}}", ref)
	out, err := command.Output(cmd)
	if err == nil {
		return strings.TrimSpace(out), true, nil
	}
	// Docker and Podman both say "No such image" or "no such object"/"image not known" and exit 1 or 125.
	text := strings.ToLower(err.Error())
	var exit *exec.ExitError
	if errors.As(err, &exit) && (strings.Contains(text, "no such") || strings.Contains(text, "not known") || strings.Contains(text, "not found")) {
		return "", false, nil
	}
	return "", false, fmt.Errorf("looking for image %s: %w", ref, err)
}

// pull pulls the image, and gives up early if the registry does not answer. With orBuild a failure is not the end.
func pull(ctx context.Context, engine Engine, ref string, orBuild bool) (err error) {
	task := progress.From(ctx).Start("pull "+ref, pullTimeout)
	wanted := ctx
	defer func() {
		if err != nil && orBuild && wanted.Err() == nil {
			task.End(progress.Skipped("registry not reachable, building the image here instead (about 10 minutes, once)"))
			return
		}
		task.End(err)
	}()
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	var silent atomic.Bool
	probe := time.AfterFunc(probeTimeout, func() { silent.Store(true); cancel() })
	defer probe.Stop()

	cmd := engine.Command(ctx, "pull", ref)
	// A client killed in the middle may leave a child that holds the pipe.
	cmd.WaitDelay = time.Second
	r, w := io.Pipe()
	var errs strings.Builder
	cmd.Stdout, cmd.Stderr = w, io.MultiWriter(w, &errs)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			// "v1.37.0: Pulling from kindest/node", or Podman's "Copying blob …": the registry has answered.
			if l := lines.Text(); strings.Contains(l, "ulling") || strings.Contains(l, "Copying") {
				probe.Stop()
			}
			task.Detail("%s", lines.Text())
		}
		_, _ = io.Copy(io.Discard, r) // a line too long for the scanner must not block the command
	}()
	err = cmd.Wait()
	w.Close()
	<-read
	switch {
	case err == nil:
		return nil
	case silent.Load():
		return fmt.Errorf("%s: the registry did not answer within %s", cmd, probeTimeout)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", cmd, context.Cause(ctx))
	}
	return fmt.Errorf("%s: %w: %s", cmd, err, text.Tail(errs.String(), 15))
}
