package collect

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// network reads what of the node's own network decides whether the API server, registries and pods can be reached.
func (l *look) network(_ context.Context, s *source) error {
	if err := s.at(l, "reading", "/etc/resolv.conf"); err != nil {
		return err
	}
	n := v1alpha1.Network{
		BridgeNFCallIPTables:  l.root.text("/proc/sys/net/bridge/bridge-nf-call-iptables"),
		BridgeNFCallIP6Tables: l.root.text("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
		IPForward:             l.root.text("/proc/sys/net/ipv4/ip_forward"),
		DefaultRoute:          defaultRoute(l.root.text("/proc/net/route")),
		DefaultRoute6:         defaultRoute6(l.root.text("/proc/net/ipv6_route")),
		Hosts:                 hostLines(l.root.text("/etc/hosts")),
		Nameservers:           nameservers(l.root.text("/etc/resolv.conf")),
	}
	l.put(func(o *v1alpha1.Observation) {
		n.RejectRules, n.Firewalls = o.Network.RejectRules, o.Network.Firewalls
		o.Network = n
	})
	return nil
}

// defaultRoute6 reads /proc/net/ipv6_route: destination, its prefix length, source, its length, gateway, …, device.
func defaultRoute6(table string) string {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || f[0] != strings.Repeat("0", 32) || f[1] != "00" || f[9] == "lo" {
			continue
		}
		if b, err := hex.DecodeString(f[4]); err == nil && len(b) == 16 {
			return netip.AddrFrom16([16]byte(b)).String() + " dev " + f[9]
		}
	}
	return ""
}

// defaultRoute reads /proc/net/route: the gateway is little-endian hex.
func defaultRoute(table string) string {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		var a [4]byte
		if _, err := fmt.Sscanf(f[2], "%02x%02x%02x%02x", &a[3], &a[2], &a[1], &a[0]); err != nil {
			continue
		}
		return netip.AddrFrom4(a).String() + " dev " + f[0]
	}
	return ""
}

// maxHosts bounds the lines of /etc/hosts reported; some write block lists there.
const maxHosts = 64

func hostLines(file string) []string {
	var out []string
	for line := range strings.Lines(file) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 || len(out) == maxHosts {
			continue
		}
		if a, err := netip.ParseAddr(f[0]); err == nil && !a.IsLoopback() && !strings.HasPrefix(f[1], "ip6-") {
			out = append(out, strings.Join(f, " "))
		}
	}
	return out
}

func nameservers(file string) []string {
	var out []string
	for line := range strings.Lines(file) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "nameserver" {
			out = append(out, f[1])
		}
	}
	return out
}

// cniFile is the part of a CNI configuration that is read.
type cniFile struct {
	Name    string      `json:"name"`
	Type    string      `json:"type"`
	IPAM    *cniIPAM    `json:"ipam"`
	Plugins []cniPlugin `json:"plugins"`
}

type cniPlugin struct {
	Type string   `json:"type"`
	IPAM *cniIPAM `json:"ipam"`
}

type cniIPAM struct {
	Type    string `json:"type"`
	DataDir string `json:"dataDir"`
	cniRange
	Ranges [][]cniRange `json:"ranges"`
}

// hostLocal is a network whose addresses the host-local plugin gives out.
type hostLocal struct {
	network string
	ipam    *cniIPAM
}

// cniRange is one range of host-local; the oldest form has a single one at the top.
type cniRange struct {
	Subnet     string `json:"subnet"`
	RangeStart string `json:"rangeStart"`
	RangeEnd   string `json:"rangeEnd"`
	Gateway    string `json:"gateway"`
}

// cni reads the configuration directory as the runtime's loader does: *.conf, *.conflist and *.json, in the order of their
// names, the first that loads is used (containerd go-cni WithDefaultConf).
func (l *look) cni(_ context.Context, s *source) error {
	set := l.settings()
	out := v1alpha1.CNI{ConfDir: set.cniConf, BinDirs: set.cniBin}
	if err := s.at(l, "listing", set.cniConf); err != nil {
		return err
	}
	names, err := l.root.names(set.cniConf, 200)
	if err != nil {
		out.ConfDirError = why(err)
	}
	used := false
	var local []hostLocal
	for _, n := range names {
		switch path.Ext(n) {
		case ".conf", ".conflist", ".json":
		default:
			continue
		}
		c, hosts, err := l.cniConfig(s, path.Join(set.cniConf, n))
		if err != nil {
			return err
		}
		if c.Error == "" && !used {
			local = append(local, hosts...)
		}
		c.Used = c.Error == "" && !used
		used = used || c.Used
		out.Configs = append(out.Configs, c)
	}
	for _, dir := range set.cniBin {
		if err := s.at(l, "listing", dir); err != nil {
			return err
		}
		bins, err := l.root.names(dir, 200)
		if err != nil {
			continue
		}
		for _, b := range bins {
			if fi, err := l.root.stat(path.Join(dir, b)); err == nil && fi.Mode().IsRegular() && fi.Mode().Perm()&0o111 != 0 && fi.Size() > 0 {
				out.Binaries = append(out.Binaries, b)
			}
		}
	}
	l.mu.Lock()
	l.hostLocals = local
	l.mu.Unlock()
	l.put(func(o *v1alpha1.Observation) { o.CNI = out })
	return nil
}

