package facts_test

import (
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/facts"
)

// What was written before the clock was set back is stamped in the future, and is not of the last minute.
func TestLinesFromTheFuture(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	line := func(text string, ago time.Duration) v1alpha1.LogLine {
		return v1alpha1.LogLine{Source: "kubelet", At: now.Add(-ago), Text: text}
	}
	h := v1alpha1.History{{At: now, Journal: v1alpha1.Journal{Lines: []v1alpha1.LogLine{
		line("before the clock was set back", -15*time.Minute), line("old", 5*time.Minute), line("now", time.Second), line("while the look went on", -5*time.Second),
	}}}}
	got := facts.Lines(h, "kubelet", time.Minute)
	if len(got) != 2 || got[0].Text != "now" || got[1].Text != "while the look went on" {
		t.Errorf("%+v", got)
	}
}
