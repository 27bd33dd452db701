package detectors

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/causal"
)

// Judge runs every detector on one node's history and reduces what they say. An empty history has no findings. The result
// depends on the history alone, and its order is the order in which the remedies have to be applied.
func Judge(h v1alpha1.History, detectors []Detector) []v1alpha1.Finding {
	return Reduce(causal.Default(), Find(h, detectors))
}

// Find runs every detector on one node's history. A finding outside the vocabulary is a defect of its detector, so Find panics on
// one.
func Find(h v1alpha1.History, detectors []Detector) []v1alpha1.Finding {
	if len(h) == 0 {
		return nil
	}
	h = asked(h)
	var found []v1alpha1.Finding
	for _, d := range detectors {
		for _, f := range d.Judge(h) {
			f.Node, f.Failure = cmp.Or(f.Node, h.Last().Node), cmp.Or(f.Failure, d.Failure)
			if !failures.Known(f.Failure, f.Cause) || f.Failure != d.Failure {
				panic(fmt.Sprintf("detector %s names %s/%s, which is not its vocabulary", d.Failure, f.Failure, f.Cause))
			}
			found = append(found, withheld(f))
		}
	}
	return found
}

// asked takes the API server's view from looks that asked it for another name than the kubelet has, such as the node's address: that
// it has no such Node says nothing then, and no step may name one.
func asked(h v1alpha1.History) v1alpha1.History {
	out := h
	for i := range h {
		name := h[i].KubeletName()
		if name == "" || name == h[i].Node || h[i].API == nil || h[i].API.Node != nil {
			continue
		}
		if &out[0] == &h[0] {
			out = slices.Clone(h)
		}
		out[i].API = nil
		out[i].Unknown = append(slices.Clone(h[i].Unknown), v1alpha1.Unknown{What: v1alpha1.SourceAPI,
			Why: fmt.Sprintf("there is no Node %s; the kubelet calls itself %s", h[i].Node, name)})
	}
	return out
}

// Reduce merges findings of the same thing and folds those that the graph explains by another one into its Consequences, so that a
// consequence never stands beside its cause.
func Reduce(g *causal.Graph, found []v1alpha1.Finding) []v1alpha1.Finding {
	found = dropWeaker(mergeSame(found))
	slices.SortStableFunc(found, func(a, b v1alpha1.Finding) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(g.Rank(&a), g.Rank(&b)), cmp.Compare(of(a.Object), of(b.Object)))
	})
	// A cause stands before what it explains, so one pass is enough. in[i] is where finding i went.
	var out []v1alpha1.Finding
	in := make([]int, len(found))
	for i, f := range found {
		cause := slices.IndexFunc(found[:i], func(c v1alpha1.Finding) bool { return g.Explains(&c, &f) })
		if cause < 0 {
			in[i] = len(out)
			f.Consequences = slices.Clone(f.Consequences)
			out = append(out, f)
			continue
		}
		in[i] = in[cause]
		top := &out[in[i]]
		top.Consequences = appendNew(top.Consequences, f.Failure+"/"+f.Cause+of(f.Object)+": "+f.Summary)
		top.Consequences = appendNew(top.Consequences, f.Consequences...)
	}
	return out
}

// mergeSame makes one of findings with the same name about the same object: the first stays, the others' evidence joins it.
func mergeSame(found []v1alpha1.Finding) []v1alpha1.Finding {
	var out []v1alpha1.Finding
	for _, f := range found {
		i := slices.IndexFunc(out, func(g v1alpha1.Finding) bool {
			return g.Node == f.Node && g.Failure == f.Failure && g.Cause == f.Cause && sameObject(g.Object, f.Object)
		})
		if i < 0 {
			out = append(out, f)
			continue
		}
		a, b := out[i], f
		if a.Certainty == v1alpha1.Likely && b.Certainty == v1alpha1.Certain {
			a, b = b, a
		}
		a.Evidence = slices.Clone(a.Evidence)
		for _, e := range b.Evidence {
			if !slices.Contains(a.Evidence, e) {
				a.Evidence = append(a.Evidence, e)
			}
		}
		a.Consequences = appendNew(slices.Clone(a.Consequences), b.Consequences...)
		for _, o := range b.Affects {
			if !slices.Contains(a.Affects, o) {
				a.Affects = append(slices.Clone(a.Affects), o)
			}
		}
		if a.Remedy == nil {
			a.Remedy = b.Remedy
		}
		out[i] = a
	}
	return out
}

// dropWeaker drops a likely finding where the same failure of the same object has a certain one: the cause is known.
func dropWeaker(found []v1alpha1.Finding) []v1alpha1.Finding {
	return slices.DeleteFunc(slices.Clone(found), func(f v1alpha1.Finding) bool {
		return f.Certainty == v1alpha1.Likely && slices.ContainsFunc(found, func(g v1alpha1.Finding) bool {
			return g.Certainty == v1alpha1.Certain && g.Node == f.Node && g.Failure == f.Failure && sameObject(g.Object, f.Object)
		})
	})
}

func sameObject(a, b *v1alpha1.ObjectRef) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func appendNew(list []string, more ...string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

func of(o *v1alpha1.ObjectRef) string {
	if o == nil {
		return ""
	}
	if o.Namespace == "" {
		return " (" + o.Kind + " " + o.Name + ")"
	}
	return " (" + o.Kind + " " + o.Namespace + "/" + o.Name + ")"
}
