package suites

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/report"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites/detector"
)

func builtIn(t *testing.T) []*scenarios.Scenario {
	t.Helper()
	all, err := scenarios.All()
	if err != nil {
		t.Fatal(err)
	}
	var list []*scenarios.Scenario
	for i := range all {
		list = append(list, &all[i])
	}
	return list
}

func TestDurationsAreOfScenarios(t *testing.T) {
	list := builtIn(t)
	known := 0
	for name, s := range durations() {
		if !slices.ContainsFunc(list, func(sc *scenarios.Scenario) bool { return sc.Metadata.Name == name }) || s < 10 || s > 600 {
			t.Errorf("%s: %.0f s", name, s)
		}
		known++
	}
	if known < len(list)*3/4 {
		t.Errorf("the durations of %d of %d scenarios are known", known, len(list))
	}
}

// Shards are a partition, the same on every machine, and none has much more to do than another.
func TestShardsAreAPartitionAndBalanced(t *testing.T) {
	list := builtIn(t)
	for of := 1; of <= 8; of++ {
		seen := map[string]int{}
		var loads []float64
		for i := 1; i <= of; i++ {
			part, shard, err := ShardOf(list, v1alpha1.Shard{Index: i, Of: of})
			if err != nil {
				t.Fatal(err)
			}
			again, _, _ := ShardOf(list, v1alpha1.Shard{Index: i, Of: of})
			if !slices.Equal(part, again) || len(shard.Suite) != len(list) {
				t.Errorf("shard %s differs when it is computed again", shard)
			}
			load := 0.0
			for _, sc := range part {
				seen[sc.Metadata.Name]++
				load += weight(sc)
			}
			loads = append(loads, load)
		}
		if len(seen) != len(list) {
			t.Errorf("%d shards have %d of %d scenarios", of, len(seen), len(list))
		}
		for name, n := range seen {
			if n != 1 {
				t.Errorf("%s is in %d of %d shards", name, n, of)
			}
		}
		if lightest, heaviest := slices.Min(loads), slices.Max(loads); heaviest > lightest*1.2 {
			t.Errorf("%d shards: the lightest has %.0f s, the heaviest %.0f s", of, lightest, heaviest)
		}
	}
	if _, _, err := ShardOf(list[:2], v1alpha1.Shard{Index: 1, Of: 3}); err == nil || !strings.Contains(err.Error(), "only 2 scenarios") {
		t.Errorf("%v", err)
	}
}

func TestParseShard(t *testing.T) {
	if s, err := ParseShard("2/5"); err != nil || s.Index != 2 || s.Of != 5 {
		t.Errorf("%v, %v", s, err)
	}
	for _, bad := range []string{"", "2", "0/5", "6/5", "a/b", "-1/5", "2/5/1", "2/ 5"} {
		if _, err := ParseShard(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// Three machines with a shard each report together what one machine reports alone, but for what differs from run to run: also what fails, what
// is known to fail and does not, repeats and scored detectors, and what went through files.
func TestShardsMergedEqualTheWholeSuite(t *testing.T) {
	timeless(func(t *testing.T) {
		var list []*scenarios.Scenario
		for i := range 8 {
			list = append(list, scenario(func(sc *scenarios.Scenario) {
				sc.Metadata.Name = fmt.Sprintf("cni-%d", i)
				if i == 2 || i == 5 {
					sc.Spec.Inject[0].Mechanism = "another"
				}
			}))
		}
		known := []v1alpha1.KnownFailure{{Scenario: "cni-5", Why: "it is", Until: "2999-01-01"}, {Scenario: "cni-6", Why: "it was", Until: "2999-01-01"}}
		suite := map[string]func(*Options){
			"with controls": func(o *Options) { o.Controls = CoreOnTheWay },
			"repeated, scored": func(o *Options) {
				o.Repeat, o.Seed, o.Known = 2, 7, known
				o.Detectors = []detector.Entry{detector.Own(), detector.None()}
			},
		}
		for name, with := range suite {
			run := func(list []*scenarios.Scenario, shard *v1alpha1.Shard) (string, *v1alpha1.Report) {
				w := newWorld(t, "w1")
				w.show["another"] = "cni/conflist-invalid"
				dir := t.TempDir()
				rep, err := RunAll(t.Context(), fakeTestbed{w}, list, w.options(func(o *Options) { o.Profile, o.Shard, o.ReportDir = "core", shard, dir }, with))
				if err != nil {
					t.Fatalf("%s: %v, %v", name, rep, err)
				}
				return dir, rep
			}
			dir, _ := run(list, nil)
			whole, err := report.Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			if whole.Verdict != v1alpha1.VerdictFailed {
				t.Errorf("%s: %s: nothing fails, so that is not compared", name, whole.Verdict)
			}
			var parts []string
			for _, i := range []int{3, 1, 2} {
				part, shard, err := ShardOf(list, v1alpha1.Shard{Index: i, Of: 3})
				if err != nil {
					t.Fatal(err)
				}
				dir, _ := run(part, &shard)
				parts = append(parts, dir)
			}
			merged, err := report.MergeDirs(parts, "")
			if err != nil {
				t.Fatal(err)
			}
			differs := cmp.Options{
				cmpopts.IgnoreTypes(time.Time{}, v1alpha1.RunClocks{}),
				cmpopts.IgnoreFields(v1alpha1.ScenarioResult{}, "Run", "Timeline"),
				cmpopts.IgnoreFields(v1alpha1.ActionResult{}, "Run"),
				cmpopts.IgnoreFields(v1alpha1.StepResult{}, "Seen"), // has durations in it
				cmpopts.IgnoreFields(v1alpha1.ControlRun{}, "Seen", "Reason"),
			}
			if diff := cmp.Diff(whole, merged, differs); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	})(t)
}
