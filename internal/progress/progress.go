// Package progress says what sickbay is waiting for, since when, and for how long at most.
//
// It knows nothing of clusters or scenarios: callers start a Task for anything that may take over two seconds, tell it
// what they see meanwhile, and end it. A terminal shows a live line, anything else gets plain lines, --quiet gets nothing.
package progress

import (
	"context"
	"errors"
	"time"
)

// Sink shows tasks to whoever is watching. Implementations are safe for concurrent use: scenarios run side by side.
type Sink interface {
	// Start announces a task. bound is how long it may take at most, 0 when it has no bound.
	Start(title string, bound time.Duration) Task
	// Note prints one line that belongs to no task, such as a warning.
	Note(format string, args ...any)
}

// Task is one thing being waited for.
type Task interface {
	// Expect tells how long the task usually takes, measured earlier; shown beside the elapsed time.
	Expect(d time.Duration)
	// Detail replaces the one line of detail, such as the step of a build or the last relevant log line.
	Detail(format string, args ...any)
	// End closes the task, as failed when err is not nil, as skipped when it is a Skipped. A second End does nothing.
	End(err error)
}

// Skipped ends a task that did not succeed but has a substitute; the text says which.
type Skipped string

func (s Skipped) Error() string { return string(s) }

func mark(err error) string {
	switch {
	case err == nil:
		return "✓"
	case errors.As(err, new(Skipped)):
		return "–"
	}
	return "✗"
}

// Discard is a Sink that shows nothing.
var Discard Sink = discard{}

type discard struct{}

func (discard) Start(string, time.Duration) Task { return discard{} }
func (discard) Note(string, ...any)              {}
func (discard) Expect(time.Duration)             {}
func (discard) Detail(string, ...any)            {}
func (discard) End(error)                        {}

type sinkKey struct{}

// Into returns a context that carries the sink.
func Into(ctx context.Context, s Sink) context.Context { return context.WithValue(ctx, sinkKey{}, s) }

// From returns the sink the context carries, or Discard.
func From(ctx context.Context) Sink {
	if s, ok := ctx.Value(sinkKey{}).(Sink); ok {
		return s
	}
	return Discard
}
