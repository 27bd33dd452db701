//go:build unix

package nodeimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/progress"
)

func freeSpace(path string) (string, uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return "", 0, err
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", 0, err
	}
	return fmt.Sprint(st.Dev), fs.Bavail * uint64(fs.Bsize), nil
}

// lockPoll is how often a second build looks whether the first has ended.
const lockPoll = time.Second

// lockDir keeps a second build out of the cache: it would compile the same things at the same time. The kernel drops the
// lock of a process that dies.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the cache of image parts: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		task := progress.From(ctx).Start("wait for another image build on this machine", 0)
		tick := time.NewTicker(lockPoll)
		defer tick.Stop()
		for err == unix.EWOULDBLOCK {
			select {
			case <-ctx.Done():
				err = ctx.Err()
			case <-tick.C:
				err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
			}
		}
		task.End(err)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking the cache of image parts %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}
