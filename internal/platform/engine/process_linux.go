package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ownProcesses finds the daemons of the private engine by their command lines, which name its files. A pid file would be wrong
// after a crash.
func ownProcesses(opts Options) []Process {
	roles := []struct{ role, argument string }{
		{roleDockerd, opts.dockerdConfig()},
		{roleContainerd, opts.containerdConfig()},
		{roleShim, opts.containerdSocket()},
	}
	var out []Process
	for _, p := range processes() {
		for _, r := range roles {
			if filepath.Base(p.args[0]) != "dockerd" && r.role == roleDockerd {
				continue
			}
			if slices.Contains(p.args[1:], r.argument) {
				out = append(out, Process{PID: p.pid, Role: r.role, Command: strings.Join(p.args, " ")})
				break
			}
		}
	}
	return out
}

// otherDaemons finds engines of others, and of these the ones that share this network namespace and with it the packet filter.
func otherDaemons(opts Options) (anywhere, here []int) {
	own := ownProcesses(opts)
	namespace, _ := os.Readlink("/proc/self/ns/net")
	for _, p := range processes() {
		if filepath.Base(p.args[0]) != "dockerd" || slices.ContainsFunc(own, func(o Process) bool { return o.PID == p.pid }) {
			continue
		}
		anywhere = append(anywhere, p.pid)
		if there, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.pid)); err == nil && there == namespace {
			here = append(here, p.pid)
		}
	}
	return anywhere, here
}

type process struct {
	pid  int
	args []string // never empty
}

func processes() []process {
	entries, _ := os.ReadDir("/proc")
	var out []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		data, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil || len(data) == 0 {
			continue
		}
		out = append(out, process{pid, strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")})
	}
	return out
}

// stopPoll is how often a process is looked at that was told to end.
const stopPoll = 20 * time.Millisecond

// end stops a process, at first politely, and returns when it is gone. The process is held by a descriptor, so that another one
// with the same number is never hit.
func end(ctx context.Context, pid int, polite bool, bound time.Duration) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if polite {
		if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil {
			return ignoreGone(err)
		}
		if gone(ctx, fd, bound) {
			return nil
		}
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return ignoreGone(err)
	}
	if !gone(ctx, fd, bound) {
		return fmt.Errorf("process %d does not end, not even killed (it probably hangs in the kernel on a frozen filesystem)", pid)
	}
	return nil
}

func ignoreGone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// gone waits until the process has ended; its descriptor then becomes readable.
func gone(ctx context.Context, fd int, bound time.Duration) bool {
	deadline := time.Now().Add(bound)
	for time.Now().Before(deadline) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(poll, int(stopPoll.Milliseconds())); n > 0 {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
	}
	return false
}

// endCgroups kills whatever still runs in the containers' cgroups and removes them. It is what cleans up after an engine that
// died: its containers live on without it.
func endCgroups(ctx context.Context, opts Options) error {
	var errs []error
	for _, root := range ownCgroups(opts) {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || d.Name() != "cgroup.procs" {
				return nil
			}
			data, _ := os.ReadFile(path)
			for _, field := range strings.Fields(string(data)) {
				if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
					errs = append(errs, end(ctx, pid, false, opts.Timeouts.Stop))
				}
			}
			return nil
		})
		errs = append(errs, removeCgroup(root))
	}
	return errors.Join(errs...)
}

func ownCgroups(opts Options) []string {
	var out []string
	for _, glob := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		for _, name := range []string{opts.cgroup(), opts.cgroup() + ".slice"} {
			paths, _ := filepath.Glob(glob + "/" + name)
			for _, p := range paths {
				if info, err := os.Lstat(p); err == nil && info.IsDir() {
					out = append(out, p)
				}
			}
		}
	}
	return out
}

func removeCgroup(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroup(filepath.Join(root, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(root); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the cgroup: %w", err)
	}
	return nil
}
