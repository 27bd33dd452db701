package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"charm.land/lipgloss/v2"
)

// frameEvery is the spinner's pace: ten pictures a second look smooth and cost nothing over a slow ssh connection.
const frameEvery = 100 * time.Millisecond

var frames = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// Terminal is a Sink with a live region at the bottom of the screen: two lines per running task, redrawn in one write.
// What has ended scrolls up above it.
type Terminal struct {
	mu     sync.Mutex
	w      io.Writer
	size   func() (width, height int)
	now    func() time.Time
	styles styles
	tasks  []*terminalTask // running, oldest first
	drawn  int             // lines of the live region on the screen; the cursor stands below them
	frame  int
	stop   chan struct{} // ends the redrawing goroutine, nil when there is none
}

type styles struct {
	spinner, good, bad, note, title, dim func(string) string
}

func newStyles(color bool) styles {
	if !color {
		same := func(s string) string { return s }
		return styles{same, same, same, same, same, same}
	}
	// The sixteen colours of the terminal's own theme: readable on dark and light alike.
	paint := func(s lipgloss.Style) func(string) string { return func(text string) string { return s.Render(text) } }
	plain := lipgloss.NewStyle()
	return styles{
		spinner: paint(plain.Foreground(lipgloss.Cyan)),
		good:    paint(plain.Foreground(lipgloss.Green)),
		bad:     paint(plain.Foreground(lipgloss.Red).Bold(true)),
		note:    paint(plain.Foreground(lipgloss.Yellow)),
		title:   paint(plain.Bold(true)),
		dim:     paint(plain.Faint(true)),
	}
}

// NewTerminal returns a Sink that draws on a terminal of the size that size reports at every redraw.
func NewTerminal(w io.Writer, size func() (width, height int), color bool) *Terminal {
	return &Terminal{w: w, size: size, now: time.Now, styles: newStyles(color)}
}

func (t *Terminal) Start(title string, bound time.Duration) Task {
	t.mu.Lock()
	defer t.mu.Unlock()
	task := &terminalTask{sink: t, title: oneLine(title), bound: bound, began: t.now()}
	t.tasks = append(t.tasks, task)
	if t.stop == nil {
		t.stop = make(chan struct{})
		go t.animate(t.stop)
	}
	t.draw("")
	return task
}

func (t *Terminal) Note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	width, _ := t.size()
	t.draw(cut(" "+t.styles.note("!")+" "+oneLine(fmt.Sprintf(format, args...)), width*3) + "\n")
}

// Close takes the live region off the screen and gives the cursor back. Tasks that still run are forgotten.
func (t *Terminal) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tasks = nil
	t.draw("")
	t.rest()
}

func (t *Terminal) animate(stop <-chan struct{}) {
	tick := time.NewTicker(frameEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			t.mu.Lock()
			if t.stop == stop {
				t.frame++
				t.draw("")
			}
			t.mu.Unlock()
		}
	}
}

// rest ends the animation when nothing runs.
func (t *Terminal) rest() {
	if len(t.tasks) == 0 && t.stop != nil {
		close(t.stop)
		t.stop = nil
	}
}

// draw replaces the live region, putting above (complete lines) before it. One write, bracketed by the synchronized-update
// mode (terminals without it ignore it), so that no half-drawn picture is ever shown.
func (t *Terminal) draw(above string) {
	var b strings.Builder
	b.WriteString("\x1b[?2026h\x1b[?25l")
	if t.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", t.drawn)
	}
	b.WriteString("\r")
	for line := range strings.Lines(above) {
		b.WriteString(strings.TrimSuffix(line, "\n") + "\x1b[K\n")
	}
	lines := t.lines()
	for _, l := range lines {
		b.WriteString(l + "\x1b[K\n")
	}
	b.WriteString("\x1b[J") // whatever a taller region left below
	if len(lines) == 0 {
		b.WriteString("\x1b[?25h")
	}
	b.WriteString("\x1b[?2026l")
	t.drawn = len(lines)
	_, _ = io.WriteString(t.w, b.String()) // nobody is left to tell when the terminal is gone
}

// lines are the live region's. It never fills the screen: what scrolls off the top could not be redrawn.
func (t *Terminal) lines() []string {
	width, height := t.size()
	room := max(2, height-2)
	var out []string
	for i, task := range t.tasks {
		if len(out)+2 > room {
			out = append(out, t.styles.dim(fmt.Sprintf("   … and %d more", len(t.tasks)-i)))
			break
		}
		out = append(out, t.line(task, width))
		if task.detail != "" {
			out = append(out, t.styles.dim(cut("   "+task.detail, width-1)))
		}
	}
	return out
}

func (t *Terminal) line(task *terminalTask, width int) string {
	elapsed := Elapsed(t.now().Sub(task.began))
	limit := limits(task.expect, task.bound)
	if limit != "" {
		limit = " · " + limit
	}
	head := " " + t.styles.spinner(frames[t.frame%len(frames)]) + " "
	// The title gives way before the numbers do; the limits go before the title loses its half.
	tail := "  " + elapsed + limit
	if lipgloss.Width(task.title)+lipgloss.Width(tail)+4 > width && lipgloss.Width(tail) > width/2 {
		tail = "  " + elapsed
	}
	title := cut(task.title, width-1-3-lipgloss.Width(tail))
	return head + t.styles.title(title) + t.styles.dim(tail)
}

// cut shortens styled text to a width in terminal cells.
func cut(s string, width int) string {
	if width < 1 {
		return ""
	}
	if lipgloss.Width(s) <= width {
		return s
	}
	return lipgloss.NewStyle().MaxWidth(width-1).Render(s) + "…"
}

type terminalTask struct {
	sink   *Terminal
	title  string
	bound  time.Duration
	began  time.Time
	expect time.Duration
	detail string
	ended  bool
}

func (t *terminalTask) Expect(d time.Duration) {
	t.sink.mu.Lock()
	defer t.sink.mu.Unlock()
	t.expect = d
}

// Detail is shown at the next frame: callers may tell a hundred lines a second.
func (t *terminalTask) Detail(format string, args ...any) {
	t.sink.mu.Lock()
	defer t.sink.mu.Unlock()
	t.detail = oneLine(fmt.Sprintf(format, args...))
}

func (t *terminalTask) End(err error) {
	s := t.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.ended {
		return
	}
	t.ended = true
	for i, other := range s.tasks {
		if other == t {
			s.tasks = append(s.tasks[:i:i], s.tasks[i+1:]...)
			break
		}
	}
	took := Elapsed(s.now().Sub(t.began))
	line := " " + s.styles.good("✓") + " " + t.title + s.styles.dim("  "+took)
	if err != nil {
		color := s.styles.bad
		if mark(err) == "–" {
			color = s.styles.dim
		}
		line = " " + color(mark(err)) + " " + t.title + s.styles.dim("  "+took) + "  " + oneLine(err.Error())
	}
	s.draw(line + "\n")
	s.rest()
}
