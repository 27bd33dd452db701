package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// HostClaim is the claim of the machine itself, for faults of the shared kernel; it is one for all clusters.
const HostClaim = "host"

// Holder is who holds a claim.
type Holder struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
}

// ClaimedError is a node that another run holds.
type ClaimedError struct {
	Node   string
	Holder Holder
}

func (e *ClaimedError) Error() string {
	if e.Holder.PID == 0 {
		return fmt.Sprintf("%s is held by another run", e.Node)
	}
	return fmt.Sprintf("%s is held by process %d (%s) since %s; wait for it or choose another node",
		e.Node, e.Holder.PID, e.Holder.Command, e.Holder.Since.Local().Format("15:04:05"))
}

// Claim takes a node for one run, or HostClaim. The kernel gives it back when the process dies, however it dies. A node that is
// held is a *ClaimedError that names the holder; one on which a dead process has left something is a *NotCleanError.
func (c *Cluster) Claim(ctx context.Context, node string) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if node != HostClaim && !c.Has(node) {
		return nil, fmt.Errorf("claim %s: cluster %s has no such node", node, c.Name)
	}
	file, err := c.claimFile(node)
	if err != nil {
		return nil, err
	}
	if release, err = take(file, node); err != nil {
		return nil, err
	}
	if left, ok := c.leftOn(node); ok {
		release()
		return nil, &NotCleanError{left}
	}
	return release, nil
}

func (c *Cluster) claimFile(node string) (string, error) {
	dir, err := cacheDir()
	if err != nil {
		return "", err
	}
	name := filepath.Join(c.Name, node)
	if node == HostClaim {
		name = HostClaim
	}
	return filepath.Join(dir, "claims", name+".lock"), nil
}

// heldElsewhere tells whether a run of another process holds a node, or has left it ill.
func (c *Cluster) heldElsewhere(node string) bool {
	file, err := c.claimFile(node)
	if err != nil {
		return false
	}
	_, held := heldElsewhere(file)
	return held || c.recorded(node)
}

// HostHeldElsewhere tells which other process holds HostClaim at this moment, or is gone and has left the machine's kernel changed. It
// reads what the holder has written and takes no lock: somebody who wants the claim right now would be refused for nothing.
func HostHeldElsewhere() (Holder, bool) {
	if r, ok := leftOnHost(); ok {
		return r.Holder, true
	}
	file, err := (&Cluster{}).claimFile(HostClaim)
	if err != nil {
		return Holder{}, false
	}
	return heldElsewhere(file)
}

func heldElsewhere(file string) (Holder, bool) {
	var h Holder
	raw, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(raw, &h) != nil || h.PID <= 0 || h.PID == os.Getpid() {
		return Holder{}, false
	}
	// A holder that was killed could not empty the file.
	p, err := os.FindProcess(h.PID)
	if err != nil || errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone) {
		return Holder{}, false
	}
	return h, true
}

func take(file, what string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("claim %s: %w", what, err)
	}
	l := flock.New(file)
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("claim %s: lock %s: %w", what, file, err)
	}
	if !ok {
		held := &ClaimedError{Node: what}
		if raw, err := os.ReadFile(file); err == nil {
			_ = json.Unmarshal(raw, &held.Holder) // half-written: the holder took it this moment
		}
		return nil, held
	}
	raw, err := json.Marshal(self())
	if err == nil {
		err = os.WriteFile(file, raw, 0o600)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("claim %s: %w", what, err), l.Unlock())
	}
	return func() {
		// Emptied and not removed: a file removed under somebody who waits for it would be locked twice.
		_ = os.Truncate(file, 0)
		_ = l.Unlock()
	}, nil
}

func self() Holder { return Holder{PID: os.Getpid(), Command: command(), Since: time.Now()} }

// locked tells whether a process holds a lock. For the moment of the question it holds it itself, and who tries to take it then is
// refused: ask only about locks that nobody waits for.
func locked(file string) bool {
	l := flock.New(file, flock.SetFlag(os.O_RDONLY))
	ok, err := l.TryRLock()
	if ok {
		_ = l.Unlock()
	}
	return err == nil && !ok
}

func command() string {
	return text.Cut(strings.Join(append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...), " "), 120)
}

// lockPoll is how often the life-cycle lock of a cluster is tried: another Up takes half a minute.
const lockPoll = 200 * time.Millisecond

// lock waits until nobody else makes or removes the cluster.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	dir, err := cacheDir()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "locks", name+".lock")
	var task progress.Task
	for {
		release, err := take(file, "the making of cluster "+name)
		var held *ClaimedError
		if !errors.As(err, &held) {
			if task != nil {
				task.End(err)
			}
			return release, err
		}
		if task == nil {
			task = progress.From(ctx).Start("wait for another sickbay that makes or removes cluster "+name, 0)
			task.Detail("process %d (%s)", held.Holder.PID, held.Holder.Command)
		}
		if retry.Sleep(ctx, lockPoll) != nil {
			err := fmt.Errorf("wait: %w: %w", context.Cause(ctx), held)
			task.End(err)
			return nil, err
		}
	}
}
