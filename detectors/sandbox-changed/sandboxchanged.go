// Package sandboxchanged tells why sandboxes are made again and again: something kills them, a restart of the runtime takes
// them with it, or they lose their network.
//
// SandboxChanged is a symptom. A sandbox that died once and came back is healed, so this judges only what recurs or what
// will recur: the setting, the repeated deaths, the network that is gone now.
package sandboxchanged

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/causal"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/words"
)

func init() {
	detectors.Register(detectors.Detector{Failure: "sandbox-changed", Needs: []string{v1alpha1.SourceUnits, v1alpha1.SourceSandboxes, v1alpha1.SourceNetNS}, Judge: judge})
}

// fresh: sandboxes that something kills are killed again within this time; a restart of the node is over by then.
const fresh = 3 * time.Minute

// least is the shortest patience: the kubelet's own retries of a sandbox take up to 15 seconds, events up to some seconds more.
const least = 45 * time.Second

// settled: sandboxes that a restart of the runtime took with it have been made again within this time.
const settled = 30 * time.Second

// judge looks at the runtime's unit first: a runtime that takes its pods along kills sandboxes, too.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	return facts.First(h, runtimeRestart, networkLost, killed)
}

// again are pods whose sandbox was made again lately, with how often that was seen.
type again struct {
	namespace, name string
	times           int
	first, last     time.Time
	evidence        v1alpha1.Evidence
}

func changed(h v1alpha1.History) []again {
	o := h.Last()
	byPod := map[string]*again{}
	get := func(ns, name string) *again {
		k := ns + "/" + name
		if byPod[k] == nil {
			byPod[k] = &again{namespace: ns, name: name}
		}
		return byPod[k]
	}
	booted := boot(o)
	for _, e := range facts.Events(o, "Pod", "", "", fresh, "SandboxChanged") {
		a := get(e.InvolvedObject.Namespace, e.InvolvedObject.Name)
		a.times = max(a.times, countSince(h, &e, booted))
		if facts.EventTime(&e).After(a.last) {
			a.last, a.evidence = facts.EventTime(&e), facts.FromEvent(&e)
		}
		if first := later(e.FirstTimestamp.Time, booted); !e.FirstTimestamp.IsZero() && (a.first.IsZero() || first.Before(a.first)) {
			a.first = first
		}
	}
	newest := newestSandboxes(o)
	for _, k := range slices.Sorted(maps.Keys(newest)) {
		s := newest[k]
		if s.Attempt == 0 || o.At.Sub(s.CreatedAt) > fresh {
			continue
		}
		a := get(s.Namespace, s.Name)
		// The kubelet may send an event of a pod once in five minutes only, after the first 25: then the runtime knows better.
		if s.CreatedAt.After(a.last) || a.evidence.Text == "" {
			a.last = s.CreatedAt
			a.evidence = facts.Seen(o, v1alpha1.SourceSandboxes, fmt.Sprintf("sandbox of pod %s is attempt %d, made %s ago", k, s.Attempt, o.At.Sub(s.CreatedAt).Round(time.Second)))
		}
		a.times = max(a.times, attempts(h, s, booted))
	}
	// A pod that is gone does not lose its sandbox again; the runtime keeps the last ones for a while.
	_, cutShort := o.Unreadable(v1alpha1.SourceAPI)
	known := o.API != nil && !cutShort
	var out []again
	for _, k := range slices.Sorted(maps.Keys(byPod)) {
		if a := byPod[k]; !known || facts.Pod(o, a.namespace, a.name) != nil {
			out = append(out, *a)
		}
	}
	return out
}

// newestSandboxes are by pod: in the runtime's own count each sandbox of a pod has the next attempt.
func newestSandboxes(o *v1alpha1.Observation) map[string]v1alpha1.Sandbox {
	newest := map[string]v1alpha1.Sandbox{}
	for _, s := range o.Runtime.Sandboxes {
		k := s.Namespace + "/" + s.Name
		if n, ok := newest[k]; !ok || s.Attempt > n.Attempt {
			newest[k] = s
		}
	}
	return newest
}

// attempts are how often a pod's sandbox was made again, counted across the history, so that a node restart long ago does not count.
func attempts(h v1alpha1.History, s v1alpha1.Sandbox, booted time.Time) int {
	times := 1
	for i := range h {
		for _, b := range h[i].Runtime.Sandboxes {
			if h[i].At.After(booted) && b.PodUID == s.PodUID && b.Attempt < s.Attempt {
				times = max(times, int(s.Attempt-b.Attempt))
			}
		}
	}
	return times
}

