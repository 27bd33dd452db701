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
	if out = refused(h, out); len(out) == 0 {
		return withheld(h) // a plugin that is gone or refuses explains it
	}
	return out
}

// withholds are the words of what puts a device into a container after the kubelet was given one, and what a person does about it. The
// first group is the reason. What the image itself asks for ("requirement error") is no illness of the node.
var withholds = []struct {
	says *regexp.Regexp
	todo string
}{
	{regexp.MustCompile(`(?i)(?:nvidia|nvml)[^\n"]*?((?:nvml error: )?driver/library version mismatch)`),
		"the driver's libraries were updated, and the kernel has the modules of the old one still (`cat /proc/driver/nvidia/version` against `modinfo -F version nvidia`): drain the node and reboot it"},
	{regexp.MustCompile(`nvidia-container-cli: ((?:initialization|detection|ldcache) error: [^\n"\\]+)`),
		"the node's driver does not work: see `nvidia-smi` and `lsmod | grep nvidia` on the node, install or load the driver, then restart what installs the container toolkit"},
	{regexp.MustCompile(`nvidia-container-cli: ((?:device|mount|container|permission) error: [^\n"\\]+)`),
		"the device that the plugin gave is not there any more or cannot be used: see `nvidia-smi -L` and the kernel's log (Xid) on the node; a new process of the plugin takes stock of its devices"},
	{regexp.MustCompile(`device plugin PreStartContainer rpc failed with err: ([^\n"\\]+)`),
		"the plugin does not make the device ready for the container, or has ended meanwhile: its own log says why"},
	{regexp.MustCompile(`((?:CDI device injection failed: )?unresolvable CDI devices [^\n"\\]+|CDI device injection failed: [^\n"\\]+)`),
		"no CDI specification on the node names that device: `ls /etc/cdi /var/run/cdi`; its vendor's plugin or toolkit writes them when it starts (NVIDIA: `nvidia-ctk cdi generate`)"},
}

// noDevice is a device file that the runtime was told to give to a container and that is not there.
var noDevice = regexp.MustCompile(`(l?stat /dev/\S+: no such file or directory)`)

// withheld: the kubelet was given a device, and what hands it to the container cannot.
func withheld(h v1alpha1.History) []v1alpha1.Finding {
	o := h.Last()
	for _, c := range facts.CreateFailures(h) {
		p := facts.Pod(o, c.Namespace, c.Pod)
		resource := ""
		if p != nil {
			resource = asked(p)
		}
		ways := withholds
		if resource != "" {
			ways = append(slices.Clip(ways), struct {
				says *regexp.Regexp
				todo string
			}{noDevice, "the device that the plugin gave is not there any more: see the kernel's log for why it went; a new process of the plugin takes stock of its devices"})
		}
		for _, w := range ways {
			m := w.says.FindStringSubmatch(c.Message)
			if m == nil {
				continue
			}
			return []v1alpha1.Finding{{
				Cause: "allocate-failed", Certainty: v1alpha1.Certain, Object: &v1alpha1.ObjectRef{Kind: "Pod", Namespace: c.Namespace, Name: c.Pod},
				Summary:      fmt.Sprintf("a device of %s cannot be put into a container: %s", cmp.Or(resource, "this node"), facts.Short(strings.TrimSuffix(m[1], ": unknown"))),
				Evidence:     []v1alpha1.Evidence{c.Evidence},
				ManualAction: w.todo,
			}}
		}
	}
	return nil
}

// asked is the extended resource that a pod asks for, the first by name.
func asked(p *corev1.Pod) (resource string) {
	for _, c := range p.Spec.Containers {
		for k := range c.Resources.Limits {
			if strings.Contains(string(k), "/") && (resource == "" || string(k) < resource) {
				resource = string(k)
			}
		}
	}
	return resource
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
	return `"` + words.GotRegistration + `" resourceName="` + resource
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

// relatives are how many devices the node has now of other resources of the same vendor, and whether it had all of those kinds before, as
// far as a look or the kubelet tells: it had not what was registered since the plugin of this one ended.
func relatives(h v1alpha1.History, name string, ended time.Time) (now int64, before bool) {
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
		if l, ok := facts.LastLine(h, "kubelet", remembered, registrationOf(other)); ok && a > 0 && !ended.IsZero() && l.At.After(ended) {
			before = false
		}
	}
	return now, before
}

