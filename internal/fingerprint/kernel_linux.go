package fingerprint

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func addMounts(f *Fingerprint, skip func(*mountinfo.Info) bool) {
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		f.Fail(Mounts, err)
		return
	}
	for _, m := range infos {
		if skip(m) {
			continue
		}
		key := m.Mountpoint
		for n := 2; f.Areas[Mounts][key] != ""; n++ { // stacked mounts on one point are all told
			key = fmt.Sprintf("%s #%d", m.Mountpoint, n)
		}
		f.Set(Mounts, key, fmt.Sprintf("%s %s %s %s", m.FSType, m.Source, m.Root, normalOptions(m.Options)))
	}
}

func normalOptions(s string) string {
	o := strings.Split(s, ",")
	sort.Strings(o)
	return strings.Join(o, ",")
}

// addRules takes the packet filter's rules as the tools print them, without counters, and without the chains that belong to
// kube-proxy, the network plugin or the container engine, which change them whenever a pod or container comes or goes.
func addRules(ctx context.Context, f *Fingerprint, skip func(rule string) bool) {
	for _, tool := range []string{"iptables-save", "ip6tables-save"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			continue // no tool, no rules made by it
		}
		out, err := exec.CommandContext(ctx, path).Output()
		if err != nil {
			f.Fail(Rules, fmt.Errorf("%s: %w", tool, err))
			continue
		}
		addRuleLines(f, tool, out, skip)
	}
	if path, err := exec.LookPath("nft"); err == nil {
		out, err := exec.CommandContext(ctx, path, "list", "tables").Output()
		if err != nil {
			f.Fail(Rules, fmt.Errorf("nft list tables: %w", err))
			return
		}
		for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
			if line = strings.TrimSpace(line); line != "" && !skip(line) {
				f.Set(Rules, "nft "+line, "present")
			}
		}
	}
}

var counters = regexp.MustCompile(`\s*\[\d+:\d+\]`)

func addRuleLines(f *Fingerprint, tool string, out []byte, skip func(rule string) bool) {
	table := ""
	for _, raw := range bytes.Split(out, []byte("\n")) {
		line := strings.TrimSpace(string(raw))
		if strings.Contains(line, "[") { // with thousands of rules the pattern costs more than all else
			line = strings.TrimSpace(counters.ReplaceAllString(line, ""))
		}
		switch {
		case line == "" || line[0] == '#' || line == "COMMIT":
			continue
		case line[0] == '*':
			table = line[1:]
			continue
		case skip(line):
			continue
		}
		key := strings.TrimSuffix(tool, "-save") + " " + table + " " + line
		n := f.Areas[Rules][key]
		f.Set(Rules, key, n+"×")
	}
}

func addRoutes(f *Fingerprint, skipDev func(name string) bool) {
	links, err := netlink.LinkList()
	if err != nil {
		f.Fail(Routes, err)
		return
	}
	name := map[int]string{}
	for _, l := range links {
		name[l.Attrs().Index] = l.Attrs().Name
		if !skipDev(l.Attrs().Name) {
			f.Set(Routes, "link "+l.Attrs().Name, l.Type())
		}
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		f.Fail(Routes, err)
		return
	}
	for _, r := range routes {
		dev := name[r.LinkIndex]
		if r.Table == unix.RT_TABLE_LOCAL || skipDev(dev) {
			continue
		}
		dst := "default"
		if r.Dst != nil {
			dst = r.Dst.String()
		}
		f.Set(Routes, fmt.Sprintf("%s type %d table %d metric %d", dst, r.Type, r.Table, r.Priority), fmt.Sprintf("via %s dev %s", r.Gw, dev))
	}
	rules, err := netlink.RuleList(netlink.FAMILY_V4)
	if err != nil {
		f.Fail(Routes, err)
		return
	}
	for _, r := range rules {
		f.Set(Routes, fmt.Sprintf("rule %d table %d", r.Priority, r.Table), r.String())
	}
}

// addSysctls reads the keys a fault or an engine may set; a key the kernel lacks is left out on both sides.
func addSysctls(f *Fingerprint, keys ...string) {
	for _, pattern := range keys {
		paths, _ := filepath.Glob("/proc/sys/" + strings.ReplaceAll(pattern, ".", "/"))
		for _, p := range paths {
			if b, err := os.ReadFile(p); err == nil {
				f.Set(Sysctls, strings.TrimPrefix(p, "/proc/sys/"), strings.TrimSpace(string(b)))
			}
		}
	}
}

func addModules(f *Fingerprint) {
	b, err := os.ReadFile("/proc/modules")
	if os.IsNotExist(err) {
		return // a kernel without modules
	}
	if err != nil {
		f.Fail(Modules, err)
		return
	}
	for _, line := range strings.Split(string(b), "\n") {
		if name, _, ok := strings.Cut(line, " "); ok {
			f.Set(Modules, name, "loaded")
		}
	}
}
