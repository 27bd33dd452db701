package injectors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sickbay-dev/sickbay/internal/text"
)

var unknownField = regexp.MustCompile(`unknown field "([^"]+)"`)

// Decode reads parameters strictly into a fresh struct of the mechanism and checks their values.
func (m Mechanism) Decode(params json.RawMessage) (Params, error) {
	p := m.New()
	if len(bytes.TrimSpace(params)) > 0 {
		dec := json.NewDecoder(bytes.NewReader(params))
		dec.DisallowUnknownFields()
		if err := dec.Decode(p); err != nil {
			if f := unknownField.FindStringSubmatch(err.Error()); f != nil {
				return nil, fmt.Errorf("%s has no parameter %q%s", m.Name, f[1], text.DidYouMean(f[1], fieldNames(reflect.TypeOf(p))))
			}
			return nil, fmt.Errorf("parameters of %s: %w", m.Name, err)
		}
		if _, err := dec.Token(); err != io.EOF {
			return nil, fmt.Errorf("parameters of %s: more than one JSON value", m.Name)
		}
	}
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("parameters of %s: %w", m.Name, err)
	}
	return p, nil
}

// fieldNames lists the JSON names of a struct's fields, of structs within it too.
func fieldNames(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if name != "" {
			out = append(out, name)
		}
		out = append(out, fieldNames(f.Type)...)
	}
	return out
}

// Size is a number of bytes as Kubernetes writes them: "300Mi", "1Gi", "4096".
type Size string

// Bytes is the size as a number; the empty size is 0.
func (s Size) Bytes() (int64, error) {
	if s == "" {
		return 0, nil
	}
	q, err := resource.ParseQuantity(string(s))
	if n := q.Value(); err == nil && n >= 0 && n <= 1<<50 {
		return n, nil
	}
	return 0, fmt.Errorf("size %q: want a number with Ki, Mi, Gi, k, M or G, such as 300Mi", string(s))
}
