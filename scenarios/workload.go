package scenarios

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"text/template"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// WorkloadValues are what manifests and parameters may use.
type WorkloadValues struct {
	Node      string          // the victim
	Namespace string          // the run's own namespace
	Image     string          // agnhost, already on the node
	Run       string          // the run's id
	Agent     string          // the agent's program on the victim, which is also that of node plugins
	Registry  *RegistryValues // nil unless the scenario has one
}

// RegistryValues are what the run's registry is known by.
type RegistryValues struct {
	Host       string // as the nodes resolve it; it listens on 443
	CA         string // PEM of the CA that signed its certificate
	OldCA      string // PEM of a CA of the same name that signed nothing: that of before a rotation
	PullSecret string // base64 of a .dockerconfigjson with its credential
}

// sampleValues stand for a run's while a file is only checked.
func (s *Scenario) sampleValues() WorkloadValues {
	v := WorkloadValues{Node: "lab-worker", Namespace: "sickbay-test", Image: "agnhost", Run: "test", Agent: "/agent"}
	if s.Spec.Registry != nil {
		v.Registry = &RegistryValues{Host: "registry.test", CA: "PEM", OldCA: "PEM", PullSecret: "e30="}
	}
	return v
}

// Params are an action's parameters as the agent wants them, with the run's values filled in.
func (v WorkloadValues) Params(a v1alpha1.Action) (json.RawMessage, error) {
	if len(a.Params) == 0 {
		return nil, nil
	}
	params, err := fill(a.Params, v)
	if err != nil {
		return nil, err
	}
	return json.Marshal(params)
}

// fill renders every text in a value.
func fill(value any, v WorkloadValues) (any, error) {
	switch x := value.(type) {
	case string:
		if !strings.Contains(x, "{{") {
			return x, nil
		}
		return render("params", []byte(x), v)
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, e := range x {
			var err error
			if out[k], err = fill(e, v); err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
		}
		return out, nil
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			var err error
			if out[i], err = fill(e, v); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return value, nil
}

// RenderWorkload fills in the scenario's workload manifest; "" when it has none.
func (s *Scenario) RenderWorkload(v WorkloadValues) (string, error) {
	if s.Spec.Workload == "" {
		return "", nil
	}
	return s.Render(s.Spec.Workload, v)
}

// Render fills in a manifest of the scenario's folder.
func (s *Scenario) Render(file string, v WorkloadValues) (string, error) {
	if s.files == nil {
		return "", fmt.Errorf("scenario %s was not loaded from a folder, so its %s cannot be read", s.Metadata.Name, file)
	}
	data, err := readManifest(s.files, file)
	if err != nil {
		return "", fmt.Errorf("read %s of scenario %s: %w", file, s.Metadata.Name, err)
	}
	out, err := render(file, data, v)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path.Join(s.Dir, file), err)
	}
	return out, nil
}

// readManifest reads a manifest of a scenario's folder, or one that scenarios share: shared/NAME.
func readManifest(dir fs.FS, file string) ([]byte, error) {
	if strings.HasPrefix(file, "shared/") {
		return embedded.ReadFile(file)
	}
	return ReadFile(dir, file)
}

func render(name string, data []byte, v WorkloadValues) (string, error) {
	// missingkey only concerns maps; a field WorkloadValues does not have is already an error of Execute.
	// What scenarios share is parsed first, so that a scenario may define a shared manifest's blocks anew.
	t, err := template.New(name).ParseFS(embedded, "shared/*.yaml")
	if err == nil {
		t, err = t.Parse(string(data))
	}
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return "", err
	}
	return b.String(), nil
}

// workload checks the manifest, and that it is bound to the victim.
func (d *document) workload(s *Scenario, dir fs.FS) {
	p := "$.spec.workload"
	out, ok := d.manifest(p, s.Spec.Workload, s, dir)
	if !ok {
		return
	}
	if _, err := objects(out); err != nil {
		d.errorf(p, "workload %s: %s", s.Spec.Workload, err)
		return
	}
	if !strings.Contains(out, "lab-worker") {
		d.errorf(p, "workload %s never uses {{.Node}}: it must be bound to the victim, or the fault would miss it", s.Spec.Workload)
	}
}

// manifest checks that a manifest is there and is a template that renders, and answers with what it renders to.
func (d *document) manifest(path, file string, s *Scenario, dir fs.FS) (string, bool) {
	data, err := readManifest(dir, file)
	if err != nil {
		files, _ := fs.Glob(dir, "*.yaml")
		shared, _ := fs.Glob(embedded, "shared/*.yaml")
		files = append(files, shared...)
		d.near(path, nearest(file, files), "there is no file %q beside the scenario", file)
		return "", false
	}
	out, err := render(file, data, s.sampleValues())
	if err != nil {
		d.errorf(path, "%s %s is no valid template: %s", last(path), file, err)
		return "", false
	}
	return out, true
}
