// Package deviceplugin tells why a device cannot be had: its plugin is gone, its devices are unhealthy, or it refuses to
// allocate.
//
// Allocatable falls to zero in both of the first two; whether the plugin's socket answers, and what the kubelet last said
// of it, tells them apart. A pod that waits because all devices are in use waits legitimately.
package deviceplugin

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/words"
)

func init() {
	detectors.Register(detectors.Detector{Failure: "device-plugin", Needs: []string{v1alpha1.SourceAPI}, Judge: judge})
}

// remembered: the kubelet keeps a resource with a dead plugin for five minutes, as capacity without allocatable.
const remembered = 15 * time.Minute

// judge looks at each extended resource of the node.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	o := h.Last()
	var out []v1alpha1.Finding
	if o.API == nil || o.API.Node == nil {
		return nil
	}
	for _, name := range resources(h) {
		if f := devices(h, name); f != nil {
			out = append(out, *f)
		}
	}
	out = append(out, refused(h)...)
	for i := range out {
		out[i].Failure, out[i].Node = "device-plugin", o.Node
	}
	return out
}

// resources are those a device plugin gives: with a domain that is not Kubernetes' own, on the node now or at the baseline.
func resources(h v1alpha1.History) []string {
	var out []string
	add := func(n *corev1.Node) {
		if n == nil {
			return
		}
		for k := range n.Status.Capacity {
			if name := string(k); strings.Contains(name, "/") && !strings.Contains(name, "kubernetes.io/") && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	for i := range h {
		if h[i].API != nil {
			add(h[i].API.Node)
		}
	}
	slices.Sort(out)
	return out
}

func amounts(n *corev1.Node, name string) (capacity, allocatable int64) {
	if n == nil {
		return 0, 0
	}
	c, a := n.Status.Capacity[corev1.ResourceName(name)], n.Status.Allocatable[corev1.ResourceName(name)]
	return c.Value(), a.Value()
}

// hadBefore is how many there were, at the look that saw most.
func hadBefore(h v1alpha1.History, name string) (most int64) {
	for i := range h {
		if h[i].API != nil {
			_, a := amounts(h[i].API.Node, name)
			most = max(most, a)
		}
	}
	return most
}

// serves tells whether a socket of this name is the resource's: a plugin calls it what it likes, mostly after what it gives.
func serves(socket, resource string) bool {
	plain := strings.NewReplacer("/", "-", "_", "-", ".", "-").Replace
	kind := resource[strings.LastIndex(resource, "/")+1:]
	return socket != "" && (plain(socket) == plain(resource) || slices.Contains(strings.Split(plain(socket), "-"), plain(kind)) || plain(socket) == plain(kind))
}

// registrationOf is what the kubelet logs of a plugin that registers.
func registrationOf(resource string) string {
	return `"Got registration request from device plugin with resource" resourceName="` + resource
}

func wantedBy(o *v1alpha1.Observation, name string) []string {
	var out []string
	for _, list := range [][]corev1.Pod{o.API.Pods, o.API.Pending} {
		for i := range list {
			p := &list[i]
			if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
				continue
			}
			if asks(p, name) {
				out = append(out, p.Namespace+"/"+p.Name)
			}
		}
	}
	return out
}

// aimedHere are the pods that wait for a resource and that their own specification lets run on this node alone.
func aimedHere(o *v1alpha1.Observation, name string) []string {
	var out []string
	for i := range o.API.Pending {
		p := &o.API.Pending[i]
		here := p.Spec.NodeSelector[corev1.LabelHostname] != "" && p.Spec.NodeSelector[corev1.LabelHostname] == hostname(o)
		if a := p.Spec.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
			terms := a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
			here = here || len(terms) > 0 && !slices.ContainsFunc(terms, func(t corev1.NodeSelectorTerm) bool {
				only := func(r corev1.NodeSelectorRequirement, key, value string) bool {
					return r.Key == key && r.Operator == corev1.NodeSelectorOpIn && len(r.Values) == 1 && r.Values[0] == value
				}
				return !slices.ContainsFunc(t.MatchFields, func(r corev1.NodeSelectorRequirement) bool { return only(r, "metadata.name", o.API.Node.Name) }) &&
					!slices.ContainsFunc(t.MatchExpressions, func(r corev1.NodeSelectorRequirement) bool { return only(r, corev1.LabelHostname, hostname(o)) })
			})
		}
		if here && asks(p, name) {
			out = append(out, p.Namespace+"/"+p.Name)
		}
	}
	return out
}

