package facts

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
)

// Target is where packets go.
type Target struct {
	Addr     netip.Addr
	Port     string
	Protocol string // tcp, udp
}

var (
	dialed   = regexp.MustCompile(`dial (tcp|udp)[46]? (\[?[0-9a-fA-F.:]+\]?:\d+)`)
	lookedUp = regexp.MustCompile(`lookup \S+ on (\[?[0-9a-fA-F.:]+\]?:\d+)`)
)

// Targets are those that a dial error names: the server itself, or the name server that was asked for it.
func Targets(text string) []Target {
	var out []Target
	add := func(address, protocol string) {
		if a, err := netip.ParseAddrPort(address); err == nil {
			out = append(out, Target{a.Addr().Unmap(), strconv.Itoa(int(a.Port())), protocol})
		}
	}
	for _, m := range dialed.FindAllStringSubmatch(text, -1) {
		add(m[2], m[1])
	}
	for _, m := range lookedUp.FindAllStringSubmatch(text, -1) {
		add(m[1], "udp")
	}
	return out
}

// RulesAgainst are the rules and routes that keep this node's packets from one of the targets: they are on the way out, and what they
// match has the target in it. One that matches more than is told here (a set, a user, a rate) is not among them, nor is one for
// everything: rules before it may accept.
func RulesAgainst(o *v1alpha1.Observation, targets []Target) []v1alpha1.Rule {
	var out []v1alpha1.Rule
	for _, r := range o.Network.RejectRules {
		if slices.ContainsFunc(targets, func(t Target) bool { return t.stoppedBy(o, r) }) {
			out = append(out, r)
		}
	}
	return out
}

// further are matches of a rule that Rule has no field for.
var further = []string{"owner", "skuid", "skgid", "mark", "cgroup", "limit", "connlimit", "hashlimit", "--sport", "sport", "--match-set", "--length", "time", "string",
	"fwmark", "uidrange", "tos", "not"}

// tellsAll: a rule for new connections on their way out to some target, all of whose matches Rule has a field for.
func tellsAll(r v1alpha1.Rule, words []string) bool {
	return r.Outgoing() && !r.DefaultPolicy && len(words) >= 3 && r.In == "" &&
		!slices.ContainsFunc(words, func(w string) bool { return slices.Contains(further, w) }) &&
		(len(r.States) == 0 || slices.Contains(r.States, "new")) && len(r.Destinations)+len(r.Ports) > 0
}

// ofFamily tells whether rules of a tool, or of an nft table's family, see packets to an address.
func ofFamily(tool, table string, a netip.Addr) bool {
	switch {
	case tool == "iptables", tool == "nft" && table == "ip":
		return a.Is4()
	case tool == "ip6tables", tool == "nft" && table == "ip6":
		return !a.Is4()
	}
	return true
}

func (t Target) stoppedBy(o *v1alpha1.Observation, r v1alpha1.Rule) bool {
	words := strings.Fields(r.Text)
	if !tellsAll(r, words) || !ofFamily(words[0], words[1], t.Addr) {
		return false
	}
	protocol := slices.DeleteFunc(strings.Split(r.Protocol, ","), func(p string) bool { return p == "" || p == "all" })
	return covers(protocol, func(p string) bool {
		return p == t.Protocol || p == map[string]string{"tcp": "6", "udp": "17"}[t.Protocol]
	}) &&
		covers(r.Ports, func(p string) bool { return portIn(t.Port, p) }) &&
		covers(r.Destinations, func(d string) bool { return addrIn(t.Addr, d) }) &&
		(len(r.Senders) == 0 || slices.ContainsFunc(ownAddrs(o), func(a netip.Addr) bool {
			return covers(r.Senders, func(s string) bool { return addrIn(a, s) })
		})) &&
		covers(strings.FieldsFunc(r.Out, func(c rune) bool { return c == ',' }), func(dev string) bool { return leavesBy(o, dev) })
}

// covers tells whether a list of values, of which those with "!" before them are all but that, has one that is meant. An empty list is
// everything.
func covers(list []string, is func(string) bool) bool {
	yes := len(list) == 0
	for _, v := range list {
		if not, negated := strings.CutPrefix(v, "!"); negated {
			if is(not) || strings.HasPrefix(not, "@") {
				return false
			}
			yes = true
		} else if is(v) {
			yes = true
		}
	}
	return yes
}

func portIn(port, ports string) bool {
	first, last, ranged := strings.Cut(ports, "-")
	if !ranged {
		last = first
	}
	p, err1 := strconv.Atoi(port)
	a, err2 := strconv.Atoi(first)
	b, err3 := strconv.Atoi(last)
	return err1 == nil && err2 == nil && err3 == nil && a <= p && p <= b
}

