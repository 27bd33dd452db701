package conformance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/suites"
	"github.com/sickbay-dev/sickbay/suites/detector"
	"github.com/sickbay-dev/sickbay/suites/rehearsal"
)

// TestRehearsal: the detectors that read the API see what a scenario shows there.
func TestRehearsal(t *testing.T) {
	rep, err := Suite(t.Context(), Options{
		Testbed: rehearsal.New(2), Scenarios: []string{"conflist-missing", "nodefs-full", "swap-on", "registry-tls"},
		Options: suites.Options{Timings: rehearsal.Timings(), Detectors: []detector.Entry{detector.Kubectl(), detector.Conditions("conditions", nil), detector.NPD(), detector.None()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range rep.Results {
		for _, d := range r.Detectors {
			for _, e := range d.Expected {
				if e.Found {
					got[r.Scenario] += d.Detector + " "
				}
			}
		}
		if r.Scenario == "swap-on" && r.Verdict != v1alpha1.VerdictUnsupported {
			t.Errorf("a unit is no part of a rehearsal: %s: %s", r.Verdict, r.Reason)
		}
		if r.Scenario == "registry-tls" && r.FailedAt == v1alpha1.StepBaseline {
			t.Errorf("a rehearsal's registry has no CA: %s", r.Reason)
		}
	}
	if got["conflist-missing"] != "kubectl " || got["nodefs-full"] != "kubectl " {
		t.Errorf("found by: %v", got)
	}
}

const module = `package mine

import (
	"context"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/suites"
	"github.com/sickbay-dev/sickbay/suites/conformance"
	"github.com/sickbay-dev/sickbay/suites/detector"
	"github.com/sickbay-dev/sickbay/suites/rehearsal"
)

// mine reads each node's journal.
type mine struct{ words string }

func (m mine) Diagnose(ctx context.Context, look detector.Look) (v1alpha1.Diagnosis, error) {
	var d v1alpha1.Diagnosis
	for _, n := range look.Nodes {
		log, err := look.Run(ctx, n.Name, "journalctl", "-u", "kubelet")
		if err != nil {
			return d, err
		}
		if strings.Contains(string(log), m.words) {
			d.Findings = append(d.Findings, v1alpha1.Finding{Failure: "cni", Cause: "conflist-missing", Node: n.Name})
		}
	}
	return d, nil
}

func options(d detector.Detector) conformance.Options {
	return conformance.Options{
		Testbed: rehearsal.New(2), Scenarios: []string{"conflist-missing"},
		Options: suites.Options{Detectors: []detector.Entry{detector.New("mine", d), detector.None()}, Timings: rehearsal.Timings()},
	}
}

func TestFinds(t *testing.T) {
	rep := conformance.Run(t, options(mine{"cni plugin not initialized"}))
	if s := rep.Scores[0]; s.RightCause.N != 1 || s.FalseBystander.N != 0 {
		t.Errorf("%+v", s)
	}
}

func TestMisses(t *testing.T) { conformance.Run(t, options(mine{"something else"})) }
`

// TestOutsideModule: a module outside this repository imports the packages and is judged by its own detector.
func TestOutsideModule(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		raw, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		text := string(raw)
		if name == "go.mod" {
			text = strings.Replace(text, "module github.com/sickbay-dev/sickbay\n", "module example.test/mine\n", 1) +
				"\nrequire github.com/sickbay-dev/sickbay v0.0.0\n\nreplace github.com/sickbay-dev/sickbay => " + root + "\n"
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "mine_test.go"), []byte(module), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("go", "test", "-v", ".")
	c.Dir, c.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod -trimpath", "GOPROXY=off", "GOWORK=off")
	out, err := c.CombinedOutput()
	if err == nil {
		t.Error("a detector that misses passed")
	}
	for _, want := range []string{
		"--- PASS: TestFinds/conflist-missing/mine", "--- FAIL: TestMisses/conflist-missing/mine", "missed: cni/conflist-missing", "--- PASS: TestMisses/conflist-missing/none",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
