package suites

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/failures"
)

// Matrix is the confusion matrix of one report: scenarios against findings. Off the diagonal may stand only what a scenario
// declares as a consequence.
type Matrix struct {
	Columns []string    `json:"columns"` // failure/cause, in the vocabulary's order
	Rows    []MatrixRow `json:"rows"`
	// Clean tells that nothing was missed and nothing found that is not declared.
	Clean bool `json:"clean"`
}

// MatrixRow is one scenario; Cells has one for every column.
type MatrixRow struct {
	Scenario string `json:"scenario"`
	Cells    []Cell `json:"cells"`
}

// Cell is how often a scenario's run gave a finding, on any node, and what that means.
type Cell struct {
	N    int      `json:"n"`
	Kind CellKind `json:"kind,omitempty"`
}

// CellKind is what a cell means; empty for what was neither expected nor found.
type CellKind string

// Kinds of cells.
const (
	CellExpected    CellKind = "expected"
	CellConsequence CellKind = "consequence" // declared by the scenario
	CellWrong       CellKind = "wrong"       // neither, or on another node
	CellMissed      CellKind = "missed"      // expected, and not found
)

// NewMatrix is nil when there is nothing to confuse: no result with findings. A control is no row, nor is a scenario that this
// host cannot carry or of which nothing could be told.
func NewMatrix(rep *Report) *Matrix {
	m := &Matrix{Clean: true}
	rows := slices.DeleteFunc(slices.Clone(rep.Results), func(r Result) bool {
		return r.Control != NoControl || r.Verdict == Unknown || r.Verdict == Unsupported
	})
	found := 0
	for _, r := range rows {
		m.Columns = append(m.Columns, r.Expected...)
		for _, f := range r.Findings {
			m.Columns = append(m.Columns, findingName(f))
			found++
		}
	}
	if found == 0 {
		return nil
	}
	slices.SortFunc(m.Columns, byVocabulary)
	m.Columns = slices.Compact(m.Columns)
	// Rows in the order of what they expect, so that the diagonal shows; scenarios of several faults stand below it.
	slices.SortStableFunc(rows, func(a, b Result) int {
		if single := func(r Result) bool { return len(r.Expected) < 2 }; single(a) != single(b) {
			return map[bool]int{true: -1, false: 1}[single(a)]
		}
		return byVocabulary(strings.Join(a.Expected, " "), strings.Join(b.Expected, " "))
	})
	for _, r := range rows {
		row := MatrixRow{Scenario: r.Scenario}
		for _, c := range m.Columns {
			x := cell(r, c)
			m.Clean = m.Clean && x.Kind != CellWrong && x.Kind != CellMissed
			row.Cells = append(row.Cells, x)
		}
		m.Rows = append(m.Rows, row)
	}
	return m
}

func cell(r Result, column string) (c Cell) {
	elsewhere := false
	for _, f := range r.Findings {
		if findingName(f) == column {
			c.N++
			elsewhere = elsewhere || f.Node != r.Node
		}
	}
	switch expected := slices.Contains(r.Expected, column); {
	case c.N == 0 && expected:
		c.Kind = CellMissed
	case c.N == 0:
	case elsewhere:
		c.Kind = CellWrong
	case expected:
		c.Kind = CellExpected
	case slices.Contains(r.Consequences, column):
		c.Kind = CellConsequence
	default:
		c.Kind = CellWrong
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

// WriteText writes the matrix as a block of plain text: a row for a scenario, a numbered column for a finding.
func (m *Matrix) WriteText(w io.Writer) error {
	sign := map[CellKind]string{"": "·", CellExpected: "■", CellConsequence: "c", CellWrong: "✗", CellMissed: "–"}
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
	fmt.Fprintf(&b, "\n%s expected and found   %s declared consequence   %s found, not expected   %s expected, missed\n",
		sign[CellExpected], sign[CellConsequence], sign[CellWrong], sign[CellMissed])
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteMatrixPage writes docs/results/confusion-matrix.md from one report: the matrix, the controls, and every scenario's fidelity.
func WriteMatrixPage(w io.Writer, rep *Report) error {
	m := NewMatrix(rep)
	if m == nil {
		return usagef("this report has no findings: there is nothing to confuse")
	}
	var b strings.Builder
	b.WriteString("# Confusion matrix\n\n" +
		"Rows are scenarios, columns are findings, all from one run; off the diagonal stands only what a scenario declares as a\n" +
		"consequence. Made by `sickbay report DIR --matrix` from the report of `make conformance`; do not edit.\n\n")
	fmt.Fprintf(&b, "%s · Kubernetes %s · %s · %s\n\n", rep.Started.UTC().Format("2006-01-02 15:04 UTC"), rep.Kubernetes, rep.Host, opinion(rep))
	b.WriteString("```\n")
	if err := m.WriteText(&b); err != nil {
		return err
	}
	b.WriteString("```\n\n")

	if counts := countControls(rep); len(counts) > 0 {
		b.WriteString("## Controls\n\nEvery scenario's controls were made in the same run, with the same injection: nothing injected (must be red at\n" +
			"manifest), the remedy withheld and a blind restart of containerd and kubelet (both must be red at clear).\n\n")
		for _, c := range counts {
			fmt.Fprintf(&b, "- %s\n", c)
		}
		b.WriteString("\n")
	}

	b.WriteString("## Scenarios\n\n| scenario | verdict | noop | no-remedy | blind restart | fidelity |\n|---|---|---|---|---|---|\n")
	for _, r := range rep.Results {
		if r.Control != NoControl {
			continue
		}
		said := func(c Control) string {
			i := slices.IndexFunc(r.Controls, func(x ControlRun) bool { return x.Control == c })
			switch {
			case i < 0:
				return "–"
			case r.Controls[i].Held:
				return "red"
			case r.Controls[i].Verdict == Passed:
				return "**green**"
			default:
				return "**" + string(r.Controls[i].Verdict) + "**"
			}
		}
		verdict := string(r.Verdict)
		if r.Verdict != Passed {
			verdict = "**" + verdict + "**: " + inCell(r.Reason)
		}
		fidelity := r.Fidelity.Level
		if r.Fidelity.Differs != "" {
			fidelity += ": " + inCell(r.Fidelity.Differs)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.Scenario, verdict, said(NoopControl), said(NoRemedy), said(BlindRestart), fidelity)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// inCell makes a text fit into a table's cell.
func inCell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
