package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

func readYAML(t *testing.T, file string, strict bool, into any) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	unmarshal := yaml.Unmarshal
	if strict {
		unmarshal = func(b []byte, v any, _ ...yaml.JSONOpt) error { return yaml.UnmarshalStrict(b, v) }
	}
	if err := unmarshal(raw, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return string(raw)
}

// The Indexed Job is one that the API server would take, with as many shards as pods.
func TestIndexedJob(t *testing.T) {
	var job batchv1.Job
	readYAML(t, "ci/kubernetes.yaml", true, &job)
	s := job.Spec
	if s.CompletionMode == nil || *s.CompletionMode != batchv1.IndexedCompletion || s.BackoffLimitPerIndex == nil || *s.BackoffLimitPerIndex != 0 {
		t.Errorf("%+v", s)
	}
	shards := ""
	for _, e := range s.Template.Spec.Containers[0].Env {
		if e.Name == "SHARDS" {
			shards = e.Value
		}
	}
	// With a limit on failed indexes the Job would end the other shards as soon as one fails.
	if n := *s.Completions; shards != strconv.Itoa(int(n)) || *s.Parallelism < n || s.MaxFailedIndexes != nil {
		t.Errorf("%d completions, %d at a time, %s shards", n, *s.Parallelism, shards)
	}
	script := s.Template.Spec.Containers[0].Args[0]
	for line := range strings.Lines(script) {
		if strings.Contains(line, "sickbay engine") || strings.Contains(line, "docker ") {
			if !strings.HasSuffix(strings.TrimSpace(line), ">&2") {
				t.Errorf("%q writes into the report's log", line)
			}
		}
	}
}

// TestStandbyManifest: each document is one that the API server would take, and what is used together has the same names.
func TestStandbyManifest(t *testing.T) {
	raw, err := os.ReadFile("deploy/standby.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var set appsv1.DaemonSet
	var account corev1.ServiceAccount
	var role rbacv1.ClusterRole
	var binding rbacv1.ClusterRoleBinding
	into := map[string]any{"Namespace": &corev1.Namespace{}, "ServiceAccount": &account, "ClusterRole": &role, "ClusterRoleBinding": &binding, "DaemonSet": &set}
	for _, doc := range strings.Split(string(raw), "\n---\n") {
		var kind struct{ Kind string }
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil || into[kind.Kind] == nil {
			t.Fatalf("%q: %v", kind.Kind, err)
		}
		if err := yaml.UnmarshalStrict([]byte(doc), into[kind.Kind]); err != nil {
			t.Errorf("%s: %v", kind.Kind, err)
		}
		delete(into, kind.Kind)
	}
	if len(into) > 0 {
		t.Errorf("not there: %v", into)
	}
	if binding.RoleRef.Name != role.Name || binding.Subjects[0].Name != account.Name || binding.Subjects[0].Namespace != set.Namespace || set.Spec.Template.Spec.ServiceAccountName != account.Name {
		t.Errorf("%+v %+v", binding, set.Spec.Template.Spec)
	}
	for k, v := range set.Spec.Selector.MatchLabels {
		if set.Spec.Template.Labels[k] != v {
			t.Errorf("the pods lack %s=%s", k, v)
		}
	}
	for _, r := range role.Rules {
		for _, v := range r.Verbs {
			if v != "list" && v != "get" && !(v == "patch" && slices.Equal(r.Resources, []string{"nodes/status"})) {
				t.Errorf("it may %s %v", v, r.Resources)
			}
		}
	}
}

// The action's inputs are what its script reads, and what the workflows and the page give it.
func TestActionInputs(t *testing.T) {
	var action struct {
		Inputs, Outputs map[string]any
		Runs            struct{ Using string }
	}
	text := readYAML(t, "../action.yml", false, &action)
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`inputs\.([a-z-]+)`).FindAllStringSubmatch(text, -1) {
		used[m[1]] = true
		if action.Inputs[m[1]] == nil {
			t.Errorf("action.yml reads the input %s, which it has not", m[1])
		}
	}
	for name := range action.Inputs {
		if !used[name] {
			t.Errorf("nothing reads the input %s", name)
		}
	}
	steps := 0
	check := func(file string, jobs map[string]struct{ Steps []map[string]any }) {
		for _, j := range jobs {
			for _, s := range j.Steps {
				with, _ := s["with"].(map[string]any)
				if uses, _ := s["uses"].(string); uses != "./" && !strings.HasPrefix(uses, "sickbay-dev/sickbay@") {
					continue
				}
				steps++
				for name := range with {
					if action.Inputs[name] == nil {
						t.Errorf("%s: the action has no input %s", file, name)
					}
				}
			}
		}
	}
	workflows, err := filepath.Glob("../.github/workflows/*.yml")
	if err != nil || len(workflows) == 0 {
		t.Fatal("no workflow", err)
	}
	type workflow struct {
		Jobs map[string]struct{ Steps []map[string]any }
	}
	for _, file := range workflows {
		var w workflow
		readYAML(t, file, false, &w)
		check(file, w.Jobs)
	}
	page, err := os.ReadFile("ci.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(page), "```yaml\n")[1:] {
		var w workflow
		body, _, _ := strings.Cut(block, "```")
		if err := yaml.Unmarshal([]byte(body), &w); err != nil {
			t.Errorf("ci.md: %v", err)
		}
		check("ci.md", w.Jobs)
	}
	if steps < 4 {
		t.Errorf("only %d steps use the action: the test looks past them", steps)
	}
}

func TestOtherCIs(t *testing.T) {
	for _, file := range []string{"ci/gitlab.yaml", "ci/prow.yaml"} {
		var any map[string]any
		if text := readYAML(t, file, false, &any); !strings.Contains(text, "sickbay suite ") {
			t.Errorf("%s runs no suite", file)
		}
	}
}
