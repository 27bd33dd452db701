package facts

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/causal"
)

// CSIPlugin are the pods on this node that run a CSI driver: they mount its own folder, or mount the folder of all and name the driver.
// That a pod mounts the folder of all says nothing: every driver's does.
func CSIPlugin(o *v1alpha1.Observation, driver, folder string) []*corev1.Pod {
	if own := Mounters(o, folder); len(own) > 0 {
		return own
	}
	return keep(append(Mounters(o, KubeletRoot(o)+"/plugins_registry"), Mounters(o, KubeletRoot(o)+"/plugins")...), func(p *corev1.Pod) bool { return mentions(p, driver) })
}

// DevicePlugin are the pods on this node that offer a resource, such as nvidia.com/gpu: of those that mount the folder of the plugins'
// sockets the ones that name the resource best.
func DevicePlugin(o *v1alpha1.Observation, resource string) []*corev1.Pod {
	var best []*corev1.Pod
	most := 0
	for _, p := range Mounters(o, KubeletRoot(o)+"/device-plugins") {
		_, _, owner := Owner(p)
		text := p.Name + " " + owner
		for _, c := range p.Spec.Containers {
			text += " " + c.Name + " " + path.Base(c.Image)
		}
		score := named(text, resource)
		switch {
		case mentions(p, resource):
			score = 4
		case score == 0 && named(p.Namespace, resource) > 0:
			score = 1
		}
		if score > most {
			best, most = nil, score
		}
		if score > 0 && score == most {
			best = append(best, p)
		}
	}
	return best
}

// Alive says of the first of a plugin's pods that runs that it does: then whatever is missing did not end with it.
func Alive(o *v1alpha1.Observation, pods []*corev1.Pod, what string) (v1alpha1.Evidence, bool) {
	for _, p := range pods {
		if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil && !slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return !c.Ready }) && !Silent(o) {
			return Seen(o, "api.pods", "pod "+p.Namespace+"/"+p.Name+causal.Alive+" "+what), true
		}
	}
	return v1alpha1.Evidence{}, false
}

// generic are words that the names of many resources and plugins have.
var generic = []string{"device", "devices", "plugin", "plugins", "node", "manager", "kube", "k8s", "kubernetes", "com", "org", "net", "dev", "example", "smart"}

// named tells how well a text names a resource: 3 by all words of its kind, 2 by one word of its kind or its vendor, 0 not at all.
func named(text, resource string) int {
	words := split(text)
	vendor, kind, _ := strings.Cut(resource, "/")
	if k := split(kind); len(k) > 0 && !slices.ContainsFunc(k, func(w string) bool { return !slices.Contains(words, w) }) {
		return 3
	}
	for _, w := range append(split(kind), split(vendor)...) {
		if len(w) > 2 && !slices.Contains(generic, w) && slices.ContainsFunc(words, func(s string) bool { return strings.HasPrefix(s, w) || strings.HasSuffix(s, w) }) {
			return 2
		}
	}
	return 0
}

func split(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return strings.ContainsRune("-_./: @", r) })
}

// mentions tells that a pod's command line or environment has the name, and not as a part of a longer one.
func mentions(p *corev1.Pod, name string) bool {
	whole := regexp.MustCompile(`(^|[^A-Za-z0-9.-])` + regexp.QuoteMeta(name) + `($|[^A-Za-z0-9.-])`)
	for _, c := range p.Spec.Containers {
		text := slices.Concat(c.Command, c.Args)
		for _, e := range c.Env {
			text = append(text, e.Value)
		}
		if whole.MatchString(strings.Join(text, " ")) {
			return true
		}
	}
	return false
}

// RestartPlugin is the step that has a node plugin start again, or the reason why there is none: its one pod made again, or the one
// unit that names it restarted.
func RestartPlugin(o *v1alpha1.Observation, pods []*corev1.Pod, name, why string) (steps []v1alpha1.Step, reason string) {
	slices.SortStableFunc(pods, func(a, b *corev1.Pod) int { return strings.Compare(a.Namespace+a.Name, b.Namespace+b.Name) })
	pods = slices.Compact(pods)
	if len(pods) > 1 {
		pods = keep(pods, func(p *corev1.Pod) bool { kind, _, _ := Owner(p); return kind == "DaemonSet" })
	}
	switch {
	case len(pods) > 1:
		return nil, fmt.Sprintf("%d pods on this node may be the plugin of %s, %s/%s among them: restart the one that is", len(pods), name, pods[0].Namespace, pods[0].Name)
	case len(pods) == 1:
		p := pods[0]
		for _, c := range Containers(p) {
			if w := c.Status.State.Waiting; w != nil {
				return nil, fmt.Sprintf("%s is the plugin's, and waits: %s %s", c.Where(), w.Reason, Short(w.Message))
			}
		}
		if steps = RenewPod(p, why); len(steps) == 0 {
			reason = "pod " + p.Namespace + "/" + p.Name + " is the plugin, and static: restart it by its manifest on the node"
		}
		return steps, reason
	}
	units := keep(Units(o), func(u v1alpha1.Unit) bool {
		return named(u.Name, name) == 3 || strings.Contains(u.ExecStart, name)
	})
	if len(units) != 1 {
		return nil, "no pod or unit on this node is known to be the plugin of " + name + ": deploy it, or restart it where it runs"
	}
	return []v1alpha1.Step{detectors.NodeStep(v1alpha1.Disruptive, o.Node, why, "systemctl", "restart", units[0].Name)}, ""
}

// Units are the services that were looked at, by name, each once.
func Units(o *v1alpha1.Observation) []v1alpha1.Unit {
	units := slices.Clone(o.LocalUnits)
	for _, u := range o.Units {
		units = append(units, u)
	}
	slices.SortFunc(units, func(a, b v1alpha1.Unit) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(keep(units, func(u v1alpha1.Unit) bool { return u.Name != "" }), func(a, b v1alpha1.Unit) bool { return a.Name == b.Name })
}
