package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/text"
)

//go:embed page
var pageFiles embed.FS

// PageOptions say what a page is made beside. The zero value is a page of one report, with no links to files.
type PageOptions struct {
	Before *v1alpha1.Report // an earlier report to compare with
	Dir    string           // the folder of the report: what is there is linked
}

// WriteHTML writes the report as one page that needs nothing else: no script, style, font or picture from anywhere.
func WriteHTML(w io.Writer, rep *v1alpha1.Report, o PageOptions) error {
	p, err := newPage(rep, o)
	if err != nil {
		return err
	}
	return writePage(w, "report.html.tmpl", p)
}

// writePage fills one of our templates. Data has the fields CSS and JS of a pageBase.
func writePage(w io.Writer, name string, data any) error {
	t, err := template.New(name).Funcs(template.FuncMap{
		"clock": func(t time.Time) string { return t.UTC().Format("15:04:05.000") },
		"stamp": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"hms":   func(t time.Time) string { return t.UTC().Format("15:04:05") },
		"dur":   humanDuration,
		"secs":  humanSeconds,
		"join":  strings.Join,
		"name":  v1alpha1.Finding.Name,
		"sign":  func(v v1alpha1.Verdict) string { return pageSigns[v] },
		"found": detectedText, "acted": actionText, "rate": rateText, "spread": spreadText, "flaky": flaky, "flake": flakeText, "known": knownText,
		"css": func() (template.CSS, error) {
			b, err := pageFiles.ReadFile("page/report.css")
			return template.CSS(b), err
		},
		"js": func() (template.JS, error) {
			b, err := pageFiles.ReadFile("page/report.js")
			return template.JS(b), err
		},
	}).ParseFS(pageFiles, "page/*.tmpl")
	if err != nil {
		return err
	}
	return t.Execute(w, data)
}

// pageSigns stand in small circles; what has none is a question.
var pageSigns = map[v1alpha1.Verdict]string{
	v1alpha1.VerdictPassed: "✓", v1alpha1.VerdictFailed: "✕", v1alpha1.VerdictSkipped: "·", v1alpha1.VerdictFlaky: "!", v1alpha1.VerdictUnknown: "?", v1alpha1.VerdictUnsupported: "–",
}

func humanDuration(d time.Duration) string { return humanSeconds(d.Seconds()) }

func humanSeconds(s float64) string {
	switch {
	case s <= 0:
		return "–"
	case s < 1:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s < 10:
		return fmt.Sprintf("%.1f s", s)
	case s < 120:
		return fmt.Sprintf("%.0f s", s)
	default:
		return fmt.Sprintf("%d m %02d s", int(s)/60, int(s)%60)
	}
}

// page is what the template sees.
type page struct {
	R        *v1alpha1.Report
	Took     time.Duration
	Standing v1alpha1.Verdict // of the whole: a control that held has passed
	Label    string           // and its word
	Counts   []verdictCount
	Title    string
	Runs     []runView
	Many     bool
	Matrix   *v1alpha1.Matrix
	Opinion  string
	Before   *v1alpha1.Report
	Changes  []changeList
	Scores   *scoreboardView
	Files    []string // beside the page
}

type verdictCount struct {
	Verdict v1alpha1.Verdict
	N       int
}

// changeList is one kind of changes since an earlier report.
type changeList struct {
	Kind, Title string
	Changes     []change
}

type change struct {
	v1alpha1.CaseChange
	ID, Text string // ID is empty for a run that is not on the page
}

// runView is one result as the page shows it.
type runView struct {
	v1alpha1.ScenarioResult
	ID       string
	Open     bool
	Took     time.Duration
	Standing v1alpha1.Verdict
	Label    string // its word: held, for a control that held
	Why      string // in short
	StepSet  []stepView
	Signs    []signalView
	Found    []findingView
	Timeline string // packed, for the page's own script
	Story    []milestone
	Again    string // the command that runs it again
	Bundle   string // the folder of its observations beside the page, if there is one
	Change   string // since the earlier report
}

type stepView struct {
	v1alpha1.StepResult
	N    int
	Took time.Duration
	Says string
}

type signalView struct {
	v1alpha1.Signal
	Line int // in the timeline, below zero for none
}

type findingView struct {
	v1alpha1.Finding
	Lines []int // of its evidence
}

// milestone is one number of the head line of a run.
type milestone struct {
	Label, Value, Note string
}

var stepProof = map[v1alpha1.StepName]string{
	v1alpha1.StepBaseline:  "healthy before the run",
	v1alpha1.StepInject:    "the undo is recorded, then the fault is placed",
	v1alpha1.StepManifest:  "the expected signals appear",
	v1alpha1.StepDetect:    "detectors name it, without knowing what was injected",
	v1alpha1.StepRemediate: "the finding's own remedy is applied",
	v1alpha1.StepClear:     "no finding, node Ready, a new pod runs",
	v1alpha1.StepResidue:   "nothing left behind",
}

