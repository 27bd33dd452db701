// Package oomthrottle tells that a container's own limit kills or starves it.
//
// A kill counts when the container's cgroup reached its limit, again and again: exit 137 is no proof, one kill may be a
// single outlier, and a node out of memory kills by other rules. Throttling counts when the container hardly runs for it;
// every container with a limit is throttled a little.
package oomthrottle

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
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
				f.Object = facts.PodRef(p)
				out = append(out, *f)
			}
		}
	}
	return append(out, jobs(o, seen)...)
}

// jobs: a Job makes a new pod where one was killed, so no container restarts. Two of one owner are again and again.
func jobs(o *v1alpha1.Observation, seen map[string]bool) []v1alpha1.Finding {
	if o.API == nil {
		return nil
	}
	killed := map[string][]facts.ContainerOf{}
	var order []string
	for i := range o.API.Pods {
		p := &o.API.Pods[i]
		if kind, _, _ := facts.Owner(p); p.Status.Phase != corev1.PodFailed || kind == "Pod" || facts.Static(p) {
			continue
		}
		for _, c := range facts.Containers(p) {
			key := facts.GroupKey(p) + c.Spec.Name
			if t := c.Status.State.Terminated; t != nil && oomKilled(t) && !seen["memory-limit"+key] && facts.APINow(o).Sub(t.FinishedAt.Time) < fresh {
				if killed[key] == nil {
					order = append(order, key)
				}
				killed[key] = append(killed[key], c)
			}
		}
	}
	var out []v1alpha1.Finding
	for _, key := range order {
		list := killed[key]
		l, ok := memoryLimit(list[0], nil)
		if len(list) < 2 || !ok {
			continue
		}
		kind, _, name := facts.Owner(list[0].Pod)
		f := v1alpha1.Finding{Object: facts.PodRef(list[0].Pod), Cause: "memory-limit", Certainty: v1alpha1.Certain,
			Summary: fmt.Sprintf("the pods of %s %s reach %s one after the other, and are killed", kind, name, l)}
		for _, c := range list[:min(len(list), 3)] {
			t := c.Status.State.Terminated
			f.Evidence = append(f.Evidence, facts.Seen(o, "api.pods", fmt.Sprintf("%s ended %s, exit code %d, at %s", c.Where(), t.Reason, t.ExitCode, t.FinishedAt.UTC().Format(time.RFC3339))))
		}
		f.Remedy, f.ManualAction = l.raise(o, list[0])
		out = append(out, f)
	}
	return out
}

// oomKilled tells of an end that it was by the limit. Where the limit is too low for runc's own init the container never starts.
func oomKilled(t *corev1.ContainerStateTerminated) bool {
	return t.Reason == "OOMKilled" || initKilled(t.Message)
}

func initKilled(message string) bool { return strings.Contains(message, words.InitOOMKilled) }

// bound is a limit that a container runs into: its own, or that of its whole pod.
type bound struct {
	resource corev1.ResourceName
	limit    resource.Quantity
	pod      bool
}

func (b bound) String() string {
	what := map[corev1.ResourceName]string{corev1.ResourceMemory: "memory", corev1.ResourceCPU: "CPU"}[b.resource]
	if b.pod {
		return "the whole pod's " + what + " limit of " + b.limit.String()
	}
	return "the " + what + " limit of " + b.limit.String()
}

func limitOf(c facts.ContainerOf, name corev1.ResourceName) (own, pod resource.Quantity) {
	own = c.Spec.Resources.Limits[name]
	if r := c.Pod.Spec.Resources; r != nil {
		pod = r.Limits[name]
	}
	return own, pod
}

// memoryLimit is the limit that the container was killed by, as far as the kernel says: the memory cgroup that ran out is the pod's
// where no container's name is in it.
func memoryLimit(c facts.ContainerOf, kmsg []v1alpha1.LogLine) (bound, bool) {
	own, pod := limitOf(c, corev1.ResourceMemory)
	b := bound{corev1.ResourceMemory, own, false}
	if !pod.IsZero() && (own.IsZero() || len(kmsg) > 0 && podGroup.MatchString(kmsg[len(kmsg)-1].Text)) {
		b.limit, b.pod = pod, true
	}
	return b, !b.limit.IsZero()
}

