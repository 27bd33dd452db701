package vm

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/sickbay-dev/sickbay/internal/progress"
)

// Down ends the guest and removes its folder: no process, no port and no disk beyond the cache stays. It is legal when none is up,
// after half a start, and twice.
func Down(ctx context.Context, o Options) (err error) {
	o, err = o.withDefaults()
	if err != nil {
		return err
	}
	if _, err := os.Stat(o.Dir); errors.Is(err, os.ErrNotExist) {
		return nil // never used here
	}
	unlock, err := lockGuest(ctx, o)
	if err != nil {
		return err
	}
	defer unlock()
	task := progress.From(ctx).Start("end the guest", o.Timeouts.Stop)
	defer func() { task.End(err) }()
	return clear(o)
}

// clear ends whatever process the guest's folder has and removes the folder. The caller holds the lock.
func clear(o Options) error {
	dir := o.guest()
	var errs []error
	if s, err := load(dir); err == nil && s.Alive() {
		errs = append(errs, s.End(context.Background(), true, o.Timeouts.Stop))
	}
	// A start that was cut off between QEMU's and the state's being written down.
	for _, p := range strays(dir) {
		errs = append(errs, p.End(context.Background(), true, o.Timeouts.Stop))
	}
	if err := errors.Join(errs...); err != nil {
		return err // its disk is in use
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the guest's folder: %w", err)
	}
	return nil
}
