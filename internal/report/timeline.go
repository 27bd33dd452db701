package report

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// packedTimeline is a run's timeline for the page's script: JSON, gzipped, in the letters that no attribute has to escape. A suite has tens of
// thousands of lines; most of them are never looked at.
func packedTimeline(r *v1alpha1.ScenarioResult) (string, error) {
	type line struct {
		T     float64            `json:"t"`
		At    string             `json:"at"`
		Kind  v1alpha1.EntryKind `json:"kind"`
		Level string             `json:"level,omitempty"`
		Node  string             `json:"node,omitempty"`
		Src   string             `json:"src,omitempty"`
		Text  string             `json:"text"`
	}
	type step struct {
		N       int               `json:"n"` // from 1
		Name    v1alpha1.StepName `json:"name"`
		Verdict v1alpha1.Verdict  `json:"verdict"`
		From    float64           `json:"from"`
		To      float64           `json:"to"`
		Reason  string            `json:"reason,omitempty"`
	}
	data := struct {
		Took  float64 `json:"took"`
		Steps []step  `json:"steps"`
		Lines []line  `json:"lines"`
	}{Took: max(1, r.Ended.Sub(r.Started).Seconds()), Steps: []step{}, Lines: []line{}}
	since := func(t time.Time) float64 { return math.Round(t.Sub(r.Started).Seconds()*10) / 10 }
	for _, s := range r.Steps {
		if !s.Started.IsZero() {
			data.Steps = append(data.Steps, step{slices.Index(v1alpha1.Steps(), s.Name) + 1, s.Name, s.Verdict, since(s.Started), since(s.Ended), s.Reason})
		}
	}
	for _, e := range r.Timeline {
		data.Lines = append(data.Lines, line{since(e.At), e.At.UTC().Format("15:04:05.000"), e.Kind, e.Level, e.Node, e.Source, e.Text})
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	if err := json.NewEncoder(z).Encode(data); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(b.Bytes()), nil
}

// lineOf is the line of a timeline that a piece of evidence is, or -1. Evidence is cut in its middle: each part has to be there.
func lineOf(timeline []v1alpha1.TimelineEntry, e v1alpha1.Evidence) int {
	source := e.Source
	if source == "kmsg" {
		source = "journal/kernel"
	}
	parts := strings.Split(strings.Join(strings.Fields(e.Text), " "), "…")
	subject, _, _ := strings.Cut(e.Text, "=") // of a condition: "Ready=False …" is the line "Ready: True → False …"
	return nearest(timeline, e.At, func(x v1alpha1.TimelineEntry) bool {
		if x.Source != source {
			return false
		}
		text := strings.Join(strings.Fields(x.Text), " ")
		if x.Kind == v1alpha1.EntryCondition && strings.HasPrefix(text, subject+": ") {
			return true
		}
		return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, strings.TrimSpace(p)) })
	})
}

// signalLine is the line that says that a signal was seen.
func signalLine(timeline []v1alpha1.TimelineEntry, s v1alpha1.Signal) int {
	return nearest(timeline, s.At, func(x v1alpha1.TimelineEntry) bool {
		return x.Kind == v1alpha1.EntrySignal && strings.HasPrefix(x.Text, s.Want)
	})
}

// nearest is the fitting line that is nearest in time.
func nearest(timeline []v1alpha1.TimelineEntry, at time.Time, fits func(v1alpha1.TimelineEntry) bool) int {
	best := -1
	for i, x := range timeline {
		if fits(x) && (best < 0 || x.At.Sub(at).Abs() < timeline[best].At.Sub(at).Abs()) {
			best = i
		}
	}
	return best
}
