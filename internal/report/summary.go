package report

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"al.essio.dev/pkg/shellescape"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// SummaryLimit is how large a step's summary may be on GitHub: 1 MiB, for all that is appended in one step.
const SummaryLimit = 1 << 20

// rank orders what a reader wants to see first.
var rank = map[v1alpha1.Verdict]int{
	v1alpha1.VerdictFailed: 0, v1alpha1.VerdictUnknown: 1, v1alpha1.VerdictFlaky: 2, v1alpha1.VerdictUnsupported: 3,
	v1alpha1.VerdictSkipped: 4, v1alpha1.VerdictPassed: 5,
}

var verdictSign = map[v1alpha1.Verdict]string{
	v1alpha1.VerdictPassed: "✅", v1alpha1.VerdictFailed: "❌", v1alpha1.VerdictUnknown: "❓", v1alpha1.VerdictFlaky: "⚠️", v1alpha1.VerdictUnsupported: "➖",
	v1alpha1.VerdictSkipped: "➖",
}

// WriteSummary writes a report as Markdown of at most limit bytes: what did not pass first, with its reason and the command that runs it
// again, then all scenarios. Rows that do not fit are counted.
func WriteSummary(w io.Writer, rep *v1alpha1.Report, limit int) error {
	var bad, rest []reportCase
	for _, c := range cases(rep) {
		switch {
		case rank[c.verdict] <= rank[v1alpha1.VerdictFlaky]:
			bad = append(bad, c)
		case c.run():
			rest = append(rest, c)
		}
	}
	m := &bounded{limit: limit}
	m.add(fmt.Sprintf("## sickbay %s: %s\n\n%s\n\n%s\n", reportName(rep), rep.Verdict, opinion(rep), strings.Join(about(rep), " · ")))
	for _, c := range rep.HostChanges {
		m.add("\n- left behind on the host: " + inCell(c))
	}
	if len(bad) > 0 {
		m.add("\n### Not passed\n\n| scenario | verdict | step | reason | run it again |\n|---|---|---|---|---|\n")
		m.rows(bad, func(c reportCase) string {
			return fmt.Sprintf("| %s | %s %s | %s | %s | `%s` |\n", inCell(c.name), verdictSign[c.verdict], c.verdict, c.at, inCell(text.Short(c.reason, 600)), again(rep, c.result))
		})
	}
	if len(rest) > 0 {
		m.add("\n### The rest\n\n| scenario | verdict | signal | finding | cleared | took | |\n|---|---|---|---|---|---|---|\n")
		m.rows(rest, func(c reportCase) string {
			note := ""
			if c.verdict != v1alpha1.VerdictPassed {
				note = inCell(text.Short(c.reason, 200))
			}
			k := c.result.Clocks
			return fmt.Sprintf("| %s | %s %s | %s | %s | %s | %s | %s |\n", inCell(c.name), verdictSign[c.verdict], c.verdict, humanSeconds(k.Signal), humanSeconds(k.Finding), humanSeconds(k.Cleared), humanDuration(c.took), note)
		})
	}
	if v := newScoreboard([]*v1alpha1.Report{rep}); v != nil {
		if t := "\n### Detectors\n\n" + v.table(); m.fits(t) {
			m.add(t)
		}
	}
	for _, k := range rep.KnownPassed {
		m.add("\n- known failure that passed, take it off the list: " + inCell(knownText(k)))
	}
	for _, f := range flaky(rep) {
		m.add("\n- repeated: " + inCell(flakeText(f)))
	}
	for _, c := range rep.Controls {
		m.add(fmt.Sprintf("\n- control %s", inCell(c.String())))
	}
	m.add("\n")
	return m.write(w)
}

// WriteDiffSummary writes a diff as Markdown that stands as an issue by itself.
func WriteDiffSummary(w io.Writer, d *v1alpha1.ReportDiff, now *v1alpha1.Report, limit int) error {
	m := &bounded{limit: limit}
	m.add(fmt.Sprintf("## %s\n\nFrom %s to %s.\n", diffTitle(d), refText(d.Old), refText(d.New)))
	for _, kind := range DiffKinds {
		list := ChangesOf(d, kind)
		if len(list) == 0 {
			continue
		}
		m.add(fmt.Sprintf("\n### %s (%d)\n\n", diffTitles[kind], len(list)))
		for i, c := range list {
			line := fmt.Sprintf("- **%s**: %s\n", inCell(c.Case), inCell(text.Short(changeText(c), 600)))
			for _, x := range cases(now) {
				if kind != "fixed" && x.key == c.Case {
					line += fmt.Sprintf("  - `%s`\n", again(now, x.result))
					break
				}
			}
			if !m.fits(line) {
				m.add(fmt.Sprintf("- and %d more\n", len(list)-i))
				break
			}
			m.add(line)
		}
	}
	m.add(fmt.Sprintf("\n%d the same. %s\n", d.Same, strings.Join(about(now), " · ")))
	return m.write(w)
}

