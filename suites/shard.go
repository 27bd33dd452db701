package suites

import (
	"cmp"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/usage"
	"github.com/sickbay-dev/sickbay/scenarios"
)

//go:embed durations.yaml
var durationsFile []byte

// durations are the known seconds of scenarios; `make timings` writes them.
var durations = sync.OnceValue(func() map[string]float64 {
	var d map[string]float64
	if err := yaml.Unmarshal(durationsFile, &d); err != nil {
		panic(fmt.Sprintf("suites/durations.yaml: %s", err)) // a test reads it
	}
	return d
})

const (
	// unknownDuration is the median of the known ones.
	unknownDuration = 77
	// alone is what a scenario weighs more that claims the host: the other workers of the default topology stand still meanwhile.
	alone = 4
)

// ParseShard reads "2/5".
func ParseShard(s string) (v1alpha1.Shard, error) {
	i, n, found := strings.Cut(s, "/")
	index, err1 := strconv.Atoi(i)
	of, err2 := strconv.Atoi(n)
	if !found || err1 != nil || err2 != nil || index < 1 || index > of {
		return v1alpha1.Shard{}, usage.Errorf("--shard %q: it must be like 2/5, the second of five shards", s)
	}
	return v1alpha1.Shard{Index: index, Of: of}, nil
}

// ShardOf is a shard's part of a suite, in the suite's order. It is the same wherever it is computed: the longest scenario goes to the shard
// with the least to do, then the next.
func ShardOf(list []*scenarios.Scenario, shard v1alpha1.Shard) ([]*scenarios.Scenario, v1alpha1.Shard, error) {
	if shard.Of > len(list) {
		return nil, shard, usage.Errorf("--shard %s: there are only %d scenarios", shard, len(list))
	}
	for _, sc := range list {
		shard.Suite = append(shard.Suite, sc.Metadata.Name)
	}
	longest := slices.Clone(list)
	slices.SortFunc(longest, func(a, b *scenarios.Scenario) int {
		return cmp.Or(cmp.Compare(weight(b), weight(a)), strings.Compare(a.Metadata.Name, b.Metadata.Name))
	})
	load, mine := make([]float64, shard.Of), map[string]bool{}
	for _, sc := range longest {
		least := slices.Index(load, slices.Min(load))
		load[least] += weight(sc)
		if least == shard.Index-1 {
			mine[sc.Metadata.Name] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(list), func(sc *scenarios.Scenario) bool { return !mine[sc.Metadata.Name] }), shard, nil
}

// weight is what a scenario adds to a shard's time, in seconds of one worker.
func weight(sc *scenarios.Scenario) float64 {
	s := cmp.Or(durations()[sc.Metadata.Name], unknownDuration)
	if fault.ClaimsHost(sc) {
		s *= alone
	}
	return s
}
