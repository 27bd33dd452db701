package scenarios

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
)

// Mechanisms is what the loader asks about injectors. It is an interface so that a test can bring mechanisms of its own.
type Mechanisms interface {
	// Names lists the mechanisms.
	Names() []string
	// Params is a mechanism's parameter struct, nil when it has none of that name.
	Params(mechanism string) reflect.Type
	// Check decodes the parameters strictly and judges them; it changes nothing and needs no node.
	Check(mechanism string, params json.RawMessage) error
	// HostWide tells that a mechanism reaches beyond its node to the shared kernel.
	HostWide(mechanism string) bool
}

var mechanisms Mechanisms = registry{}

// registry asks package injectors, and knows what the harness does itself.
type registry struct{}

func (registry) Names() []string {
	names := append(injectors.Names(), v1alpha1.MechanismWorkload)
	slices.Sort(names)
	return names
}

func (registry) Params(name string) reflect.Type {
	if name == v1alpha1.MechanismWorkload {
		return reflect.TypeFor[v1alpha1.Rollout]()
	}
	m, ok := injectors.Lookup(name)
	if !ok {
		return nil
	}
	return reflect.TypeOf(m.New()).Elem()
}

func (registry) Check(name string, params json.RawMessage) error {
	if name == v1alpha1.MechanismWorkload {
		return nil // its parameters are checked against the scenario's folder
	}
	m, ok := injectors.Lookup(name)
	if !ok {
		return fmt.Errorf("there is no mechanism %q", name)
	}
	_, err := m.Decode(params)
	return err
}

func (registry) HostWide(name string) bool {
	m, _ := injectors.Lookup(name)
	return m.HostWide
}

// actions checks the parameters against the mechanism's own struct first, so that mistakes are told where they stand, then has
// the mechanism judge the values.
func (d *document) actions(path string, actions []v1alpha1.Action, s *Scenario, dir fs.FS) {
	for i, a := range actions {
		p := fmt.Sprintf("%s[%d]", path, i)
		if a.On != "" {
			d.oneOf(p+".on", a.On, v1alpha1.OnVictim, v1alpha1.OnEveryNode)
		}
		if a.On == v1alpha1.OnEveryNode && !slices.Contains(s.Spec.Claims, "host") {
			d.errorf(p+".on", "on %s reaches nodes that other runs may have: the scenario must say `claims: [host]`", v1alpha1.OnEveryNode)
		}
		d.matchers(p+".until", a.Until)
		t := mechanisms.Params(a.Mechanism)
		if t == nil {
			d.near(p+".mechanism", nearest(a.Mechanism, mechanisms.Names()), "there is no mechanism %q", a.Mechanism)
			continue
		}
		if mechanisms.HostWide(a.Mechanism) && !slices.Contains(s.Spec.Claims, "host") {
			d.errorf(p+".mechanism", "mechanism %s reaches the kernel that all nodes share: the scenario must say `claims: [host]`", a.Mechanism)
		}
		before := len(d.errs)
		if n, ok := d.values[p+".params"]; ok && n != nil {
			d.params(p+".params", a.Mechanism, t)
		}
		if len(d.errs) > before {
			continue
		}
		if a.Mechanism == v1alpha1.MechanismWorkload {
			d.rollout(p, a, s, dir)
			continue
		}
		raw, err := s.sampleValues().Params(a)
		if err == nil {
			err = mechanisms.Check(a.Mechanism, raw)
		}
		if err != nil {
			msg := strings.TrimPrefix(err.Error(), "parameters of ")
			d.errorf(d.blamed(p+".params", t, msg), "%s", msg)
		}
	}
}

// params is structure, with words for parameters.
func (d *document) params(path, mechanism string, t reflect.Type) {
	sub := &document{file: d.file, lines: d.lines, values: d.values, keys: d.keys}
	sub.structure(path, d.values[path], t)
	for _, e := range sub.errs {
		if name, ok := strings.CutPrefix(e.Message, "unknown field "); ok {
			name, _, _ = strings.Cut(name, " ")
			e.Message = fmt.Sprintf("mechanism %s has no parameter %s", mechanism, name)
			if e.Nearest == "" {
				e.Message += ": it has " + strings.Join(fieldsOf(t).names, ", ")
			}
		}
		d.errs = append(d.errs, e)
	}
}

// blamed is the parameter that a mechanism's complaint names, or all of them.
func (d *document) blamed(path string, t reflect.Type, msg string) string {
	for _, name := range fieldsOf(t).names {
		if _, set := d.values[path+"."+name]; set && strings.Contains(msg, ": "+name+" ") {
			return path + "." + name
		}
	}
	return path
}
