package suites_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"
	"sigs.k8s.io/e2e-framework/pkg/types"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/platform/nodeimage"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/report"
	"github.com/sickbay-dev/sickbay/internal/testbed"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

// The end-to-end tests make nodes of a real cluster ill. They run only when they are asked for:
//
//	make build && SICKBAY_AGENT=$PWD/bin/sickbay-agent-linux-amd64 SICKBAY_E2E=1 go test ./suites -run 'TestScenario' -timeout 60m
//
//	SICKBAY_CLUSTER           the cluster to use or make; default sickbay
//	SICKBAY_E2E_PROFILE       core (default), or all
//	SICKBAY_E2E_CONTROLS      some (default: the quickest scenario's), all, or none
//	SICKBAY_E2E_REPORT        a folder for reports and bundles, one per run
//	SICKBAY_E2E_KEEP_CLUSTER  1 leaves a cluster that the tests made
const asked = "SICKBAY_E2E"

var (
	testenv  env.Environment
	pool     *suites.Pool // nil when end-to-end tests were not asked for
	lab      suites.Testbed
	cleanups = &suites.Cleanups{}
	ground   *cluster.Cluster // what the lab is made of
)

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(asked) != "1" {
		os.Exit(m.Run())
	}
	// Scenarios wait far more than they compute: PLEG's three minutes are to be shared, whatever the number of cores.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	ctx, stop := suites.WithInterrupt(progress.Into(context.Background(), plain{}), os.Stderr, cleanups)
	var err error
	testenv, err = env.NewWithContext(ctx, envconf.New())
	if err != nil {
		panic(err)
	}
	var made *cluster.Cluster
	testenv.Setup(func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
		var err error
		made, err = openLab(ctx)
		return ctx, err
	})
	testenv.Finish(func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
		if made == nil || os.Getenv("SICKBAY_E2E_KEEP_CLUSTER") == "1" {
			return ctx, nil
		}
		return ctx, cluster.Down(context.WithoutCancel(ctx), made.Engine(), cluster.DownOptions{Name: made.Name})
	})
	code := testenv.Run(m)
	stop()
	os.Exit(code)
}

// openLab finds or makes the cluster; the cluster is returned only when it was made here.
func openLab(ctx context.Context) (made *cluster.Cluster, err error) {
	e, err := engine.Ensure(ctx, engine.Options{})
	if err != nil {
		return nil, err
	}
	if err := e.Setenv(); err != nil {
		return nil, err
	}
	name := os.Getenv("SICKBAY_CLUSTER")
	c, err := cluster.Find(ctx, e, name)
	if err != nil && !errors.As(err, new(*cluster.NotFoundError)) {
		return nil, err
	}
	if c == nil {
		image, err := nodeimage.Resolve(ctx, e, nodeimage.Request{})
		if err != nil {
			return nil, err
		}
		if c, err = cluster.Up(ctx, e, cluster.UpOptions{Name: name, Image: image.Ref}); err != nil {
			return nil, err
		}
		made = c
	}
	ground = c
	if lab, err = testbed.New(ctx, c); err != nil {
		return made, err
	}
	pool, err = suites.OpenPool(ctx, lab)
	return made, err
}

// plain prints progress as lines, for go test -v.
type plain struct{ progress.Sink }

func (plain) Start(title string, bound time.Duration) progress.Task {
	fmt.Fprintf(os.Stderr, " • %s (at most %s)\n", title, bound)
	return progress.Discard.Start(title, bound)
}

func (plain) Note(format string, args ...any) { fmt.Fprintf(os.Stderr, " • "+format+"\n", args...) }

func TestScenario(t *testing.T) {
	needPool(t)
	for _, sc := range wanted(t) {
		t.Run(sc.Metadata.Name, func(t *testing.T) {
			t.Parallel()
			testenv.Test(t, feature(t, sc, suites.Options{}, func(ctx context.Context, g Gomega, step v1alpha1.StepName, r v1alpha1.ScenarioResult) {
				if r.Verdict == v1alpha1.VerdictUnsupported {
					return // said so in the set-up
				}
				st := stepOf(r, step)
				g.Expect(st.Verdict).To(Equal(v1alpha1.VerdictPassed), "%s: %s\nseen: %s", step, st.Reason, strings.Join(st.Seen, "\n      "))
			}))
		})
	}
	t.Cleanup(func() { hostIsClean(t) })
}

