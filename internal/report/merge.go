package report

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/score"
	"github.com/sickbay-dev/sickbay/internal/usage"
)

// Merge makes one report of several: the shards of one suite, or any others. What the shards of a suite should have brought and did not is in
// it with the verdict unknown, so that a lost machine never passes.
func Merge(reps []*v1alpha1.Report) (*v1alpha1.Report, error) {
	if len(reps) == 0 {
		return nil, usage.Errorf("there is no report to merge")
	}
	suite, err := suiteOf(reps)
	if err != nil {
		return nil, err
	}
	out := *reps[0]
	out.Results, out.HostChanges, out.Shard, out.Detectors, out.KnownPassed = []v1alpha1.ScenarioResult{}, nil, nil, nil, nil
	var clusters, kubernetes, hosts, versions []string
	for _, rep := range reps {
		if rep.Started.Before(out.Started) {
			out.Started = rep.Started
		}
		if rep.Ended.After(out.Ended) {
			out.Ended = rep.Ended
		}
		out.Pace = max(out.Pace, rep.Pace)
		out.Results = append(out.Results, rep.Results...)
		for _, c := range rep.HostChanges {
			if rep.Shard != nil {
				c = fmt.Sprintf("shard %s: %s", rep.Shard, c)
			}
			out.HostChanges = append(out.HostChanges, c)
		}
		if rep.HostKind.String() != out.HostKind.String() {
			out.HostKind = v1alpha1.HostKind{}
		}
		if rep.Profile != out.Profile {
			out.Profile = ""
		}
		if rep.Seed != out.Seed {
			out.Seed = 0
		}
		for _, d := range rep.Detectors {
			if !slices.Contains(out.Detectors, d) {
				out.Detectors = append(out.Detectors, d)
			}
		}
		out.KnownPassed = append(out.KnownPassed, rep.KnownPassed...)
		clusters, kubernetes = append(clusters, rep.Cluster), append(kubernetes, rep.Kubernetes)
		hosts, versions = append(hosts, rep.Host), append(versions, rep.Version)
	}
	out.Cluster, out.Kubernetes, out.Host, out.Version = distinct(clusters), distinct(kubernetes), distinct(hosts), distinct(versions)
	for _, name := range suite {
		if !slices.ContainsFunc(out.Results, func(r v1alpha1.ScenarioResult) bool { return r.Scenario == name }) {
			out.Results = append(out.Results, v1alpha1.ScenarioResult{
				Scenario: name, Verdict: v1alpha1.VerdictUnknown, FailedAt: v1alpha1.StepBaseline, Started: out.Started, Ended: out.Started,
				Steps: []v1alpha1.StepResult{}, Expected: []string{},
				Reason: "no shard's report has it: " + missingShards(reps),
			})
		}
	}
	slices.SortStableFunc(out.Results, func(a, b v1alpha1.ScenarioResult) int {
		return slices.Index(suite, a.Scenario) - slices.Index(suite, b.Scenario)
	})
	score.Fill(&out)
	out.Verdict, out.Controls, out.Matrix = Overall(&out), CountControls(&out), nil
	if len(out.Results) > 1 {
		out.Matrix = NewMatrix(&out)
	}
	return &out, nil
}

// suiteOf is what the reports should have together, in order: nothing for reports that are no shards.
func suiteOf(reps []*v1alpha1.Report) ([]string, error) {
	first := reps[0].Shard
	seen := map[int]bool{}
	for _, rep := range reps {
		s := rep.Shard
		switch {
		case (s == nil) != (first == nil):
			return nil, usage.Errorf("some of these reports are shards and some are not: merge shards of one suite, or whole reports")
		case s == nil:
			continue
		case s.Of != first.Of || !slices.Equal(s.Suite, first.Suite):
			return nil, usage.Errorf("shard %s is of another suite than shard %s: run all shards with the same scenarios and the same number", s, first)
		case seen[s.Index]:
			return nil, usage.Errorf("shard %s is there twice", s)
		}
		seen[s.Index] = true
	}
	if first == nil {
		return nil, nil
	}
	return first.Suite, nil
}

func missingShards(reps []*v1alpha1.Report) string {
	var missing []string
	for i := range reps[0].Shard.Of {
		if !slices.ContainsFunc(reps, func(r *v1alpha1.Report) bool { return r.Shard.Index == i+1 }) {
			missing = append(missing, v1alpha1.Shard{Index: i + 1, Of: reps[0].Shard.Of}.String())
		}
	}
	if len(missing) == 0 {
		return "its shard ended before it"
	}
	return "missing " + strings.Join(missing, ", ")
}

func distinct(list []string) string {
	var out []string
	for _, s := range list {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return strings.Join(out, "; ")
}

// MergeDirs merges the reports of several folders into another one, with their bundles.
func MergeDirs(dirs []string, into string) (*v1alpha1.Report, error) {
	reps, err := ReadAll(dirs...)
	if err != nil {
		return nil, err
	}
	rep, err := Merge(reps)
	if err != nil || into == "" {
		return rep, err
	}
	for i, dir := range dirs {
		if err := mergeBundle(dir, reps[i], into); err != nil {
			return nil, err
		}
	}
	return rep, Write(into, rep)
}

// mergeBundle copies a report's observations. A suite has a folder for each scenario, a single run has none.
func mergeBundle(dir string, rep *v1alpha1.Report, into string) error {
	from, to := filepath.Join(dir, "bundle"), filepath.Join(into, "bundle")
	if _, err := os.Stat(from); err != nil {
		return nil
	}
	list, err := os.ReadDir(from)
	has := func(name string) bool {
		return slices.ContainsFunc(list, func(e fs.DirEntry) bool { return e.Name() == name })
	}
	if has("bundle.yaml") || len(rep.Results) == 1 && !has(rep.Results[0].Scenario) {
		err, list = errors.Join(err, copyBundle(from, filepath.Join(to, rep.Results[0].Scenario))), nil
	}
	for _, e := range list {
		err = errors.Join(err, copyBundle(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())))
	}
	if err != nil {
		return fmt.Errorf("copy the observations of %s: %w", dir, err)
	}
	return nil
}

// copyBundle copies a folder to one that is not there yet: a second run of a scenario goes to NAME-2, as with --repeat.
func copyBundle(from, to string) error {
	free := to
	for n := 2; ; n++ {
		if _, err := os.Lstat(free); os.IsNotExist(err) {
			return errors.Join(os.MkdirAll(filepath.Dir(free), 0o700), os.CopyFS(free, os.DirFS(from)), filepath.WalkDir(free, makePrivate))
		} else if err != nil {
			return err
		}
		free = fmt.Sprintf("%s-%d", to, n)
	}
}

// makePrivate is for what was copied: a copy can be read by all, and so is what comes from an archive.
func makePrivate(path string, e fs.DirEntry, err error) error {
	switch {
	case err != nil:
		return err
	case e.IsDir():
		return os.Chmod(path, 0o700)
	case e.Type().IsRegular():
		return os.Chmod(path, private)
	}
	return nil
}
