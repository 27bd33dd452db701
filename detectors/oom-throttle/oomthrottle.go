// Package oomthrottle tells that a container's own limit kills or starves it.
//
// A kill counts when the container's cgroup reached its limit, again and again: exit 137 is no proof, one kill may be a
// single outlier, and a node out of memory kills by other rules. Throttling counts when the container hardly runs for it;
// every container with a limit is throttled a little.
package oomthrottle

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/words"
)

func init() {
	detectors.Register(detectors.Detector{Failure: "oom-throttle", Needs: []string{v1alpha1.SourceAPI, v1alpha1.SourceCgroups}, Judge: judge})
}

// fresh: the longest back-off between two kills is five minutes.
const fresh = 7 * time.Minute

// judge looks at each container, one finding per template.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	o := h.Last()
	var out []v1alpha1.Finding
	seen := map[string]bool{}
	for _, p := range facts.Pods(o) {
		for _, c := range facts.Containers(p) {
			for _, judge := range []func(v1alpha1.History, facts.ContainerOf) *v1alpha1.Finding{memory, cpu} {
				f := judge(h, c)
				if f == nil || seen[f.Cause+facts.GroupKey(p)+c.Spec.Name] {
					continue
				}
				seen[f.Cause+facts.GroupKey(p)+c.Spec.Name] = true
				f.Failure, f.Node, f.Object = "oom-throttle", o.Node, facts.PodRef(p)
				out = append(out, *f)
			}
		}
	}
	return out
}

// limitKill tells the kernel's line of a kill in a memory cgroup (mm/oom_kill.c).
func limitKill(text string) bool {
	return strings.Contains(text, "oom_memcg=") && !strings.Contains(text, "constraint=CONSTRAINT_NONE")
}

// groupKill tells its line of a cgroup v2 that is killed as a whole (mm/memcontrol.c); the kubelet asks for it unless singleProcessOOMKill is set.
func groupKill(text string) bool { return strings.Contains(text, words.MemoryOomGroupSet) }

// kernelSays are the kernel's own lines of that kind about a container; the kernel log is shared by all nodes of one kernel, so
// the container's or pod's id has to be in it.
func kernelSays(h v1alpha1.History, c facts.ContainerOf, is func(text string) bool) []v1alpha1.LogLine {
	id := c.Status.ContainerID[strings.LastIndex(c.Status.ContainerID, "/")+1:]
	last := ""
	if t := facts.LastEnd(c); t != nil {
		last = t.ContainerID[strings.LastIndex(t.ContainerID, "/")+1:]
	}
	uid := string(c.Pod.UID)
	under := strings.ReplaceAll(uid, "-", "_")
	only := len(c.Pod.Spec.Containers) == 1
	var out []v1alpha1.LogLine
	for _, l := range facts.Lines(h, "kernel", fresh) {
		if !is(l.Text) {
			continue
		}
		if id != "" && strings.Contains(l.Text, id) || last != "" && strings.Contains(l.Text, last) || only && uid != "" && facts.Has(l.Text, uid, under) {
			out = append(out, l)
		}
	}
	return out
}

func usage(o *v1alpha1.Observation, c facts.ContainerOf) (v1alpha1.ContainerUsage, bool) {
	id := c.Status.ContainerID[strings.LastIndex(c.Status.ContainerID, "/")+1:]
	for _, u := range o.Containers {
		if id != "" && u.ID == id || u.Namespace == c.Pod.Namespace && u.Pod == c.Pod.Name && u.Name == c.Spec.Name {
			return u, true
		}
	}
	return v1alpha1.ContainerUsage{}, false
}

