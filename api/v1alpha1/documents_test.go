package v1alpha1_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

var update = flag.Bool("update", false, "write testdata/*.fields anew")

// documents are all kinds that people exchange.
var documents = []any{
	v1alpha1.Scenario{}, v1alpha1.Lab{}, v1alpha1.Observation{}, v1alpha1.Bundle{}, v1alpha1.Finding{}, v1alpha1.Diagnosis{}, v1alpha1.Report{},
	v1alpha1.ReportDiff{}, v1alpha1.ConformanceReport{},
	v1alpha1.DetectorRequest{}, v1alpha1.Mapping{}, v1alpha1.Profile{}, v1alpha1.Vocabulary{}, v1alpha1.KnownFailures{},
}

// TestRoundTrip: a document with a value in every field is the same after JSON and after YAML.
func TestRoundTrip(t *testing.T) {
	for _, d := range documents {
		typ := reflect.TypeOf(d)
		t.Run(typ.Name(), func(t *testing.T) {
			n := 0
			want := filled(typ, &n).Interface()
			for form, codec := range map[string]struct {
				write func(any) ([]byte, error)
				read  func([]byte, any) error
			}{
				"json": {json.Marshal, json.Unmarshal},
				"yaml": {yaml.Marshal, func(b []byte, into any) error { return yaml.UnmarshalStrict(b, into) }},
			} {
				raw, err := codec.write(want)
				if err != nil {
					t.Fatal(form, err)
				}
				got := reflect.New(typ)
				if err := codec.read(raw, got.Interface()); err != nil {
					t.Fatal(form, err)
				}
				if !reflect.DeepEqual(got.Elem().Interface(), want) {
					t.Errorf("%s: read back differs\n got %+v\nwant %+v", form, got.Elem().Interface(), want)
				}
			}
		})
	}
}

// TestFieldNames: a field's name is a promise. One that is renamed or removed has to be taken out of testdata by hand.
func TestFieldNames(t *testing.T) {
	for _, d := range documents {
		typ := reflect.TypeOf(d)
		t.Run(typ.Name(), func(t *testing.T) {
			got := strings.Join(fields(typ, "", nil), "\n") + "\n"
			file := filepath.Join("testdata", typ.Name()+".fields")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			have, promised := strings.Split(got, "\n"), strings.Split(string(raw), "\n")
			for _, f := range promised {
				if !slices.Contains(have, f) {
					t.Errorf("%s is promised by %s and is gone", f, file)
				}
			}
			for _, f := range have {
				if !slices.Contains(promised, f) {
					t.Errorf("%s is new: go test ./api/v1alpha1 -update", f)
				}
			}
		})
	}
}

// ours tells a type of this package from a foreign one, whose fields are others' to keep.
func ours(t reflect.Type) bool { return strings.HasSuffix(t.PkgPath(), "/api/v1alpha1") }

// filled is a value of a type with something in every field that is written.
func filled(t reflect.Type, n *int) reflect.Value {
	*n++
	v := reflect.New(t).Elem()
	switch {
	case t == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2026, 11, 29, 12, 0, *n%60, 0, time.UTC)))
	case t.Kind() == reflect.Struct && !ours(t):
		if name := v.FieldByName("Name"); name.IsValid() {
			name.SetString(fmt.Sprint("n", *n))
		}
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() && f.Tag.Get("json") != "-" {
				v.Field(i).Set(filled(f.Type, n))
			}
		}
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(filled(t.Elem(), n))
	case t.Kind() == reflect.Slice:
		v.Set(reflect.Append(v, filled(t.Elem(), n)))
	case t.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(filled(t.Key(), n), filled(t.Elem(), n))
	case t.Kind() == reflect.Interface:
		v.Set(reflect.ValueOf(fmt.Sprint("any", *n)))
	case t.Kind() == reflect.String:
		v.SetString(fmt.Sprint("s", *n))
	case t.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(int64(*n%100 + 1))
	case v.CanUint():
		v.SetUint(uint64(*n%100 + 1))
	case v.CanFloat():
		v.SetFloat(float64(*n) + 0.5)
	default:
		panic(fmt.Sprintf("no value for a %s", t))
	}
	return v
}

// fields are the paths of a type's fields as JSON names them.
func fields(t reflect.Type, path string, out []string) []string {
	switch t.Kind() {
	case reflect.Pointer:
		return fields(t.Elem(), path, out)
	case reflect.Slice:
		return fields(t.Elem(), path+"[]", out)
	case reflect.Map:
		return fields(t.Elem(), path+"{}", out)
	case reflect.Struct:
		if !ours(t) {
			return append(out, path)
		}
	default:
		return append(out, path)
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() || name == "-":
		case f.Anonymous && name == "":
			out = fields(f.Type, path, out)
		default:
			if name == "" {
				name = "!" + f.Name // every field is to have a name of its own
			}
			out = fields(f.Type, strings.TrimPrefix(path+"."+name, "."), out)
		}
	}
	return out
}
