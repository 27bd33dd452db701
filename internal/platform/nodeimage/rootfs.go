package nodeimage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"al.essio.dev/pkg/shellescape"
)

// suite is Debian 12: its systemd still runs on cgroup v1 hosts, which later ones refuse.
const suite = "bookworm"

// packages are what kind's own node has, less what only network storage needs, and what operators and remedies use.
var packages = []string{
	"systemd", "systemd-sysv", "dbus", // services
	"iptables", "nftables", "conntrack", "iproute2", "ethtool", "kmod", "socat", // network
	"util-linux", "mount", "e2fsprogs", // fsfreeze, losetup, swapon, nsenter; chattr, mkfs.ext4, debugfs, resize2fs
	"bash", "ca-certificates", "curl", "jq", "procps", "openssl", "libseccomp2",
	"busybox-static", // the shell of the agnhost image
}

// trimmed are paths no package may install: they are never read in a node.
var trimmed = []string{"/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*",
	"/usr/share/bash-completion/*", "/usr/share/zoneinfo/*", "/usr/share/pixmaps/*", "/usr/lib/udev/hwdb.d/*"}

const packagesFile = "packages.txt"

// makeRootfs makes the Debian part of the node. What kind's Dockerfile does to its own base is done here as well: no unit
// is started that a container must not have.
func (p *plan) makeRootfs(ctx context.Context, dir string) error {
	sources, err := debianSources("/etc/apt")
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "sickbay-rootfs-")
	if err != nil {
		return fmt.Errorf("preparing the root file system: %w", err)
	}
	defer os.RemoveAll(work) // holds one small file; the next boot empties the folder anyway
	args := []string{"--mode=root", "--variant=minbase", "--format=tar", "--architectures=" + p.spec.Arch,
		"--aptopt=Acquire::Languages \"none\"", "--aptopt=APT::Install-Recommends \"false\""}
	for _, t := range trimmed {
		args = append(args, "--dpkgopt=path-exclude="+t)
	}
	// CA certificates are compiled from /usr/share/ca-certificates, which stays.
	args = append(args, "--include="+strings.Join(packages, ","),
		"--customize-hook=chroot \"$1\" dpkg-query -W -f '${Package} ${Version} ${Architecture}\\n' > "+shellescape.Quote(filepath.Join(dir, packagesFile)))
	for _, hook := range []string{
		`cd "$1" && find lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete`,
		`cd "$1" && rm -f lib/systemd/system/multi-user.target.wants/* etc/systemd/system/*.wants/* lib/systemd/system/local-fs.target.wants/*`,
		`cd "$1" && rm -f lib/systemd/system/sockets.target.wants/*udev* lib/systemd/system/sockets.target.wants/*initctl* lib/systemd/system/basic.target.wants/*`,
		// This machine's package sources and proxies are its own business.
		`cd "$1" && rm -rf etc/apt/sources.list etc/apt/sources.list.d/* etc/apt/apt.conf.d/99mmdebstrap etc/resolv.conf etc/hostname var/log/* var/cache/* usr/share/zoneinfo usr/share/doc usr/share/man`,
		`cd "$1" && : > etc/machine-id`,
	} {
		args = append(args, "--customize-hook="+hook)
	}
	args = append(args, suite, filepath.Join(dir, "layer.tar"))
	// Without a list mmdebstrap takes the suite with its updates and its security fixes from Debian's own archive.
	if sources != "" {
		list := filepath.Join(work, "debian.sources")
		if err := os.WriteFile(list, []byte(sources), 0o644); err != nil {
			return fmt.Errorf("preparing the root file system: %w", err)
		}
		args = append(args, list)
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", args...)
	// One date for every file: the same packages then give the same bytes.
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch.Unix()), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("mmdebstrap %s: %w: %s", suite, err, tail(out.String()))
	}
	return describeLayer(dir)
}

// debianSources answers the machine's own sources of this suite, since only those may be reachable from it (a mirror, a
// snapshot); empty where it has none, as on Ubuntu.
func debianSources(etcApt string) (string, error) {
	var stanzas []string
	files, err := filepath.Glob(filepath.Join(etcApt, "sources.list.d", "*.sources"))
	if err != nil {
		return "", fmt.Errorf("reading package sources: %w", err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return "", fmt.Errorf("reading package sources: %w", err)
		}
		for stanza := range strings.SplitSeq(strings.ReplaceAll(string(data), "\r", ""), "\n\n") {
			if ofSuite(field(stanza, "Suites"), field(stanza, "Components")) && !strings.EqualFold(field(stanza, "Enabled"), "no") {
				stanzas = append(stanzas, strings.TrimSpace(stanza)+"\n")
			}
		}
	}
	lists, err := filepath.Glob(filepath.Join(etcApt, "sources.list.d", "*.list"))
	if err != nil {
		return "", fmt.Errorf("reading package sources: %w", err)
	}
	for _, f := range append([]string{filepath.Join(etcApt, "sources.list")}, lists...) {
		data, err := os.ReadFile(f)
		if err != nil {
			if os.IsNotExist(err) {
				continue
			}
			return "", fmt.Errorf("reading package sources: %w", err)
		}
		for line := range strings.Lines(string(data)) {
			if s, ok := stanzaOf(line); ok {
				stanzas = append(stanzas, s)
			}
		}
	}
	return strings.Join(stanzas, "\n"), nil
}

// ofSuite answers whether the stanza is Debian's main archive of the suite; other vendors' suites are named otherwise.
func ofSuite(suites, components string) bool {
	named := func(s string) bool {
		return s == suite || s == suite+"-updates" || s == suite+"-security" || s == suite+"/updates"
	}
	return slices.ContainsFunc(strings.Fields(suites), named) && slices.Contains(strings.Fields(components), "main")
}

func field(stanza, name string) string {
	for line := range strings.Lines(stanza) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(k), name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// stanzaOf turns a one-line source into the newer form: mmdebstrap wants one form throughout.
func stanzaOf(line string) (string, bool) {
	line = strings.TrimSpace(line)
	rest, ok := strings.CutPrefix(line, "deb ")
	if !ok {
		return "", false
	}
	rest = strings.TrimSpace(rest)
	signed := ""
	if strings.HasPrefix(rest, "[") {
		options, after, ok := strings.Cut(rest[1:], "]")
		if !ok {
			return "", false
		}
		for _, o := range strings.Fields(options) {
			if v, ok := strings.CutPrefix(o, "signed-by="); ok {
				signed = "Signed-By: " + v + "\n"
			}
		}
		rest = strings.TrimSpace(after)
	}
	f := strings.Fields(rest)
	if len(f) < 3 || !ofSuite(f[1], strings.Join(f[2:], " ")) {
		return "", false
	}
	return fmt.Sprintf("Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\n%s", f[0], f[1], strings.Join(f[2:], " "), signed), true
}
