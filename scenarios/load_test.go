package scenarios

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// good is a scenario that loads; each bad input is one edit away from it.
const good = `apiVersion: sickbay.dev/v1alpha1
kind: Scenario
metadata:
  name: try
spec:
  title: a try
  profile: extended
  fidelity: {level: real}
  inject:
    - mechanism: cni-config
      params:
        action: remove
  manifest:
    - log: {unit: kubelet, contains: cni plugin not initialized}
  expect:
    - {failure: cni, cause: conflist-missing}
  timeouts:
    manifest: 90s
`

func TestGoodLoads(t *testing.T) {
	s, err := Parse([]byte(good), "try.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Spec.Timeouts; got.Manifest.Std() != 90*time.Second || got.Clear != 0 {
		t.Errorf("timeouts: %+v", got)
	}
	if s.Spec.Inject[0].Line != 10 {
		t.Errorf("the action stands in line 10, not %d", s.Spec.Inject[0].Line)
	}
}

func TestBadInput(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		want           string // first line of the message
	}{
		{"unknown field at the top", "kind: Scenario", "kind: Scenario\nspek: {}", `try.yaml:3:1: unknown field "spek" in the document; did you mean "spec"?`},
		{"unknown field deep", "  manifest:\n", "  manifst:\n", `try.yaml:13:3: unknown field "manifst" in spec; did you mean "manifest"?`},
		{"unknown field in a flow mapping", "{unit: kubelet,", "{unti: kubelet,", `try.yaml:14:13: unknown field "unti" in spec.manifest[0].log; did you mean "unit"?`},
		{"unknown field with nothing near", "title: a try", "title: a try\n  zzzzzz: 1", `try.yaml:7:3: unknown field "zzzzzz" in spec`},
		{"wrong case", "  profile:", "  Profile:", `try.yaml:7:3: unknown field "Profile" in spec; did you mean "profile"?`},
		{"number for a string", "title: a try", "title: 12", `try.yaml:6:10: title must be a string, not the number 12: put it in quotes`},
		{"boolean for a string", "- log: {unit: kubelet, contains: cni plugin not initialized}", "- condition: {type: Ready, status: False}", `try.yaml:14:40: status must be a string, not the boolean False: put it in quotes`},
		{"string for a list", "profile: extended", "profile: extended\n  guide: here", `try.yaml:8:10: guide must be a list, not a string`},
		{"list for a mapping", "fidelity: {level: real}", "fidelity: [real]", `try.yaml:8:3: fidelity must be a mapping of fields, not a list`},
		{"missing field", "  title: a try\n", "", `try.yaml:5:1: spec lacks the field "title"`},
		{"empty value", "title: a try", "title:", `try.yaml:6:3: title is empty`},
		{"unknown mechanism", "mechanism: cni-config", "mechanism: cni-confg", `try.yaml:10:18: there is no mechanism "cni-confg"; did you mean "cni-config"?`},
		{"unknown parameter", "action: remove", "acton: remove", `try.yaml:12:9: mechanism cni-config has no parameter "acton"; did you mean "action"?`},
		{"parameter of the wrong type", "action: remove", "action: 3", `try.yaml:12:17: action must be a string, not the number 3: put it in quotes`},
		{"parameter out of range", "mechanism: cni-config\n      params:\n        action: remove", "mechanism: fill-disk\n      params:\n        path: /x\n        leavePercent: 120", `try.yaml:13:23: fill-disk: leavePercent 120: want 0 to 99`},
		{"deep parameter", "mechanism: cni-config\n      params:\n        action: remove", "mechanism: freeze-filesystem\n      params:\n        disturb: {pot: app}", `try.yaml:12:19: mechanism freeze-filesystem has no parameter "pot"; did you mean "pod"?`},
		{"the shared kernel unclaimed", "mechanism: cni-config\n      params:\n        action: remove", "mechanism: swap", "try.yaml:10:18: mechanism swap reaches the kernel that all nodes share: the scenario must say `claims: [host]`"},
		{"every node, which others may have", "mechanism: cni-config", "mechanism: cni-config\n      on: every-node", "try.yaml:11:11: on every-node reaches nodes that other runs may have: the scenario must say `claims: [host]`"},
		{"a place where nothing is injected", "mechanism: cni-config", "mechanism: cni-config\n      on: host", `try.yaml:11:11: on "host" is unknown: it must be victim or every-node`},
		{"duration without a unit", "manifest: 90s", "manifest: 90", `try.yaml:18:15: manifest must be a duration such as 90s or 5m, not the number 90`},
		{"no duration", "manifest: 90s", "manifest: soon", `try.yaml:18:15: manifest: "soon" is no duration: write it like 90s, 5m or 1h30m`},
		{"negative duration", "manifest: 90s", "manifest: -5s", `try.yaml:18:15: manifest: -5s is impossible: a duration must be above zero`},
		{"zero duration", "manifest: 90s", "manifest: 0s", `try.yaml:18:15: manifest: 0s is impossible: a duration must be above zero`},
		{"endless duration", "manifest: 90s", "manifest: 900h", `try.yaml:18:15: manifest: 900h is impossible: no step may take longer than 1h0m0s`},
		{"unknown failure", "failure: cni", "failure: cin", `try.yaml:16:17: there is no failure "cin"; did you mean "cni"?`},
		{"unknown cause", "cause: conflist-missing", "cause: conflict-missing", `try.yaml:16:29: failure cni has no cause "conflict-missing"; did you mean "conflist-missing"?`},
		{"cause of another failure", "cause: conflist-missing", "cause: swap-on", `try.yaml:16:29: failure cni has no cause "swap-on": it has conflist-missing, conflist-invalid, plugin-binary-missing, ipam-exhausted, bridge-netfilter-off`},
		{"two matcher kinds", "{unit: kubelet, contains: cni plugin not initialized}", "{unit: kubelet, contains: x}\n      event: {reason: Failed}", `try.yaml:14:7: a matcher needs exactly one of log, event, condition, pod, unit, allocatable, throttled, cgroup; this one has log and event: make each an entry of its own`},
		{"no matcher kind", "- log: {unit: kubelet, contains: cni plugin not initialized}", "- {}", `try.yaml:14:7: a matcher needs exactly one of log, event, condition, pod, unit, allocatable, throttled, cgroup; this one has none`},
		{"matcher that matches all", "contains: cni plugin not initialized", `contains: ""`, `try.yaml:14:38: contains is empty: it would match everything`},
		{"unknown unit", "unit: kubelet", "unit: kublet", `try.yaml:14:19: unit "kublet" is unknown: it must be kubelet or containerd or crio or kernel; did you mean "kubelet"?`},
		{"other version", "sickbay.dev/v1alpha1", "sickbay.dev/v1", `try.yaml:1:13: apiVersion "sickbay.dev/v1" is unknown: it must be sickbay.dev/v1alpha1`},
		{"other kind", "kind: Scenario", "kind: Pod", `try.yaml:2:7: kind "Pod" is unknown: it must be Scenario`},
		{"contained without a sentence", "{level: real}", "{level: contained}", "try.yaml:8:3: a contained fault must say in `differs` how it differs from a real node"},
		{"name", "name: try", "name: Try It", `try.yaml:4:9: name "Try It" is no DNS label: lower-case letters, digits and dashes, at most 63`},
		{"nothing to inject", "inject:\n    - mechanism: cni-config\n      params:\n        action: remove\n", "inject: []\n", `try.yaml:9:3: inject is empty: a scenario needs a fault`},
		{"duplicate key", "title: a try", "title: a try\n  title: b", `try.yaml:7:3: mapping key "title" already defined at [6:3]`},
		{"no image's name", "fidelity: {level: real}", "fidelity: {level: real}\n  registry: {images: [Shop]}", `try.yaml:9:23: image "Shop": want a repository and a tag, such as shop/app:1.0`},
		{"an empty registry", "fidelity: {level: real}", "fidelity: {level: real}\n  registry: {images: []}", `try.yaml:9:14: images is empty: a registry without an image answers nothing but "not found"`},
		{"a value that is not there", "action: remove", `action: "{{.Registry.Host}}"`, `try.yaml:11:7: action: template: params:1:11: executing "params" at <.Registry.Host>: nil pointer evaluating *scenarios.RegistryValues.Host`},
		{"no YAML", "kind: Scenario", "kind: [Scenario", `try.yaml:3:1: ',' or ']' must be specified`},
		{"two documents", "kind: Scenario", "kind: Scenario\n---\nkind: Scenario", `try.yaml:4:1: one file holds one scenario; this is a second document`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(good, c.old) {
				t.Fatalf("the good scenario has no %q", c.old)
			}
			_, err := Parse([]byte(strings.Replace(good, c.old, c.new, 1)), "try.yaml")
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("want an *Error, got %v", err)
			}
			lines := strings.Split(err.Error(), "\n")
			if lines[0] != c.want {
				t.Errorf("got  %s\nwant %s", lines[0], c.want)
			}
			if len(lines) < 3 || !strings.HasSuffix(lines[2], "^") {
				t.Errorf("no caret:\n%s", err)
			}
		})
	}
}

