package detectors

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// Judge runs every detector on one node's history and reduces what they say. An empty history has no findings. The result
// depends on the history alone, and its order is the order in which the remedies have to be applied.
//
// A finding outside the vocabulary is a defect of its detector, so Judge panics on one.
func Judge(h v1alpha1.History, detectors []Detector) []v1alpha1.Finding {
	if len(h) == 0 {
		return nil
	}
	var found []v1alpha1.Finding
	for _, d := range detectors {
		for _, f := range d.Judge(h) {
			if f.Node == "" {
				f.Node = h.Last().Node
			}
			if !failures.Known(f.Failure, f.Cause) || f.Failure != d.Failure() {
				panic(fmt.Sprintf("detector %s names %s/%s, which is not its vocabulary", d.Failure(), f.Failure, f.Cause))
			}
			found = append(found, f)
		}
	}
	return Reduce(found)
}

// Reduce merges findings of the same thing and folds those that another one covers into its Consequences, so that a consequence
// never stands beside its cause. A likely finding never covers a certain one: what is proven stays visible.
func Reduce(found []v1alpha1.Finding) []v1alpha1.Finding {
	found = dropWeaker(mergeSame(found))
	sortFindings(found)
	// coveredBy[i] is the finding that takes i in; the first in order wins, and of two that cover each other the first stays.
	coveredBy := make([]int, len(found))
	for i := range coveredBy {
		coveredBy[i] = -1
	}
	for i := range found {
		for j := range found {
			if i == j || coveredBy[j] >= 0 || root(coveredBy, i) == j || !covers(&found[i], &found[j]) {
				continue
			}
			coveredBy[j] = i
		}
	}
	out := make([]v1alpha1.Finding, 0, len(found))
	at := make(map[int]int, len(found))
	for i, f := range found {
		if coveredBy[i] < 0 {
			f.Consequences = slices.Clone(f.Consequences)
			at[i] = len(out)
			out = append(out, f)
		}
	}
	for i, f := range found {
		if coveredBy[i] < 0 {
			continue
		}
		top := &out[at[root(coveredBy, i)]]
		top.Consequences = appendNew(top.Consequences, f.Failure+"/"+f.Cause+of(f.Object)+": "+f.Summary)
		top.Consequences = appendNew(top.Consequences, f.Consequences...)
	}
	return out
}

func root(coveredBy []int, i int) int {
	for coveredBy[i] >= 0 {
		i = coveredBy[i]
	}
	return i
}

func covers(f, g *v1alpha1.Finding) bool {
	if f.Node != g.Node || (f.Certainty == v1alpha1.Likely && g.Certainty == v1alpha1.Certain) {
		return false
	}
	for _, p := range f.Covers {
		if p.Failure == g.Failure && (p.Cause == "" || p.Cause == g.Cause) && (p.Object == nil || sameObject(p.Object, g.Object)) {
			return true
		}
	}
	return false
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
		for _, p := range b.Covers {
			if !slices.ContainsFunc(a.Covers, func(q v1alpha1.Pattern) bool { return reflect.DeepEqual(p, q) }) {
				a.Covers = append(slices.Clone(a.Covers), p)
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

// order is the order in which remedies go: nothing can be deleted from a frozen filesystem, no restart helps without space,
// no certificate is judged right by a wrong clock, no kubelet finds its driver before the runtime runs with the right one.
// What is not named comes after, by the failure's number.
var order = []v1alpha1.Pattern{
	{Failure: "pleg", Cause: "runtime-io-stall"},
	{Failure: "disk-pressure", Cause: "imagefs-full"},
	{Failure: "disk-pressure", Cause: "nodefs-full"},
	{Failure: "disk-pressure", Cause: "inodes-exhausted"},
	{Failure: "sandbox-create", Cause: "disk-full"},
	{Failure: "sandbox-create", Cause: "inodes-exhausted"},
	{Failure: "sandbox-create", Cause: "snapshotter-unwritable"},
	{Failure: "clock-cert", Cause: "clock-skew"},
	{Failure: "clock-cert"},
	{Failure: "node-notready", Cause: "apiserver-unreachable"},
	{Failure: "node-notready", Cause: "apiserver-untrusted"},
	{Failure: "node-notready", Cause: "kubeconfig-broken"},
	{Failure: "sandbox-create"},
	{Failure: "pleg"},
	{Failure: "cgroup-driver", Cause: "cgroup-v1-refused"},
	{Failure: "swap"},
	{Failure: "cgroup-driver"},
	{Failure: "disk-pressure"},
	{Failure: "node-notready"},
	{Failure: "cni"},
}

func rank(f *v1alpha1.Finding) int {
	best := -1
	for i, p := range order {
		if p.Failure == f.Failure && (p.Cause == "" || p.Cause == f.Cause) {
			best = i
			break
		}
	}
	if best >= 0 {
		return best
	}
	ff, _ := failures.Lookup(f.Failure)
	return len(order) + ff.Number
}

func sortFindings(found []v1alpha1.Finding) {
	slices.SortStableFunc(found, func(a, b v1alpha1.Finding) int {
		return cmp.Or(
			cmp.Compare(a.Node, b.Node),
			cmp.Compare(rank(&a), rank(&b)),
			cmp.Compare(a.Failure, b.Failure),
			cmp.Compare(a.Cause, b.Cause),
			cmp.Compare(of(a.Object), of(b.Object)),
		)
	})
}
