// Package swap tells that the kubelet does not start because swap is on.
//
// Swap that a kubelet tolerates (failSwapOn false) or has not met yet (it looks at start only) is no illness.
package swap

import (
	"fmt"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/words"
)

func init() {
	detectors.Register(detectors.Detector{Failure: "swap", Needs: []string{v1alpha1.SourceUnits, v1alpha1.SourceJournal, v1alpha1.SourceSwaps}, Judge: judge})
}

// sight is what is seen of swap: by the kubelet, by the look, and by the kubelet's unit alone.
type sight struct {
	line         v1alpha1.LogLine // the kubelet's refusal, where it said so
	said         bool
	masked       *v1alpha1.Mount // what lies over /proc/swaps
	own          string          // what the kubelet's unit mounts there for itself
	fails, known bool            // failSwapOn
}

func lookAt(h v1alpha1.History) (s sight) {
	o := h.Last()
	s.line, s.said = facts.LastLine(h, "kubelet", facts.ExitFresh, words.SwapRefused)
	s.masked, s.own = mount(o, "/proc/swaps"), ownView(o)
	s.fails, s.known = failSwapOn(o)
	return s
}

// stops tells that swap keeps the kubelet from running, or would do so next.
func (s sight) stops(h v1alpha1.History, k facts.Kubelet) bool {
	o := h.Last()
	on := len(o.Swaps) > 0
	switch {
	case s.said && (on || s.masked != nil || swapsUnread(o)):
		return true
	case s.said && newest(h, s.line):
		// The kubelet sees swap that this look does not: its unit has its own view of /proc, or swap went off this second.
		return s.own != ""
	}
	// It dies of something else before it looks at swap, or was stopped: swap would stop it next.
	return on && s.known && s.fails && k.Down()
}

// judge needs swap on now, and a kubelet that does not run and would refuse it.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	o := h.Last()
	k := facts.KubeletState(h)
	s := lookAt(h)
	if !k.Known || k.Running || k.Halted || !s.stops(h, k) {
		return nil
	}
	f := v1alpha1.Finding{
		Cause: "swap-on", Certainty: v1alpha1.Certain,
		Summary:      "the kubelet refuses to start: swap is on and failSwapOn is true",
		Consequences: facts.Consequences(o),
	}
	if !s.said {
		f.Certainty = v1alpha1.Likely
		f.Summary = "swap is on and failSwapOn is true: the kubelet would not start"
		f.ToConfirm = "start the kubelet and read its last line"
	}
	if s.said && len(o.Swaps) == 0 && swapsUnread(o) {
		f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether swap is still on: `cat /proc/swaps` on the node"
	}
	steps := swapsOff(o, s.masked != nil, &f)
	if masked := s.masked; masked != nil {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceMounts, "/proc/swaps is a bind mount of "+masked.Root))
		if strings.HasPrefix(masked.Type, "fuse") {
			f.ManualAction = "/proc/swaps is " + masked.Type + "'s and shows the swap of the machine that this node is a container of: turn it off there, or let the kubelet start with it (failSwapOn: false)"
			return []v1alpha1.Finding{f}
		}
		steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "what says that swap is on is a mount over /proc/swaps", "umount", "/proc/swaps"))
	}
	if s.said {
		f.Evidence = append(f.Evidence, facts.FromLine(s.line))
	}
	if s.known {
		_, source := facts.Config(o)
		f.Evidence = append(f.Evidence, facts.Seen(o, source, fmt.Sprintf("failSwapOn: %v", s.fails)))
	}
	if s.own != "" {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceUnits, "the kubelet's unit mounts "+s.own+" for itself"))
		u, _ := facts.KubeletUnit(o)
		steps = append(steps, facts.DropSetting(o.Node, "the unit shows the kubelet a /proc/swaps of its own", `^[[:space:]]*Bind(ReadOnly)?Paths[[:space:]]*=.*:/proc/swaps`, u.DropIns))
	}
	if len(steps) == 0 {
		f.ManualAction = "the kubelet sees swap that this look does not show: `nsenter -t $(pidof systemd | tr ' ' '\\n' | tail -1) -m cat /proc/swaps`"
		return []v1alpha1.Finding{f}
	}
	steps = append(steps, facts.RestartKubelet(o, "the kubelet looks at swap at start only; pods go on"), detectors.WaitReady(o.Node))
	f.Remedy = facts.Place(o).NewRemedy("swap-off", steps...)
	return []v1alpha1.Finding{f}
}

