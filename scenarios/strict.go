package scenarios

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// document is the syntax tree of one file with what was found wrong in it. The tree is checked against the Go types before
// it is decoded: the decoder stops at its first error, turns `True` into "true" without a word, and knows no nearest name.
type document struct {
	file   string
	lines  []string
	values map[string]ast.Node     // by path, such as $.spec.inject[0].mechanism
	keys   map[string]*token.Token // the key token of each mapping entry, by the path of its value
	errs   []Problem
}

var (
	durationType = reflect.TypeFor[v1alpha1.Duration]()
	rawType      = reflect.TypeFor[json.RawMessage]()
)

// structure checks a node against a Go type and notes where every value stands.
func (d *document) structure(path string, n ast.Node, t reflect.Type) {
	n = plain(n)
	d.values[path] = n
	if n == nil || n.Type() == ast.NullType {
		d.errorf(path, "%s is empty", last(path))
		return
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == durationType {
		d.duration(path, n)
		return
	}
	if t == rawType {
		d.free(path, n)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		d.structFields(path, n, t)
	case reflect.Map:
		for _, e := range d.entries(path, n) {
			d.structure(path+"."+e.name, e.value, t.Elem())
		}
	case reflect.Slice:
		seq, ok := n.(*ast.SequenceNode)
		if !ok {
			d.errorf(path, "%s must be a list, not %s", last(path), kindOf(n))
			return
		}
		for i, v := range seq.Values {
			d.structure(fmt.Sprintf("%s[%d]", path, i), v, t.Elem())
		}
	case reflect.Interface:
		d.free(path, n)
	default:
		if want, ok := scalars[t.Kind()]; ok && !slices.Contains(want.types, n.Type()) {
			d.errorf(path, want.wrong, last(path), kindOf(n))
		}
	}
}

// scalars are the nodes that a value of a Go kind may be, and what is said of others.
var scalars = func() map[reflect.Kind]scalar {
	whole := scalar{[]ast.NodeType{ast.IntegerType}, "%s must be a whole number, not %s"}
	return map[reflect.Kind]scalar{
		reflect.String:  {[]ast.NodeType{ast.StringType, ast.LiteralType}, "%s must be a string, not %s: put it in quotes"},
		reflect.Bool:    {[]ast.NodeType{ast.BoolType}, "%s must be true or false, not %s"},
		reflect.Float64: {[]ast.NodeType{ast.FloatType, ast.IntegerType}, "%s must be a number, not %s"},
		reflect.Int:     whole, reflect.Int32: whole, reflect.Int64: whole, reflect.Uint32: whole, reflect.Uint64: whole,
	}
}()

type scalar struct {
	types []ast.NodeType
	wrong string
}

func (d *document) structFields(path string, n ast.Node, t reflect.Type) {
	fields := fieldsOf(t)
	misspelt := map[string]bool{} // already told under the name it was given
	for _, e := range d.entries(path, n) {
		f, ok := fields.types[e.name]
		if !ok {
			where := "the document"
			if path != "$" {
				where = strings.TrimPrefix(path, "$.")
			}
			near := nearest(e.name, fields.names)
			misspelt[near] = true
			d.problem(e.key, fmt.Sprintf("unknown field %q in %s", e.name, where), near)
			continue
		}
		d.structure(path+"."+e.name, e.value, f)
	}
	for _, name := range fields.required {
		if _, ok := d.values[path+"."+name]; !ok && !misspelt[name] {
			d.errorf(path, "%s lacks the field %q", last(path), name)
		}
	}
}

// free notes the positions inside a value whose type only its mechanism knows.
func (d *document) free(path string, n ast.Node) {
	switch v := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		for _, e := range d.entries(path, v) {
			d.values[path+"."+e.name] = e.value
			d.free(path+"."+e.name, plain(e.value))
		}
	case *ast.SequenceNode:
		for i, e := range v.Values {
			p := fmt.Sprintf("%s[%d]", path, i)
			d.values[p] = e
			d.free(p, plain(e))
		}
	}
}

type entry struct {
	name  string
	key   *token.Token
	value ast.Node
}

func (d *document) entries(path string, n ast.Node) []entry {
	var pairs []*ast.MappingValueNode
	switch v := n.(type) {
	case *ast.MappingNode:
		pairs = v.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{v}
	default:
		d.errorf(path, "%s must be a mapping of fields, not %s", last(path), kindOf(n))
		return nil
	}
	var out []entry
	for _, p := range pairs {
		if p.Key.IsMergeKey() {
			d.problem(p.Key.GetToken(), "merge keys are not taken: write the fields out", "")
			continue
		}
		name := p.Key.GetToken().Value
		d.keys[path+"."+name] = p.Key.GetToken()
		out = append(out, entry{name, p.Key.GetToken(), p.Value})
	}
	return out
}

func (d *document) duration(path string, n ast.Node) {
	if n.Type() != ast.StringType {
		d.errorf(path, "%s must be a duration such as 90s or 5m, not %s", last(path), kindOf(n))
		return
	}
	v, err := time.ParseDuration(n.GetToken().Value)
	switch {
	case err != nil:
		d.errorf(path, "%s: %q is no duration: write it like 90s, 5m or 1h30m", last(path), n.GetToken().Value)
	case v <= 0:
		d.errorf(path, "%s: %s is impossible: a duration must be above zero", last(path), n.GetToken().Value)
	case v > maxDuration:
		d.errorf(path, "%s: %s is impossible: no step may take longer than %s", last(path), n.GetToken().Value, maxDuration)
	}
}

// plain follows anchors and tags down to the value.
func plain(n ast.Node) ast.Node {
	for {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.TagNode:
			n = v.Value
		default:
			return n
		}
	}
}

func kindOf(n ast.Node) string {
	switch n.Type() {
	case ast.MappingType, ast.MappingValueType:
		return "a mapping"
	case ast.SequenceType:
		return "a list"
	case ast.StringType, ast.LiteralType:
		return "a string"
	case ast.BoolType:
		return "the boolean " + n.GetToken().Value
	case ast.IntegerType, ast.FloatType:
		return "the number " + n.GetToken().Value
	case ast.NullType:
		return "nothing"
	case ast.AliasType:
		return "an alias (aliases are not taken)"
	}
	return n.Type().String()
}

type structFields struct {
	types    map[string]reflect.Type
	names    []string
	required []string // without omitempty
}

func fieldsOf(t reflect.Type) structFields {
	out := structFields{types: map[string]reflect.Type{}}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || tag == "-" || tag == "" {
			continue
		}
		out.types[tag] = f.Type
		out.names = append(out.names, tag)
		if !strings.Contains(opts, "omitempty") && !strings.Contains(opts, "omitzero") {
			out.required = append(out.required, tag)
		}
	}
	return out
}

// last is the final name of a path, for messages.
func last(path string) string {
	if path == "$" {
		return "the document"
	}
	return path[strings.LastIndexByte(path, '.')+1:]
}

// maxDuration bounds every step: the longest fixed timer of the field is PLEG's three minutes plus a five-minute eviction
// transition, so an hour is already a mistake in the file.
const maxDuration = time.Hour
