package scenarios

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// LabName is the name of a lab's document, beside the scenario's own.
const LabName = "lab.yaml"

var codeForm = regexp.MustCompile(`^L[0-9]{2,3}$`)

// Lab is what a person gets of the scenario; nil for one that has no lab.yaml beside it. What is wrong with it is an *Error.
func (s *Scenario) Lab() (*v1alpha1.Lab, error) {
	if s.files == nil {
		return nil, nil
	}
	data, err := ReadFile(s.files, LabName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the lab of scenario %s: %w", s.Metadata.Name, err)
	}
	return ParseLab(data, s.Dir+"/"+LabName, s.Metadata.Name)
}

// ParseLab reads a lab document of the named scenario.
func ParseLab(data []byte, file, scenario string) (*v1alpha1.Lab, error) {
	var l v1alpha1.Lab
	d, err := decode(data, file, "lab", &l)
	if err != nil {
		return nil, err
	}
	d.lab(&l, scenario)
	return &l, d.err()
}

// Course is a scenario that can be practised.
type Course struct {
	*Scenario
	Of *v1alpha1.Lab
}

// Courses are all labs that come with sickbay, by code.
func Courses() ([]Course, error) {
	all, err := loadAll()
	if err != nil {
		return nil, err
	}
	var out []Course
	for i := range all {
		s := all[i]
		l, err := s.Lab()
		if err != nil {
			return nil, err
		}
		if l != nil {
			out = append(out, Course{&s, l})
		}
	}
	slices.SortFunc(out, func(a, b Course) int { return strings.Compare(a.Of.Spec.Code, b.Of.Spec.Code) })
	return out, nil
}

// FindCourse takes what a teacher or the state of a lab says: a code, a scenario's name, or the path of one.
func FindCourse(arg string) (*Course, error) {
	if IsPath(arg) {
		s, err := Load(arg)
		if err != nil {
			return nil, err
		}
		l, err := s.Lab()
		if err == nil && l == nil {
			err = fmt.Errorf("scenario %s is no lab: there is no %s beside %s", s.Metadata.Name, LabName, arg)
		}
		if err != nil {
			return nil, err
		}
		return &Course{s, l}, nil
	}
	all, err := Courses()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range all {
		if c.Metadata.Name == arg || strings.EqualFold(c.Of.Spec.Code, arg) {
			return &c, nil
		}
		names = append(names, c.Metadata.Name, c.Of.Spec.Code)
	}
	return nil, &NotFoundError{Name: arg, Nearest: text.Nearest(arg, names, 3)}
}

// lab checks what the types cannot say.
func (d *document) lab(l *v1alpha1.Lab, scenario string) {
	d.oneOf("$.apiVersion", l.APIVersion, v1alpha1.APIVersion)
	d.oneOf("$.kind", l.Kind, v1alpha1.KindLab)
	if l.Metadata.Name != scenario {
		d.errorf("$.metadata.name", "metadata.name is %q; it must be the scenario's, %q", l.Metadata.Name, scenario)
	}
	if !codeForm.MatchString(l.Spec.Code) {
		d.errorf("$.spec.code", "code %q: write it like L07", l.Spec.Code)
	}
	if l.Spec.Level < 1 || l.Spec.Level > 3 {
		d.errorf("$.spec.level", "level %d: want 1, 2 or 3", l.Spec.Level)
	}
	d.oneOf("$.spec.topic", l.Spec.Topic, v1alpha1.LabTopics...)
	if l.Spec.Minutes < 1 || l.Spec.Minutes > 240 {
		d.errorf("$.spec.minutes", "minutes %d: want 1 to 240", l.Spec.Minutes)
	}
	if strings.TrimSpace(l.Spec.Story.En) == "" {
		d.errorf("$.spec.story", "story is empty: say what the people on call see")
	}
	if len(l.Spec.Goals) == 0 {
		d.errorf("$.spec.goals", "goals is empty: without an end state the referee has only the detectors")
	}
	for i, g := range l.Spec.Goals {
		p := fmt.Sprintf("$.spec.goals[%d]", i)
		d.filled(p+".says.en", g.Says.En)
		d.check(p+".holds", g.Holds)
	}
	for i, u := range l.Spec.Restarts {
		d.oneOf(fmt.Sprintf("$.spec.restarts[%d]", i), u, "kubelet", "containerd")
	}
	for i, r := range l.Spec.Allows {
		d.oneOf(fmt.Sprintf("$.spec.allows[%d]", i), r, v1alpha1.Refusals()...)
	}
	if len(l.Spec.Hints) < 2 {
		d.errorf("$.spec.hints", "hints need at least two: where to look first, and what it is last")
	}
	for i, h := range l.Spec.Hints {
		p := fmt.Sprintf("$.spec.hints[%d]", i)
		d.filled(p+".says.en", h.Says.En)
		if h.While != (v1alpha1.LabCheck{}) {
			d.check(p+".while", h.While)
		}
	}
	for i, m := range l.Spec.Mutants {
		p := fmt.Sprintf("$.spec.mutants[%d]", i)
		d.filled(p+".name", m.Name)
		d.does(p+".does", m.Does)
		d.does(p+".undo", m.Undo)
		switch {
		case m.Refused != "":
			d.oneOf(p+".refused", m.Refused, v1alpha1.Refusals()...)
		case len(m.Does) > 0:
			d.errorf(p, "a mutant with commands of its own needs refused, the reason expected of the referee")
		}
	}
	for i, w := range l.Spec.Solve {
		p := fmt.Sprintf("$.spec.solve[%d]", i)
		d.filled(p+".name", w.Name)
		d.does(p+".does", w.Does)
	}
}

// check wants exactly one question, of a kind that can be asked at any time.
func (d *document) check(path string, c v1alpha1.LabCheck) {
	n := 0
	for _, set := range []bool{c.Node != "", c.Cluster != "", c.Match != nil} {
		if set {
			n++
		}
	}
	if n != 1 {
		d.errorf(path, "a check needs exactly one of node, cluster, match; this one has %d", n)
		return
	}
	if c.Match != nil {
		if c.Match.Log != nil || c.Match.Event != nil || c.Match.Throttled != nil {
			d.errorf(path+".match", "a lab asks for states: condition, pod, unit, allocatable or cgroup; a log line or an event does not go away")
			return
		}
		d.matcher(path+".match", *c.Match)
	}
}

func (d *document) does(path string, list []v1alpha1.LabDo) {
	for i, do := range list {
		if (do.Node == "") == (do.Cluster == "") {
			d.errorf(fmt.Sprintf("%s[%d]", path, i), "a command needs exactly one of node and cluster")
		}
	}
}
