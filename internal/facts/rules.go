package facts

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
)

// RestartRuntime restarts the runtime. Where its unit's KillMode has systemd end every process of it, no pod survives that.
func RestartRuntime(o *v1alpha1.Observation, why string) v1alpha1.Step {
	s := detectors.Restart(o.Node, Runtime(o).UnitName()+".service", why+"; containers belong to their shims and go on")
	u, _ := RuntimeUnit(o)
	if m := u.KillMode; m == "control-group" || m == "mixed" {
		s.Why = why + "; its KillMode " + m + " ends all containers with it"
		return detectors.Loses(s)
	}
	return s
}

// LimitOfSomebody is the risk of a step that lifts a limit.
const LimitOfSomebody = "takes away a limit that somebody set"

// StoppedByHand tells that a unit ended as one does that is told to: nothing else is known of why it does not run.
func StoppedByHand(u v1alpha1.Unit) bool {
	return u.LoadState != "masked" && u.ActiveState == "inactive" && u.Result == "success"
}

// AgainstAStop marks the start of a unit that somebody stopped; it can be stopped again.
func AgainstAStop(s v1alpha1.Step, disturbs, unit string) v1alpha1.Step {
	s.Why += "; " + disturbs
	s.Undo = "systemctl stop " + detectors.Quote(unit)
	return detectors.Disrupts(s)
}

// ByHand marks a step that takes back what somebody set for the time to come.
func ByHand(s v1alpha1.Step, undo string) v1alpha1.Step {
	s.Undo = undo
	return detectors.Destructive(s, "somebody masked or disabled the unit, perhaps for maintenance")
}

// Unmask has systemd start a unit again that somebody masked.
func Unmask(node, unit string) v1alpha1.Step {
	return ByHand(detectors.NodeStep(v1alpha1.Destructive, node, "the unit is masked", "systemctl", "unmask", unit), "systemctl mask "+detectors.Quote(unit))
}

// Mutable takes the immutable attribute from a file.
func Mutable(node, path, why string) v1alpha1.Step {
	s := detectors.NodeStep(v1alpha1.Safe, node, why, "chattr", "-i", path)
	s.Undo = "chattr +i " + detectors.Quote(path)
	return s
}

// ruleWord is a name, address, port or set in a rule; ruleOptions are what iptables-save writes before one, of which none runs a program
// or reads a file. A comment may hold anything and is one word.
var (
	ruleWord    = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_.:/,+@-]*$|^!$`)
	ruleOptions = strings.Fields("-t -A -s -d -i -o -p -m -j -g -f --comment --dport --sport --dports --sports --ports --state --ctstate --reject-with --icmp-type --icmpv6-type " +
		"--tcp-flags --syn --dst-type --src-type --match-set --physdev-out --physdev-in --limit --limit-burst --mark --uid-owner --gid-owner --src-range --dst-range --protocol")
)

// Unrule is the command that takes back a line of Network.RejectRules, nil when its form is not known: who may add rules is not always
// who may run what an option of iptables names.
func Unrule(rule string) []string {
	words := RuleWords(rule)
	if len(words) < 3 {
		return nil
	}
	switch words[0] {
	case "iptables", "ip6tables":
		i := slices.Index(words, "-A")
		for n, w := range words[1:] {
			if words[n] == "--comment" { // the word before
				if strings.HasPrefix(w, "-") || !utf8.ValidString(w) || strings.ContainsFunc(w, unicode.IsControl) {
					return nil
				}
			} else if !ruleWord.MatchString(w) && !slices.Contains(ruleOptions, w) {
				return nil
			}
		}
		if i < 0 {
			return nil
		}
		argv := slices.Clone(words)
		argv[i] = "-D"
		return argv
	case "nft":
		if len(words) < 6 || words[4] != "handle" || slices.ContainsFunc(words[1:4], func(w string) bool { return !ruleWord.MatchString(w) }) {
			return nil
		}
		handle := strings.TrimSuffix(words[5], ":")
		if _, err := strconv.ParseUint(handle, 10, 64); err != nil {
			return nil
		}
		return []string{"nft", "delete", "rule", words[1], words[2], words[3], "handle", handle}
	}
	if slices.ContainsFunc(words, func(w string) bool { return !ruleWord.MatchString(w) }) {
		return nil
	}
	switch words[0] {
	case "route":
		return append([]string{"ip", "route", "del"}, words[1:]...) // its type, what it is for, and the table it is in
	case "rule", "rule6":
		argv := []string{"ip"}
		if words[0] == "rule6" {
			argv = append(argv, "-6")
		}
		return slices.Concat(argv, []string{"rule", "del", "pref", strings.TrimSuffix(words[1], ":")}, words[2:])
	}
	return nil
}

// PlainRule tells that the words are names, addresses, ports or options of a rule.
func PlainRule(words ...string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !ruleWord.MatchString(w) && !slices.Contains(ruleOptions, w) })
}

// RuleWords are the words of a rule as iptables-save quotes them: between double quotes, in which a backslash keeps the next character.
func RuleWords(rule string) (words []string) {
	var word strings.Builder
	quoted, some := false, false
	for i := 0; i < len(rule); i++ {
		switch c := rule[i]; {
		case c == '"':
			quoted, some = !quoted, true
		case quoted && c == '\\' && i+1 < len(rule):
			i++
			word.WriteByte(rule[i])
		case !quoted && (c == ' ' || c == '\t'):
			if some {
				words = append(words, word.String())
			}
			word.Reset()
			some = false
		default:
			word.WriteByte(c)
			some = true
		}
	}
	if quoted {
		return nil
	}
	if some {
		words = append(words, word.String())
	}
	return words
}

// DropSetting is the step that takes settings out of a unit's files: the lines that match the extended regular expression, and a
// drop-in altogether where nothing but headings is left. An ExecStart= that only made room for the one taken out goes with it:
// the unit would have none. What a drop-in is called says little of what it sets.
func DropSetting(node, why, pattern string, dropIns []string) v1alpha1.Step {
	s := detectors.EditFile(v1alpha1.Safe, node, why, dropIns, `for f; do
  [ -f "$f" ] && grep -Eq -- "$pattern" "$f" || continue
  new=$(grep -Ev -- "$pattern" "$f" || true)
  if ! printf '%s\n' "$new" | grep -Eq '^[[:space:]]*ExecStart[[:space:]]*=[[:space:]]*[^[:space:]]'; then new=$(printf '%s\n' "$new" | sed -E '/^[[:space:]]*ExecStart[[:space:]]*=[[:space:]]*$/d'); fi
  if printf '%s\n' "$new" | grep -Evq '^[[:space:]]*(\[.*\])?[[:space:]]*(#.*)?$'; then printf '%s\n' "$new" > "$f"
  else mv -fT -- "$f" "$f`+v1alpha1.Aside+`"; fi
done
systemctl daemon-reload`, detectors.V("pattern", pattern))
	s.Undo += "\nsystemctl daemon-reload"
	return s
}
