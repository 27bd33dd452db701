package vm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// startedAt is when a process began, in ticks since boot: field 22 of /proc/PID/stat.
func startedAt(pid int) (uint64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in brackets, and may hold anything.
	text := string(raw)
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields after the name", pid, len(f))
	}
	if f[0] == "Z" {
		return 0, os.ErrProcessDone
	}
	return strconv.ParseUint(f[19], 10, 64)
}

// detach makes a program outlive this process and the terminal.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// dieWithParent makes the kernel end a program when this process dies, however it dies.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// mountAlone gives a program a mount namespace of its own, where this process may do that.
func mountAlone(cmd *exec.Cmd) {
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	}
}

// stopPoll is how often a process is looked at that was told to end.
const stopPoll = 50 * time.Millisecond

// end stops a process, at first politely, and returns when it is gone. It is held by a descriptor, so that another one with the
// same number is never hit.
func end(pid int, began uint64, bound time.Duration) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop the guest's process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if now, err := startedAt(pid); err != nil || now != began {
		return nil // it has ended, and its number is somebody else's
	}
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); errors.Is(err, unix.ESRCH) {
			return nil
		} else if err != nil {
			return fmt.Errorf("stop the guest's process %d: %w", pid, err)
		}
		for until := time.Now().Add(bound); time.Now().Before(until); {
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if n, _ := unix.Poll(poll, int(stopPoll.Milliseconds())); n > 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("the guest's process %d does not end, not even killed", pid)
}

// process is a QEMU of ours.
type process struct {
	pid   int
	began uint64
}

// strays are the QEMU processes with a file below a folder on their command line: what a start that was cut off may have left
// without having written it down.
func strays(dir string) []process {
	entries, _ := os.ReadDir("/proc")
	var out []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		raw, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil {
			continue
		}
		args := strings.Split(string(raw), "\x00")
		if filepath.Base(args[0]) != qemu || !strings.Contains(string(raw), dir+"/") {
			continue
		}
		if began, err := startedAt(pid); err == nil {
			out = append(out, process{pid, began})
		}
	}
	return out
}
