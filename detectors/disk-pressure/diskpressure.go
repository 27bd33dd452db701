// Package diskpressure tells which filesystem presses the node: the kubelet's or the runtime's, by bytes or inodes, or a
// threshold that the filesystem cannot meet.
//
// statfs against the threshold in force decides. The DiskPressure condition comes up to 10s later and stays for the
// transition period after the cause is gone, so it says little by itself until it is older than that. The kubelet asks CRI for the
// image filesystem, which may be on another disk than the runtime's root: where it goes on to see no pressure, statfs proves nothing.
package diskpressure

import (
	"fmt"
	"slices"
	"strings"
	"time"

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
	if len(out) == 0 && haveNode {
		out = standing(o, nodefs, imagefs)
	}
	return out
}

// said is how long a kubelet under pressure may be silent: it says so every ten seconds, and the events of one thing are counted up
// later and later.
const said = 90 * time.Second

// standing is DiskPressure that stands though no hard threshold is crossed: by a soft one after its grace period, or on a filesystem
// that was not looked at.
func standing(o *v1alpha1.Observation, nodefs, imagefs v1alpha1.Filesystem) []v1alpha1.Finding {
	condition, _ := facts.Condition(o, corev1.NodeDiskPressure)
	if condition.Status != corev1.ConditionTrue {
		return nil
	}
	fd := v1alpha1.Finding{
		Cause: "nodefs-full", Certainty: v1alpha1.Likely,
		Evidence:     []v1alpha1.Evidence{facts.FromCondition(condition)},
		Consequences: facts.Consequences(o),
		ToConfirm:    "`kubectl get --raw /api/v1/nodes/" + detectors.Quote(o.Node) + "/proxy/stats/summary | jq '.node.fs, .node.runtime'`: which filesystem the kubelet sees, and evictionSoft of its configuration",
		ManualAction: "no hard threshold is crossed on the filesystems that were looked at: make room on the one that the kubelet sees, or correct the threshold",
	}
	for _, f := range []struct {
		v1alpha1.Filesystem
		role string
	}{{nodefs, "nodefs"}, {imagefs, "imagefs"}} {
		for _, signal := range []struct {
			name, cause string
			total, free int64
		}{{".available", f.role + "-full", f.Bytes, f.BytesFree}, {".inodesFree", "inodes-exhausted", f.Inodes, f.InodesFree}} {
			if t, crossed := facts.SoftThreshold(o, f.role+signal.name, signal.total, signal.free); crossed {
				fd.Cause = signal.cause
				fd.Evidence = append(fd.Evidence, facts.Seen(o, v1alpha1.SourceKubelet, fmt.Sprintf("evictionSoft %s: %s", t.Signal, t.Text)),
					facts.Seen(o, v1alpha1.SourceFilesystems, facts.Usage(f.Filesystem, signal.cause == "inodes-exhausted")))
				fd.Summary = fmt.Sprintf("the filesystem %s has less left than the soft eviction threshold %s=%s", f.Path, t.Signal, t.Text)
				return []v1alpha1.Finding{fd}
			}
		}
	}
	for _, e := range facts.Events(o, "Node", "", "", said, "EvictionThresholdMet") {
		fd.Evidence = append(fd.Evidence, facts.FromEvent(&e))
		if strings.Contains(e.Message, "inodes") {
			fd.Cause = "inodes-exhausted"
		}
	}
	// Pressure that is over keeps the condition for one period. It comes and goes with what is used, hence the hour.
	age := facts.APINow(o).Sub(condition.LastTransitionTime.Time)
	if age < period(o)+time.Minute || len(fd.Evidence) == 1 && age < time.Hour {
		return nil
	}
	fd.Summary = fmt.Sprintf("the kubelet sees pressure on a disk for %s, and no threshold of it is crossed where it was looked at", age.Round(time.Minute))
	return []v1alpha1.Finding{fd}
}

// period is the kubelet's evictionPressureTransitionPeriod.
func period(o *v1alpha1.Observation) time.Duration {
	c, _ := facts.Config(o)
	if d, err := time.ParseDuration(c.EvictionPressureTransitionPeriod); err == nil && d > 0 {
		return d
	}
	return 5 * time.Minute
}

// unmeetable is a threshold beyond what is used: more than half of the filesystem may never be used while a quarter of it is still free,
// or nine tenths, which no filesystem in use can offer, while more is free than the kubelet asks for by default.
func unmeetable(t facts.Threshold, total, free int64) bool {
	return t.Value > total/2 && free*4 > total || t.Value >= total/10*9 && free > facts.DefaultThreshold(t.Signal, total)
}

