package testbed

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/fingerprint"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
)

// TestMark: the agent looks for the mark that clusters have.
func TestMark(t *testing.T) {
	if injectors.Mark != cluster.Mark {
		t.Errorf("the agent looks for %s, a cluster has %s", injectors.Mark, cluster.Mark)
	}
}

func TestContainersOfOthersAreNotOurs(t *testing.T) {
	got := holders("sickbay-worker\tsickbay//\tvol1,/lib/modules\nlife-worker\tlife//\tvol2,/lib/modules\nregistry\t/run-1/sickbay-worker2\tvol3\n"+
		"adoring_dubinsky\t//sickbay-worker3\tvol5\nmysql\t//\tvol4\n", "sickbay")
	ours, other := holder{}, holder{other: true}
	ofRun, ofNode := holder{owner: " [of run run-1]"}, holder{owner: " [of node sickbay-worker3]"}
	want := map[string]holder{"sickbay-worker": ours, "vol1": ours, "life-worker": other, "vol2": other, "registry": ofRun, "vol3": ofRun,
		"adoring_dubinsky": ofNode, "vol5": ofNode, "mysql": other, "vol4": other}
	if !maps.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestVolumesOfNobody: what lay about before and still does is no leftover, and when it goes it is not missed; a new one is.
func TestVolumesOfNobody(t *testing.T) {
	id := func(c string) string { return strings.Repeat(c, 64) }
	take := func(volumes ...string) *fingerprint.Fingerprint {
		f := fingerprint.New("host", time.Now())
		for _, v := range volumes {
			f.Set(fingerprint.Volumes, v, "local")
		}
		return f
	}
	held := map[string]holder{id("e"): {}}
	m := &engineSnapshot{before: take(id("a"), id("b"), id("e"), "named"), held: held}
	if got := m.changes(take(id("a"), id("e")), held); len(got) != 0 {
		t.Errorf("old volumes of nobody: %q", got)
	}
	if got := m.changes(take(id("a"), id("b"), id("c"), id("e"), "named"), held); len(got) != 1 || !strings.Contains(got[0], id("c")) {
		t.Errorf("a new volume of nobody: %q", got)
	}
	if got := m.changes(take(id("a"), id("b"), "named"), nil); len(got) != 1 || !strings.Contains(got[0], id("e")) {
		t.Errorf("a node's volume is gone: %q", got)
	}
}

func TestNodesOfAnImage(t *testing.T) {
	dir := t.TempDir()
	list := ""
	for _, n := range []string{"a", "b", "empty"} {
		if err := os.MkdirAll(filepath.Join(dir, n, "lib"), 0o755); err != nil {
			t.Fatal(err)
		}
		list += "/" + n + "\t" + filepath.Join(dir, n) + "\n"
		if n != "empty" {
			if err := os.WriteFile(filepath.Join(dir, n, "lib", "image"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	vars := parseVars(list + "/stopped\t\n\n")
	if len(vars) != 3 {
		t.Errorf("%v", vars)
	}
	// There is no such device, so the path alone decides.
	if got := nodesOf("no-such-loop", "/var/lib/image", vars); !slices.Equal(got, []string{"a", "b"}) && runtime.GOOS == "linux" {
		t.Errorf("%q", got)
	}
	for _, elsewhere := range []string{"/var/lib/other", "/tmp/lib/image", "/variable/lib/image"} {
		if got := nodesOf("no-such-loop", elsewhere, vars); len(got) > 0 {
			t.Errorf("%s: %q", elsewhere, got)
		}
	}
}

func TestSwapOfWhoeverHoldsTheHostIsNotOurs(t *testing.T) {
	now := map[string]string{}
	take := func(context.Context) (*fingerprint.Fingerprint, error) {
		f := fingerprint.New("host", time.Time{})
		for k, area := range now {
			f.Set(area, k, "x")
		}
		return f, nil
	}
	held := false
	elsewhere := func() bool { return held }
	mark := func() hostSnapshot {
		t.Helper()
		m, err := (&kindTestbed{t: fault.DefaultTimings()}).newSnapshots(t.Context(), take)
		if err != nil {
			t.Fatal(err)
		}
		return newHostSnapshot(m, elsewhere)
	}
	changes := func(m hostSnapshot) int {
		t.Helper()
		got, err := m.Changes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(got)
	}
	m := mark()
	now["/var/swapfile"] = fingerprint.Swaps
	if n := changes(m); n != 1 {
		t.Errorf("nobody else holds the host: %d changes, want the swap", n)
	}
	held = true
	if n := changes(m); n != 0 {
		t.Errorf("another process holds the host: %d changes", n)
	}
	now["/dev/loop3"] = fingerprint.Loops
	if n := changes(m); n != 1 {
		t.Errorf("a loop device is not swap: %d changes", n)
	}
	delete(now, "/dev/loop3")
	m = mark() // while the other one has its swap on
	held = false
	delete(now, "/var/swapfile")
	if n := changes(m); n != 0 {
		t.Errorf("its swap ended with it: %d changes", n)
	}

	now["loop"] = fingerprint.Modules
	m = mark()
	now["xt_statistic"] = fingerprint.Modules
	if n := changes(m); n != 0 {
		t.Errorf("the kernel loaded a module: %d changes", n)
	}
	delete(now, "loop")
	if n := changes(m); n != 1 {
		t.Errorf("somebody unloaded a module: %d changes, want it", n)
	}
}

func TestWorkloadDocuments(t *testing.T) {
	got, err := decodeObjects([]byte("---\n# nothing\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b}\nspec: {template: {spec: {nodeName: w9}}}\n"))
	if err != nil || len(got) != 2 {
		t.Fatalf("%d objects, %v", len(got), err)
	}
	bind := func(s *corev1.PodSpec) { fault.Bind("w1")(s) }
	for i := range got {
		if err := adjustPods(&got[i], bind); err != nil {
			t.Fatal(err)
		}
	}
	if host, _, _ := unstructured.NestedString(got[0].Object, "spec", "nodeSelector", corev1.LabelHostname); host != "w1" {
		t.Errorf("the pod is not bound to the victim: %v", got[0].Object)
	}
	if _, found, _ := unstructured.NestedMap(got[1].Object, "spec", "template", "spec", "nodeSelector"); found {
		t.Error("a pod that says where it goes was bound again")
	}
	for text, part := range map[string]string{
		"kind: Pod\nmetadata: {name: a}\n":                       "apiVersion, kind and metadata.name",
		"apiVersion: v1\nkind: Pod\nmetadata: {name: a\n":        "document 1",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {a: b}\n":    "metadata.name",
		"apiVersion: v1\nkind: [Pod]\nmetadata: {name: wrong}\n": "apiVersion, kind",
	} {
		if _, err := decodeObjects([]byte(text)); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
