package facts

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
)

// ChangePod are the steps that give a pod's template another value, as an operator would: a strategic merge patch of the
// owner's template, or, where a pod has no owner, the pod made again with the change. spec is a partial PodSpec as the patch
// has it. ok is false, with the reason, where it cannot be done from here.
func ChangePod(p *corev1.Pod, why string, spec map[string]any) (steps []v1alpha1.Step, reason string, ok bool) {
	kind, apiVersion, name := Owner(p)
	if Static(p) || kind == "Node" {
		return nil, "the pod is static: its manifest under /etc/kubernetes/manifests on the node has to be changed", false
	}
	change := map[string]any{"spec": spec}
	switch kind {
	case "Pod":
	case "Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "ReplicationController":
		change = map[string]any{"spec": map[string]any{"template": change}}
	default:
		return nil, fmt.Sprintf("the pod belongs to %s %s: change its template there", kind, name), false
	}
	patch, err := json.Marshal(change)
	if err != nil {
		return nil, "the change cannot be written as a patch", false
	}
	if kind == "Pod" {
		return []v1alpha1.Step{detectors.RemakePod(p.Namespace, p.Name, string(patch), why)}, "", true
	}
	steps = []v1alpha1.Step{detectors.PatchOwner(v1alpha1.ObjectRef{Kind: kind, Namespace: p.Namespace, Name: name}, apiVersion, "", string(patch), why)}
	// The patch replaces the pods of a Deployment and, one at a time, of the other two. A StatefulSet waits for a broken pod
	// for ever, and a ReplicaSet replaces none: there the pod is evicted.
	if kind == "StatefulSet" || kind == "ReplicaSet" || kind == "ReplicationController" {
		steps = append(steps, detectors.EvictPod(p.Namespace, p.Name, "its owner makes it again with the change"))
	}
	return steps, "", true
}

// RenewPod are the steps that have the same pod made again: by its owner, or from what it is where it has none. There are none
// for a static pod, which the API cannot make again.
func RenewPod(p *corev1.Pod, why string) []v1alpha1.Step {
	kind, _, _ := Owner(p)
	switch {
	case Static(p) || kind == "Node":
		return nil
	case kind == "Pod":
		return []v1alpha1.Step{detectors.RemakePod(p.Namespace, p.Name, "", why)}
	}
	return []v1alpha1.Step{detectors.EvictPod(p.Namespace, p.Name, why)}
}

func keep[T any](list []T, want func(T) bool) []T {
	var out []T
	for _, v := range list {
		if want(v) {
			out = append(out, v)
		}
	}
	return out
}

// SetKubeletConfig sets a top-level key of the kubelet's configuration: in the file that decides, which is the last of those that are
// merged to set it, else in the first, at its alphabetical place, where kubeadm would have written it.
func SetKubeletConfig(o *v1alpha1.Observation, why, key, value string) v1alpha1.Step {
	files := o.Kubelet.ConfigFiles
	if len(files) == 0 {
		files = []string{"/var/lib/kubelet/config.yaml"}
	}
	return detectors.EditFile(v1alpha1.Safe, o.Node, why, files, `f=$1
for c; do if [ -f "$c" ] && grep -Eq '^([[:space:]]*")?'"$key"'"?[[:space:]]*:' "$c"; then f=$c; fi; done
if head -c1 -- "$f" | grep -q '{'; then new=$(jq --arg k "$key" --argjson v "$value" '.[$k] = $v' "$f")
else new=$(k="$key" v="$value" awk '
BEGIN { k = ENVIRON["k"]; v = ENVIRON["v"] }
FNR == NR { if ($0 ~ "^\"?" k "\"?[ \t]*:") there = 1; next }
$0 ~ "^\"?" k "\"?[ \t]*:" { print k ": " v; done = 1; next }
!there && !done && /^[a-zA-Z]/ { split($0, w, ":"); if (w[1] > k) { print k ": " v; done = 1 } }
{ print }
END { if (!done) print k ": " v }' "$f" "$f"); fi
printf '%s\n' "$new" > "$f"`, detectors.V("key", key), detectors.V("value", value))
}
