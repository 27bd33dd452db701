package all_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"strings"

	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/causal"
)

func TestEveryEdgeIsNeeded(t *testing.T) {
	edges := causal.Default().Edges()
	raws := map[string][]v1alpha1.Finding{}
	wants := map[string][]string{}
	load := func(name string) ([]v1alpha1.Finding, []string) {
		if w, ok := wants[name]; ok {
			return raws[name], w
		}
		if _, c, ok := strings.Cut(name, ": "); ok {
			i := slices.IndexFunc(sick, func(s testCase) bool { return s.name == c })
			if i < 0 {
				t.Errorf("no case %s", name)
				return nil, nil
			}
			raws[name], wants[name] = detectors.Find(history(sick[i]), all.Detectors()), sick[i].want
		} else {
			var want struct{ Findings []string }
			raw, err := os.ReadFile(filepath.Join("testdata", name, "want.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			if err := yaml.Unmarshal(raw, &want); err != nil {
				t.Fatal(err)
			}
			raws[name], wants[name] = detectors.Find(recorded(t, filepath.Join("testdata", name)), all.Detectors()), want.Findings
		}
		return raws[name], wants[name]
	}
	backwards := causal.Names()
	slices.Reverse(backwards)
	outcome := func(vocabulary []string, edges []causal.Edge, raw []v1alpha1.Finding) []string {
		g, err := causal.New(vocabulary, edges)
		if err != nil {
			return []string{err.Error()}
		}
		return slices.Compact(names(detectors.Reduce(g, raw)))
	}
	for i, e := range edges {
		at := e.From + " → " + e.To
		raw, want := load(e.Needs)
		killed := func(by string, edges []causal.Edge, raw []v1alpha1.Finding, want []string) {
			if slices.Equal(outcome(causal.Names(), edges, raw), want) && slices.Equal(outcome(backwards, edges, raw), want) {
				t.Errorf("%s %s: nothing fails", at, by)
			}
		}
		if e.Scope == causal.Order {
			if got := outcome(backwards, edges, raw); !slices.Equal(got, want) {
				t.Errorf("%s: with the vocabulary backwards the order is %v", at, got)
			}
			swapped := slices.Clone(edges)
			swapped[i].From, swapped[i].To = e.To, e.From
			killed("the other way round", swapped, raw, want)
		}
		killed("removed", slices.Delete(slices.Clone(edges), i, i+1), raw, want)
		if e.Limit != "" {
			raw, want := load(e.Limit)
			wide := slices.Clone(edges)
			wide[i].Scope, wide[i].Says = causal.Node, nil
			killed("without limit", wide, raw, want)
		}
	}
}
