package all_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// Detectors know illnesses, not injectors: no name or word of five letters or more that an injector writes onto a node stands in a
// string of a detector. What both need is allowed, with the reason.
func TestNoArtefactOfAnInjector(t *testing.T) {
	injected := artefacts(t)
	hits := map[string][]string{}
	for _, glob := range []string{"../*.go", "../*/*.go", "../../internal/facts/*.go"} {
		literals(t, glob, func(text, at string) {
			if isProse(text) || vocabulary(text) {
				return
			}
			for _, w := range artefactWords(text) {
				if injected[w] != "" && !slices.Contains(hits[w], at) {
					hits[w] = append(hits[w], at)
				}
			}
		})
	}
	allowed := map[string]bool{}
	for _, words := range allowedWords {
		for _, w := range strings.Fields(words) {
			allowed[w] = true
		}
	}
	for _, w := range vocabularyWords(t) {
		allowed[w] = true
	}
	var names []string
	for _, w := range slices.Sorted(maps.Keys(hits)) {
		if !allowed[w] {
			names = append(names, w)
			detectorstest.Expect(t, "artefact", w, func(t testing.TB) { t.Errorf("%q of %s stands in %s", w, injected[w], strings.Join(hits[w], ", ")) })
		}
	}
	detectorstest.Stale(t, "artefact", names)
	if len(injected) < 200 || len(hits) < 50 {
		t.Errorf("only %d words of injectors, %d of them in detectors: the sources are not read", len(injected), len(hits))
	}
}

// artefacts are the words that injectors write onto a node, each with one place where it comes from.
func artefacts(t *testing.T) map[string]string {
	words := map[string]string{}
	add := func(text, at string) {
		for _, w := range artefactWords(text) {
			words[w] = at
		}
	}
	literals(t, "../../injectors/*.go", func(text, at string) {
		if !isProse(text) {
			add(text, at)
		}
	})
	files, err := filepath.Glob("../../injectors/*.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		add(string(raw), f)
	}
	list, err := scenarios.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		for _, a := range s.Spec.Inject {
			add(fmt.Sprintln(a.Params), s.Metadata.Name)
		}
	}
	return words
}

// isProse tells text for people from names, patterns and scripts.
func isProse(text string) bool {
	return strings.Count(text, " ") >= 2 && !strings.ContainsAny(text, "\n$=;|*^[{<") && !strings.HasPrefix(text, "/")
}

// vocabulary tells a failure's or a cause's name.
func vocabulary(text string) bool {
	for _, f := range failures.All() {
		if text == f.Name || slices.ContainsFunc(f.Causes, func(c failures.Cause) bool { return text == c.Name }) {
			return true
		}
	}
	return false
}

// vocabularyWords are those with which the API describes a node, and those of the components' own messages: they are the field's.
func vocabularyWords(t *testing.T) (words []string) {
	for _, glob := range []string{"../../api/v1alpha1/*.go", "../../api/failures/*.go", "../../internal/words/*.go"} {
		files, err := filepath.Glob(glob)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", glob, err)
		}
		for _, f := range files {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			words = append(words, artefactWords(string(raw))...)
		}
	}
	return words
}

// literals hands out the strings of the sources that are no tests: what goes into errors and into sickbay's own descriptions is left out.
func literals(t *testing.T, glob string, each func(text, at string)) {
	t.Helper()
	files, err := filepath.Glob(glob)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", glob, err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, f, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ImportSpec:
				return false
			case *ast.Field:
				n.Tag = nil
			case *ast.KeyValueExpr:
				if k, ok := n.Key.(*ast.Ident); ok && slices.Contains([]string{"Doc", "Differs"}, k.Name) {
					return false
				}
			case *ast.CallExpr:
				if s, ok := n.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"Errorf", "New"}, s.Sel.Name) {
					return false
				}
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					each(text, set.Position(n.Pos()).String())
				}
			}
			return true
		})
	}
}

var (
	aWord   = regexp.MustCompile(`[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]`)
	aLetter = regexp.MustCompile(`[A-Za-z]`)
	comment = regexp.MustCompile(`(?m)^\s*#.*$`)
)

// artefactWords are the words of a text with five letters or more, and the parts of those that have several.
func artefactWords(text string) (words []string) {
	for _, w := range aWord.FindAllString(comment.ReplaceAllString(text, ""), -1) {
		for _, w := range append(strings.FieldsFunc(w, func(r rune) bool { return strings.ContainsRune("._-", r) }), w) {
			if w = strings.ToLower(w); len(aLetter.FindAllString(w, -1)) >= 5 && !slices.Contains(words, w) {
				words = append(words, w)
			}
		}
	}
	return words
}

// allowedWords are what both need beside the vocabulary, by the reason.
var allowedWords = map[string]string{
	"ordinary English":                                          `always attribute context remove trust`,
	"files that every node of a kind has":                       `ca.crt fstab kubeadm-flags.env kubelet-config`,
	"programs of every node and their options":                  `accept btrfs enable install kubeadm nsenter one-file-system printf shift sysctl umount`,
	"words of systemd and of Kubernetes":                        `containerd.service kubelet.service nodefs.available provisioner volumes`,
	"words of containerd's hosts.toml":                          `capabilities`,
	"words of CRI-O's crio.conf":                                `cgroup_manager crio.conf runtime_path`,
	"words of HTTP's status lines":                              `gateway`,
	"words of the kernel":                                       `net.bridge.bridge-nf-call-iptables`,
	"container-selinux labels this directory for containers":    `local-path-provisioner`,
	"a mode of an injector, and a remedy: no node has the word": `shadow`,
}
