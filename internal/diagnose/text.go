package diagnose

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/docs"
)

// TextOptions say how a diagnosis is written for a person.
type TextOptions struct {
	Color bool
	Width int // columns; 0 is 100
	// Evidence is how many evidence lines a finding shows; 0 is 3.
	Evidence int
	// Whole shows commands of several lines to their end: what is to be approved.
	Whole bool
	// Unknown lists every source that could not be read; otherwise they are counted.
	Unknown bool
}

// style wraps text in terminal attributes, or does not.
type style bool

func (s style) paint(code, text string) string {
	if !s {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(t string) string   { return s.paint("1", t) }
func (s style) dim(t string) string    { return s.paint("2", t) }
func (s style) red(t string) string    { return s.paint("1;31", t) }
func (s style) green(t string) string  { return s.paint("1;32", t) }
func (s style) yellow(t string) string { return s.paint("33", t) }

// WriteText writes a diagnosis as a person reads it, top down: the verdict, and for each finding its cause, the evidence that
// decides it, what it explains, and the remedy with its commands.
func WriteText(w io.Writer, d Diagnosis, o TextOptions) error {
	if o.Width <= 0 {
		o.Width = 100
	}
	if o.Evidence <= 0 {
		o.Evidence = 3
	}
	var b strings.Builder
	s := style(o.Color)
	b.WriteString(verdict(d, s) + "\n")
	for _, f := range d.Findings {
		b.WriteString("\n")
		writeFinding(&b, f, s, o)
	}
	writeUnknown(&b, d, s, o)
	_, err := io.WriteString(w, b.String())
	return err
}

func verdict(d Diagnosis, s style) string {
	where := ""
	if d.Cluster != "" {
		where = " of cluster " + d.Cluster
	}
	ill := map[string]bool{}
	for _, f := range d.Findings {
		ill[f.Node] = true
	}
	blind := 0
	for _, u := range d.Unknown {
		if u.What == "node" {
			blind++
		}
	}
	switch {
	case len(ill) > 0:
		return s.red("ILL") + fmt.Sprintf("  %d of %d node(s)%s: %s", len(ill), len(d.Nodes), where, count(len(d.Findings), "finding"))
	case blind > 0:
		return s.yellow("UNKNOWN") + fmt.Sprintf("  no finding%s, but %d of %d node(s) could not be looked at, or only in part", where, blind, len(d.Nodes))
	default:
		return s.green("HEALTHY") + fmt.Sprintf("  %d node(s)%s, no finding", len(d.Nodes), where)
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// label is the width of the left column.
const label = 11

func writeFinding(b *strings.Builder, f v1alpha1.Finding, s style, o TextOptions) {
	head := s.bold(f.Node) + "  " + s.red(f.Failure+"/"+f.Cause)
	if f.Certainty == v1alpha1.Certain {
		head += "  " + s.dim("certain")
	} else {
		head += "  " + s.yellow("likely")
	}
	b.WriteString(head + "\n")
	row := func(name, text string) {
		for i, line := range wrap(text, o.Width-label-2) {
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(b, "  %s%s\n", s.dim(fmt.Sprintf("%-*s", label, name)), line)
		}
	}
	row("cause", f.Summary)
	if f.Object != nil {
		name := f.Object.Name
		if f.Object.Namespace != "" {
			name = f.Object.Namespace + "/" + name
		}
		row("object", strings.ToLower(f.Object.Kind)+" "+name)
	}
	for i, e := range f.Evidence {
		if i == o.Evidence {
			break
		}
		name := ""
		if i == 0 {
			name = "decided by"
		}
		when := ""
		if !e.At.IsZero() {
			when = e.At.Local().Format("15:04:05") + " "
		}
		// One line each: an evidence line is to be compared with the log it came from, not to be read as prose.
		prefix := when + e.Source + ": "
		text := strings.Join(strings.Fields(e.Text), " ")
		fmt.Fprintf(b, "  %s%s%s\n", s.dim(fmt.Sprintf("%-*s", label, name)), s.dim(prefix), cut(text, max(40, o.Width-label-2-len([]rune(prefix)))))
	}
	if more := len(f.Evidence) - o.Evidence; more > 0 {
		row("", s.dim(fmt.Sprintf("and %d more with -o json", more)))
	}
	if f.ToConfirm != "" {
		row("to settle", f.ToConfirm)
	}
	for i, e := range f.Consequences {
		name := ""
		if i == 0 {
			name = "explains"
		}
		row(name, e)
	}
	writeRemedy(b, f.Remedy, f.ManualAction, s, o, row)
	if look := byHand(f); look != "" {
		row("by hand", s.dim(look))
	}
	if _, ok := failures.Lookup(f.Failure); ok {
		row("more", s.dim("sickbay explain "+f.Failure+"/"+f.Cause))
	}
}

var nodeOrPod = regexp.MustCompile(`\b(NODE|POD)\b`)

// byHand is how to see the same without sickbay, with the finding's own node and pod in the command.
func byHand(f v1alpha1.Finding) string {
	return nodeOrPod.ReplaceAllStringFunc(docs.Look(f.Failure, f.Cause), func(word string) string {
		switch {
		case word == "NODE":
			return f.Node
		case f.Object != nil && f.Object.Kind == "Pod":
			return f.Object.Name + " -n " + f.Object.Namespace
		}
		return word
	})
}

func writeRemedy(b *strings.Builder, r *v1alpha1.Remedy, untouched string, s style, o TextOptions, row func(string, string)) {
	if r == nil || len(r.Steps) == 0 {
		if untouched == "" {
			untouched = "nothing that is safe to apply without knowing more"
		}
		row("no remedy", untouched)
		return
	}
	defer func() {
		if untouched != "" {
			row("for you", untouched)
		}
	}()
	row("remedy", r.Name)
	for i, st := range r.Steps {
		on := ""
		if st.On != "" {
			on = s.dim("on " + st.On + ": ")
		}
		note := ""
		if st.Disruptive {
			note = "  " + s.yellow("disrupts running pods")
		}
		command := oneLine(st.Run)
		if o.Whole {
			command = strings.ReplaceAll(strings.TrimSpace(st.Run), "\n", fmt.Sprintf("\n  %-*s   ", label, ""))
		}
		fmt.Fprintf(b, "  %-*s%d. %s%s%s\n", label, "", i+1, on, s.bold(command), note)
		for _, line := range wrap(st.Why, o.Width-label-5) {
			fmt.Fprintf(b, "  %-*s   %s\n", label, "", s.dim(line))
		}
	}
}

// oneLine keeps a command of several lines (an applied manifest) to its first.
func oneLine(s string) string {
	first, rest, more := strings.Cut(strings.TrimSpace(s), "\n")
	if more {
		return fmt.Sprintf("%s … (%d more lines with -o json)", first, strings.Count(rest, "\n")+1)
	}
	return first
}

func writeUnknown(b *strings.Builder, d Diagnosis, s style, o TextOptions) {
	if len(d.Unknown) == 0 {
		return
	}
	b.WriteString("\n")
	row := func(text string) {
		for i, line := range wrap(text, o.Width-10) {
			if i == 0 {
				fmt.Fprintf(b, "%s  %s\n", s.yellow("not seen"), line)
			} else {
				fmt.Fprintf(b, "%10s%s\n", "", line)
			}
		}
	}
	sources := map[string][]string{}
	for _, u := range d.Unknown {
		// Of a node that nobody could look at, and of the API server, the reason is told; of single sources only when asked.
		switch {
		case u.What == "node":
			row(u.Node + ": " + oneLine(u.Why))
		case u.What == "api" || o.Unknown:
			row(strings.TrimSpace(u.Node+" "+u.What) + ": " + oneLine(u.Why))
		case !slices.Contains(sources[u.Node], u.What):
			sources[u.Node] = append(sources[u.Node], u.What)
		}
	}
	for _, node := range slices.Sorted(maps.Keys(sources)) {
		row(node + " " + strings.Join(sources[node], ", ") + "; -o json says why")
	}
}

func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// wrap breaks text into lines of at most n columns at spaces. Terminal attributes count as columns: only short texts have them.
func wrap(text string, n int) []string {
	var out []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) <= n:
			line += " " + word
		default:
			out = append(out, line)
			line = word
		}
	}
	if line != "" {
		out = append(out, line)
	}
	return out
}
