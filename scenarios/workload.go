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
}

// RenderWorkload fills in the scenario's workload manifest; "" when it has none.
func (s *Scenario) RenderWorkload(v WorkloadValues) (string, error) {
	if s.Spec.Workload == "" {
		return "", nil
	}
	if s.files == nil {
		return "", fmt.Errorf("scenario %s was not loaded from a folder, so its workload %s cannot be read", s.Metadata.Name, s.Spec.Workload)
	}
	data, err := fs.ReadFile(s.files, s.Spec.Workload)
	if err != nil {
		return "", fmt.Errorf("read the workload of scenario %s: %w", s.Metadata.Name, err)
	}
	out, err := render(s.Spec.Workload, data, v)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path.Join(s.Dir, s.Spec.Workload), err)
	}
	return out, nil
}

func render(name string, data []byte, v WorkloadValues) (string, error) {
	// missingkey only concerns maps; a field WorkloadValues does not have is already an error of Execute.
	t, err := template.New(name).Parse(string(data))
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return "", err
	}
	return b.String(), nil
}

// workload checks that the manifest is there, is a template that renders, and is bound to the victim.
func (d *document) workload(s *Scenario, dir fs.FS) {
	p := "$.spec.workload"
	data, err := fs.ReadFile(dir, s.Spec.Workload)
	if err != nil {
		files, _ := fs.Glob(dir, "*.yaml")
		d.near(p, nearest(s.Spec.Workload, files), "there is no file %q beside the scenario", s.Spec.Workload)
		return
	}
	out, err := render(s.Spec.Workload, data, WorkloadValues{Node: "lab-worker", Namespace: "sickbay-test", Image: "agnhost", Run: "test"})
	if err != nil {
		d.errorf(p, "workload %s is no valid template: %s", s.Spec.Workload, err)
		return
	}
	if !strings.Contains(out, "lab-worker") {
		d.errorf(p, "workload %s never uses {{.Node}}: it must be bound to the victim, or the fault would miss it", s.Spec.Workload)
	}
}
