package report

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/text"
)

//go:embed page/report.html.tmpl page/report.css page/report.js
var pageFiles embed.FS

// WriteHTML writes the report as one page that needs nothing else: no script, style, font or picture from anywhere.
func WriteHTML(w io.Writer, rep, before *v1alpha1.Report) error {
	css, err := pageFiles.ReadFile("page/report.css")
	if err != nil {
		return err
	}
	js, err := pageFiles.ReadFile("page/report.js")
	if err != nil {
		return err
	}
	t, err := template.New("report.html.tmpl").Funcs(template.FuncMap{
		"clock": func(t time.Time) string { return t.UTC().Format("15:04:05.000") },
		"stamp": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"hms":   func(t time.Time) string { return t.UTC().Format("15:04:05") },
		"dur":   humanDuration,
		"secs":  humanSeconds,
		"join":  strings.Join,
		"name":  v1alpha1.Finding.Name,
	}).ParseFS(pageFiles, "page/report.html.tmpl")
	if err != nil {
		return err
	}
	page := newPage(rep)
	// Our own files, not data: they are trusted as they are.
	page.CSS, page.JS = template.CSS(css), template.JS(js)
	return t.Execute(w, page)
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
	CSS     template.CSS
	JS      template.JS
	R       *v1alpha1.Report
	Took    time.Duration
	Counts  []count
	Title   string
	Runs    []runView
	Many    bool
	Matrix  *v1alpha1.Matrix
	Opinion string
	// Where the charts' grid ends and its labels stand; the same for all.
	ChartBottom, ChartLabel float64
}

type count struct {
	Verdict v1alpha1.Verdict
	N       int
}

// runView is one result with its picture.
type runView struct {
	v1alpha1.ScenarioResult
	ID      string
	Open    bool
	Took    time.Duration
	Chart   chart
	StepSet []stepView
	Log     string // the timeline as JSON, for the page's own script
	Story   []milestone
}