// cniConfig reads one file of the configuration, and what host-local gives out by it.
func (l *look) cniConfig(s *source, p string) (c v1alpha1.CNIConfig, local []hostLocal, err error) {
	c = v1alpha1.CNIConfig{Path: p}
	if err := s.at(l, "reading", c.Path); err != nil {
		return c, nil, err
	}
	if fi, err := l.root.stat(c.Path); err == nil {
		c.ModTime = fi.ModTime().UTC()
	}
	b, err := l.root.read(c.Path, 1<<20)
	var f cniFile
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	switch {
	case err != nil:
		c.Error = why(err)
	case path.Ext(p) == ".conflist" && len(f.Plugins) == 0:
		c.Error = "no plugins in the list"
	case path.Ext(p) != ".conflist" && f.Type == "":
		c.Error = "no plugin type"
	}
	c.Name = f.Name
	plugins := f.Plugins
	if f.Type != "" {
		plugins = append([]cniPlugin{{f.Type, f.IPAM}}, plugins...)
	}
	for _, g := range plugins {
		c.Plugins = append(c.Plugins, g.Type)
		if g.IPAM == nil {
			continue
		}
		if g.IPAM.Type != "" {
			c.Plugins = append(c.Plugins, g.IPAM.Type)
		}
		if g.IPAM.Subnet != "" {
			c.Subnets = append(c.Subnets, g.IPAM.Subnet)
		}
		for _, set := range g.IPAM.Ranges {
			for _, r := range set {
				c.Subnets = append(c.Subnets, r.Subnet)
			}
		}
		if g.IPAM.Type == "host-local" {
			local = append(local, hostLocal{f.Name, g.IPAM})
		}
	}
	return c, local, nil
}

// ipam counts what host-local has given out for the network in use.
func (l *look) ipam(_ context.Context, s *source) error {
	l.mu.Lock()
	local := l.hostLocals
	l.mu.Unlock()
	var out []v1alpha1.IPAMState
	for _, p := range local {
		st, err := l.reservations(s, p)
		if err != nil {
			return err
		}
		out = append(out, st)
	}
	l.put(func(o *v1alpha1.Observation) { o.CNI.IPAM = out })
	return nil
}

// reservations counts reservations below the plugin's data directory (plugins/ipam/host-local/backend/disk).
func (l *look) reservations(s *source, h hostLocal) (v1alpha1.IPAMState, error) {
	network, ipam := h.network, h.ipam
	dir := ipam.DataDir
	if dir == "" {
		dir = "/var/lib/cni/networks"
	}
	st := v1alpha1.IPAMState{Network: network, Dir: path.Join(dir, network), Orphans: -1}
	ranges := []cniRange{ipam.cniRange}
	for _, set := range ipam.Ranges {
		ranges = append(ranges, set...)
	}
	for _, r := range ranges {
		if size := r.size(); size > 0 {
			st.Capacity += size
			setIfEmpty(&st.Subnet, r.Subnet)
		}
	}
	if err := s.at(l, "listing", st.Dir); err != nil {
		return st, err
	}
	names, err := l.root.names(st.Dir, 70000)
	if err != nil {
		return st, nil // nothing was given out yet
	}
	sandboxes, _ := l.listed()
	known := map[string]bool{}
	for _, b := range sandboxes {
		known[b.ID] = true
	}
	orphans := 0
	for _, n := range names {
		// Each pod of a dual-stack network has an address of each family: only those that were counted above are compared.
		if a, err := netip.ParseAddr(n); err != nil || !a.Is4() {
			continue
		}
		st.Reserved++
		id, _, _ := strings.Cut(l.root.text(path.Join(st.Dir, n)), "\n")
		if !known[strings.TrimSpace(id)] {
			orphans++
		}
	}
	if sandboxes != nil {
		st.Orphans = orphans
	}
	return st, nil
}

