package scenarios

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

var (
	nameForm  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	guideForm = regexp.MustCompile(`^[0-9]{1,2}(\.[0-9]{1,2})?$`)
)

var matcherKinds = strings.Join(fieldsOf(reflect.TypeFor[v1alpha1.Matcher]()).names, ", ")

// semantics checks what the types cannot say.
func (d *document) semantics(s *Scenario, dir fs.FS) {
	d.oneOf("$.apiVersion", s.APIVersion, v1alpha1.APIVersion)
	d.oneOf("$.kind", s.Kind, v1alpha1.KindScenario)
	if !nameForm.MatchString(s.Metadata.Name) {
		d.errorf("$.metadata.name", "name %q is no DNS label: lower-case letters, digits and dashes, at most 63", s.Metadata.Name)
	}
	if s.Spec.Title == "" {
		d.errorf("$.spec.title", "title is empty")
	}
	d.oneOf("$.spec.profile", s.Spec.Profile, "core", "extended", v1alpha1.ProfileDecoy)
	for i, sec := range s.Spec.Guide {
		if !guideForm.MatchString(sec) {
			d.errorf(fmt.Sprintf("$.spec.guide[%d]", i), "%q is not a section of docs/guide.md: write it like 4.9 or 11.1", sec)
		}
	}
	d.oneOf("$.spec.fidelity.level", s.Spec.Fidelity.Level, "real", "contained")
	if s.Spec.Fidelity.Level == "contained" && s.Spec.Fidelity.Differs == "" {
		d.errorf("$.spec.fidelity", "a contained fault must say in `differs` how it differs from a real node")
	}
	for i, c := range s.Spec.Claims {
		d.oneOf(fmt.Sprintf("$.spec.claims[%d]", i), c, "host")
	}
	if s.Spec.Registry != nil {
		d.registry(s.Spec.Registry)
	}
	if s.Spec.Workload != "" && dir != nil {
		d.workload(s, dir)
	}
	if len(s.Spec.Inject) == 0 {
		d.errorf("$.spec.inject", "inject is empty: a scenario needs a fault")
	}
	d.actions("$.spec.prepare", s.Spec.Prepare, s, dir)
	d.actions("$.spec.inject", s.Spec.Inject, s, dir)
	d.matchers("$.spec.manifest", s.Spec.Manifest)
	if s.Spec.CRIO != nil {
		d.actions("$.spec.crio.inject", s.Spec.CRIO.Inject, s, dir)
		d.matchers("$.spec.crio.manifest", s.Spec.CRIO.Manifest)
	}
	if s.Spec.Profile == v1alpha1.ProfileDecoy {
		if len(s.Spec.Expect) > 0 {
			d.errorf("$.spec.expect", "a decoy expects no finding")
		}
		return
	}
	if len(s.Spec.Manifest) == 0 {
		d.errorf("$.spec.manifest", "manifest is empty: without a signal nothing proves that the fault took hold")
	}
	if len(s.Spec.Expect) == 0 {
		d.errorf("$.spec.expect", "expect is empty: name the finding that detectors must give")
	}
	if s.Spec.Vocabulary != "" && dir != nil {
		d.vocabulary(s, dir)
	}
	d.expected("$.spec.expect", s.Spec.Expect, s.Vocabulary)
}

