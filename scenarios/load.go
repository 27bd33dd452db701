package scenarios

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/bounds"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// A scenario's own folder, and shared/ with manifests that several use as templates.
//
//go:embed */*.yaml
var embedded embed.FS

// FileName is the name of a scenario's document in its folder.
const FileName = "scenario.yaml"

// Scenario is a scenario document and the folder that it was read from.
type Scenario struct {
	v1alpha1.Scenario

	// Dir is the scenario's folder inside the embedded tree or on disk; not part of the document.
	Dir string `json:"-" yaml:"-"`
	// Vocabulary is the scenario's own, nil where it has none.
	Vocabulary *v1alpha1.Vocabulary `json:"-" yaml:"-"`

	files fs.FS
	file  string // the document's name in files

	// Unsupported is why the fault cannot exist on the nodes for which the scenario was put into other words, see On.
	Unsupported string `json:"-" yaml:"-"`

	foreign bool   // it does not come with sickbay
	on      string // the runtime for which it was put into other words
}

// NotFoundError is a scenario name that does not exist, with the names that may have been meant.
type NotFoundError struct {
	Name    string
	Nearest []string
}

func (e *NotFoundError) Error() string {
	switch len(e.Nearest) {
	case 0:
		return fmt.Sprintf("there is no scenario %q: `sickbay list` shows them all", e.Name)
	default:
		return fmt.Sprintf("there is no scenario %q; did you mean %s?", e.Name, strings.Join(e.Nearest, " or "))
	}
}

var loadAll = sync.OnceValues(func() ([]Scenario, error) {
	files, err := fs.Glob(embedded, "*/"+FileName)
	if err != nil {
		return nil, err
	}
	sort.Strings(files)
	var out []Scenario
	for _, f := range files {
		dir, err := fs.Sub(embedded, path.Dir(f))
		if err != nil {
			return nil, err
		}
		s, err := load(dir, "scenarios/"+path.Dir(f))
		if err != nil {
			return nil, err
		}
		if s.Metadata.Name != path.Base(path.Dir(f)) {
			return nil, fmt.Errorf("scenarios/%s: metadata.name is %q; it must be the folder's name", f, s.Metadata.Name)
		}
		out = append(out, *s)
	}
	return out, nil
})

// All returns the scenarios that come with sickbay, by name.
func All() ([]Scenario, error) {
	all, err := loadAll()
	return append([]Scenario(nil), all...), err
}

// Names lists the scenarios that come with sickbay; it reads folder names only, so completion is quick and works even
// when a file is broken.
func Names() []string {
	files, _ := fs.Glob(embedded, "*/"+FileName)
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = path.Dir(f)
	}
	sort.Strings(names)
	return names
}

// Lookup finds a scenario that comes with sickbay. An unknown name is a *NotFoundError.
func Lookup(name string) (*Scenario, error) {
	all, err := loadAll()
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Metadata.Name == name {
			s := all[i]
			return &s, nil
		}
	}
	return nil, &NotFoundError{Name: name, Nearest: text.Nearest(name, Names(), 3)}
}

// Load reads a scenario from a file or from a folder that holds a scenario.yaml. What is wrong with its content is an
// *Error with file, line and column.
func Load(file string) (*Scenario, error) {
	if fi, err := os.Stat(file); err == nil && fi.IsDir() {
		file = filepath.Join(file, FileName)
	}
	s, err := loadFile(os.DirFS(filepath.Dir(file)), filepath.Base(file), file, filepath.Dir(file))
	if s != nil {
		s.foreign = true
	}
	return s, err
}

// LoadFS reads the scenario.yaml of a folder; shown is the folder's name for messages.
func LoadFS(dir fs.FS, shown string) (*Scenario, error) { return load(dir, shown) }

// Find takes what a user typed: a path when it looks like one, else a name.
func Find(arg string) (*Scenario, error) {
	if IsPath(arg) {
		return Load(arg)
	}
	return Lookup(arg)
}