func newPage(rep *v1alpha1.Report, o PageOptions) (*page, error) {
	p := &page{R: rep, Took: rep.Ended.Sub(rep.Started), Many: len(rep.Results) > 1, Title: reportName(rep), Before: o.Before, Opinion: opinion(rep)}
	p.Standing, p.Label = rep.Verdict, string(rep.Verdict)
	used := map[string]int{}
	counts := map[v1alpha1.Verdict]int{}
	for i := range rep.Results {
		v, err := newRunView(rep, &rep.Results[i], o.Dir)
		if err != nil {
			return nil, err
		}
		if used[v.ID]++; used[v.ID] > 1 {
			v.ID = fmt.Sprintf("%s-%d", v.ID, used[v.ID])
		}
		v.Open = !p.Many || rank[v.Standing] <= rank[v1alpha1.VerdictFlaky]
		counts[v.Standing]++
		p.Runs = append(p.Runs, v)
	}
	p.compare(o.Before)
	// What a reader came for stands first.
	slices.SortStableFunc(p.Runs, func(a, b runView) int { return rank[a.Standing] - rank[b.Standing] })
	for _, v := range []v1alpha1.Verdict{v1alpha1.VerdictFailed, v1alpha1.VerdictUnknown, v1alpha1.VerdictFlaky, v1alpha1.VerdictUnsupported, v1alpha1.VerdictSkipped, v1alpha1.VerdictPassed} {
		if counts[v] > 0 {
			p.Counts = append(p.Counts, verdictCount{v, counts[v]})
		}
	}
	if !p.Many && len(p.Runs) == 1 && p.Runs[0].ControlHeld && len(rep.HostChanges) == 0 {
		p.Standing, p.Label = v1alpha1.VerdictPassed, "held"
	}
	if p.Many {
		p.Matrix = NewMatrix(rep)
	}
	p.Scores = newScoreboard([]*v1alpha1.Report{rep})
	for _, f := range []string{FileJSON, FileTimeline, FileJUnit} {
		if _, err := os.Stat(filepath.Join(o.Dir, f)); o.Dir != "" && err == nil {
			p.Files = append(p.Files, f)
		}
	}
	return p, nil
}

// notInName is what may not stand in a link's name.
var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// linkName is what a run's link is called: #swap-on, #swap-on-noop.
func linkName(r *v1alpha1.ScenarioResult) string {
	return strings.Trim(notInName.ReplaceAllString(strings.ToLower(r.Named()+"-"+string(r.Control)), "-"), "-")
}

func newRunView(rep *v1alpha1.Report, r *v1alpha1.ScenarioResult, dir string) (runView, error) {
	v := runView{ScenarioResult: *r, ID: linkName(r), Took: r.Ended.Sub(r.Started), Story: story(r, nil), Again: again(rep, r)}
	v.Standing, v.Why = standing(r)
	v.Label = string(v.Standing)
	switch {
	case r.ControlHeld:
		v.Label = "held"
	case r.Control != v1alpha1.ControlNone && v.Standing == v1alpha1.VerdictFailed:
		v.Label = "not held"
	}
	for _, name := range v1alpha1.Steps() {
		sv := stepView{StepResult: v1alpha1.StepResult{Name: name, Verdict: v1alpha1.VerdictSkipped}, Says: stepProof[name]}
		if i := slices.IndexFunc(r.Steps, func(s v1alpha1.StepResult) bool { return s.Name == name }); i >= 0 {
			sv.StepResult = r.Steps[i]
			sv.Took = sv.Ended.Sub(sv.Started)
		}
		sv.N = len(v.StepSet) + 1
		v.StepSet = append(v.StepSet, sv)
	}
	for _, s := range r.Signals {
		v.Signs = append(v.Signs, signalView{s, signalLine(r.Timeline, s)})
	}
	for _, f := range r.Findings {
		x := findingView{Finding: f}
		for _, e := range f.Evidence {
			x.Lines = append(x.Lines, lineOf(r.Timeline, e))
		}
		v.Found = append(v.Found, x)
	}
	name := r.Scenario
	if r.Repeat > 1 {
		name += fmt.Sprintf("-%d", r.Repeat)
	}
	bundles := []string{filepath.Join("bundle", name)}
	if len(rep.Results) == 1 {
		bundles = append(bundles, "bundle")
	}
	if r.Cell != "" {
		own := CellDir(r.Cell)
		bundles = append(bundles, filepath.Join(own, "bundle", name), filepath.Join(own, "bundle"))
	}
	for _, b := range bundles {
		if fi, err := os.Stat(filepath.Join(dir, b)); dir != "" && err == nil && fi.IsDir() {
			v.Bundle = filepath.ToSlash(b)
			break
		}
	}
	var err error
	v.Timeline, err = packedTimeline(r)
	return v, err
}