// size is how many IPv4 addresses host-local gives out of a range (plugins/ipam/host-local/backend/allocator/range.go,
// Canonicalize): from the one after the network's to the one before the broadcast address unless it says otherwise, the gateway
// left out, which is the first unless it says otherwise. IPv6 ranges do not run out and count 0.
func (r cniRange) size() int {
	p, err := netip.ParsePrefix(r.Subnet)
	if err != nil || !p.Addr().Is4() || p.Bits() > 30 {
		return 0
	}
	network := ipv4(p.Masked().Addr())
	bound := func(text string, otherwise uint32) uint32 {
		if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
			return ipv4(a)
		}
		return otherwise
	}
	first := bound(r.RangeStart, network+1)
	last := bound(r.RangeEnd, network+1<<(32-p.Bits())-2)
	gateway := bound(r.Gateway, network+1)
	if last < first {
		return 0
	}
	size := int(last-first) + 1
	if first <= gateway && gateway <= last {
		size--
	}
	return size
}

func ipv4(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// files looks at the binaries and files whose state decides a finding.
func (l *look) files(_ context.Context, s *source) error {
	set := l.settings()
	paths := map[string]bool{kubeletConf: true, kubeletConfigFile: true, clusterCA: true, clientCert: true, containerdConfig: true}
	var handlers []v1alpha1.RuntimeHandler
	for _, h := range set.handlers {
		at, rt := l.binaries(h, set.path)
		for _, told := range []string{h.ShimPath, h.BinaryName} { // CRI-O's configuration names both; one that is missing is told by name
			if set.name == "cri-o" && path.IsAbs(told) {
				paths[told] = true
			}
		}
		h.ShimPath, h.RuntimePath = at, rt
		handlers = append(handlers, h)
		for _, p := range []string{at, rt} {
			if p != "" {
				paths[p] = true
			}
		}
	}
	// Where they usually are, so that a missing or damaged one is told by name.
	for _, p := range []string{"/usr/local/bin/containerd-shim-runc-v2", "/usr/bin/containerd-shim-runc-v2", "/usr/local/sbin/runc", "/usr/bin/runc", "/usr/sbin/runc", "/usr/bin/kubelet", "/usr/local/bin/containerd", "/usr/bin/containerd"} {
		if _, err := l.root.lstat(p); err == nil {
			paths[p] = true
		}
	}
	for _, p := range append(set.layerDirs(), set.root, set.cniConf) {
		paths[p] = true
	}
	for _, dir := range []string{"", "pods", "device-plugins", "plugins", "plugins_registry", "pki"} {
		paths[path.Join(kubeletDir, dir)] = true
	}
	for _, dir := range set.cniBin {
		paths[dir] = true
		names, err := l.root.names(dir, 100)
		if err != nil {
			continue
		}
		for _, n := range names {
			paths[path.Join(dir, n)] = true
		}
	}
	var out []v1alpha1.File
	for p := range paths {
		if err := s.at(l, "reading", p); err != nil {
			return err
		}
		out = append(out, l.file(p))
	}
	l.mu.Lock()
	l.handlerPaths = handlers
	l.mu.Unlock()
	l.put(func(o *v1alpha1.Observation) { o.Files = out })
	return nil
}

// layerDirs are the directories in which the runtime makes a directory or file for each container.
func (s settings) layerDirs() []string {
	if s.name == "cri-o" {
		return []string{path.Join(s.root, "overlay"), path.Join(s.root, "overlay-layers"), path.Join(s.root, "overlay-containers")}
	}
	snap := path.Join(s.root, "io.containerd.snapshotter.v1."+s.snapshotter)
	return []string{snap, path.Join(snap, "snapshots")}
}

// maxWrapper is how large a wrapper script in a program's place may be; runc and the shims have megabytes.
const maxWrapper = 64 << 10

func (l *look) file(p string) v1alpha1.File {
	f := v1alpha1.File{Path: p}
	fi, err := l.root.stat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return f
	}
	f.Exists = true
	if err != nil {
		f.Error = why(err)
		return f
	}
	f.Mode, f.SizeBytes, f.ModTime = fi.Mode().String(), fi.Size(), fi.ModTime().UTC()
	if m, ok := l.table.of(p); ok {
		f.ReadOnly = m.readOnly()
	}
	if fi.Mode().IsRegular() && fi.Mode().Perm()&0o111 != 0 && fi.Size() < maxWrapper {
		if b, err := l.root.read(p, maxWrapper); err == nil && bytes.HasPrefix(b, []byte("#!")) {
			line, _, _ := strings.Cut(string(b[2:]), "\n")
			f.Script = strings.TrimSpace(line)
		}
	}
	const immutableFlag = 0x10 // FS_IMMUTABLE_FL of include/uapi/linux/fs.h
	if fd, err := openQuiet(l.root.path(p)); err == nil {
		if flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS); err == nil {
			f.Immutable = flags&immutableFlag != 0
		}
		_ = unix.Close(fd)
	}
	return f
}