// IsPath tells whether an argument is meant as a file rather than a scenario's name.
func IsPath(arg string) bool {
	return strings.ContainsAny(arg, `/\`) || strings.HasSuffix(arg, ".yaml") || strings.HasSuffix(arg, ".yml") || arg == "."
}

// Files is what another sickbay needs to run the scenario: the document, whose name is the first result, and the YAML files beside it,
// by name.
func (s *Scenario) Files() (document string, files map[string][]byte, err error) {
	if s.files == nil {
		return "", nil, fmt.Errorf("scenario %s was not loaded from a folder", s.Metadata.Name)
	}
	files = map[string][]byte{}
	for _, ext := range []string{"*.yaml", "*.yml"} {
		names, err := fs.Glob(s.files, ext)
		if err != nil {
			return "", nil, err
		}
		for _, n := range names {
			if files[n], err = ReadFile(s.files, n); err != nil {
				return "", nil, fmt.Errorf("read what stands beside scenario %s: %w", s.Metadata.Name, err)
			}
		}
	}
	return s.file, files, nil
}

// maxFile bounds a scenario's document and each manifest beside it: the largest here has 2 kB.
const maxFile = 256 << 10

// ReadFile reads a file of a scenario's folder, which may be anybody's: it waits for no pipe.
func ReadFile(dir fs.FS, name string) ([]byte, error) {
	fi, err := fs.Stat(dir, name)
	if err == nil {
		err = bounds.Stat(fi, maxFile)
	}
	var f fs.File
	if err == nil {
		f, err = dir.Open(name)
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return bounds.ReadAll(f, maxFile)
}

func load(dir fs.FS, shown string) (*Scenario, error) {
	return loadFile(dir, FileName, shown+"/"+FileName, shown)
}

func loadFile(dir fs.FS, name, shown, shownDir string) (*Scenario, error) {
	data, err := ReadFile(dir, name)
	if err != nil {
		return nil, fmt.Errorf("read scenario %s: %w", shown, err)
	}
	s, err := parse(data, shown, dir)
	if err != nil {
		return nil, err
	}
	s.Dir, s.files, s.file = shownDir, dir, name
	return s, nil
}

// Parse reads a scenario document. file is the name for messages. The scenario's workload manifest is not looked for.
func Parse(data []byte, file string) (*Scenario, error) { return parse(data, file, nil) }

func parse(data []byte, file string, dir fs.FS) (*Scenario, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // Windows' editors
	var s Scenario
	d, err := decode(data, file, "scenario", &s.Scenario)
	if err != nil {
		return nil, err
	}
	for list, actions := range map[string][]v1alpha1.Action{"prepare": s.Spec.Prepare, "inject": s.Spec.Inject} {
		for i := range actions {
			if tk := d.token(fmt.Sprintf("$.spec.%s[%d]", list, i)); tk != nil {
				actions[i].Line = tk.Position.Line
			}
		}
	}
	d.semantics(&s, dir)
	return &s, d.err()
}

// decode reads a file with one document into a value of its type, strictly.
func decode[T any](data []byte, file, what string, into *T) (*document, error) {
	d := &document{
		file:   file,
		lines:  strings.Split(string(data), "\n"),
		values: map[string]ast.Node{},
		keys:   map[string]*token.Token{},
	}
	if line := tooDeep(data); line > 0 {
		d.errs = append(d.errs, Problem{File: file, Line: line, Column: 1, Message: fmt.Sprintf("it is nested more than %d levels deep", maxNesting)})
		return nil, d.err()
	}
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, d.syntax(err)
	}
	docs := tree.Docs[:0]
	for _, doc := range tree.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.CommentType {
			docs = append(docs, doc)
		}
	}
	switch {
	case len(docs) == 0:
		d.problem(nil, "the file is empty: a "+what+" needs apiVersion, kind, metadata and spec", "")
		return nil, d.err()
	case len(docs) > 1:
		d.problem(first(docs[1].Body.GetToken(), true), "one file holds one "+what+"; this is a second document", "")
		return nil, d.err()
	}
	switch body := plain(docs[0].Body); body.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default: // one mistake, one problem: each field that is missing would be another
		d.problem(first(body.GetToken(), true), "a "+what+" must be a mapping of fields, not "+kindOf(body), "")
		return nil, d.err()
	}
	d.structure("$", docs[0].Body, reflect.TypeFor[T]())
	if len(d.errs) > 0 {
		return nil, d.err()
	}
	if err := yaml.NodeToValue(docs[0].Body, into, yaml.Strict()); err != nil {
		return nil, d.syntax(err)
	}
	return d, nil
}

// Unmarshal reads a file of another kind than a scenario, as strictly. What is wrong with it is an *Error, with its place.
func Unmarshal[T any](data []byte, file, kind string, into *T) error {
	var is struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	// What it is comes first: of another document's fields each would be unknown.
	if err := k8syaml.Unmarshal(data, &is); err == nil && (is.APIVersion != v1alpha1.APIVersion || is.Kind != kind) {
		return &Error{[]Problem{{File: file, Message: fmt.Sprintf("it is a %q %q: want %s %s", is.APIVersion, is.Kind, v1alpha1.APIVersion, kind)}}}
	}
	_, err := decode(data, file, kind, into)
	return err
}

// syntax is an error of the YAML parser with its place.
func (d *document) syntax(err error) error {
	var ye yaml.Error
	if errors.As(err, &ye) {
		d.problem(ye.GetToken(), ye.GetMessage(), "")
	} else {
		d.problem(nil, err.Error(), "")
	}
	return d.err()
}

// maxNesting of brackets and of list dashes on one line: the parser takes a time that grows with the square of their number.
const maxNesting = 64

// tooDeep is the line on which a document is nested too deep, 0 where it is not. It takes brackets within texts for brackets.
func tooDeep(data []byte) int {
	depth, line, dashes := 0, 1, 0
	begins := true // nothing but dashes and spaces so far on this line
	for _, c := range data {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		case '\n':
			line, dashes, begins = line+1, 0, true
			continue
		}
		if begins = begins && (c == '-' || c == ' ' || c == '?'); begins && c != ' ' {
			dashes++
		}
		if depth > maxNesting || dashes > maxNesting && begins {
			return line
		}
	}
	return 0
}

func (d *document) err() error {
	if len(d.errs) == 0 {
		return nil
	}
	sort.SliceStable(d.errs, func(i, j int) bool { return d.errs[i].Line < d.errs[j].Line })
	return &Error{Problems: d.errs}
}
