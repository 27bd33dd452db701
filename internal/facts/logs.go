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
	since, future := h.Last().At.Add(-within), h.Last().At.Add(ahead)
	switch unit {
	case "kubelet":
		unit = KubeletUnitName(h.Last())
	case RuntimeLog:
		unit = cmp.Or(Runtime(h.Last()).Unit, RuntimeLog)
	case "kernel":
		since, future = since.Add(-drift(h.Last())), future.Add(drift(h.Last()))
	}
	var out []v1alpha1.LogLine
	for i := range h {
		lines := h[i].Journal.Lines
		if unit == "kernel" {
			lines = h[i].Kmsg
		}
		for _, l := range lines {
			if (unit == "" || l.Source == unit || unit == "kernel") && !l.At.Before(since) && l.At.Before(future) {
				out = append(out, l)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b v1alpha1.LogLine) int { return a.At.Compare(b.At) })
	return out
}

// LastLine is the newest line that holds all the words.
func LastLine(h v1alpha1.History, unit string, within time.Duration, words ...string) (v1alpha1.LogLine, bool) {
	lines := Lines(h, unit, within)
	for i := len(lines) - 1; i >= 0; i-- {
		if containsAll(lines[i].Text, words) {
			return lines[i], true
		}
	}
	return v1alpha1.LogLine{}, false
}

// LastOf is the newest line that holds one of the texts.
func LastOf(h v1alpha1.History, unit string, within time.Duration, texts ...string) (v1alpha1.LogLine, bool) {
	lines := Lines(h, unit, within)
	for i := len(lines) - 1; i >= 0; i-- {
		if Has(lines[i].Text, texts...) {
			return lines[i], true
		}
	}
	return v1alpha1.LogLine{}, false
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
	s = strings.Join(strings.Fields(s), " ")
	const begin, end = 280, 120
	if r := []rune(s); len(r) > begin+end {
		return string(r[:begin]) + "…" + string(r[len(r)-end:])
	}
	return s
}

// Seen is a fact of the last look as evidence.
func Seen(o *v1alpha1.Observation, source, text string) v1alpha1.Evidence {
	return v1alpha1.Evidence{Source: source, At: o.At, Text: Short(text)}
}

// Has tells whether one of the texts is in s. Its first letter may be large or small: Go spells the kernel's errors small ("no space
// left on device"), glibc's strerror and with it systemd, runc's hooks and mount large.
func Has(s string, texts ...string) bool {
	for _, t := range texts {
		if strings.Contains(s, t) {
			return true
		}
		first, n := utf8.DecodeRuneInString(t)
		if other := unicode.ToUpper(first); other != first && strings.Contains(s, string(other)+t[n:]) {
			return true
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
