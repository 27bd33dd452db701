package notready

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpproxy"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
)

// server is the API server as this node knows it.
type server struct {
	host, port string
	addrs      []netip.Addr // as far as known
}

// serverOf are the name and port of the kubeconfig's server, and the addresses that its name has: by the dial, by /etc/hosts, or by the
// cluster where the name is a control-plane node's. Those of a load balancer's name are known by the dial only.
func serverOf(o *v1alpha1.Observation) server {
	c := o.Kubelet.Kubeconfig
	u, err := url.Parse(c.Server)
	if err != nil {
		return server{}
	}
	s := server{host: u.Hostname(), port: u.Port()}
	if s.port == "" {
		s.port = "443"
	}
	texts := []string{s.host}
	if m := dialled.FindStringSubmatch(c.ReachError); m != nil {
		texts = append(texts, m[1])
	} else if o.API != nil && slices.Contains(o.API.Endpoints, s.host) {
		texts = append(texts, o.API.Endpoints...)
	}
	for _, line := range o.Network.Hosts {
		if f := strings.Fields(line); len(f) > 1 && slices.Contains(f[1:], s.host) {
			texts = append(texts, f[0])
		}
	}
	for _, t := range texts {
		if a, err := netip.ParseAddr(t); err == nil {
			s.addrs = append(s.addrs, a.Unmap())
		}
	}
	return s
}

// How a rule stands to the dial that failed.
const (
	beside  = iota // the dial does not meet it, or fails in another way than this rule has it fail
	perhaps        // it has matches that are not known here
	every          // it is for everything that no rule before it accepts
	named          // it names this server's address or port
)

// against tells how a rule stands to a dial of the server that gave reach.
func against(o *v1alpha1.Observation, s server, r v1alpha1.Rule, reach string) int {
	if !r.Outgoing() || r.In != "" && r.In != "lo" || r.Out == "lo" || len(r.States) > 0 && !slices.Contains(r.States, "new") || fails(r, reach) {
		return beside
	}
	if r.Protocol != "" && !slices.Contains([]string{"tcp", "6", "all", "0", "ip", "ipv6"}, r.Protocol) && !strings.Contains(r.Protocol, "tcp") {
		return beside
	}
	stands := every
	for _, m := range []struct {
		values []string
		in     func(value string) (yes, known bool)
		counts bool
	}{
		{r.Destinations, s.has, true},
		{r.Ports, s.serves, true},
		{r.Senders, func(v string) (bool, bool) { return own(o, v) }, false},
	} {
		yes, known := matches(m.values, m.in)
		switch {
		case known && !yes:
			return beside
		case !known:
			stands = perhaps
		case m.counts && len(m.values) > 0 && stands == every:
			stands = named
		}
	}
	if !r.DefaultPolicy && strange(r.Text) {
		return perhaps
	}
	return stands
}

// fails tells that a dial which meets the rule ends otherwise than in reach: what is dropped is waited for, the rest is answered at once.
func fails(r v1alpha1.Rule, reach string) bool {
	drops := strings.HasPrefix(r.Text, "nft ") && strings.Contains(r.Text, "drop") || strings.HasSuffix(r.Text, "DROP")
	switch reach {
	case "timeout":
		return !drops
	case "refused", "no-route":
		return drops
	}
	return false
}

// matches tells whether one of the values holds, "!" before them means that none may. Without values everything matches.
func matches(values []string, in func(string) (yes, known bool)) (yes, known bool) {
	if len(values) == 0 {
		return true, true
	}
	not := strings.HasPrefix(values[0], "!")
	known = true
	for _, v := range values {
		y, k := in(strings.TrimPrefix(v, "!"))
		if y {
			return !not, true
		}
		known = known && k
	}
	return not, known
}

func (s server) has(value string) (yes, known bool) {
	return contains(value, s.addrs)
}

// contains tells whether an address, prefix or range holds one of the addresses.
func contains(value string, addrs []netip.Addr) (yes, known bool) {
	if strings.HasPrefix(value, "@") || len(addrs) == 0 {
		return false, false
	}
	from, to, isRange := strings.Cut(value, "-")
	if isRange {
		first, err1 := netip.ParseAddr(from)
		last, err2 := netip.ParseAddr(to)
		return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return first.Compare(a) <= 0 && a.Compare(last) <= 0 }), err1 == nil && err2 == nil
	}
	if p, err := netip.ParsePrefix(value); err == nil {
		return slices.ContainsFunc(addrs, p.Contains), true
	}
	a, err := netip.ParseAddr(value)
	return err == nil && slices.Contains(addrs, a.Unmap()), err == nil
}

