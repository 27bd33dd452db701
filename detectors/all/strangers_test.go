package all_test

import (
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
	"github.com/sickbay-dev/sickbay/internal/strangers"
)

// No detector says anything about a healthy node of another distribution, network or firewall: not at a first look, not at the third of
// three, and not where a source could not be read.
func TestStrangersAreHealthy(t *testing.T) {
	var names []string
	for _, layers := range strangerNodes() {
		names = append(names, strangerName(layers))
	}
	detectorstest.Stale(t, "stranger", names)
	for _, layers := range strangerNodes() {
		detectorstest.Expect(t, "stranger", strangerName(layers), func(t testing.TB) {
			quiet(t, "at a first look", strangers.History(1, layers...), nil)
			quiet(t, "at the third look", strangers.History(3, layers...), nil)
			whole := strangers.History(2, layers...)
			for _, source := range detectorstest.Sources() {
				h := slices.Clone(whole)
				for i := range h {
					detectorstest.Blank(&h[i], source)
				}
				quiet(t, "without "+source, h, nil)
			}
		})
	}
}

// strangerNodes are each distribution with its usual network, and the first with each other layer.
func strangerNodes() (nodes [][]strangers.Layer) {
	bases, nets, others := strangers.Layers()
	for _, b := range bases {
		nodes = append(nodes, []strangers.Layer{b, strangers.Usual(b.Name)})
	}
	ipv6 := others[slices.IndexFunc(others, func(l strangers.Layer) bool { return l.Name == "IPv6-only" })]
	for _, n := range nets {
		if n.Name != strangers.Usual(bases[0].Name).Name {
			nodes = append(nodes, []strangers.Layer{bases[0], n})
		}
		nodes = append(nodes, []strangers.Layer{bases[1], n, ipv6})
	}
	for _, l := range others {
		nodes = append(nodes, []strangers.Layer{bases[0], strangers.Usual(bases[0].Name), l})
	}
	for _, b := range bases[1:] {
		nodes = append(nodes, []strangers.Layer{b, strangers.Usual(b.Name), others[slices.IndexFunc(others, func(l strangers.Layer) bool { return l.Name == "an older agent" })]})
	}
	return nodes
}

func strangerName(layers []strangers.Layer) string {
	var names []string
	for _, l := range layers {
		names = append(names, l.Name)
	}
	return strings.Join(names, ", ")
}

// quiet fails for what is found besides what is known.
func quiet(t testing.TB, when string, h v1alpha1.History, known []string) {
	t.Helper()
	for _, f := range all.Judge(h) {
		if !slices.Contains(known, f.Name()) {
			t.Fatalf("%s: %s (%s): %s", when, f.Name(), f.Certainty, f.Summary)
		}
	}
}

// pendingParts are findings about nodes that are pending, by the last layer of each: a mix that has the layer may have them, too.
func pendingParts() map[string][]string {
	known := map[string][]string{}
	for _, layers := range strangerNodes() {
		if name := strangerName(layers); detectorstest.Pending("stranger", name) {
			last := layers[len(layers)-1].Name
			for _, looks := range []int{1, 3} {
				for _, source := range append(detectorstest.Sources(), "") {
					h := strangers.History(looks, layers...)
					for i := range h {
						if source != "" {
							detectorstest.Blank(&h[i], source)
						}
					}
					known[last] = append(known[last], detectorstest.Names(all.Judge(h))...)
				}
			}
		}
	}
	return known
}

// Any mix of parts is silent as well: the bytes choose the distribution, the network, the other layers, the number of looks and the
// sources that could not be read. Run it for longer with
//
//	go test ./detectors/all -run - -fuzz FuzzStrangers
func FuzzStrangers(f *testing.F) {
	seed, mixes := uint64(1), 150
	if target := flag.Lookup("test.fuzz"); target != nil && target.Value.String() != "" {
		mixes = 10 // each is judged once more before the fuzzing begins, without a gain: they are mixed by chance as well
	}
	for range mixes {
		var mix []byte
		for range 8 {
			seed = seed*6364136223846793005 + 1442695040888963407
			mix = append(mix, byte(seed>>33))
		}
		f.Add(mix)
	}
	bases, nets, others := strangers.Layers()
	pending := pendingParts()
	f.Fuzz(func(t *testing.T, mix []byte) {
		next := func(n int) int {
			if len(mix) == 0 {
				return 0
			}
			v := int(mix[0]) % n
			mix = mix[1:]
			return v
		}
		layers := []strangers.Layer{bases[next(len(bases))], nets[next(len(nets))]}
		looks, others := 1+next(3), slices.Clone(others)
		for range next(5) {
			i := next(len(others))
			layers, others = append(layers, others[i]), slices.Delete(others, i, i+1)
			if len(others) == 0 {
				break
			}
		}
		var known []string
		for _, l := range layers {
			known = append(known, pending[l.Name]...)
		}
		h := strangers.History(looks, layers...)
		sources := detectorstest.Sources()
		for range next(4) {
			s := sources[next(len(sources))]
			for i := range h {
				detectorstest.Blank(&h[i], s)
			}
		}
		quiet(t, strangerName(layers), h, known)
	})
}
