package progress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestFrom(t *testing.T) {
	if From(t.Context()) != Discard {
		t.Error("a context without a sink must discard")
	}
	p := NewPlain(&bytes.Buffer{})
	if From(Into(context.Background(), p)) != Sink(p) {
		t.Error("the sink was lost")
	}
}

func TestElapsed(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0s", 3200 * time.Millisecond: "3.2s", 59990 * time.Millisecond: "59.9s",
		72 * time.Second: "1m12s", 3720 * time.Second: "1h02m",
	} {
		if got := Elapsed(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		90 * time.Second: "90s", 6 * time.Minute: "6m", 194 * time.Second: "3m14s", time.Hour: "1h", 40 * time.Second: "40s",
	} {
		if got := round(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		p := NewPlain(&b)
		task := p.Start("manifest", 6*time.Minute)
		task.Expect(194 * time.Second)
		task.Detail("first")
		task.Detail("kubelet: PLEG is \x1b[31mnot healthy\nsecond line")
		time.Sleep(32300 * time.Millisecond)
		p.Note("disk is %d%% full", 97)
		task.End(nil)
		task.End(errors.New("a second End does nothing"))
		bad := p.Start("clear", 0)
		time.Sleep(time.Second)
		bad.End(errors.New("still NotReady\nmore"))
		p.Start("pull", 0).End(Skipped("built here instead"))
		p.tasks.Wait()
		want := ` • manifest …
   manifest: 15.0s (usually 3m14s, at most 6m): kubelet: PLEG is [31mnot healthy
   manifest: 30.0s (usually 3m14s, at most 6m): kubelet: PLEG is [31mnot healthy
 ! disk is 97% full
 ✓ manifest 32.3s
 • clear …
 ✗ clear 1.0s: still NotReady
 • pull …
 – pull 0.0s: built here instead
`
		if b.String() != want {
			t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
		}
	})
}

func TestTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{width: 60}
		term := NewTerminal(s, func() (int, int) { return 60, 10 }, false)
		one := term.Start("pleg-disk: manifest", 6*time.Minute)
		one.Expect(194 * time.Second)
		two := term.Start("swap-on: clear", 0)
		one.Detail("waiting for %s", "Ready=False")
		two.Detail("a very long log line that does not fit into sixty columns of this terminal at all")
		time.Sleep(12020 * time.Millisecond) // just after a frame
		s.want(t, "while two run", ` ⠋ pleg-disk: manifest  12.0s · usually 3m14s, at most 6m
   waiting for Ready=False
 ⠋ swap-on: clear  12.0s
   a very long log line that does not fit into sixty colum…
`)
		term.Note("a note")
		two.End(errors.New("it came back"))
		s.want(t, "after one has ended", ` ! a note
 ✗ swap-on: clear  12.0s  it came back
 ⠋ pleg-disk: manifest  12.0s · usually 3m14s, at most 6m
   waiting for Ready=False
`)
		one.End(nil)
		one.End(nil)
		s.want(t, "after all have", ` ! a note
 ✗ swap-on: clear  12.0s  it came back
 ✓ pleg-disk: manifest  12.0s
`)
		if s.hidden {
			t.Error("the cursor stays hidden")
		}
		before := s.writes
		time.Sleep(time.Second)
		if s.writes != before {
			t.Error("still drawing with nothing to draw")
		}
	})
}

func TestTerminalNeverFillsTheScreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{width: 80}
		term := NewTerminal(s, func() (int, int) { return 80, 8 }, false)
		for i := range 20 {
			term.Start(fmt.Sprint("task ", i), 0).Detail("detail")
		}
		time.Sleep(200 * time.Millisecond)
		if n := strings.Count(s.text(), "\n"); n > 7 {
			t.Errorf("%d lines on a screen of 8", n)
		}
		if !strings.Contains(s.text(), "and 17 more") {
			t.Errorf("nothing tells of the others:\n%s", s.text())
		}
		term.Close()
		if s.text() != "" || s.hidden {
			t.Errorf("Close left:\n%s", s.text())
		}
	})
}

func TestColorOnlyWhenAsked(t *testing.T) {
	for _, color := range []bool{false, true} {
		var b bytes.Buffer
		term := NewTerminal(&b, func() (int, int) { return 80, 24 }, color)
		term.Start("x", 0).End(errors.New("y"))
		if got := strings.Contains(b.String(), "\x1b[1;31m"); got != color {
			t.Errorf("color %t: %q", color, b.String())
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	for _, sink := range []Sink{NewPlain(&bytes.Buffer{}), NewTerminal(&bytes.Buffer{}, func() (int, int) { return 80, 24 }, true), Discard} {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				task := sink.Start(fmt.Sprint(i), time.Minute)
				task.Expect(time.Second)
				for j := range 50 {
					task.Detail("%d", j)
				}
				sink.Note("%d", i)
				task.End(nil)
			})
		}
		wg.Wait()
	}
}

// screen is as much of a terminal as the sink uses: it would show a line that was left behind.
type screen struct {
	mu     sync.Mutex
	width  int
	rows   [][]rune
	y, x   int
	hidden bool
	writes int
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	r := []rune(string(p))
	for i := 0; i < len(r); i++ {
		switch {
		case r[i] == '\n':
			s.y, s.x = s.y+1, 0
		case r[i] == '\r':
			s.x = 0
		case r[i] == 0x1b && r[i+1] == '[':
			j := i + 2
			for r[j] < '@' {
				j++
			}
			s.control(string(r[i+2:j]), r[j])
			i = j
		default:
			s.row()
			s.rows[s.y] = append(s.rows[s.y][:min(s.x, len(s.rows[s.y]))], append([]rune{r[i]}, tail(s.rows[s.y], s.x+1)...)...)
			s.x++
		}
	}
	return len(p), nil
}

func tail(r []rune, from int) []rune {
	if from >= len(r) {
		return nil
	}
	return append([]rune(nil), r[from:]...)
}

func (s *screen) row() {
	for len(s.rows) <= s.y {
		s.rows = append(s.rows, nil)
	}
}

func (s *screen) control(arg string, verb rune) {
	s.row()
	switch verb {
	case 'A':
		n, _ := strconv.Atoi(arg)
		if s.y -= n; s.y < 0 {
			panic("cursor above the screen")
		}
	case 'K':
		s.rows[s.y] = s.rows[s.y][:min(s.x, len(s.rows[s.y]))]
	case 'J':
		s.rows[s.y] = s.rows[s.y][:min(s.x, len(s.rows[s.y]))]
		s.rows = s.rows[:s.y+1]
	case 'h', 'l':
		if arg == "?25" {
			s.hidden = verb == 'l'
		}
	default:
		panic("unknown sequence " + arg + string(verb))
	}
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, r := range s.rows {
		if len(r) > s.width {
			b.WriteString("TOO WIDE: ")
		}
		b.WriteString(string(r) + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + strings.Repeat("\n", min(1, len(strings.TrimSpace(b.String()))))
}

func (s *screen) want(t *testing.T, when, want string) {
	t.Helper()
	got := s.text()
	for _, f := range frames[1:] {
		got = strings.ReplaceAll(got, f, frames[0])
	}
	if got != want {
		t.Errorf("%s:\n%s\nwant:\n%s", when, got, want)
	}
}
