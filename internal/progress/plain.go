package progress

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Heartbeat is how often a plain log says that a task still waits: often enough that nobody takes the job for hung (CI
// services show a spinner of their own after some 30 s of silence), rarely enough that PLEG's three minutes are a dozen lines.
const Heartbeat = 15 * time.Second

// Plain is a Sink for logs and pipes: one line when a task starts, one when it ends, a heartbeat between.
type Plain struct {
	mu    sync.Mutex
	w     io.Writer
	every time.Duration
	now   func() time.Time
	tasks sync.WaitGroup
}

// NewPlain returns a Sink that writes plain lines.
func NewPlain(w io.Writer) *Plain { return &Plain{w: w, every: Heartbeat, now: time.Now} }

func (p *Plain) Start(title string, bound time.Duration) Task {
	t := &plainTask{sink: p, title: oneLine(title), bound: bound, began: p.now(), done: make(chan struct{})}
	p.print(" • %s …", t.title)
	p.tasks.Add(1)
	go t.beat()
	return t
}

func (p *Plain) Note(format string, args ...any) {
	p.print(" ! %s", oneLine(fmt.Sprintf(format, args...)))
}

func (p *Plain) print(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, format+"\n", args...)
}

type plainTask struct {
	sink  *Plain
	title string
	bound time.Duration
	began time.Time
	done  chan struct{}

	mu     sync.Mutex
	expect time.Duration
	detail string
	ended  bool
}

func (t *plainTask) beat() {
	defer t.sink.tasks.Done()
	tick := time.NewTicker(t.sink.every)
	defer tick.Stop()
	for {
		select {
		case <-t.done:
			return
		case <-tick.C:
			t.mu.Lock()
			line := fmt.Sprintf("   %s: %s", t.title, Elapsed(t.sink.now().Sub(t.began)))
			if l := limits(t.expect, t.bound); l != "" {
				line += " (" + l + ")"
			}
			if t.detail != "" {
				line += ": " + t.detail
			}
			ended := t.ended
			t.mu.Unlock()
			if !ended {
				t.sink.print("%s", line)
			}
		}
	}
}

func (t *plainTask) Expect(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expect = d
}

func (t *plainTask) Detail(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.detail = oneLine(fmt.Sprintf(format, args...))
}

func (t *plainTask) End(err error) {
	t.mu.Lock()
	if t.ended {
		t.mu.Unlock()
		return
	}
	t.ended = true
	close(t.done)
	t.mu.Unlock()
	took := Elapsed(t.sink.now().Sub(t.began))
	if err != nil {
		t.sink.print(" %s %s %s: %s", mark(err), t.title, took, oneLine(err.Error()))
		return
	}
	t.sink.print(" ✓ %s %s", t.title, took)
}
