package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ruleset is what iptables-save prints, for one address family.
type ruleset struct {
	tables []string // in their order
	chains map[string][]chain
	rules  map[string][]rule
}

type chain struct {
	name   string
	policy string // "-" for a chain that somebody made
}

type rule struct {
	chain string
	spec  string // everything behind "-A CHAIN "
}

func (r rule) String() string { return "-A " + r.chain + " " + r.spec }

func parseRules(save string) ruleset {
	rs := ruleset{chains: map[string][]chain{}, rules: map[string][]rule{}}
	table := ""
	for line := range strings.Lines(save) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
			rs.tables = append(rs.tables, table)
		case strings.HasPrefix(line, ":"):
			if f := strings.Fields(line[1:]); len(f) >= 2 {
				rs.chains[table] = append(rs.chains[table], chain{f[0], f[1]})
			}
		case strings.HasPrefix(line, "-A "):
			name, spec, _ := strings.Cut(line[3:], " ")
			rs.rules[table] = append(rs.rules[table], rule{name, spec})
		}
	}
	return rs
}

func (rs ruleset) policy(table, name string) (string, bool) {
	for _, c := range rs.chains[table] {
		if c.name == name {
			return c.policy, true
		}
	}
	return "", false
}

// without returns the rules of a table that other does not have; a rule that occurs twice here and once there remains once.
func (rs ruleset) without(other ruleset, table string) []rule {
	count := map[rule]int{}
	for _, r := range other.rules[table] {
		count[r]++
	}
	var out []rule
	for _, r := range rs.rules[table] {
		if count[r] > 0 {
			count[r]--
			continue
		}
		out = append(out, r)
	}
	return out
}

// lines lists chains and rules, for an inventory.
func (rs ruleset) lines() []string {
	var out []string
	for _, table := range rs.tables {
		for _, c := range rs.chains[table] {
			if c.policy != "-" && c.policy != "ACCEPT" {
				out = append(out, table+" -P "+c.name+" "+c.policy)
			}
			if c.policy == "-" {
				out = append(out, table+" -N "+c.name)
			}
		}
		for _, r := range rs.rules[table] {
			out = append(out, table+" "+r.String())
		}
	}
	return out
}

// territory is what a rule must mention to be ours beyond doubt.
type territory struct {
	bridges []string
	subnets []netip.Prefix
}

func (t territory) has(r rule) bool {
	for _, word := range strings.Fields(r.spec) {
		if slices.Contains(t.bridges, word) {
			return true
		}
		if p, err := netip.ParsePrefix(word); err == nil {
			for _, s := range t.subnets {
				if s.Contains(p.Addr()) {
					return true
				}
			}
		}
	}
	return false
}

// engineChain tells a chain that docker makes.
func engineChain(name string) bool { return strings.HasPrefix(name, "DOCKER") }

func jumpsToEngine(r rule) bool {
	words := strings.Fields(r.spec)
	for i, w := range words[:max(0, len(words)-1)] {
		if (w == "-j" || w == "-g") && engineChain(words[i+1]) {
			return true
		}
	}
	return false
}

// undoRules returns the input for `iptables-restore --noflush` that leads from now back to before, as far as an engine is
// responsible for the difference; "" when there is nothing to do. What somebody else added meanwhile stays.
//
// alone says that no other docker lives here. If one does, the shared chains and policies are its own, and only rules that
// mention our territory go.
func undoRules(before, now ruleset, ours territory, alone bool) string {
	var out strings.Builder
	for _, table := range now.tables {
		var lines, chainsGone []string
		if alone {
			lines, chainsGone = undoChains(before, now, table)
		}
		for _, r := range now.without(before, table) {
			if ours.has(r) || alone && (jumpsToEngine(r) || engineChain(r.chain)) {
				if !slices.Contains(chainsGone, r.chain) {
					lines = append(lines, "-D "+r.chain+" "+r.spec)
				}
			}
		}
		for _, name := range chainsGone {
			lines = append(lines, "-F "+name)
		}
		for _, name := range chainsGone {
			lines = append(lines, "-X "+name)
		}
		lines = append(lines, lostRules(before, now, table)...)
		if len(lines) > 0 {
			fmt.Fprintf(&out, "*%s\n%s\nCOMMIT\n", table, strings.Join(lines, "\n"))
		}
	}
	return out.String()
}

// undoChains returns the policies that lead back to before, and the chains that an engine made since.
func undoChains(before, now ruleset, table string) (policies, gone []string) {
	for _, c := range now.chains[table] {
		was, existed := before.policy(table, c.name)
		switch {
		case c.policy == "-" && !existed && engineChain(c.name):
			gone = append(gone, c.name)
		case c.policy != "-" && existed && was != c.policy:
			policies = append(policies, "-P "+c.name+" "+was)
		case c.policy != "-" && !existed && c.policy != "ACCEPT":
			policies = append(policies, "-P "+c.name+" ACCEPT") // the whole table was not there: this is the kernel's default
		}
	}
	return policies, gone
}

// restoreLost returns the input for `iptables-restore --noflush` that puts back the rules of another docker: every dockerd
// empties the shared chains when it starts.
func restoreLost(before, now ruleset) string {
	var out strings.Builder
	for _, table := range before.tables {
		if lines := lostRules(before, now, table); len(lines) > 0 {
			fmt.Fprintf(&out, "*%s\n%s\nCOMMIT\n", table, strings.Join(lines, "\n"))
		}
	}
	return out.String()
}

func lostRules(before, now ruleset, table string) []string {
	var out []string
	lost := before.without(now, table)
	for _, r := range slices.Backward(lost) {
		// In front and in their old order: behind docker's final RETURN they would have no effect.
		if engineChain(r.chain) || jumpsToEngine(r) {
			out = append(out, "-I "+r.chain+" "+r.spec)
		}
	}
	var missing []string
	for _, c := range before.chains[table] {
		if _, there := now.policy(table, c.name); !there && engineChain(c.name) {
			missing = append(missing, "-N "+c.name)
		}
	}
	return append(missing, out...)
}

// emptyTables names the tables of now that before did not have and that hold nothing.
func emptyTables(before, now ruleset) []string {
	var out []string
	for _, table := range now.tables {
		if slices.Contains(before.tables, table) || len(now.rules[table]) > 0 {
			continue
		}
		if !slices.ContainsFunc(now.chains[table], func(c chain) bool { return c.policy != "ACCEPT" }) {
			out = append(out, table)
		}
	}
	return out
}
