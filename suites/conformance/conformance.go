// Package conformance runs sickbay's scenarios in `go test` of another repository, against detectors of its own:
//
//	func TestNodeDetector(t *testing.T) {
//		conformance.Run(t, conformance.Options{
//			Cluster:   "sickbay", // made by `sickbay cluster up`
//			Selection: suites.Selection{Profile: "core"},
//			Options:   suites.Options{Detectors: []detector.Entry{detector.New("mine", mine{})}, ReportDir: "report"},
//		})
//	}
//
// Each scenario and detector is a subtest. On a real cluster the agent is taken from $SICKBAY_AGENT or from beside the test's program; see
// docs/detectors.md. Package rehearsal has a cluster in memory, which needs neither.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/report"
	"github.com/sickbay-dev/sickbay/internal/testbed"
	"github.com/sickbay-dev/sickbay/internal/usage"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
	"github.com/sickbay-dev/sickbay/suites/rehearsal"
)

// Options say what is run, where, and who is scored.
type Options struct {
	suites.Options
	// Cluster names a cluster that sickbay made; empty is sickbay's default. Testbed is used instead where it is set.
	Cluster string
	Testbed suites.Testbed
	// Selection chooses among scenarios; its profile is core unless it says otherwise. Scenarios, names or paths, are run instead.
	Selection suites.Selection
	Scenarios []string
}

// Suite runs the scenarios and returns the report, which is not nil whenever a run began. ctx must end on the first interrupt:
// suites.WithInterrupt makes such a context.
func Suite(ctx context.Context, o Options) (*v1alpha1.Report, error) {
	list, err := o.scenarios()
	if err != nil {
		return nil, err
	}
	if o.Testbed == nil {
		if o.Testbed, err = onCluster(ctx, o.Cluster); err != nil {
			return nil, err
		}
	}
	if _, plays := o.Testbed.(*rehearsal.Cluster); plays && o.Judge == nil {
		// Its nodes have nothing that sickbay's own detectors read.
		o.Judge = func(v1alpha1.History) []v1alpha1.Finding { return nil }
	}
	return suites.RunAll(ctx, o.Testbed, list, o.Options)
}

func (o *Options) scenarios() ([]*scenarios.Scenario, error) {
	if len(o.Scenarios) == 0 {
		if o.Selection.Profile == "" {
			o.Selection.Profile = "core"
		}
		list, name, err := suites.Select(o.Selection)
		o.Profile = name
		return list, err
	}
	var list []*scenarios.Scenario
	for _, name := range o.Scenarios {
		sc, err := scenarios.Find(name)
		if err != nil {
			return nil, err
		}
		list = append(list, sc)
	}
	return list, nil
}

func onCluster(ctx context.Context, name string) (suites.Testbed, error) {
	if name == "" {
		name = cluster.DefaultName
	}
	d, err := engine.Find(ctx, engine.Options{})
	if err != nil {
		return nil, err
	}
	if d.Plan != engine.UseExisting {
		return nil, fmt.Errorf("no container engine runs: %s", d.Reason)
	}
	if err := d.Engine.Setenv(); err != nil {
		return nil, err
	}
	c, err := cluster.Find(ctx, d.Engine, name)
	if errors.As(err, new(*cluster.NotFoundError)) {
		return nil, usage.Errorf("there is no cluster %s: `sickbay cluster up --cluster %s` makes it", name, name)
	}
	if err != nil {
		return nil, err
	}
	return testbed.New(ctx, c)
}

// Run runs the scenarios as subtests of t, one for each scenario and detector, and returns the report.
func Run(t *testing.T, o Options) *v1alpha1.Report {
	t.Helper()
	if o.Cleanups == nil {
		o.Cleanups = &suites.Cleanups{}
	}
	ctx, cancel := suites.WithInterrupt(t.Context(), os.Stderr, o.Cleanups)
	defer cancel()
	rep, err := Suite(ctx, o)
	if err != nil {
		t.Error(err)
	}
	if rep == nil {
		return nil
	}
	for i := range rep.Results {
		r := &rep.Results[i]
		name := r.Scenario
		if r.Repeat > 0 {
			name = fmt.Sprintf("%s-%d", name, r.Repeat)
		}
		t.Run(name, func(t *testing.T) {
			for _, d := range r.Detectors {
				t.Run(d.Detector, func(t *testing.T) {
					subtest(t, d.Verdict, d.Reason, d.Role == v1alpha1.RoleReference || report.Excused(r, d.Detector))
				})
			}
			subtest(t, r.Verdict, r.Reason, report.Excused(r, ""))
		})
	}
	for _, c := range rep.HostChanges {
		t.Errorf("left behind on this machine: %s", c)
	}
	return rep
}

// subtest ends a subtest by a verdict.
func subtest(t *testing.T, v v1alpha1.Verdict, reason string, excused bool) {
	t.Helper()
	switch {
	case v == v1alpha1.VerdictPassed:
	case v == v1alpha1.VerdictUnsupported:
		t.Skip(reason)
	case excused:
		t.Logf("%s, which fails nothing: %s", v, reason)
	default:
		t.Errorf("%s: %s", v, reason)
	}
}