var podGroup = regexp.MustCompile(`oom_memcg=[^,]*pod[0-9a-f_-]+(\.slice)?,`)

// limitKill tells the kernel's line of a kill in a memory cgroup (mm/oom_kill.c).
func limitKill(text string) bool {
	return strings.Contains(text, "oom_memcg=") && !nodeKill(text)
}

// nodeKill tells the line of one for want of the node's memory: of the whole machine, of its NUMA nodes, or of the cgroup of all pods.
func nodeKill(text string) bool {
	return strings.Contains(text, "oom-kill:constraint=") && (!strings.Contains(text, "CONSTRAINT_MEMCG") || allPods.MatchString(text))
}

// allPods is the cgroup of all pods, or of all of a class of service, by either cgroup driver.
var allPods = regexp.MustCompile(`oom_memcg=[^,]*kubepods(?:[/-](?:burstable|besteffort))?(?:\.slice)?,`)

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

// again: it had been restarted before it was killed, or waits in back-off after the kill.
func again(c facts.ContainerOf) bool {
	return c.Status.RestartCount >= 2 || facts.CrashLooping(c) && c.Status.RestartCount >= 1
}

// rising: an earlier look saw fewer kills in the same container.
func rising(h v1alpha1.History, c facts.ContainerOf, now v1alpha1.ContainerUsage) bool {
	return slices.ContainsFunc(h[:len(h)-1], func(o v1alpha1.Observation) bool {
		before, ok := usage(&o, c)
		return ok && before.ID == now.ID && before.OOMKills < now.OOMKills
	})
}

