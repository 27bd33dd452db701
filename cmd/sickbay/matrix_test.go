package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/platform/nodeimage"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

func TestParseMatrix(t *testing.T) {
	for text, want := range map[string]string{
		"kubernetes=1.34,1.37,runtime=containerd,crio": "kubernetes=1.34,runtime=containerd kubernetes=1.34,runtime=crio kubernetes=1.37,runtime=containerd kubernetes=1.37,runtime=crio",
		"runtime=crio":       "runtime=crio",
		"kubernetes=v1.36.3": "kubernetes=v1.36.3",
	} {
		cells, err := parseMatrix(text)
		var got []string
		for _, c := range cells {
			got = append(got, c.String())
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, wrong := range []string{"", "1.34", "kubernetes", "kubernetes=", "kubernetes=new", "runtime=docker", "cni=x", "runtime=crio,crio", "runtime=crio,runtime=containerd"} {
		if cells, err := parseMatrix(wrong); err == nil {
			t.Errorf("%q: %v", wrong, cells)
		}
	}
}

// TestMatrix: each cell has a cluster of its own, which goes again; one that cannot be set up passes nothing; one report has all.
func TestMatrix(t *testing.T) {
	w := &fakeDeps{
		t: t, engine: func() (*engine.Engine, error) { return theEngine, nil },
		cluster: func(name string) (*cluster.Cluster, error) { return nil, &cluster.NotFoundError{Name: name} },
		image: func(r nodeimage.Request) (nodeimage.Resolved, error) {
			if r.Runtime == nodeimage.CRIO && r.Version == "1.34" {
				return nodeimage.Resolved{}, errors.New("no such image")
			}
			return nodeimage.Resolved{Ref: "node:" + r.Version + "-" + r.Runtime}, nil
		},
		report: func(_ context.Context, list []*scenarios.Scenario, _ suites.Options) (*v1alpha1.Report, error) {
			rep := &v1alpha1.Report{Verdict: v1alpha1.VerdictPassed}
			for _, s := range list {
				rep.Results = append(rep.Results, v1alpha1.ScenarioResult{Scenario: s.Metadata.Name, Verdict: v1alpha1.VerdictPassed, Steps: []v1alpha1.StepResult{}, Expected: []string{}})
			}
			return rep, nil
		},
	}
	dir := filepath.Join(t.TempDir(), "report")
	code, stdout, stderr := call(t, w, "", "suite", "--matrix", "kubernetes=1.34,1.37,runtime=containerd,crio", "--only", "name=swap-on", "--report", dir)
	if code != exitTrouble || !strings.Contains(stderr, "no such image") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	var ups []string
	for _, u := range w.ups {
		ups = append(ups, u.Name+" "+u.Image)
	}
	if want := []string{"sickbay-1-34-containerd node:1.34-containerd", "sickbay-1-37-containerd node:1.37-containerd", "sickbay-1-37-crio node:1.37-crio"}; !slices.Equal(ups, want) {
		t.Errorf("made %v", ups)
	}
	if want := []string{"sickbay-1-34-containerd", "sickbay-1-34-crio", "sickbay-1-37-containerd", "sickbay-1-37-crio"}; !slices.Equal(w.downs, want) {
		t.Errorf("taken down %v", w.downs)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "report.json"))
	var rep v1alpha1.Report
	if err := errors.Join(err, json.Unmarshal(raw, &rep)); err != nil {
		t.Fatal(err)
	}
	verdicts := map[string]v1alpha1.Verdict{}
	for _, r := range rep.Results {
		verdicts[r.Named()] = r.Verdict
	}
	if len(verdicts) != 4 || verdicts["swap-on (kubernetes=1.34,runtime=crio)"] != v1alpha1.VerdictUnknown || verdicts["swap-on (kubernetes=1.37,runtime=crio)"] != v1alpha1.VerdictPassed {
		t.Errorf("%v", verdicts)
	}
	if !strings.Contains(stdout, "swap-on (kubernetes=1.37,runtime=containerd)") {
		t.Error(stdout)
	}
	w.report = func(context.Context, []*scenarios.Scenario, suites.Options) (*v1alpha1.Report, error) {
		return nil, suites.ErrInterrupted
	}
	if code, _, stderr := call(t, w, "", "suite", "--matrix", "kubernetes=1.37", "--only", "name=swap-on"); code != exitInterrupted {
		t.Errorf("interrupted: exit code %d\n%s", code, stderr)
	}
	if code, _, _ := call(t, w, "", "suite", "--matrix", "runtime=docker"); code != exitUsage {
		t.Errorf("a wrong matrix: exit code %d", code)
	}
}
