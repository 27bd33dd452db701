package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/docs"
	"github.com/sickbay-dev/sickbay/internal/causal"
	"github.com/sickbay-dev/sickbay/internal/text"
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
	// Explains, ExplainedBy, Before and After are its edges in the causal graph.
	Explains    []related `json:"explains,omitempty"`
	ExplainedBy []related `json:"explainedBy,omitempty"`
	Before      []related `json:"treatBefore,omitempty"`
	After       []related `json:"treatAfter,omitempty"`
	// Also are other failures that what was asked for leads to.
	Also []string `json:"also,omitempty"`
}

// related is the other end of an edge.
type related struct {
	Cause string `json:"cause"` // failure/cause
	Why   string `json:"why"`
}

// relate fills in the edges of the failure, or of its cause alone.
func (e *explanation) relate() {
	from, to := causal.Default().Of(e.Failure, e.Cause)
	for _, edge := range from {
		list := &e.Explains
		if edge.Scope == causal.Order {
			list = &e.Before
		}
		*list = append(*list, related{Cause: edge.To, Why: edge.Why})
	}
	for _, edge := range to {
		list := &e.ExplainedBy
		if edge.Scope == causal.Order {
			list = &e.After
		}
		*list = append(*list, related{Cause: edge.From, Why: edge.Why})
	}
}

func (e *explanation) showRelated(w io.Writer) {
	for _, part := range []struct {
		title string
		edges []related
	}{{"Explains", e.Explains}, {"Explained by", e.ExplainedBy}, {"Treat before", e.Before}, {"Treat after", e.After}} {
		if len(part.edges) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s:\n", part.title)
		table(w, func(row func(...string)) {
			for _, r := range part.edges {
				row("  "+r.Cause, r.Why)
			}
		})
	}
}

func (a *app) explain() *cobra.Command {
	var f diagnoseFlags
	cmd := &cobra.Command{
		Use:   "explain [FAILURE[/CAUSE] | WHAT YOU SEE]",
		Short: "Explain a failure: what to do first, how to recognise it, its causes and fixes",
		Long: `Explain a failure or one of its causes, by name or by what you see: a symptom as kubectl shows it, a log line, or a word (English
or Korean). Or print a chapter of the guide: symptoms, playbook (checks by hand, from the outside in) or checklist (settings that
must agree). With --node, --cluster, --local, --ssh or --bundle, diagnose first and explain each finding.`,
		Example: `  sickbay explain                        # all failures and causes
  sickbay explain ImagePullBackOff       # from a symptom to its failures
  sickbay explain "PLEG is not healthy: pleg was last seen active 3m12s ago"
  sickbay explain playbook
  sickbay explain pleg/runtime-io-stall
  sickbay explain --node dev-worker      # whatever that node has`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeFailures,
	}
	f.looks = 1
	a.addTargetFlags(cmd, &f.targetFlags)
	bundleFlag(cmd, &f.bundle, "explain what this recorded bundle shows")
	form := output(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		live := slices.ContainsFunc([]string{"cluster", "context", "node", "local", "ssh", "bundle"}, cmd.Flags().Changed)
		how := slices.IndexFunc(atLook, cmd.Flags().Changed)
		switch {
		case how >= 0 && !live:
			return usagef("--%s needs --cluster, --context, --node, --local or --ssh: it says how to look at nodes", atLook[how])
		case live && len(args) > 0:
			return usagef("name a failure, or say what to look at, not both")
		case live:
			return a.explainFindings(cmd.Context(), f, *form)
		case len(args) == 0:
			return a.explainAll(*form)
		}
		e, err := explainWord(strings.Join(args, " "))
		if err != nil {
			return err
		}
		return print(a, *form, e, func(w io.Writer) {
			a.showMarkdown(w, e.Text)
			e.showRelated(w)
			if len(e.Scenarios) > 0 {
				fmt.Fprintf(w, "\nSee it happen: sickbay lab %s\n", e.Scenarios[0])
			}
			if len(e.Also) > 0 && e.Failure != "" {
				fmt.Fprintf(w, "\nOther failures with the same signal: %s.\n", strings.Join(e.Also, ", "))
			}
		})
	}
	return cmd
}

// explainFindings diagnoses and explains each cause that was found.
func (a *app) explainFindings(ctx context.Context, f diagnoseFlags, form format) error {
	d, err := a.diagnosis(ctx, f)
	if err != nil {
		return err
	}
	all := []*explanation{}
	for _, x := range d.Findings {
		e, err := explainOne(x.Failure + "/" + x.Cause)
		if err != nil {
			return err
		}
		all = append(all, e)
	}
	err = print(a, form, listOf("ExplanationList", all), func(w io.Writer) {
		for i, e := range all {
			x := d.Findings[i]
			fmt.Fprintf(w, "%s  %s\n%s\n\n", a.paint(bold, x.Node), a.paint(red, x.Failure+"/"+x.Cause), x.Summary)
			a.showMarkdown(w, e.Text)
			fmt.Fprintln(w)
		}
		if len(all) == 0 {
			fmt.Fprintln(w, "No finding to explain.")
		}
	})
	if err != nil {
		return err
	}
	return verdictOf(d)
}

