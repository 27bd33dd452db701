package op

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"sigs.k8s.io/yaml"
)

// Merge merges values into a YAML file, such as the kubelet's configuration. Undo brings the whole file back as it was; but
// whether the fault is still there is decided key by key, because a remedy may have set the keys right and written the file
// in its own manner.
type Merge struct {
	File
	// Set is merged into the document: objects key by key, everything else replaced, null removes.
	Set json.RawMessage `json:"set"`
}

func (m *Merge) Describe() string {
	return "set " + strings.Join(m.keys(), ", ") + " in " + m.Path
}

func (m *Merge) keys() []string {
	var set map[string]json.RawMessage
	if json.Unmarshal(m.Set, &set) != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(set))
}

func (m *Merge) Save(ctx context.Context, env Env) error {
	if err := m.File.Save(ctx, env); err != nil {
		return err
	}
	if !m.Saved.Exists {
		return fmt.Errorf("%s does not exist", m.Path)
	}
	text, err := m.sys.Read(m.Path)
	if err != nil {
		return err
	}
	m.Data, err = MergeYAML(text, m.Set)
	if err != nil {
		return fmt.Errorf("%s: %w", m.Path, err)
	}
	return nil
}

// MergeYAML merges a JSON object into a YAML document, as a JSON merge patch (RFC 7386).
func MergeYAML(text []byte, set json.RawMessage) ([]byte, error) {
	doc, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	if string(doc) == "null" {
		doc = []byte("{}")
	}
	if doc, err = jsonpatch.MergePatch(doc, set); err != nil {
		return nil, fmt.Errorf("values to set: %w", err)
	}
	return yaml.JSONToYAML(doc)
}

func (m *Merge) Pending(ctx context.Context, env Env) (Rest, error) {
	r, err := m.File.Pending(ctx, env)
	if err != nil || r.Tidy == "" {
		return r, err
	}
	// The file is neither as it was nor as we left it. Our values in it are what counts.
	still, err := m.still()
	if err != nil {
		return r, err
	}
	if len(still) > 0 {
		return Rest{Todo: fmt.Sprintf("set %s in %s back", strings.Join(still, ", "), m.Path)}, nil
	}
	return r, nil
}

// still lists our keys that have our values and had others before.
func (m *Merge) still() ([]string, error) {
	now, err := readDoc(m.sys, m.Path)
	if err != nil {
		return nil, nil // no longer a document: then our values are gone as well
	}
	was, err := readDoc(m.sys, m.Saved.Backup)
	if err != nil {
		return nil, err
	}
	left := map[string]any{}
	if err := yaml.Unmarshal(m.Data, &left); err != nil {
		return nil, err
	}
	var out []string
	for _, k := range m.keys() {
		if reflect.DeepEqual(now[k], left[k]) && !reflect.DeepEqual(was[k], left[k]) {
			out = append(out, k)
		}
	}
	return out, nil
}

func readDoc(sys Files, path string) (map[string]any, error) {
	b, err := sys.Read(path)
	if err != nil {
		return nil, err
	}
	doc := map[string]any{}
	return doc, yaml.Unmarshal(b, &doc)
}
