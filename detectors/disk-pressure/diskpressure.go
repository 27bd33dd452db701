// Package diskpressure tells which filesystem presses the node: the kubelet's or the runtime's, by bytes or inodes, or a
// threshold that the filesystem cannot meet.
//
// statfs against the threshold in force decides. The DiskPressure condition comes up to 10s later and stays for the
// transition period after the cause is gone, so alone it is no finding.
package diskpressure

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/text"
)

func init() {
	detectors.Register(detectors.Detector{Failure: "disk-pressure", Needs: []string{v1alpha1.SourceFilesystems}, Judge: judge})
}

// judge compares each filesystem with its thresholds.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	o := h.Last()
	nodefs, haveNode := facts.Filesystem(o, "nodefs")
	imagefs, haveImage := facts.Filesystem(o, "imagefs")
	var out []v1alpha1.Finding
	if haveNode {
		out = append(out, judgeFilesystem(h, nodefs, "nodefs", false)...)
		out = append(out, judgeFilesystem(h, nodefs, "nodefs", true)...)
	}
	if haveImage && (!haveNode || !facts.SameFilesystem(nodefs, imagefs)) {
		out = append(out, judgeFilesystem(h, imagefs, "imagefs", false)...)
		out = append(out, judgeFilesystem(h, imagefs, "imagefs", true)...)
	}
	return out
}

// judge one filesystem by bytes or inodes.
func judgeFilesystem(h v1alpha1.History, f v1alpha1.Filesystem, role string, inodes bool) []v1alpha1.Finding {
	o := h.Last()
	signal, total, free, gone := role+".available", f.Bytes, f.BytesFree, facts.Full(f)
	if inodes {
		signal, total, free, gone = role+".inodesFree", f.Inodes, f.InodesFree, facts.OutOfInodes(f)
	}
	if total <= 0 {
		return nil
	}
	t, set := facts.HardThreshold(o, signal, total)
	crossed := set && free < t.Value
	condition, known := facts.Condition(o, corev1.NodeDiskPressure)
	pressed := known && condition.Status == corev1.ConditionTrue

	// A threshold beyond what is used: more than half of the filesystem may never be used while a quarter of it is still free,
	// or nine tenths, which no filesystem in use can offer, while more is free than the kubelet asks for by default.
	unmeetable := crossed && (t.Value > total/2 && free*4 > total || t.Value >= total/10*9 && free > facts.DefaultThreshold(signal, total))
	switch {
	case unmeetable:
		if known && !pressed {
			return nil // the kubelet does not see it so, or not yet
		}
		return []v1alpha1.Finding{misconfigured(h, f, t, inodes)}
	case crossed:
	case gone && !set && role == "nodefs":
		// Thresholds off, as in kind: nothing will say DiskPressure, and the kubelet's filesystem is full all the same.
	default:
		return nil
	}

	cause := role + "-full"
	if inodes {
		cause = "inodes-exhausted"
	}
	finding := v1alpha1.Finding{
		Failure: "disk-pressure", Cause: cause, Node: o.Node, Certainty: v1alpha1.Certain,
		Evidence:     []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceFilesystems, facts.Usage(f, inodes))},
		Consequences: facts.Consequences(o),
	}
	whose := map[string]string{"nodefs": "kubelet's", "imagefs": "runtime's"}[role]
	what := "has no room left"
	if inodes {
		what = "has no inodes left"
	}
	finding.Summary = fmt.Sprintf("the %s filesystem %s %s", whose, f.Path, what)
	if set {
		finding.Summary += fmt.Sprintf(": less than the eviction threshold %s=%s", signal, t.Text)
		finding.Evidence = append(finding.Evidence, facts.Seen(o, v1alpha1.SourceKubelet, fmt.Sprintf("evictionHard %s: %s", signal, t.Text)))
	}
	if f.Frozen {
		finding.Summary += "; the same filesystem is also frozen"
	}
	if pressed {
		finding.Evidence = append(finding.Evidence, facts.FromCondition(condition))
	}
	for _, u := range facts.Alien(o, f, inodes) {
		finding.Evidence = append(finding.Evidence, facts.Seen(o, v1alpha1.SourceFilesystems, fmt.Sprintf("%s takes %s in %s", u.Path, text.Bytes(u.Bytes), facts.Plural(int(max(u.Files, 1)), "file"))))
	}
	steps, untouched := facts.MakeRoom(o, f, inodes)
	finding.ManualAction = untouched
	finding.Remedy = facts.Place(o).NewRemedy("make-room", steps...)
	return []v1alpha1.Finding{finding}
}

