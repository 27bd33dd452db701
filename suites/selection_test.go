package suites

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/scenarios"
)

func selected(t *testing.T, s Selection) []string {
	t.Helper()
	list, _, err := Select(s)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, sc := range list {
		out = append(out, sc.Metadata.Name)
	}
	return out
}

func TestProfiles(t *testing.T) {
	files, err := fs.Glob(shipped, "profiles/*.yaml")
	if err != nil || len(files) != len(Profiles()) {
		t.Errorf("%v are there, %v are named: %v", files, Profiles(), err)
	}
	core, extended, all := selected(t, Selection{Profile: "core"}), selected(t, Selection{Profile: "extended"}), selected(t, Selection{Profile: "all"})
	if len(core) != 18 || len(core)+len(extended) != len(all) || len(all) != len(scenarios.Names()) {
		t.Errorf("%d core, %d extended, %d in all", len(core), len(extended), len(all))
	}
	for _, n := range selected(t, Selection{Profile: "decoys"}) {
		if _, err := os.Stat(filepath.Join("decoys", n)); err != nil {
			t.Error(err)
		}
	}
}

func TestSelectors(t *testing.T) {
	for _, c := range []struct {
		only, skip []string
		want       string // names, or an error's words
	}{
		{[]string{"swap-on"}, nil, "swap-on"},
		{[]string{"failure=swap", "cause=*/runtime-hung"}, nil, "runtime-hung swap-on"},
		{[]string{"cni"}, []string{"cause=ipam-*", "conflist-invalid", "needs=bridge-*", "containercreating-cni"}, "conflist-missing plugin-binary-missing"},
		{[]string{"needs=host,failure=swap"}, nil, "swap-on"},
		{[]string{"failure=image-pull,needs=registry,profile=core"}, nil, "imagepull-private-registry registry-tls"},
		{[]string{"failure=cin"}, nil, "--only failure=cin: no scenario is like that"},
		{nil, []string{"swpa-on"}, "--skip swpa-on: no scenario is like that"},
		{[]string{"kind=cni"}, nil, `want a name or KEY=PATTERN with one of cause`},
		{[]string{"swap-on,"}, nil, `want a name or KEY=PATTERN`},
		{[]string{"swap-on"}, []string{"*"}, "nothing is left to run"},
	} {
		list, _, err := Select(Selection{Profile: "all", Only: c.only, Skip: c.skip})
		var got []string
		for _, sc := range list {
			got = append(got, sc.Metadata.Name)
		}
		text := strings.Join(got, " ")
		if err != nil {
			text = err.Error()
			if ExitCode(nil, err) != 2 {
				t.Errorf("%v: exit code %d", err, ExitCode(nil, err))
			}
		}
		if text != c.want && (err == nil || !strings.Contains(text, c.want)) {
			t.Errorf("only %v, skip %v: %s, want %s", c.only, c.skip, text, c.want)
		}
	}
}

const ownScenario = `apiVersion: sickbay.dev/v1alpha1
kind: Scenario
metadata: {name: gpu-gone, labels: {team: gpu}}
spec:
  title: The graphics card fell off the bus
  profile: extended
  fidelity: {level: real}
  inject: [{mechanism: cni-config, params: {action: remove}}]
  manifest: [{log: {unit: kernel, contains: fallen off the bus}}]
  vocabulary: vocabulary.yaml
  expect: [{failure: gpu-lost, cause: xid-79}]
`

const ownVocabulary = `apiVersion: sickbay.dev/v1alpha1
kind: Vocabulary
failures: [{name: gpu-lost, causes: [{name: xid-79}]}]
`

// TestOwnProfile: a profile of one's own brings scenarios of one's own, with failures that sickbay does not know.
func TestOwnProfile(t *testing.T) {
	write := func(file, text string) string {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	dir := t.TempDir()
	scenario := write(filepath.Join(dir, "faults/gpu-gone/scenario.yaml"), ownScenario)
	vocabulary := write(filepath.Join(dir, "faults/gpu-gone/vocabulary.yaml"), ownVocabulary)
	file := write(filepath.Join(dir, "ci/smoke.yaml"), "apiVersion: sickbay.dev/v1alpha1\nkind: Profile\nmetadata: {name: smoke}\nscenarios: [../faults/*]\nonly: [label=team=gpu, swap-on]\n")
	if got := selected(t, Selection{Profile: file}); !slices.Equal(got, []string{"gpu-gone", "swap-on"}) {
		t.Error(got)
	}
	if _, name, _ := Select(Selection{Profile: file, Only: []string{"gpu-lost/xid-79"}}); name != "smoke" {
		t.Errorf("the profile is called %q", name)
	}
	for _, c := range []struct{ file, text, want string }{
		{file, "kind: Profil\n", "want sickbay.dev/v1alpha1 Profile"},
		{file, "apiVersion: sickbay.dev/v1alpha1\nkind: Profile\nmetadata: {name: ''}\n", "has no metadata.name"},
		{file, "apiVersion: sickbay.dev/v1alpha1\nkind: Profile\nmetadata: {name: a}\nonly: swap-on\n", "smoke.yaml:4:7: only must be a list, not a string"},
		{file, "apiVersion: sickbay.dev/v1alpha1\nkind: Profile\nmetadata: {name: a}\nscenarios: [nowhere]\n", `scenarios "nowhere": there is none`},
		{vocabulary, strings.Replace(ownVocabulary, "xid-79", "xid-80", 1), `there is no failure "gpu-lost"`},
		{vocabulary, strings.Replace(ownVocabulary, "gpu-lost", "cni", 1), "none of sickbay's own names"},
		{vocabulary, "apiVersion: sickbay.dev/v1alpha1\nkind: Vocabulary\nfailures: [\n- {name: 3}\n]", "vocabulary.yaml:4:"},
		{vocabulary, "kind: Vocab\n", "want sickbay.dev/v1alpha1 Vocabulary"},
		{scenario, strings.Replace(ownScenario, "vocabulary.yaml", "words.yaml", 1), `there is no file "words.yaml" beside the scenario`},
	} {
		was, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		write(c.file, c.text)
		if _, _, err := Select(Selection{Profile: file}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
		write(c.file, string(was))
	}
}

// TestDocumentedFiles: the files that docs/detectors.md shows are read as they stand there.
func TestDocumentedFiles(t *testing.T) {
	raw, err := os.ReadFile("../docs/detectors.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]any{
		v1alpha1.KindMapping: &v1alpha1.Mapping{}, v1alpha1.KindProfile: &v1alpha1.Profile{}, v1alpha1.KindKnownFailures: &v1alpha1.KnownFailures{},
		v1alpha1.KindVocabulary: &v1alpha1.Vocabulary{}, v1alpha1.KindDetectorRequest: &v1alpha1.DetectorRequest{}, "": &v1alpha1.Diagnosis{},
	}
	for _, block := range strings.Split(string(raw), "```")[1:] {
		language, text, _ := strings.Cut(block, "\n")
		if language != "yaml" && language != "json" {
			continue
		}
		if strings.HasPrefix(text, "  ") { // in a list
			text = strings.ReplaceAll("\n"+text, "\n  ", "\n")
		}
		var kind struct{ Kind string }
		if err := yaml.Unmarshal([]byte(text), &kind); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if into := kinds[kind.Kind]; into == nil {
			t.Errorf("kind %q twice, or unknown", kind.Kind)
		} else if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
		delete(kinds, kind.Kind)
	}
	if len(kinds) > 0 {
		t.Errorf("not shown: %v", kinds)
	}
}
