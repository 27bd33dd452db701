package suites

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Cleanups holds what must still be undone if the process ends now: on the first Ctrl-C the run undoes it, on a second
// one the user is told how.
type Cleanups struct {
	mu   sync.Mutex
	next int
	open map[int]*Cleanup
}

// Cleanup is one thing to undo.
type Cleanup struct {
	c    *Cleanups
	id   int
	what string
	hint string // the command that undoes it by hand
	f    func(context.Context) error
	once sync.Once
	err  error
}

// Add registers a clean-up. It must be called before the change it undoes. hint is the command that undoes it by hand.
func (c *Cleanups) Add(what, hint string, f func(context.Context) error) *Cleanup {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[int]*Cleanup{}
	}
	c.next++
	u := &Cleanup{c: c, id: c.next, what: what, hint: hint, f: f}
	c.open[u.id] = u
	return u
}

// Run undoes it, once; a second call returns the first one's error.
func (u *Cleanup) Run(ctx context.Context) error {
	u.once.Do(func() {
		u.err = u.f(ctx)
		if u.err == nil {
			u.Forget()
		}
	})
	return u.err
}

// Forget takes it off the registry without running it: it was undone elsewhere, or is to stay (Keep).
func (u *Cleanup) Forget() {
	u.c.mu.Lock()
	defer u.c.mu.Unlock()
	delete(u.c.open, u.id)
}

// Pending lists what is still open, newest first, with the command for each.
func (c *Cleanups) Pending() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make([]int, 0, len(c.open))
	for id := range c.open {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = c.open[id].what + ": " + c.open[id].hint
	}
	return out
}

// sameInterrupt is how long after the first signal another one still belongs to it: timeout(1) signals its child and then its
// whole group, and make and shells pass on what the terminal has already sent.
const sameInterrupt = time.Second

// WithInterrupt returns a context that ends on the first SIGINT or SIGTERM, so that runs recover and return ErrInterrupted. A
// second one says on w what is still open and how to undo it, and ends the process with 130 at once.
func WithInterrupt(parent context.Context, w io.Writer, reg *Cleanups) (context.Context, context.CancelFunc) {
	return withInterrupt(parent, w, reg, os.Exit)
}

func withInterrupt(parent context.Context, w io.Writer, reg *Cleanups, exit func(int)) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
		case <-done:
			return
		}
		if n := len(reg.Pending()); n > 0 {
			fmt.Fprintf(w, "\ninterrupted: recovering %d open fault(s); interrupt again to leave at once\n", n)
		}
		cancel()
		for first := time.Now(); ; {
			select {
			case <-signals:
			case <-done:
				return
			}
			if time.Since(first) > sameInterrupt {
				break
			}
		}
		if pending := reg.Pending(); len(pending) > 0 {
			fmt.Fprintln(w, "\nleaving with faults open; their nodes heal themselves when the lease runs out, or at once with:")
			for _, p := range pending {
				fmt.Fprintln(w, "  "+p)
			}
		}
		exit(130)
	}()
	var once sync.Once
	return ctx, func() {
		once.Do(func() {
			signal.Stop(signals)
			close(done)
			cancel()
		})
	}
}
