package scenarios

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write docs/scenario.schema.json")

const schemaFile = "../docs/scenario.schema.json"

func TestSchemaIsUpToDate(t *testing.T) {
	want, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what the types say (%v); write it with: go generate ./scenarios", filepath.Base(schemaFile), err)
	}
}

func compiled(t *testing.T) *validator.Schema {
	t.Helper()
	raw, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	if err := c.AddResource(SchemaID, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(SchemaID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func asJSON(t *testing.T, doc []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(doc, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out, err := validator.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEveryScenarioValidates(t *testing.T) {
	s := compiled(t)
	for _, name := range Names() {
		doc, err := fs.ReadFile(embedded, name+"/"+FileName)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(asJSON(t, doc)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemaRefuses keeps the schema from being one that accepts everything.
func TestSchemaRefuses(t *testing.T) {
	s := compiled(t)
	if err := s.Validate(asJSON(t, []byte(good))); err != nil {
		t.Fatalf("the good scenario: %v", err)
	}
	for _, edit := range [][2]string{
		{"  manifest:\n", "  manifst:\n"},
		{"manifest: 90s", "manifest: 90"},
		{"manifest: 90s", "manifest: soon"},
		{"mechanism: cni-config", "mechanism: cni-confg"},
		{"action: remove", "acton: remove"},
		{"cause: conflist-missing", "cause: swap-on"},
		{"failure: cni", "failure: cin"},
		{"{unit: kubelet, contains: cni plugin not initialized}", "{unit: kubelet, contains: x}\n      event: {reason: Failed}"},
		{"profile: extended", "profile: basic"},
		{"kind: Scenario", "kind: Pod"},
	} {
		if err := s.Validate(asJSON(t, []byte(strings.Replace(good, edit[0], edit[1], 1)))); err == nil {
			t.Errorf("%q was accepted", edit[1])
		}
	}
}