func hostname(o *v1alpha1.Observation) string {
	return cmp.Or(o.API.Node.Labels[corev1.LabelHostname], o.API.Node.Name)
}

func asks(p *corev1.Pod, name string) bool {
	return slices.ContainsFunc(slices.Concat(p.Spec.InitContainers, p.Spec.Containers), func(c corev1.Container) bool {
		q, ok := c.Resources.Limits[corev1.ResourceName(name)]
		return ok && !q.IsZero()
	})
}

// relatives are how many devices the node has now of other resources of the same vendor, and whether it had all of those kinds before.
func relatives(h v1alpha1.History, name string) (now int64, before bool) {
	vendor, _, _ := strings.Cut(name, "/")
	before = true
	for _, other := range resources(h) {
		if v, _, _ := strings.Cut(other, "/"); v != vendor || other == name {
			continue
		}
		_, a := amounts(h.Last().API.Node, other)
		now += a
		if base, ok := h.Baseline(); ok && a > 0 && base.API != nil && base.API.Node != nil {
			_, had := amounts(base.API.Node, other)
			before = before && had > 0
		}
	}
	return now, before
}

func devices(h v1alpha1.History, name string) *v1alpha1.Finding {
	o := h.Last()
	capacity, allocatable := amounts(o.API.Node, name)
	most := hadBefore(h, name)
	ended, endedSaid := facts.LastLine(h, "kubelet", remembered, words.ListAndWatchEndedUnexpectedly, name)
	registered, registeredSaid := facts.LastOf(h, "kubelet", remembered, `"Device plugin connected" resourceName="`+name, registrationOf(name))
	down := endedSaid && (!registeredSaid || registered.At.Before(ended.At))
	var socket *v1alpha1.PluginSocket
	for i := range o.Sockets {
		s := &o.Sockets[i]
		if s.Kind == "device-plugin" && serves(s.Name, name) {
			socket = s
		}
	}
	listening := slices.ContainsFunc(o.Sockets, func(s v1alpha1.PluginSocket) bool {
		return s.Kind == "device-plugin" && s.Answers == "ok" && (socket == nil || s.Path == socket.Path)
	})
	_, unread := o.Unreadable(v1alpha1.SourceSockets)
	short := capacity - allocatable
	// A kubelet that was started without hearing of the plugin counts none of its devices, and nobody may remember that there
	// were some: but a pod wants one, and the plugin that gives them is here.
	forgotten := capacity == 0 && most == 0 && !unread && !listening && len(wantedBy(o, name)) > 0 && len(facts.DevicePlugin(o, name)) > 0
	// The node still lists what a plugin once gave it, and a pod waits that may run nowhere else.
	_, listed := o.API.Node.Status.Capacity[corev1.ResourceName(name)]
	uninstalled := listed && capacity == 0 && most == 0 && !unread && !listening && !forgotten && len(aimedHere(o, name)) > 0
	if short <= 0 && !forgotten && !uninstalled && (most == 0 || allocatable >= most && capacity >= most) {
		return nil // all there are, are allocatable
	}
	ev := []v1alpha1.Evidence{facts.Seen(o, "api.node", fmt.Sprintf("%s: capacity %d, allocatable %d", name, capacity, allocatable))}
	if most > allocatable {
		ev[0].Text += fmt.Sprintf(", %d before", most)
	}
	if socket != nil {
		ev = append(ev, facts.Seen(o, v1alpha1.SourceSockets, fmt.Sprintf("%s: %s", socket.Path, socket.Answers)))
	}
	short = max(short, most-allocatable)
	f := &v1alpha1.Finding{Object: &v1alpha1.ObjectRef{Kind: "Resource", Name: name}, Certainty: v1alpha1.Certain, Evidence: ev}
	for _, p := range wantedBy(o, name) {
		f.Consequences = append(f.Consequences, "pod "+p+" wants "+name)
	}
	refusedSocket := socket != nil && socket.Answers != "ok"
	gone := allocatable == 0 && (down || refusedSocket || !unread && !listening && len(o.Sockets) > 0 && socket == nil)
	vanished := capacity == 0 && most > 0
	// A plugin that was told to offer its devices otherwise (MIG, time slices, another pool) gives up one resource for another.
	given, before := relatives(h, name)
	renamed := false
	if (gone || vanished) && (listening || unread) && !refusedSocket && given > 0 {
		if !before {
			return nil
		}
		renamed, gone, vanished, down = true, true, false, false
	}
	restarted := allocatable == 0 && listening && !registeredSaid && o.At.Sub(o.Units[facts.KubeletUnitName(o)].ActiveSince) < remembered && !down
	again, reason := facts.RestartPlugin(o, facts.DevicePlugin(o, name), name, "the plugin registers with the kubelet when it starts")
	switch {
	case gone || vanished || restarted || forgotten || uninstalled:
		f.Cause = "plugin-down"
		f.Summary = "the device plugin of " + name + " is gone: the node offers none of its devices"
		if restarted || forgotten {
			f.Summary = "the device plugin of " + name + " runs, and has not registered again since the kubelet started"
		}
		if uninstalled {
			f.Summary = "no device plugin of " + name + " has registered since the kubelet started, and pod " + aimedHere(o, name)[0] + " may run on no other node"
		}
		if endedSaid {
			f.Evidence = append(f.Evidence, facts.FromLine(ended))
		}
		if !down && !refusedSocket && !vanished && !restarted && !forgotten && !uninstalled {
			f.Certainty, f.ToConfirm = v1alpha1.Likely, "whether the plugin's process runs: its pod or unit, and its socket below "+facts.KubeletRoot(o)+"/device-plugins"
		}
		if renamed {
			f.ManualAction = "other devices of the same vendor are offered: if its plugin was told to offer them so, ask for those; else restart the plugin"
			return f
		}
		f.Remedy = facts.Place(o).NewRemedy("restart-plugin", again...)
		if f.Remedy == nil {
			f.ManualAction = reason
		}
	case allocatable < capacity:
		f.Cause = "device-unhealthy"
		f.Summary = fmt.Sprintf("the device plugin of %s reports %d of %d devices unhealthy", name, short, capacity)
		if l, ok := facts.LastLine(h, "kubelet", remembered, words.ProcessedDeviceUpdates, name); ok {
			f.Evidence = append(f.Evidence, facts.FromLine(l))
			registeredSaid = true
		}
		// A socket that answers is the plugin's only if it is known to be.
		if (socket == nil || !listening) && !registeredSaid {
			f.Certainty, f.ToConfirm = v1alpha1.Likely, "the plugin's own log, and its socket below "+facts.KubeletRoot(o)+"/device-plugins: a plugin that is gone looks the same for five minutes"
		}
		f.Remedy = facts.Place(o).NewRemedy("reset-devices", again...)
		f.ManualAction = reason
		if f.Remedy != nil {
			f.ManualAction = "if a new plugin process finds the devices unhealthy as well, the driver or the hardware is: see the plugin's log and dmesg"
		}
	default:
		return nil
	}
	return f
}

