package facts

import (
	"testing"

	"github.com/sickbay-dev/sickbay/detectors"
)

func TestPutBack(t *testing.T) {
	for rule, want := range map[string]string{
		`iptables -t filter -A OUTPUT -p tcp -m comment --comment del --dport 6443 -j DROP`: "iptables -t filter -I OUTPUT -p tcp -m comment --comment del --dport 6443 -j DROP",
		`route blackhole 10.96.0.0/16 table 100`:                                            "ip route add blackhole 10.96.0.0/16 table 100",
		`rule 100: to 10.96.0.1 prohibit`:                                                   "ip rule add pref 100 to 10.96.0.1 prohibit",
		`nft inet filter output handle 7: tcp dport 6443 drop`:                              "nft insert rule inet filter output 'tcp dport 6443 drop'",
		`nft inet filter output handle 7: ip daddr { 10.0.0.1, 10.0.0.8-10.0.0.9 } tcp dport != 22 counter packets 3 bytes 180 reject with icmpx admin-prohibited comment "no api; it's x"`: `nft insert rule inet filter output 'ip daddr { 10.0.0.1, 10.0.0.8-10.0.0.9 } tcp dport != 22 counter packets 3 bytes 180 reject with icmpx admin-prohibited comment "no api; it'"'"'s x"'`,
		`nft inet filter output handle 7: tcp dport 6443 drop; flush ruleset`: "",
		"nft inet filter output handle 7: tcp dport 6443 drop\nflush ruleset": "",
		`nft inet filter output handle 7: tcp dport 6443 drop # x`:            "",
		`nft inet filter output handle 7: $x drop`:                            "",
	} {
		argv := Unrule(rule)
		if argv == nil {
			t.Errorf("%s: not taken out", rule)
			continue
		}
		if got := detectors.Quoted(putBack(rule, argv)); got != want {
			t.Errorf("%s: %q, want %q", rule, got, want)
		}
	}
}
