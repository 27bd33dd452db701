package causal

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/causes.md")

func TestPageIsUpToDate(t *testing.T) {
	const file = "../../docs/causes.md"
	want := Default().Page()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s is not what the table says (%v); write it with: go generate ./internal/causal", file, err)
	}
}

func TestTable(t *testing.T) {
	for i, e := range edges {
		at := e.From + " → " + e.To
		if e.Why == "" || e.Needs == "" {
			t.Errorf("%s: without its mechanism or what needs it", at)
		}
		if limited := len(e.Says)+len(e.Unless) > 0 || e.Scope == Object; limited != (e.Limit != "") {
			t.Errorf("%s: scope %s, words %q, and the case %q that holds their limit", at, e.Scope, e.Says, e.Limit)
		}
		switch e.Scope {
		case Node, Object:
		case Order:
			if len(e.Says)+len(e.Unless) > 0 {
				t.Errorf("%s: orders by words", at)
			}
		default:
			t.Errorf("%s: scope %q", at, e.Scope)
		}
		if i > 0 && edges[i-1].Scope == Order && e.Scope != Order {
			t.Errorf("%s: stands below the edges that only order", at)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	names := []string{"a/1", "b/2", "c/3"}
	for why, bad := range map[string][]Edge{
		"b/gremlins is not in the vocabulary": {{From: "a/1", To: "b/gremlins"}},
		"a/1 → b/2 is there twice":            {{From: "a/1", To: "b/2"}, {From: "a/1", To: "b/2", Scope: Order}},
		"go in a circle among a/1, b/2":       {{From: "a/1", To: "b/2"}, {From: "b/2", To: "a/1"}, {From: "c/3", To: "a/1"}},
	} {
		if _, err := New(names, bad); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%v: error %v, want %q", bad, err, why)
		}
	}
	g, err := New(names, []Edge{{From: "c/3", To: "a/1"}})
	if err != nil || g.rank["b/2"] != 0 || g.rank["c/3"] != 1 || g.rank["a/1"] != 2 {
		t.Errorf("ranks %v, %v", g.rank, err)
	}
}

// The table itself is one that New takes.
func TestDefault(t *testing.T) { Default() }