func TestCaretStandsUnderTheName(t *testing.T) {
	_, err := Parse([]byte(strings.Replace(good, "  manifest:\n", "  manifst:\n", 1)), "try.yaml")
	lines := strings.Split(err.Error(), "\n")
	at := strings.Index(lines[1], "manifst")
	if at < 0 || strings.Index(lines[2], "^") != at {
		t.Errorf("\n%s", err)
	}
}

func TestEveryMistakeIsTold(t *testing.T) {
	doc := strings.NewReplacer("  manifest:\n", "  manifst:\n", "title: a try", "title: 12").Replace(good)
	_, err := Parse([]byte(doc), "try.yaml")
	var e *Error
	if !errors.As(err, &e) || len(e.Problems) != 2 {
		t.Fatalf("want two problems, got:\n%v", err)
	}
}

func TestEmptyFile(t *testing.T) {
	for _, doc := range []string{"", "# nothing\n", "---\n"} {
		if _, err := Parse([]byte(doc), "try.yaml"); err == nil || !strings.Contains(err.Error(), "try.yaml") {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

func TestWorkload(t *testing.T) {
	for _, c := range []struct{ name, field, manifest, want string }{
		{"missing file", "worklod.yaml", "", `there is no file "worklod.yaml" beside the scenario; did you mean "workload.yaml"?`},
		{"not bound to the victim", "workload.yaml", "kind: Pod", "never uses {{.Node}}"},
		{"unknown value", "workload.yaml", "nodeName: {{.Node}} {{.Image}} {{.Pod}}", "can't evaluate field Pod"},
		{"broken template", "workload.yaml", "{{.Node", "no valid template"},
		{"good", "workload.yaml", "nodeName: {{.Node}}", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "workload.yaml"), c.manifest)
			write(t, filepath.Join(dir, FileName), strings.Replace(good, "  inject:", "  workload: "+c.field+"\n  inject:", 1))
			s, err := Load(dir)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if out, err := s.RenderWorkload(WorkloadValues{Node: "w1"}); err != nil || out != "nodeName: w1" {
					t.Errorf("rendered %q, %v", out, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant …%s…", err, c.want)
			}
		})
	}
}

func TestRollout(t *testing.T) {
	for _, c := range []struct{ name, action, manifest, want string }{
		{"missing file", "{mechanism: workload, params: {manifest: faulti.yaml}}", "kind: Pod", `there is no file "faulti.yaml" beside the scenario; did you mean "faulty.yaml"?`},
		{"no file named", "{mechanism: workload}", "kind: Pod", "needs the parameter manifest"},
		{"unknown parameter", "{mechanism: workload, params: {file: faulty.yaml}}", "kind: Pod", `mechanism workload has no parameter "file"`},
		{"broken template", "{mechanism: workload, params: {manifest: faulty.yaml}}", "{{.Node", "manifest faulty.yaml is no valid template"},
		{"on a node", "{mechanism: workload, params: {manifest: faulty.yaml}, on: every-node}", "kind: Pod", "acts through the API"},
		{"good", "{mechanism: workload, params: {manifest: faulty.yaml}}", "image: {{.Image}}", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "faulty.yaml"), c.manifest)
			write(t, filepath.Join(dir, FileName), strings.Replace(good, "    - mechanism: cni-config\n      params:\n        action: remove\n", "    - "+c.action+"\n", 1))
			s, err := Load(dir)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v\nwant …%s…", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if out, err := s.Render(s.Spec.Inject[0].Rollout().Manifest, WorkloadValues{Image: "agnhost:1"}); err != nil || out != "image: agnhost:1" {
				t.Errorf("rendered %q, %v", out, err)
			}
		})
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLookup(t *testing.T) {
	if _, err := Lookup("pleg-disk"); err != nil {
		t.Error(err)
	}
	_, err := Lookup("pleg-dsik")
	var nf *NotFoundError
	if !errors.As(err, &nf) || !slices.Contains(nf.Nearest, "pleg-disk") {
		t.Errorf("got %v", err)
	}
	if _, err := Lookup("zzzzzzzzzz"); !errors.As(err, &nf) || len(nf.Nearest) != 0 {
		t.Errorf("got %v", err)
	}
	if _, err := Find("./no/such.yaml"); err == nil || errors.As(err, &nf) {
		t.Errorf("a missing file is not an unknown name: %v", err)
	}
}

