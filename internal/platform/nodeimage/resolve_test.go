package nodeimage

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kind/pkg/apis/config/defaults"
)

func TestResolve(t *testing.T) {
	const ours, theirs = Repository + ":v1.37.2-abc", "example.org/node:1"
	unreachable, broken := errors.New("registry did not answer"), errors.New("compiler broke")
	type want struct {
		ref    string
		source Source
		did    []string
		errs   []string // parts of the error
	}
	for _, c := range []struct {
		name     string
		req      Request
		held     []string
		pullErr  error
		buildErr error
		localErr error
		want     want
	}{
		{name: "named and local", req: Request{Image: theirs}, held: []string{theirs, ours}, want: want{ref: theirs, source: Named}},
		{name: "named and pulled", req: Request{Image: theirs}, held: []string{ours}, want: want{ref: theirs, source: Named, did: []string{"pull " + theirs}}},
		{name: "named and not to be had", req: Request{Image: theirs}, held: []string{ours}, pullErr: unreachable,
			want: want{did: []string{"pull " + theirs}, errs: []string{theirs, unreachable.Error()}}},
		{name: "named, pulling forbidden", req: Request{Image: theirs, NoPull: true}, held: []string{ours}, want: want{errs: []string{theirs, "load it"}}},
		{name: "built earlier before kind's", held: []string{defaults.Image, ours}, want: want{ref: ours, source: Local}},
		{name: "kind's own local", held: []string{defaults.Image}, want: want{ref: defaults.Image, source: Local}},
		{name: "pulled", want: want{ref: defaults.Image, source: Pulled, did: []string{"pull " + defaults.Image}}},
		{name: "built when the registry is silent", pullErr: unreachable, want: want{ref: ours, source: Built, did: []string{"pull " + defaults.Image, "build"}}},
		{name: "built when pulling is forbidden", req: Request{NoPull: true}, want: want{ref: ours, source: Built, did: []string{"build"}}},
		{name: "both fail", pullErr: unreachable, buildErr: broken,
			want: want{did: []string{"pull " + defaults.Image, "build"}, errs: []string{broken.Error(), unreachable.Error()}}},
		{name: "nothing allowed", req: Request{NoPull: true, NoBuild: true}, want: want{errs: []string{"--image"}}},
		{name: "only pulling allowed", req: Request{NoBuild: true}, pullErr: unreachable,
			want: want{did: []string{"pull " + defaults.Image}, errs: []string{unreachable.Error(), "--image"}}},
		{name: "another minor is not kind's default", req: Request{Version: "1.36"}, held: []string{defaults.Image}, want: want{ref: ours, source: Built, did: []string{"build"}}},
		{name: "another full version has a tag", req: Request{Version: "v1.36.3"}, want: want{ref: "kindest/node:v1.36.3", source: Pulled, did: []string{"pull kindest/node:v1.36.3"}}},
		{name: "engine in trouble", localErr: errors.New("no engine"), want: want{errs: []string{"no engine"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			held, did := slices.Clone(c.held), []string(nil)
			got, err := resolve(t.Context(), c.req, ways{
				local: func(_ context.Context, ref string) (string, bool, error) {
					return "id of " + ref, slices.Contains(held, ref), c.localErr
				},
				builtRefs: func(context.Context) []string { return []string{ours} },
				pull: func(_ context.Context, ref string) error {
					did = append(did, "pull "+ref)
					if c.pullErr == nil {
						held = append(held, ref)
					}
					return c.pullErr
				},
				build: func(context.Context) (string, error) {
					did = append(did, "build")
					if c.buildErr == nil {
						held = append(held, ours)
					}
					return ours, c.buildErr
				},
			})
			if diff := cmp.Diff(c.want.did, did); diff != "" {
				t.Errorf("did (-want +got):\n%s", diff)
			}
			if len(c.want.errs) > 0 {
				if err == nil {
					t.Fatalf("no error but %+v", got)
				}
				for _, part := range c.want.errs {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("error %q does not say %q", err, part)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(Resolved{Ref: c.want.ref, Source: c.want.source, ID: "id of " + c.want.ref}, got); diff != "" {
				t.Errorf("resolved (-want +got):\n%s", diff)
			}
		})
	}
}

// A user's Ctrl-C during the pull must end the command, not begin a build of ten minutes.
func TestResolveInterruptedWhilePulling(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := resolve(ctx, Request{}, ways{
		local:     func(context.Context, string) (string, bool, error) { return "", false, nil },
		builtRefs: func(context.Context) []string { return nil },
		pull:      func(ctx context.Context, _ string) error { cancel(); return ctx.Err() },
		build:     func(context.Context) (string, error) { t.Error("built"); return "", nil },
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want cancelled", err)
	}
}

// shell is an engine whose command line is a script; $1 and so on are the engine's arguments.
type shell string

func (s shell) Command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "sh", append([]string{"-c", string(s), "engine"}, args...)...)
}

func TestInspect(t *testing.T) {
	for _, c := range []struct {
		name, script string
		id           string
		ok, fails    bool
	}{
		{name: "there", script: `echo sha256:1234`, id: "sha256:1234", ok: true},
		{name: "docker lacks it", script: `echo "Error: No such image: x" >&2; exit 1`},
		{name: "podman lacks it", script: `echo "Error: x: image not known" >&2; exit 125`},
		{name: "no engine", script: `echo "Cannot connect to the Docker daemon" >&2; exit 1`, fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, ok, err := inspect(t.Context(), shell(c.script), "x")
			if id != c.id || ok != c.ok || (err != nil) != c.fails {
				t.Errorf("%q, %v, %v", id, ok, err)
			}
		})
	}
}

func TestPull(t *testing.T) {
	if err := pull(t.Context(), shell(`echo "x: Pulling from y"; echo done`), "x", false); err != nil {
		t.Error(err)
	}
	err := pull(t.Context(), shell(`echo "dial tcp: no such host" >&2; exit 1`), "x", false)
	if err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("error %v does not carry the engine's words", err)
	}
}

func TestUpstreamImage(t *testing.T) {
	for version, want := range map[string]string{
		"": defaults.Image, "1.37": defaults.Image, "v1.37": defaults.Image, "v1.37.0": defaults.Image,
		"1.36": "", "v1.36.3": "kindest/node:v1.36.3", "1.3": "",
	} {
		if got := upstreamImage(version); got != want {
			t.Errorf("%q: %q, want %q", version, got, want)
		}
	}
}