// offer is what is known of a resource and of the plugin that gives it.
type offer struct {
	o                           *v1alpha1.Observation
	name                        string
	capacity, allocatable, most int64 // of the Node object now, and the most of them allocatable at any look
	ended                       v1alpha1.LogLine
	endedSaid                   bool // the kubelet said that the plugin's stream ended
	registeredSaid              bool // the kubelet said that it registered
	down                        bool // it ended, and has not registered since
	socket                      *v1alpha1.PluginSocket
	listening                   bool  // its socket answers, or, where it is not known, any
	unread                      bool  // the sockets could not be read
	given                       int64 // devices of other resources of the same vendor
	givenBefore                 bool  // the node had all of those kinds before
}

func look(h v1alpha1.History, name string) offer {
	o := h.Last()
	f := offer{o: o, name: name, most: hadBefore(h, name)}
	f.capacity, f.allocatable = amounts(o.API.Node, name)
	f.ended, f.endedSaid = facts.LastLine(h, "kubelet", remembered, words.ListAndWatchEndedUnexpectedly, name)
	registered, said := facts.LastOf(h, "kubelet", remembered, `"`+words.DeviceConnected+`" resourceName="`+name, registrationOf(name))
	f.registeredSaid = said
	f.down = f.endedSaid && (!said || registered.At.Before(f.ended.At))
	for i := range o.Sockets {
		s := &o.Sockets[i]
		if s.Kind == "device-plugin" && serves(s.Name, name) {
			f.socket = s
		}
	}
	f.listening = slices.ContainsFunc(o.Sockets, func(s v1alpha1.PluginSocket) bool {
		return s.Kind == "device-plugin" && s.Answers == "ok" && (f.socket == nil || s.Path == f.socket.Path)
	})
	_, f.unread = o.Unreadable(v1alpha1.SourceSockets)
	f.given, f.givenBefore = relatives(h, name, f.ended.At)
	return f
}

// refuses tells that the plugin's own socket is there and does not answer.
func (f offer) refuses() bool { return f.socket != nil && f.socket.Answers != "ok" }

// absent tells that no plugin of it answers, as far as its sockets were read.
func (f offer) absent() bool { return !f.unread && !f.listening }

// never tells that nobody remembers any device of it.
func (f offer) never() bool { return f.capacity == 0 && f.most == 0 }

// state is what has become of a plugin.
type state int

const (
	fine        state = iota
	gone              // proven by the kubelet's words, by its socket, or by its devices that are no more
	silent            // the node offers none, and no socket of it was found
	renamed           // its devices may be offered under another name now
	restarted         // it runs, and the kubelet was started since without hearing of it
	forgotten         // the same, and nobody remembers its devices: but a pod wants one
	uninstalled       // the node lists what it once gave, and a pod waits that may run nowhere else
	unhealthy         // it reports some of its devices unhealthy
)

func (f offer) state() state {
	vanished, none := f.vanished(), f.none()
	lost, missed := none || vanished, f.never() && f.absent()
	switch {
	case missed && len(wantedBy(f.o, f.name)) > 0 && len(facts.DevicePlugin(f.o, f.name)) > 0:
		return forgotten
	case missed && f.listed() && len(aimedHere(f.o, f.name)) > 0:
		return uninstalled
	case f.complete():
		return fine
	case lost && f.traded():
		if !f.givenBefore {
			return fine
		}
		return renamed
	case vanished, none && (f.down || f.refuses()):
		return gone
	case none:
		return silent
	case f.allocatable == 0 && f.unheard():
		return restarted
	case f.allocatable < f.capacity:
		return unhealthy
	}
	return fine
}

