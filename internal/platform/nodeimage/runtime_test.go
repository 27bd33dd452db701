package nodeimage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRuntimesHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Runtimes() {
		repo := repository(r)
		if seen[repo] {
			t.Errorf("%s: images of two runtimes are called %s", r, repo)
		}
		seen[repo] = true
		if got := RuntimeOf(repo + ":v1.37.2-0123456789ab"); got != r {
			t.Errorf("image of %s is taken for one of %s", r, got)
		}
		if v, ours := builtVersion(repo + ":v1.37.2-0123456789ab"); v != "v1.37.2" || !ours {
			t.Errorf("image of %s: version %q, ours %t", r, v, ours)
		}
	}
	if repository("") != Repository || RuntimeOf("kindest/node:v1.37.0@sha256:1") != Containerd {
		t.Error("the default and kind's own image have containerd")
	}
	if _, err := (Spec{Runtime: "docker"}).complete(); !errors.As(err, new(*UnknownRuntimeError)) {
		t.Errorf("docker: %v", err)
	}
}

// Only the default runtime's image is to be had elsewhere: kind's own must not be taken for another.
func TestOnlyTheDefaultIsPulled(t *testing.T) {
	got, err := resolve(t.Context(), Request{Runtime: CRIO}, ways{
		local:     func(_ context.Context, ref string) (string, bool, error) { return "1", ref == "built", nil },
		builtRefs: func(context.Context) []string { return nil },
		pull:      func(_ context.Context, ref string) error { t.Errorf("%s was pulled", ref); return nil },
		build:     func(context.Context) (string, error) { return "built", nil },
	})
	if err != nil || got.Ref != "built" {
		t.Errorf("%+v %v", got, err)
	}
}

// CRI-O's sandbox image is the one that the image holds, and what keeps images from the kubelet covers all of them.
func TestConfigurationOfCRIO(t *testing.T) {
	source, err := FindSource()
	if err != nil {
		t.Skip(err)
	}
	raw, err := os.ReadFile(filepath.Join(source, "crio", "rootfs", "etc", "crio", "crio.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), `pause_image = "`+sandboxImage+`"`) {
		t.Errorf("its pause_image is not %s", sandboxImage)
	}
	for _, name := range []string{CNIImage, StorageImage, RegistryImage, AgnhostImage, sandboxImage} {
		host, _, _ := strings.Cut(name, "/")
		if !strings.Contains(string(raw), `"`+host+`/*"`) {
			t.Errorf("%s is not among its pinned_images", name)
		}
	}
}

// Layers of CRI-O's storage hold root file systems: what is one file with two names stays one.
func TestSame(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(from, "a"), []byte("x"), 0o750), os.Link(filepath.Join(from, "a"), filepath.Join(from, "b")),
		os.Symlink("a", filepath.Join(from, "c")), os.Mkdir(filepath.Join(from, "tmp"), 0o700), os.Chmod(filepath.Join(from, "tmp"), 0o1777|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	l, err := newLayer(to)
	if err != nil {
		t.Fatal(err)
	}
	l.same("var/x", from)
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	x, err := openTar(filepath.Join(to, "layer.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for name, want := range map[string]struct {
		link string
		mode int64
	}{"var/x/a": {"", 0o750}, "var/x/b": {"var/x/a", 0o750}, "var/x/c": {"a", 0o777}, "var/x/tmp": {"", 0o1777}} {
		e, ok := x.entries[name]
		if !ok || e.header.Linkname != want.link || e.header.Mode&0o7777 != want.mode {
			t.Errorf("%s: %+v, want link %q and mode %o", name, e.header, want.link, want.mode)
		}
	}
}
