package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Boot changes whenever this machine is booted.
func Boot() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// Of identifies the process that has this number now; os.ErrProcessDone for one that has ended and was not waited for.
func Of(pid int) (ID, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ID{}, err
	}
	// The second field is the program's name in brackets, and may hold anything.
	text := string(raw)
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 20 {
		return ID{}, fmt.Errorf("/proc/%d/stat has %d fields after the name", pid, len(f))
	}
	if f[0] == "Z" {
		return ID{}, os.ErrProcessDone
	}
	began, err := strconv.ParseUint(f[19], 10, 64)
	return ID{PID: pid, Began: began, Boot: Boot()}, err
}

// All lists the processes that have a command line.
func All() []Process {
	var out []Process
	for id, dir := range each {
		raw, err := os.ReadFile(dir + "/cmdline")
		if err != nil || len(raw) == 0 {
			continue
		}
		exe, _ := os.Readlink(dir + "/exe")
		out = append(out, Process{ID: id, Exe: exe, Args: strings.Split(strings.TrimRight(string(raw), "\x00"), "\x00")})
	}
	return out
}

// each yields the processes with their folders in /proc. They are identified before they are looked at: End ends the one that was looked
// at, or none.
func each(yield func(id ID, dir string) bool) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if id, err := Of(pid); err == nil && !yield(id, "/proc/"+e.Name()) {
			return
		}
	}
}

// InCgroup lists the processes of all control groups whose path contains a word.
func InCgroup(word string) []ID {
	var out []ID
	for id, dir := range each {
		if raw, err := os.ReadFile(dir + "/cgroup"); err == nil && strings.Contains(string(raw), word) {
			out = append(out, id)
		}
	}
	return out
}

// stopPoll is how often a process is looked at that was told to end.
const stopPoll = 20 * time.Millisecond

// End stops the process, at first politely where that is asked for, and returns when it is gone. It is held by a descriptor and
// identified once more behind it, so that another one with its number is never hit.
func (id ID) End(ctx context.Context, polite bool, bound time.Duration) error {
	fd, err := unix.PidfdOpen(id.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop process %d: %w", id.PID, err)
	}
	defer unix.Close(fd)
	if !id.Alive() {
		return nil
	}
	signals := []unix.Signal{unix.SIGTERM, unix.SIGKILL}
	if !polite {
		signals = signals[1:]
	}
	for _, sig := range signals {
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); errors.Is(err, unix.ESRCH) {
			return nil
		} else if err != nil {
			return fmt.Errorf("stop process %d: %w", id.PID, err)
		}
		if gone(ctx, fd, bound) {
			return nil
		}
	}
	return fmt.Errorf("process %d does not end, not even killed (it probably hangs in the kernel on a frozen filesystem)", id.PID)
}

// gone waits until the process has ended; its descriptor then becomes readable.
func gone(ctx context.Context, fd int, bound time.Duration) bool {
	for deadline := time.Now().Add(bound); time.Now().Before(deadline) && ctx.Err() == nil; {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(poll, int(stopPoll.Milliseconds())); n > 0 {
			return true
		}
	}
	return false
}

// Detach makes a program outlive this process and the terminal.
func Detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// Leash makes the kernel send a program a signal when this process dies, however it dies. As root the program also gets a mount namespace
// of its own: what it mounts goes with it, also when it is killed.
func Leash(cmd *exec.Cmd, signal syscall.Signal) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: signal}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWNS
	}
}