// compare puts what changed since an earlier report on the page.
func (p *page) compare(before *v1alpha1.Report) {
	if before == nil {
		return
	}
	d := Diff(before, p.R, DefaultSlowerThan())
	ids := map[string]int{} // of all cases, by their keys
	for i := range p.Runs {
		for _, c := range cases(&v1alpha1.Report{Results: []v1alpha1.ScenarioResult{p.Runs[i].ScenarioResult}}) {
			ids[c.key] = i + 1
		}
	}
	for _, c := range cases(before) {
		if i := ids[c.key]; i > 0 && c.run() {
			p.Runs[i-1].Story = story(&p.Runs[i-1].ScenarioResult, c.result)
		}
	}
	for _, kind := range DiffKinds {
		list := changeList{Kind: kind, Title: diffTitles[kind]}
		for _, c := range ChangesOf(d, kind) {
			x := change{CaseChange: c, Text: text.Short(changeText(c), 300)}
			if i := ids[c.Case]; i > 0 {
				x.ID = p.Runs[i-1].ID
				if p.Runs[i-1].Change == "" {
					p.Runs[i-1].Change = diffTitles[kind]
				}
			}
			list.Changes = append(list.Changes, x)
		}
		if len(list.Changes) > 0 {
			p.Changes = append(p.Changes, list)
		}
	}
}

// opinion is the report in one sentence.
func opinion(rep *v1alpha1.Report) string {
	n := len(rep.Results)
	if n == 1 {
		return opinionOfOne(rep, rep.Results[0])
	}
	passed, scenarios := 0, 0
	for _, r := range rep.Results {
		if r.Control == v1alpha1.ControlNone {
			scenarios++
			if r.Verdict == v1alpha1.VerdictPassed {
				passed++
			}
		}
	}
	said := fmt.Sprintf("%d of %d scenarios passed all steps.", passed, scenarios)
	if held := n - scenarios; held > 0 {
		for _, r := range rep.Results {
			if r.Control != v1alpha1.ControlNone && !r.ControlHeld {
				held--
			}
		}
		said += fmt.Sprintf(" %d of %d controls held.", held, n-scenarios)
	}
	if broken := append(BrokenControls(rep, v1alpha1.VerdictFailed), BrokenControls(rep, v1alpha1.VerdictUnknown)...); len(broken) > 0 {
		said += fmt.Sprintf(" %d control(s) did not hold.", len(broken))
	}
	if len(rep.HostChanges) > 0 {
		said += " Something is left on the host."
	}
	return said
}

// opinionOfOne is a report's whose only result is r.
func opinionOfOne(rep *v1alpha1.Report, r v1alpha1.ScenarioResult) string {
	passed := r.Verdict == v1alpha1.VerdictPassed
	switch {
	case r.Control != v1alpha1.ControlNone && r.ControlHeld:
		return fmt.Sprintf("Control %s held: the run failed at %s, as it must.", r.Control, r.FailedAt)
	case r.Control != v1alpha1.ControlNone:
		return fmt.Sprintf("Control %s did not hold: %s", r.Control, r.Reason)
	case passed && len(BrokenControls(rep, v1alpha1.VerdictFailed))+len(BrokenControls(rep, v1alpha1.VerdictUnknown)) > 0:
		return "All seven steps passed, but a control did not hold."
	case passed && len(rep.HostChanges) > 0:
		return "All seven steps passed, but something is left on the host."
	case passed:
		return "Injected, detected, cleared by its remedy, and nothing left behind."
	case r.Verdict == v1alpha1.VerdictUnsupported:
		return "This host does not support the fault: " + r.Reason
	}
	return fmt.Sprintf("Stopped at %s: %s", r.FailedAt, r.Reason)
}

// story are the numbers of a run's head line; before is the same scenario in an earlier report, or nil.
func story(r, before *v1alpha1.ScenarioResult) []milestone {
	detected := "all expected causes"
	if c := r.Clocks; c.Finding > 0 && c.Finding < c.Signal {
		detected += fmt.Sprintf("; %s before the last signal, from what the node shows", humanSeconds(c.Signal-c.Finding))
	}
	out := []milestone{
		{"signal shown", after(r.Clocks.Signal), "the log lines, events and conditions expected"},
		{"detected", after(r.Clocks.Finding), detected},
		{"remedied", after(r.Clocks.Remedied), "by the finding's own remedy"},
		{"cleared", after(r.Clocks.Cleared), "no finding, Ready, new pod"},
	}
	if before != nil {
		for i, was := range []float64{before.Clocks.Signal, before.Clocks.Finding, before.Clocks.Remedied, before.Clocks.Cleared} {
			out[i].Note += "; was " + after(was)
		}
	}
	return out
}

// after is a time since the fault.
func after(s float64) string {
	if s <= 0 {
		return "–"
	}
	return "+" + humanSeconds(s)
}
