package op

import (
	"strconv"
	"strings"
)

// ParseMountinfo reads /proc/PID/mountinfo; lines it cannot read are left out.
func ParseMountinfo(text string) []Mount {
	var out []Mount
	for line := range strings.SplitSeq(text, "\n") {
		left, right, ok := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 6 || len(r) < 2 {
			continue
		}
		id, err1 := strconv.Atoi(l[0])
		parent, err2 := strconv.Atoi(l[1])
		if err1 != nil || err2 != nil {
			continue
		}
		out = append(out, Mount{
			ID: id, Parent: parent, MajorMinor: l[2], Root: unescape(l[3]), Target: unescape(l[4]), Type: r[0], Source: unescape(r[1]), Options: unescape(strings.Join(r[2:], " ")),
		})
	}
	return out
}

var octal = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func unescape(s string) string { return octal.Replace(s) }

// MountAt is the topmost mount exactly at target.
func MountAt(mounts []Mount, target string) (Mount, bool) {
	// The kernel lists in order of mounting within a parent; the topmost is the one that no other mount at the same target
	// has as parent.
	var found Mount
	ok := false
	for _, m := range mounts {
		if m.Target != target {
			continue
		}
		if !ok || m.Parent == found.ID || m.ID > found.ID && found.Parent != m.ID {
			found, ok = m, true
		}
	}
	return found, ok
}

// MountsBelow lists the mounts that stand on mount id, deepest first.
func MountsBelow(mounts []Mount, id int) []Mount {
	var out []Mount
	for _, m := range mounts {
		if m.Parent == id && m.ID != id {
			out = append(out, MountsBelow(mounts, m.ID)...)
			out = append(out, m)
		}
	}
	return out
}