type stepView struct {
	v1alpha1.StepResult
	N    int
	Took time.Duration
	Says string
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

func newPage(rep *v1alpha1.Report) *page {
	p := &page{R: rep, Took: rep.Ended.Sub(rep.Started), Many: len(rep.Results) > 1}
	for _, v := range []v1alpha1.Verdict{v1alpha1.VerdictPassed, v1alpha1.VerdictFailed, v1alpha1.VerdictUnsupported, v1alpha1.VerdictUnknown} {
		n := 0
		for _, r := range rep.Results {
			if r.Verdict == v {
				n++
			}
		}
		if n > 0 {
			p.Counts = append(p.Counts, count{v, n})
		}
	}
	p.Title = rep.Cluster
	if len(rep.Results) == 1 {
		p.Title = rep.Results[0].Scenario
	}
	for i := range rep.Results {
		r := rep.Results[i]
		v := runView{ScenarioResult: r, ID: fmt.Sprintf("run-%d", i+1), Open: len(rep.Results) == 1, Took: r.Ended.Sub(r.Started)}
		for _, name := range v1alpha1.Steps() {
			sv := stepView{StepResult: v1alpha1.StepResult{Name: name, Verdict: v1alpha1.VerdictSkipped}, Says: stepProof[name]}
			if i := slices.IndexFunc(r.Steps, func(s v1alpha1.StepResult) bool { return s.Name == name }); i >= 0 {
				sv.StepResult = r.Steps[i]
				sv.Took = sv.Ended.Sub(sv.Started)
			}
			sv.N = len(v.StepSet) + 1
			v.StepSet = append(v.StepSet, sv)
		}
		v.Chart = newChart(&r)
		v.Story = story(&r)
		v.Log = logJSON(&r)
		p.Runs = append(p.Runs, v)
	}
	if p.Many {
		p.Matrix = NewMatrix(rep)
	}
	p.Opinion = opinion(rep)
	p.ChartBottom = laneTop + laneHigh*float64(len(chartLanes)) + 4
	p.ChartLabel = p.ChartBottom + 14
	return p
}

// opinion is the report in one sentence.
func opinion(rep *v1alpha1.Report) string {
	n := len(rep.Results)
	if n == 1 {
		r := rep.Results[0]
		switch {
		case r.Control != v1alpha1.ControlNone && r.ControlHeld:
			return fmt.Sprintf("Control %s held: the run failed at %s, as it must.", r.Control, r.FailedAt)
		case r.Control != v1alpha1.ControlNone:
			return fmt.Sprintf("Control %s did not hold: %s", r.Control, r.Reason)
		case r.Verdict == v1alpha1.VerdictPassed && len(BrokenControls(rep, v1alpha1.VerdictFailed))+len(BrokenControls(rep, v1alpha1.VerdictUnknown)) > 0:
			return "All seven steps passed, but a control did not hold."
		case r.Verdict == v1alpha1.VerdictPassed && len(rep.HostChanges) > 0:
			return "All seven steps passed, but something is left on the host."
		case r.Verdict == v1alpha1.VerdictPassed:
			return "Injected, detected, cleared by its remedy, and nothing left behind."
		case r.Verdict == v1alpha1.VerdictUnsupported:
			return "This host does not support the fault: " + r.Reason
		default:
			return fmt.Sprintf("Stopped at %s: %s", r.FailedAt, r.Reason)
		}
	}
	passed := 0
	for _, r := range rep.Results {
		if r.Verdict == v1alpha1.VerdictPassed {
			passed++
		}
	}
	text := fmt.Sprintf("%d of %d scenarios passed all steps.", passed, n)
	if broken := append(BrokenControls(rep, v1alpha1.VerdictFailed), BrokenControls(rep, v1alpha1.VerdictUnknown)...); len(broken) > 0 {
		text += fmt.Sprintf(" %d control(s) did not hold.", len(broken))
	}
	if len(rep.HostChanges) > 0 {
		text += " Something is left on the host."
	}
	return text
}

func story(r *v1alpha1.ScenarioResult) []milestone {
	at := func(s float64) string {
		if s <= 0 {
			return "–"
		}
		return "+" + humanSeconds(s)
	}
	return []milestone{
		{"signal shown", at(r.Clocks.Signal), "the log lines, events and conditions expected"},
		{"detected", at(r.Clocks.Finding), "all expected causes; may be before the last signal"},
		{"remedied", at(r.Clocks.Remedied), "by the finding's own remedy"},
		{"cleared", at(r.Clocks.Cleared), "no finding, Ready, new pod"},
	}
}

// logJSON is the timeline for the page's script. It is put into the page by html/template inside a JSON script element, which
// escapes every "<": a log line with "</script>" in it ends nothing.
func logJSON(r *v1alpha1.ScenarioResult) string {
	type line struct {
		T     float64            `json:"t"`
		At    string             `json:"at"`
		Kind  v1alpha1.EntryKind `json:"kind"`
		Level string             `json:"level,omitempty"`
		Node  string             `json:"node,omitempty"`
		Src   string             `json:"src,omitempty"`
		Text  string             `json:"text"`
	}
	lines := make([]line, 0, len(r.Timeline))
	for _, e := range r.Timeline {
		lines = append(lines, line{
			T: math.Round(e.At.Sub(r.Started).Seconds()*10) / 10, At: e.At.UTC().Format("15:04:05.000"),
			Kind: e.Kind, Level: e.Level, Node: e.Node, Src: e.Source, Text: e.Text,
		})
	}
	raw, err := json.Marshal(lines)
	if err != nil {
		return "[]"
	}
	return string(raw)
}

// chart is the timeline as lanes on one time axis. Sizes are in the SVG's own units: 1000 wide.
type chart struct {
	Width, Height float64
	Ticks         []tick
	Steps         []bar
	Lanes         []lane
	Marks         []mark
}

type tick struct {
	X     float64
	Label string
	End   bool
}

type bar struct {
	X, W    float64
	Label   string // the step's name, its number where that does not fit, or nothing
	Indent  float64
	Verdict v1alpha1.Verdict
	Tip     string
}

type lane struct {
	Y     float64
	Label string
}

type mark struct {
	X, Y  float64
	Kind  v1alpha1.EntryKind
	Level string
	Tip   string
	Row   int // index in the timeline
}

const (
	chartLeft  = 92.0
	chartRight = 988.0
	laneTop    = 46.0
	laneHigh   = 26.0
)

// lanes of the chart, in the order a fault tells its story.
var chartLanes = []struct {
	label string
	kinds []v1alpha1.EntryKind
}{
	{"fault", []v1alpha1.EntryKind{v1alpha1.EntryInject}},
	{"journal", []v1alpha1.EntryKind{v1alpha1.EntryLog}},
	{"events", []v1alpha1.EntryKind{v1alpha1.EntryEvent}},
	{"conditions", []v1alpha1.EntryKind{v1alpha1.EntryCondition}},
	{"signals", []v1alpha1.EntryKind{v1alpha1.EntrySignal}},
	{"findings", []v1alpha1.EntryKind{v1alpha1.EntryFinding}},
	{"remedy", []v1alpha1.EntryKind{v1alpha1.EntryRemedy}},
}

func newChart(r *v1alpha1.ScenarioResult) chart {
	total := r.Ended.Sub(r.Started).Seconds()
	if total <= 0 {
		total = 1
	}
	x := func(t time.Time) float64 {
		f := min(1, max(0, t.Sub(r.Started).Seconds()/total))
		return math.Round((chartLeft+f*(chartRight-chartLeft))*100) / 100
	}
	c := chart{Width: 1000, Height: laneTop + laneHigh*float64(len(chartLanes)) + 24}
	every := niceInterval(total)
	for s := 0.0; s <= total; s += every {
		label := fmt.Sprintf("%.0fs", s)
		if every >= 60 || total > 180 {
			label = fmt.Sprintf("%d:%02d", int(s)/60, int(s)%60)
		}
		c.Ticks = append(c.Ticks, tick{X: x(r.Started.Add(time.Duration(s * float64(time.Second)))), Label: label})
	}
	for _, s := range r.Steps {
		if s.Started.IsZero() {
			continue
		}
		from, to := x(s.Started), x(s.Ended)
		tip := fmt.Sprintf("%s · %s · %s", s.Name, s.Verdict, humanDuration(s.Ended.Sub(s.Started)))
		if s.Reason != "" {
			tip += "\n" + s.Reason
		}
		b := bar{X: from, W: max(2, to-from-1), Label: string(s.Name), Indent: 6, Verdict: s.Verdict, Tip: tip}
		// 5.9 units a letter at the chart's font size, measured.
		if b.W < 5.9*float64(len(b.Label))+8 {
			b.Label, b.Indent = fmt.Sprint(slices.Index(v1alpha1.Steps(), s.Name)+1), max(1, b.W/2-3)
			if b.W < 8 {
				b.Label = ""
			}
		}
		c.Steps = append(c.Steps, b)
	}
	for i, l := range chartLanes {
		y := laneTop + laneHigh*(float64(i)+0.5)
		c.Lanes = append(c.Lanes, lane{Y: y, Label: l.label})
		for row, e := range r.Timeline {
			if slices.Contains(l.kinds, e.Kind) {
				c.Marks = append(c.Marks, mark{X: x(e.At), Y: y, Kind: e.Kind, Level: e.Level, Row: row, Tip: e.At.UTC().Format("15:04:05") + " " + text.Short(e.Text, 220)})
			}
		}
	}
	return c
}

func niceInterval(total float64) float64 {
	for _, s := range []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600} {
		if total/s <= 12 {
			return s
		}
	}
	return math.Ceil(total/12/600) * 600
}
