package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/platform/nodeimage"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/report"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// cell is one kind of cluster of --matrix. What is empty is as without it.
type cell struct{ kubernetes, runtime string }

// String is a --matrix of this cell alone.
func (c cell) String() string {
	var s []string
	if c.kubernetes != "" {
		s = append(s, "kubernetes="+c.kubernetes)
	}
	if c.runtime != "" {
		s = append(s, "runtime="+c.runtime)
	}
	return strings.Join(s, ",")
}

var kubernetesValue = regexp.MustCompile(`^v?1\.\d+(\.\d+)?$`)

// parseMatrix reads kubernetes=1.34,1.37,runtime=containerd,crio: each key with its values, and the cells are all combinations.
func parseMatrix(text string) ([]cell, error) {
	values := map[string][]string{}
	key := ""
	for _, word := range strings.Split(text, ",") {
		k, v, named := strings.Cut(word, "=")
		if !named {
			k, v = key, word
		} else if values[k] != nil {
			return nil, usagef("--matrix %s: %s is there twice", text, k)
		}
		key = k
		switch {
		case k == "kubernetes" && !kubernetesValue.MatchString(v):
			return nil, usagef("--matrix %s: %q is no version of Kubernetes, such as 1.37", text, v)
		case k == "runtime" && !slices.Contains(nodeimage.Runtimes(), v):
			return nil, usagef("--matrix %s: runtime %q must be one of %s", text, v, strings.Join(nodeimage.Runtimes(), ", "))
		case k != "kubernetes" && k != "runtime":
			return nil, usagef("--matrix %s: it has kubernetes=... and runtime=..., not %q", text, k)
		case slices.Contains(values[k], v):
			return nil, usagef("--matrix %s: %s %s is there twice", text, k, v)
		}
		values[k] = append(values[k], v)
	}
	or := func(list []string) []string {
		if len(list) == 0 {
			return []string{""}
		}
		return list
	}
	var cells []cell
	for _, k := range or(values["kubernetes"]) {
		for _, r := range or(values["runtime"]) {
			cells = append(cells, cell{k, r})
		}
	}
	return cells, nil
}

var notInCluster = regexp.MustCompile(`[^a-z0-9]+`)

// runMatrix runs the scenarios in one cell after the other, each on a cluster of its own, and makes one report of all. A cell that could not
// be set up has its scenarios with the verdict unknown.
func (a *app) runMatrix(ctx context.Context, list []*scenarios.Scenario, f runFlags, scored scoring) (*v1alpha1.Report, error) {
	var reps []*v1alpha1.Report
	var errs []error
	for i, c := range f.cells {
		progress.From(ctx).Note("cell %d of %d: %s", i+1, len(f.cells), c)
		rep, err := a.runCell(ctx, list, f, c, scored)
		for j := range rep.Results {
			rep.Results[j].Cell = c.String()
		}
		reps = append(reps, rep)
		if err != nil {
			errs = append(errs, fmt.Errorf("cell %s: %w", c, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	all, err := report.Merge(reps)
	if err == nil && f.report != "" {
		err = report.Write(f.report, all)
	}
	return all, errors.Join(append(errs, err)...)
}

// runCell runs the scenarios on the cluster of one cell. One that it makes goes again, unless --keep is given.
func (a *app) runCell(ctx context.Context, list []*scenarios.Scenario, f runFlags, c cell, scored scoring) (*v1alpha1.Report, error) {
	began := time.Now()
	f.make = true
	f.cluster += "-" + strings.Trim(notInCluster.ReplaceAllString(c.kubernetes+"-"+c.runtime, "-"), "-")
	if c.kubernetes != "" {
		f.kubernetes = c.kubernetes
	}
	if c.runtime != "" {
		f.runtime = c.runtime
	}
	if f.report != "" {
		f.report = filepath.Join(f.report, report.CellDir(c.String()))
	}
	e, err := a.deps.ensureEngine(ctx)
	if err == nil {
		_, there := a.deps.find(ctx, e, f.cluster)
		if made := errors.As(there, new(*cluster.NotFoundError)); made && !f.keep {
			defer func() {
				if ctx.Err() == nil { // after Ctrl-C it stays, as the cluster of any run
					if err := a.deps.down(ctx, e, f.cluster); err != nil {
						a.say("Warning: %s\n", message(err))
					}
				}
			}()
		}
	}
	var rep *v1alpha1.Report
	if err == nil {
		rep, err = a.runOn(ctx, list, f, scored)
	}
	if rep == nil {
		rep = &v1alpha1.Report{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindReport, Cluster: f.cluster, Profile: f.profile, Seed: f.seed, Started: began, Ended: time.Now()}
		for _, s := range list {
			rep.Results = append(rep.Results, v1alpha1.ScenarioResult{
				Scenario: s.Metadata.Name, Title: s.Spec.Title, Verdict: v1alpha1.VerdictUnknown, FailedAt: v1alpha1.StepBaseline, Started: began, Ended: began,
				Steps: []v1alpha1.StepResult{}, Expected: []string{}, Reason: fmt.Sprintf("the cell could not be set up: %v", err),
			})
		}
	}
	return rep, err
}
