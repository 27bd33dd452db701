package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/platform/apt"
	"github.com/sickbay-dev/sickbay/internal/progress"
)

// hostNeed is a program of this machine, and the Debian package that brings it.
type hostNeed struct{ program, pkg string }

// toRun is what a guest needs that is there already, toBuild what a new disk takes beside it.
var (
	toRun   = []hostNeed{{qemu, "qemu-system-x86"}, {"qemu-img", "qemu-utils"}}
	toBuild = []hostNeed{{"mmdebstrap", "mmdebstrap"}, {"mkfs.ext4", "e2fsprogs"}}
)

// has looks in PATH and where a user's PATH often does not lead.
func has(program string) bool {
	if _, err := exec.LookPath(program); err == nil {
		return true
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if info, err := os.Stat(dir + program); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

func missing(needs []hostNeed, has func(string) bool) []string {
	var out []string
	for _, n := range needs {
		if !has(n.program) && !slices.Contains(out, n.pkg) {
			out = append(out, n.pkg)
		}
	}
	return out
}

// prepareHost installs what is missing, as root on Debian and Ubuntu; elsewhere the error says what to install.
func prepareHost(ctx context.Context, o Options, needs []hostNeed) (err error) {
	lack := missing(needs, has)
	if len(lack) == 0 {
		return nil
	}
	if o.NoInstall || !apt.CanInstall() {
		return fmt.Errorf("a virtual machine needs %s: install what brings them (on Debian or Ubuntu: sudo apt-get install %s; elsewhere QEMU for x86-64 with qemu-img, and for building its disk mmdebstrap)",
			strings.Join(lack, ", "), strings.Join(lack, " "))
	}
	task := progress.From(ctx).Start("install "+strings.Join(lack, ", "), o.Timeouts.Install)
	ctx, cancel := context.WithTimeout(ctx, o.Timeouts.Install)
	defer cancel()
	defer func() { task.End(err) }()
	if err := apt.Install(ctx, task, lack...); err != nil {
		return fmt.Errorf("install what a virtual machine needs: %w", err)
	}
	return nil
}
