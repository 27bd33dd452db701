package facts

import (
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

func TestRulesAgainst(t *testing.T) {
	const (
		v4  = "dial tcp 203.0.113.7:443: i/o timeout"
		v6  = "dial tcp [2001:db8:7::7]:443: i/o timeout"
		dns = "dial tcp: lookup quay.io on 192.0.2.53:53: read udp 10.0.0.7:4321->192.0.2.53:53: i/o timeout"
	)
	for _, c := range []struct {
		said, rule string
		want       bool
	}{
		{v4, "iptables -t filter -A OUTPUT -d 203.0.113.7/32 -p tcp -m tcp --dport 443 -j REJECT", true},
		{v4, "iptables -t filter -A OUTPUT -d 203.0.113.0/24 -j DROP", true},
		{v4, "iptables -t filter -A OUTPUT -p tcp -m multiport --dports 80,443 -j DROP", true},
		{v4, "iptables -t filter -A OUTPUT -p tcp -m tcp --dport 400:500 -j DROP", true},
		{v4, "iptables -t filter -A OUTPUT ! -d 10.0.0.0/8 -j DROP", true},
		{v4, "iptables -t filter -A OUTPUT -o eth+ -p tcp -m tcp --dport 443 -j DROP", true},
		{v4, "nft inet corp out handle 4: ip daddr 203.0.113.7 tcp dport 443 drop", true},
		{v4, "nft inet corp out handle 4: ip daddr { 198.51.100.1, 203.0.113.7 } drop", true},
		{v4, "nft inet corp out handle 4: ip daddr 203.0.113.1-203.0.113.9 drop", true},
		{v4, "route blackhole 203.0.113.0/24", true},
		{v6, "ip6tables -t filter -A OUTPUT -d 2001:db8:7::/48 -j REJECT", true},
		{dns, "iptables -t filter -A OUTPUT -p udp -m udp --dport 53 -j DROP", true},

		{v4, "iptables -t filter -A INPUT -p tcp -m tcp --dport 443 -j DROP", false},
		{v4, "iptables -t filter -A OUTPUT -j REJECT", false},
		{v4, "iptables -t filter -A OUTPUT -d 203.0.113.70/32 -j DROP", false},
		{v4, "iptables -t filter -A OUTPUT -d 10.0.0.0/8 -p tcp -m tcp --dport 443 -j DROP", false},
		{v4, "iptables -t filter -A OUTPUT ! -d 203.0.113.0/24 -p tcp -m tcp --dport 443 -j DROP", false},
		{v4, "iptables -t filter -A OUTPUT -d 203.0.113.7/32 -p udp -m udp --dport 443 -j DROP", false},
		{v4, "iptables -t filter -A OUTPUT -p tcp -m tcp --dport 443 -m owner --uid-owner 1000 -j REJECT", false},
		{v4, "iptables -t filter -A OUTPUT -p tcp -m tcp --dport 443 -m set --match-set bad dst -j DROP", false},
		{v4, "iptables -t filter -A OUTPUT -p tcp -m conntrack --ctstate INVALID -m tcp --dport 443 -j DROP", false},
		{v4, "iptables -t filter -A OUTPUT -o lo -p tcp -m tcp --dport 443 -j DROP", false},
		{v4, "iptables -t filter -A OUTPUT -s 10.99.0.0/16 -p tcp -m tcp --dport 443 -j DROP", false},
		{v4, "ip6tables -t filter -A OUTPUT -p tcp -m tcp --dport 443 -j DROP", false},
		{v4, "nft ip6 corp out handle 4: tcp dport 443 drop", false},
		{v4, "iptables -t filter -P OUTPUT DROP", false},
		{v4, "route blackhole 10.244.7.64/26", false},
		{v6, "ip6tables -t filter -A OUTPUT -d 2001:db8:bad::1/128 -p tcp -m tcp --dport 443 -j REJECT", false},
		{v6, "iptables -t filter -A OUTPUT -p tcp -m tcp --dport 443 -j REJECT", false},
		{dns, "iptables -t filter -A OUTPUT -p tcp -m tcp --dport 443 -j DROP", false},
	} {
		o := &v1alpha1.Observation{Network: v1alpha1.Network{DefaultRoute: "10.0.0.1 dev eth0", RejectRules: []v1alpha1.Rule{v1alpha1.ParseRule(c.rule)}}}
		if got := len(RulesAgainst(o, Targets(c.said))) == 1; got != c.want {
			t.Errorf("%s\n%s\nstops it: %v", c.rule, c.said, got)
		}
	}
}

// TestTakeOutOfBothChains: what keeps the node from a target keeps its pods from it by the same rule in another chain, and by no other.
func TestTakeOutOfBothChains(t *testing.T) {
	rule := func(text, hook string) v1alpha1.Rule {
		r := v1alpha1.ParseRule(text)
		r.Hooks = []string{hook}
		return r
	}
	met := map[string]v1alpha1.Rule{
		"nft":      rule("nft inet firewall out handle 4: ip daddr 172.18.0.2 tcp dport 6443 drop", "output"),
		"iptables": rule("iptables -t filter -A OUTPUT -d 172.18.0.2/32 -p tcp -m tcp --dport 6443 -j DROP", "output"),
	}
	for name, c := range map[string]struct {
		met string
		r   v1alpha1.Rule
		too bool
	}{
		"the same in nft":      {"nft", rule("nft inet firewall through handle 7: ip daddr 172.18.0.2 tcp dport 6443 drop", "forward"), true},
		"another port":         {"nft", rule("nft inet firewall through handle 7: ip daddr 172.18.0.2 tcp dport 443 drop", "forward"), false},
		"another table":        {"nft", rule("nft inet theirs through handle 7: ip daddr 172.18.0.2 tcp dport 6443 drop", "forward"), false},
		"what comes in":        {"nft", rule("nft inet firewall in handle 7: ip daddr 172.18.0.2 tcp dport 6443 drop", "input"), false},
		"the same in iptables": {"iptables", rule("iptables -t filter -A FORWARD -d 172.18.0.2/32 -p tcp -m tcp --dport 6443 -j DROP", "forward"), true},
		"another address":      {"iptables", rule("iptables -t filter -A FORWARD -d 172.18.0.9/32 -p tcp -m tcp --dport 6443 -j DROP", "forward"), false},
	} {
		t.Run(name, func(t *testing.T) {
			o := &v1alpha1.Observation{Node: "n1", Network: v1alpha1.Network{RejectRules: []v1alpha1.Rule{met[c.met], c.r}}}
			steps := TakeOut(o, []v1alpha1.Rule{met[c.met]}, "why", "target", &v1alpha1.Finding{})
			if want := map[bool]int{false: 1, true: 2}[c.too]; len(steps) != want {
				t.Errorf("%d steps, want %d: %+v", len(steps), want, steps)
			}
			for _, s := range steps {
				if s.Class != v1alpha1.Destructive || s.Undo == "" {
					t.Errorf("class %s, undo %q: %s", s.Class, s.Undo, s.Run)
				}
			}
		})
	}
}
