package collect

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/moby/sys/mountinfo"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// mountLine is one line of mountinfo.
type mountLine struct {
	majorMinor string
	root       string
	target     string
	options    []string
	fstype     string
	source     string
	super      []string
}

// mountTable is mountinfo in its own order: a later line covers an earlier one at the same place.
type mountTable []mountLine

func readMounts(r root) mountTable {
	b, err := r.read("/proc/self/mountinfo", maxFile)
	if err != nil {
		return nil
	}
	return parseMounts(string(b))
}

func parseMounts(s string) mountTable {
	infos, err := mountinfo.GetMountsFromReader(strings.NewReader(s), nil)
	if err != nil {
		return nil
	}
	var t mountTable
	for _, m := range infos {
		t = append(t, mountLine{
			majorMinor: fmt.Sprintf("%d:%d", m.Major, m.Minor), root: m.Root, target: m.Mountpoint, options: strings.Split(m.Options, ","),
			fstype: m.FSType, source: m.Source, super: strings.Split(m.VFSOptions, ","),
		})
	}
	return t
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// of is the mount that a path lies on.
func (t mountTable) of(p string) (mountLine, bool) {
	best := -1
	for i, m := range t {
		if under(p, m.target) && (best < 0 || len(m.target) >= len(t[best].target)) {
			best = i
		}
	}
	if best < 0 {
		return mountLine{}, false
	}
	return t[best], true
}

// backing is the mount whose writes a write to p waits for: an overlay writes to the filesystem of its upper directory.
func (t mountTable) backing(p string) (mountLine, bool) {
	m, ok := t.of(p)
	for range 4 {
		if !ok || m.fstype != "overlay" {
			break
		}
		upper := m.option("upperdir=")
		if upper == "" {
			break
		}
		below, found := t.of(upper)
		if !found || below.target == m.target {
			break
		}
		m = below
	}
	return m, ok
}

func (m mountLine) option(prefix string) string {
	for _, o := range m.super {
		if v, ok := strings.CutPrefix(o, prefix); ok {
			return v
		}
	}
	return ""
}

func (m mountLine) readOnly() bool {
	for _, o := range append(m.options, m.super...) {
		if o == "ro" {
			return true
		}
	}
	return false
}

// under tells whether p is dir or below it.
func under(p, dir string) bool {
	if dir == "/" {
		return strings.HasPrefix(p, "/")
	}
	return p == dir || strings.HasPrefix(p, dir+"/")
}

// mounts selects the lines of mountinfo that decide a finding.
func (l *look) mounts(_ context.Context, s *source) error {
	if err := s.at(l, "reading", "/proc/self/mountinfo"); err != nil {
		return err
	}
	if _, err := l.root.read("/proc/self/mountinfo", 1); err != nil {
		return err
	}
	var out []v1alpha1.Mount
	for _, m := range l.table {
		if !matters(m.target) {
			continue
		}
		out = append(out, v1alpha1.Mount{Target: m.target, Source: m.source, Root: m.root, Type: m.fstype, Options: m.options})
	}
	l.put(func(o *v1alpha1.Observation) { o.Mounts = out })
	return nil
}

// matters tells whether a mount at this place says something about kubelet, runtime, CNI or CSI. The rootfs, shm and
// tmpfs mounts of every pod do not: there are hundreds.
func matters(target string) bool {
	switch {
	case target == "/" || target == "/var" || target == "/run" || target == "/var/lib" || target == "/var/log" || target == "/tmp":
		return true
	case strings.Contains(target, "/kubernetes.io~csi/") || strings.Contains(target, "/kubernetes.io/csi/") || strings.Contains(target, "globalmount"):
		return true
	case under(target, "/var/lib/kubelet/pods"), under(target, "/run/containerd") && target != "/run/containerd", under(target, "/run/netns"), under(target, "/var/run"):
		return false
	case under(target, "/var/lib/sickbay"):
		return true
	case under(target, "/sys/fs/cgroup"):
		// The hierarchies themselves are read elsewhere; something mounted over a part of the kubelet's is news.
		return strings.Contains(target, "kubepods")
	}
	for _, dir := range []string{"/var/lib/kubelet", "/var/lib/containerd", "/run/containerd", "/var/lib/cni", "/run/cni-ipam-state", "/etc", "/opt", "/usr", "/proc/swaps", "/proc/sys", "/lib", "/bin", "/sbin"} {
		if under(target, dir) {
			return true
		}
	}
	return path.Dir(target) == "/proc" && target != "/proc/sys"
}
