package chaos

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/suites"
)

const killMatrixHead = `# The kill matrix

` + "`sickbay chaos`" + ` (` + "`make chaos-self`" + `) runs each core scenario in a process of its own and kills that process (SIGKILL) at the start
of each of the seven steps and in the middle of two: of inject, while the node is at the fault's middle action (its journal has the
injection, the harness no answer), and of remediate, when half of the remedies' steps are done. Then one of two things happens:

- **wait**: nothing at all. The number is how many seconds after the end of the lease the node was Ready, its fingerprint and the
  host's equal to what they were before, and nothing of the run left: no record, no namespace, no container, no object. The bound is 60.
- **recover**: ` + "`sickbay recover --run RUN`" + ` at once. The number is how many seconds after it was called the same was true.

In each cell ` + "`sickbay diagnose`" + ` is asked of the node then, with its memory of ten minutes, and has to say that it is well. Where that took
longer than a second after the number in the table, the seconds stand behind a plus.

The process kills itself (` + "`sickbay run --kill-at POINT`" + `): nobody outside could strike as exactly, and a SIGKILL of one's own is
as deadly as anybody else's. What the engine's clients, the agent and the watchdog were doing goes on or ends as it would.

One cell again: ` + "`sickbay chaos --again --scenario SCENARIO --point POINT --mode MODE`" + `, with the names of the table's lines and columns.
Made by ` + "`sickbay chaos --table`" + `; do not edit. · is a cell that was not run, ✗ one that failed, ? one whose run ended before the point.
`

const interruptHead = `A Ctrl-C (SIGINT) in place of the kill. The process recovers by itself and exits with 130; the number is how many seconds after that
the same was seen to be true.

`

// WriteKillMatrix writes the results as a page, a table for each mode.
func WriteMatrix(w io.Writer, scenarios []string, results map[Strike]Result) {
	fmt.Fprint(w, killMatrixHead)
	for _, m := range Modes() {
		if m == Interrupt && !slices.ContainsFunc(slices.Collect(maps.Keys(results)), func(c Strike) bool { return c.Mode == m }) {
			continue // it is no part of the promise that is measured here
		}
		count := map[v1alpha1.Verdict]int{}
		fmt.Fprintf(w, "\n## %s\n\n", m)
		if m == Interrupt {
			fmt.Fprint(w, interruptHead)
		}
		fmt.Fprint(w, "| scenario |")
		for _, p := range suites.Points() {
			fmt.Fprintf(w, " %s |", p)
		}
		fmt.Fprintf(w, "\n|---|%s\n", strings.Repeat("---|", len(suites.Points())))
		for _, s := range scenarios {
			fmt.Fprintf(w, "| %s |", s)
			for _, p := range suites.Points() {
				r, ok := results[Strike{s, p, m}]
				if ok {
					count[r.Verdict]++
				}
				fmt.Fprintf(w, " %s |", field(r))
			}
			fmt.Fprintln(w)
		}
		cells := len(scenarios) * len(suites.Points())
		fmt.Fprintf(w, "\nOf %d cells %d passed, %d failed, %d ended before their point, %d are unsupported on this host, %d were not run.\n",
			cells, count[v1alpha1.VerdictPassed], count[v1alpha1.VerdictFailed], count[v1alpha1.VerdictUnknown], count[v1alpha1.VerdictUnsupported], cells-count[v1alpha1.VerdictPassed]-count[v1alpha1.VerdictFailed]-count[v1alpha1.VerdictUnknown]-count[v1alpha1.VerdictUnsupported])
	}
	var wrong []Result
	for _, r := range results {
		if r.Verdict != v1alpha1.VerdictPassed && r.Verdict != v1alpha1.VerdictUnsupported {
			wrong = append(wrong, r)
		}
	}
	if len(wrong) == 0 {
		return
	}
	slices.SortFunc(wrong, func(a, b Result) int { return strings.Compare(a.String(), b.String()) })
	fmt.Fprint(w, "\n## What went wrong\n\n")
	for _, r := range wrong {
		fmt.Fprintf(w, "- `%s` (%s): %s\n", r.Strike, r.Verdict, text.Short(r.Reason, 400))
	}
}

func field(r Result) string {
	switch r.Verdict {
	case v1alpha1.VerdictPassed:
		if r.Silent >= 1 {
			return fmt.Sprintf("%.0f+%.0f", r.Healed, r.Silent)
		}
		return fmt.Sprintf("%.0f", r.Healed)
	case v1alpha1.VerdictFailed:
		return "✗"
	case v1alpha1.VerdictUnknown:
		return "?"
	case v1alpha1.VerdictUnsupported:
		return "–"
	}
	return "·"
}