func misconfigured(h v1alpha1.History, f v1alpha1.Filesystem, t facts.Threshold, inodes bool) v1alpha1.Finding {
	o := h.Last()
	right := facts.DefaultThresholds[t.Signal] // where no better value is known
	if base, ok := h.Baseline(); ok {
		if c, _ := facts.Config(base); c.EvictionHard[t.Signal] != "" && c.EvictionHard[t.Signal] != t.Text {
			right = c.EvictionHard[t.Signal]
		}
	}
	fd := v1alpha1.Finding{
		Failure: "disk-pressure", Cause: "threshold-misconfigured", Node: o.Node, Certainty: v1alpha1.Certain,
		Summary: fmt.Sprintf("the eviction threshold %s=%s asks for more than %s can offer: the disk is not full, the threshold is wrong", t.Signal, t.Text, f.Path),
		Evidence: []v1alpha1.Evidence{
			facts.Seen(o, v1alpha1.SourceKubelet, fmt.Sprintf("evictionHard %s: %s", t.Signal, t.Text)),
			facts.Seen(o, v1alpha1.SourceFilesystems, facts.Usage(f, inodes)),
		},
		Consequences: facts.Consequences(o),
	}
	if c, ok := facts.Condition(o, corev1.NodeDiskPressure); ok {
		fd.Evidence = append(fd.Evidence, facts.FromCondition(c))
	}
	if _, byFlag := facts.FlagValue(o, "eviction-hard"); byFlag {
		fd.ManualAction = "the threshold is a flag of the kubelet (--eviction-hard): correct it where the flags come from, /var/lib/kubelet/kubeadm-flags.env or /etc/default/kubelet, and restart the kubelet"
		return fd
	}
	key := t.Signal
	fd.Remedy = facts.Place(o).NewRemedy("correct-threshold",
		detectors.EditFile(v1alpha1.Safe, o.Node, fmt.Sprintf("set %s back to %s in the kubelet's configuration", key, right),
			setThreshold("/var/lib/kubelet/config.yaml", key, right), "/var/lib/kubelet/config.yaml"),
		detectors.Restart(o.Node, "kubelet.service", "the kubelet reads its configuration only at start; pods go on"),
		detectors.WaitReady(o.Node),
	)
	return fd
}

// setThreshold is a script that sets a threshold in evictionHard, and leaves evictionSoft, whose keys are the same. It fails where
// the file has no such threshold.
func setThreshold(file, key, value string) string {
	return fmt.Sprintf(`f=%[1]s
new=$(awk -v k=%[2]s -v v=%[3]s '
BEGIN { key = "[\"\047]?" k "[\"\047]?[ \t]*:" }
/^[^ \t#]/ { hard = /^["\047]?evictionHard["\047]?[ \t]*:/; if (hard && sub(key "[^,}]*", k ": " v)) done = 1 }
hard && $0 ~ "^[ \t]+" key { sub(/:.*/, ": " v); done = 1 }
{ print }
END { exit !done }' "$f") || { echo "$f has no %[2]s in evictionHard: it is set elsewhere (--eviction-hard, --config-dir)" >&2; exit 1; }
printf '%%s\n' "$new" > "$f"`, detectors.Quote(file), key, value)
}
