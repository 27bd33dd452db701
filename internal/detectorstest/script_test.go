package detectorstest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// What is run as sh -c or by node.Sh, a literal or a constant of the package, is seen by shellcheck. Scripts of remedies are put
// together at run time: package detectors/all has those checked.
func TestShellScripts(t *testing.T) {
	const root = "../.."
	packages := map[string][]*ast.File{}
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(raw), `"-c"`) && !strings.Contains(string(raw), "Sh(") && !strings.Contains(string(raw), "const") {
			return err
		}
		f, err := parser.ParseFile(files, path, raw, 0)
		packages[filepath.Dir(path)] = append(packages[filepath.Dir(path)], f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	scripts := map[string]string{}
	for _, p := range packages {
		for _, f := range p {
			ast.Inspect(f, func(n ast.Node) bool {
				var words []ast.Expr
				switch n := n.(type) {
				case *ast.CompositeLit:
					words = n.Elts
				case *ast.CallExpr:
					words = n.Args
					if s, ok := n.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Sh" && len(words) == 1 {
						scripts[files.Position(n.Pos()).String()] = text(p, words[0])
					}
				}
				for i := range max(0, len(words)-2) {
					if text(p, words[i]) == "sh" && strings.HasSuffix(text(p, words[i+1]), "c") {
						scripts[files.Position(words[i].Pos()).String()] = text(p, words[i+2])
					}
				}
				return true
			})
		}
	}
	if len(scripts) < 5 {
		t.Fatalf("only %d scripts: %v", len(scripts), scripts)
	}
	Shellcheck(t, scripts)
}

// text is a string literal's, or that of the package's constant, else empty.
func text(files []*ast.File, e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, _ := strconv.Unquote(e.Value)
		return s
	case *ast.Ident:
		for _, f := range files {
			if o := f.Scope.Lookup(e.Name); o != nil && o.Kind == ast.Con {
				for i, name := range o.Decl.(*ast.ValueSpec).Names {
					if values := o.Decl.(*ast.ValueSpec).Values; name.Name == e.Name && i < len(values) {
						return text(files, values[i])
					}
				}
			}
		}
	}
	return ""
}
