package scenarios

import (
	"bytes"
	"encoding/json"
	"reflect"

	"github.com/invopop/jsonschema"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

//go:generate go test . -run TestSchemaIsUpToDate -update

// SchemaID is where editors find the schema.
const SchemaID = "https://raw.githubusercontent.com/sickbay-dev/sickbay/main/docs/scenario.schema.json"

// Schema is the JSON Schema of scenario.yaml, generated from the Go types, the mechanisms' parameters and the vocabulary, so
// that an editor completes and checks what the loader would.
func Schema() ([]byte, error) {
	r := &jsonschema.Reflector{Anonymous: true, Mapper: func(t reflect.Type) *jsonschema.Schema {
		switch t {
		case rawType:
			return jsonschema.TrueSchema
		case reflect.TypeFor[v1alpha1.Duration]():
			return &jsonschema.Schema{
				Type:        "string",
				Pattern:     `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`,
				Description: "a duration such as 90s, 5m or 1h30m, above zero and at most one hour",
			}
		}
		return nil
	}}
	s := r.Reflect(&v1alpha1.Scenario{})
	s.ID = SchemaID
	s.Title = "sickbay scenario"

	one := uint64(1)
	matcher := s.Definitions["Matcher"]
	matcher.MinProperties, matcher.MaxProperties = &one, &one

	action := s.Definitions["Action"]
	mechanism, _ := action.Properties.Get("mechanism")
	for _, name := range mechanisms.Names() {
		mechanism.Enum = append(mechanism.Enum, name)
		params := (&jsonschema.Reflector{Anonymous: true, DoNotReference: true, Mapper: r.Mapper}).ReflectFromType(mechanisms.Params(name))
		params.Version = ""
		is := jsonschema.NewProperties()
		is.Set("mechanism", &jsonschema.Schema{Const: name})
		has := jsonschema.NewProperties()
		has.Set("params", params)
		action.AllOf = append(action.AllOf, &jsonschema.Schema{
			If:   &jsonschema.Schema{Properties: is, Required: []string{"mechanism"}},
			Then: &jsonschema.Schema{Properties: has},
		})
	}

	expected := s.Definitions["Expected"]
	failure, _ := expected.Properties.Get("failure")
	for _, f := range failures.All() {
		failure.Enum = append(failure.Enum, f.Name)
		var causes []any
		for _, c := range f.Causes {
			causes = append(causes, c.Name)
		}
		is := jsonschema.NewProperties()
		is.Set("failure", &jsonschema.Schema{Const: f.Name})
		has := jsonschema.NewProperties()
		has.Set("cause", &jsonschema.Schema{Enum: causes})
		expected.AllOf = append(expected.AllOf, &jsonschema.Schema{
			If:   &jsonschema.Schema{Properties: is, Required: []string{"failure"}},
			Then: &jsonschema.Schema{Properties: has},
		})
	}

	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
