package facts_test

import (
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/detectors/facts"
	"github.com/sickbay-dev/sickbay/observation"
)

// What was written before the clock was set back is stamped in the future, and is not of the last minute.
func TestLinesFromTheFuture(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	line := func(text string, ago time.Duration) observation.LogLine {
		return observation.LogLine{Source: "kubelet", At: now.Add(-ago), Text: text}
	}
	h := observation.History{{At: now, Journal: observation.Journal{Lines: []observation.LogLine{
		line("before the clock was set back", -15*time.Minute), line("old", 5*time.Minute), line("now", time.Second), line("while the look went on", -5*time.Second),
	}}}}
	got := facts.Lines(h, "kubelet", time.Minute)
	if len(got) != 2 || got[0].Text != "now" || got[1].Text != "while the look went on" {
		t.Errorf("%+v", got)
	}
}
