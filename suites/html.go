package suites

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
)

//go:embed page/report.html.tmpl page/report.css page/report.js
var pageFiles embed.FS

// WriteHTML writes the report as one page that needs nothing else: no script, style, font or picture from anywhere.
func WriteHTML(w io.Writer, rep *Report) error {
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
		"name":  findingName,
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
	R       *Report
	Took    time.Duration
	Counts  []count
	Title   string
	Runs    []runView
	Many    bool
	Matrix  *Matrix
	Opinion string
	// Where the charts' grid ends and its labels stand; the same for all.
	ChartBottom, ChartLabel float64
}

type count struct {
	Verdict Verdict
	N       int
}

// runView is one result with its picture.
type runView struct {
	Result
	ID      string
	Open    bool
	Took    time.Duration
	Chart   chart
	StepSet []stepView
	Log     string // the timeline as JSON, for the page's own script
	Story   []milestone
}

type stepView struct {
	Step
	N    int
	Took time.Duration
	Says string
}

// milestone is one number of the head line of a run.
type milestone struct {
	Label, Value, Note string
}

var stepProof = map[StepName]string{
	Baseline:  "all well before we start",
	Inject:    "undo journalled first, then the fault",
	Manifest:  "the fault's own signal is there",
	Detect:    "detectors, asked blind, name it",
	Remediate: "the finding's own remedy is applied",
	Clear:     "silence, Ready, a fresh pod runs",
	Residue:   "nothing left behind",
}

func newPage(rep *Report) *page {
	p := &page{R: rep, Took: rep.Ended.Sub(rep.Started), Many: len(rep.Results) > 1}
	for _, v := range []Verdict{Passed, Failed, Unsupported, Unknown} {
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
		v := runView{Result: r, ID: fmt.Sprintf("run-%d", i+1), Open: len(rep.Results) == 1, Took: r.Ended.Sub(r.Started)}
		for _, name := range Steps() {
			sv := stepView{Step: Step{Name: name, Verdict: Skipped}, Says: stepProof[name]}
			if i := slices.IndexFunc(r.Steps, func(s Step) bool { return s.Name == name }); i >= 0 {
				sv.Step = r.Steps[i]
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
func opinion(rep *Report) string {
	n := len(rep.Results)
	if n == 1 {
		r := rep.Results[0]
		switch {
		case r.Control != NoControl && r.ControlHeld:
			return fmt.Sprintf("Control %s held: the run failed at %s, as it must.", r.Control, r.FailedAt)
		case r.Control != NoControl:
			return fmt.Sprintf("Control %s did not hold: %s", r.Control, r.Reason)
		case r.Verdict == Passed && len(brokenControls(rep, Failed))+len(brokenControls(rep, Unknown)) > 0:
			return "The scenario went all the way round, but a control did not hold."
		case r.Verdict == Passed && len(rep.HostChanges) > 0:
			return "The scenario went all the way round, but the host is not as it was."
		case r.Verdict == Passed:
			return "Injected, shown, found blind, cleared by its own remedy, and nothing left behind."
		case r.Verdict == Unsupported:
			return "This host cannot carry the fault: " + r.Reason
		default:
			return fmt.Sprintf("Stopped at %s: %s", r.FailedAt, r.Reason)
		}
	}
	passed := 0
	for _, r := range rep.Results {
		if r.Verdict == Passed {
			passed++
		}
	}
	text := fmt.Sprintf("%d of %d scenarios went all the way round.", passed, n)
	if broken := append(brokenControls(rep, Failed), brokenControls(rep, Unknown)...); len(broken) > 0 {
		text += fmt.Sprintf(" %d control(s) did not hold.", len(broken))
	}
	if len(rep.HostChanges) > 0 {
		text += " The host is not as it was."
	}
	return text
}

func story(r *Result) []milestone {
	at := func(s float64) string {
		if s <= 0 {
			return "–"
		}
		return "+" + humanSeconds(s)
	}
	return []milestone{
		{"signal shown", at(r.Clocks.Signal), "the log lines, events and conditions expected"},
		{"named blind", at(r.Clocks.Finding), "all expected causes, by observation alone"},
		{"remedied", at(r.Clocks.Remedied), "by the finding's own remedy"},
		{"cleared", at(r.Clocks.Cleared), "silence, Ready, fresh pod"},
	}
}

// logJSON is the timeline for the page's script. It is put into the page by html/template inside a JSON script element, which
// escapes every "<": a log line with "</script>" in it ends nothing.
func logJSON(r *Result) string {
	type line struct {
		T     float64   `json:"t"`
		At    string    `json:"at"`
		Kind  EntryKind `json:"kind"`
		Level string    `json:"level,omitempty"`
		Node  string    `json:"node,omitempty"`
		Src   string    `json:"src,omitempty"`
		Text  string    `json:"text"`
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
	Verdict Verdict
	Tip     string
}

type lane struct {
	Y     float64
	Label string
}

type mark struct {
	X, Y  float64
	Kind  EntryKind
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
	kinds []EntryKind
}{
	{"fault", []EntryKind{EntryInject}},
	{"journal", []EntryKind{EntryLog}},
	{"events", []EntryKind{EntryEvent}},
	{"conditions", []EntryKind{EntryCondition}},
	{"signals", []EntryKind{EntrySignal}},
	{"findings", []EntryKind{EntryFinding}},
	{"remedy", []EntryKind{EntryRemedy}},
}

func newChart(r *Result) chart {
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
			b.Label, b.Indent = fmt.Sprint(slices.Index(Steps(), s.Name)+1), max(1, b.W/2-3)
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
				c.Marks = append(c.Marks, mark{X: x(e.At), Y: y, Kind: e.Kind, Level: e.Level, Row: row, Tip: e.At.UTC().Format("15:04:05") + " " + short(e.Text, 220)})
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
