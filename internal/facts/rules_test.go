package facts

import (
	"slices"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// A rule's comment is one word and no option; what else it says is of the forms that iptables-save writes, or the rule stays.
func TestUnrule(t *testing.T) {
	for rule, want := range map[string][]string{
		`iptables -t filter -A OUTPUT -d 10.0.0.1/32 -p tcp -m tcp --dport 6443 -j REJECT --reject-with icmp-port-unreachable`: {"iptables", "-t", "filter", "-D", "OUTPUT", "-d", "10.0.0.1/32", "-p", "tcp", "-m", "tcp", "--dport", "6443", "-j", "REJECT", "--reject-with", "icmp-port-unreachable"},
		`iptables -t filter -A OUTPUT -m comment --comment "no way \"out\"" -j DROP`:                                           {"iptables", "-t", "filter", "-D", "OUTPUT", "-m", "comment", "--comment", `no way "out"`, "-j", "DROP"},
		`iptables -t filter -A OUTPUT -m comment --comment "x --modprobe=/var/tmp/x" -j DROP`:                                  {"iptables", "-t", "filter", "-D", "OUTPUT", "-m", "comment", "--comment", "x --modprobe=/var/tmp/x", "-j", "DROP"},
		`iptables -t filter -A OUTPUT --modprobe=/var/tmp/x -j DROP`:                                                           nil,
		`iptables -t filter -A OUTPUT -m comment --comment --modprobe=/var/tmp/x -j DROP`:                                      nil,
		`iptables -t filter -A OUTPUT -m bpf --object-pinned /sys/x -j DROP`:                                                   nil,
		`iptables -t filter -A OUTPUT -m comment --comment "x`:                                                                 nil,
		`nft ip filter OUTPUT handle 7: drop`:                                                                                  {"nft", "delete", "rule", "ip", "filter", "OUTPUT", "handle", "7"},
		`nft ip -f /etc/x handle 7: drop`:                                                                                      nil,
		`nft ip filter OUTPUT handle x: drop`:                                                                                  nil,
		`route blackhole 10.0.0.0/8`:                                                                                           {"ip", "route", "del", "blackhole", "10.0.0.0/8"},
		`route -batch /etc/x`:                                                                                                  nil,
		`rule 100: from all to 10.0.0.1 prohibit`:                                                                              {"ip", "rule", "del", "pref", "100", "from", "all", "to", "10.0.0.1", "prohibit"},
	} {
		if got := Unrule(rule); !slices.Equal(got, want) {
			t.Errorf("%s\n\tgot  %q\n\twant %q", rule, got, want)
		}
	}
}

// A runtime of which no look shows the unit is restarted by its own unit all the same.
func TestRestartRuntimeOfNoUnit(t *testing.T) {
	o := &v1alpha1.Observation{Node: "n", Runtime: v1alpha1.Runtime{Endpoint: "unix:///var/run/crio/crio.sock"}}
	if got := RestartRuntime(o, "x").Run; got != "systemctl restart crio.service" {
		t.Error(got)
	}
}