func memory(h v1alpha1.History, c facts.ContainerOf) *v1alpha1.Finding {
	o := h.Last()
	t := facts.LastEnd(c)
	b, kmsg, limited := reached(h, c)
	if !limited {
		return nil // killed without a limit: the node ran out, which more limit does not cure
	}
	limit := b.limit
	var ev []v1alpha1.Evidence
	kills := 0
	ended := t != nil && (oomKilled(t) || t.ExitCode == 137 && len(kmsg) > 0)
	if ended && facts.APINow(o).Sub(t.FinishedAt.Time) < fresh {
		kills = 1
		if again(c) || len(kmsg) >= 2 {
			kills = 2
		}
		ev = append(ev, facts.Seen(o, "api.pods", fmt.Sprintf("%s: last ended %s, exit code %d, at %s; %d restarts; memory limit %s", c.Where(), t.Reason, t.ExitCode, t.FinishedAt.UTC().Format(time.RFC3339), c.Status.RestartCount, limit.String())))
	}
	// A process inside that is killed over and over, while the container's first process lives on.
	if u, running := usage(o, c); running && u.OOMKills >= 2 && (rising(h, c, u) || len(kmsg) >= 2) {
		kills = 2
		ev = append(ev, facts.Seen(o, v1alpha1.SourceCgroups, fmt.Sprintf("%s: %d kills by the memory limit in its cgroup, peak %s of %s", c.Where(), u.OOMKills, text.Bytes(u.MemoryPeak), text.Bytes(u.MemoryLimit))))
	}
	if w := c.Status.State.Waiting; w != nil && initKilled(w.Message) && c.Status.RestartCount >= 1 {
		kills = 2
		ev = append(ev, facts.Seen(o, "api.pods", c.Where()+" "+w.Reason+": "+w.Message))
	}
	if e, ok := noRoomForInit(o, c); ok {
		kills = 2
		ev = append(ev, e)
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
	f := &v1alpha1.Finding{
		Cause: "memory-limit", Certainty: v1alpha1.Certain, Evidence: ev,
		Summary:      fmt.Sprintf("%s reaches %s again and again, and is killed", c.Where(), b),
		Consequences: []string{fmt.Sprintf("%s restarted %d times", c.Where(), c.Status.RestartCount)},
	}
	doubt(o, t, f)
	f.Remedy, f.ManualAction = b.raise(o, c)
	return f
}

// reached is the limit that the container was killed by, and what the kernel says of it: none where all that it says is that the node ran
// out, or the share of it that all pods have.
func reached(h v1alpha1.History, c facts.ContainerOf) (bound, []v1alpha1.LogLine, bool) {
	kmsg := kernelSays(h, c, limitKill)
	b, limited := memoryLimit(c, kmsg)
	return b, kmsg, limited && (len(kmsg) > 0 || len(kernelSays(h, c, nodeKill)) == 0)
}

// doubt: where the kernel's log was not read, and its cgroup tells nothing, an OOM kill may have been for want of the node's memory.
func doubt(o *v1alpha1.Observation, t *corev1.ContainerStateTerminated, f *v1alpha1.Finding) {
	if _, unread := o.Unreadable(v1alpha1.SourceKmsg); unread && len(f.Evidence) == 1 && f.Evidence[0].Source == "api.pods" && t != nil && !initKilled(t.Message) {
		f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether it was its own limit or a node out of memory: `dmesg | grep oom-kill` on the node, oom_memcg names the container's own cgroup"
	}
}

// noRoomForInit: the pod's cgroup has the sum of its containers' limits: where that is too low for runc's own init, not even the sandbox
// starts.
func noRoomForInit(o *v1alpha1.Observation, c facts.ContainerOf) (v1alpha1.Evidence, bool) {
	for _, e := range facts.Events(o, "Pod", c.Pod.Namespace, c.Pod.Name, fresh, "FailedCreatePodSandBox") {
		if initKilled(e.Message) && c.Pod.Status.Phase == corev1.PodPending {
			return facts.FromEvent(&e), true
		}
	}
	return v1alpha1.Evidence{}, false
}

func scale(q resource.Quantity, by int64) resource.Quantity {
	if q.Value() >= 1<<20 {
		return resource.MustParse(fmt.Sprintf("%dMi", (q.Value()*by+(1<<20)-1)>>20))
	}
	return *resource.NewQuantity(q.Value()*by, resource.BinarySI)
}

// smallest is a limit under which hardly any program runs, a runtime's Go or Java least of all.
const smallest = 64 << 20

// raise sets a new limit: in place where the pod has no owner (no restart of the pod is needed), else in its template.
func (b bound) raise(o *v1alpha1.Observation, c facts.ContainerOf) (*v1alpha1.Remedy, string) {
	more, why := scale(b.limit, 4), "four times the limit, to see what the application needs; if it is killed again, look for a leak"
	switch b.resource {
	case corev1.ResourceMemory:
		if more.Value() < smallest { // under some megabytes runc's own init is killed
			more = *resource.NewQuantity(smallest, resource.BinarySI)
		}
		if total := o.Host.MemoryBytes; total > 0 && more.Value() > total/2 {
			return nil, fmt.Sprintf("four times the limit would be %s, more than half of this node: look for a leak first", more.String())
		}
	case corev1.ResourceCPU:
		// Ten times, where memory gets four: a CPU limit reserves nothing, and one that is still too low keeps the application waiting.
		more, why = *resource.NewMilliQuantity(b.limit.MilliValue()*10, resource.DecimalSI), "ten times the limit, as far as the node has it; the application's owner should confirm what it needs"
		if all := int64(o.Host.CPUs) * 1000; all > 0 && more.MilliValue() > all {
			more = *resource.NewMilliQuantity(all, resource.DecimalSI)
		}
	}
	set := map[string]any{"limits": map[string]any{string(b.resource): more.String()}}
	// In the class Guaranteed requests are the limits. The API refuses a resize that changes the class, and in a template the pod would lose
	// its rank and its own CPUs.
	if c.Pod.Status.QOSClass == corev1.PodQOSGuaranteed {
		set["requests"] = set["limits"]
	}
	key := "containers"
	if c.Init {
		key = "initContainers"
	}
	spec := map[string]any{key: []any{map[string]any{"name": c.Spec.Name, "resources": set}}}
	if b.pod {
		spec = map[string]any{"resources": set}
	}
	// The resize subresource is there since 1.33; it takes containers only.
	if kind, _, _ := facts.Owner(c.Pod); kind == "Pod" && !facts.Static(c.Pod) && !c.Init && !b.pod && facts.KubeletMinor(o) >= 33 {
		raw, err := json.Marshal(map[string]any{"spec": spec})
		if err != nil {
			return nil, "the change cannot be written as a patch"
		}
		return facts.Place(o).NewRemedy("raise-limit", detectors.PatchOwner(*facts.PodRef(c.Pod), "", "resize", string(raw), why)), ""
	}
	steps, reason, ok := facts.ChangePod(c.Pod, why, spec)
	if !ok {
		return nil, reason
	}
	return facts.Place(o).NewRemedy("raise-limit", steps...), ""
}

const (
	// starved: throttled in four of five periods, and of the CPU time that it asks for less than two fifths is had.
	throttledShare = 0.8
	starvedShare   = 0.6
	minPeriods     = 30
	// busy is the quota, in thousandths of a CPU, from which on a container is not starved by it: a batch job at its limit stands still for a
	// part of each period, the larger the more threads it has, and does its work.
	busy = 400
	// settled: while it starts, a container may take all it gets.
	settled = time.Minute
)

// throttling is how often a quota stopped a cgroup, of how many periods, and for how long.
type throttling struct {
	v1alpha1.CPUUsage
	over string
}

// starves compares what was held back with what was used. Both are sums over CPUs, so it does not matter on how many threads ran; and
// where nearly all periods were throttled, what was used is the quota.
func (t throttling) starves() bool {
	used := float64(t.NrPeriods) * float64(cmp.Or(t.PeriodUsec, 100_000)) * float64(t.QuotaMilli) / 1000
	return t.NrPeriods >= minPeriods && float64(t.NrThrottled) >= throttledShare*float64(t.NrPeriods) && float64(t.ThrottledUsec) >= starvedShare*(float64(t.ThrottledUsec)+used)
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
			now.NrPeriods, now.NrThrottled, now.ThrottledUsec = now.NrPeriods-b.NrPeriods, now.NrThrottled-b.NrThrottled, now.ThrottledUsec-b.ThrottledUsec
			return throttling{now, over}
		}
	}
	return throttling{now, "since its start"}
}