// listed tells that the node's object has the resource, be it with none of it.
func (f offer) listed() bool {
	_, ok := f.o.API.Node.Status.Capacity[corev1.ResourceName(f.name)]
	return ok
}

// vanished: its devices are remembered, and the node has none of them any more.
func (f offer) vanished() bool { return f.capacity == 0 && f.most > 0 }

// complete: all devices there are, are allocatable, and no more were remembered.
func (f offer) complete() bool {
	return f.capacity <= f.allocatable && (f.most == 0 || f.allocatable >= f.most && f.capacity >= f.most)
}

// none: nothing is allocatable, and the plugin's silence is seen.
func (f offer) none() bool {
	return f.allocatable == 0 && (f.down || f.refuses() || f.absent() && len(f.o.Sockets) > 0 && f.socket == nil)
}

// traded: a plugin that was told to offer its devices otherwise (MIG, time slices, another pool) gives up one resource for another.
func (f offer) traded() bool {
	return (f.listening || f.unread) && !f.refuses() && f.given > 0
}

// unheard: the plugin listens, and the kubelet was started since without hearing of it.
func (f offer) unheard() bool {
	return f.listening && !f.registeredSaid && !f.down && f.kubeletIsYoung()
}

func (f offer) kubeletIsYoung() bool {
	return f.o.At.Sub(f.o.Units[facts.KubeletUnitName(f.o)].ActiveSince) < remembered
}

func (f offer) evidence() []v1alpha1.Evidence {
	ev := []v1alpha1.Evidence{facts.Seen(f.o, "api.node", fmt.Sprintf("%s: capacity %d, allocatable %d", f.name, f.capacity, f.allocatable))}
	if f.most > f.allocatable {
		ev[0].Text += fmt.Sprintf(", %d before", f.most)
	}
	if f.socket != nil {
		ev = append(ev, facts.Seen(f.o, v1alpha1.SourceSockets, fmt.Sprintf("%s: %s", f.socket.Path, f.socket.Answers)))
	}
	return ev
}

func devices(h v1alpha1.History, name string) *v1alpha1.Finding {
	of := look(h, name)
	is := of.state()
	if is == fine {
		return nil
	}
	f := &v1alpha1.Finding{Object: &v1alpha1.ObjectRef{Kind: "Resource", Name: name}, Certainty: v1alpha1.Certain, Evidence: of.evidence()}
	for _, p := range wantedBy(of.o, name) {
		f.Consequences = append(f.Consequences, "pod "+p+" wants "+name)
	}
	if is == unhealthy {
		of.unhealthy(h, f)
	} else {
		of.pluginDown(is, f)
	}
	return f
}

func (f offer) restart(remedy string) (*v1alpha1.Remedy, string) {
	steps, reason := facts.RestartPlugin(f.o, facts.DevicePlugin(f.o, f.name), f.name, "the plugin registers with the kubelet when it starts")
	return facts.Place(f.o).NewRemedy(remedy, steps...), reason
}

func (f offer) pluginDown(is state, out *v1alpha1.Finding) {
	out.Cause = "plugin-down"
	switch is {
	case restarted, forgotten:
		out.Summary = "the device plugin of " + f.name + " runs, and has not registered again since the kubelet started"
	case uninstalled:
		out.Summary = "no device plugin of " + f.name + " has registered since the kubelet started, and pod " + aimedHere(f.o, f.name)[0] + " may run on no other node"
	default:
		out.Summary = "the device plugin of " + f.name + " is gone: the node offers none of its devices"
	}
	if f.endedSaid {
		out.Evidence = append(out.Evidence, facts.FromLine(f.ended))
	}
	if e, ok := facts.Alive(f.o, facts.DevicePlugin(f.o, f.name), "may be its plugin"); ok {
		out.Evidence = append(out.Evidence, e)
	}
	if is == silent || is == renamed {
		out.Certainty, out.ToConfirm = v1alpha1.Likely, "whether the plugin's process runs: its pod or unit, and its socket below "+facts.KubeletRoot(f.o)+"/device-plugins"
	}
	if is == renamed {
		out.ManualAction = "other devices of the same vendor are offered: if its plugin was told to offer them so, ask for those; else restart the plugin"
		return
	}
	var reason string
	if out.Remedy, reason = f.restart("restart-plugin"); out.Remedy == nil {
		out.ManualAction = reason
	}
}

