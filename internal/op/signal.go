package op

import (
	"context"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// Halt stops a process with SIGSTOP, the main one of a unit or the one with a word in its command line: it hangs, and whoever
// started it thinks that it runs.
type Halt struct {
	asks[Units]
	Unit    string `json:"unit,omitempty"`
	Program string `json:"program,omitempty"`
	PID     int    `json:"pid,omitempty"`
	Start   uint64 `json:"start,omitempty"`
}

func (h *Halt) Touches() []string { return []string{h.who()} }

func (h *Halt) who() string { return h.Unit + h.Program }

func (h *Halt) Describe() string { return "SIGSTOP to the main process of " + h.who() }

func (h *Halt) Save(ctx context.Context, env Env) (err error) {
	if h.Program != "" {
		p, err := programOf(h.sys, h.Program)
		h.PID, h.Start = p.PID, p.Start
		return err
	}
	h.PID, h.Start, err = mainProcess(ctx, h.sys, h.Unit)
	return err
}

func mainProcess(ctx context.Context, sys Units, unit string) (int, uint64, error) {
	s, err := Show(ctx, sys, unit)
	if err != nil {
		return 0, 0, err
	}
	pid, err := strconv.Atoi(s.MainPID)
	if err != nil || pid == 0 {
		return 0, 0, fmt.Errorf("%s has no main process (it is %s): %w", unit, s.Active, fs.ErrNotExist)
	}
	p, err := sys.Process(pid)
	if err != nil {
		return 0, 0, err
	}
	return pid, p.Start, nil
}

const (
	signalPoll  = 20 * time.Millisecond
	signalBound = 5 * time.Second
)

func (h *Halt) Do(ctx context.Context, env Env) error {
	if err := h.sys.Signal(h.PID, h.Start, STOP); err != nil {
		return err
	}
	return obeyed(ctx, h.sys, fmt.Sprintf("process %d of %s did not stop", h.PID, h.who()), func() (bool, error) {
		r, err := h.Pending(ctx, env)
		return r.Todo != "", err
	})
}

// obeyed waits until a signal has had its effect: a process in uninterruptible sleep obeys only when it wakes.
func obeyed(ctx context.Context, sys Timer, otherwise string, yes func() (bool, error)) error {
	if ok, err := await(ctx, sys, signalPoll, timeoutscale.Bound(signalBound), yes); err != nil || ok {
		return err
	}
	return fmt.Errorf("%s within %s of the signal", otherwise, timeoutscale.Bound(signalBound))
}

func (h *Halt) Pending(_ context.Context, env Env) (Rest, error) {
	p, err := alive(h.sys, h.PID, h.Start)
	return todo(p != nil && p.State == "T", err, "SIGCONT to process %d of %s", h.PID, h.who())
}

func (h *Halt) Undo(_ context.Context, env Env) error {
	if h.PID == 0 {
		return nil
	}
	// Also when it does not look stopped: the signal may be under way. CONT does nothing to a running process.
	return unlessGone(h.sys.Signal(h.PID, h.Start, CONT))
}

// Kill kills the main process of a unit; systemd starts it again, so there is nothing to undo.
type Kill struct {
	asks[Units]
	Unit  string `json:"unit"`
	PID   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"`
}

func (k *Kill) Describe() string { return "SIGKILL to the main process of " + k.Unit }

func (k *Kill) Save(ctx context.Context, env Env) (err error) {
	k.PID, k.Start, err = mainProcess(ctx, k.sys, k.Unit)
	return err
}

func (k *Kill) Do(ctx context.Context, env Env) error { return kill(ctx, k.sys, k.PID, k.Start) }

func (k *Kill) Effect() (string, error) { return killed(k.sys, k.PID, k.Start) }

// kill ends a process and waits for its end.
func kill(ctx context.Context, sys interface {
	ProcessTable
	Timer
}, pid int, start uint64) error {
	if err := unlessGone(sys.Signal(pid, start, KILL)); err != nil {
		return err
	}
	return obeyed(ctx, sys, fmt.Sprintf("process %d did not end", pid), func() (bool, error) {
		text, err := killed(sys, pid, start)
		return text != "", err
	})
}

// killed says that a process has ended, if it has.
func killed(sys ProcessTable, pid int, start uint64) (string, error) {
	p, err := alive(sys, pid, start)
	if err != nil || p != nil {
		return "", err
	}
	return fmt.Sprintf("process %d has ended", pid), nil
}

func (*Kill) Pending(context.Context, Env) (Rest, error) { return Rest{}, nil }

func (*Kill) Undo(context.Context, Env) error { return nil }
