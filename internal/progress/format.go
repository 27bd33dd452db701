package progress

import (
	"fmt"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/text"
)

// Elapsed writes a duration as a person reads it: 3.2s, 1m12s, 1h02m.
func Elapsed(d time.Duration) string {
	switch {
	case d < 0:
		return "0.0s"
	case d < time.Minute:
		// 59.96s would round to 60.0s.
		return fmt.Sprintf("%.1fs", min(d.Seconds(), 59.9))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	default:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
}

// round writes a bound or an expectation: whole units, no trailing zeros (6m, 90s, 1h30m).
func round(d time.Duration) string {
	switch {
	case d < 2*time.Minute && d%time.Minute != 0 || d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Round(time.Second)/time.Second))
	case d < time.Hour && d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return Elapsed(d)
	}
}

// limits says how long a task usually takes and how long it may take: "usually 3m14s, at most 6m", or "".
func limits(expect, bound time.Duration) string {
	var s []string
	if expect > 0 {
		s = append(s, "usually "+round(expect))
	}
	if bound > 0 {
		s = append(s, "at most "+round(bound))
	}
	return strings.Join(s, ", ")
}

// oneLine is the first line of a text, without control characters: a detail is often a log line of somebody else, and an
// escape sequence in it must not reach the terminal.
func oneLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case text.Hidden(r):
			return -1
		}
		return r
	}, s)
}