func addrIn(a netip.Addr, list string) bool {
	if p, err := netip.ParsePrefix(list); err == nil {
		return p.Contains(a)
	}
	if one, err := netip.ParseAddr(list); err == nil {
		return one == a
	}
	first, last, _ := strings.Cut(list, "-")
	low, err1 := netip.ParseAddr(first)
	high, err2 := netip.ParseAddr(last)
	return err1 == nil && err2 == nil && low.Is4() == a.Is4() && low.Compare(a) <= 0 && a.Compare(high) <= 0
}

func ownAddrs(o *v1alpha1.Observation) []netip.Addr {
	var out []netip.Addr
	if o.API != nil && o.API.Node != nil {
		for _, a := range o.API.Node.Status.Addresses {
			if ip, err := netip.ParseAddr(a.Address); err == nil {
				out = append(out, ip)
			}
		}
	}
	return out
}

// leavesBy tells whether packets to other machines leave by the device; "eth+" are all that begin so.
func leavesBy(o *v1alpha1.Observation, dev string) bool {
	for _, route := range []string{o.Network.DefaultRoute, o.Network.DefaultRoute6} {
		_, by, _ := strings.Cut(route, "dev ")
		by, _, _ = strings.Cut(by, " ")
		prefix, any := strings.CutSuffix(strings.ReplaceAll(dev, "*", "+"), "+")
		if by != "" && (by == dev || any && strings.HasPrefix(by, prefix)) {
			return true
		}
	}
	return false
}

// TakeOut are the steps that take rules out which keep the node from a target. One of a manager that would set it again (a firewall's,
// or a routing daemon's) is left to a person.
//
// The same rule in a chain for what the node forwards goes with it: it keeps the node's pods from the same target.
func TakeOut(o *v1alpha1.Observation, rules []v1alpha1.Rule, why, target string, f *v1alpha1.Finding) (steps []v1alpha1.Step) {
	for _, r := range o.Network.RejectRules {
		if slices.ContainsFunc(rules, func(met v1alpha1.Rule) bool { return forwards(met, r) }) {
			rules = append(slices.Clone(rules), r)
		}
	}
	for _, r := range rules {
		if !slices.Contains([]string{"", "static", "boot", "kernel"}, r.Owner) {
			f.ManualAction = "the rule is " + r.Owner + "'s, which would set it again: allow " + target + " there"
		} else if argv := Unrule(r.Text); argv != nil {
			step := detectors.NodeStep(v1alpha1.Safe, o.Node, why, argv...)
			if back := putBack(r.Text, argv); back != nil {
				step.Risk, step.Undo = "the rule is put back before the others, with its counters at zero", detectors.Quoted(back)
			}
			steps = append(steps, step)
		}
	}
	return steps
}

// forwards tells that a rule is another one word by word, in a chain of the same table for what the node forwards.
func forwards(met, r v1alpha1.Rule) bool {
	if r.Outgoing() || !slices.Contains(r.Hooks, "forward") || r.Owner != met.Owner || r.Chain == "" || r.Chain == met.Chain {
		return false
	}
	if strings.HasPrefix(r.Text, "nft ") {
		was, match, _ := strings.Cut(met.Text, ": ")
		is, same, _ := strings.Cut(r.Text, ": ")
		a, b := strings.Fields(was), strings.Fields(is)
		return len(a) > 3 && len(b) > 3 && slices.Equal(a[:3], b[:3]) && match == same && match != ""
	}
	return strings.Replace(r.Text, "-A "+r.Chain+" ", "-A "+met.Chain+" ", 1) == met.Text
}

// nftRule is what may stand in a listed rule for it to be given to nft again: words, addresses and sets, and in quotes anything that ends
// there.
var nftRule = regexp.MustCompile(`^(?:[A-Za-z0-9_.:/,+@{}=!<>&|()* -]|"[^"\\\x00-\x1f\x7f]*")+$`)

// putBack is the command that undoes one of Unrule's: the rule comes before the others of its chain, as it was listed. nil where that
// cannot be given back as it is.
func putBack(rule string, argv []string) []string {
	was, is := "-D", "-I"
	switch argv[0] {
	case "nft":
		_, text, _ := strings.Cut(rule, ": ")
		if text = strings.TrimSpace(text); !nftRule.MatchString(text) {
			return nil
		}
		return slices.Concat([]string{"nft", "insert", "rule"}, argv[3:6], []string{text}) // nft puts its words together again
	case "ip":
		was, is = "del", "add"
	}
	back := slices.Clone(argv)
	if i := slices.Index(back, was); i > 0 {
		back[i] = is
		return back
	}
	return nil
}
