package op

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

const (
	// detachWait is how long the kernel may take to free a loop device after its last unmount: a few milliseconds on a quiet
	// machine, half a minute on one with fifteen times the work it can do (seen live), where killed processes also end late.
	detachWait = time.Minute
	detachPoll = 100 * time.Millisecond
	// heldAfter is how long the kernel gets before somebody is looked for who holds the device, and again after each.
	heldAfter = time.Second
)

// loopHolders is what it takes to find who holds a loop device.
type loopHolders interface {
	Filesystems
	LoopDevices
	ProcessTable
	Timer
}

// releaseLoop waits for the kernel to free a loop device with its last mount, and asks it to: where the agent died between
// attaching and mounting there was none. A container has mounts of its own: one that was started on the device and has not
// ended ends now. held answers the device's number and whether it still holds what.
func releaseLoop(ctx context.Context, sys loopHolders, what string, held func() (int, bool, error)) error {
	for waited := time.Duration(0); ; waited += detachPoll {
		number, ok, err := held()
		if err != nil || !ok {
			return err
		}
		if waited >= detachPoll {
			if err := sys.DetachLoop(number); err != nil {
				return err
			}
		}
		if waited >= heldAfter && waited%heldAfter == 0 {
			if err := killHolders(sys, number); err != nil {
				return err
			}
		}
		if waited >= timeoutscale.Bound(detachWait) {
			return fmt.Errorf("loop%d still holds %s %s after everything was unmounted here: some process in another mount namespace uses it (a container started on it: look for its overlay mounts)",
				number, what, detachWait)
		}
		if err := sys.Wait(ctx, detachPoll); err != nil {
			return err
		}
	}
}

// killHolders kills the processes that have a filesystem of the loop device mounted in a mount namespace other than ours.
func killHolders(sys loopHolders, number int) error {
	all, err := sys.Processes()
	if err != nil {
		return err
	}
	for _, p := range all {
		mounts, err := sys.Mounts(p.PID)
		if err != nil || p.PID == 1 {
			continue // ended meanwhile, or a zombie
		}
		if !slices.ContainsFunc(mounts, func(m *Mount) bool { return m.Major == LoopMajor && m.Minor == number }) {
			continue
		}
		if err := unlessGone(sys.Signal(p.PID, p.Start, KILL)); err != nil {
			return err
		}
	}
	return nil
}