func (f offer) unhealthy(h v1alpha1.History, out *v1alpha1.Finding) {
	out.Cause = "device-unhealthy"
	out.Summary = fmt.Sprintf("the device plugin of %s reports %d of %d devices unhealthy", f.name, max(f.capacity-f.allocatable, f.most-f.allocatable), f.capacity)
	known := f.socket != nil && f.listening || f.registeredSaid
	if l, ok := facts.LastLine(h, "kubelet", remembered, words.ProcessedDeviceUpdates, f.name); ok {
		out.Evidence = append(out.Evidence, facts.FromLine(l))
		known = true
	}
	// A socket that answers is the plugin's only if it is known to be.
	if !known {
		out.Certainty, out.ToConfirm = v1alpha1.Likely, "the plugin's own log, and its socket below "+facts.KubeletRoot(f.o)+"/device-plugins: a plugin that is gone looks the same for five minutes"
	}
	if out.Remedy, out.ManualAction = f.restart("reset-devices"); out.Remedy != nil {
		out.ManualAction = "if a new plugin process finds the devices unhealthy as well, the driver or the hardware is: see the plugin's log and dmesg"
	}
}

var wants = regexp.MustCompile(`Allocate failed due to (.*)`)

// lostDevice is what NVIDIA's library says of a device that fell off its bus.
var lostDevice = regexp.MustCompile(`(?i)\bGPU is lost\b`)

// died is how the kubelet tells of a plugin that ended while it was asked, or before: gRPC's words, not the plugin's own.
var died = regexp.MustCompile(`code = Unavailable|client connection is closing|endpoint .*has been stopped`)

// ended tells of a plugin that ended when it was to allocate: with out, what is known of it already. It may serve again.
func ended(h v1alpha1.History, out []v1alpha1.Finding, p *corev1.Pod, resource string, why v1alpha1.Evidence) []v1alpha1.Finding {
	o, f := h.Last(), look(h, resource)
	turned := "pod " + p.Namespace + "/" + p.Name + " was turned away, and stays Failed"
	i := slices.IndexFunc(out, func(f v1alpha1.Finding) bool { return f.Cause == "plugin-down" && f.Object.Name == resource })
	switch {
	case i >= 0:
		out[i].Evidence, out[i].Consequences = append(out[i].Evidence, why), append(out[i].Consequences, turned)
		readmit(f, &out[i], p)
		return out
	case f.down || f.refuses() || f.absent() && o.Looked(v1alpha1.SourceSockets):
		d := v1alpha1.Finding{Certainty: v1alpha1.Certain, Object: &v1alpha1.ObjectRef{Kind: "Resource", Name: resource}, Evidence: append(f.evidence(), why), Consequences: []string{turned}}
		f.pluginDown(gone, &d)
		readmit(f, &d, p)
		d.Summary = "the device plugin of " + resource + " is gone: it did not answer when a device was to be allocated"
		return append(out, d)
	}
	d := v1alpha1.Finding{Cause: "allocate-failed", Certainty: v1alpha1.Certain, Object: facts.PodRef(p), Evidence: []v1alpha1.Evidence{why},
		Summary:      "the device plugin of " + resource + " ended when it was to allocate, or just before; it is not seen to be gone now",
		ManualAction: "see the log of the plugin's process before (`kubectl logs --previous`) for why it ended: if it ends again at the next pod, its fault is there"}
	if f.unread {
		d.Certainty, d.ToConfirm = v1alpha1.Likely, "whether the plugin serves: its socket below "+facts.KubeletRoot(o)+"/device-plugins"
	}
	d.Remedy = facts.Place(o).NewRemedy("renew-pod", facts.RenewPod(p, "a pod that was turned away stays Failed for ever")...)
	return append(out, d)
}

