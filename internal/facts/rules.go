package facts

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
)

// RestartRuntime restarts the runtime. Where its unit's KillMode has systemd end every process of it, no pod survives that.
func RestartRuntime(o *v1alpha1.Observation, why string) v1alpha1.Step {
	s := detectors.Restart(o.Node, cmp.Or(Runtime(o).Unit, "containerd")+".service", why+"; containers belong to their shims and go on")
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
