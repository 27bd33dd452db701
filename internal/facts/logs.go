package facts

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// ahead is how far a line may be stamped after the look that holds it: a look takes a second or two, and many on a slow machine.
const ahead = time.Minute

// RuntimeLog names the runtime's log to Lines, whatever its unit is called.
const RuntimeLog = "the runtime"

// drift is how far the kernel's stamps may be off: printk counts by a clock of the CPU that NTP does not discipline, and 50 ppm of either
// sign are usual (dmesg(1) warns of it).
func drift(o *v1alpha1.Observation) time.Duration {
	return min(time.Duration(o.Host.UptimeSeconds*50/1e6*float64(time.Second)), 10*time.Minute)
}

// Lines are a unit's journal lines of the time before the last look, oldest first. Unit "kernel" is the kernel log, "kubelet" the log
// of the unit that the kubelet runs in, RuntimeLog that of the runtime, "" any.
// Those from the future were written before the node's clock was set back: nobody knows how long ago, and a minute cannot be meant.
func Lines(h v1alpha1.History, unit string, within time.Duration) []v1alpha1.LogLine {
	return linesThat(h, unit, within, func(string) bool { return true })
}

// linesThat are the Lines whose texts are meant: a log is long, and few of its lines are wanted.
func linesThat(h v1alpha1.History, unit string, within time.Duration, meant func(text string) bool) []v1alpha1.LogLine {
	w := windowOf(h, unit, within)
	var out []v1alpha1.LogLine
	for i := range h {
		lines := w.log(&h[i])
		for j := range lines {
			if l := &lines[j]; w.has(l) && meant(l.Text) {
				out = append(out, *l)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b v1alpha1.LogLine) int { return a.At.Compare(b.At) })
	return out
}

// newest is the last of the Lines whose texts are meant.
func newest(h v1alpha1.History, unit string, within time.Duration, meant func(text string) bool) (v1alpha1.LogLine, bool) {
	w := windowOf(h, unit, within)
	var found *v1alpha1.LogLine
	for i := len(h) - 1; i >= 0; i-- {
		lines := w.log(&h[i])
		for j := len(lines) - 1; j >= 0; j-- {
			if l := &lines[j]; w.has(l) && (found == nil || l.At.After(found.At)) && meant(l.Text) {
				found = l
			}
		}
	}
	if found == nil {
		return v1alpha1.LogLine{}, false
	}
	return *found, true
}

// window is a part of a log: whose, and of what time.
type window struct {
	unit          string
	since, future time.Time
}

func windowOf(h v1alpha1.History, unit string, within time.Duration) window {
	w := window{unit, h.Last().At.Add(-within), h.Last().At.Add(ahead)}
	switch unit {
	case "kubelet":
		w.unit = KubeletUnitName(h.Last())
	case RuntimeLog:
		w.unit = cmp.Or(Runtime(h.Last()).Unit, RuntimeLog)
	case "kernel":
		w.since, w.future = w.since.Add(-drift(h.Last())), w.future.Add(drift(h.Last()))
	}
	return w
}

func (w window) log(o *v1alpha1.Observation) []v1alpha1.LogLine {
	if w.unit == "kernel" {
		return o.Kmsg
	}
	return o.Journal.Lines
}

func (w window) has(l *v1alpha1.LogLine) bool {
	return (w.unit == "" || l.Source == w.unit || w.unit == "kernel") && !l.At.Before(w.since) && l.At.Before(w.future)
}

// LastLine is the newest line that holds all the words.
func LastLine(h v1alpha1.History, unit string, within time.Duration, words ...string) (v1alpha1.LogLine, bool) {
	return newest(h, unit, within, func(text string) bool { return containsAll(text, words) })
}

// LastOf is the newest line that holds one of the texts.
func LastOf(h v1alpha1.History, unit string, within time.Duration, texts ...string) (v1alpha1.LogLine, bool) {
	return newest(h, unit, within, func(text string) bool { return Has(text, texts...) })
}

// Said is the last of a unit's lines that hold the text, and how many there are.
func Said(h v1alpha1.History, unit string, within time.Duration, text string) (last v1alpha1.LogLine, times int) {
	lines := linesThat(h, unit, within, func(line string) bool { return strings.Contains(line, text) })
	if len(lines) > 0 {
		last = lines[len(lines)-1]
	}
	return last, len(lines)
}

// FromLine is a log line as evidence.
func FromLine(l v1alpha1.LogLine) v1alpha1.Evidence {
	source := "journal/" + l.Source
	if l.Source == "kernel" || l.Source == "" {
		source = "kmsg"
	}
	return v1alpha1.Evidence{Source: source, At: l.At, Text: Short(l.Text)}
}

// Short cuts a text to what a person reads. The end stays: long lines have paths in the middle and the reason last.
func Short(s string) string {
	const begin, end = 280, 120
	if len(s) <= begin+end && plain(s) {
		return s
	}
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > begin+end {
		return string(r[:begin]) + "…" + string(r[len(r)-end:])
	}
	return s
}

// plain tells that nothing of a text is to be joined: its blanks are single spaces between words, and all of it is ASCII.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == ' ' && (i == 0 || i == len(s)-1 || s[i-1] == ' ') {
			return false
		}
	}
	return true
}