func memory(h v1alpha1.History, c facts.ContainerOf) *v1alpha1.Finding {
	o := h.Last()
	limit, limited := c.Spec.Resources.Limits[corev1.ResourceMemory]
	if !limited || limit.IsZero() {
		return nil // killed without a limit of its own: the node or the pod ran out, which more limit does not cure
	}
	t := facts.LastEnd(c)
	kmsg := kernelSays(h, c, limitKill)
	u, running := usage(o, c)
	now := facts.APINow(o)
	var ev []v1alpha1.Evidence
	kills := 0
	ended := t != nil && (t.Reason == "OOMKilled" || t.ExitCode == 137 && len(kmsg) > 0)
	if ended && now.Sub(t.FinishedAt.Time) < fresh {
		// Killed while it had been restarted before, or waiting in back-off after the kill.
		kills = 1
		if c.Status.RestartCount >= 2 || facts.CrashLooping(c) && c.Status.RestartCount >= 1 || len(kmsg) >= 2 {
			kills = 2
		}
		ev = append(ev, facts.Seen(o, "api.pods", fmt.Sprintf("%s: last ended %s, exit code %d, at %s; %d restarts; memory limit %s", c.Where(), t.Reason, t.ExitCode, t.FinishedAt.UTC().Format(time.RFC3339), c.Status.RestartCount, limit.String())))
	}
	// A process inside that is killed over and over, while the container's first process lives on.
	if running && u.OOMKills >= 2 {
		rising := false
		for i := range len(h) - 1 {
			if before, ok := usage(&h[i], c); ok && before.ID == u.ID && before.OOMKills < u.OOMKills {
				rising = true
			}
		}
		if rising || len(kmsg) >= 2 {
			kills = max(kills, 2)
			ev = append(ev, facts.Seen(o, v1alpha1.SourceCgroups, fmt.Sprintf("%s: %d kills by the memory limit in its cgroup, peak %s of %s", c.Where(), u.OOMKills, text.Bytes(u.MemoryPeak), text.Bytes(u.MemoryLimit))))
		}
	}
	if kills < 2 {
		return nil
	}
	if len(kmsg) > 0 {
		ev = append(ev, facts.FromLine(kmsg[len(kmsg)-1]))
	}
	if group := kernelSays(h, c, groupKill); len(group) > 0 {
		ev = append(ev, facts.FromLine(group[len(group)-1]))
	}
	more := scale(limit, 4)
	f := &v1alpha1.Finding{
		Cause: "memory-limit", Certainty: v1alpha1.Certain, Evidence: ev,
		Summary:      fmt.Sprintf("%s reaches its memory limit of %s again and again, and is killed", c.Where(), limit.String()),
		Consequences: []string{fmt.Sprintf("%s restarted %d times", c.Where(), c.Status.RestartCount)},
	}
	if total := o.Host.MemoryBytes; total > 0 && more.Value() > total/2 {
		f.ManualAction = fmt.Sprintf("four times the limit would be %s, more than half of this node: look for a leak first", more.String())
		return f
	}
	f.Remedy, f.ManualAction = raise(o, c, corev1.ResourceMemory, more, "four times the limit, to see what the application needs; if it is killed again, look for a leak")
	return f
}

func scale(q resource.Quantity, by int64) resource.Quantity {
	if q.Value() >= 1<<20 {
		return resource.MustParse(fmt.Sprintf("%dMi", (q.Value()*by+(1<<20)-1)>>20))
	}
	return *resource.NewQuantity(q.Value()*by, resource.BinarySI)
}

// raise sets a new limit: in place where the pod has no owner (no restart of the pod is needed), else in its template.
func raise(o *v1alpha1.Observation, c facts.ContainerOf, name corev1.ResourceName, to resource.Quantity, why string) (*v1alpha1.Remedy, string) {
	limits := map[string]any{"limits": map[string]any{string(name): to.String()}}
	patch := map[string]any{"name": c.Spec.Name, "resources": limits}
	kind, _, _ := facts.Owner(c.Pod)
	if kind == "Pod" && !facts.Static(c.Pod) && !c.Init {
		raw, err := json.Marshal(map[string]any{"spec": map[string]any{"containers": []any{patch}}})
		if err != nil {
			return nil, "the change cannot be written as a patch"
		}
		return facts.Place(o).NewRemedy("raise-limit", detectors.PatchOwner(*facts.PodRef(c.Pod), "", "resize", string(raw), why)), ""
	}
	key := "containers"
	if c.Init {
		key = "initContainers"
	}
	steps, reason, ok := facts.ChangePod(c.Pod, why, map[string]any{key: []any{patch}})
	if !ok {
		return nil, reason
	}
	return facts.Place(o).NewRemedy("raise-limit", steps...), ""
}