// boot is when the node started, by the runtime's and the kubelet's units where it is a container: then every sandbox is made again.
func boot(o *v1alpha1.Observation) time.Time {
	var t time.Time
	if o.Host.UptimeSeconds > 0 {
		t = o.At.Add(-time.Duration(o.Host.UptimeSeconds * float64(time.Second)))
	}
	r, _ := facts.RuntimeUnit(o)
	k, _ := facts.KubeletUnit(o)
	if !r.ActiveSince.IsZero() && !k.ActiveSince.IsZero() && r.ActiveSince.Sub(k.ActiveSince).Abs() < settled && !outlived(o, r.ActiveSince) {
		t = later(t, r.ActiveSince)
	}
	return t
}

// outlived tells that sandboxes are older than a start of the runtime: it was restarted, and took none with it.
func outlived(o *v1alpha1.Observation, start time.Time) bool {
	return slices.ContainsFunc(o.Runtime.Sandboxes, func(s v1alpha1.Sandbox) bool { return s.Ready && s.CreatedAt.Before(start) })
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// countSince is how often an event was seen since the boot: its own count, or, where that began before, what it grew by from look to
// look, and once.
func countSince(h v1alpha1.History, e *corev1.Event, booted time.Time) int {
	n := facts.EventCount(e)
	if e.FirstTimestamp.IsZero() || !e.FirstTimestamp.Time.Before(booted) {
		return n
	}
	least := n
	for i := range h {
		if h[i].API == nil || !h[i].At.After(booted) {
			continue
		}
		for j := range h[i].API.Events {
			if b := &h[i].API.Events[j]; b.Name == e.Name && b.Namespace == e.Namespace && b.Reason == e.Reason && b.InvolvedObject == e.InvolvedObject {
				least = min(least, facts.EventCount(b))
			}
		}
	}
	return n - least + 1
}

// goesOn tells that the next death is still to be expected: three times the usual pause between two have not passed yet.
func (a again) goesOn(now time.Time) bool {
	patience := fresh
	if a.times >= 2 && !a.first.IsZero() {
		patience = min(fresh, max(3*a.last.Sub(a.first)/time.Duration(a.times-1), least))
	}
	return now.Sub(a.last) < patience
}

// spared tells that shims were seen, and none of them in the runtime's unit: its end does not reach them.
func spared(o *v1alpha1.Observation, unit string) bool {
	shims, inUnit := 0, 0
	for _, p := range o.Processes {
		if p.Name == "containerd-shim" {
			shims++
			if p.Unit == unit {
				inUnit++
			}
		}
	}
	return shims > 0 && inUnit == 0
}

// runtimeRestart: the runtime's unit kills its whole cgroup when it stops, shims and pods included.
func runtimeRestart(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	r := facts.Runtime(o)
	u, ok := facts.RuntimeUnit(o)
	// CRI-O's and Docker's containers are in no cgroup of the runtime's unit.
	if !ok || u.LoadState != "loaded" || r.Name != facts.Containerd || u.KillMode == "" || u.KillMode == "process" || u.KillMode == "none" || spared(o, r.Unit) {
		return nil
	}
	f := &v1alpha1.Finding{
		Cause: "runtime-restart-kills-pods", Certainty: v1alpha1.Certain,
		Summary:  "every restart of containerd takes the node's pods with it: " + r.Unit + ".service has KillMode=" + u.KillMode,
		Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceUnits, fmt.Sprintf("%s.service: KillMode=%s; drop-ins: %s", r.Unit, u.KillMode, strings.Join(u.DropIns, ", ")))},
	}
	died := changed(h)
	after := 0
	for _, s := range o.Runtime.Sandboxes {
		if s.Attempt > 0 && !u.ActiveSince.IsZero() && s.CreatedAt.After(u.ActiveSince) && s.CreatedAt.Sub(u.ActiveSince) < 2*time.Minute {
			after++
		}
	}
	if after > 0 {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceSandboxes, fmt.Sprintf("%s made again right after containerd's start at %s", text.Plural(after, "sandbox was"), u.ActiveSince.UTC().Format(time.RFC3339))))
	}
	for i, a := range died {
		if i < 2 {
			f.Evidence = append(f.Evidence, a.evidence)
		}
	}
	// Reading the units again is enough: systemd looks at KillMode when it stops the unit. Nothing is restarted.
	var steps []v1alpha1.Step
	if len(u.DropIns) > 0 {
		steps = append(steps, facts.DropSetting(o.Node, "take KillMode out of the unit's drop-ins: its own file says process", `^[[:space:]]*KillMode[[:space:]]*=`, u.DropIns))
	}
	step := detectors.DropIn(o.Node, r.Unit+".service", "Service", "KillMode=process", "and where its own file says anything else or nothing, say process in a drop-in")
	f.Remedy = facts.Place(o).NewRemedy("spare-pods", append(steps, step)...)
	return f
}

