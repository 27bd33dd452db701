package facts

import "github.com/sickbay-dev/sickbay/api/v1alpha1"

// First asks judges, the nearest cause first, for the one finding that a node has, and adds what else is wrong with the node.
func First(h v1alpha1.History, judges ...func(v1alpha1.History) *v1alpha1.Finding) []v1alpha1.Finding {
	for _, judge := range judges {
		if f := judge(h); f != nil {
			f.Consequences = append(f.Consequences, Consequences(h.Last())...)
			return []v1alpha1.Finding{*f}
		}
	}
	return nil
}

// EachContainer asks judges, the nearest cause first, for every container of the node's pods. Of the same container in pods of one owner
// the first finding stands.
func EachContainer(h v1alpha1.History, judges ...func(v1alpha1.History, ContainerOf) *v1alpha1.Finding) (out []v1alpha1.Finding) {
	seen := map[string]bool{}
	for _, p := range Pods(h.Last()) {
		for _, c := range Containers(p) {
			key := GroupKey(p) + "/" + c.Spec.Name
			for _, judge := range judges {
				if seen[key] {
					break
				}
				if f := judge(h, c); f != nil {
					seen[key], f.Object = true, PodRef(p)
					out = append(out, *f)
				}
			}
		}
	}
	return out
}