func (a *app) explainAll(form format) error {
	var all []explanation
	for _, f := range failures.All() {
		e := explanation{APIVersion: v1alpha1.APIVersion, Kind: "Explanation", Failure: f.Name, Title: f.Title, Scenarios: scenariosOf(f.Name, "")}
		for _, c := range f.Causes {
			e.Causes = append(e.Causes, c.Name)
		}
		all = append(all, e)
	}
	return print(a, form, listOf("ExplanationList", all), func(w io.Writer) {
		table(w, func(row func(...string)) {
			row("FAILURE", "CAUSES", "TITLE")
			for _, e := range all {
				row(e.Failure, strings.Join(e.Causes, " "), e.Title)
			}
		})
	})
}

// explainWord answers with the first that fits: a failure or cause, a page, a symptom, what is said where those words are seen.
func explainWord(arg string) (*explanation, error) {
	e, unknown := explainOne(arg)
	if unknown == nil {
		return e, nil
	}
	e = &explanation{APIVersion: v1alpha1.APIVersion, Kind: "Explanation", Title: arg, Causes: []string{}}
	if text, ok := docs.Chapter(arg); ok {
		e.Text = text
		return e, nil
	}
	if name, text, ok := docs.Symptom(arg); ok {
		e.Title, e.Text = name, text
		return e, nil
	}
	name, _ := failures.Split(arg)
	hits := docs.Search(arg)
	if _, known := failures.Lookup(name); known || len(hits) == 0 {
		return nil, unknown
	}
	names := make([]string, len(hits))
	for i, h := range hits {
		names[i] = strings.TrimSuffix(h.Failure+"/"+h.Cause, "/")
	}
	if len(hits) == 1 || hits[0].Length > hits[1].Length {
		e, err := explainOne(names[0])
		if err == nil {
			e.Also = names[1:]
		}
		return e, err
	}
	// Which of them it is, the words alone do not tell.
	var b strings.Builder
	fmt.Fprintf(&b, "# Several failures show this: %s\n\nTheir pages say how to tell them apart:\n\n```console\n", arg)
	for i, h := range hits {
		title, _ := failures.Lookup(h.Failure)
		what := title.Title
		if c, ok := title.Cause(h.Cause); ok {
			what = c.Title
		}
		fmt.Fprintf(&b, "%-60s # %s\n", "sickbay explain "+names[i], what)
	}
	b.WriteString("```\n")
	e.Text, e.Also = b.String(), names
	return e, nil
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
		return nil, unknownName("failure", name, text.Near(arg, known, 3), "`sickbay explain` lists all.")
	}
	e := &explanation{APIVersion: v1alpha1.APIVersion, Kind: "Explanation", Failure: f.Name, Cause: cause, Title: f.Title, Scenarios: scenariosOf(name, cause)}
	for _, c := range f.Causes {
		e.Causes = append(e.Causes, c.Name)
	}
	page, err := detectors.Page(f.Name)
	if err != nil {
		return nil, fmt.Errorf("read the page of failure %s: %w", f.Name, err)
	}
	e.Text = actFirst(page, "## First")
	if cause == "" {
		e.relate()
		return e, nil
	}
	c, ok := f.Cause(cause)
	if !ok {
		return nil, unknownName("cause of "+f.Name, cause, text.Near(cause, e.Causes, 2), "It has "+strings.Join(e.Causes, ", ")+".")
	}
	e.Title = c.Title
	e.relate()
	e.Text = actFirst(onlyCause(e.Text, cause), "### "+cause)
	return e, nil
}

// actFirst moves a section below the title: a reader who came from a finding knows the symptoms and wants to act.
func actFirst(page, heading string) string {
	before, section, found := strings.Cut(page, "\n"+heading+"\n")
	title, before, _ := strings.Cut(before, "\n")
	if !found {
		return page
	}
	after := ""
	if i := strings.Index(section, "\n##"); i >= 0 {
		section, after = section[:i], section[i+1:]
	}
	before = strings.TrimSuffix(strings.TrimSpace(before), "\n\n## Causes") // of which the one was moved
	return title + "\n\n" + heading + "\n" + strings.TrimRight(section, "\n") + "\n\n" + before + "\n\n" + after
}

// onlyCause drops the sections of the other causes.
func onlyCause(page, keep string) string {
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

func unknownName(what, name, near, hint string) error {
	return &usageError{text: fmt.Sprintf("no %s %q%s", what, text.Short(name, 80), near), hint: hint}
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
