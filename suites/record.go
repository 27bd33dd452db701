package suites

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/facts"
)

// recorder collects a run's timeline. Of the journals it keeps what a person would read: warnings and errors, each kind of
// message a few times, since a broken kubelet says the same sentence every second.
type recorder struct {
	scenario string

	mu         sync.Mutex
	entries    []v1alpha1.TimelineEntry
	logKinds   map[string]int
	logs       int
	events     map[types.UID]int
	conditions map[string]string // node/type → status
	lastLog    string
	known      map[string]bool // nodes that were looked at
}

const (
	keepSameLog = 4   // of one kind of message
	keepLogs    = 400 // of a run: a page with more is no longer read
)

func newRecorder(scenario string) *recorder {
	return &recorder{scenario: scenario, logKinds: map[string]int{}, events: map[types.UID]int{}, conditions: map[string]string{}, known: map[string]bool{}}
}

func (r *recorder) add(e v1alpha1.TimelineEntry) {
	e.Scenario = r.scenario
	if e.At.IsZero() {
		e.At = stamp()
	}
	e.At = e.At.UTC()
	r.mu.Lock()
	r.entries = append(r.entries, e)
	r.mu.Unlock()
}

func (r *recorder) note(node, format string, args ...any) {
	r.add(v1alpha1.TimelineEntry{Kind: v1alpha1.EntryNote, Node: node, Text: fmt.Sprintf(format, args...)})
}

// timeline is everything recorded, by time.
func (r *recorder) timeline() []v1alpha1.TimelineEntry {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := append([]v1alpha1.TimelineEntry(nil), r.entries...)
	sort.SliceStable(out, func(i, j int) bool { return out[i].At.Before(out[j].At) })
	return out
}

// lastLine is the newest warning or error that was seen in a journal, for the progress line.
func (r *recorder) lastLine() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastLog
}

// keepLog tells whether a line is worth one of the timeline: the first of its kind are.
func (r *recorder) keepLog(l v1alpha1.LogLine) bool {
	kind := l.Source + varying.ReplaceAllString(l.Text, "#")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastLog = l.Source + ": " + l.Text
	r.logKinds[kind]++
	keep := r.logKinds[kind] <= keepSameLog && r.logs < keepLogs
	if keep {
		r.logs++
	}
	return keep
}

// keepEvent tells whether an event that was seen n times is worth a line: a repeated one is when it doubles, not each time.
func (r *recorder) keepEvent(id types.UID, n int, quiet bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	had, known := r.events[id]
	if known && !quiet && n < 2*max(had, 1) {
		return false
	}
	r.events[id] = n
	return !quiet
}

var varying = regexp.MustCompile(`[0-9a-f]{8,}|[0-9]+`)

// look takes what is new in an observation. The first look at a node only teaches what was there before.
func (r *recorder) look(o *v1alpha1.Observation) {
	r.mu.Lock()
	quiet := !r.known[o.Node]
	r.known[o.Node] = true
	r.mu.Unlock()
	for _, l := range o.Journal.Lines {
		if !quiet && slices.Contains([]string{"warning", "error", "fatal"}, l.Level) && r.keepLog(l) {
			r.add(v1alpha1.TimelineEntry{At: l.At, Kind: v1alpha1.EntryLog, Node: o.Node, Source: "journal/" + l.Source, Level: l.Level, Text: l.Text})
		}
	}
	if o.API == nil {
		return
	}
	for i := range o.API.Events {
		e := &o.API.Events[i]
		n := facts.EventCount(e)
		if !r.keepEvent(e.UID, n, quiet) {
			continue
		}
		text := fmt.Sprintf("%s/%s: %s: %s", strings.ToLower(e.InvolvedObject.Kind), e.InvolvedObject.Name, e.Reason, e.Message)
		if n > 1 {
			text += fmt.Sprintf(" (%d times)", n)
		}
		r.add(v1alpha1.TimelineEntry{At: facts.EventTime(e), Kind: v1alpha1.EntryEvent, Node: o.Node, Source: "api.events", Level: strings.ToLower(e.Type), Text: text})
	}
	if o.API.Node == nil {
		return
	}
	for _, c := range o.API.Node.Status.Conditions {
		key := o.Node + "/" + string(c.Type)
		r.mu.Lock()
		had, known := r.conditions[key]
		r.conditions[key] = string(c.Status)
		r.mu.Unlock()
		if !known || had == string(c.Status) {
			continue
		}
		level := "info"
		if facts.Unwell(c) {
			level = "error"
		}
		r.add(v1alpha1.TimelineEntry{At: o.At, Kind: v1alpha1.EntryCondition, Node: o.Node, Source: "api.node", Level: level,
			Text: fmt.Sprintf("%s: %s → %s (%s: %s)", c.Type, had, c.Status, c.Reason, c.Message)})
	}
}
