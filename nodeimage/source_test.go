package nodeimage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSourceAbove(t *testing.T) {
	root := t.TempDir()
	write(t, root, "go.mod", "module "+modulePath+"\n", 0o644)
	write(t, root, "images/node/x", "", 0o644)
	// Modules in between, such as those below images, are not the project.
	write(t, root, "images/etcd/go.mod", "module "+modulePath+"/images/etcd\n", 0o644)
	for _, below := range []string{".", "cmd/sickbay", "images/etcd"} {
		dir := filepath.Join(root, below)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if got, ok := sourceAbove(dir); !ok || got != filepath.Join(root, "images") {
			t.Errorf("from %s: %q, %v", below, got, ok)
		}
	}
	if got, ok := sourceAbove(t.TempDir()); ok {
		t.Errorf("outside: %q", got)
	}
}

func TestFindSourceSaysTheWayOut(t *testing.T) {
	t.Chdir(t.TempDir())
	// A test's own program lies in a temporary folder, so neither place has a source.
	if _, err := FindSource(); err == nil || !strings.Contains(err.Error(), "--image") {
		t.Errorf("%v, want an error that names --image", err)
	}
}

func TestPinnedVersion(t *testing.T) {
	source := t.TempDir()
	for _, v := range []string{"v1.36.3", "v1.36.1", "v1.3.9"} {
		write(t, source, "kubernetes/versions/"+v+".mod", "", 0o644)
	}
	for want, versions := range map[string][]string{
		DefaultVersion: {"", DefaultVersion, strings.TrimPrefix(DefaultVersion, "v"), "1.37", "v1.37"},
		"v1.36.3":      {"1.36", "v1.36", "1.36.3"},
		"v1.36.1":      {"v1.36.1"},
		"v1.3.9":       {"1.3"},
	} {
		for _, v := range versions {
			if got, err := pinnedVersion(source, v); err != nil || got != want {
				t.Errorf("%q: %q, %v, want %q", v, got, err, want)
			}
		}
	}
	if _, err := pinnedVersion(source, "1.35"); err == nil || !strings.Contains(err.Error(), "v1.36.3") {
		t.Errorf("not pinned: %v, want an error that lists what is", err)
	}
}

// The project's own versions: the default's go.mod must say what the constant says, and every pinned version must have
// its checksums.
func TestPinnedVersionsOfTheProject(t *testing.T) {
	source, err := FindSource()
	if err != nil {
		t.Fatal(err)
	}
	all, err := Versions(source)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 2 {
		t.Errorf("pinned: %v, want a second version", all)
	}
	for _, v := range all {
		file := modfileOf(v)
		if file == "" {
			file = "go.mod"
		}
		mod, err := os.ReadFile(filepath.Join(source, "kubernetes", file))
		if err != nil {
			t.Fatal(err)
		}
		sum, err := os.ReadFile(filepath.Join(source, "kubernetes", strings.TrimSuffix(file, ".mod")+".sum"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(mod), "k8s.io/kubernetes "+v+"\n") || !strings.Contains(string(sum), "k8s.io/kubernetes "+v+" h1:") {
			t.Errorf("%s does not pin Kubernetes %s with its checksum", file, v)
		}
	}
}

// Ref must be the same twice and name the version.
func TestPlanIsStable(t *testing.T) {
	spec, err := Spec{CacheDir: t.TempDir()}.complete()
	if err != nil {
		t.Fatal(err)
	}
	key := func(s Spec) string {
		t.Helper()
		p, err := newPlan(t.Context(), s)
		if err != nil {
			t.Skipf("no plan on this machine: %v", err)
		}
		for _, a := range p.all() {
			if len(a.key) != 64 {
				t.Errorf("part %s has key %q", a.name, a.key)
			}
			for _, b := range a.after {
				if indexOf(p.all(), b) > indexOf(p.all(), a) {
					t.Errorf("%s is listed before %s, which it needs", a.name, b.name)
				}
			}
		}
		return p.ref()
	}
	first := key(spec)
	if second := key(spec); first != second {
		t.Errorf("two names for one image: %s and %s", first, second)
	}
	if !strings.HasPrefix(first, Repository+":"+DefaultVersion+"-") {
		t.Errorf("image is called %s", first)
	}
	other := spec
	if other.Version, err = pinnedVersion(spec.Source, "1.36"); err != nil {
		t.Fatal(err)
	}
	if got := key(other); got == first || !strings.Contains(got, ":"+other.Version+"-") {
		t.Errorf("another version is called %s", got)
	}
}

func indexOf(all []*part, p *part) int {
	for i, a := range all {
		if a == p {
			return i
		}
	}
	return -1
}
