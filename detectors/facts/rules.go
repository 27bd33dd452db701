package facts

import (
	"slices"
	"strings"
)

// Unrule is the command that takes back a line of Network.RejectRules, nil when its form is not known.
func Unrule(rule string) []string {
	words := strings.Fields(rule)
	if len(words) < 3 {
		return nil
	}
	switch words[0] {
	case "iptables", "ip6tables":
		i := slices.Index(words, "-A")
		if i < 0 {
			return nil
		}
		argv := slices.Clone(words)
		argv[i] = "-D"
		return argv
	case "nft":
		i := slices.Index(words, "handle")
		if i != 4 || len(words) < 6 {
			return nil
		}
		return []string{"nft", "delete", "rule", words[1], words[2], words[3], "handle", strings.TrimSuffix(words[5], ":")}
	case "route":
		return append([]string{"ip", "route", "del"}, words[1:3]...)
	}
	return nil
}