// readmit has a remedy that restarts the plugin make the pod again as well that was turned away.
func readmit(f offer, d *v1alpha1.Finding, p *corev1.Pod) {
	if d.Remedy == nil || len(facts.RenewPod(p, "")) == 0 {
		return
	}
	steps, _ := facts.RestartPlugin(f.o, facts.DevicePlugin(f.o, f.name), f.name, "the plugin registers with the kubelet when it starts")
	if wait := awaitRegistration(f.o, f.name); wait != nil {
		steps = append(steps, *wait)
	}
	d.Remedy = facts.Place(f.o).NewRemedy(d.Remedy.Name, append(steps, facts.RenewPod(p, "a pod that was turned away stays Failed for ever")...)...)
}

// refused adds the pods that the kubelet turned away lately because the plugin would not allocate.
func refused(h v1alpha1.History, out []v1alpha1.Finding) []v1alpha1.Finding {
	o := h.Last()
	seen := map[string]bool{}
	for i := range o.API.Pods {
		p := &o.API.Pods[i]
		if p.Status.Reason != "UnexpectedAdmissionError" || !strings.Contains(p.Status.Message, words.AllocateFailed) || p.DeletionTimestamp != nil {
			continue
		}
		resource := asked(p)
		if now := facts.APINow(o); now.Sub(p.CreationTimestamp.Time) > 10*time.Minute || servedSince(o, p, resource) || seen[facts.GroupKey(p)] {
			continue
		}
		seen[facts.GroupKey(p)] = true
		reason := p.Status.Message
		if m := wants.FindStringSubmatch(reason); m != nil {
			reason = m[1]
		}
		end := facts.Seen(o, "api.pods", fmt.Sprintf("pod %s/%s %s: %s", p.Namespace, p.Name, p.Status.Reason, p.Status.Message))
		if resource != "" && (died.MatchString(reason) || strings.Contains(reason, "code = DeadlineExceeded") && look(h, resource).refuses()) {
			out = ended(h, out, p, resource, end)
			continue
		}
		if !facts.Has(reason, "rpc error", "rpc failed") {
			continue // the kubelet's own managers say that, of devices, CPUs or memory: the plugin was not asked, or did not refuse
		}
		f := v1alpha1.Finding{
			Cause: "allocate-failed", Certainty: v1alpha1.Certain, Object: facts.PodRef(p),
			Summary:  fmt.Sprintf("the device plugin of %s refuses to allocate: %s", resource, facts.Short(reason)),
			Evidence: []v1alpha1.Evidence{end},
		}
		steps, why := facts.RestartPlugin(o, facts.DevicePlugin(o, resource), resource, "a new plugin process takes stock of its devices")
		if lost := lostDevice.FindString(reason); lost != "" {
			steps, why = nil, lost+", and no new plugin process brings it back: see `nvidia-smi` and the kernel's log (Xid) on the node, drain it and reboot the machine"
		}
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
		step := detectors.ShellStep(v1alpha1.Safe, o.Node, "the kubelet must know the plugin's new process before a pod asks for a device", `for _ in $(seq 60); do
  if [ -S "$s" ] && journalctl --unit="$unit" -o cat --since "@$(stat -c %Y -- "$s")" | grep -qF -- "$says"; then exit 0; fi
  sleep 1
done
echo "no plugin of $resource registered with the kubelet within a minute" >&2
exit 1`, detectors.V("s", s.Path), detectors.V("unit", facts.KubeletUnitName(o)), detectors.V("says", registrationOf(resource)), detectors.V("resource", resource))
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
