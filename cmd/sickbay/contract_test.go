package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/node"
)

var update = flag.Bool("update", false, "write the golden files anew")

const recorded = "../../detectors/all/testdata/recorded/"

// contract is what was promised to programs: each of its fields is in every diagnosis, of this type.
const contract = `{"apiVersion":"sickbay.dev/v1alpha1","kind":"Diagnosis","healthy":false,
 "findings":[{"failure":"cni","cause":"conflist-missing","node":"lab-worker","object":null,"certainty":"certain",
   "summary":"…","evidence":[{"source":"cri/status","at":"…","text":"…"}],"consequences":["node Ready=False"],
   "remedy":{"name":"restore-conflist","steps":[{"run":"…","why":"…","class":"safe"}]}}],
 "unknown":[]}`

// promised reports what of want is not in got.
func promised(at string, want, got any) (missing []string) {
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T", at, got)}
		}
		for k, v := range want {
			if _, ok := g[k]; !ok {
				missing = append(missing, at+"."+k+" is missing")
				continue
			}
			missing = append(missing, promised(at+"."+k, v, g[k])...)
		}
	case []any:
		g, ok := got.([]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T, not a list", at, got)}
		}
		for i := range g {
			if len(want) > 0 {
				missing = append(missing, promised(fmt.Sprintf("%s[%d]", at, i), want[0], g[i])...)
			}
		}
	case nil:
	default:
		if reflect.TypeOf(want) != reflect.TypeOf(got) {
			missing = append(missing, fmt.Sprintf("%s is %T", at, got))
		}
	}
	return missing
}

// paths are all fields below v, lists as [], with their JSON types.
func paths(at string, v any, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			paths(at+"."+k, x, into)
		}
	case []any:
		into[at+"[]"] = true
		for _, x := range v {
			paths(at+"[]", x, into)
		}
	default:
		into[fmt.Sprintf("%s %T", at, v)] = true
	}
}

// The JSON of real diagnoses: what was promised is in each, YAML says the same, and no field comes or goes unnoticed.
func TestJSONContract(t *testing.T) {
	var want any
	if err := json.Unmarshal([]byte(contract), &want); err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, name := range []string{"conflist-missing", "pleg-disk", "registry-auth", "probe-too-aggressive", "threshold-misconfigured"} {
		code, stdout, stderr := call(t, &fakeDeps{t: t}, "", "diagnose", "--bundle", recorded+name, "-o", "json")
		var got any
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != exitNo || stderr != "" {
			t.Fatalf("%s: exit code %d, %v\n%s", name, code, err, stderr)
		}
		for _, m := range promised("", want, got) {
			t.Errorf("%s: %s", name, m)
		}
		paths("", got, all)
		_, stdout, _ = call(t, &fakeDeps{t: t}, "", "diagnose", "--bundle", recorded+name, "-o", "yaml")
		var same any
		if err := yaml.Unmarshal([]byte(stdout), &same); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, same); diff != "" {
			t.Errorf("%s: YAML differs from JSON: %s", name, diff)
		}
	}
	golden(t, "testdata/diagnosis.paths", strings.Join(slices.Sorted(maps.Keys(all)), "\n")+"\n")
}

// The example in the documentation is a diagnosis, without a field that there is not.
func TestDocumentedDiagnosis(t *testing.T) {
	page, err := os.ReadFile("../../docs/diagnose.md")
	if err != nil {
		t.Fatal(err)
	}
	_, doc, _ := strings.Cut(string(page), "## `sickbay diagnose -o json`")
	_, doc, _ = strings.Cut(doc, "```json\n")
	doc, _, _ = strings.Cut(doc, "```")
	var want, got any
	var d v1alpha1.Diagnosis
	if err := yaml.UnmarshalStrict([]byte(doc), &d); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(contract), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(doc), &got); err != nil {
		t.Fatal(err)
	}
	for _, m := range promised("", want, got) {
		t.Error(m)
	}
}

// The README shows what the program prints.
func TestReadmeTranscript(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(readme), "$ bin/sickbay diagnose --bundle detectors/all/testdata/recorded/")
	if !ok {
		t.Fatal("README.md shows no diagnosis of a recording")
	}
	command, block, _ := strings.Cut(block, "\n")
	name, _, _ := strings.Cut(command, " ")
	shown, _, _ := strings.Cut(block, "```")
	local := time.Local
	time.Local = time.UTC
	now = func() time.Time { return time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC) }
	defer func() { time.Local, now = local, time.Now }()
	_, stdout, _ := call(t, &fakeDeps{t: t}, "", "diagnose", "--bundle", recorded+name)
	if diff := cmp.Diff(shown, stdout); diff != "" {
		t.Errorf("README.md is not what is printed: %s", diff)
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; if that is meant, go test ./cmd/sickbay -update\n%s", file, diff)
	}
}

// watchDeps is a node that falls ill at its second look and is well again at its third.
type watchDeps struct {
	fakeDeps
	looks atomic.Int32
}

func (w *watchDeps) agent(node.Node) diagnose.Agent {
	return diagnose.AgentFunc(func(context.Context, diagnose.Ask) (*v1alpha1.Observation, error) {
		o := detectorstest.Healthy()
		o.API, o.At = nil, time.Now()
		if w.looks.Add(1) == 2 {
			u := o.Units["kubelet"]
			u.ActiveState, u.SubState, u.MainPID = "inactive", "dead", 0
			o.Units["kubelet"] = u
		}
		return o, nil
	})
}

// A program that watches reads a document a line; what it ends with is the worst it was told.
func TestWatchIsAStream(t *testing.T) {
	for _, form := range []string{"json", "yaml"} {
		code, stdout, stderr := call(t, &watchDeps{fakeDeps: fakeDeps{t: t}}, "", "-q", "diagnose", "--local", "--watch", "--every", "1s", "--for", "3500ms", "-o", form)
		if code != exitNo || stderr != "" {
			t.Errorf("%s: exit code %d\n%s", form, code, stderr)
		}
		var docs []string
		if form == "json" {
			for s := bufio.NewScanner(strings.NewReader(stdout)); s.Scan(); {
				docs = append(docs, s.Text())
			}
		} else {
			docs = strings.Split(stdout, "---\n")[1:]
		}
		var healthy []bool
		for _, doc := range docs {
			var d v1alpha1.Diagnosis
			if err := yaml.UnmarshalStrict([]byte(doc), &d); err != nil {
				t.Fatalf("%s: %v\n%s", form, err, doc)
			}
			healthy = append(healthy, d.Healthy)
		}
		if !slices.Equal(healthy, []bool{true, false, true}) {
			t.Errorf("%s: told healthy %v\n%s", form, healthy, stdout)
		}
	}
}
