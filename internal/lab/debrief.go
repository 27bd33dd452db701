package lab

import (
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/scenarios"
)

// Debrief is what a learner reads afterwards. Now the cause may be told.
type Debrief struct {
	Code, Title, Story string
	Causes             []string // FAILURE/CAUSE
	Solved             bool
	Score              Score
	Minutes            int
	Refused            []string
	First              []string // what would have told it first: the hints, in order
	Timeline           []Entry
	Started            time.Time
	Knew               time.Duration // after which the detectors had named every cause; nought where that was not looked at
}

// NewDebrief makes one of a lab that is over.
func NewDebrief(c scenarios.Course, language string, r Record, s Score) Debrief {
	d := Debrief{Code: c.Of.Spec.Code, Title: c.Spec.Title, Story: strings.TrimSpace(c.Of.Spec.Story.In(language)), Solved: s.Solved, Score: s, Minutes: c.Of.Spec.Minutes, Started: r.Started}
	for _, e := range c.Spec.Expect {
		d.Causes = append(d.Causes, e.Failure+"/"+e.Cause)
	}
	for _, h := range c.Of.Spec.Hints {
		d.First = append(d.First, h.Says.In(language))
	}
	if !r.Knew.IsZero() {
		d.Knew = max(time.Second, r.Knew.Sub(r.Started))
	}
	d.Refused = slices.DeleteFunc(slices.Clone(r.Refused), func(x string) bool { return x == "still-ill" })
	d.Timeline = slices.Clone(r.Timeline)
	slices.SortStableFunc(d.Timeline, func(a, b Entry) int { return a.At.Compare(b.At) })
	return d
}

// After is how long after the start something was.
func (d Debrief) After(t time.Time) string {
	s := max(0, t.Sub(d.Started))
	return fmt.Sprintf("%02d:%02d:%02d", int(s.Hours()), int(s.Minutes())%60, int(s.Seconds())%60)
}

// Took is a duration of the score; a dash for what never came.
func (d Debrief) Took(t time.Duration) string {
	if t == 0 {
		return "–"
	}
	return t.Round(time.Second).String()
}

// Again is the command that starts the lab once more.
func (d Debrief) Again() string { return "sickbay lab start " + d.Code }

// Markdown is the debrief as text.
func (d Debrief) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s\n\n%s\n\n", d.Code, d.Title, d.Story)
	fmt.Fprintf(&b, "| points | cause named after | solved after | hints | wrong answers | workarounds refused |\n|---|---|---|---|---|---|\n| %d | %s | %s | %d | %d | %s |\n",
		d.Score.Points, d.Took(d.Score.Detect), d.Took(d.Score.Mitigate), d.Score.Hints, d.Score.Wrong, strings.Join(d.Refused, ", "))
	for _, r := range d.Score.Residue {
		fmt.Fprintf(&b, "\nLeft behind: %s.\n", r)
	}
	if d.Knew > 0 {
		fmt.Fprintf(&b, "\n`sickbay diagnose` knew after %s.\n", d.Took(d.Knew))
	}
	b.WriteString("\n## What it was\n\n")
	for _, c := range d.Causes {
		fmt.Fprintf(&b, "- `%s`: `sickbay explain %s`\n", c, c)
	}
	b.WriteString("\n## What would have told it first\n\n")
	for i, f := range d.First {
		fmt.Fprintf(&b, "%d. %s\n", i+1, f)
	}
	b.WriteString("\n## Your timeline\n\n| after | what | |\n|---|---|---|\n")
	for _, e := range d.Timeline {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", d.After(e.At), e.Kind, cell(e.Text))
	}
	fmt.Fprintf(&b, "\nOnce more: `%s`\n", d.Again())
	return b.String()
}

var page = template.Must(template.New("debrief").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Code}}: {{.Title}}</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 0 auto; padding: 1rem }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #8886 }
td { overflow-wrap: anywhere } code { font: .9em ui-monospace, monospace } .num { font-size: 2.5rem; font-weight: 700 }
</style></head><body><main>
<h1>{{.Code}}: {{.Title}}</h1>
<p>{{.Story}}</p>
<p><span class="num">{{.Score.Points}}</span> points of 100{{if not .Solved}}, not solved{{end}}</p>
<table><tr><th scope="row">cause named after</th><td>{{.Took .Score.Detect}}</td></tr>
<tr><th scope="row">solved after</th><td>{{.Took .Score.Mitigate}}, typically {{.Minutes}} min</td></tr>
<tr><th scope="row">hints</th><td>{{.Score.Hints}}</td></tr>
<tr><th scope="row">wrong answers</th><td>{{.Score.Wrong}}</td></tr>
<tr><th scope="row">workarounds refused</th><td>{{range .Refused}}<code>{{.}}</code> {{else}}none{{end}}</td></tr>
{{if .Knew}}<tr><th scope="row"><code>sickbay diagnose</code> knew after</th><td>{{.Took .Knew}}</td></tr>{{end}}
{{range .Score.Residue}}<tr><th scope="row">left behind</th><td>{{.}}</td></tr>{{end}}</table>
<h2>What it was</h2><ul>{{range .Causes}}<li><code>sickbay explain {{.}}</code></li>{{end}}</ul>
<h2>What would have told it first</h2><ol>{{range .First}}<li>{{.}}</li>{{end}}</ol>
<h2>Your timeline</h2><table><thead><tr><th scope="col">after</th><th scope="col">what</th><th scope="col"></th></tr></thead><tbody>
{{range .Timeline}}<tr><td>{{$.After .At}}</td><td>{{.Kind}}</td><td>{{if or (eq .Kind "command") (eq .Kind "api")}}<code>{{.Text}}</code>{{else}}{{.Text}}{{end}}</td></tr>
{{end}}</tbody></table>
<p>Once more: <code>{{.Again}}</code></p>
</main></body></html>
`))

// Write puts the debrief into a folder as NAME.md and NAME.html, and returns their paths.
func (d Debrief) Write(dir, name string) (md, html string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", err
	}
	md, html = filepath.Join(dir, name+".md"), filepath.Join(dir, name+".html")
	if err := os.WriteFile(md, []byte(d.Markdown()), 0o600); err != nil {
		return "", "", err
	}
	var b strings.Builder
	if err := page.Execute(&b, d); err != nil {
		return "", "", err
	}
	return md, html, os.WriteFile(html, []byte(b.String()), 0o600)
}
