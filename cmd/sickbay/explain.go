package main

import (
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/docs"
	"github.com/sickbay-dev/sickbay/failures"
	"github.com/sickbay-dev/sickbay/observation"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// explanation is what `explain -o json` prints.
type explanation struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Failure    string   `json:"failure"`
	Cause      string   `json:"cause,omitempty"`
	Title      string   `json:"title"`
	Causes     []string `json:"causes"`
	Scenarios  []string `json:"scenarios,omitempty"`
	Text       string   `json:"text"` // Markdown
}

func (a *app) explain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain [FAILURE[/CAUSE]]",
		Short: "Tell about a failure: its signals, where to look, its causes and what clears each",
		Long: `Tell about a failure or one of its causes; about a symptom, as kubectl shows it, and what is likely behind it; or show the pages
symptoms, playbook (looking by hand, from the outside in) and checklist (settings that have to agree).`,
		Example: `  sickbay explain                        # all failures and causes
  sickbay explain ImagePullBackOff       # from what you see to what it may be
  sickbay explain playbook
  sickbay explain pleg
  sickbay explain pleg/runtime-io-stall`,
		Args:              args(cobra.MaximumNArgs(1), "one failure, or failure/cause"),
		ValidArgsFunction: completeFailures,
	}
	form := output(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return a.explainAll(*form)
		}
		if e := explainField(args[0]); e != nil {
			return print(a, *form, e, func(w io.Writer) { a.showMarkdown(w, e.Text) })
		}
		e, err := explainOne(args[0])
		if err != nil {
			return err
		}
		return print(a, *form, e, func(w io.Writer) {
			a.showMarkdown(w, e.Text)
			if len(e.Scenarios) > 0 {
				fmt.Fprintf(w, "\nSee it happen: sickbay lab %s\n", e.Scenarios[0])
			}
		})
	}
	return cmd
}

func (a *app) explainAll(form format) error {
	var all []explanation
	for _, f := range failures.All() {
		e := explanation{APIVersion: observation.APIVersion, Kind: "Explanation", Failure: f.Name, Title: f.Title, Scenarios: scenariosOf(f.Name, "")}
		for _, c := range f.Causes {
			e.Causes = append(e.Causes, c.Name)
		}
		all = append(all, e)
	}
	return print(a, form, all, func(w io.Writer) {
		table(w, func(row func(...string)) {
			row("FAILURE", "CAUSES", "TITLE")
			for _, e := range all {
				row(e.Failure, strings.Join(e.Causes, " "), e.Title)
			}
		})
	})
}

// explainField answers with a field page, or with the section of a symptom; nil when the word is neither.
func explainField(arg string) *explanation {
	e := &explanation{APIVersion: observation.APIVersion, Kind: "Explanation", Title: arg, Causes: []string{}}
	if page, err := fs.ReadFile(docs.Field, "field/"+strings.ToLower(arg)+".md"); err == nil {
		e.Text = string(page)
		return e
	}
	page, err := fs.ReadFile(docs.Field, "field/symptoms.md")
	if err != nil {
		return nil
	}
	for _, section := range strings.Split(string(page), "\n## ")[1:] {
		name, _, _ := strings.Cut(section, "\n")
		if strings.EqualFold(name, arg) {
			e.Title, e.Text = name, "## "+section
			return e
		}
	}
	return nil
}

func explainOne(arg string) (*explanation, error) {
	name, cause := failures.Split(arg)
	f, ok := failures.Lookup(name)
	if !ok {
		// A cause alone is what people read in a finding: find its failure.
		var known []string
		for _, f := range failures.All() {
			known = append(known, f.Name)
			for _, c := range f.Causes {
				if c.Name == arg {
					return explainOne(f.Name + "/" + c.Name)
				}
				known = append(known, f.Name+"/"+c.Name)
			}
		}
		return nil, unknownName("failure", name, scenarios.Nearest(arg, known, 3), "`sickbay explain` lists them all.")
	}
	e := &explanation{APIVersion: observation.APIVersion, Kind: "Explanation", Failure: f.Name, Cause: cause, Title: f.Title, Scenarios: scenariosOf(name, cause)}
	for _, c := range f.Causes {
		e.Causes = append(e.Causes, c.Name)
	}
	page, err := fs.ReadFile(docs.Failures, "failures/"+f.Name+".md")
	if err != nil {
		return nil, fmt.Errorf("read the page of failure %s: %w", f.Name, err)
	}
	e.Text = string(page)
	if cause == "" {
		return e, nil
	}
	c, ok := f.Cause(cause)
	if !ok {
		return nil, unknownName("cause of "+f.Name, cause, scenarios.Nearest(cause, e.Causes, 2), "It has "+strings.Join(e.Causes, ", ")+".")
	}
	e.Title = c.Title
	e.Text = onlyCause(e.Text, e.Causes, cause)
	return e, nil
}

// onlyCause drops the sections of the other causes.
func onlyCause(page string, causes []string, keep string) string {
	var b strings.Builder
	skip := false
	for line := range strings.Lines(page) {
		if h, ok := strings.CutPrefix(strings.TrimSpace(line), "### "); ok {
			skip = h != keep
		} else if strings.HasPrefix(line, "## ") {
			skip = false
		}
		if !skip {
			b.WriteString(line)
		}
	}
	return b.String()
}

func unknownName(what, name string, near []string, hint string) error {
	e := &usageError{text: fmt.Sprintf("there is no %s %q", what, name), hint: hint}
	if len(near) > 0 {
		e.text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return e
}

func scenariosOf(failure, cause string) []string {
	all, err := scenarios.All()
	if err != nil {
		return nil
	}
	var out []string
	for _, s := range all {
		for _, x := range s.Spec.Expect {
			if x.Failure == failure && (cause == "" || x.Cause == cause) {
				out = append(out, s.Metadata.Name)
				break
			}
		}
	}
	return out
}

// showMarkdown writes a page for a terminal: the same text, headings bold, commands set off.
func (a *app) showMarkdown(w io.Writer, page string) {
	code := false
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			code = !code
		case code:
			fmt.Fprintln(w, "    "+line)
		case strings.HasPrefix(line, "#"):
			fmt.Fprintln(w, a.paint(bold, strings.TrimLeft(line, "# ")))
		default:
			fmt.Fprintln(w, line)
		}
	}
}