func cpu(h v1alpha1.History, c facts.ContainerOf) *v1alpha1.Finding {
	o := h.Last()
	u, ok := usage(o, c)
	if !ok || u.CPU.QuotaMilli <= 0 && u.PodCPU.QuotaMilli <= 0 {
		return nil
	}
	own, pod := limitOf(c, corev1.ResourceCPU)
	b := bound{corev1.ResourceCPU, own, own.IsZero()}
	if b.pod {
		b.limit = pod
	}
	if b.limit.IsZero() {
		return nil
	}
	t, where := since(h, c, u.CPU, func(b v1alpha1.ContainerUsage) (v1alpha1.CPUUsage, bool) { return b.CPU, b.ID == u.ID }), c.Where()
	// A pod with one container has the same quota as that. Either may run out first, and what the pod's stops the container's does not
	// count; nor does a container that is killed before it is up.
	if !t.starves() && (b.pod || u.PodCPU.QuotaMilli == u.CPU.QuotaMilli) {
		t = since(h, c, u.PodCPU, func(b v1alpha1.ContainerUsage) (v1alpha1.CPUUsage, bool) {
			return b.PodCPU, path.Dir(b.CgroupPath) == path.Dir(u.CgroupPath)
		})
		where = "the pod of " + where
	}
	harmed := facts.Events(o, "Pod", c.Pod.Namespace, c.Pod.Name, fresh, "Unhealthy")
	if !t.starves() || t.QuotaMilli > busy && len(harmed) == 0 {
		return nil
	}
	f := &v1alpha1.Finding{
		Cause: "cpu-throttled", Certainty: v1alpha1.Certain,
		Summary: fmt.Sprintf("%s may use %s of a CPU and stands still most of the time for it", c.Where(), b.limit.String()),
		Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceCgroups, fmt.Sprintf("%s: throttled in %d of %d periods %s, %.1f s in total over its CPUs; quota %dm",
			where, t.NrThrottled, t.NrPeriods, t.over, float64(t.ThrottledUsec)/1e6, t.QuotaMilli))},
	}
	if len(harmed) > 0 {
		f.Evidence = append(f.Evidence, facts.FromEvent(&harmed[0]))
	}
	switch r := c.Status.State.Running; {
	case t.QuotaMilli > busy:
		f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether the application is late for its limit: whether its probes pass with a higher one"
	case r != nil && c.Status.RestartCount == 0 && facts.APINow(o).Sub(r.StartedAt.Time) < settled:
		f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether it goes on when the application has started: look again in a minute"
	}
	f.Remedy, f.ManualAction = b.raise(o, c)
	return f
}