func (s server) serves(value string) (yes, known bool) {
	if strings.HasPrefix(value, "@") {
		return false, false
	}
	from, to, isRange := strings.Cut(strings.ReplaceAll(value, ":", "-"), "-")
	if !isRange {
		to = from
	}
	number := func(text string) int {
		if n, ok := map[string]string{"https": "443", "http": "80", "ssh": "22", "smtp": "25"}[text]; ok {
			text = n
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return -1
		}
		return n
	}
	port, first, last := number(s.port), number(from), number(to)
	return first >= 0 && first <= port && port <= last, first >= 0 && last >= 0
}

// own tells whether a sender is this node.
func own(o *v1alpha1.Observation, value string) (yes, known bool) {
	var addrs []netip.Addr
	if o.API != nil && o.API.Node != nil {
		for _, a := range o.API.Node.Status.Addresses {
			if ip, err := netip.ParseAddr(a.Address); err == nil {
				addrs = append(addrs, ip)
			}
		}
	}
	return contains(value, addrs)
}

var (
	module    = regexp.MustCompile(`-m (\w+)`)
	ordinary  = []string{"tcp", "comment", "conntrack", "state", "multiport", "set", "iprange"}
	nftOthers = regexp.MustCompile(`\b(skuid|skgid|mark|cgroup|cgroupv2|limit|fib|socket|quota|time|hour|day|sport|dscp|length|flags|numgen|osf)\b`)
	ruleWords = regexp.MustCompile(`\b(fwmark|uidrange|sport|tos|iif|not)\b`)
)

// strange tells that a rule also asks for what is not known of the dial.
func strange(text string) bool {
	switch kind, _, _ := strings.Cut(text, " "); kind {
	case "iptables", "ip6tables":
		return slices.ContainsFunc(module.FindAllStringSubmatch(text, -1), func(m []string) bool { return !slices.Contains(ordinary, m[1]) }) || strings.Contains(text, "--sport")
	case "nft":
		return nftOthers.MatchString(text)
	case "rule", "rule6":
		return ruleWords.MatchString(text)
	}
	return false
}

// rulesAgainst are the rules that keep this node from its server, by how they stand to it.
func rulesAgainst(o *v1alpha1.Observation) map[int][]v1alpha1.Rule {
	s := serverOf(o)
	if s.host == "" {
		return nil
	}
	out := map[int][]v1alpha1.Rule{}
	for _, r := range o.Network.RejectRules {
		if how := against(o, s, r, o.Kubelet.Kubeconfig.Reach); how != beside {
			out[how] = append(out[how], r)
		}
	}
	return out
}

// letThrough is the step that has a chain accept what goes to the server before a rule or policy of it that is for everything; nil where
// the server's address is not known.
func letThrough(o *v1alpha1.Observation, r v1alpha1.Rule) *v1alpha1.Step {
	s := serverOf(o)
	words := strings.Fields(r.Text)
	var argv, undo []string
	for _, a := range s.addrs {
		switch {
		case words[0] == "iptables" && a.Is4(), words[0] == "ip6tables" && a.Is6():
			match := []string{r.Chain, "-d", a.String(), "-p", "tcp", "--dport", s.port, "-j", "ACCEPT"}
			argv = slices.Concat([]string{words[0], "-t", words[2], "-I"}, match)
			undo = slices.Concat([]string{words[0], "-t", words[2], "-D"}, match)
		case words[0] == "nft" && len(words) > 3:
			family := "ip"
			if a.Is6() {
				family = "ip6"
			}
			argv = slices.Concat([]string{"nft", "insert", "rule"}, words[1:4], []string{family, "daddr", a.String(), "tcp", "dport", s.port, "accept", "comment", "sickbay"})
		default:
			continue
		}
		why := "this chain lets nothing out that no rule accepts: accept what goes to the API server"
		if r.Owner != "" {
			why += "; " + r.Owner + " writes its rules anew, so allow it there as well"
		}
		step := detectors.NodeStep(v1alpha1.Destructive, o.Node, why, argv...)
		if step.Undo = command(undo); undo == nil {
			list := command(words[1:4])
			step.Undo = "nft delete rule " + list + " handle \"$(nft -a list chain " + list + " | sed -nE 's/.*comment \"sickbay\" # handle ([0-9]+)/\\1/p' | head -n1)\""
		}
		step = detectors.Destructive(step, "opens the owner's firewall for "+a.String()+" port "+s.port)
		return &step
	}
	return nil
}

func command(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = detectors.Quote(a)
	}
	return strings.Join(words, " ")
}

// proxied tells that the kubelet reaches its server through a proxy: a dial of this look says nothing of that.
func proxied(o *v1alpha1.Observation) string {
	c, e := o.Kubelet.Kubeconfig, o.Kubelet.Environment
	if c.ProxyURL != "" {
		return c.ProxyURL
	}
	u, err := url.Parse(c.Server)
	if err != nil || e.HTTPSProxy == "" {
		return ""
	}
	p, err := (&httpproxy.Config{HTTPSProxy: e.HTTPSProxy, NoProxy: e.NoProxy}).ProxyFunc()(u)
	if err != nil || p == nil {
		return ""
	}
	return e.HTTPSProxy
}
