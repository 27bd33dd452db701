package facts

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
)

// Plugins are the pods on this node that run a node plugin (device plugin, CSI driver): they mount its socket's directory. names
// are words of the plugin's own name.
func Plugins(o *v1alpha1.Observation, dirs []string, names []string) []*corev1.Pod {
	var pods []*corev1.Pod
	for _, d := range dirs {
		for _, p := range Mounters(o, d) {
			if !slices.Contains(pods, p) {
				pods = append(pods, p)
			}
		}
	}
	// Where several mount the directory, the plugin's own name decides; where none carries it, all of them are meant.
	if named := keep(pods, func(p *corev1.Pod) bool { return carries(p, names) }); len(named) > 0 {
		return named
	}
	return pods
}

// RestartPlugin are the steps that have a node plugin start again: its pod recreated where it is one, its unit restarted where
// somebody runs it as a service of the node.
func RestartPlugin(o *v1alpha1.Observation, dirs []string, names []string, why string) []v1alpha1.Step {
	var steps []v1alpha1.Step
	pods := Plugins(o, dirs, names)
	for _, p := range pods {
		steps = append(steps, RenewPod(p, why)...)
	}
	if len(steps) > 0 {
		return steps
	}
	units := slices.Clone(o.LocalUnits)
	for _, u := range o.Units {
		units = append(units, u)
	}
	slices.SortFunc(units, func(a, b v1alpha1.Unit) int { return strings.Compare(a.Name, b.Name) })
	for _, u := range units {
		text := strings.ToLower(u.Name + " " + u.ExecStart)
		if u.Name == "" || !Has(text, lower(names)...) || slices.ContainsFunc(steps, func(s v1alpha1.Step) bool { return slices.Contains(s.Exec, u.Name) }) {
			continue
		}
		steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, why, "systemctl", "restart", u.Name))
	}
	return steps
}

func lower(words []string) []string {
	out := make([]string, 0, len(words))
	for _, w := range words {
		if w != "" {
			out = append(out, strings.ToLower(w))
		}
	}
	return out
}

func carries(p *corev1.Pod, names []string) bool {
	text := p.Name
	for _, c := range p.Spec.Containers {
		text += " " + strings.Join(c.Args, " ") + " " + strings.Join(c.Command, " ")
	}
	for _, v := range p.Spec.Volumes {
		if v.HostPath != nil {
			text += " " + v.HostPath.Path
		}
	}
	return Has(strings.ToLower(text), lower(names)...)
}