// TestParams: texts in parameters are filled with the run's values, at any depth, and nothing else is touched.
func TestParams(t *testing.T) {
	a := v1alpha1.Action{Params: map[string]any{"host": "{{.Registry.Host}}:443", "n": 3, "set": map[string]any{"of": []any{"{{.Node}}", true}}}}
	got, err := WorkloadValues{Node: "w1", Registry: &RegistryValues{Host: "r.test"}}.Params(a)
	if want := `{"host":"r.test:443","n":3,"set":{"of":["w1",true]}}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	if a.Params["host"] != "{{.Registry.Host}}:443" {
		t.Error("the scenario itself was changed")
	}
}

// TestAll holds every scenario that comes with sickbay to the vocabulary.
func TestAll(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != len(Names()) || len(all) < 3 {
		t.Fatalf("%d scenarios load, %d are there", len(all), len(Names()))
	}
	compounds := map[string]bool{}
	for _, c := range failures.Compounds() {
		compounds[c.Name] = true
		if !slices.Contains(Names(), c.Name) {
			t.Errorf("there is no scenario %s, of section %s", c.Name, c.Section)
		}
	}
	for _, f := range failures.All() {
		for _, c := range f.Causes {
			if name := failures.ScenarioName(f.Name, c.Name); !slices.Contains(Names(), name) {
				t.Errorf("there is no scenario %s, which makes %s/%s happen", name, f.Name, c.Name)
			}
		}
	}
	for _, s := range all {
		t.Run(s.Metadata.Name, func(t *testing.T) {
			name, variant := s.Metadata.Name, false
			if !compounds[name] {
				e := s.Spec.Expect[0]
				want := failures.ScenarioName(e.Failure, e.Cause)
				// Another way to the same cause adds a word to its scenario's name, and is never core.
				variant = strings.HasPrefix(name, want+"-")
				if want != name && !variant {
					t.Errorf("the scenario of %s/%s is called %q, another one of it %q", e.Failure, e.Cause, want, want+"-…")
				}
			}
			// Whether a cause is core is said once, in package failures.
			core := compounds[name]
			if f, ok := failures.Lookup(s.Spec.Expect[0].Failure); ok && !core && !variant {
				c, _ := f.Cause(s.Spec.Expect[0].Cause)
				core = c.Core
			}
			if core != (s.Spec.Profile == "core") {
				t.Errorf("profile %q, but the vocabulary says core=%t", s.Spec.Profile, core)
			}
			if s.Spec.Workload == "" {
				t.Error("no workload: nothing would prove that the node ran pods before")
			}
			draft := false
			for _, e := range s.Spec.Expect {
				f, _ := failures.Lookup(e.Failure)
				draft = draft || f.Draft()
			}
			if len(s.Spec.Guide) == 0 && !draft {
				t.Error("no section of the guide named")
			}
			for _, m := range s.Spec.Manifest {
				if m.Log != nil && len(m.Log.Contains) < 8 {
					t.Errorf("log matcher %q would match by chance", m.Log.Contains)
				}
			}
		})
	}
}

func TestNearest(t *testing.T) {
	names := []string{"pleg-disk", "swap-on", "conflist-missing", "conflist-invalid"}
	for in, want := range map[string]string{
		"plegdisk": "pleg-disk", "swapon": "swap-on", "pelg-disk": "pleg-disk", "SWAP-ON": "swap-on",
		"conflist": "conflist-missing", "x": "", "completely-else": "",
	} {
		if got := nearest(in, names); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}
