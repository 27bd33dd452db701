package v1alpha1

import (
	"encoding/json"
	"slices"
	"strings"
)

// Rule drops or rejects packets of this node: a rule or default policy of its firewall, or a route.
type Rule struct {
	// Text has one of these forms; the first four can be taken back:
	//	iptables -t filter -A OUTPUT -d 172.18.0.2/32 -p tcp -m tcp --dport 6443 -j REJECT   (also ip6tables)
	//	nft FAMILY TABLE CHAIN handle N: ip daddr 172.18.0.2 tcp dport 6443 drop
	//	route blackhole 172.18.0.2   (also unreachable, prohibit)
	//	rule 100: from all to 172.18.0.2 prohibit   (of policy routing; rule6 of IPv6's)
	//	iptables -t filter -P OUTPUT DROP
	//	nft FAMILY TABLE CHAIN policy drop
	Text string `json:"text"`
	// Owner is whose rule it is, by the names of table and chain: ufw, firewalld; of a route the routing protocol that made it: bird,
	// static, kernel … Empty where nothing tells.
	Owner string `json:"owner,omitempty"`
	Chain string `json:"chain,omitempty"`
	// Hooks are those from which a packet can get to it: output, input, forward, prerouting, postrouting. Empty where none leads to
	// it, and of rules of before this was told. What this node itself sends passes output and postrouting only.
	Hooks []string `json:"hooks,omitempty"`
	// What it matches; empty is everything. Addresses are prefixes or ranges of either family, "!" before one means all but that; the
	// members of sets stand here where they could be read, else the set as @name. Ports are destination ports: 443, 8000-8100.
	Destinations  []string `json:"destinations,omitempty"`
	Senders       []string `json:"senders,omitempty"`
	Ports         []string `json:"ports,omitempty"`
	Protocol      string   `json:"protocol,omitempty"`
	In            string   `json:"in,omitempty"`  // interface
	Out           string   `json:"out,omitempty"` // interface
	States        []string `json:"states,omitempty"`
	DefaultPolicy bool     `json:"defaultPolicy,omitempty"` // for what no rule of the chain accepts
}

// Outgoing tells whether what this node sends can meet the rule, as far as is known.
func (r Rule) Outgoing() bool {
	return len(r.Hooks) == 0 || slices.Contains(r.Hooks, "output") || slices.Contains(r.Hooks, "postrouting")
}

// UnmarshalJSON reads a rule, or its text alone as observations had it before rules were taken apart.
func (r *Rule) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*r = ParseRule(text)
		return nil
	}
	type plain Rule
	return json.Unmarshal(b, (*plain)(r))
}

// ParseRule takes a rule's text apart. Of chains that are not the kernel's own, Hooks says nothing: the rule alone does not tell who
// jumps there.
func ParseRule(text string) Rule {
	r := Rule{Text: text}
	words := strings.Fields(strings.NewReplacer("{", " ", "}", " ", ",", " ").Replace(text))
	if len(words) < 3 {
		return r
	}
	switch words[0] {
	case "iptables", "ip6tables":
		r.iptables(strings.Fields(text))
	case "nft":
		if len(words) > 3 {
			r.Chain = words[3]
			r.nft(words[4:])
		}
	case "rule", "rule6":
		r.Hooks = []string{"output", "forward"}
		for i := 2; i+1 < len(words); i++ {
			switch v := words[i+1]; words[i] {
			case "from":
				if v != "all" {
					r.Senders = []string{v}
				}
			case "to":
				r.Destinations = []string{v}
			case "iif":
				r.In = v
			case "oif":
				r.Out = v
			case "ipproto":
				r.Protocol = v
			case "dport":
				r.Ports = []string{v}
			}
		}
	case "route":
		r.Destinations = []string{words[2]}
		r.Hooks = []string{"output", "forward"}
	}
	return r
}

func (r *Rule) iptables(words []string) {
	not := ""
	for i := 1; i+1 < len(words); i++ {
		v := words[i+1]
		list := strings.FieldsFunc(v, func(c rune) bool { return c == ',' })
		for j := range list {
			list[j] = not + list[j]
		}
		switch words[i] {
		case "!":
			not = "!"
			continue
		case "-A", "-P":
			r.Chain = v
			if h := strings.ToLower(v); slices.Contains([]string{"output", "input", "forward", "prerouting", "postrouting"}, h) {
				r.Hooks = []string{h}
			}
			r.DefaultPolicy = words[i] == "-P"
		case "-d":
			r.Destinations = append(r.Destinations, list...)
		case "-s":
			r.Senders = append(r.Senders, list...)
		case "-p":
			r.Protocol = not + v
		case "--dport", "--dports":
			for _, p := range list {
				r.Ports = append(r.Ports, strings.ReplaceAll(p, ":", "-"))
			}
		case "-i":
			r.In = not + v
		case "-o":
			r.Out = not + v
		case "--ctstate", "--state":
			r.States = append(r.States, strings.Split(strings.ToLower(v), ",")...)
		case "--match-set":
			if i+2 < len(words) && strings.HasPrefix(words[i+2], "dst") {
				r.Destinations = append(r.Destinations, not+"@"+v)
			} else {
				r.Senders = append(r.Senders, not+"@"+v)
			}
		}
		not = ""
	}
}

// nftStop are words behind which the values of a match end.
var nftStop = []string{"ip", "ip6", "tcp", "udp", "sctp", "th", "meta", "ct", "iif", "oif", "iifname", "oifname", "counter", "log", "limit", "drop", "reject", "accept", "jump", "goto", "return", "comment", "fib", "icmp", "icmpv6", "mark", "ether", "vlan", "socket", "rt", "with", "queue"}

func (r *Rule) nft(words []string) {
	if len(words) == 2 && words[0] == "policy" {
		r.DefaultPolicy = true
		return
	}
	for i := 0; i+1 < len(words); i++ {
		var values []string
		take := func(from int) []string {
			not := ""
			for _, w := range words[min(from, len(words)):] {
				if w == "!=" {
					not = "!"
					continue
				}
				if slices.Contains(nftStop, w) {
					break
				}
				values = append(values, not+strings.Trim(w, `"`))
			}
			return values
		}
		switch words[i] + " " + words[i+1] {
		case "ip daddr", "ip6 daddr":
			r.Destinations = append(r.Destinations, take(i+2)...)
		case "ip saddr", "ip6 saddr":
			r.Senders = append(r.Senders, take(i+2)...)
		case "tcp dport", "udp dport", "th dport", "sctp dport":
			r.Ports = append(r.Ports, take(i+2)...)
			if words[i] != "th" {
				r.Protocol = words[i]
			}
		case "meta l4proto", "ip protocol", "ip6 nexthdr":
			if r.Protocol == "" {
				r.Protocol = strings.Join(take(i+2), ",")
			}
		case "ct state":
			r.States = append(r.States, take(i+2)...)
		default:
			switch words[i] {
			case "oifname", "oif":
				r.Out = strings.Join(take(i+1), ",")
			case "iifname", "iif":
				r.In = strings.Join(take(i+1), ",")
			}
		}
	}
}
