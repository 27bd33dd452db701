package facts

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestShort(t *testing.T) {
	long := "begin " + strings.Repeat("ä", 500) + " end"
	got := Short(long)
	if !strings.HasPrefix(got, "begin ä") || !strings.HasSuffix(got, "ä end") || len([]rune(got)) != 401 {
		t.Errorf("%q", got)
	}
	if got := Short("a\n  b"); got != "a b" {
		t.Errorf("%q", got)
	}
}

// TestEventTime: client-go's recorder of core/v1 moves lastTimestamp and count, that of events.k8s.io/v1 leaves them empty and keeps
// a series; an API server that took an event over from the other API may have filled both.
func TestEventTime(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC) }
	stamp := func(minute int) metav1.Time { return metav1.NewTime(at(minute)) }
	micro := func(minute int) metav1.MicroTime { return metav1.NewMicroTime(at(minute)) }
	made := metav1.ObjectMeta{CreationTimestamp: stamp(1)}
	for name, c := range map[string]struct {
		event corev1.Event
		last  int
		count int
	}{
		"core/v1, repeated":        {corev1.Event{ObjectMeta: made, FirstTimestamp: stamp(1), LastTimestamp: stamp(9), Count: 4}, 9, 4},
		"events/v1, once":          {corev1.Event{ObjectMeta: made, EventTime: micro(2)}, 2, 1},
		"events/v1, repeated":      {corev1.Event{ObjectMeta: made, EventTime: micro(2), Series: &corev1.EventSeries{Count: 7, LastObservedTime: micro(8)}}, 8, 7},
		"both":                     {corev1.Event{ObjectMeta: made, LastTimestamp: stamp(3), Count: 2, EventTime: micro(2), Series: &corev1.EventSeries{Count: 7, LastObservedTime: micro(8)}}, 8, 7},
		"first seen only":          {corev1.Event{ObjectMeta: made, FirstTimestamp: stamp(5)}, 5, 1},
		"later than lastTimestamp": {corev1.Event{ObjectMeta: made, LastTimestamp: stamp(3), EventTime: micro(6)}, 6, 1},
		"no stamp but its own":     {corev1.Event{ObjectMeta: made}, 1, 1},
	} {
		if got := EventTime(&c.event); !got.Equal(at(c.last)) || EventCount(&c.event) != c.count {
			t.Errorf("%s: %s, %d times; want %s, %d", name, got, EventCount(&c.event), at(c.last), c.count)
		}
	}
}
