package suites

import (
	"fmt"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

func TestRecorderKeepsWhatAPersonWouldRead(t *testing.T) {
	r := newRecorder("x")
	o := v1alpha1.Observation{Node: "w1", At: time.Now()}
	for i := range 100 {
		o.Journal.Lines = append(o.Journal.Lines,
			v1alpha1.LogLine{Source: "kubelet", Level: "error", At: time.Now(), Text: "sync of pod 0a1b2c3d4e failed " + fmt.Sprint(i)},
			v1alpha1.LogLine{Source: "kubelet", Level: "info", At: time.Now(), Text: "nothing"})
	}
	r.look(&v1alpha1.Observation{Node: "w1"})
	r.look(&o)
	if n := len(r.timeline()); n != keepSameLog {
		t.Errorf("%d lines of one kind of message, want %d", n, keepSameLog)
	}
	if r.lastLine() != "kubelet: sync of pod 0a1b2c3d4e failed 99" {
		t.Errorf("last line %q", r.lastLine())
	}
}
