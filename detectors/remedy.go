package detectors

import (
	"fmt"
	"slices"
	"strings"

	"al.essio.dev/pkg/shellescape"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// Place is the node a remedy is for, and what reaches it.
type Place struct {
	Node string
	// API tells that the API server answers, so that cordon, drain and other API steps can be had.
	API bool
	// Cordoned nodes were cordoned by somebody: they stay so.
	Cordoned bool
}

// NodeStep runs plain words on the node.
func NodeStep(node, why string, argv ...string) v1alpha1.Step {
	return finish(v1alpha1.Step{On: node, Why: why, Exec: argv})
}

// ShellStep runs a shell script on the node; it stops at the first command that fails.
func ShellStep(node, why, script string) v1alpha1.Step {
	return finish(v1alpha1.Step{On: node, Why: why, Exec: []string{"sh", "-ec", script}})
}

// RestoreStep puts a file of the node's image or package back.
func RestoreStep(node, path, why string) v1alpha1.Step {
	return finish(v1alpha1.Step{On: node, Why: why, Restore: path})
}

// APIStep changes something through the API server.
func APIStep(why string, a v1alpha1.APIAction) v1alpha1.Step {
	return finish(v1alpha1.Step{Why: why, API: &a})
}

// DeletePod deletes a pod, for its owner to make it again.
func DeletePod(namespace, name, why string) v1alpha1.Step {
	return APIStep(why, v1alpha1.APIAction{Verb: v1alpha1.VerbDelete, Object: &v1alpha1.ObjectRef{Kind: "Pod", Namespace: namespace, Name: name}})
}

// WaitReady waits until the node is Ready.
func WaitReady(node string) v1alpha1.Step {
	return APIStep("the kubelet reports the node Ready again", v1alpha1.APIAction{Verb: v1alpha1.VerbWaitReady, Object: nodeRef(node)})
}

// Restart restarts a unit and waits for it.
func Restart(node, unit, why string) v1alpha1.Step {
	return NodeStep(node, why, "systemctl", "restart", unit)
}

// NewRemedy makes a plan of the steps. Those on the node that disturb running pods are bracketed: cordon before the first
// (and drain, where pods would be lost), uncordon at the end, unless the node was cordoned before. A plan without steps is nil.
func (p Place) NewRemedy(name string, steps ...v1alpha1.Step) *v1alpha1.Remedy {
	if !p.API {
		steps = slices.DeleteFunc(slices.Clone(steps), func(s v1alpha1.Step) bool { return s.API != nil })
	}
	if len(steps) == 0 {
		return nil
	}
	first, loses := -1, false
	for i, s := range steps {
		if s.API == nil && s.Disruptive {
			if first < 0 {
				first = i
			}
			loses = loses || s.LosesPods
		}
	}
	if first < 0 || !p.API {
		return &v1alpha1.Remedy{Name: name, Steps: steps}
	}
	plan := slices.Clone(steps[:first])
	if !p.Cordoned {
		plan = append(plan, APIStep("no new pod lands here while pods are disturbed", v1alpha1.APIAction{Verb: v1alpha1.VerbCordon, Object: nodeRef(p.Node)}))
	}
	if loses {
		plan = append(plan, APIStep("the next step takes running pods down: their owners move them first", v1alpha1.APIAction{Verb: v1alpha1.VerbDrain, Object: nodeRef(p.Node)}))
	}
	plan = append(plan, steps[first:]...)
	if !p.Cordoned {
		plan = append(plan, APIStep("the node takes pods again", v1alpha1.APIAction{Verb: v1alpha1.VerbUncordon, Object: nodeRef(p.Node)}))
	}
	return &v1alpha1.Remedy{Name: name, Steps: plan}
}

func nodeRef(name string) *v1alpha1.ObjectRef { return &v1alpha1.ObjectRef{Kind: "Node", Name: name} }

// finish derives Run, the command an operator would type.
func finish(s v1alpha1.Step) v1alpha1.Step {
	switch {
	case s.API != nil:
		s.Run = kubectl(s.API)
	case s.Restore != "":
		s.Run = fmt.Sprintf("docker cp \"$(docker create \"$(docker inspect -f '{{.Config.Image}}' %s)\")\":%s - | docker cp - %s:%s",
			Quote(s.On), Quote(s.Restore), Quote(s.On), Quote(s.Restore[:strings.LastIndex(s.Restore, "/")+1]))
	default:
		words := make([]string, len(s.Exec))
		for i, w := range s.Exec {
			words[i] = Quote(w)
		}
		s.Run = strings.Join(words, " ")
	}
	return s
}

func kubectl(a *v1alpha1.APIAction) string {
	var name, kind, in string
	if a.Object != nil {
		name, kind = Quote(a.Object.Name), strings.ToLower(a.Object.Kind)
		if a.Object.Namespace != "" {
			in = " -n " + Quote(a.Object.Namespace)
		}
	}
	switch a.Verb {
	case v1alpha1.VerbCordon, v1alpha1.VerbUncordon:
		return "kubectl " + a.Verb + " " + name
	case v1alpha1.VerbDrain:
		return "kubectl drain " + name + " --ignore-daemonsets --delete-emptydir-data --timeout=60s"
	case v1alpha1.VerbWaitReady:
		return "kubectl wait --for=condition=Ready node/" + name + " --timeout=120s"
	case v1alpha1.VerbDelete:
		return "kubectl delete" + in + " " + kind + " " + name
	case v1alpha1.VerbPatch:
		sub := ""
		if a.Subresource != "" {
			sub = " --subresource " + a.Subresource
		}
		return "kubectl patch" + in + " " + kind + " " + name + sub + " --type=strategic -p " + Quote(a.Patch)
	case v1alpha1.VerbApply:
		return "kubectl apply -f - <<'EOF'\n" + strings.TrimRight(a.Manifest, "\n") + "\nEOF"
	case v1alpha1.VerbRenewClientCert:
		return "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /O=system:nodes/CN=system:node:" + name +
			" …; kubectl create -f csr.yaml; kubectl certificate approve …; kubectl get csr … -o jsonpath={.status.certificate}"
	}
	return "kubectl " + a.Verb + in + " " + kind + " " + name
}

// Quote quotes a word for a POSIX shell where it needs it.
func Quote(w string) string { return shellescape.Quote(w) }