// cut are the sandboxes of a look that are there without their network. That no namespace has a name says nothing: the runtime has a
// mount table of its own then, in which they have. An older sandbox of a pod that has a good one already is
// only waiting to be collected, and one that is being made has none yet.
func cut(o *v1alpha1.Observation) []v1alpha1.Sandbox {
	named := slices.ContainsFunc(o.Runtime.Sandboxes, func(s v1alpha1.Sandbox) bool { return s.NetNS != "" })
	var out []v1alpha1.Sandbox
	for _, s := range o.Runtime.Sandboxes {
		p := facts.Pod(o, s.Namespace, s.Name)
		if !(s.NetNSGone && named || s.IPGone) || !s.Ready && !wanted(p) || p != nil && (p.Spec.HostNetwork || p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed) {
			continue
		}
		if slices.ContainsFunc(o.Runtime.Sandboxes, func(b v1alpha1.Sandbox) bool {
			return b.PodUID == s.PodUID && b.Attempt > s.Attempt
		}) || o.At.Sub(s.CreatedAt) < 10*time.Second {
			continue
		}
		out = append(out, s)
	}
	return out
}

func withoutNetwork(s v1alpha1.Sandbox) string {
	is := causal.Alive
	if !s.Ready {
		is = " has ended, and"
	}
	if s.NetNSGone {
		return fmt.Sprintf("sandbox of pod %s/%s%s its network namespace has no name any more", s.Namespace, s.Name, is)
	}
	return fmt.Sprintf("sandbox of pod %s/%s%s there is no address in its network namespace %s", s.Namespace, s.Name, is, s.NetNS)
}

// lostBefore are sandboxes without a network in looks of a moment ago.
func lostBefore(h v1alpha1.History) (before []v1alpha1.Evidence) {
	for i := range h[:len(h)-1] {
		if h.Last().At.Sub(h[i].At) < least {
			for _, s := range cut(&h[i]) {
				before = append(before, facts.Seen(&h[i], v1alpha1.SourceSandboxes, withoutNetwork(s)))
			}
		}
	}
	return before
}

// networkLost: a sandbox runs, and its network namespace or address is gone; or it was so a moment ago, the sandbox has been made
// again, and it goes on.
func networkLost(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	lost := cut(o)
	var affected []v1alpha1.ObjectRef
	for _, s := range lost {
		affected = append(affected, v1alpha1.ObjectRef{Kind: "Pod", Namespace: s.Namespace, Name: s.Name})
	}
	before := lostBefore(h)
	died := changed(h)
	for _, a := range died {
		// A probe that gets no answer over a network that is gone says nothing about the application or itself.
		affected = append(affected, v1alpha1.ObjectRef{Kind: "Pod", Namespace: a.namespace, Name: a.name})
	}
	// The kubelet says it from verbosity 2 on.
	line, said := facts.LastOf(h, "kubelet", time.Minute, words.SandboxForPodHasNoIPAddress)
	if len(lost) == 0 && !((said || len(before) > 0) && recurring(died)) {
		return nil
	}
	f := &v1alpha1.Finding{Cause: "sandbox-network-lost", Certainty: v1alpha1.Certain, Affects: affected}
	var steps []v1alpha1.Step
	for _, s := range lost {
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceSandboxes, withoutNetwork(s)))
		steps = append(steps, renew(o, s))
	}
	if len(lost) == 0 && len(before) > 0 {
		f.Evidence = append(f.Evidence, before[len(before)-1])
	}
	if said {
		f.Evidence = append(f.Evidence, facts.FromLine(line))
	}
	if len(died) > 0 {
		f.Evidence = append(f.Evidence, died[0].evidence)
	}
	stop, evidence, ask := cutting.culprits(o, times(died))
	f.Evidence = append(f.Evidence, evidence...)
	steps, f.ManualAction = append(stop, steps...), ask
	switch len(lost) {
	case 0:
		f.Summary = "sandboxes lose their address and are made again"
	case 1:
		f.Summary = "a sandbox lost its network: " + strings.TrimPrefix(f.Evidence[0].Text, "sandbox of ")
	default:
		f.Summary = fmt.Sprintf("%d sandboxes lost their network, one of them that of %s", len(lost), strings.TrimPrefix(f.Evidence[0].Text, "sandbox of "))
	}
	if len(lost) == 0 && len(stop) == 0 {
		f.Certainty = v1alpha1.Likely
		f.ToConfirm = "who removes the addresses: `ip monitor address` inside a pod's network namespace"
	}
	f.Remedy = facts.Place(o).NewRemedy("renew-sandbox", steps...)
	if f.Remedy == nil && ask == "" {
		f.ManualAction = "what takes the addresses away was not seen"
	}
	return f
}

