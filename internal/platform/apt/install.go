// Package apt takes packages from the distribution's own archive, on Debian and Ubuntu and as root.
//
// It knows apt and nothing of what the packages are for.
package apt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/command"
	"github.com/sickbay-dev/sickbay/internal/lockfile"
	"github.com/sickbay-dev/sickbay/internal/progress"
)

// CanInstall tells whether Install would work here: as root, with apt-get in PATH.
func CanInstall() bool {
	_, err := exec.LookPath("apt-get")
	return err == nil && os.Geteuid() == 0
}

// Provide installs packages, as root on Debian and Ubuntu. Elsewhere, or where it may not, the error says what to install for what, and
// how else to get on.
func Provide(ctx context.Context, bound time.Duration, may bool, what, otherwise string, packages ...string) (err error) {
	if len(packages) == 0 {
		return nil
	}
	list := strings.Join(packages, ", ")
	if !may || !CanInstall() {
		return fmt.Errorf("%s needs %s: install what brings them (on Debian or Ubuntu: sudo apt-get install %s)%s", what, list, strings.Join(packages, " "), otherwise)
	}
	task := progress.From(ctx).Start("install "+list, bound)
	task.Expect(15 * time.Second)
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	defer func() { task.End(err) }()
	if err := Install(ctx, task, packages...); err != nil {
		return fmt.Errorf("install what %s needs: %w", what, err)
	}
	return nil
}

// Sbin holds what a user's PATH often lacks, and where packages put engines and iptables.
var Sbin = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// Path is where programs are looked for: in PATH, and where distributions put them.
func Path() []string {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, dir := range Sbin {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// Find looks for a program; "" when it is nowhere.
func Find(program string) string {
	for _, dir := range Path() {
		path := filepath.Join(dir, program)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// Install updates the package lists and installs packages without what they only recommend. No service is started by it. The
// task's detail is what apt says. The error is a *command.Error.
func Install(ctx context.Context, task progress.Task, packages ...string) (err error) {
	allow, err := forbidServices(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, allow()) }()

	// A machine may have stale or partly unreachable lists and still be able to install.
	updateErr := run(ctx, task, "update")
	installErr := run(ctx, task, append([]string{"install", "-y", "--no-install-recommends"}, packages...)...)
	if installErr != nil {
		return errors.Join(installErr, updateErr)
	}
	return nil
}

func run(ctx context.Context, task progress.Task, args ...string) error {
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
	if err = cmd.Wait(); err == nil { // standard error is complete only now
		return nil
	}
	return command.Failed(cmd, strings.Join(last, "\n"), stderr.String(), err)
}

// policy is asked by every package before it starts a service; inUse is held while it is sickbay's.
var policy, inUse = "/usr/sbin/policy-rc.d", "/run/sickbay-apt.lock"

const noServices = "#!/bin/sh\n# Made by sickbay while it installs packages, and removed afterwards.\nexit 101\n"

// forbidServices keeps packages from starting a daemon of their own. A policy that is there already is left alone, as it is the
// administrator's, unless it is one of sickbay's: whoever made that was killed, and no service would ever start by it. The function that
// it returns undoes it.
func forbidServices(ctx context.Context) (undo func() error, err error) {
	unlock, err := lockfile.Wait(ctx, inUse, "another sickbay that installs packages")
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(policy, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if errors.Is(err, fs.ErrExist) {
		if Left() == "" {
			return func() error { unlock(); return nil }, nil
		}
		f, err = os.OpenFile(policy, os.O_WRONLY|os.O_TRUNC, 0o755)
	}
	if err != nil {
		unlock()
		return nil, fmt.Errorf("keep packages from starting services: %w", err)
	}
	undo = func() error { defer unlock(); return os.Remove(policy) }
	_, err = f.WriteString(noServices)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("keep packages from starting services: %w", err), undo())
	}
	return undo, nil
}

// Left is the policy of an installation that is under way or was killed, "" when there is none: with it no service of a package starts.
func Left() string {
	if got, err := os.ReadFile(policy); err != nil || string(got) != noServices {
		return ""
	}
	return policy
}
