//go:build unix

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/internal/progress"
)

// lockPoll is how often a held lock is tried again: a start takes about two seconds.
const lockPoll = 50 * time.Millisecond

// flock takes the lock on a file and writes the process id into it. The kernel releases it when the process dies.
func flock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the engine: %w", err)
	}
	var waiting progress.Task
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if waiting == nil {
			waiting = progress.From(ctx).Start("wait for another sickbay that starts or stops the engine", 0)
			holder, _ := os.ReadFile(path)
			waiting.Detail("process %s holds %s", strings.TrimSpace(string(holder)), path)
			defer func() { waiting.End(err) }()
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for %s: %w", path, context.Cause(ctx)), f.Close())
		case <-time.After(lockPoll):
		}
	}
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	return func() { _ = f.Close() }, nil
}
