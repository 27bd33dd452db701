package v1alpha1

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestParseRule(t *testing.T) {
	for text, want := range map[string]Rule{
		"iptables -t filter -A OUTPUT -d 172.18.0.2/32 -p tcp -m tcp --dport 6443 -j REJECT": {Chain: "OUTPUT", Hooks: []string{"output"}, Destinations: []string{"172.18.0.2/32"}, Protocol: "tcp", Ports: []string{"6443"}},
		"iptables -t filter -A INPUT -m conntrack --ctstate INVALID -j DROP":                 {Chain: "INPUT", Hooks: []string{"input"}, States: []string{"invalid"}},
		"iptables -t filter -A out ! -d 10.0.0.0/8 -o eth0 -m multiport --dports 80,8000:8100 -j DROP": {
			Chain: "out", Destinations: []string{"!10.0.0.0/8"}, Out: "eth0", Ports: []string{"80", "8000-8100"}},
		"ip6tables -t filter -A OUTPUT -m set --match-set bad6 dst -j DROP": {Chain: "OUTPUT", Hooks: []string{"output"}, Destinations: []string{"@bad6"}},
		"iptables -t filter -P OUTPUT DROP":                                 {Chain: "OUTPUT", Hooks: []string{"output"}, DefaultPolicy: true},
		`nft inet fw out handle 7: ip daddr { 172.18.0.2, 10.0.0.0/8 } tcp dport { 443, 6443 } counter packets 0 bytes 0 reject with tcp reset`: {
			Chain: "out", Destinations: []string{"172.18.0.2", "10.0.0.0/8"}, Protocol: "tcp", Ports: []string{"443", "6443"}},
		`nft inet fw out handle 8: oifname != "lo" ip6 daddr @blocked ct state new drop`: {Chain: "out", Out: "!lo", Destinations: []string{"@blocked"}, States: []string{"new"}},
		"nft inet fw out policy drop":                         {Chain: "out", DefaultPolicy: true},
		"rule 100: from all to 172.18.0.2 prohibit":           {Destinations: []string{"172.18.0.2"}, Hooks: []string{"output", "forward"}},
		"rule6 90: from fd00::/64 to 2001:db8::9 unreachable": {Senders: []string{"fd00::/64"}, Destinations: []string{"2001:db8::9"}, Hooks: []string{"output", "forward"}},
		"route blackhole 10.244.7.64/26":                      {Destinations: []string{"10.244.7.64/26"}, Hooks: []string{"output", "forward"}},
		"something that is no rule at all":                    {},
	} {
		want.Text = text
		if got := ParseRule(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v\nwant %+v", text, got, want)
		}
	}
	var old Network
	if err := json.Unmarshal([]byte(`{"rejectRules":["iptables -t filter -A OUTPUT -d 10.0.0.1/32 -j DROP",{"text":"x","owner":"ufw"}]}`), &old); err != nil ||
		len(old.RejectRules) != 2 || old.RejectRules[0].Hooks[0] != "output" || old.RejectRules[1].Owner != "ufw" {
		t.Errorf("%+v, %v", old, err)
	}
}
