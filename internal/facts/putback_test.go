package facts

import (
	"strings"
	"testing"
)

func TestPutBack(t *testing.T) {
	for rule, want := range map[string]string{
		`iptables -t filter -A OUTPUT -p tcp -m comment --comment del --dport 6443 -j DROP`: "iptables -t filter -I OUTPUT -p tcp -m comment --comment del --dport 6443 -j DROP",
		`route blackhole 10.96.0.0/16 table 100`:                                            "ip route add blackhole 10.96.0.0/16 table 100",
		`rule 100: to 10.96.0.1 prohibit`:                                                   "ip rule add pref 100 to 10.96.0.1 prohibit",
		`nft inet filter output handle 7: tcp dport 6443 drop`:                              "",
	} {
		argv := Unrule(rule)
		if argv == nil {
			t.Errorf("%s: not taken out", rule)
			continue
		}
		if got := strings.Join(putBack(argv), " "); got != want {
			t.Errorf("%s: %q, want %q", rule, got, want)
		}
	}
}
