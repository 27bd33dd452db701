package report

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/usage"
)

// WriteSidesPage writes what the detectors of one report had to go by beside what those of another had, for each scenario that passed
// in both: the lines that only one of them has, names and numbers apart. Both are meant to come from different kinds of hosts; more on
// the right are of the same kind as the first there, of scenarios that were run one by one.
func WriteSidesPage(w io.Writer, left, right *v1alpha1.Report, more ...*v1alpha1.Report) error {
	all := *right
	all.Results = slices.Clone(right.Results)
	for _, m := range more {
		if m.HostKind.String() != right.HostKind.String() {
			return usage.Errorf("the reports on the right are of two kinds of hosts: %s, and %s", right.HostKind, m.HostKind)
		}
		all.Results = append(all.Results, m.Results...)
	}
	right = &all
	var b strings.Builder
	l, r := sideName(left), sideName(right)
	fmt.Fprintf(&b, `# The same failure, two kinds of hosts

The evidence of two reports, where it differs by more than names and numbers. When several log lines say the same thing, which one
appears is arbitrary. Made by `+"`sickbay report DIR DIR --sides`"+`; do not edit.

- left: %s, %s · Kubernetes %s · %s
- right: %s, %s · Kubernetes %s · %s
`, l, left.Started.UTC().Format("2006-01-02"), left.Kubernetes, left.Host, r, right.Started.UTC().Format("2006-01-02"), right.Kubernetes, right.Host)
	var same []string
	both := false
	for _, a := range left.Results {
		i := slices.IndexFunc(right.Results, func(b v1alpha1.ScenarioResult) bool {
			return b.Scenario == a.Scenario && b.Control == v1alpha1.ControlNone && b.Verdict == v1alpha1.VerdictPassed
		})
		if i < 0 || a.Control != v1alpha1.ControlNone || a.Verdict != v1alpha1.VerdictPassed {
			continue
		}
		both = true
		la, lb := grounds(a), grounds(right.Results[i])
		onlyA, onlyB := without(la, lb), without(lb, la)
		if len(onlyA)+len(onlyB) == 0 {
			same = append(same, a.Scenario)
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n| %s | %s |\n|---|---|\n", a.Scenario, l, r)
		for i := range max(len(onlyA), len(onlyB)) {
			var x, y ground
			if i < len(onlyA) {
				x = onlyA[i]
			}
			if i < len(onlyB) {
				y = onlyB[i]
			}
			at := firstDifference(x.shape, y.shape)
			fmt.Fprintf(&b, "| %s | %s |\n", inCell(around(x.text, at)), inCell(around(y.text, at)))
		}
	}
	if !both {
		return usage.Errorf("no scenario passed in both reports: there is nothing to put side by side")
	}
	if len(same) > 0 {
		fmt.Fprintf(&b, "\n## The same on both\n\n%s.\n", strings.Join(same, ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func sideName(rep *v1alpha1.Report) string {
	if rep.HostKind.CgroupVersion == 0 {
		return "unknown host"
	}
	return rep.HostKind.String()
}

// ground is one thing a verdict stands on, and its shape: the same without names and numbers. A word of the text is one of the shape.
type ground struct{ text, shape string }

// unlike are names and numbers that differ from run to run, in the order they are looked for.
var unlike = []*regexp.Regexp{
	regexp.MustCompile(`[0-9a-f]{8}([-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}`), // a pod's UID, as it is and in a slice's name
	regexp.MustCompile(`[0-9a-f]{12,64}`),                                 // a container, an image
	regexp.MustCompile(`-[0-9a-z]{8,10}-[0-9a-z]{5}(\b|_)`),               // the end of a deployment's pod's name
	regexp.MustCompile(`kube-proxy-[0-9a-z]{5}`),
	regexp.MustCompile(`[0-9]+([.:][0-9]+)*([KMG]i?B?|[mnµ]?s|%)?`),
}

// shown is how many characters of a line a cell has: the longest line of evidence (facts.Short) and its source.
const shown = 430

// firstDifference is the first word that differs.
func firstDifference(a, b string) int {
	x, y := strings.Fields(a), strings.Fields(b)
	i := 0
	for i < min(len(x), len(y)) && x[i] == y[i] {
		i++
	}
	return i
}

// around is as much of a line as a cell has room for, from a few words before one of them on.
func around(line string, word int) string {
	words := strings.Fields(line)
	if len(line) <= shown || word < 8 || word >= len(words) {
		return text.Short(line, shown)
	}
	return words[0] + " … " + text.Short(strings.Join(words[word-4:], " "), shown)
}

// grounds are the signals of a run and the evidence of what it expected, less what follows from something else.
func grounds(r v1alpha1.ScenarioResult) []ground {
	var out []ground
	add := func(source, text string) {
		text = source + ": " + strings.Join(strings.Fields(strings.ReplaceAll(text, r.Run, "RUN")), " ")
		shape := strings.ReplaceAll(text, r.Node, "NODE")
		for _, re := range unlike {
			shape = re.ReplaceAllString(shape, "N")
		}
		if !slices.ContainsFunc(out, func(g ground) bool { return g.shape == shape }) {
			out = append(out, ground{text, shape})
		}
	}
	for _, s := range r.Signals {
		add("signal", s.Text)
	}
	for _, f := range r.Findings {
		if slices.Contains(r.Expected, f.Failure+"/"+f.Cause) {
			for _, e := range f.Evidence {
				add(e.Source, e.Text)
			}
		}
	}
	return out
}

// without are those of a list whose shape another list does not have.
func without(list, other []ground) []ground {
	var out []ground
	for _, g := range list {
		if !slices.ContainsFunc(other, func(o ground) bool { return o.shape == g.shape }) {
			out = append(out, g)
		}
	}
	return out
}
