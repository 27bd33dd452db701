package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/testbed"
)

const (
	// tries is how often the watchdog tries to undo one run, healPause how long it waits in between: an API server that restarts
	// is back within a minute.
	tries     = 10
	healPause = 30 * time.Second
	// endedEvery is how often it looks whether the run is over without it: a lab is stopped by another process than the one that made it.
	endedEvery = 10 * time.Second
)

// watchdog is the process that outlives a harness. It hears of the end of the harness, however it ended, by the end of its own
// standard input; then it waits until the nodes should have healed themselves, and undoes what they could not: namespaces, a
// registry, a node that is paused or stopped, a runtime's frozen filesystem.
func (a *app) watchdog() *cobra.Command {
	return &cobra.Command{
		Use:    "watchdog PID",
		Hidden: true, // nobody has to start it by hand
		Args:   args(cobra.ExactArgs(1), "the process to outlive"),
		RunE: func(cmd *cobra.Command, args []string) error {
			pid, err := strconv.Atoi(args[0])
			if err != nil {
				return usagef("watchdog %q: it must be a process's number", args[0])
			}
			_, _ = io.Copy(io.Discard, a.in)
			records, err := cluster.Records("")
			if err != nil {
				return err
			}
			// The process may be in the middle of its end, and hold them still.
			records = slices.DeleteFunc(records, func(r cluster.Record) bool { return r.PID != pid })
			var wg sync.WaitGroup
			for _, r := range records {
				wg.Go(func() { a.tend(cmd.Context(), r) })
			}
			wg.Wait()
			return nil
		},
	}
}

// tend heals one run when it is due and leaves word of it.
func (a *app) tend(ctx context.Context, r cluster.Record) {
	for try := 1; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(time.Until(r.Due()), endedEvery)):
		}
		if ended(r) {
			return // whoever goes on with a lab has stopped it
		}
		if time.Now().Before(r.Due()) {
			continue
		}
		if later, ok := prolonged(r); ok {
			r = later
			continue
		}
		did, err := a.healRecord(ctx, r, testbed.Grace)
		switch {
		case err == nil:
			if len(did) == 0 {
				did = []string{"nothing was left to undo"}
			}
			_ = cluster.Tell(fmt.Sprintf("%s: %s", gone(r), strings.Join(did, "; ")))
			return
		case errors.As(err, new(*cluster.ClaimedError)), errors.Is(err, os.ErrNotExist):
			return // somebody else is at it, or has been
		case try == tries:
			_ = cluster.Tell(fmt.Sprintf("%s, and could not be undone: %s", gone(r), err))
			return
		}
		try++
		r.Until = time.Now().Add(healPause)
	}
}

// ended tells that a run's record is gone: it was undone. One that cannot be looked for is not.
func ended(r cluster.Record) bool {
	all, err := cluster.Records(r.Cluster)
	return err == nil && !slices.ContainsFunc(all, func(x cluster.Record) bool { return x.Run == r.Run })
}

// prolonged is the record of a run that was given more time since it was read: a lab outlives the process that began it.
func prolonged(r cluster.Record) (cluster.Record, bool) {
	all, _ := cluster.Records(r.Cluster)
	i := slices.IndexFunc(all, func(x cluster.Record) bool { return x.Run == r.Run })
	if i < 0 || !time.Now().Before(all[i].Due()) {
		return r, false
	}
	return all[i], true
}

// healRecord undoes a run on whatever cluster it was.
func (a *app) healRecord(ctx context.Context, r cluster.Record, patience time.Duration) ([]string, error) {
	e, err := a.deps.presentEngine(ctx)
	if err != nil {
		return nil, err
	}
	c, err := a.deps.find(ctx, e, r.Cluster)
	if errors.As(err, new(*cluster.NotFoundError)) {
		hold, err := r.Take()
		if err != nil {
			return nil, err
		}
		return []string{"its cluster is gone"}, hold.End()
	}
	if err != nil {
		return nil, err
	}
	return testbed.Heal(ctx, c, r, patience)
}

func gone(r cluster.Record) string {
	if !r.Until.IsZero() {
		return fmt.Sprintf("run %s on node %s had reached its time", r.Run, r.Node)
	}
	return fmt.Sprintf("run %s on node %s was left by process %d (%s), which is gone", r.Run, r.Node, r.PID, r.Command)
}

// environ is the environment as this process was given it. Later it names the engine that was found, and a process of sickbay's that
// is told an engine proves it anew.
var environ = os.Environ()

// guard is our end of the watchdog's standard input. It stays open as long as this process lives.
var guard struct {
	once sync.Once
	w    *os.File
	err  error
}

// startWatchdog starts this process's watchdog, once.
func startWatchdog() error {
	guard.once.Do(func() {
		var r *os.File
		if r, guard.w, guard.err = os.Pipe(); guard.err != nil {
			return
		}
		defer r.Close()
		cmd := detached("watchdog", strconv.Itoa(os.Getpid()))
		cmd.Stdin = r
		if guard.err = cmd.Start(); guard.err == nil {
			guard.err = cmd.Process.Release()
		}
	})
	if guard.err != nil {
		return fmt.Errorf("start the watchdog, which outlives this process: %w", guard.err)
	}
	return nil
}

// detached is a sickbay that outlives this process.
func detached(args ...string) *exec.Cmd {
	self, err := os.Executable()
	cmd := exec.Command(self, args...)
	if err != nil {
		cmd.Err = err
	}
	// In a session of its own: what ends a terminal's or a shell's processes must not end this one.
	cmd.Env, cmd.SysProcAttr = environ, &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// sweep tells what the watchdog did since the last command, and undoes what runs of dead processes left that should have healed by
// now. What it cannot undo keeps its node out of use and nobody else's.
func (a *app) sweep(ctx context.Context, c *cluster.Cluster) {
	a.news(ctx)
	did, err := testbed.SweepDue(ctx, c, func(r cluster.Record) {
		progress.From(ctx).Note("undoing: %s", gone(r))
	})
	for _, d := range did {
		progress.From(ctx).Note("%s", d)
	}
	if err != nil {
		progress.From(ctx).Note("not undone: %s", err)
	}
}

func (a *app) news(ctx context.Context) {
	for _, line := range cluster.News() {
		progress.From(ctx).Note("meanwhile, %s", line)
	}
}
