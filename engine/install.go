package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/progress"
)

// install takes packages from the distribution's archive.
func install(ctx context.Context, opts Options, packages []string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, opts.Timeouts.Install)
	defer cancel()
	task := progress.From(ctx).Start("install "+strings.Join(packages, ", "), opts.Timeouts.Install)
	task.Expect(12 * time.Second)
	defer func() { task.End(err) }()

	allow, err := forbidServices()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, allow()) }()

	// A machine may have stale or partly unreachable lists and still be able to install.
	updateErr := apt(ctx, task, "update")
	installErr := apt(ctx, task, append([]string{"install", "-y", "--no-install-recommends"}, packages...)...)
	if installErr != nil {
		return fmt.Errorf("install the container engine: %w", errors.Join(installErr, updateErr))
	}
	if slices.Contains(packages, "docker.io") && lookPath(Docker) == "" {
		// Debian 13 and later.
		if err := apt(ctx, task, "install", "-y", "--no-install-recommends", "docker-cli"); err != nil {
			return fmt.Errorf("install the container engine's client: %w", err)
		}
	}
	return nil
}

func apt(ctx context.Context, task progress.Task, args ...string) error {
	// Another apt may be at work: unattended upgrades take the lock for a minute or two.
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q", "-o", "DPkg::Lock::Timeout=120"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l", "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	// Interrupting dpkg half-way leaves packages half-configured: let it end in its own way first.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	var last []string
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		task.Detail("%s", line)
		last = append(last, line)
		last = last[max(0, len(last)-8):]
	}
	err = cmd.Wait() // standard error is complete only now
	return commandError(cmd, strings.Join(last, "\n"), stderr.String(), err)
}

// policy is asked by every package before it starts a service.
var policy = "/usr/sbin/policy-rc.d"

// forbidServices keeps packages from starting a daemon of their own: sickbay starts one itself, elsewhere. A policy that is
// there already is left alone, as it is the administrator's. The function that it returns undoes it.
func forbidServices() (undo func() error, err error) {
	f, err := os.OpenFile(policy, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, fmt.Errorf("keep packages from starting services: %w", err)
	}
	_, err = f.WriteString("#!/bin/sh\n# Made by sickbay while it installs packages, and removed afterwards.\nexit 101\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("keep packages from starting services: %w", err), os.Remove(policy))
	}
	return func() error { return os.Remove(policy) }, nil
}
