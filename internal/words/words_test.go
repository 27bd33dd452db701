package words

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestEntries(t *testing.T) {
	version := regexp.MustCompile(`^(\d+\.\d+)?$`)
	for _, c := range Components() {
		if len(c.Entries) == 0 {
			t.Errorf("%s has no entries", c.Name)
		}
		for _, e := range c.Entries {
			if !strings.Contains(e.Sample, e.Text) || e.File == "" || !version.MatchString(e.Since) || !version.MatchString(e.Until) {
				t.Errorf("%s: %q is not in its sample, or lacks its file, or has no version: %+v", c.Name, e.Text, e)
			}
		}
	}
}

// Each name of this package is used where things are judged.
func TestEachIsUsed(t *testing.T) {
	names := map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
				if call, ok := v.Values[0].(*ast.CallExpr); ok {
					if fn, ok := call.Fun.(*ast.SelectorExpr); ok && fn.Sel.Name == "says" {
						names[v.Names[0].Name] = false
					}
				}
			}
			return true
		})
	}
	for _, root := range []string{"../../detectors", "../facts", "../causal"} {
		err := filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), p, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && x.Name == "words" {
						names[s.Sel.Name] = true
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	entries := 0
	for _, c := range Components() {
		entries += len(c.Entries)
	}
	if len(names) != entries {
		t.Errorf("%d names for %d entries", len(names), entries)
	}
	for name, used := range names {
		if !used {
			t.Errorf("%s: nothing looks for it", name)
		}
	}
}