var wants = regexp.MustCompile(`Allocate failed due to (.*)`)

// refused: pods that the kubelet turned away lately because the plugin would not allocate.
func refused(h v1alpha1.History) []v1alpha1.Finding {
	o := h.Last()
	var out []v1alpha1.Finding
	seen := map[string]bool{}
	for i := range o.API.Pods {
		p := &o.API.Pods[i]
		if p.Status.Reason != "UnexpectedAdmissionError" || !strings.Contains(p.Status.Message, words.AllocateFailed) || p.DeletionTimestamp != nil {
			continue
		}
		resource := ""
		for _, c := range p.Spec.Containers {
			for k := range c.Resources.Limits {
				if strings.Contains(string(k), "/") && (resource == "" || string(k) < resource) {
					resource = string(k)
				}
			}
		}
		if now := facts.APINow(o); now.Sub(p.CreationTimestamp.Time) > 10*time.Minute || servedSince(o, p, resource) || seen[facts.GroupKey(p)] {
			continue
		}
		seen[facts.GroupKey(p)] = true
		reason := p.Status.Message
		if m := wants.FindStringSubmatch(reason); m != nil {
			reason = m[1]
		}
		if strings.Contains(reason, "requested number of devices unavailable") || strings.Contains(reason, "no healthy devices present") {
			continue // that is the kubelet counting, not the plugin refusing
		}
		f := v1alpha1.Finding{
			Cause: "allocate-failed", Certainty: v1alpha1.Certain, Object: facts.PodRef(p),
			Summary:  fmt.Sprintf("the device plugin of %s refuses to allocate: %s", resource, facts.Short(reason)),
			Evidence: []v1alpha1.Evidence{facts.Seen(o, "api.pods", fmt.Sprintf("pod %s/%s %s: %s", p.Namespace, p.Name, p.Status.Reason, p.Status.Message))},
		}
		steps, why := facts.RestartPlugin(o, facts.DevicePlugin(o, resource), resource, "a new plugin process takes stock of its devices")
		if len(steps) == 0 {
			f.ManualAction = "the plugin's own log says why it refuses; " + why
			out = append(out, f)
			continue
		}
		if wait := awaitRegistration(o, resource); wait != nil {
			steps = append(steps, *wait)
		}
		again := facts.RenewPod(p, "a pod that was turned away stays Failed for ever")
		if len(again) == 0 {
			f.ManualAction = "the pod is static: change its manifest on the node, and the kubelet makes it again"
		}
		steps = append(steps, again...)
		f.Remedy = facts.Place(o).NewRemedy("restart-plugin", steps...)
		out = append(out, f)
	}
	return out
}

