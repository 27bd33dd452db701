package facts

import (
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
)

// ChangePod are the steps that give a pod's template another value, as an operator would: a strategic merge patch of the
// owner's template, or, where a pod has no owner, the pod deleted and created again with the change. spec is a partial
// PodSpec as the patch has it, change makes the same change on a PodSpec. ok is false, with the reason, where it cannot be
// done from here.
func ChangePod(p *corev1.Pod, why string, spec map[string]any, change func(*corev1.PodSpec)) (steps []v1alpha1.Step, reason string, ok bool) {
	kind, apiVersion, name := Owner(p)
	if Static(p) || kind == "Node" {
		return nil, "the pod is static: its manifest under /etc/kubernetes/manifests on the node has to be changed", false
	}
	switch kind {
	case "Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "ReplicationController":
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"spec": spec}}})
		if err != nil {
			return nil, "the change cannot be written as a patch", false
		}
		steps := []v1alpha1.Step{detectors.APIStep(why, v1alpha1.APIAction{
			Verb: v1alpha1.VerbPatch, APIVersion: apiVersion, Patch: string(patch),
			Object: &v1alpha1.ObjectRef{Kind: kind, Namespace: p.Namespace, Name: name},
		})}
		// The patch replaces the pods of a Deployment and, one at a time, of the other two. A StatefulSet waits for a broken pod
		// for ever, and a ReplicaSet replaces none: there the pod is deleted.
		if kind == "StatefulSet" || kind == "ReplicaSet" || kind == "ReplicationController" {
			steps = append(steps, detectors.DeletePod(p.Namespace, p.Name, "its owner makes it again with the change"))
		}
		return steps, "", true
	case "Pod":
		if StrippedEnv(p) {
			return nil, "the pod has no owner and environment values that were not read: change its manifest and create it again", false
		}
		manifest, err := Manifest(p, change)
		if err != nil {
			return nil, "the pod's manifest could not be written: " + err.Error(), false
		}
		return []v1alpha1.Step{
			detectors.DeletePod(p.Namespace, p.Name, "a pod without an owner cannot be changed in place: delete it and create it again"),
			detectors.APIStep(why, v1alpha1.APIAction{Verb: v1alpha1.VerbApply, Object: PodRef(p), Manifest: manifest}),
		}, "", true
	}
	return nil, fmt.Sprintf("the pod belongs to %s %s: change its template there", kind, name), false
}

// StrippedEnv tells that an observation does not hold all of the pod's environment.
func StrippedEnv(p *corev1.Pod) bool {
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for _, c := range list {
			for _, e := range c.Env {
				if e.ValueFrom == nil {
					return true
				}
			}
		}
	}
	return false
}

// Manifest is the pod as YAML to create it again, with a change: what the API server and the kubelet added is left out.
func Manifest(p *corev1.Pod, change func(*corev1.PodSpec)) (string, error) {
	spec := p.Spec.DeepCopy()
	change(spec)
	// The service account's token volume is added again at creation.
	token := map[string]bool{}
	spec.Volumes = keep(spec.Volumes, func(v corev1.Volume) bool {
		if v.Projected != nil && len(v.Name) > 16 && v.Name[:16] == "kube-api-access-" {
			token[v.Name] = true
			return false
		}
		return true
	})
	for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			list[i].VolumeMounts = keep(list[i].VolumeMounts, func(m corev1.VolumeMount) bool { return !token[m.Name] })
		}
	}
	pod := corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, Labels: p.Labels, Annotations: p.Annotations},
		Spec:       *spec,
	}
	raw, err := json.Marshal(pod)
	if err != nil {
		return "", err
	}
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		return "", err
	}
	delete(doc, "status")
	out, err := yaml.Marshal(doc)
	return string(out), err
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

// EachContainer changes the container of the name in a PodSpec.
func EachContainer(spec *corev1.PodSpec, name string, change func(*corev1.Container)) {
	for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				change(&list[i])
			}
		}
	}
}

// Regexp quotes a key for use in a sed or grep expression.
func Regexp(key string) string { return strings.ReplaceAll(key, ".", `\.`) }

// SetKubeletConfig is a script that sets a top-level key of the kubelet's configuration file, in place where the key is
// there, else at its alphabetical place, where kubeadm would have written it.
func SetKubeletConfig(key, value string) string {
	return fmt.Sprintf(`f=/var/lib/kubelet/config.yaml
awk -v k=%[1]s -v v=%[2]s '
$0 ~ "^" k ":" { print k ": " v; done = 1; next }
!done && /^[a-zA-Z]/ { split($0, w, ":"); if (w[1] > k) { print k ": " v; done = 1 } }
{ print }
END { if (!done) print k ": " v }' $f > $f.new
cat $f.new > $f
rm -f $f.new`, key, value)
}
