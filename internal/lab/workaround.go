package lab

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// Refused is one reason not to call a lab solved.
type Refused struct {
	Reason v1alpha1.Refusal `json:"reason"`
	Text   string           `json:"text"` // what was seen, without the answer
}

func refuse(r v1alpha1.Refusal, format string, args ...any) Refused {
	return Refused{r, fmt.Sprintf(format, args...)}
}

// Workarounds are the differences between two snapshots that no fix makes.
func Workarounds(before, now Snapshot) []Refused {
	var out []Refused
	for _, name := range slices.Sorted(maps.Keys(before.Nodes)) {
		was := before.Nodes[name]
		switch is, ok := now.Nodes[name]; {
		case !ok:
			out = append(out, refuse(v1alpha1.RefusedNodeRecreated, "node %s is gone", name))
		case is.UID != was.UID:
			out = append(out, refuse(v1alpha1.RefusedNodeRecreated, "node %s is another object than it was", name))
		case is.Closed != "" && was.Closed == "":
			out = append(out, refuse(v1alpha1.RefusedNodeCordoned, "node %s takes no new pods: %s", name, is.Closed))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(before.Workloads)) {
		was := before.Workloads[key]
		is, ok := now.Workloads[key]
		if !ok {
			if !was.Over {
				out = append(out, gone(key, was))
			}
			continue
		}
		out = append(out, changed(key, was, is)...)
	}
	out = append(out, thresholds(before.Eviction, now.Eviction)...)
	if now.Output != before.Output && before.Output != "" {
		out = append(out, refuse(v1alpha1.RefusedSymptomHidden, "a service of the node no longer writes where it wrote to"))
	}
	if now.Kept != before.Kept {
		out = append(out, refuse(v1alpha1.RefusedHealthyDestroyed, "data that was there is not there any more"))
	}
	return out
}

func gone(key string, was Workload) Refused {
	if was.Lab {
		return refuse(v1alpha1.RefusedWorkloadDeleted, "%s is gone", key)
	}
	return refuse(v1alpha1.RefusedHealthyDestroyed, "%s is gone, which is no part of this", key)
}

func changed(key string, was, is Workload) []Refused {
	var out []Refused
	if is.Replicas < was.Replicas {
		out = append(out, refuse(v1alpha1.RefusedWorkloadScaled, "%s wants %d pods, and wanted %d", key, is.Replicas, was.Replicas))
	}
	// A pod's own place is filled in by the scheduler: only what makes pods can be moved.
	if !strings.HasPrefix(key, "pod ") && is.Where != was.Where {
		out = append(out, refuse(v1alpha1.RefusedWorkloadMoved, "%s is bound to other nodes than it was", key))
	}
	for _, name := range slices.Sorted(maps.Keys(was.Containers)) {
		a, b := was.Containers[name], is.Containers[name]
		for kind, probes := range map[string][2]*corev1.Probe{"liveness": {a.Liveness, b.Liveness}, "readiness": {a.Readiness, b.Readiness}} {
			if why := disarmed(probes[0], probes[1]); why != "" {
				out = append(out, refuse(v1alpha1.RefusedProbeDisabled, "the %s probe of container %s of %s %s", kind, name, key, why))
			}
		}
		for _, r := range slices.Sorted(maps.Keys(a.Limits)) {
			if !b.Limits[r] {
				out = append(out, refuse(v1alpha1.RefusedLimitDisabled, "container %s of %s has no %s limit any more", name, key, r))
			}
		}
	}
	return out
}

// neverGivesUp is a probe that would take this long to act: an hour, in seconds.
const neverGivesUp = 3600

// disarmed says how a probe no longer does what it did; empty where it does.
func disarmed(was, is *corev1.Probe) string {
	switch {
	case was == nil:
		return ""
	case is == nil:
		return "is gone"
	case was.HTTPGet != nil && is.HTTPGet == nil, was.TCPSocket != nil && is.TCPSocket == nil && is.HTTPGet == nil, was.GRPC != nil && is.GRPC == nil:
		return "no longer asks the application"
	case is.Exec != nil && slices.Contains([]string{"", "true", "/bin/true", "sh -c true", "sh -c exit 0", "/bin/sh -c true", "/bin/sh -c exit 0"}, strings.Join(is.Exec.Command, " ")):
		return "asks nobody"
	case max(is.PeriodSeconds, 1)*max(is.FailureThreshold, 1) >= neverGivesUp && max(was.PeriodSeconds, 1)*max(was.FailureThreshold, 1) < neverGivesUp,
		is.InitialDelaySeconds >= neverGivesUp && was.InitialDelaySeconds < neverGivesUp:
		return "waits for more than an hour"
	}
	return ""
}

// thresholds are those that were lowered or taken out. Which ones could not be read are not judged.
func thresholds(was, is map[string]string) []Refused {
	var out []Refused
	if is == nil {
		return nil
	}
	for _, signal := range slices.Sorted(maps.Keys(was)) {
		a, okA := threshold(was[signal])
		b, okB := threshold(is[signal])
		if okA && a > 0 && (!okB || b < a && sameUnit(was[signal], is[signal])) {
			out = append(out, refuse(v1alpha1.RefusedThreshold, "the kubelet's threshold for %s is %q, and was %q", signal, is[signal], was[signal]))
		}
	}
	return out
}

func sameUnit(a, b string) bool { return strings.HasSuffix(a, "%") == strings.HasSuffix(b, "%") }

// threshold is a percentage or a quantity as a number; not ok for what is neither, such as nothing.
func threshold(s string) (float64, bool) {
	if p, ok := strings.CutSuffix(s, "%"); ok {
		v, err := strconv.ParseFloat(p, 64)
		return v, err == nil
	}
	q, err := resource.ParseQuantity(s)
	return q.AsApproximateFloat64(), err == nil
}

// closed says why nothing new is scheduled on a node: by somebody's decision, not by the node's conditions, whose taints come and go.
func closed(n *corev1.Node) string {
	if n.Spec.Unschedulable {
		return "it is cordoned"
	}
	for _, t := range n.Spec.Taints {
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !strings.HasPrefix(t.Key, "node.kubernetes.io/") && !strings.HasPrefix(t.Key, "node-role.kubernetes.io/") {
			return fmt.Sprintf("it has the taint %s:%s", t.Key, t.Effect)
		}
	}
	return ""
}
