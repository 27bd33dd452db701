//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// enter becomes a command in the mount and cgroup namespaces of a process: PID COMMAND... A pod that has the node's processes sees the node
// so, with a login's environment.
func enter(_ context.Context, args []string) (any, error) {
	if len(args) < 2 {
		return nil, &requestError{fmt.Errorf("a process and a command are wanted")}
	}
	// Threads share their root and working directory, and what shares them cannot be moved.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return nil, fmt.Errorf("leave this process's root: %w", err)
	}
	// The cgroup namespace first: its file is gone from sight afterwards.
	for _, ns := range []struct {
		file string
		flag int
	}{{"cgroup", unix.CLONE_NEWCGROUP}, {"mnt", unix.CLONE_NEWNS}} {
		file := "/proc/" + args[0] + "/ns/" + ns.file
		fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == unix.ENOENT && ns.file == "cgroup" {
			continue // a kernel without them
		}
		if err == nil {
			err = unix.Setns(fd, ns.flag)
			_ = unix.Close(fd)
		}
		if err != nil {
			return nil, fmt.Errorf("enter %s, which takes a privileged pod with hostPID: %w", file, err)
		}
	}
	env := []string{"HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "SICKBAY_") {
			env = append(env, e)
		}
	}
	_ = os.Setenv("PATH", strings.TrimPrefix(env[1], "PATH="))
	program, err := exec.LookPath(args[1])
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("run %s: %w", program, unix.Exec(program, args[1:], env))
}
