package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/sickbay-dev/sickbay/internal/platform/apt"
	"github.com/sickbay-dev/sickbay/internal/platform/blockdev"
	"github.com/sickbay-dev/sickbay/internal/text"
)

func hostInventory(ctx context.Context, opts Options, inv *Inventory) {
	before, err := savedHost(opts)
	started := err == nil
	for _, m := range mountsUnder(opts.RunDir, opts.StateDir) {
		inv.add(Mount, true, m.Mountpoint, m.FSType)
	}
	for _, l := range blockdev.Loops() {
		detail := l.File
		if !l.OnHost() {
			detail += " (a file in a container)"
		}
		inv.add(Loop, l.Orphan() || strings.HasPrefix(l.File, opts.StateDir+"/"), l.Device, detail)
	}
	for _, s := range blockdev.Swaps() {
		inv.add(Swap, false, s.Path, s.Kind+", "+s.Size+", "+s.Used+" used")
	}
	networkInventory(ctx, opts, before, started, inv)
	if started {
		now := readSysctls()
		for _, name := range undoSysctls(before.Sysctls, now) {
			inv.add(Sysctl, true, strings.ReplaceAll(name, "/", "."), fmt.Sprintf("%s, was %s", now[name], before.Sysctls[name]))
		}
	}
	for _, path := range ownCgroups(opts) {
		inv.add(Cgroup, true, path, "")
	}
	if left := apt.Left(); left != "" {
		inv.add(File, true, left, "no service of a package starts; `rm` it unless sickbay installs packages just now")
	}
	for _, p := range ownProcesses(opts) {
		inv.add(Proc, true, fmt.Sprintf("%s %d", p.Role, p.PID), text.Cut(p.Command, 120))
	}
}

// networkInventory is about bridges and the packet filter.
func networkInventory(ctx context.Context, opts Options, before hostState, started bool, inv *Inventory) {
	links, err := netlink.LinkList()
	if err != nil {
		inv.unknown("network interfaces", err)
	}
	var names []string
	for _, l := range links {
		names = append(names, l.Attrs().Name)
	}
	var ours territory
	if started {
		_, here := otherDaemons(opts)
		ours = ownBridges(before, hostState{Links: names}, nil, len(here) == 0)
	}
	for _, family := range []struct{ command, before string }{{"iptables-save", before.IPTables}, {"ip6tables-save", before.IP6Tables}} {
		save, err := saveRules(ctx, family.command)
		if err != nil {
			inv.unknown("the packet filter", err)
			continue
		}
		was := parseRules(family.before).lines()
		for _, line := range parseRules(save).lines() {
			if started && slices.Contains(was, line) {
				continue
			}
			inv.add(Rule, started && ours.ruleIsOurs(line), strings.TrimSuffix(family.command, "-save")+" -t "+line, "")
		}
	}
	tables, err := ownTables()
	if err != nil {
		inv.unknown("nftables", err)
	}
	for _, name := range tables {
		inv.add(Rule, true, "nft table "+name, "")
	}
	for _, l := range links {
		if l.Type() != "bridge" {
			continue
		}
		name, detail := l.Attrs().Name, ""
		for _, p := range subnetsOf(name) {
			detail += " " + p.String()
		}
		inv.add(Bridge, slices.Contains(ours.bridges, name), name, strings.TrimSpace(detail))
	}
}
