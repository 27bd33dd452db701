package all_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// Recordings of real runs: `make record` writes them, want.yaml says what they must replay to; recorded is of cgroup v1,
// recorded-v2 of the virtual machine. The node before the fault is silent, ill it is what the scenario expects and nothing else, and
// cleared it is silent again.
func TestRecorded(t *testing.T) {
	wants, err := filepath.Glob("testdata/recorded*/*/want.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range wants {
		dir := filepath.Dir(path)
		t.Run(filepath.Join(filepath.Base(filepath.Dir(dir)), filepath.Base(dir)), func(t *testing.T) {
			ill := recorded(t, dir)
			judged(t, "ill", ill, wanted(t, dir))
			if len(ill) > 1 { // one look: nobody looked before
				judged(t, "before the fault", ill[:1], nil)
			}
			if _, err := os.Stat(filepath.Join(dir, "cleared")); err == nil {
				judged(t, "cleared", recorded(t, filepath.Join(dir, "cleared")), nil)
			}
		})
	}
}

// Every scenario of the core profile was recorded on both cgroup versions.
func TestCoreIsRecorded(t *testing.T) {
	list, err := scenarios.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		for _, on := range []string{"recorded", "recorded-v2"} {
			if _, err := os.Stat(filepath.Join("testdata", on, s.Metadata.Name, "want.yaml")); s.Spec.Profile == "core" && err != nil {
				t.Error(err)
			}
		}
	}
}

// Where the kernel killed the whole container and not one process of it, the finding has the kernel's word for that.
func TestWholeContainerIsKilled(t *testing.T) {
	for dir, want := range map[string]bool{"recorded": false, "recorded-v2": true} {
		found := all.Judge(recorded(t, filepath.Join("testdata", dir, "memory-limit")))
		if len(found) != 1 {
			t.Fatalf("%s: %v", dir, detectorstest.Names(found))
		}
		// The line is as long as the paths in it: its end must have survived.
		said := slices.ContainsFunc(found[0].Evidence, func(e v1alpha1.Evidence) bool { return strings.HasSuffix(e.Text, "due to memory.oom.group set") })
		if said != want {
			t.Errorf("%s: said %v, want %v\n%s", dir, said, want, detectorstest.Describe(found))
		}
	}
}

// BenchmarkRecorded replays all recordings once: 2 s is what everybody waits for.
func BenchmarkRecorded(b *testing.B) {
	dirs, err := filepath.Glob("testdata/recorded*/*")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for _, dir := range dirs {
			all.Judge(read(b, dir))
		}
	}
	b.ReportMetric(float64(len(dirs)), "recordings/op")
}

// recordings are those that were read: several tests judge each, and no judgement changes one.
var recordings = map[string]v1alpha1.History{}

func recorded(t testing.TB, dir string) v1alpha1.History {
	t.Helper()
	if recordings[dir] == nil {
		recordings[dir] = read(t, dir)
	}
	return recordings[dir]
}

func read(t testing.TB, dir string) v1alpha1.History {
	t.Helper()
	nodes, _, err := diagnose.FromBundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes) != 1 {
		t.Fatalf("%s has %d nodes, want the victim alone", dir, len(nodes))
	}
	for _, h := range nodes {
		for i := range h {
			detectorstest.Redact(&h[i])
		}
		return h
	}
	return nil
}

// wanted is what a recording must replay to.
func wanted(t *testing.T, dir string) []string {
	t.Helper()
	var want struct{ Findings []string }
	raw, err := os.ReadFile(filepath.Join(dir, "want.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(raw, &want); err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	return want.Findings
}

func judged(t *testing.T, when string, h v1alpha1.History, want []string) {
	t.Helper()
	found := all.Judge(h)
	got := detectorstest.Names(found)
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("%s: found %v, want %v\n%s", when, got, want, detectorstest.Describe(found))
	}
}

// A scenario declares a destructive remedy exactly where the findings of its recordings have one.
func TestScenariosDeclareDestructiveRemedies(t *testing.T) {
	list, err := scenarios.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		dirs, err := filepath.Glob(filepath.Join("testdata", "recorded*", s.Metadata.Name))
		if err != nil || len(dirs) == 0 {
			continue
		}
		destructive := ""
		for _, dir := range dirs {
			for _, f := range all.Judge(recorded(t, dir)) {
				if f.Remedy == nil { // nobody vouches for the CA of a recorded registry
					continue
				}
				for _, step := range f.Remedy.Steps {
					if step.Class == v1alpha1.Destructive {
						destructive = step.Run
					}
				}
			}
		}
		// What shows only after a first remedy is in no recording.
		behind := slices.ContainsFunc(s.Spec.Expect, func(e v1alpha1.Expected) bool { return e.AfterRemedy })
		if s.Spec.DestructiveRemedy != (destructive != "") && !(behind && s.Spec.DestructiveRemedy) {
			t.Errorf("%s declares destructiveRemedy: %t, its recordings have %q", s.Metadata.Name, s.Spec.DestructiveRemedy, destructive)
		}
	}
}