// renew is the step that gives a sandbox's pod a new one.
func renew(o *v1alpha1.Observation, s v1alpha1.Sandbox) v1alpha1.Step {
	if p := facts.Pod(o, s.Namespace, s.Name); p != nil {
		if kind, _, _ := facts.Owner(p); kind != "Pod" && kind != "Node" && !facts.Static(p) {
			return detectors.EvictPod(s.Namespace, s.Name, "its owner makes it again, with a network")
		}
	}
	return facts.EndSandbox(o, s.ID, "end this sandbox of pod "+s.Namespace+"/"+s.Name+": the kubelet makes it again, with a network")
}

func wanted(p *corev1.Pod) bool { return p != nil && p.Status.Phase == corev1.PodRunning }

// times are when sandboxes are known to have died.
func times(died []again) (out []time.Time) {
	for _, a := range died {
		for _, t := range []time.Time{a.first, a.last} {
			if !t.IsZero() {
				out = append(out, t)
			}
		}
	}
	return out
}

func recurring(list []again) bool {
	total, pods := 0, 0
	for _, a := range list {
		total += a.times
		if a.times >= 2 {
			pods++
		}
	}
	return pods > 0 && total >= 2
}

// killed: sandboxes end again and again while the runtime runs on.
func killed(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	u, ok := facts.RuntimeUnit(o)
	if !ok {
		return nil // it may be a restart of the runtime
	}
	died := slices.DeleteFunc(changed(h), func(a again) bool { return !a.goesOn(facts.APINow(o)) })
	if !recurring(died) || o.Host.UptimeSeconds > 0 && o.Host.UptimeSeconds < 180 {
		return nil
	}
	// A restart of the runtime makes sandboxes again once, which is no killer: until it is forgotten, one death more is needed, and
	// the last one well after it.
	if !u.ActiveSince.IsZero() && o.At.Sub(u.ActiveSince) < fresh {
		died = slices.DeleteFunc(slices.Clone(died), func(a again) bool { return a.times < 3 || a.last.Sub(u.ActiveSince) < settled })
		if !recurring(died) {
			return nil
		}
	}
	f := &v1alpha1.Finding{Cause: "sandbox-killed", Certainty: v1alpha1.Certain}
	worst := slices.MaxFunc(died, func(a, b again) int { return a.times - b.times })
	f.Summary = fmt.Sprintf("sandboxes are killed again and again: that of pod %s/%s %d times lately", worst.namespace, worst.name, worst.times)
	f.Evidence = append(f.Evidence, worst.evidence)
	if len(died) == 1 {
		f.Object = &v1alpha1.ObjectRef{Kind: "Pod", Namespace: worst.namespace, Name: worst.name}
	}
	if l, ok := facts.LastOf(h, facts.RuntimeLog, fresh, words.ShimDisconnected, "exit_status:137", words.TtrpcClosed); ok {
		f.Evidence = append(f.Evidence, facts.FromLine(l))
	}
	stop, evidence, ask := killing.culprits(o, times(died))
	f.Evidence = append(f.Evidence, evidence...)
	if len(stop) > 0 {
		f.Remedy, f.ManualAction = facts.Place(o).NewRemedy("stop-killer", stop...), ask
		return f
	}
	switch {
	case o.Host.UptimeSeconds == 0:
		f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether the node was restarted meanwhile: `uptime -s` on it"
	case o.API == nil:
		f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether the pod is still there, with access to the API server: the runtime keeps the sandboxes of a deleted one for a while"
	}
	if f.ManualAction = ask; ask == "" {
		f.ManualAction = "who kills them was not seen: no unit, cron entry or process of this node says so in its command or its script"
	}
	f.ManualAction += "; `auditctl -a always,exit -S kill` tells who does or, of the OOM killer, `dmesg | grep -i oom`"
	return f
}
