package report

import (
	"bufio"
	"cmp"
	"fmt"
	"html"
	"html/template"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/score"
	"github.com/sickbay-dev/sickbay/internal/usage"
)

// Files of a scoreboard.
const (
	FileScoreboardHTML = "scoreboard.html"
	FileScoreboardMD   = "scoreboard.md"
	FileScoreboardSVG  = "scoreboard.svg"
)

// scoreboardView is every detector of one or more reports on one table.
type scoreboardView struct {
	Title    string
	From     []string // where the numbers are from
	Rows     []scoreRow
	Failures []failureRow
	Plot     template.HTML
	Acts     bool // one of them remediates
}

type scoreRow struct {
	v1alpha1.Score
	Info  v1alpha1.DetectorInfo
	False int // findings of what was not so, wherever
}

// failureRow is one failure: a score for each detector, in the order of the table.
type failureRow struct {
	Failure string
	Scores  []*v1alpha1.Score
}

// newScoreboard is nil where no detector was scored.
func newScoreboard(reps []*v1alpha1.Report) *scoreboardView {
	all := &v1alpha1.Report{}
	v := &scoreboardView{Title: "Scoreboard"}
	for _, rep := range reps {
		if len(rep.Detectors) == 0 {
			continue
		}
		all.Results = append(all.Results, rep.Results...)
		for _, d := range rep.Detectors {
			if !slices.ContainsFunc(all.Detectors, func(o v1alpha1.DetectorInfo) bool { return o.Name == d.Name }) {
				all.Detectors = append(all.Detectors, d)
			}
		}
		v.From = append(v.From, strings.TrimSpace(fmt.Sprintf("%s, %d runs, Kubernetes %s, %s, sickbay %s", rep.Started.UTC().Format("2006-01-02"), len(rep.Results), rep.Kubernetes, rep.Host, rep.Version)))
	}
	if len(all.Detectors) == 0 {
		return nil
	}
	per := map[string]map[string]*v1alpha1.Score{}
	var failures []string
	for _, s := range score.Of(all) {
		if s.Failure == "" {
			info := all.Detectors[slices.IndexFunc(all.Detectors, func(d v1alpha1.DetectorInfo) bool { return d.Name == s.Detector })]
			v.Rows = append(v.Rows, scoreRow{Score: s, Info: info, False: s.FalseBaseline.N + s.FalseDecoy.N + s.FalseBystander.N + s.Extra.N})
			v.Acts = v.Acts || s.Action != nil
			continue
		}
		if per[s.Failure] == nil {
			per[s.Failure] = map[string]*v1alpha1.Score{}
			failures = append(failures, s.Failure)
		}
		per[s.Failure][s.Detector] = &s
	}
	share := func(r v1alpha1.Rate) float64 { return float64(r.N) / float64(max(1, r.Of)) }
	slices.SortStableFunc(v.Rows, func(a, b scoreRow) int {
		return cmp.Or(cmp.Compare(share(b.Found), share(a.Found)), cmp.Compare(share(b.RightCause), share(a.RightCause)), a.False-b.False, cmp.Compare(a.AfterSignal.Median, b.AfterSignal.Median))
	})
	slices.SortFunc(failures, func(a, b string) int { return byVocabulary(a+"/", b+"/") })
	for _, f := range failures {
		row := failureRow{Failure: f}
		for _, r := range v.Rows {
			row.Scores = append(row.Scores, per[f][r.Detector])
		}
		v.Failures = append(v.Failures, row)
	}
	v.Plot = template.HTML(v.svg()) // our own markup, names escaped
	return v
}