const (
	// starved: throttled in four of five periods, and standing still for 60% of the time on at least one CPU.
	throttledShare = 0.8
	starvedShare   = 0.6
	minPeriods     = 30
)

// throttling is how often a quota stopped a cgroup, of how many periods, and for how long.
type throttling struct {
	periods, throttled, usec int64
	over                     string
}

func (t throttling) starves() bool {
	return t.periods >= minPeriods && float64(t.throttled) >= throttledShare*float64(t.periods) && float64(t.usec) >= starvedShare*float64(t.periods)*100_000
}

// since is the throttling over what was watched where that is long enough, else over the cgroup's whole life. of gives the same
// cgroup's numbers in an earlier look, if it was there.
func since(h v1alpha1.History, c facts.ContainerOf, now v1alpha1.CPUUsage, of func(v1alpha1.ContainerUsage) (v1alpha1.CPUUsage, bool)) throttling {
	for i := len(h) - 2; i >= 0; i-- {
		u, ok := usage(&h[i], c)
		if !ok {
			continue
		}
		if b, same := of(u); same && now.NrPeriods-b.NrPeriods >= minPeriods {
			over := "in the last " + h.Last().At.Sub(h[i].At).Round(time.Second).String()
			return throttling{now.NrPeriods - b.NrPeriods, now.NrThrottled - b.NrThrottled, now.ThrottledUsec - b.ThrottledUsec, over}
		}
	}
	return throttling{now.NrPeriods, now.NrThrottled, now.ThrottledUsec, "since its start"}
}

func cpu(h v1alpha1.History, c facts.ContainerOf) *v1alpha1.Finding {
	o := h.Last()
	u, ok := usage(o, c)
	if !ok || u.CPU.QuotaMilli <= 0 {
		return nil
	}
	limit, limited := c.Spec.Resources.Limits[corev1.ResourceCPU]
	if !limited {
		return nil
	}
	t, where := since(h, c, u.CPU, func(b v1alpha1.ContainerUsage) (v1alpha1.CPUUsage, bool) { return b.CPU, b.ID == u.ID }), c.Where()
	// A pod with one container has the same quota as that. Either may run out first, and what the pod's stops the container's does not
	// count; nor does a container that is killed before it is up.
	if !t.starves() && u.PodCPU.QuotaMilli == u.CPU.QuotaMilli {
		t = since(h, c, u.PodCPU, func(b v1alpha1.ContainerUsage) (v1alpha1.CPUUsage, bool) {
			return b.PodCPU, path.Dir(b.CgroupPath) == path.Dir(u.CgroupPath)
		})
		where = "the pod of " + where
	}
	if !t.starves() {
		return nil
	}
	f := &v1alpha1.Finding{
		Cause: "cpu-throttled", Certainty: v1alpha1.Certain,
		Summary:  fmt.Sprintf("%s may use %s of a CPU and stands still most of the time for it", c.Where(), limit.String()),
		Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceCgroups, fmt.Sprintf("%s: throttled in %d of %d periods %s, %.1f s in total; quota %dm", where, t.throttled, t.periods, t.over, float64(t.usec)/1e6, u.CPU.QuotaMilli))},
	}
	for _, e := range facts.Events(o, "Pod", c.Pod.Namespace, c.Pod.Name, fresh, "Unhealthy") {
		f.Evidence = append(f.Evidence, facts.FromEvent(&e))
		break
	}
	// Ten times, where memory gets four: a CPU limit reserves nothing, and one that is still too low keeps the application waiting.
	more := *resource.NewMilliQuantity(limit.MilliValue()*10, resource.DecimalSI)
	if o.Host.CPUs > 0 && more.MilliValue() > int64(o.Host.CPUs)*1000 {
		more = *resource.NewMilliQuantity(int64(o.Host.CPUs)*1000, resource.DecimalSI)
	}
	f.Remedy, f.ManualAction = raise(o, c, corev1.ResourceCPU, more, "ten times the limit, as far as the node has it; the application's owner should confirm what it needs")
	return f
}
