// Package lockfile keeps processes from doing the same thing at the same time. The kernel drops the lock of one that dies.
package lockfile

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/sickbay-dev/sickbay/internal/progress"
)

// poll is how often a held lock is tried again: flock has no wait with a deadline.
const poll = 50 * time.Millisecond

// Wait takes the lock of a file, which then has this process's id in it. While another process has it, a task tells what is waited
// for, such as "another sickbay that makes the guest".
func Wait(ctx context.Context, file, what string) (unlock func(), err error) {
	l := flock.New(file, flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err == nil && !ok {
		task := progress.From(ctx).Start("wait for "+what, 0)
		holder, _ := os.ReadFile(file)
		task.Detail("process %s holds %s", strings.TrimSpace(string(holder)), file)
		if _, err = l.TryLockContext(ctx, poll); err != nil {
			err = fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		}
		task.End(err)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	_ = os.WriteFile(file, fmt.Appendln(nil, os.Getpid()), 0o600) // for the line above alone
	return func() { _ = l.Close() }, nil
}
