package nodeimage

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/sickbay-dev/sickbay/internal/platform/debian"
)

// packages are what kind's own node has, less what only network storage needs, and what operators and remedies use.
var packages = []string{
	"systemd", "systemd-sysv", "dbus", // services
	"iptables", "nftables", "conntrack", "iproute2", "ethtool", "kmod", "socat", // network
	"util-linux", "mount", "e2fsprogs", // fsfreeze, losetup, swapon, nsenter; chattr, mkfs.ext4, debugfs, resize2fs
	"bash", "ca-certificates", "curl", "jq", "procps", "openssl", "libseccomp2",
	"busybox-static", // the shell of the agnhost image
}

// trimmed are paths no package may install: they are never read in a node. CA certificates are compiled from
// /usr/share/ca-certificates, which stays.
var trimmed = []string{"/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*",
	"/usr/share/bash-completion/*", "/usr/share/zoneinfo/*", "/usr/share/pixmaps/*", "/usr/lib/udev/hwdb.d/*"}

const packagesFile = "packages.txt"

// makeRootfs makes the Debian part of the node. What kind's Dockerfile does to its own base is done here as well: no unit
// is started that a container must not have.
func (p *plan) makeRootfs(ctx context.Context, dir string) error {
	o := debian.Options{
		Format: "tar", Target: filepath.Join(dir, "layer.tar"), Arch: p.spec.Arch, Packages: slices.Concat(packages, p.morePackages()), Trimmed: trimmed,
		List: filepath.Join(dir, packagesFile), Epoch: epoch.Unix(), // the same packages then give the same bytes
	}
	for _, hook := range []string{
		`find lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete`,
		`rm -f lib/systemd/system/multi-user.target.wants/* etc/systemd/system/*.wants/* lib/systemd/system/local-fs.target.wants/*`,
		`rm -f lib/systemd/system/sockets.target.wants/*udev* lib/systemd/system/sockets.target.wants/*initctl* lib/systemd/system/basic.target.wants/*`,
		// This machine's package sources and proxies are its own business.
		`rm -rf etc/apt/sources.list etc/apt/sources.list.d/* etc/apt/apt.conf.d/99mmdebstrap etc/resolv.conf etc/hostname var/log/* var/cache/* usr/share/zoneinfo usr/share/doc usr/share/man`,
		`: > etc/machine-id`,
	} {
		o.Hooks = append(o.Hooks, `--customize-hook=cd "$1" && `+hook)
	}
	if err := debian.Bootstrap(ctx, o); err != nil {
		return err
	}
	return describeLayer(dir)
}
