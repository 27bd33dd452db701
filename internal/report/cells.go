package report

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/usage"
)

// WriteCellsPage writes what differs between the cells of a suite with --matrix: verdicts, times, and the words by which a fault showed.
func WriteCellsPage(w io.Writer, rep *v1alpha1.Report) error {
	var names, columns []string
	at := map[[2]string]v1alpha1.ScenarioResult{}
	for _, r := range rep.Results {
		if r.Cell == "" || r.Control != v1alpha1.ControlNone {
			continue
		}
		if !slices.Contains(columns, r.Cell) {
			columns = append(columns, r.Cell)
		}
		if !slices.Contains(names, r.Scenario) {
			names = append(names, r.Scenario)
		}
		at[[2]string{r.Scenario, r.Cell}] = r
	}
	if len(columns) == 0 {
		return usage.Errorf("this report has no cells: `sickbay suite --matrix kubernetes=1.34,1.37 --report DIR` makes one that has")
	}
	slices.Sort(names)
	var b strings.Builder
	fmt.Fprintf(&b, `# Cells

Made by `+"`sickbay report DIR --cells`"+`; do not edit. %s · %s

Each cell has the verdict, and the seconds from the fault to its last signal, to the finding, and of the whole run.

| scenario | %s |
|---|%s
`, rep.Started.UTC().Format("2006-01-02"), rep.Host, strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, name := range names {
		fmt.Fprintf(&b, "| %s |", name)
		for _, c := range columns {
			r, ran := at[[2]string{name, c}]
			if !ran {
				b.WriteString(" – |")
				continue
			}
			v, _ := standing(&r)
			fmt.Fprintf(&b, " %s %.0f / %.0f / %.0f |", v, r.Clocks.Signal, r.Clocks.Finding, r.Ended.Sub(r.Started).Seconds())
		}
		b.WriteString("\n")
	}
	head := "\n## What did not pass\n\n"
	for _, r := range rep.Results {
		if r.Cell != "" && r.Control == v1alpha1.ControlNone && r.Verdict != v1alpha1.VerdictPassed {
			first, _, _ := strings.Cut(r.Reason, "\n")
			fmt.Fprintf(&b, "%s- %s, %s: %s: %s\n", head, r.Scenario, r.Cell, r.Verdict, first)
			head = ""
		}
	}
	writeWords(&b, names, columns, at)
	_, err := io.WriteString(w, b.String())
	return err
}

// writeWords writes the signals whose words differ.
func writeWords(b *strings.Builder, names, columns []string, at map[[2]string]v1alpha1.ScenarioResult) {
	b.WriteString("\n## Words that differ\n\nThe signals of scenarios whose words are not the same in all cells; numbers and names of the run are left out.\n")
	for _, name := range names {
		var lines []string
		same := true
		first := ""
		for _, c := range columns {
			r, ran := at[[2]string{name, c}]
			if !ran || len(r.Signals) == 0 {
				continue
			}
			words := signalWords(&r)
			if first == "" {
				first = words
			}
			same = same && words == first
			lines = append(lines, fmt.Sprintf("- %s: `%s`", c, words))
		}
		if !same {
			fmt.Fprintf(b, "\n%s\n\n%s\n", name, strings.Join(lines, "\n"))
		}
	}
}

// ofTheRun is what no two runs have the same: times, numbers, ids, and what is named by them.
var ofTheRun = regexp.MustCompile(`[A-Za-z0-9_./:@-]*[0-9][A-Za-z0-9_./:@-]*`)

func signalWords(r *v1alpha1.ScenarioResult) string {
	var all []string
	for _, s := range r.Signals {
		text := s.Text
		if text == "" {
			text = "not seen: " + s.Want
		}
		all = append(all, strings.NewReplacer("`", "'", "|", "/", "\n", " ").Replace(ofTheRun.ReplaceAllString(text, "…")))
	}
	return strings.Join(all, "; ")
}
