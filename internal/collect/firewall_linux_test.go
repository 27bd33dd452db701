package collect

import (
	"slices"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

func texts(rules []v1alpha1.Rule, _ []string) (out []string) {
	for _, r := range rules {
		out = append(out, r.Text)
	}
	return out
}

// What other systems' policies drop is their work: nothing of it is offered as a reason why this node cannot reach somebody.
func TestRulesOfOthers(t *testing.T) {
	if got, seen := nftRules(`table ip calico { # handle 5
	chain filter-cali-fw-cali1234 { # handle 12
		meta mark & 0x00010000 == 0x00000000 drop # handle 99
	}
}
`); len(got) > 0 || !slices.Equal(seen, []string{"calico"}) {
		t.Errorf("%q by %q", texts(got, nil), seen)
	}
	const saved = `*filter
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:WEAVE-NPC-EGRESS - [0:0]
:f2b-sshd - [0:0]
-A OUTPUT -j WEAVE-NPC-EGRESS
-A INPUT -j f2b-sshd
-A WEAVE-NPC-EGRESS -m comment --comment "drop" -j DROP
-A ANTREA-FORWARD -j DROP
-A OVN-KUBE-EXTERNALIP -j DROP
-A f2b-sshd -s 203.0.113.9/32 -j REJECT --reject-with icmp-port-unreachable
COMMIT
`
	if got, seen := iptablesRules("iptables", saved, nil); len(got) > 0 || !slices.Contains(seen, "fail2ban") || !slices.Contains(seen, "weave") {
		t.Errorf("%q by %q", texts(got, nil), seen)
	}
	// Each Calico node has one for its own block of addresses.
	if got := rejectRoutes("blackhole 10.244.7.64/26 proto bird\n"); got[0].Owner != "bird" || got[0].Destinations[0] != "10.244.7.64/26" {
		t.Errorf("%+v", got)
	}
}

// Which hook leads to a rule decides whether this node's own packets can meet it.
func TestHooks(t *testing.T) {
	const saved = `*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-output - [0:0]
:ufw-user-output - [0:0]
:corp - [0:0]
:unused - [0:0]
-A INPUT -j corp
-A FORWARD -j corp
-A OUTPUT -j ufw-before-output
-A ufw-before-output -j ufw-user-output
-A ufw-user-output -d 10.0.0.1/32 -p tcp -m tcp --dport 6443 -j REJECT
-A corp -m conntrack --ctstate INVALID -j DROP
-A corp -m set --match-set bad src -j DROP
-A unused -j DROP
COMMIT
`
	rules, _ := iptablesRules("iptables", saved, ipsets("create bad hash:ip\nadd bad 192.0.2.1\nadd bad 192.0.2.2,tcp:22\n"))
	var got []string
	for _, r := range rules {
		got = append(got, r.Chain+" "+r.Owner+" "+strings.Join(r.Hooks, ",")+" "+strings.Join(r.Destinations, ",")+" "+strings.Join(r.Senders, ","))
	}
	if want := []string{"INPUT  input  ", "ufw-user-output ufw output 10.0.0.1/32 ", "corp  forward,input  ", "corp  forward,input  192.0.2.1,192.0.2.2"}; !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
	rules, _ = nftRules(`table inet firewalld { # handle 2
	set blocked { # handle 9
		type ipv4_addr
		elements = { 192.0.2.7, 192.0.2.8,
			     192.0.2.9 }
	}
	chain filter_OUTPUT { # handle 3
		type filter hook output priority filter + 10; policy drop;
		jump filter_OUTPUT_POLICIES # handle 4
	}
	chain filter_OUTPUT_POLICIES { # handle 5
		ip daddr @blocked reject with icmpx admin-prohibited # handle 6
	}
	chain filter_INPUT { # handle 7
		type filter hook input priority filter + 10; policy accept;
		reject with icmpx admin-prohibited # handle 8
	}
}
`)
	got = nil
	for _, r := range rules {
		got = append(got, r.Chain+" "+r.Owner+" "+strings.Join(r.Hooks, ",")+" "+strings.Join(r.Destinations, ","))
	}
	if want := []string{"filter_OUTPUT firewalld output ", "filter_OUTPUT_POLICIES firewalld output 192.0.2.7,192.0.2.8,192.0.2.9", "filter_INPUT firewalld input "}; !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

func TestDefaultRoute6(t *testing.T) {
	const table = `00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
`
	if got := defaultRoute6(table); got != "fe80::1 dev eth0" {
		t.Errorf("%q", got)
	}
}

func TestPolicyRules(t *testing.T) {
	got := policyRules("rule", "0:\tfrom all lookup local\n100:\tfrom all to 172.18.0.2 prohibit\n32766:\tfrom all lookup main\n")
	if len(got) != 1 || got[0].Text != "rule 100: from all to 172.18.0.2 prohibit" || !slices.Equal(got[0].Destinations, []string{"172.18.0.2"}) || !got[0].Outgoing() {
		t.Errorf("%+v", got)
	}
}
