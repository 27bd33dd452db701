package vdso

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
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

// Exec makes this process the program argv, with the environment it has, whose wall clock is moved before its first
// instruction. It is done by an attendant, a sibling of this process whose descriptor 3 Attend takes: it lets go of the
// program as soon as it runs, and is not among its children. The calling thread has to be the process's first, locked.
// Returns only when it failed; the program's clock is the kernel's own when the attendant fails.
func Exec(attendant *exec.Cmd, argv []string) error {
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	attendant.ExtraFiles = []*os.File{w}
	attendant.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT}
	if err := errors.Join(attendant.Start(), w.Close()); err != nil {
		return err
	}
	// One byte, or the end of an attendant that has said why.
	_, _ = r.Read(make([]byte, 1))
	return fmt.Errorf("%s: %w", program, unix.Exec(program, argv, os.Environ()))
}

// Attend waits until the process executes another program, and moves the wall clock that this one reads. It writes one byte
// to ready when it has hold of the process.
func Attend(pid int, by time.Duration, ready io.WriteCloser) error {
	if err := attend(pid, by, ready); err != nil {
		return fmt.Errorf("moving the clock of process %d by %s: %w", pid, by, err)
	}
	return nil
}

func attend(pid int, by time.Duration, ready io.WriteCloser) error {
	patch, err := code(runtime.GOARCH, by)
	if err != nil {
		return err
	}
	// The kernel knows the tracer by its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, unix.PTRACE_O_TRACEEXEC, 0, 0); errno != 0 {
		return fmt.Errorf("ptrace: %w", errno)
	}
	_, err = ready.Write([]byte{0})
	if err := errors.Join(err, ready.Close()); err != nil {
		return err
	}
	for {
		var status unix.WaitStatus
		switch _, err := unix.Wait4(pid, &status, unix.WALL, nil); {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case !status.Stopped():
			return fmt.Errorf("it ended before it became the program (wait status %#x)", status)
		}
		if status.TrapCause() == unix.PTRACE_EVENT_EXEC {
			return errors.Join(rewrite(pid, patch), unix.PtraceDetach(pid))
		}
		signal := status.StopSignal()
		if int(status)>>16 == unix.PTRACE_EVENT_STOP {
			signal = 0 // a stop, not a signal on its way
		}
		if err := unix.PtraceCont(pid, int(signal)); err != nil {
			return err
		}
	}
}

// rewrite puts the code where the process, which stands still, has its clock_gettime.
func rewrite(pid int, patch []byte) error {
	fn, err := find(pid)
	if err != nil {
		return err
	}
	if fn.size < uint64(len(patch)) {
		return fmt.Errorf("%w: its clock_gettime has %d bytes, the other needs %d", ErrUnsupported, fn.size, len(patch))
	}
	return write(pid, fn.addr, patch)
}

func write(pid int, addr uint64, b []byte) error {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, int64(addr))
	return errors.Join(err, f.Close())
}