// awaitRegistration is a step that waits until the plugin's new process is known to the kubelet: a pod that comes earlier is
// turned away for ever. The new socket's time tells a new registration from an old one.
func awaitRegistration(o *v1alpha1.Observation, resource string) *v1alpha1.Step {
	for _, s := range o.Sockets {
		if s.Kind != "device-plugin" || !serves(s.Name, resource) {
			continue
		}
		step := detectors.ShellStep(v1alpha1.Safe, o.Node, "the kubelet must know the plugin's new process before a pod asks for a device", fmt.Sprintf(`s=%s
for _ in $(seq 60); do
  if [ -S "$s" ] && journalctl -u %s -o cat --since "@$(stat -c %%Y "$s")" | grep -qF %s; then exit 0; fi
  sleep 1
done
echo "no plugin of %s registered with the kubelet within a minute" >&2
exit 1`, detectors.Quote(s.Path), detectors.Quote(facts.KubeletUnitName(o)), detectors.Quote(registrationOf(resource)), resource))
		return &step
	}
	return nil
}

// servedSince: another pod got the resource later, so the refusal is over.
func servedSince(o *v1alpha1.Observation, failed *corev1.Pod, resource string) bool {
	for _, p := range facts.Pods(o) {
		if p.Status.Phase != corev1.PodRunning || p.Status.StartTime == nil || !p.Status.StartTime.After(failed.CreationTimestamp.Time) {
			continue
		}
		if asks(p, resource) {
			return true
		}
	}
	return false
}
