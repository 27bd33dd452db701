package collect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

const (
	// maxRules bounds the rules reported, those that this node's own packets meet first; maxMembers the members of one set.
	maxRules   = 64
	maxMembers = 64
)

// systems are those that make tables and chains of their own, by the names of them. Policy is what decides about other people's packets
// (pods, banned senders, connections forwarded): its drops are its work, and are not reported.
var systems = []struct {
	name, pattern string
	policy        bool
}{
	{"kubernetes", `^(KUBE-|kube-)`, true}, {"cni", `^CNI-`, true}, {"kindnet", `^(KIND|kindnet)`, true},
	{"calico", `^(cali|filter-cali|calico)`, true}, {"cilium", `^(CILIUM|OLD_CILIUM|cilium)`, true}, {"flannel", `^(FLANNEL|flannel)`, true},
	{"weave", `^WEAVE`, true}, {"antrea", `^(ANTREA|antrea)`, true}, {"ovn-kubernetes", `^(OVN-|ovn-kube)`, true}, {"istio", `^ISTIO`, true},
	{"docker", `^(DOCKER|docker-bridges)`, true}, {"libvirt", `^(LIBVIRT|libvirt)`, true}, {"fail2ban", `^f2b-`, true}, {"sickbay", `^SICKBAY`, true},
	{"ufw", `^ufw`, false}, {"firewalld", `^(firewalld|IN_|FWD[IO]?_|OUT_|(INPUT|OUTPUT|FORWARD)_(ZONES|direct|POLICIES))`, false},
}

var systemPatterns = func() (out []*regexp.Regexp) {
	for _, s := range systems {
		out = append(out, regexp.MustCompile(s.pattern))
	}
	return out
}()

// systemOf is whose a table or chain is.
func systemOf(names ...string) (name string, policy bool) {
	for i, s := range systems {
		if slices.ContainsFunc(names, systemPatterns[i].MatchString) {
			return s.name, s.policy
		}
	}
	return "", false
}

// firewall reads what drops this node's packets. Each tool is asked by itself: what one does not tell, another may.
func (l *look) firewall(ctx context.Context, s *source) error {
	if !l.real() {
		return nil
	}
	var errs []error
	ask := func(tool string, argv ...string) string {
		bin, err := l.find(s, tool, searchPath)
		if err != nil || bin == "" {
			return "" // no tool, no rules of its making
		}
		out, err := l.output(ctx, s, append([]string{bin}, argv...)...)
		if err != nil {
			errs = append(errs, err)
		}
		return out
	}
	var rules []v1alpha1.Rule
	owners := map[string]bool{}
	take := func(more []v1alpha1.Rule, seen []string) {
		rules = append(rules, more...)
		for _, n := range seen {
			owners[n] = true
		}
		// What this node sends passes output; the rest is not looked at first. Partial answers stay when a tool hangs.
		slices.SortStableFunc(rules, func(a, b v1alpha1.Rule) int { return rank(a) - rank(b) })
		found := rules[:min(len(rules), maxRules)]
		l.put(func(o *v1alpha1.Observation) {
			o.Network.RejectRules, o.Network.Firewalls = slices.Clone(found), slices.Sorted(maps.Keys(owners))
		})
	}
	for _, tool := range []string{"iptables", "ip6tables"} {
		saved := ask(tool + "-save")
		sets := map[string][]string{}
		if strings.Contains(saved, "--match-set") {
			sets = ipsets(ask("ipset", "save"))
		}
		take(iptablesRules(tool, saved, sets))
	}
	take(rejectRoutes(ask("ip", "route", "show", "table", "all")), nil)
	take(rejectRoutes(ask("ip", "-6", "route", "show", "table", "all")), nil)
	take(policyRules("rule", ask("ip", "rule", "show")), nil)
	take(policyRules("rule6", ask("ip", "-6", "rule", "show")), nil)
	take(nftRules(ask("nft", "-a", "list", "ruleset")))
	return errors.Join(errs...)
}

func rank(r v1alpha1.Rule) int {
	if r.Outgoing() {
		return 0
	}
	return 1
}

// ipsets reads `ipset save`: "add NAME 10.0.0.1,tcp:443".
func ipsets(saved string) map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(saved) {
		if f := strings.Fields(line); len(f) >= 3 && f[0] == "add" && len(out[f[1]]) < maxMembers {
			address, _, _ := strings.Cut(f[2], ",")
			out[f[1]] = append(out[f[1]], address)
		}
	}
	return out
}