// imageForm is a repository of lower-case words, and a tag.
var imageForm = regexp.MustCompile(`^[a-z0-9]+([._/-][a-z0-9]+)*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

func (d *document) registry(r *v1alpha1.Registry) {
	if r.Certificate != "" {
		d.oneOf("$.spec.registry.certificate", r.Certificate, "expired", "other-name")
	}
	if len(r.Images) == 0 {
		d.errorf("$.spec.registry.images", "images is empty: a registry without an image answers nothing but \"not found\"")
	}
	for i, image := range r.Images {
		if !imageForm.MatchString(image) {
			d.errorf(fmt.Sprintf("$.spec.registry.images[%d]", i), "image %q: want a repository and a tag, such as shop/app:1.0", image)
		}
	}
}

func (d *document) oneOf(path, got string, want ...string) {
	if slices.Contains(want, got) {
		return
	}
	near := ""
	if len(want) > 1 { // a single right value is in the message already
		near = nearest(got, want)
	}
	d.near(path, near, "%s %q is unknown: it must be %s", last(path), got, strings.Join(want, " or "))
}

func (d *document) matchers(path string, ms []v1alpha1.Matcher) {
	for i, m := range ms {
		d.matcher(fmt.Sprintf("%s[%d]", path, i), m)
	}
}

func (d *document) matcher(p string, m v1alpha1.Matcher) {
	var set []string
	if m.Log != nil {
		set = append(set, "log")
		d.oneOf(p+".log.unit", m.Log.Unit, "kubelet", "containerd", CRIO, "kernel")
		d.filled(p+".log.contains", m.Log.Contains)
	}
	if m.Event != nil {
		set = append(set, "event")
		d.filled(p+".event.reason", m.Event.Reason)
		if m.Event.Type != "" {
			d.oneOf(p+".event.type", m.Event.Type, "Normal", "Warning")
		}
	}
	if m.Condition != nil {
		set = append(set, "condition")
		d.filled(p+".condition.type", m.Condition.Type)
		d.oneOf(p+".condition.status", m.Condition.Status, "True", "False", "Unknown")
	}
	if m.Pod != nil {
		set = append(set, "pod")
		d.podMatcher(p+".pod", *m.Pod)
	}
	if m.Unit != nil {
		set = append(set, "unit")
		d.filled(p+".unit.name", m.Unit.Name)
		if m.Unit.SubState == "" && m.Unit.Result == "" {
			d.errorf(p+".unit", "a unit matcher needs subState or result: otherwise any unit matches")
		}
	}
	if m.Throttled != nil {
		set = append(set, "throttled")
		if m.Throttled.Percent < 1 || m.Throttled.Percent > 100 {
			d.errorf(p+".throttled.percent", "percent %d: want 1 to 100", m.Throttled.Percent)
		}
	}
	if m.Allocatable != nil {
		set = append(set, "allocatable")
		d.filled(p+".allocatable.resource", m.Allocatable.Resource)
		if m.Allocatable.Is < 0 {
			d.errorf(p+".allocatable.is", "is %d: want a number of devices", m.Allocatable.Is)
		}
	}
	if m.Cgroup != nil {
		set = append(set, "cgroup")
		d.filled(p+".cgroup.contains", m.Cgroup.Contains)
	}
	switch len(set) {
	case 1:
	case 0:
		d.errorf(p, "a matcher needs exactly one of %s; this one has none", matcherKinds)
	default:
		d.errorf(p, "a matcher needs exactly one of %s; this one has %s: make each an entry of its own", matcherKinds, strings.Join(set, " and "))
	}
}

func (d *document) podMatcher(p string, m v1alpha1.PodMatcher) {
	if m.Phase == "" && m.Reason == "" && m.Contains == "" {
		d.errorf(p, "a pod matcher needs phase, reason or contains: otherwise any pod matches")
	}
	if m.Phase != "" {
		d.oneOf(p+".phase", m.Phase, "Pending", "Running", "Succeeded", "Failed", "Unknown")
	}
}

func (d *document) filled(path, v string) {
	if strings.TrimSpace(v) == "" {
		d.errorf(path, "%s is empty: it would match everything", last(path))
	}
}

// vocabulary reads the scenario's own failures.
func (d *document) vocabulary(s *Scenario, dir fs.FS) {
	const at = "$.spec.vocabulary"
	raw, err := ReadFile(dir, s.Spec.Vocabulary)
	if err != nil {
		d.errorf(at, "there is no file %q beside the scenario", s.Spec.Vocabulary)
		return
	}
	v := &v1alpha1.Vocabulary{}
	if err := Unmarshal(raw, path.Join(path.Dir(d.file), s.Spec.Vocabulary), v1alpha1.KindVocabulary, v); err != nil {
		var wrong *Error
		errors.As(err, &wrong)
		d.errs = append(d.errs, wrong.Problems...)
		return
	}
	for _, f := range v.Failures {
		if _, ours := failures.Lookup(f.Name); ours || !nameForm.MatchString(f.Name) {
			d.errorf(at, "%s: failure %q: want lower-case letters, digits and dashes, and none of sickbay's own names", s.Spec.Vocabulary, f.Name)
		}
		for _, c := range f.Causes {
			if !nameForm.MatchString(c.Name) {
				d.errorf(at, "%s: cause %q of %s: want lower-case letters, digits and dashes", s.Spec.Vocabulary, c.Name, f.Name)
			}
		}
	}
	s.Vocabulary = v
}

func (d *document) expected(path string, es []v1alpha1.Expected, own *v1alpha1.Vocabulary) {
	for i, e := range es {
		if own.Has(e.Failure, e.Cause) {
			continue
		}
		p := fmt.Sprintf("%s[%d]", path, i)
		f, ok := failures.Lookup(e.Failure)
		if !ok {
			var names []string
			for _, f := range failures.All() {
				names = append(names, f.Name)
			}
			d.near(p+".failure", nearest(e.Failure, names), "there is no failure %q", e.Failure)
			continue
		}
		if _, ok := f.Cause(e.Cause); !ok {
			var names []string
			for _, c := range f.Causes {
				names = append(names, c.Name)
			}
			near := nearest(e.Cause, names)
			msg := fmt.Sprintf("failure %s has no cause %q", e.Failure, e.Cause)
			if near == "" {
				msg += ": it has " + strings.Join(names, ", ")
			}
			d.near(p+".cause", near, "%s", msg)
		}
	}
}