func diffTitle(d *v1alpha1.ReportDiff) string {
	var parts []string
	for _, kind := range DiffKinds {
		if n := len(ChangesOf(d, kind)); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ToLower(diffTitles[kind])))
		}
	}
	if len(parts) == 0 {
		return "sickbay: nothing changed"
	}
	return "sickbay: " + strings.Join(parts, ", ")
}

// AppendSummary appends to a file of summaries: GITHUB_STEP_SUMMARY is one that other programs of the step write to as well.
func AppendSummary(file string, write func(w io.Writer, limit int) error) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	defer func() { _ = f.Close() }()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	if err := write(f, SummaryLimit-int(have)); err != nil {
		return fmt.Errorf("write the summary %s: %w", file, err)
	}
	return f.Close()
}

// flaky are the repeated scenarios of which some runs passed and some did not.
func flaky(rep *v1alpha1.Report) []v1alpha1.FlakeRate {
	return slices.DeleteFunc(slices.Clone(rep.Flakes), func(f v1alpha1.FlakeRate) bool { return !f.Flaky })
}

func flakeText(f v1alpha1.FlakeRate) string {
	name := f.Scenario
	if f.Detector != "" {
		name += " [" + f.Detector + "]"
	}
	return fmt.Sprintf("%s passed %s", name, rateText(f.Passed))
}

func knownText(k v1alpha1.KnownFailure) string {
	name := k.Scenario
	if k.Detector != "" {
		name += " [" + k.Detector + "]"
	}
	return fmt.Sprintf("%s, until %s: %s", name, k.Until, k.Why)
}

// reportName is what a report is called: its only scenario, or its profile.
func reportName(rep *v1alpha1.Report) string {
	name := "suite"
	if rep.Profile != "" {
		name = "profile " + rep.Profile
	}
	if len(rep.Results) == 1 {
		name = rep.Results[0].Scenario
	}
	if rep.Shard != nil {
		name += " " + rep.Shard.String()
	}
	return name
}

// about is where a report comes from.
func about(rep *v1alpha1.Report) []string {
	var out []string
	for _, f := range [][2]string{{"cluster ", rep.Cluster}, {"Kubernetes ", rep.Kubernetes}, {"", rep.Host}, {"sickbay ", rep.Version}} {
		if f[1] != "" {
			out = append(out, f[0]+f[1])
		}
	}
	return append(out, "took "+humanDuration(rep.Ended.Sub(rep.Started)))
}

// again is the command that runs a scenario once more as it was run.
func again(rep *v1alpha1.Report, r *v1alpha1.ScenarioResult) string {
	words := []string{"sickbay", "run", r.Scenario}
	if r.Cell != "" {
		words = []string{"sickbay", "suite", "--matrix", r.Cell, "--profile", "all", "--only", "name=" + r.Scenario}
	} else if rep.Cluster != "" && rep.Cluster != "sickbay" && !strings.Contains(rep.Cluster, ";") {
		words = append(words, "--cluster", rep.Cluster)
	}
	if r.Control != v1alpha1.ControlNone {
		words = append(words, "--"+string(r.Control))
	}
	for _, d := range rep.Detectors {
		words = append(words, "--detector", d.Spec)
	}
	return shellescape.QuoteCommand(words)
}

// bounded collects text up to a limit, and keeps a rest for what must still be said.
type bounded struct {
	b     strings.Builder
	limit int
}

const boundedRest = 4 << 10

func (m *bounded) fits(s string) bool { return m.b.Len()+len(s)+boundedRest <= m.limit }

func (m *bounded) add(s string) {
	if m.b.Len()+len(s) <= m.limit {
		m.b.WriteString(s)
	}
}

func (m *bounded) rows(list []reportCase, row func(reportCase) string) {
	for i, c := range list {
		s := row(c)
		if !m.fits(s) {
			m.add(fmt.Sprintf("\n%d more do not fit here.\n", len(list)-i))
			return
		}
		m.add(s)
	}
}

func (m *bounded) write(w io.Writer) error {
	_, err := io.WriteString(w, m.b.String())
	return err
}
