package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// interruptible returns a context that ends at the first SIGINT or SIGTERM: whatever runs then recovers on a context of its
// own. The second signal is for a recovery that hangs; it ends the process and says what is left to do.
func interruptible(parent context.Context, stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case s := <-signals:
			cancel(&interruptError{s})
			fmt.Fprintln(stderr, "\nInterrupted: undoing what was injected. Press Ctrl-C again to leave that to the nodes.")
		case <-done:
			return
		}
		select {
		case <-signals:
			fmt.Fprint(stderr, "\n"+abandoned)
			os.Exit(exitInterrupted)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

const abandoned = `Left before the recovery was done. Nothing is lost: what was displaced is in a journal on each node.
  sickbay recover --all     undoes it now
  sickbay status            shows what is still injected
Without either, a node heals itself when its lease runs out, within a minute or so.
`

// interruptError is why the context ended.
type interruptError struct{ signal os.Signal }

func (e *interruptError) Error() string { return "interrupted (" + e.signal.String() + ")" }
