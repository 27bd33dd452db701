// Package causal says which failure brings about which other one on a node, and which has to be treated first.
//
// It is one table of edges (edges.go). Everything that depends on it is computed from it: which findings are folded into their
// cause, the order of remedies, what `sickbay explain` shows, and the picture in docs/causes.md. The package knows the vocabulary
// and the type of a finding, nothing else.
package causal

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// Scope is what From and To have to share for the edge to hold.
type Scope string

// The scopes of an edge.
const (
	// Node: both are of the same node. From explains To.
	Node Scope = "node"
	// Object: both are about the same pod, or To is about one that From affects. From explains To.
	Object Scope = "object"
	// Order: From explains nothing of To, but has to be treated before it.
	Order Scope = "order"
)

// Edge leads from a cause to what it brings about, or to what has to wait for its remedy.
type Edge struct {
	From, To string // "failure/cause"
	Scope    Scope
	// Says are words of which the evidence of To must have one, where To also happens without From.
	Says []string
	// Unless are words of which the evidence of To must have none: with one of them it has a cause of its own beside From.
	Unless []string
	// Why is the mechanism, in a few words.
	Why string
	// Needs names what fails without this edge: the folder of a recording, or "failure: case".
	Needs string
	// Limit names the case that fails where Says, Unless or the scope Object is left out.
	Limit string
}

// Graph is a set of edges that was checked.
type Graph struct {
	edges []Edge
	rank  map[string]int
}

// Default is the graph of the table. It panics where the table is wrong; a test holds that it is not.
var Default = sync.OnceValue(func() *Graph {
	g, err := New(Names(), edges)
	if err != nil {
		panic(err)
	}
	return g
})

// Names is the vocabulary, "failure/cause", in its own order.
func Names() []string {
	var out []string
	for _, f := range failures.All() {
		for _, c := range f.Causes {
			out = append(out, f.Name+"/"+c.Name)
		}
	}
	return out
}

// New checks edges between the names. Remedies that no edge orders keep the order of the names.
func New(names []string, edges []Edge) (*Graph, error) {
	g := &Graph{edges: slices.Clone(edges), rank: make(map[string]int, len(names))}
	waits := make(map[string]int, len(names))
	for i, e := range edges {
		for _, n := range []string{e.From, e.To} {
			if !slices.Contains(names, n) {
				return nil, fmt.Errorf("edge %s → %s: %s is not in the vocabulary", e.From, e.To, n)
			}
		}
		if slices.ContainsFunc(edges[:i], func(o Edge) bool { return o.From == e.From && o.To == e.To }) {
			return nil, fmt.Errorf("edge %s → %s is there twice", e.From, e.To)
		}
		waits[e.To]++
	}
	for len(g.rank) < len(names) {
		i := slices.IndexFunc(names, func(n string) bool { _, done := g.rank[n]; return !done && waits[n] == 0 })
		if i < 0 {
			return nil, fmt.Errorf("the edges go in a circle among %s", strings.Join(slices.DeleteFunc(slices.Clone(names), func(n string) bool { return waits[n] == 0 }), ", "))
		}
		g.rank[names[i]] = len(g.rank)
		for _, e := range edges {
			if e.From == names[i] {
				waits[e.To]--
			}
		}
	}
	return g, nil
}

// Edges are the edges of the graph.
func (g *Graph) Edges() []Edge { return slices.Clone(g.edges) }

// Rank is the place of a finding's remedy among all remedies.
func (g *Graph) Rank(f *v1alpha1.Finding) int { return g.rank[name(f)] }

// Explains tells whether to is a consequence of from. What is likely explains nothing that is certain: what is proven stays visible.
func (g *Graph) Explains(from, to *v1alpha1.Finding) bool {
	if from.Node != to.Node || from.Certainty == v1alpha1.Likely && to.Certainty == v1alpha1.Certain {
		return false
	}
	return slices.ContainsFunc(g.edges, func(e Edge) bool {
		return e.From == name(from) && e.To == name(to) && e.holds(from, to)
	})
}

func (e *Edge) holds(from, to *v1alpha1.Finding) bool {
	switch e.Scope {
	case Order:
		return false
	case Object:
		if to.Object == nil || !slices.Contains(from.Affects, *to.Object) && (from.Object == nil || *from.Object != *to.Object) {
			return false
		}
	}
	has := func(texts []string) bool {
		return slices.ContainsFunc(to.Evidence, func(ev v1alpha1.Evidence) bool {
			return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(ev.Text, s) })
		})
	}
	return (len(e.Says) == 0 || has(e.Says)) && !has(e.Unless)
}

func name(f *v1alpha1.Finding) string { return f.Failure + "/" + f.Cause }

// Of are the edges that start or end at a failure, or at one cause of it.
func (g *Graph) Of(failure, cause string) (from, to []Edge) {
	is := func(n string) bool {
		f, c := failures.Split(n)
		return f == failure && (cause == "" || c == cause)
	}
	for _, e := range g.edges {
		if is(e.From) {
			from = append(from, e)
		}
		if is(e.To) {
			to = append(to, e)
		}
	}
	return from, to
}
