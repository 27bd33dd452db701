package causal

import (
	"fmt"
	"slices"
	"strings"
)

// Page is docs/causes.md: the graph as a picture and as a table.
func (g *Graph) Page() string {
	var b strings.Builder
	b.WriteString(`# What explains what

A finding that another finding explains is folded into it (solid arrows; "same object" means that both are about the same pod).
Dotted arrows explain nothing: they say which remedy goes first. Remedies that no arrow orders go in the order of the failures.
Made from ` + "`internal/causal/edges.go` by `go generate ./internal/causal`" + `; do not edit.

` + "```mermaid\nflowchart LR\n")
	var nodes []string
	for _, e := range g.edges {
		nodes = append(nodes, e.From, e.To)
	}
	slices.Sort(nodes)
	nodes = slices.Compact(nodes)
	id := func(n string) string { return fmt.Sprintf("n%d", slices.Index(nodes, n)) }
	for _, n := range nodes {
		fmt.Fprintf(&b, "  %s[\"%s\"]\n", id(n), strings.Replace(n, "/", "/<br>", 1))
	}
	for _, e := range g.edges {
		fmt.Fprintf(&b, "  %s %s %s\n", id(e.From), map[Scope]string{Node: "-->", Object: "-->|same object|", Order: "-.->"}[e.Scope], id(e.To))
	}
	b.WriteString("```\n\n| cause | | finding | why | fails without it |\n|---|---|---|---|---|\n")
	for _, e := range g.edges {
		how := map[Scope]string{Node: "explains", Object: "explains, same object", Order: "is treated before"}[e.Scope]
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", e.From, how, e.To, e.Why, e.Needs)
	}
	return b.String()
}
