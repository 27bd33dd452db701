// Package lease is the dead man's switch of an injected node: a deadline that the harness moves on, and a systemd timer
// that heals the node once it has passed.
//
// The deadline is a time since boot with the boot's id, because wall clocks are among the things that faults move. The timer
// is a unit file below /etc, not a transient unit: restarting a node's container empties /run and must not disarm the
// switch. The package knows nothing of injections but the name of their run.
package lease

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/op"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

const (
	// Default is how long a node waits when the harness does not say.
	Default = 2 * time.Minute
	// tick is how often the timer looks: it is the most that healing is late.
	tick = 5 * time.Second

	// Timer and Service are the switch's units.
	Timer   = "sickbay-sweep.timer"
	Service = "sickbay-sweep.service"
	unitDir = "/etc/systemd/system"
	// ServiceFile is there while a node has something to take back.
	ServiceFile = unitDir + "/" + Service
	wants       = unitDir + "/timers.target.wants/" + Timer
)

// Node is what leases ask of a node.
type Node interface {
	op.Commands
	Clock() (bootID string, sinceBoot time.Duration, err error)
	Stat(path string) (op.Stat, error)
	Read(path string) ([]byte, error)
	List(path string) ([]string, error)
	Write(path string, data []byte, mode fs.FileMode) error
	Rename(from, to string) error
	Symlink(target, path string) error
	Remove(path string) error
	MkdirAll(path string, mode fs.FileMode) error
	SyncDir(path string) error
}

// Leases are a node's leases, one file a run.
type Leases struct {
	Sys Node
	Dir string // /var/lib/sickbay/leases
	// Agent is the program the timer runs, with the argument sweep.
	Agent string
}

// Lease is one run's deadline.
type Lease struct {
	Run    string        `json:"run"`
	BootID string        `json:"bootId"`
	Ends   time.Duration `json:"ends"` // since boot
}

func (l *Leases) file(run string) string { return path.Join(l.Dir, run+".json") }

// Extend moves the run's deadline to d from now. It never moves it back. fs.ErrNotExist means that the lease was dropped meanwhile.
func (l *Leases) Extend(run string, d time.Duration) error {
	boot, now, err := l.Sys.Clock()
	if err != nil {
		return err
	}
	old, ok, err := l.get(run)
	if err != nil {
		return err
	}
	if ok && old.BootID == boot && old.Ends > now+d {
		return nil
	}
	b, err := json.Marshal(Lease{Run: run, BootID: boot, Ends: now + d})
	if err != nil {
		return err
	}
	err = l.Sys.MkdirAll(l.Dir, 0o700)
	// A renewal goes beside an injection: each has a file of its own until the rename.
	tmp := l.file(run) + "." + rand.Text() + ".tmp"
	if err == nil {
		err = l.Sys.Write(tmp, b, 0o600)
	}
	if err == nil {
		err = l.Sys.Rename(tmp, l.file(run))
	}
	if err != nil {
		return fmt.Errorf("lease of run %s: %w", run, err)
	}
	return l.Sys.SyncDir(l.Dir)
}

func (l *Leases) get(run string) (Lease, bool, error) {
	b, err := l.Sys.Read(l.file(run))
	if errors.Is(err, fs.ErrNotExist) {
		return Lease{}, false, nil
	}
	var out Lease
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return Lease{}, false, fmt.Errorf("lease of run %s: %w", run, err)
	}
	return out, true, nil
}

// Left is the time until the run's deadline; less than zero when it has passed, when there is none, when it cannot be read, or when
// the machine was booted since.
func (l *Leases) Left(run string) time.Duration {
	lease, ok, err := l.get(run)
	if err != nil || !ok {
		return long
	}
	boot, now, err := l.Sys.Clock()
	if err != nil || boot != lease.BootID {
		return long
	}
	return lease.Ends - now
}

// long ago is a deadline that nobody knows.
const long = -24 * time.Hour