// TestScenarioControls: a run without a fault must be red at manifest, and one without its remedy red at clear.
func TestScenarioControls(t *testing.T) {
	needPool(t)
	which := os.Getenv("SICKBAY_E2E_CONTROLS")
	if which == "none" {
		t.Skip("SICKBAY_E2E_CONTROLS=none")
	}
	for _, sc := range wanted(t) {
		if which != "all" && sc.Metadata.Name != "conflist-missing" {
			continue
		}
		for name, c := range map[string]struct {
			opts suites.Options
			at   v1alpha1.StepName
		}{
			"noop":      {suites.Options{Controls: suites.OnlyNoop}, v1alpha1.StepManifest},
			"no-remedy": {suites.Options{Controls: suites.OnlyNoRemedy}, v1alpha1.StepClear},
		} {
			t.Run(sc.Metadata.Name+"/"+name, func(t *testing.T) {
				t.Parallel()
				testenv.Test(t, feature(t, sc, c.opts, func(ctx context.Context, g Gomega, step v1alpha1.StepName, r v1alpha1.ScenarioResult) {
					if r.Verdict == v1alpha1.VerdictUnsupported {
						return
					}
					switch step {
					case c.at:
						g.Expect(r.FailedAt).To(Equal(c.at), r.Reason)
						g.Expect(r.ControlHeld).To(BeTrue(), r.Reason)
					case v1alpha1.StepBaseline, v1alpha1.StepResidue:
						g.Expect(stepOf(r, step).Verdict).To(Equal(v1alpha1.VerdictPassed), stepOf(r, step).Reason)
					}
				}))
			})
		}
	}
	t.Cleanup(func() { hostIsClean(t) })
}

type resultKey struct{}

// feature is a scenario as e2e-framework sees it: the set-up runs it, one assessment per step judges it.
func feature(t *testing.T, sc *scenarios.Scenario, o suites.Options, judge func(context.Context, Gomega, v1alpha1.StepName, v1alpha1.ScenarioResult)) types.Feature {
	f := features.New(sc.Spec.Title).WithLabel("profile", sc.Spec.Profile).WithLabel("scenario", sc.Metadata.Name)
	o.Cleanups, o.RunID = cleanups, fault.NewRunID(sc.Metadata.Name)
	if dir := os.Getenv("SICKBAY_E2E_REPORT"); dir != "" {
		o.ReportDir = filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(t.Name(), "TestScenario"), "/", "_"))
	}
	f.Setup(func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
		// The run recovers by itself, whatever happens in it. Should the test end before it (a Fatal in a set-up skips every
		// teardown), this recovers the nodes all the same; it must be registered before the fault.
		t.Cleanup(func() { recoverAll(t, o.RunID) })
		rep, err := pool.Run(ctx, sc, o)
		if rep != nil && o.ReportDir != "" {
			if err := report.Write(o.ReportDir, rep); err != nil {
				t.Error(err)
			}
		}
		if err != nil {
			t.Fatalf("scenario %s: %v", sc.Metadata.Name, err)
		}
		r := rep.Results[0]
		if r.Verdict == v1alpha1.VerdictUnsupported {
			t.Skipf("unsupported here: %s", r.Reason)
		}
		t.Logf("%s on %s: %s; signal %.1fs, finding %.1fs, remedied %.1fs, cleared %.1fs after the injection; fidelity %s %s",
			r.Scenario, r.Node, r.Verdict, r.Clocks.Signal, r.Clocks.Finding, r.Clocks.Remedied, r.Clocks.Cleared, r.Fidelity.Level, r.Fidelity.Differs)
		return context.WithValue(ctx, resultKey{}, r)
	})
	for _, step := range v1alpha1.Steps() {
		f.Assess(string(step), func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
			r, ok := ctx.Value(resultKey{}).(v1alpha1.ScenarioResult)
			if !ok {
				t.Fatal("the run left no result")
			}
			judge(ctx, NewWithT(t), step, r)
			return ctx
		})
	}
	return f.Feature()
}

func recoverAll(t *testing.T, run string) {
	// The test's own context has ended by now.
	ctx, cancel := context.WithTimeout(context.Background(), suites.DefaultTimings().Recovery)
	defer cancel()
	for _, n := range lab.Target().Nodes {
		a, err := lab.Agent(ctx, n.Name)
		if err == nil {
			_, err = a.Recover(ctx, run, "")
		}
		if err != nil {
			t.Errorf("recover run %s on node %s: %v", run, n.Name, err)
		}
	}
}

var hostOnce sync.Mutex

func hostIsClean(t *testing.T) {
	hostOnce.Lock()
	defer hostOnce.Unlock()
	changes, err := pool.Close(context.Background(), suites.Timings{})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	NewWithT(t).Expect(changes).To(BeEmpty(), "left behind on the host")
}

func needPool(t *testing.T) {
	t.Helper()
	if pool == nil {
		t.Skipf("makes nodes of a real cluster ill; set %s=1 to run it", asked)
	}
}

func wanted(t *testing.T) []*scenarios.Scenario {
	t.Helper()
	all, err := scenarios.All()
	if err != nil {
		t.Fatal(err)
	}
	var out []*scenarios.Scenario
	for i := range all {
		if os.Getenv("SICKBAY_E2E_PROFILE") == "all" || all[i].Spec.Profile == "core" {
			out = append(out, &all[i])
		}
	}
	if len(out) == 0 {
		t.Fatal("there is no scenario to run")
	}
	return out
}

func stepOf(r v1alpha1.ScenarioResult, name v1alpha1.StepName) v1alpha1.StepResult {
	for _, s := range r.Steps {
		if s.Name == name {
			return s
		}
	}
	return v1alpha1.StepResult{}
}