// judge one filesystem by bytes or inodes.
func judgeFilesystem(h v1alpha1.History, f v1alpha1.Filesystem, role string, inodes bool) []v1alpha1.Finding {
	o := h.Last()
	signal, total, free, gone := role+".available", f.Bytes, f.BytesFree, facts.Full(f)
	cause, what := role+"-full", "has no room left"
	if inodes {
		signal, total, free, gone = role+".inodesFree", f.Inodes, f.InodesFree, facts.OutOfInodes(f)
		cause, what = "inodes-exhausted", "has no inodes left"
	}
	if total <= 0 {
		return nil
	}
	t, set := facts.HardThreshold(o, signal, total)
	crossed := set && free < t.Value
	condition, known := facts.Condition(o, corev1.NodeDiskPressure)
	pressed := known && condition.Status == corev1.ConditionTrue
	switch {
	case crossed && unmeetable(t, total, free):
		if known && !pressed {
			return nil // the kubelet does not see it so, or not yet
		}
		return []v1alpha1.Finding{misconfigured(h, f, t, inodes)}
	case !crossed && !(gone && !set && role == "nodefs"):
		// With thresholds off, as in kind, nothing will say DiskPressure, and the kubelet's filesystem is full all the same.
		return nil
	}
	finding := v1alpha1.Finding{
		Cause: cause, Certainty: v1alpha1.Certain,
		Evidence:     []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceFilesystems, facts.Usage(f, inodes))},
		Consequences: facts.Consequences(o),
	}
	whose := map[string]string{"nodefs": "kubelet's", "imagefs": "runtime's"}[role]
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
	if !gone && condition.Status == corev1.ConditionFalse && !facts.Silent(o) {
		finding.Certainty = v1alpha1.Likely
		finding.Evidence = append(finding.Evidence, facts.FromCondition(condition))
		finding.ToConfirm = "`kubectl get --raw /api/v1/nodes/" + detectors.Quote(o.Node) + "/proxy/stats/summary | jq '.node.fs, .node.runtime'`: the kubelet sees no pressure, so it may look at another filesystem or threshold"
	}
	for _, u := range facts.Strangers(o, f, inodes) {
		finding.Evidence = append(finding.Evidence, facts.Seen(o, v1alpha1.SourceFilesystems, fmt.Sprintf("%s takes %s in %s", u.Path, text.Bytes(u.Bytes), text.Plural(int(max(u.Files, 1)), "file"))))
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
		Cause: "threshold-misconfigured", Certainty: v1alpha1.Certain,
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
	files := slices.Clone(o.Kubelet.ConfigFiles)
	if len(files) == 0 {
		files = []string{facts.KubeletRoot(o) + "/config.yaml"}
	}
	slices.Reverse(files)
	fd.Remedy = facts.Place(o).NewRemedy("correct-threshold",
		setThreshold(o.Node, key, right, files...),
		detectors.Restart(o.Node, facts.KubeletUnitName(o)+".service", "the kubelet reads its configuration only at start; pods go on"),
		detectors.WaitReady(o.Node),
	)
	return fd
}

// setThreshold sets a threshold in evictionHard, and leaves evictionSoft, whose keys are the same, in the first of the files that has
// it: the one that is merged last decides. It fails where none has such a threshold.
func setThreshold(node, key, value string, files ...string) v1alpha1.Step {
	return detectors.EditFile(v1alpha1.Safe, node, fmt.Sprintf("set %s back to %s in the kubelet's configuration", key, value), files, `for f; do
  new=$(k="$key" v="$value" awk '
BEGIN { k = ENVIRON["k"]; v = ENVIRON["v"]; key = "[\"\047]?" k "[\"\047]?[ \t]*:" }
/^[^ \t#]/ { hard = /^["\047]?evictionHard["\047]?[ \t]*:/; if (hard && sub(key "[^,}]*", k ": " v)) done = 1 }
hard && $0 ~ "^[ \t]+" key { sub(/:.*/, ": " v); done = 1 }
{ print }
END { exit !done }' "$f") && break
  new=
done
[ -n "$new" ] || { echo "no configuration file has $key in evictionHard: it is set elsewhere" >&2; exit 1; }
printf '%s\n' "$new" > "$f"`, detectors.V("key", key), detectors.V("value", value))
}