// swapsOff are the steps that take every swap out of use, and keep it so. Swap that only a mount over /proc/swaps shows is not there.
func swapsOff(o *v1alpha1.Observation, masked bool, f *v1alpha1.Finding) (steps []v1alpha1.Step) {
	for _, s := range o.Swaps {
		text := fmt.Sprintf("%s (%s, %s, %s used)", s.Path, s.Type, text.Bytes(s.SizeBytes), text.Bytes(s.UsedBytes))
		if s.InFstab {
			text += ", also in /etc/fstab"
		}
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceSwaps, text))
		if !masked {
			if !s.InFstab {
				f.ManualAction = "what turned it on may do so at the next boot: see `systemctl list-units --type swap --all` and zram-generator"
			}
			off := detectors.NodeStep(v1alpha1.Safe, o.Node, "take this swap out of use; its pages move back to memory", "swapoff", s.Path)
			if off.Undo = "swapon " + detectors.Quote(s.Path); s.UsedBytes > 0 {
				off = detectors.Disrupts(off) // memory that is short then is taken from pods
			}
			if o.Host.MemoryBytes > 0 && s.UsedBytes > o.Host.MemoryBytes/4 {
				off = detectors.Destructive(off, "what is in it may not fit into memory: processes are killed then")
			}
			steps = append(steps, off)
		}
		if s.InFstab {
			steps = append(steps, dropFromFstab(o.Node, "/etc/fstab", s.Path))
		}
	}
	return steps
}

// dropFromFstab takes the lines out that bring a swap back at boot, whatever they call it: its path, a link to it, UUID= or LABEL=.
func dropFromFstab(node, fstab, swap string) v1alpha1.Step {
	return detectors.EditFile(v1alpha1.Safe, node, "keep it off at the next boot: take its line out", []string{fstab}, `f=$1
specs=$(awk '$1 !~ /^#/ && $3 == "swap" { print $1 }' "$f")
printf '%s\n' "$specs" | while read -r spec; do
  [ -n "$spec" ] || continue
  case "$spec" in *=*) dev=$(findfs "$spec" 2>/dev/null || true) ;; *) dev=$spec ;; esac
  [ "$spec" = "$swap" ] || [ -n "$dev" ] && [ "$(readlink -f -- "$dev")" = "$(readlink -f -- "$swap")" ] || continue
  new=$(s="$spec" awk '!($1 == ENVIRON["s"] && $3 == "swap")' "$f")
  printf '%s\n' "$new" > "$f"
done`, detectors.V("swap", swap))
}

// failSwapOn is what the kubelet will go by at its next start. The kubelet's own default is true.
func failSwapOn(o *v1alpha1.Observation) (value, known bool) {
	if v, ok := facts.FlagValue(o, "fail-swap-on"); ok {
		return v != "false", true
	}
	if o.Kubelet.FileError != "" {
		return false, false
	}
	if o.Kubelet.File.FailSwapOn != nil {
		return *o.Kubelet.File.FailSwapOn, true
	}
	return true, !facts.EmptyConfig(o.Kubelet.File)
}

func swapsUnread(o *v1alpha1.Observation) bool {
	_, unread := o.Unreadable(v1alpha1.SourceSwaps)
	return unread
}

func mount(o *v1alpha1.Observation, target string) *v1alpha1.Mount {
	for i := range o.Mounts {
		if o.Mounts[i].Target == target {
			return &o.Mounts[i]
		}
	}
	return nil
}

// newest: the words.SwapRefused is the last thing the kubelet said of its end.
func newest(h v1alpha1.History, line v1alpha1.LogLine) bool {
	k := facts.KubeletState(h)
	return !k.Said || strings.Contains(k.Exit.Text, words.SwapRefused) || !k.Exit.At.After(line.At)
}

// ownView is what the kubelet's unit mounts over its own /proc/swaps, as systemd has it.
func ownView(o *v1alpha1.Observation) string {
	u, _ := facts.KubeletUnit(o)
	for _, b := range u.Binds {
		if parts := strings.Split(b, ":"); len(parts) > 1 && parts[1] == "/proc/swaps" {
			return b
		}
	}
	return ""
}