// markdown writes a scoreboard as a page, with a picture if there is a file for it.
func (v *scoreboardView) markdown(w io.Writer, picture string) error {
	var b strings.Builder
	b.WriteString("# Scoreboard\n\nDetectors on the same injections, the best first. Made by `sickbay report DIR... --scoreboard`; do not edit.\n\n")
	for _, f := range v.From {
		fmt.Fprintf(&b, "- %s\n", f)
	}
	b.WriteString("\n" + v.table())
	b.WriteString("\nIn brackets: 95 % intervals after Wilson. A false finding is a run in which something was said that was not so: before the injection, on a\ndecoy, on a node that was well, or beside what was expected on the victim.\n")
	if picture != "" {
		fmt.Fprintf(&b, "\n## Time to detect\n\n![Seconds from the signal to the finding, for each failure and detector](%s)\n", picture)
	}
	b.WriteString("\n## Each failure\n\nFound, and the median seconds from its signal.\n\n| failure |")
	for _, r := range v.Rows {
		fmt.Fprintf(&b, " %s |", inCell(r.Detector))
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(v.Rows)) + "\n")
	for _, f := range v.Failures {
		fmt.Fprintf(&b, "| %s |", f.Failure)
		for _, s := range f.Scores {
			if s == nil {
				b.WriteString(" |")
				continue
			}
			fmt.Fprintf(&b, " %s %s |", s.Found, spreadText(s.AfterSignal))
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// table has a row for each detector.
func (v *scoreboardView) table() string {
	var b strings.Builder
	b.WriteString("| | detector | found | right cause | right node | median from the signal | false findings | no answer |")
	if v.Acts {
		b.WriteString(" cleared | cleared, right cause | cleared, wrong cause | pods ended |")
	}
	b.WriteString("\n|---|---|---|---|---|---|---|---|" + strings.Repeat("---|", map[bool]int{true: 4}[v.Acts]) + "\n")
	for i, r := range v.Rows {
		name := inCell(r.Detector)
		if r.Info.Role != v1alpha1.RoleContestant {
			name += " (" + string(r.Info.Role) + ")"
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %d | %d of %d |", i+1, name, rateText(r.Found), rateText(r.RightCause), rateText(r.RightNode), spreadText(r.AfterSignal), r.False, r.Errors, r.Looks)
		switch a := r.Action; {
		case a != nil:
			fmt.Fprintf(&b, " %s | %s | %s | %d |", rateText(a.Cleared), rateText(a.ClearedRightCause), rateText(a.ClearedWrongCause), a.PodsKilled)
		case v.Acts:
			b.WriteString(" – | – | – | – |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func rateText(r v1alpha1.Rate) string {
	if r.Of == 0 {
		return "–"
	}
	return fmt.Sprintf("%s (%.0f–%.0f %%)", r, r.Low*100, r.High*100)
}

func spreadText(s v1alpha1.Spread) string {
	if s.N == 0 {
		return "–"
	}
	return signed(s.Median)
}

// WriteScoreboard writes the scoreboard of several reports: as Markdown into w, or page, Markdown and picture into a folder.
func WriteScoreboard(w io.Writer, reps []*v1alpha1.Report, into string) error {
	v := newScoreboard(reps)
	if v == nil {
		return usage.Errorf("no detector was scored in these reports: `sickbay suite --detector SPEC` scores them")
	}
	if into == "" {
		return v.markdown(w, "")
	}
	if err := os.MkdirAll(into, 0o755); err != nil {
		return fmt.Errorf("make the folder of the scoreboard: %w", err)
	}
	for name, write := range map[string]func(*bufio.Writer) error{
		FileScoreboardMD:   func(w *bufio.Writer) error { return v.markdown(w, FileScoreboardSVG) },
		FileScoreboardHTML: func(w *bufio.Writer) error { return writePage(w, "scoreboard.html.tmpl", v) },
		FileScoreboardSVG:  func(w *bufio.Writer) error { _, err := w.WriteString(v.svg()); return err },
	} {
		path := filepath.Join(into, name)
		if err := writeFile(path, 0o644, write); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		fmt.Fprintln(w, path)
	}
	return nil
}

// Sizes of the plot, in its own units.
const (
	plotWide, plotLeft, plotRight = 1000.0, 150.0, 930.0
	plotTop, plotDot              = 34.0, 13.0
)

const plotStyle = `<style>.sb{font:12px system-ui,sans-serif;fill:#5a6775}.sb .g{stroke:#e1e6eb}.sb .z{stroke:#8a95a1}.sb .f{fill:#16202b}` +
	`.sb .c0{fill:#12805c;stroke:#12805c}.sb .c1{fill:#2a64c5;stroke:#2a64c5}.sb .c2{fill:#95650a;stroke:#95650a}.sb .c3{fill:#6d48c4;stroke:#6d48c4}.sb .c4{fill:#c0312b;stroke:#c0312b}.sb .c5{fill:#5a6775;stroke:#5a6775}` +
	`@media(prefers-color-scheme:dark){.sb{fill:#9fabb8}.sb .g{stroke:#27303a}.sb .f{fill:#e6ebf0}.sb .c0{fill:#3ecf98;stroke:#3ecf98}.sb .c1{fill:#7fb0ff;stroke:#7fb0ff}.sb .c2{fill:#e9b44c;stroke:#e9b44c}.sb .c3{fill:#b79cff;stroke:#b79cff}.sb .c4{fill:#ff7f78;stroke:#ff7f78}}</style>`

// svg is the time to detect: a row for each failure; for each detector a dot at the median, a line over the spread, a cross for what it missed.
func (v *scoreboardView) svg() string {
	low, high := 0.0, 10.0
	for _, f := range v.Failures {
		for _, s := range f.Scores {
			if s != nil && s.AfterSignal.N > 0 {
				low, high = min(low, s.AfterSignal.Min), max(high, s.AfterSignal.Max)
			}
		}
	}
	every := niceInterval(high - low)
	low, high = math.Floor(low/every)*every, math.Ceil(high/every)*every
	x := func(s float64) float64 { return plotLeft + (s-low)/(high-low)*(plotRight-plotLeft) }
	rowHigh := plotDot*float64(len(v.Rows)) + 8
	bottom := plotTop + rowHigh*float64(len(v.Failures))
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" class="sb" viewBox="0 0 %.0f %.0f" role="img" aria-label="seconds from the signal to the finding, for each failure and detector">%s`, plotWide, bottom+26, plotStyle)
	for s := low; s <= high; s += every {
		class := "g"
		if s == 0 {
			class = "z"
		}
		fmt.Fprintf(&b, `<line class="%s" x1="%.1f" x2="%.1f" y1="%.0f" y2="%.1f"/><text x="%.1f" y="%.1f" text-anchor="middle">%+.0f s</text>`, class, x(s), x(s), plotTop-6, bottom, x(s), bottom+16, s)
	}
	for i, r := range v.Rows {
		fmt.Fprintf(&b, `<circle class="c%d" cx="%.0f" cy="12" r="5"/><text x="%.0f" y="16">%s</text>`, i%6, plotLeft+6+float64(i)*150, plotLeft+16+float64(i)*150, html.EscapeString(r.Detector))
	}
	fmt.Fprintf(&b, `<text x="%.0f" y="16" text-anchor="end">missed</text>`, plotWide-4)
	for i, f := range v.Failures {
		top := plotTop + rowHigh*float64(i)
		fmt.Fprintf(&b, `<line class="g" x1="0" x2="%.0f" y1="%.1f" y2="%.1f"/><text class="f" x="4" y="%.1f">%s</text>`, plotWide, top, top, top+rowHigh/2+4, html.EscapeString(f.Failure))
		for j, s := range f.Scores {
			if s == nil {
				continue
			}
			y := top + 4 + plotDot*(float64(j)+0.5)
			if a := s.AfterSignal; a.N > 0 {
				fmt.Fprintf(&b, `<g class="c%d"><title>%s: %s found, median %s</title><line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/><circle cx="%.1f" cy="%.1f" r="4"/></g>`,
					j%6, html.EscapeString(s.Detector), s.Found, signed(a.Median), x(a.Min), x(a.Max), y, y, x(a.Median), y)
			}
			if n := s.Found.Of - s.Found.N; n > 0 && v.Rows[j].Info.Role != v1alpha1.RoleControl {
				fmt.Fprintf(&b, `<text class="c%d" stroke="none" x="%.0f" y="%.1f" text-anchor="end">✕ %d</text>`, j%6, plotWide-4, y+4, n)
			}
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func niceInterval(total float64) float64 {
	for _, s := range []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600} {
		if total/s <= 12 {
			return s
		}
	}
	return math.Ceil(total/12/600) * 600
}