// jumps is who jumps to a chain, and from which hooks a base chain is entered.
type jumps struct{ from, hooks map[string][]string }

// reach are the hooks from which a packet can get to a chain.
func (j jumps) reach(chain string) (out []string) {
	seen, next := map[string]bool{chain: true}, []string{chain}
	for len(next) > 0 { // each chain once: there may be as many ways to it as there are rules
		chain, next = next[0], next[1:]
		out = append(out, j.hooks[chain]...)
		for _, c := range j.from[chain] {
			if !seen[c] {
				seen[c] = true
				next = append(next, c)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// rules are those found, as chain and text, that a packet can get to and that are no policy's. A chain that is nobody's is the table's.
func (j jumps) rules(found [][2]string, owner string, sets map[string][]string) (rules []v1alpha1.Rule) {
	for _, f := range found {
		of, policy := systemOf(f[0])
		if policy {
			continue
		}
		if hooks := j.reach(f[0]); len(hooks) > 0 {
			rules = append(rules, finish(v1alpha1.ParseRule(f[1]), cmp.Or(of, owner), hooks, sets))
		}
	}
	return rules
}

// finish adds what the rule's own text does not tell.
func finish(r v1alpha1.Rule, owner string, hooks []string, sets map[string][]string) v1alpha1.Rule {
	r.Owner, r.Hooks = owner, hooks
	for _, list := range []*[]string{&r.Destinations, &r.Senders} {
		var out []string
		for _, a := range *list {
			not, name, isSet := strings.Cut(a, "@")
			if members := sets[name]; isSet && not == "" && members != nil && len(members) < maxMembers {
				out = append(out, members...)
			} else {
				out = append(out, a)
			}
		}
		*list = out
	}
	return r
}

var jumpTarget = regexp.MustCompile(` -[jg] (\S+)`)

// iptablesRules reads iptables-save, tables and the jumps within them.
func iptablesRules(tool, saved string, sets map[string][]string) (rules []v1alpha1.Rule, seen []string) {
	for table := range strings.SplitSeq("\n"+saved, "\n*") {
		name, body, _ := strings.Cut(table, "\n")
		j := jumps{map[string][]string{}, map[string][]string{}}
		var drops [][2]string // chain, text
		for line := range strings.Lines(body) {
			line = strings.TrimSpace(line)
			f := strings.Fields(line)
			switch {
			case strings.HasPrefix(line, ":") && len(f) > 1 && f[1] != "-":
				chain := f[0][1:]
				j.hooks[chain] = []string{strings.ToLower(chain)}
				if f[1] == "DROP" {
					rules = append(rules, v1alpha1.ParseRule(fmt.Sprintf("%s -t %s -P %s DROP", tool, name, chain)))
				}
			case strings.HasPrefix(line, ":"):
				if s, _ := systemOf(f[0][1:]); s != "" {
					seen = append(seen, s)
				}
			case strings.HasPrefix(line, "-A ") && len(f) > 2:
				if j.take(f[1], line) {
					drops = append(drops, [2]string{f[1], fmt.Sprintf("%s -t %s %s", tool, name, line)})
				}
			}
		}
		for _, d := range drops {
			if owner, _ := systemOf(d[0]); owner != "" {
				seen = append(seen, owner)
			}
		}
		drops = slices.DeleteFunc(drops, func(d [2]string) bool {
			return strings.Contains(d[1], "KUBE-") || strings.Contains(d[1], "kubernetes firewall")
		})
		rules = append(rules, j.rules(drops, "", sets)...)
	}
	return rules, seen
}

// take notes what a rule of a chain does: jump to another chain, or drop the packet.
func (j jumps) take(chain, rule string) (drops bool) {
	switch m := jumpTarget.FindStringSubmatch(rule); {
	case m == nil:
	case m[1] == "DROP" || m[1] == "REJECT":
		drops = true
	default:
		j.from[m[1]] = append(j.from[m[1]], chain)
	}
	if j.hooks[chain] == nil && slices.Contains([]string{"OUTPUT", "INPUT", "FORWARD", "PREROUTING", "POSTROUTING"}, chain) {
		j.hooks[chain] = []string{strings.ToLower(chain)}
	}
	return drops
}

// rejectRoutes reads `ip route show table all`. Owner is the protocol that made a route: Calico's bird keeps one for each block of
// addresses of every node.
func rejectRoutes(routes string) (out []v1alpha1.Rule) {
	for line := range strings.Lines(routes) {
		f := strings.Fields(line)
		if len(f) < 2 || !slices.Contains([]string{"blackhole", "unreachable", "prohibit"}, f[0]) || f[1] == "default" || strings.Contains(line, "dev lo") {
			continue
		}
		text := "route " + f[0] + " " + f[1]
		if i := slices.Index(f, "table"); i >= 0 && i+1 < len(f) {
			text += " table " + f[i+1]
		}
		r := v1alpha1.ParseRule(text)
		if i := slices.Index(f, "proto"); i >= 0 && i+1 < len(f) {
			r.Owner = f[i+1]
		}
		if !slices.ContainsFunc(out, func(had v1alpha1.Rule) bool { return had.Text == r.Text }) {
			out = append(out, r)
		}
	}
	return out
}

// policyRules reads `ip rule show`: "100:	from all to 172.18.0.2 prohibit".
func policyRules(kind, shown string) (out []v1alpha1.Rule) {
	for line := range strings.Lines(shown) {
		f := strings.Fields(line)
		if len(f) > 2 && slices.Contains([]string{"blackhole", "unreachable", "prohibit"}, f[len(f)-1]) {
			out = append(out, v1alpha1.ParseRule(kind+" "+strings.Join(f, " ")))
		}
	}
	return out
}

var (
	nftTable  = regexp.MustCompile(`^table (\S+) (\S+) \{`)
	nftChain  = regexp.MustCompile(`^\s+chain (\S+) \{`)
	nftSet    = regexp.MustCompile(`^\s+set (\S+) \{`)
	nftHook   = regexp.MustCompile(`\bhook (\w+) `)
	nftJump   = regexp.MustCompile(`\b(?:jump|goto) (\S+)`)
	nftHandle = regexp.MustCompile(`^\s+(.*\b(?:drop|reject)\b.*) # handle (\d+)`)
)

// told tells a table that iptables-save has shown already. iptables-nft has its tables in the families ip and ip6 alone: "inet filter"
// is what Debian's /etc/nftables.conf makes, and nobody else tells of it.
func told(family, table string) bool {
	switch table {
	case "filter", "nat", "mangle", "raw", "security":
		return family == "ip" || family == "ip6"
	}
	return false
}

// takeElements reads a line of a set, and tells whether its elements go on.
func takeElements(sets map[string][]string, set, line string, goesOn bool) bool {
	text, begins := strings.CutPrefix(strings.TrimSpace(line), "elements = {")
	if !goesOn && !begins {
		return false
	}
	for e := range strings.SplitSeq(strings.Trim(text, "} "), ",") {
		if f := strings.Fields(e); len(f) > 0 && len(sets[set]) < maxMembers {
			sets[set] = append(sets[set], f[0])
		}
	}
	return !strings.Contains(text, "}")
}

// nftRules reads nftables' own tables.
func nftRules(ruleset string) (rules []v1alpha1.Rule, seen []string) {
	for part := range strings.SplitSeq("\n"+ruleset, "\ntable ") {
		part = "table " + part
		m := nftTable.FindStringSubmatch(part)
		if m == nil || told(m[1], m[2]) {
			continue
		}
		table := m[1] + " " + m[2]
		owner, policy := systemOf(m[2])
		if owner != "" {
			seen = append(seen, owner)
		}
		if policy {
			continue
		}
		j := jumps{map[string][]string{}, map[string][]string{}}
		sets := map[string][]string{}
		var found [][2]string
		chain, set, elements := "", "", false
		for line := range strings.Lines(part) {
			line = strings.TrimRight(line, "\n")
			switch {
			case nftChain.MatchString(line):
				chain, set = nftChain.FindStringSubmatch(line)[1], ""
			case nftSet.MatchString(line):
				set, chain, elements = nftSet.FindStringSubmatch(line)[1], "", false
			case set != "":
				elements = takeElements(sets, set, line, elements)
			case chain != "":
				if m := nftHook.FindStringSubmatch(line); m != nil {
					j.hooks[chain] = []string{m[1]}
					if strings.Contains(line, "policy drop") {
						found = append(found, [2]string{chain, fmt.Sprintf("nft %s %s policy drop", table, chain)})
					}
				}
				if m := nftJump.FindStringSubmatch(line); m != nil {
					j.from[m[1]] = append(j.from[m[1]], chain)
				}
				if m := nftHandle.FindStringSubmatch(line); m != nil {
					found = append(found, [2]string{chain, fmt.Sprintf("nft %s %s handle %s: %s", table, chain, m[2], strings.TrimSpace(m[1]))})
				}
			}
		}
		rules = append(rules, j.rules(found, owner, sets)...)
	}
	return rules, seen
}
