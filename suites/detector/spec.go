package detector

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/usage"
)

// Kinds are the words that a spec may begin with.
func Kinds() []string {
	return []string{OwnName, "exec:", "exec+stay:", "conditions", "npd", "kubectl", "none"}
}

// Parse reads what --detector has: KIND[,name=NAME][,mapping=FILE][,timeout=30s][,act].
func Parse(spec string, known Known) (Entry, error) {
	head, options := cutOptions(spec)
	var e Entry
	switch kind, command, _ := strings.Cut(head, ":"); {
	case kind == "exec" || kind == "exec+stay":
		argv := strings.Fields(command)
		if len(argv) == 0 {
			return e, usage.Errorf("--detector %s: name the program, such as %s:./mine", spec, kind)
		}
		name := filepath.Base(argv[0])
		e = Exec(strings.TrimSuffix(name, filepath.Ext(name)), kind == "exec+stay", argv...)
	case head == OwnName:
		e = Own()
	case head == "none":
		e = None()
	case head == "kubectl":
		e = Kubectl()
	case head == "npd":
		e = NPD()
	case head == "conditions":
		e = Conditions(head, nil)
	default:
		return e, usage.Errorf("--detector %s: it must be one of %s%s", spec, strings.Join(Kinds(), ", "), text.Near(head, Kinds(), 1))
	}
	e.Spec = head
	for _, o := range options {
		if err := e.option(spec, o, known); err != nil {
			return e, err
		}
	}
	return e, nil
}

// option takes one KEY=VALUE of a spec.
func (e *Entry) option(spec, option string, known Known) error {
	program := strings.HasPrefix(e.Spec, "exec")
	switch key, value, _ := strings.Cut(option, "="); key {
	case "name":
		if value == "" || value != text.Short(value, 40) || strings.ContainsAny(value, "/ ") {
			return usage.Errorf("--detector %s: name %q: want a word of at most 40 characters", spec, value)
		}
		e.Name = value
	case "timeout":
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return usage.Errorf("--detector %s: timeout %q: write it like 30s or 2m", spec, value)
		}
		e.Timeout = d
	case "mapping":
		m, err := LoadMapping(value, known)
		if err != nil {
			return err
		}
		switch {
		case program:
			e.Mapping = m
		case e.Spec == "conditions" || e.Spec == "npd":
			e.Open = Conditions(e.Spec, m).Open
		default:
			return usage.Errorf("--detector %s: %s takes no mapping", spec, e.Spec)
		}
	case "act":
		if !program {
			return usage.Errorf("--detector %s: only a program acts when asked", spec)
		}
		e.Acts = true
	}
	return nil
}

// cutOptions takes the options from the end of a spec; a comma before anything else belongs to the command.
func cutOptions(spec string) (head string, options []string) {
	for {
		i := strings.LastIndexByte(spec, ',')
		if i < 0 {
			return spec, options
		}
		key, _, _ := strings.Cut(spec[i+1:], "=")
		switch key {
		case "name", "timeout", "mapping", "act":
			options = append(options, spec[i+1:])
			spec = spec[:i]
		default:
			return spec, options
		}
	}
}

// Unique refuses two entries of one name.
func Unique(list []Entry) error {
	seen := map[string]bool{}
	for _, e := range list {
		if seen[e.Name] {
			return usage.Errorf("two detectors are called %s: name one with `,name=OTHER`", e.Name)
		}
		seen[e.Name] = true
	}
	return nil
}
