package buildcache

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/sickbay-dev/sickbay/internal/progress"
)

// lockPoll is how often a second build looks whether the first has ended.
const lockPoll = time.Second

// Lock keeps a second build out of the cache: it would make the same things at the same time. The kernel drops the lock of a
// process that dies.
func (c *Cache) Lock(ctx context.Context) (unlock func(), err error) {
	l := flock.New(filepath.Join(c.Dir, "lock"))
	ok, err := l.TryLock()
	if err == nil && !ok {
		task := progress.From(ctx).Start(fmt.Sprintf("wait for another %s build on this machine", c.What), 0)
		_, err = l.TryLockContext(ctx, lockPoll)
		task.End(err)
	}
	if err != nil {
		return nil, fmt.Errorf("locking the cache of %s parts %s: %w", c.What, c.Dir, err)
	}
	return func() { _ = l.Close() }, nil
}
