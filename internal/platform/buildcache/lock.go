package buildcache

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/sickbay-dev/sickbay/internal/lockfile"
)

// Lock keeps a second build out of the cache: it would make the same things at the same time. The kernel drops the lock of a
// process that dies.
func (c *Cache) Lock(ctx context.Context) (unlock func(), err error) {
	return lockfile.Wait(ctx, filepath.Join(c.Dir, "lock"), fmt.Sprintf("another %s build on this machine", c.What))
}
