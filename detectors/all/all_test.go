package all_test

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

// Steps are made by package detectors alone, which classes them.
func TestStepsHaveAConstructor(t *testing.T) {
	literal := regexp.MustCompile(`(v1alpha1\.Step\{\s*\w+:|\{(Run|Exec|Restore):)`)
	for _, root := range []string{"../../detectors", "../../internal", "../../suites", "../../cmd"} {
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") || p == "../../detectors/remedy.go" {
				return err
			}
			raw, err := os.ReadFile(p)
			if m := literal.Find(raw); m != nil && strings.Contains(string(raw), "v1alpha1.Step{") {
				t.Errorf("%s makes a step by itself: %s", p, m)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The list of detectors, the folders and the vocabulary are the same, in the order of the guide.
func TestFolders(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	var folders, listed, wanted []string
	for _, e := range entries {
		if e.IsDir() && !slices.Contains([]string{"all", "facts", "detectorstest"}, e.Name()) {
			folders = append(folders, e.Name())
		}
	}
	for _, d := range all.Detectors() {
		listed = append(listed, d.Failure)
	}
	for _, f := range failures.All() {
		wanted = append(wanted, f.Name)
	}
	if !slices.Equal(listed, wanted) {
		t.Errorf("detectors %v, vocabulary %v", listed, wanted)
	}
	slices.Sort(wanted)
	if !slices.Equal(folders, wanted) {
		t.Errorf("folders %v, vocabulary %v", folders, wanted)
	}
}

// Detectors judge observations and know nothing else of the project: no injector, scenario or transport; and they do no I/O.
func TestImports(t *testing.T) {
	const own = "github.com/sickbay-dev/sickbay/"
	seen := 0
	read := func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		seen++
		for _, spec := range file.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			domain, _, _ := strings.Cut(imp, "/")
			switch {
			case strings.HasPrefix(imp, own+"detectors"), strings.HasPrefix(imp, own+"api/"), slices.Contains([]string{own + "internal/facts", own + "internal/causal", own + "internal/text"}, imp):
			case strings.HasPrefix(imp, "k8s.io/api/"), strings.HasPrefix(imp, "k8s.io/apimachinery/"), imp == "sigs.k8s.io/yaml", imp == "al.essio.dev/pkg/shellescape":
			case !strings.Contains(domain, ".") && !slices.Contains([]string{"os", "net", "syscall", "bufio"}, domain), imp == "net/url":
			default:
				t.Errorf("%s imports %s", path, imp)
			}
		}
		return nil
	}
	for _, root := range []string{"..", "../../internal/facts", "../../internal/causal", "../../internal/text"} {
		if err := filepath.WalkDir(root, read); err != nil {
			t.Fatal(err)
		}
	}
	if seen < 20 {
		t.Fatalf("read %d files", seen)
	}
}

// A healthy node of which parts could not be read is not ill.
func TestUnknownIsNotIll(t *testing.T) {
	sources := []string{v1alpha1.SourceUnits, v1alpha1.SourceJournal, v1alpha1.SourceKubelet, v1alpha1.SourceKubeletAPI, v1alpha1.SourceStatus, v1alpha1.SourceSandboxes,
		v1alpha1.SourceContainers, v1alpha1.SourceImages, v1alpha1.SourceFilesystems, v1alpha1.SourceProcesses, v1alpha1.SourceCgroups, v1alpha1.SourceCerts,
		v1alpha1.SourceCNI, v1alpha1.SourceRegistries, v1alpha1.SourceKmsg, v1alpha1.SourceNetwork, v1alpha1.SourceAPI, "kubelet.kubeconfig", "pluginSockets", "security", "files"}
	for _, s := range sources {
		o := detectorstest.Healthy()
		switch s {
		case v1alpha1.SourceUnits:
			o.Units = nil
		case v1alpha1.SourceStatus:
			o.Runtime.Conditions, o.Runtime.Handlers, o.Runtime.LastCNILoad = nil, nil, ""
		case v1alpha1.SourceSandboxes:
			o.Runtime.Sandboxes = nil
		case v1alpha1.SourceContainers:
			o.Runtime.Containers = nil
		case v1alpha1.SourceFilesystems:
			o.Filesystems = nil
		case v1alpha1.SourceProcesses:
			o.Processes = nil
		case v1alpha1.SourceCNI:
			o.CNI = v1alpha1.CNI{}
		case v1alpha1.SourceNetwork:
			o.Network = v1alpha1.Network{}
		case v1alpha1.SourceAPI:
			o.API = nil
		case v1alpha1.SourceCerts:
			o.Certs = nil
		case "kubelet.kubeconfig":
			o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{}
		case v1alpha1.SourceKubelet:
			o.Kubelet.Config, o.Kubelet.ConfigSource = v1alpha1.KubeletConfig{}, ""
		}
		detectorstest.Unknown(o, "gave no answer within 1.5 s", s)
		if found := all.Judge(v1alpha1.History{*o}); len(found) > 0 {
			t.Errorf("%s unreadable: found %v", s, detectorstest.Names(found))
		}
	}
}

// Recorded bundles: testdata/<name>/want.txt lists the findings, one "node:failure/cause" a line (none for a healthy node), and
// testdata/<name>/nodes/<node>.json holds each node's History, as bundles do.
func TestRecordedBundles(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/nodes")
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) == 0 {
		t.Skip("no bundle is recorded in testdata yet")
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(filepath.Dir(dir)), func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "want.txt"))
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Fields(string(raw))
			files, err := filepath.Glob(filepath.Join(dir, "*.json"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no node in %s: %v", dir, err)
			}
			var got []string
			var found []v1alpha1.Finding
			for _, file := range files {
				raw, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				var h v1alpha1.History
				if err := json.Unmarshal(raw, &h); err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				f := all.Judge(h)
				found = append(found, f...)
				for _, n := range detectorstest.Names(f) {
					got = append(got, strings.TrimSuffix(filepath.Base(file), ".json")+":"+n)
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("found %v, want %v\n%s", got, want, detectorstest.Describe(found))
			}
		})
	}
}
