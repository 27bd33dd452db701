package facts

import (
	"fmt"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/words"
)

// UsedUp is a limit of which practically nothing is left: the node's, or that of one of those that are named.
func UsedUp(o *v1alpha1.Observation, name string, of ...string) (v1alpha1.Limit, bool) {
	for _, l := range o.Limits {
		if l.Name != name || l.Max <= 0 || l.Used*100 < l.Max*98 {
			continue
		}
		who, _, _ := strings.Cut(l.Of, " ") // "containerd 200"
		if l.Of == "node" || Has(" "+strings.Join(of, " ")+" ", " "+who+" ") {
			return l, true
		}
	}
	return v1alpha1.Limit{}, false
}

// FromLimit is a limit as evidence.
func FromLimit(o *v1alpha1.Observation, l v1alpha1.Limit) v1alpha1.Evidence {
	return Seen(o, v1alpha1.SourceLimits, fmt.Sprintf("%s of %s: %d of %d", l.Name, l.Of, l.Used, l.Max))
}

// NoConnections tells that what ended so was in want of what every connection of this node needs: an entry in the kernel's table of
// connections, or a local port. what is for a summary, todo for a person.
func NoConnections(h v1alpha1.History, said string) (what, todo string, ev []v1alpha1.Evidence) {
	o := h.Last()
	if strings.Contains(said, words.CannotAssignAddress) {
		for _, l := range o.Limits {
			if l.Name == "ephemeral-ports" && l.Max > 0 && l.Used*100 >= l.Max*95 {
				return "this node has no local port left for connections to " + l.Of,
					"see who opens the connections (`ss -tan | awk '{print $5}' | sort | uniq -c | sort -n | tail`): they have to be reused or fewer; net.ipv4.ip_local_port_range bounds them", []v1alpha1.Evidence{FromLimit(o, l)}
			}
		}
		return "", "", nil
	}
	table, full := UsedUp(o, "conntrack")
	line, dropped := LastLine(h, "kernel", 2*time.Minute, words.ConntrackFull)
	if !full && !dropped || !isTimeout(said) {
		return "", "", nil
	}
	if full {
		ev = append(ev, FromLimit(o, table))
	}
	if dropped {
		ev = append(ev, FromLine(line))
	}
	return "the kernel's table of connections is full, and drops what is new",
		"see whose connections fill it (`conntrack -L | awk '{print $5}' | sort | uniq -c | sort -n | tail`), or raise the sysctl nf_conntrack_max (kube-proxy sets it: conntrack.maxPerCore)", ev
}
