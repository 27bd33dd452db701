package diagnose

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/docs"
	"github.com/sickbay-dev/sickbay/internal/facts"
	plain "github.com/sickbay-dev/sickbay/internal/text"
)

// TextOptions say how a diagnosis is written for a person.
type TextOptions struct {
	Color bool
	// Width is the terminal's, in columns. 0 is no terminal: prose is wrapped at 100 columns, evidence is never cut.
	Width int
	// Evidence is how many evidence lines a finding shows; 0 is 3.
	Evidence int
	// Whole prints each step to its end and at the left margin, so that it can be pasted.
	Whole bool
	// Unknown lists every source that could not be read, with the reason; otherwise they are only named.
	Unknown bool
	// Now decides which times need a date; zero is time.Now.
	Now time.Time
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

// WriteText writes a diagnosis from the top down: the verdict, then for each finding the cause, the evidence, its consequences and
// the remedy with its commands.
func WriteText(w io.Writer, d v1alpha1.Diagnosis, o TextOptions) error {
	if o.Evidence <= 0 {
		o.Evidence = 3
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	d, err := shown(d)
	if err != nil {
		return err
	}
	t := text{d: d, o: o, style: style(o.Color), width: o.Width}
	if t.width <= 0 {
		t.width = 100
	}
	t.verdict()
	for i := range d.Findings {
		t.WriteString("\n")
		t.finding(i)
	}
	t.unknown()
	_, err = io.WriteString(w, t.String())
	return err
}

// shown is the diagnosis as it may be written to a terminal. Only a command has lines: a name with a line's end in it could look like one.
func shown(d v1alpha1.Diagnosis) (out v1alpha1.Diagnosis, err error) {
	raw, err := json.Marshal(d)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	plain.PlainAll(&out)
	line := func(s *string) { *s = strings.ReplaceAll(*s, "\n", `\n`) }
	line(&out.Cluster)
	line(&out.Context)
	if out.Recording != nil {
		line(&out.Recording.Note)
	}
	for i := range out.Findings {
		f := &out.Findings[i]
		line(&f.Node)
		if f.Remedy != nil {
			line(&f.Remedy.Name)
			for j := range f.Remedy.Steps {
				line(&f.Remedy.Steps[j].On)
			}
		}
	}
	return out, err
}

// text is a diagnosis being written.
type text struct {
	strings.Builder
	style
	d     v1alpha1.Diagnosis
	o     TextOptions
	width int
}

func (t *text) verdict() {
	of := ""
	if t.d.Cluster != "" {
		of = " of cluster " + t.d.Cluster
	}
	ill := map[string]bool{}
	for _, f := range t.d.Findings {
		ill[f.Node] = true
	}
	blind := 0
	for _, u := range t.d.Unknown {
		if u.What == "node" || u.What == verdict {
			blind++
		}
	}
	switch nodes := plain.Plural(len(t.d.Nodes), "node"); {
	case len(ill) > 0:
		fmt.Fprintf(t, "%s  %d of %s%s: %s", t.red("ILL"), len(ill), nodes, of, plain.Plural(len(t.d.Findings), "finding"))
		if len(t.d.Findings) > 1 {
			t.WriteString(", in the order in which to treat them")
		}
	case blind > 0:
		fmt.Fprintf(t, "%s  no finding%s, but %d of %s could not be read, or only in part", t.yellow("UNKNOWN"), of, blind, nodes)
	default:
		fmt.Fprintf(t, "%s  %s%s, no finding", t.green("HEALTHY"), nodes, of)
	}
	t.WriteString("\n")
	if r := t.d.Recording; r != nil {
		line := "recorded " + r.At.Local().Format(withDate) + " (" + ago(t.o.Now.Sub(r.At)) + ")"
		if r.Note != "" {
			line += ", note: " + r.Note
		}
		t.WriteString(line + "\n")
	}
}

const withDate = "2006-01-02 15:04:05 MST"

// when is a time of day, with date and zone unless it is of today.
func (t *text) when(at time.Time) string {
	at = at.Local()
	if at.Format(time.DateOnly) == t.o.Now.Local().Format(time.DateOnly) {
		return at.Format(time.TimeOnly)
	}
	return at.Format(withDate)
}

func ago(d time.Duration) string {
	switch {
	case d < 2*time.Hour:
		return plain.Plural(int(d.Minutes()), "minute") + " ago"
	case d < 48*time.Hour:
		return plain.Plural(int(d.Hours()), "hour") + " ago"
	}
	return plain.Plural(int(d.Hours()/24), "day") + " ago"
}

// label is the width of the left column.
const label = 14

func (t *text) row(name, value string) {
	for i, line := range wrap(value, t.width-label-2) {
		if i > 0 {
			name = ""
		}
		t.line(name, line)
	}
}

func (t *text) line(name, value string) {
	fmt.Fprintf(t, "  %s%s\n", t.dim(fmt.Sprintf("%-*s", label, name)), value)
}

func (t *text) finding(i int) {
	f := t.d.Findings[i]
	if len(t.d.Findings) > 1 {
		fmt.Fprintf(t, "%d. ", i+1)
	}
	certainty := t.dim("certain")
	if f.Certainty != v1alpha1.Certain {
		certainty = t.yellow("likely")
	}
	t.WriteString(t.bold(f.Node) + "  " + t.red(f.Failure+"/"+f.Cause) + "  " + certainty + "\n")
	t.row("cause", f.Summary)
	if f.Object != nil {
		name := f.Object.Name
		if f.Object.Namespace != "" {
			name = f.Object.Namespace + "/" + name
		}
		t.row("object", strings.ToLower(f.Object.Kind)+" "+name)
	}
	if since := oldest(f.Evidence); !since.IsZero() && t.d.At.Sub(since) >= 5*time.Second {
		t.row("since", t.when(since)+" or earlier")
	}
	t.pods(f.Node)
	t.evidence(f)
	if f.ToConfirm != "" {
		t.row("to confirm", f.ToConfirm)
	}
	for i, e := range f.Consequences {
		name := ""
		if i == 0 {
			name = "consequences"
		}
		t.row(name, e)
	}
	t.remedy(f)
	if look := f.Check; look != "" {
		if strings.Contains(look, "kubectl ") && !strings.Contains(look, "--kubeconfig") && contextOf(t.d) != "" {
			look = withContext(look, contextOf(t.d))
		} else if !strings.HasPrefix(look, "kubectl ") {
			look = "on " + f.Node + ": " + look
		}
		t.row("check", t.dim(look))
	}
	if _, ok := failures.Lookup(f.Failure); ok {
		t.row("more", t.dim("sickbay explain "+f.Failure+"/"+f.Cause))
	}
}

// oldest is the time of the oldest evidence, the least that is known: logs are read back ten minutes.
func oldest(list []v1alpha1.Evidence) (since time.Time) {
	for _, e := range list {
		if !e.At.IsZero() && (since.IsZero() || e.At.Before(since)) {
			since = e.At
		}
	}
	return since
}

func (t *text) evidence(f v1alpha1.Finding) {
	for i, e := range f.Evidence {
		if i == t.o.Evidence {
			t.line("", t.dim(fmt.Sprintf("and %d more with -o json", len(f.Evidence)-i)))
			break
		}
		name := ""
		if i == 0 {
			name = "evidence"
		}
		prefix := e.Source + ": "
		if !e.At.IsZero() {
			prefix = t.when(e.At) + " " + prefix
		}
		// One line each, to be compared with the log it came from.
		line := strings.Join(strings.Fields(e.Text), " ")
		if t.o.Width > 0 {
			line = cutMiddle(line, max(40, t.width-label-2-len([]rune(prefix))))
		}
		t.line(name, t.dim(prefix)+line)
	}
}

// podsShown is how many names the row of pods has; the rest are counted.
const podsShown = 3

func (t *text) pods(node string) {
	for _, p := range t.d.Pods {
		if p.Node != node || len(p.NotReady) == 0 {
			continue
		}
		names := strings.Join(p.NotReady[:min(podsShown, len(p.NotReady))], ", ")
		if more := len(p.NotReady) - podsShown; more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		t.row("pods", fmt.Sprintf("%d of %d on this node not ready: %s", len(p.NotReady), p.Total, names))
	}
}

var (
	placeholder = regexp.MustCompile(`\b(NODE|POD|REGISTRY(:443)?|APISERVER:6443)\b`)
	hostInURL   = regexp.MustCompile(`https?://([\w.-]+(?::\d+)?)(?:[/\s",]|$)`) // not a name that was shortened
	hostInImage = regexp.MustCompile(`image "?([^/\s"]+[.:][^/\s"]*)/`)
)

// byHand is how to see the same without sickbay, with the finding's own node and its runtime, pod, registry and API server in the command.
func byHand(f v1alpha1.Finding, o *v1alpha1.Observation) string {
	host := hostOf(f)
	command := facts.Here(o, docs.Look(f.Failure, f.Cause, facts.Runtime(o).Name))
	return placeholder.ReplaceAllStringFunc(command, func(word string) string {
		switch {
		case word == "NODE":
			return f.Node
		case word == "POD" && f.Object != nil && f.Object.Kind == "Pod":
			return f.Object.Name + " -n " + f.Object.Namespace
		case word == "POD" || host == "":
			return word
		case word == "REGISTRY":
			name, _, _ := strings.Cut(host, ":")
			return name
		case !strings.Contains(host, ":"):
			return host + word[strings.Index(word, ":"):]
		}
		return host
	})
}

// hostOf is the host that a finding's evidence names: a registry's or the API server's.
func hostOf(f v1alpha1.Finding) string {
	for _, pattern := range []*regexp.Regexp{hostInURL, hostInImage} {
		for _, e := range f.Evidence {
			if m := pattern.FindStringSubmatch(e.Text); m != nil {
				return m[1]
			}
		}
	}
	return ""
}

func (t *text) remedy(f v1alpha1.Finding) {
	r := f.Remedy
	if r == nil || len(r.Steps) == 0 {
		if f.ManualAction == "" {
			f.ManualAction = "no step is safe without knowing more"
		}
		t.row("no remedy", f.ManualAction)
		return
	}
	t.row("remedy", r.Name)
	for i, st := range r.Steps {
		on, note := "", ""
		if st.On != "" {
			on = t.dim("on " + st.On + ": ")
		}
		if note = "  " + t.dim(string(st.Class)); st.Class != v1alpha1.Safe {
			note = "  " + t.yellow(string(st.Class))
		}
		number := fmt.Sprintf("%-*s%d. ", label, "", i+1)
		if t.o.Whole {
			fmt.Fprintf(t, "  %s%s%s\n%s\n", number, on, strings.TrimSpace(note), t.bold(strings.TrimSpace(st.Run)))
		} else {
			fmt.Fprintf(t, "  %s%s%s%s\n", number, on, t.bold(oneLine(st.Run)), note)
		}
		say := func(text string) {
			for _, line := range wrap(text, t.width-label-5) {
				fmt.Fprintf(t, "  %-*s   %s\n", label, "", t.dim(line))
			}
		}
		say(st.Why)
		if st.Risk != "" {
			say("risk: " + st.Risk)
		}
		if st.Undo != "" && (t.o.Whole || st.Class == v1alpha1.Destructive) {
			fmt.Fprintf(t, "  %-*s   %s\n", label, "", t.dim("undo: "+strings.TrimSpace(st.Undo)))
		}
	}
	if f.ManualAction != "" {
		t.row("left to you", f.ManualAction)
	}
}

// oneLine keeps a command of several lines (an applied manifest) to its first.
func oneLine(s string) string {
	first, rest, more := strings.Cut(strings.TrimSpace(s), "\n")
	if more {
		return fmt.Sprintf("%s … (%d more lines with --whole)", first, strings.Count(rest, "\n")+1)
	}
	return first
}

func (t *text) unknown() {
	if len(t.d.Unknown) == 0 {
		return
	}
	t.WriteString("\n")
	row := func(value string) {
		for i, line := range wrap(value, t.width-10) {
			if i == 0 {
				fmt.Fprintf(t, "%s  %s\n", t.yellow("not seen"), line)
			} else {
				fmt.Fprintf(t, "%10s%s\n", "", line)
			}
		}
	}
	sources := map[string][]string{}
	for _, u := range t.d.Unknown {
		switch {
		case u.What == "node", u.What == verdict:
			row(u.Node + ": " + oneLine(u.Why))
		case u.What == "api" || t.o.Unknown:
			row(strings.TrimSpace(u.Node+" "+u.What) + ": " + oneLine(u.Why))
		case !slices.Contains(sources[u.Node], u.What):
			sources[u.Node] = append(sources[u.Node], u.What)
		}
	}
	for _, node := range slices.Sorted(maps.Keys(sources)) {
		row(node + " " + strings.Join(sources[node], ", ") + "; --unknown shows why")
	}
}

// cutMiddle shortens a line to n columns. Errors have their cause at the end, so most of what is kept is from there.
func cutMiddle(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	head := n / 3
	return string(r[:head]) + "…" + string(r[len(r)-(n-head-1):])
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
