package vm

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/platform/buildcache"
	"github.com/sickbay-dev/sickbay/internal/platform/debian"
)

// packages are the guest's. Docker is what sickbay runs clusters on; the rest is what a node's kernel needs on its host, and
// what looking into the guest takes.
var packages = []string{
	"systemd-sysv", "udev", "dbus", "linux-image-cloud-amd64", "zstd",
	"docker.io", "iptables", "nftables", "conntrack", "iproute2", "apparmor",
	"openssh-server", "ca-certificates", "kmod", "procps", "e2fsprogs", "util-linux", "mount", "jq", "less",
}

// trimmed are paths no package may install: nobody reads them there.
var trimmed = []string{"/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*"}

// enabled are units that start with the guest, beside those that their packages enable: target and unit.
var enabled = [][2]string{{"multi-user.target.wants", "systemd-networkd.service"}, {"ssh.service.requires", "sickbay-payload.service"}}

// masked are units that would only take the guest's time.
var masked = []string{"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
	"fstrim.timer", "systemd-timesyncd.service", "systemd-networkd-wait-online.service", "getty@tty1.service"}

// own is everything that decides what the guest is, and that a package's version does not: a change makes another disk.
//
//go:embed all:guest base.go
var own embed.FS

const (
	// diskBytes is the size of the guest's disk as the guest sees it; what is not written takes no room here. A cluster of five
	// nodes takes 6 GiB.
	diskBytes = 32 << 30
	// diskInodes are plenty for nodes and their images, and few enough to be used up in a minute by disk-pressure-inodes-exhausted-own-disk.
	diskInodes = 400_000
	diskFile   = "disk.raw"
	kernel     = "vmlinuz"
	initrd     = "initrd.img"
	// packagesFile names each package with the version that was taken.
	packagesFile = "packages.txt"
	// label of the guest's root file system, which the kernel's command line names.
	label = "guest"
)

// basePart is the guest's disk without a node image, with its kernel and initrd beside it.
func basePart() (buildcache.Part, error) {
	fields := []string{debian.Recipe()}
	err := fs.WalkDir(own, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := own.ReadFile(path)
		fields = append(fields, path, string(data))
		return err
	})
	if err != nil {
		return buildcache.Part{}, fmt.Errorf("reading the guest's own files: %w", err) // embedded
	}
	return buildcache.Part{Name: "base", Key: buildcache.Hash(fields...), Make: makeBase}, nil
}

// makeBase makes the disk: packages into a folder, our files over them, and a file system of it all. No loop device and no mount
// is needed.
func makeBase(ctx context.Context, dir string) (err error) {
	root := filepath.Join(dir, "root")
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	err = debian.Bootstrap(ctx, debian.Options{
		Format: "directory", Target: root, Arch: "amd64", Packages: packages, Trimmed: trimmed, List: filepath.Join(dir, packagesFile),
		// The initrd would be made twice otherwise: once by the kernel's package and once by a trigger. Fast to unpack, too.
		Hooks: []string{`--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d" && echo "COMPRESS=zstd" > "$1/etc/initramfs-tools/conf.d/sickbay"`},
	})
	if err != nil {
		return err
	}
	if err := configure(root); err != nil {
		return fmt.Errorf("configuring the guest: %w", err)
	}
	for glob, name := range map[string]string{"vmlinuz-*": kernel, "initrd.img-*": initrd} {
		found, err := filepath.Glob(filepath.Join(root, "boot", glob))
		if err != nil {
			return err // the pattern is wrong
		}
		if len(found) != 1 {
			return fmt.Errorf("looking for the guest's kernel: %d files are /boot/%s, want one", len(found), glob)
		}
		if err := os.Rename(found[0], filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("taking the guest's kernel: %w", err)
		}
	}
	disk := filepath.Join(dir, diskFile)
	// The journal and the inode tables are written lazily: the file stays as small as its contents.
	return debian.Run(ctx, nil, "mkfs.ext4", "-q", "-L", label, "-d", root, "-E", "lazy_itable_init=1,lazy_journal_init=1", "-m", "0", "-N", fmt.Sprint(diskInodes), disk, fmt.Sprintf("%dk", diskBytes>>10))
}

// configure writes our files over what the packages brought, and takes away what must not be in two guests, or of this machine.
func configure(root string) error {
	files, err := fs.Sub(own, "guest")
	if err != nil {
		return err
	}
	// A folder's root: no link that a package brought leads out of it.
	r, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, gone := range []string{"etc/hostname", "etc/hosts", "etc/fstab", "etc/resolv.conf", "etc/apt/sources.list", "etc/apt/sources.list.d",
		"etc/apt/apt.conf.d/99mmdebstrap", "etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_rsa_key.pub", "etc/ssh/ssh_host_ecdsa_key",
		"etc/ssh/ssh_host_ecdsa_key.pub", "etc/ssh/ssh_host_ed25519_key", "etc/ssh/ssh_host_ed25519_key.pub", "var/cache/apt", "var/lib/apt/lists"} {
		if err := r.RemoveAll(gone); err != nil {
			return err
		}
	}
	err = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return r.MkdirAll(path, 0o755)
		}
		data, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		return r.WriteFile(path, data, 0o644)
	})
	if err != nil {
		return err
	}
	// Empty, so that each boot makes its own.
	if err := r.WriteFile("etc/machine-id", nil, 0o444); err != nil {
		return err
	}
	const units = "etc/systemd/system"
	link := func(target, name string) error {
		if err := r.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := r.RemoveAll(name); err != nil {
			return err
		}
		return r.Symlink(target, name)
	}
	for _, m := range masked {
		if err := link("/dev/null", filepath.Join(units, m)); err != nil {
			return err
		}
	}
	for _, e := range enabled {
		at := "/usr/lib/systemd/system/"
		if strings.HasPrefix(e[1], "sickbay-") {
			at = "/etc/systemd/system/"
		}
		if err := link(at+e[1], filepath.Join(units, e[0], e[1])); err != nil {
			return err
		}
	}
	return nil
}
