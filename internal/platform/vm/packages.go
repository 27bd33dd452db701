package vm

import (
	"context"
	"slices"

	"github.com/sickbay-dev/sickbay/internal/platform/apt"
)

// hostNeed is a program of this machine, and the Debian package that brings it.
type hostNeed struct{ program, pkg string }

// toRun is what a guest needs that is there already, toBuild what a new disk takes beside it.
var (
	toRun   = []hostNeed{{qemu, "qemu-system-x86"}, {"qemu-img", "qemu-utils"}}
	toBuild = []hostNeed{{"mmdebstrap", "mmdebstrap"}, {"mkfs.ext4", "e2fsprogs"}}
)

func missing(needs []hostNeed, find func(string) string) []string {
	var out []string
	for _, n := range needs {
		if find(n.program) == "" && !slices.Contains(out, n.pkg) {
			out = append(out, n.pkg)
		}
	}
	return out
}

// prepareHost installs what is missing, as root on Debian and Ubuntu; elsewhere the error says what to install.
func prepareHost(ctx context.Context, o Options, needs []hostNeed) error {
	return apt.Provide(ctx, o.Timeouts.Install, !o.NoInstall, "a virtual machine",
		"; elsewhere QEMU for x86-64 with qemu-img, and for building its disk mmdebstrap", missing(needs, apt.Find)...)
}
