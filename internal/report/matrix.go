package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/usage"
)

// NewMatrix is nil when there is nothing to confuse: no result with findings. A control is no row, nor is a scenario that this
// host cannot carry or of which nothing could be told.
func NewMatrix(rep *v1alpha1.Report) *v1alpha1.Matrix {
	m := &v1alpha1.Matrix{Clean: true}
	rows := slices.DeleteFunc(slices.Clone(rep.Results), func(r v1alpha1.ScenarioResult) bool {
		return r.Control != v1alpha1.ControlNone || r.Verdict == v1alpha1.VerdictUnknown || r.Verdict == v1alpha1.VerdictUnsupported
	})
	found := 0
	for _, r := range rows {
		m.Columns = append(m.Columns, r.Expected...)
		for _, f := range r.Findings {
			m.Columns = append(m.Columns, f.Name())
			found++
		}
	}
	if found == 0 {
		return nil
	}
	slices.SortFunc(m.Columns, byVocabulary)
	m.Columns = slices.Compact(m.Columns)
	// Rows in the order of what they expect, so that the diagonal shows; scenarios of several faults stand below it.
	slices.SortStableFunc(rows, func(a, b v1alpha1.ScenarioResult) int {
		if single := func(r v1alpha1.ScenarioResult) bool { return len(r.Expected) < 2 }; single(a) != single(b) {
			return map[bool]int{true: -1, false: 1}[single(a)]
		}
		return byVocabulary(strings.Join(a.Expected, " "), strings.Join(b.Expected, " "))
	})
	for _, r := range rows {
		row := v1alpha1.MatrixRow{Scenario: r.Named()}
		for _, c := range m.Columns {
			x := cell(r, c)
			m.Clean = m.Clean && x.Kind != v1alpha1.CellWrong && x.Kind != v1alpha1.CellMissed
			row.Cells = append(row.Cells, x)
		}
		m.Rows = append(m.Rows, row)
	}
	return m
}

func cell(r v1alpha1.ScenarioResult, column string) (c v1alpha1.MatrixCell) {
	elsewhere := false
	for _, f := range r.Findings {
		if f.Name() == column {
			c.N++
			elsewhere = elsewhere || f.Node != r.Node
		}
	}
	switch expected := slices.Contains(r.Expected, column); {
	case c.N == 0 && expected:
		c.Kind = v1alpha1.CellMissed
	case c.N == 0:
	case elsewhere:
		c.Kind = v1alpha1.CellWrong
	case expected:
		c.Kind = v1alpha1.CellExpected
	default:
		c.Kind = v1alpha1.CellWrong
	}
	return c
}

// byVocabulary orders "failure/cause" as the vocabulary does; what it does not know comes last.
func byVocabulary(a, b string) int {
	if d := place(a) - place(b); d != 0 {
		return d
	}
	return strings.Compare(a, b)
}

func place(name string) int {
	first, _, _ := strings.Cut(name, " ")
	n := 0
	for _, f := range failures.All() {
		for _, c := range f.Causes {
			if f.Name+"/"+c.Name == first {
				return n
			}
			n++
		}
	}
	return n
}

// WriteMatrix writes a matrix as a block of plain text: a row for a scenario, a numbered column for a finding.
func WriteMatrix(w io.Writer, m *v1alpha1.Matrix) error {
	sign := map[v1alpha1.CellKind]string{"": "·", v1alpha1.CellExpected: "■", v1alpha1.CellWrong: "✗", v1alpha1.CellMissed: "–"}
	wide := 0
	for _, r := range m.Rows {
		wide = max(wide, len(r.Scenario))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%*s", wide, "")
	for i := range m.Columns {
		fmt.Fprintf(&b, " %2d", i+1)
	}
	for _, r := range m.Rows {
		fmt.Fprintf(&b, "\n%-*s", wide, r.Scenario)
		for _, c := range r.Cells {
			b.WriteString("  " + sign[c.Kind])
		}
	}
	b.WriteString("\n\n")
	for i, c := range m.Columns {
		fmt.Fprintf(&b, "%2d %s\n", i+1, c)
	}
	fmt.Fprintf(&b, "\n%s expected and found   %s found, not expected   %s expected, missed\n",
		sign[v1alpha1.CellExpected], sign[v1alpha1.CellWrong], sign[v1alpha1.CellMissed])
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteMatrixPage writes docs/results/confusion-matrix.md from one report: the matrix, the controls, and every scenario's fidelity.
func WriteMatrixPage(w io.Writer, rep *v1alpha1.Report) error {
	m := NewMatrix(rep)
	if m == nil {
		return usage.Errorf("this report has no findings: there is nothing to confuse")
	}
	var b strings.Builder
	b.WriteString("# Confusion matrix\n\n" +
		"Rows are scenarios, columns are findings, all from one run. Made by `sickbay report DIR --matrix`\n" +
		"from the report of a suite; do not edit.\n\n")
	fmt.Fprintf(&b, "%s · Kubernetes %s · %s · %s\n\n", rep.Started.UTC().Format("2006-01-02 15:04 UTC"), rep.Kubernetes, rep.Host, opinion(rep))
	b.WriteString("```\n")
	if err := WriteMatrix(&b, m); err != nil {
		return err
	}
	b.WriteString("```\n\n")

	if counts := CountControls(rep); len(counts) > 0 {
		b.WriteString("## Controls\n\nEvery scenario's controls were made in the same run, with the same injection: nothing injected (must be red at\n" +
			"manifest), the remedy withheld and a blind restart of containerd and kubelet (both must be red at clear).\n\n")
		for _, c := range counts {
			fmt.Fprintf(&b, "- %s\n", c)
		}
		b.WriteString("\n")
	}

	b.WriteString("## Scenarios\n\n| scenario | verdict | noop | no-remedy | blind restart | fidelity |\n|---|---|---|---|---|---|\n")
	for _, r := range rep.Results {
		if r.Control != v1alpha1.ControlNone {
			continue
		}
		said := func(c v1alpha1.Control) string {
			i := slices.IndexFunc(r.Controls, func(x v1alpha1.ControlRun) bool { return x.Control == c })
			switch {
			case i < 0:
				return "–"
			case r.Controls[i].Held:
				return "red"
			case r.Controls[i].Verdict == v1alpha1.VerdictPassed:
				return "**green**"
			default:
				return "**" + string(r.Controls[i].Verdict) + "**"
			}
		}
		verdict := string(r.Verdict)
		if r.Verdict != v1alpha1.VerdictPassed {
			verdict = "**" + verdict + "**: " + inCell(r.Reason)
		}
		fidelity := r.Fidelity.Level
		if r.Fidelity.Differs != "" {
			fidelity += ": " + inCell(r.Fidelity.Differs)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.Named(), verdict, said(v1alpha1.ControlNoop), said(v1alpha1.ControlNoRemedy), said(v1alpha1.ControlBlindRestart), fidelity)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// inCell makes a text fit into a table's cell.
func inCell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