// Seen is a fact of the last look as evidence.
func Seen(o *v1alpha1.Observation, source, text string) v1alpha1.Evidence {
	return v1alpha1.Evidence{Source: source, At: o.At, Text: Short(text)}
}

// Has tells whether one of the texts is in s. Its first letter may be large or small: Go spells the kernel's errors small ("no space
// left on device"), glibc's strerror and with it systemd, runc's hooks and mount large.
func Has(s string, texts ...string) bool {
	for _, t := range texts {
		first, n := utf8.DecodeRuneInString(t)
		other := unicode.ToUpper(first)
		if other == first || len(t) == n {
			if strings.Contains(s, t) || other != first && strings.ContainsRune(s, other) {
				return true
			}
			continue
		}
		// What both spellings share is looked for once.
		for rest, from := t[n:], 0; ; from++ {
			i := strings.Index(s[from:], rest)
			if i < 0 {
				break
			}
			from += i
			if r, _ := utf8.DecodeLastRuneInString(s[:from]); from > 0 && (r == other || strings.HasSuffix(s[:from], t[:n])) {
				return true
			}
		}
	}
	return false
}

func containsAll(s string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}

// APINow is the API server's time at the last look, by which the stamps on its objects are to be read.
func APINow(o *v1alpha1.Observation) time.Time {
	if o.API != nil && !o.API.ServerDate.IsZero() {
		return o.API.ServerDate
	}
	return o.At
}

// EventTime is when an event was last seen: the latest of its stamps, of which reporters of either API fill only some, and the
// object's own where there is none.
func EventTime(e *corev1.Event) time.Time {
	last := e.LastTimestamp.Time
	stamps := []time.Time{e.EventTime.Time, e.FirstTimestamp.Time}
	if e.Series != nil {
		stamps = append(stamps, e.Series.LastObservedTime.Time)
	}
	for _, t := range stamps {
		if t.After(last) {
			last = t
		}
	}
	if last.IsZero() {
		return e.CreationTimestamp.Time
	}
	return last
}

// EventCount is how often it was seen.
func EventCount(e *corev1.Event) int {
	n := int(e.Count)
	if e.Series != nil {
		n = max(n, int(e.Series.Count))
	}
	return max(n, 1)
}

// Events are those about an object of the kind and name ("" any) with one of the reasons, not older than within, newest first.
func Events(o *v1alpha1.Observation, kind, namespace, name string, within time.Duration, reasons ...string) []corev1.Event {
	if o.API == nil {
		return nil
	}
	since := APINow(o).Add(-within)
	var out []corev1.Event
	for i := range o.API.Events {
		e := &o.API.Events[i]
		if (kind == "" || e.InvolvedObject.Kind == kind) && (name == "" || e.InvolvedObject.Name == name) &&
			(namespace == "" || e.InvolvedObject.Namespace == namespace) &&
			(len(reasons) == 0 || slices.Contains(reasons, e.Reason)) && !EventTime(e).Before(since) {
			out = append(out, *e)
		}
	}
	slices.SortStableFunc(out, func(a, b corev1.Event) int { return EventTime(&b).Compare(EventTime(&a)) })
	return out
}

// FromEvent is an event as evidence.
func FromEvent(e *corev1.Event) v1alpha1.Evidence {
	return v1alpha1.Evidence{Source: "api.events", At: EventTime(e), Text: Short(e.Reason + ": " + e.Message)}
}
