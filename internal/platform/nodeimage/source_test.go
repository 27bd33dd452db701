package nodeimage

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/internal/pack"
	"github.com/sickbay-dev/sickbay/internal/trusted"
)

// What is packed into the program is the tree that it was built from: the parts made of it have the same keys.
func TestPackedSourceIsTheTree(t *testing.T) {
	source, err := FindSource()
	if err != nil {
		t.Fatal(err)
	}
	var b, again bytes.Buffer
	for _, b := range []*bytes.Buffer{&b, &again} {
		if err := pack.Files(b, filepath.Dir(source), "go.mod", "go.sum", "images"); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Error("packed twice the bytes differ")
	}
	packed = b.Bytes()
	defer func() { packed = nil }()
	t.Setenv("SICKBAY_CACHE", t.TempDir())
	var unpacked string
	for range 2 {
		if unpacked, err = FindSource(); err != nil || unpacked == source {
			t.Fatal(unpacked, err)
		}
	}
	ownTree = func() (string, error) { return filepath.Dir(source), nil }
	defer func() { ownTree = trusted.Own }()
	if got, err := FindSource(); err != nil || got != source {
		t.Errorf("what is changed in the program's own tree is not built: %q, %v", got, err)
	}
	ownTree = func() (string, error) { return filepath.Dir(source), errors.New("not used") }
	if got, err := FindSource(); err != nil || got != unpacked {
		t.Errorf("a tree that others may write to: %q, %v", got, err)
	}
	for _, dir := range []string{".", "node", "kubernetes"} {
		want, err := hashTree(filepath.Join(source, dir))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := hashTree(filepath.Join(unpacked, dir)); err != nil || got != want {
			t.Errorf("%s differs: %s and %s, %v", dir, got, want, err)
		}
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(unpacked), "go.mod")); err != nil {
		t.Error("kind's files are looked for by the module's go.mod:", err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("SICKBAY_CACHE"), "image", ".source-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.Chmod(filepath.Join(os.Getenv("SICKBAY_CACHE"), "image"), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := FindSource(); err == nil {
		t.Error("a source that anybody could have put into the cache is used")
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
	write(t, source, "kubernetes/go.mod", "module x\n\nrequire (\n\tk8s.io/client-go v0.37.2\n\tk8s.io/kubernetes "+DefaultVersion+"\n)\n", 0o644)
	for _, v := range []string{"v1.36.3", "v1.36.10", "v1.3.9"} {
		write(t, source, "kubernetes/versions/"+v+".mod", "", 0o644)
	}
	for want, versions := range map[string][]string{
		DefaultVersion: {"", DefaultVersion, strings.TrimPrefix(DefaultVersion, "v"), "1.37", "v1.37"},
		"v1.36.3":      {"v1.36.3", "1.36.3"},
		"v1.36.10":     {"1.36", "v1.36", "1.36.10"}, // the newest, and ten is more than three
		"v1.3.9":       {"1.3"},
	} {
		for _, v := range versions {
			if got, err := pinnedVersion(source, v); err != nil || got != want {
				t.Errorf("%q: %q, %v, want %q", v, got, err, want)
			}
		}
	}
	var request *NotPinnedError
	if _, err := pinnedVersion(source, "1.35"); !errors.As(err, &request) || request.ExitCode() != 2 || !strings.Contains(err.Error(), "v1.36.3") {
		t.Errorf("not pinned: %v, want a wrong request that lists what is", err)
	}
}

// The version is one line to change: whichever of the pinned ones it names, its own dependencies are used.
func TestDefaultNeedNotBeWhatTheModulePins(t *testing.T) {
	source := t.TempDir()
	write(t, source, "kubernetes/go.mod", "module x\n\nrequire k8s.io/client-go v0.38.0\n\nrequire (\n\tk8s.io/kubernetes v1.38.0\n)\n", 0o644)
	if _, err := pinnedVersion(source, ""); err == nil || !strings.Contains(err.Error(), DefaultVersion) || !strings.Contains(err.Error(), "versions/pin adds one") {
		t.Errorf("a default that is nowhere pinned: %v", err)
	}
	write(t, source, "kubernetes/versions/"+DefaultVersion+".mod", "", 0o644)
	if v, err := pinnedVersion(source, ""); err != nil || v != DefaultVersion {
		t.Errorf("%q, %v", v, err)
	}
	for version, want := range map[string]string{DefaultVersion: "versions/" + DefaultVersion + ".mod", "v1.38.0": ""} {
		if got, err := modfileOf(source, version); err != nil || got != want {
			t.Errorf("%s is pinned by %q, %v; want %q", version, got, err, want)
		}
	}
	if all, err := Versions(source); err != nil || !slices.Equal(all, []string{DefaultVersion, "v1.38.0"}) {
		t.Errorf("%q, %v", all, err)
	}
}

// The project's own versions: every one must be pinned by the file that is used for it, with its checksums.
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
		file, err := modfileOf(source, v)
		if err != nil {
			t.Fatal(err)
		}
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
			if len(a.Key) != 64 {
				t.Errorf("part %s has key %q", a.Name, a.Key)
			}
			for _, b := range a.after {
				if indexOf(p.all(), b) > indexOf(p.all(), a) {
					t.Errorf("%s is listed before %s, which it needs", a.Name, b.Name)
				}
			}
		}
		// Packages that were taken at another time make another image, and the recipe finds either.
		dir := p.cache.path(p.rootfs)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		var refs []string
		for _, list := range []string{"bash 1 amd64\n", "bash 2 amd64\n", "bash 1 amd64\n"} {
			if err := os.WriteFile(filepath.Join(dir, packagesFile), []byte(list), 0o644); err != nil {
				t.Fatal(err)
			}
			ref, err := p.ref()
			if err != nil {
				t.Fatal(err)
			}
			refs = append(refs, ref)
		}
		if refs[0] == refs[1] || refs[0] != refs[2] {
			t.Errorf("images of two versions of a package are called %v", refs)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if ref, err := p.ref(); err == nil {
			t.Errorf("without packages it is called %s", ref)
		}
		return refs[0]
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

// The smaller modules are compiled after Kubernetes and from the same versions of what they share with it: its API machinery, two
// minutes on two cores, is then compiled once.
func TestModulesShareVersions(t *testing.T) {
	source, err := FindSource()
	if err != nil {
		t.Fatal(err)
	}
	versions := func(module string) map[string]string {
		cmd := exec.Command("go", "mod", "edit", "-json")
		cmd.Dir = filepath.Join(source, module)
		data, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", module, err)
		}
		type version struct{ Path, Version string }
		var file struct {
			Require []version
			Replace []struct{ Old, New version }
		}
		if err := json.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, r := range file.Require {
			out[r.Path] = r.Version
		}
		for _, r := range file.Replace {
			out[r.Old.Path] = r.New.Version
		}
		return out
	}
	kubernetes := versions("kubernetes")
	delete(kubernetes, "github.com/coredns/caddy") // kubeadm reads Corefiles with an older one
	for _, module := range []string{"addons", "coredns", "etcd"} {
		for path, v := range versions(module) {
			if want, ok := kubernetes[path]; ok && v != want {
				t.Errorf("images/%s: %s is %s, in images/kubernetes %s: go mod edit -require=%s@%s && go mod tidy", module, path, v, want, path, want)
			}
		}
	}
}
