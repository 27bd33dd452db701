//go:build !linux

package process

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Boot is not known here.
func Boot() string { return "" }

// Of knows a process by its number alone.
func Of(pid int) (ID, error) {
	p, err := os.FindProcess(pid)
	if err == nil && errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone) {
		err = os.ErrProcessDone
	}
	return ID{PID: pid}, err
}

// All lists nothing: sickbay has daemons of its own on Linux only.
func All() []Process { return nil }

// End refuses: a number is not enough to end a process by.
func (ID) End(context.Context, bool, time.Duration) error {
	return errors.New("processes are ended on Linux only")
}

// Detach does nothing: nothing is started here that would have to stay.
func Detach(*exec.Cmd) {}

// Leash does nothing: see Detach.
func Leash(*exec.Cmd, syscall.Signal) {}
