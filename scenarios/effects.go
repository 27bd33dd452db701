package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// Foreign tells that the scenario was read from a file of the user's: what it does is not sickbay's choice.
func (s *Scenario) Foreign() bool { return s.foreign }

// Effects say what the scenario would do: each mechanism with its parameters, and the objects that it would make. Parameters stand as
// they are in the file, as JSON.
func (s *Scenario) Effects() ([]string, error) {
	var out []string
	manifest := func(what, file string) error {
		rendered, err := s.Render(file, s.sampleValues())
		if err != nil {
			return err
		}
		list, err := objects(rendered)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, o := range list {
			out = append(out, what+": "+describe(o))
		}
		return nil
	}
	if s.Spec.Workload != "" {
		if err := manifest("make", s.Spec.Workload); err != nil {
			return nil, err
		}
	}
	for i, a := range slices.Concat(s.Spec.Prepare, s.Spec.Inject) {
		when, where := "inject", "on the victim"
		if i < len(s.Spec.Prepare) {
			when = "prepare"
		}
		if a.On == v1alpha1.OnEveryNode {
			where = "on every node"
		}
		m, _ := injectors.Lookup(a.Mechanism)
		if mechanisms.HostWide(a.Mechanism) {
			where += ", reaching the kernel of this machine"
		}
		out = append(out, strings.TrimSuffix(fmt.Sprintf("%s %s: %s: %s", when, where, a.Mechanism, m.Doc), ": "))
		for _, k := range slices.Sorted(maps.Keys(a.Params)) {
			v, err := json.Marshal(a.Params[k])
			if err != nil {
				return nil, err
			}
			out = append(out, fmt.Sprintf("    %s: %s", k, text.Cut(string(v), 2000)))
		}
		if r := a.Rollout(); r != nil {
			if err := manifest("    roll out", r.Manifest); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// objects are those of a manifest.
func objects(manifest string) ([]unstructured.Unstructured, error) {
	var out []unstructured.Unstructured
	dec := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	for {
		var o map[string]any
		err := dec.Decode(&o)
		switch {
		case errors.Is(err, io.EOF) && len(out) == 0:
			return nil, errors.New("it holds no object")
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("it is no manifest: %w", err)
		case len(o) == 0:
			continue
		}
		out = append(out, unstructured.Unstructured{Object: o})
	}
}

// describe says what an object is, and of pods what they run and what they may.
func describe(o unstructured.Unstructured) string {
	s := o.GetKind() + " " + o.GetName()
	raw, found, _ := unstructured.NestedMap(o.Object, "spec", "template", "spec")
	if o.GetKind() == "Pod" {
		raw, found, _ = unstructured.NestedMap(o.Object, "spec")
	}
	var p corev1.PodSpec
	if !found || runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &p) != nil {
		return s
	}
	for _, c := range slices.Concat(p.InitContainers, p.Containers) {
		s += ", image " + c.Image
		if argv := slices.Concat(c.Command, c.Args); len(argv) > 0 {
			s += fmt.Sprintf(" %q", text.Cut(strings.Join(argv, " "), 500))
		}
		if c.SecurityContext != nil && c.SecurityContext.Privileged != nil && *c.SecurityContext.Privileged {
			s += ", privileged"
		}
		if c.SecurityContext != nil && c.SecurityContext.Capabilities != nil && len(c.SecurityContext.Capabilities.Add) > 0 {
			s += fmt.Sprintf(", capabilities %v", c.SecurityContext.Capabilities.Add)
		}
	}
	for _, v := range p.Volumes {
		if v.HostPath != nil {
			s += ", the node's " + v.HostPath.Path
		}
	}
	for what, is := range map[string]bool{"the node's network": p.HostNetwork, "the node's processes": p.HostPID} {
		if is {
			s += ", " + what
		}
	}
	return s
}
