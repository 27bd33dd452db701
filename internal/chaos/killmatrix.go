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

` + "`sickbay chaos`" + ` (` + "`make chaos-self`" + `) runs each core scenario in its own process and kills that process (SIGKILL) at the start
of each of the seven steps, in the middle of inject (the node has recorded the injection, the run has no answer yet), and in the middle of
remediate (half of the remedies' steps are done). Then one of two things happens:

- **wait**: nothing. The number is how many seconds after the end of the lease the node was Ready, its fingerprint and the host's were
  unchanged, and nothing of the run was left: no record, namespace, container or object. The limit is 60.
- **recover**: ` + "`sickbay recover --run RUN`" + ` at once. The number is how many seconds after the call the same was true.

In each cell ` + "`sickbay diagnose`" + ` then has to report the node healthy, with ten minutes of logs. If that took more than one second longer, the
seconds follow a plus.

The process kills itself (` + "`sickbay run --kill-at POINT`" + `): no other process could hit the point as exactly. The engine's clients,
the agent and the watchdog continue or end as they would.

To repeat one cell: ` + "`sickbay chaos --again --scenario SCENARIO --point POINT --mode MODE`" + `, with the names of the table's rows and columns.
Made by ` + "`sickbay chaos --table`" + `; do not edit. · is a cell that was not run, ✗ one that failed, ? one whose run ended before the point.
`

const interruptHead = `A Ctrl-C (SIGINT) in place of the kill. The process recovers by itself and exits with 130; the number is how many seconds after that
the same was seen to be true.

`

// WriteMatrix writes the results as a page, a table for each mode.
func WriteMatrix(w io.Writer, scenarios []string, results map[KillCase]Result) {
	fmt.Fprint(w, killMatrixHead)
	for _, m := range Modes() {
		if m == Interrupt && !slices.ContainsFunc(slices.Collect(maps.Keys(results)), func(c KillCase) bool { return c.Mode == m }) {
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
				r, ok := results[KillCase{s, p, m}]
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
		fmt.Fprintf(w, "- `%s` (%s): %s\n", r.KillCase, r.Verdict, text.Short(r.Reason, 400))
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