// Drop removes the leases of all runs but those to keep.
func (l *Leases) Drop(keep map[string]bool) error {
	names, err := l.Sys.List(l.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	left := 0
	for _, n := range names {
		if tmp, ok := strings.CutSuffix(n, ".tmp"); ok {
			run := strings.TrimSuffix(tmp, path.Ext(tmp))
			if keep[strings.TrimSuffix(run, ".json")] {
				left++
				continue
			}
		}
		if run, ok := strings.CutSuffix(n, ".json"); ok && keep[run] {
			left++
			continue
		}
		if err := unlessGone(l.Sys.Remove(path.Join(l.Dir, n))); err != nil {
			return err
		}
	}
	if left == 0 {
		if err := l.Sys.Remove(l.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			// A renewal may have come this very moment; its lease has no injection and is dropped by whoever comes next.
			if names, e := l.Sys.List(l.Dir); e != nil || len(names) == 0 {
				return err
			}
		}
	}
	return nil
}

func (l *Leases) units() map[string]string {
	return map[string]string{
		// LogLevelMax: systemd would write two lines into the journal every five seconds, and those are evidence.
		ServiceFile: `[Unit]
Description=sickbay: heal this node when its lease has run out

[Service]
Type=oneshot
ExecStart=` + l.Agent + ` sweep
TimeoutStartSec=600
LogLevelMax=warning
`,
		path.Join(unitDir, Timer): fmt.Sprintf(`[Unit]
Description=sickbay: look for a lease that has run out

[Timer]
OnActiveSec=%[1]d
OnUnitInactiveSec=%[1]d
AccuracySec=1

[Install]
WantedBy=timers.target
`, int(tick/time.Second)),
	}
}

// Arm starts the timer; when it returns nil, the switch is set.
func (l *Leases) Arm(ctx context.Context) error {
	if err := l.arm(ctx); err != nil {
		return fmt.Errorf("arming the lease: %w", err)
	}
	return nil
}

func (l *Leases) arm(ctx context.Context) error {
	reload := false
	for _, name := range []string{ServiceFile, path.Join(unitDir, Timer)} {
		text := l.units()[name]
		was, err := l.Sys.Read(name)
		if err == nil && string(was) == text {
			continue
		}
		// Only a unit that systemd has read before needs the reload; a new one it finds by itself.
		reload = reload || err == nil
		if err := l.Sys.Write(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	// The link makes the timer start with the node, should its container be restarted.
	if err := l.Sys.MkdirAll(path.Dir(wants), 0o755); err != nil {
		return err
	}
	if err := l.Sys.Symlink(path.Join(unitDir, Timer), wants); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if reload {
		if err := l.systemctl(ctx, "daemon-reload"); err != nil {
			return err
		}
	}
	if err := l.systemctl(ctx, "start", Timer); err != nil {
		return err
	}
	s, err := op.Show(ctx, l.Sys, Timer)
	if err != nil {
		return err
	}
	if s.Active != "active" {
		return fmt.Errorf("%s is %s after its start", Timer, s.Active)
	}
	return nil
}

// Disarm stops and removes the timer, and every trace of it.
func (l *Leases) Disarm(ctx context.Context) error {
	if err := l.disarm(ctx); err != nil {
		return fmt.Errorf("disarming the lease: %w", err)
	}
	return nil
}

func (l *Leases) disarm(ctx context.Context) error {
	found := false
	for _, p := range []string{wants, path.Join(unitDir, Timer), ServiceFile} {
		if _, err := l.Sys.Stat(p); err == nil {
			found = true
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if !found {
		return nil
	}
	if s, err := op.Show(ctx, l.Sys, Timer); err != nil {
		return err
	} else if s.Up() {
		if err := l.systemctl(ctx, "stop", Timer); err != nil {
			return err
		}
	}
	for _, p := range []string{wants, path.Join(unitDir, Timer)} {
		if err := unlessGone(l.Sys.Remove(p)); err != nil {
			return err
		}
	}
	// Where no other timer is enabled the directory was ours; one that is not empty stays by itself.
	if names, err := l.Sys.List(path.Dir(wants)); err == nil && len(names) == 0 {
		if err := l.Sys.Remove(path.Dir(wants)); err != nil {
			return err
		}
	}
	if err := l.systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	// The service file goes last: while it is there, whoever disarms after a crash in here does all of this again. systemd
	// forgets a service that does not run by itself, and this one may be running right now.
	return unlessGone(l.Sys.Remove(ServiceFile))
}

// unlessGone is the error, unless it says that what was to be removed is not there.
func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

const systemctlBound = 15 * time.Second

func (l *Leases) systemctl(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(systemctlBound))
	defer cancel()
	_, err := l.Sys.Run(ctx, append([]string{"systemctl"}, args...)...)
	return err
}
