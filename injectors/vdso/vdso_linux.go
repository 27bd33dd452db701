package vdso

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/pace"
)

const (
	// poll and bound: a stop takes effect within a millisecond, an exec after systemd's fork within 20.
	poll  = 5 * time.Millisecond
	bound = 10 * time.Second
)

// function is where clock_gettime lies in a process.
type function struct {
	addr uint64
	size uint64
}

func find(pid int) (function, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return function{}, err
	}
	for line := range strings.SplitSeq(string(maps), "\n") {
		if !strings.HasSuffix(line, "[vdso]") {
			continue
		}
		from, to, _ := strings.Cut(strings.Fields(line)[0], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err := errors.Join(err1, err2); err != nil {
			return function{}, err
		}
		image, err := read(pid, start, int(end-start))
		if err != nil {
			return function{}, err
		}
		f, err := elf.NewFile(bytes.NewReader(image))
		if err != nil {
			return function{}, fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
		syms, err := f.DynamicSymbols()
		if err != nil {
			return function{}, fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
		for _, s := range syms {
			if s.Name == symbol(runtime.GOARCH) {
				return function{addr: start + s.Value, size: s.Size}, nil
			}
		}
		return function{}, fmt.Errorf("%w: it has no %s", ErrUnsupported, symbol(runtime.GOARCH))
	}
	return function{}, fmt.Errorf("%w: process %d has none", ErrUnsupported, pid)
}

func read(pid int, addr uint64, n int) ([]byte, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	_, err = f.ReadAt(b, int64(addr))
	return b, err
}

// Offset measures by how much the process's wall clock is moved; false when it is the kernel's own.
func Offset(pid int) (time.Duration, bool, error) {
	fn, err := find(pid)
	if err != nil {
		return 0, false, fmt.Errorf("clock of process %d: %w", pid, err)
	}
	b, err := read(pid, fn.addr, 64)
	if err != nil {
		return 0, false, fmt.Errorf("clock of process %d: %w", pid, err)
	}
	by, ours := offset(runtime.GOARCH, b)
	return by, ours, nil
}

// Shift moves the wall clock that one process reads. Called by a unit's ExecStartPost it waits until the process has left
// systemd's own program behind, whose clock is not the one meant. The process stands still for about a millisecond.
func Shift(ctx context.Context, pid int, by time.Duration) error {
	if err := shift(ctx, pid, by); err != nil {
		return fmt.Errorf("moving the clock of process %d by %s: %w", pid, by, err)
	}
	return nil
}

func shift(ctx context.Context, pid int, by time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, pace.Bound(bound), fmt.Errorf("not done within %s", pace.Bound(bound)))
	defer cancel()
	patch, err := code(runtime.GOARCH, by)
	if err != nil {
		return err
	}
	for {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil {
			return err
		}
		if !strings.HasPrefix(filepath.Base(exe), "systemd") {
			break
		}
		if err := wait(ctx); err != nil {
			return err
		}
	}
	fn, err := find(pid)
	if err != nil {
		return err
	}
	if fn.size < uint64(len(patch)) {
		return fmt.Errorf("%w: its clock_gettime has %d bytes, the other needs %d", ErrUnsupported, fn.size, len(patch))
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		if err := unix.PidfdSendSignal(fd, unix.SIGSTOP, nil, 0); err != nil {
			return err
		}
		clear, err := standing(ctx, pid, fn)
		if err == nil && clear {
			err = write(pid, fn.addr, patch)
		}
		if e := unix.PidfdSendSignal(fd, unix.SIGCONT, nil, 0); err == nil {
			err = e
		}
		if err != nil || clear {
			return err
		}
		if err := wait(ctx); err != nil {
			return err
		}
	}
}

func wait(ctx context.Context) error {
	t := time.NewTimer(poll)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// standing waits until all threads have stopped, and tells whether none of them is inside the function: one that were would
// go on in the middle of other code.
func standing(ctx context.Context, pid int, fn function) (bool, error) {
	for {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return false, err
		}
		stopped, clear := true, true
		for _, t := range tasks {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/syscall", pid, t.Name()))
			if err != nil {
				return false, err
			}
			f := strings.Fields(string(b))
			if len(f) < 3 { // "running"
				stopped = false
				break
			}
			pc, err := strconv.ParseUint(strings.TrimPrefix(f[len(f)-1], "0x"), 16, 64)
			if err != nil {
				return false, err
			}
			clear = clear && (pc < fn.addr || pc >= fn.addr+fn.size)
		}
		if stopped {
			state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil {
				return false, err
			}
			if i := bytes.LastIndexByte(state, ')'); i > 0 && i+2 < len(state) && state[i+2] == 'T' {
				return clear, nil
			}
		}
		if err := wait(ctx); err != nil {
			return false, err
		}
	}
}

func write(pid int, addr uint64, b []byte) error {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, int64(addr))
	return errors.Join(err, f.Close())
}
