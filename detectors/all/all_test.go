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
			case strings.HasPrefix(imp, own+"detectors"), strings.HasPrefix(imp, own+"api/"), slices.Contains([]string{own + "internal/facts", own + "internal/causal", own + "internal/words", own + "internal/text", own + "internal/memo"}, imp):
			case strings.HasPrefix(imp, "k8s.io/api/"), strings.HasPrefix(imp, "k8s.io/apimachinery/"), imp == "sigs.k8s.io/yaml", imp == "al.essio.dev/pkg/shellescape":
			case !strings.Contains(domain, ".") && !slices.Contains([]string{"os", "net", "syscall", "bufio"}, domain), slices.Contains([]string{"net/url", "net/netip", "golang.org/x/net/http/httpproxy"}, imp):
			default:
				t.Errorf("%s imports %s", path, imp)
			}
		}
		return nil
	}
	for _, root := range []string{"..", "../../internal/facts", "../../internal/causal", "../../internal/words", "../../internal/text", "../../internal/memo"} {
		if err := filepath.WalkDir(root, read); err != nil {
			t.Fatal(err)
		}
	}
	if seen < 20 {
		t.Fatalf("read %d files", seen)
	}
}

// A healthy node of which a source could not be read is not ill. The node has something for each source to give.
func TestUnknownIsNotIll(t *testing.T) {
	for _, source := range append(detectorstest.Sources(), "") {
		o := detectorstest.Complete()
		before, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		detectorstest.Blank(o, source)
		unknown := o.Unknown
		o.Unknown = nil
		if after, _ := json.Marshal(o); source != "" && string(after) == string(before) {
			t.Errorf("%s gives nothing of this node, or Blank does not know it", source)
		}
		o.Unknown = unknown
		if found := all.Judge(v1alpha1.History{*o}); len(found) > 0 {
			t.Errorf("without %q: found %v", source, detectorstest.Names(found))
		}
	}
}

// A source of a look is named by its constant: a name that no look has would never be unreadable.
func TestSourcesAreConstants(t *testing.T) {
	var sources []string
	for _, source := range detectorstest.Sources() {
		sources = append(sources, regexp.QuoteMeta(strconv.Quote(source)))
	}
	named := regexp.MustCompile(`(?:Seen\([^,"]+, |Unreadable\(|TimedOut\([^,"]+, |Source: )(?:` + strings.Join(sources, "|") + `)`)
	for _, pattern := range []string{"../*/*.go", "../../internal/facts/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range named.FindAll(raw, -1) {
				t.Errorf("%s names a source by a string: %s", file, at)
			}
		}
	}
}
