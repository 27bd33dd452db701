package diagnose

import (
	"fmt"
	"io"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	plain "github.com/sickbay-dev/sickbay/internal/text"
)

// WriteScript writes the remedies of a diagnosis as one shell script, to be read and run step by step: each step is a function, and
// the script runs the one whose number it is given, or lists them all.
func WriteScript(w io.Writer, d v1alpha1.Diagnosis) error {
	var body, list strings.Builder
	comment := func(format string, args ...any) {
		for line := range strings.SplitSeq(plain.Plain(fmt.Sprintf(format, args...)), "\n") {
			body.WriteString(strings.TrimRight("# "+line, " ") + "\n")
		}
	}
	n := 0
	for _, f := range d.Findings {
		comment("\n%s: %s on %s (%s)", f.Name(), f.Summary, f.Node, f.Certainty)
		if f.ManualAction != "" {
			comment("left to you: %s", f.ManualAction)
		}
		if f.Remedy == nil {
			continue
		}
		for _, s := range f.Remedy.Steps {
			n++
			on := "from here"
			if s.On != "" {
				on = "on node " + s.On
			}
			comment("%d. %s, %s: %s", n, on, s.Class, s.Why)
			if s.Risk != "" {
				comment("risk: %s", s.Risk)
			}
			if s.Undo != "" {
				comment("undo: %s", s.Undo)
			}
			fmt.Fprintf(&body, "step_%d() {\n%s\n}\n", n, strings.TrimSpace(s.Run))
			fmt.Fprintf(&list, "  %d  %s, %s\n", n, on, s.Class)
		}
	}
	_, err := fmt.Fprintf(w, "#!/bin/bash\n# What sickbay would do, step by step. Read a step, then run it where it says: bash FILE NUMBER.\nset -eu\n%s\n"+
		"case \"${1:-}\" in\n[1-9]*) \"step_$1\" ;;\n*) cat <<'STEPS'\n%sSTEPS\n;;\nesac\n", body.String(), plain.Plain(list.String()))
	return err
}
