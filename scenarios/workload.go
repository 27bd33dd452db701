package scenarios

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"text/template"
)

// WorkloadValues are what a workload manifest may use.
type WorkloadValues struct {
	Node      string // the victim
	Namespace string // the run's own namespace
	Image     string // agnhost, already on the node
	Run       string // the run's id
	Agent     string // the agent's program on the victim, which is also that of node plugins
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
	data, err := fs.ReadFile(s.files, file)
	if err != nil {
		return "", fmt.Errorf("read %s of scenario %s: %w", file, s.Metadata.Name, err)
	}
	out, err := render(file, data, v)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path.Join(s.Dir, file), err)
	}
	return out, nil
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
	if out, ok := d.manifest(p, s.Spec.Workload, dir); ok && !strings.Contains(out, "lab-worker") {
		d.errorf(p, "workload %s never uses {{.Node}}: it must be bound to the victim, or the fault would miss it", s.Spec.Workload)
	}
}

// manifest checks that a manifest is there and is a template that renders, and answers with what it renders to.
func (d *document) manifest(path, file string, dir fs.FS) (string, bool) {
	data, err := fs.ReadFile(dir, file)
	if err != nil {
		files, _ := fs.Glob(dir, "*.yaml")
		d.near(path, nearest(file, files), "there is no file %q beside the scenario", file)
		return "", false
	}
	out, err := render(file, data, WorkloadValues{Node: "lab-worker", Namespace: "sickbay-test", Image: "agnhost", Run: "test", Agent: "/agent"})
	if err != nil {
		d.errorf(path, "%s %s is no valid template: %s", last(path), file, err)
		return "", false
	}
	return out, true
}
