package all_test

import (
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

// history is the case as detectors get it: one look, or a healthy one and two ill ones.
func history(c testCase) v1alpha1.History {
	ill := func(at time.Time) v1alpha1.Observation {
		o := detectorstest.Healthy()
		c.ill(o)
		o.At = at
		return *o
	}
	if !c.baseline {
		return v1alpha1.History{ill(detectorstest.Now)}
	}
	first := detectorstest.Healthy()
	first.At = detectorstest.Ago(5 * time.Minute)
	return v1alpha1.History{*first, ill(detectorstest.Ago(2 * time.Second)), ill(detectorstest.Now)}
}

func names(found []v1alpha1.Finding) []string {
	var out []string
	for _, f := range found {
		out = append(out, f.Failure+"/"+f.Cause)
	}
	return out
}

func TestSick(t *testing.T) {
	for _, c := range sick {
		t.Run(c.name, func(t *testing.T) {
			found := all.Judge(history(c))
			if got := names(found); !slices.Equal(got, c.want) {
				t.Fatalf("found %v, want %v\n%s", got, c.want, describe(found))
			}
			for _, f := range found {
				check(t, f)
			}
			f := found[0]
			if (f.Certainty == v1alpha1.Likely) != c.likely {
				t.Errorf("certainty %s, want likely=%v", f.Certainty, c.likely)
			}
			if c.remedy == "-" {
				if f.Remedy != nil || f.ManualAction == "" {
					t.Errorf("want no remedy and the reason why; got %+v, %q", f.Remedy, f.ManualAction)
				}
				return
			}
			if f.Remedy == nil {
				t.Fatalf("no remedy: %s", f.ManualAction)
			}
			if !slices.ContainsFunc(f.Remedy.Steps, func(s v1alpha1.Step) bool { return strings.Contains(s.Run, c.remedy) }) {
				t.Errorf("no step runs %q:\n%s", c.remedy, describe(found))
			}
		})
	}
}

// Steps are made by package detectors alone, which classes them.
func TestStepsHaveAConstructor(t *testing.T) {
	literal := regexp.MustCompile(`(v1alpha1\.Step\{\s*\w+:|\{(Run|Exec|Restore):)`)
	for _, root := range []string{"../../detectors", "../../internal", "../../suites", "../../cmd"} {
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") || p == "../../detectors/remedy.go" {
				return err
			}
			raw, err := os.ReadFile(p)
			if m := literal.Find(raw); m != nil && strings.Contains(string(raw), "v1alpha1.Step{") {
				t.Errorf("%s makes a step by itself: %s", p, m)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// check is what every finding owes its reader.
func check(t *testing.T, f v1alpha1.Finding) {
	t.Helper()
	if f.Node != detectorstest.Node || f.Summary == "" || len(f.Evidence) == 0 {
		t.Errorf("%s/%s lacks node, summary or evidence: %+v", f.Failure, f.Cause, f)
	}
	if (f.Certainty == v1alpha1.Likely) != (f.ToConfirm != "") {
		t.Errorf("%s/%s: certainty %s with decide %q", f.Failure, f.Cause, f.Certainty, f.ToConfirm)
	}
	for _, e := range f.Evidence {
		if e.Source == "" || e.Text == "" || e.At.IsZero() {
			t.Errorf("%s/%s: incomplete evidence %+v", f.Failure, f.Cause, e)
		}
	}
	if f.Remedy == nil {
		if f.ManualAction == "" {
			t.Errorf("%s/%s has neither a remedy nor the reason why not", f.Failure, f.Cause)
		}
		return
	}
	cordoned := false
	for i, s := range f.Remedy.Steps {
		set := 0
		for _, yes := range []bool{len(s.Exec) > 0, s.API != nil, s.Restore != ""} {
			if yes {
				set++
			}
		}
		if set != 1 || s.Run == "" || s.Why == "" {
			t.Errorf("step %d of %s/%s is incomplete: %+v", i, f.Failure, f.Cause, s)
		}
		if s.API == nil && s.On == "" {
			t.Errorf("step %d of %s/%s is on no node: %+v", i, f.Failure, f.Cause, s)
		}
		if s.API != nil {
			cordoned = cordoned || s.API.Verb == v1alpha1.VerbCordon
			if s.API.Verb == v1alpha1.VerbPatch && !json.Valid([]byte(s.API.Patch)) {
				t.Errorf("patch is no JSON: %s", s.API.Patch)
			}
		}
		if !slices.Contains(v1alpha1.Classes(), s.Class) || (s.Class == v1alpha1.Destructive) != (s.Risk != "") {
			t.Errorf("step %d of %s/%s: class %q, risk %q: %s", i, f.Failure, f.Cause, s.Class, s.Risk, s.Run)
		}
		if s.API == nil && s.Class == v1alpha1.Disruptive && !cordoned {
			t.Errorf("step %d of %s/%s disturbs pods on a node that is not cordoned: %s", i, f.Failure, f.Cause, s.Run)
		}
		if strings.Contains(s.Run, "/var/lib/sickbay/") {
			t.Errorf("step %d of %s/%s reads the harness' own files: %s", i, f.Failure, f.Cause, s.Run)
		}
	}
	if cordoned && f.Remedy.Steps[len(f.Remedy.Steps)-1].API.Verb != v1alpha1.VerbUncordon {
		t.Errorf("%s/%s cordons and does not uncordon at the end", f.Failure, f.Cause)
	}
}

func describe(found []v1alpha1.Finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s/%s %v: %s\n", f.Failure, f.Cause, f.Object, f.Summary)
		for _, e := range f.Evidence {
			fmt.Fprintf(&b, "    %s: %s\n", e.Source, e.Text)
		}
		for _, e := range f.Consequences {
			fmt.Fprintf(&b, "    explains %s\n", e)
		}
		if f.Remedy != nil {
			for _, s := range f.Remedy.Steps {
				fmt.Fprintf(&b, "    $ %s\n", s.Run)
			}
		}
	}
	return b.String()
}

func TestSilent(t *testing.T) {
	for _, c := range silent {
		for _, c.baseline = range []bool{false, true} {
			if c.baseline && (c.name == "one slow look at the runtime" || c.name == "one dial to the API server failed" || c.name == "the API server answered in part, and one dial failed") {
				continue // twice is not once
			}
			t.Run(fmt.Sprintf("%s/baseline=%v", c.name, c.baseline), func(t *testing.T) {
				if found := all.Judge(history(c)); len(found) > 0 {
					t.Errorf("found %v\n%s", names(found), describe(found))
				}
			})
		}
	}
}

// Every cause of the vocabulary has a case that finds it; a cause nobody can find is a promise not kept.
func TestEveryCauseHasACase(t *testing.T) {
	have := map[string]bool{}
	for _, c := range sick {
		for _, w := range c.want {
			have[w] = true
		}
	}
	for _, f := range failures.All() {
		for _, c := range f.Causes {
			if !have[f.Name+"/"+c.Name] {
				t.Errorf("no case finds %s/%s", f.Name, c.Name)
			}
		}
	}
}

// The list of detectors, the folders and the vocabulary are the same, in the order of the guide.
func TestFolders(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	var folders, listed, wanted []string
	for _, e := range entries {
		if e.IsDir() && !slices.Contains([]string{"all", "facts", "detectorstest"}, e.Name()) {
			folders = append(folders, e.Name())
		}
	}
	for _, d := range all.Detectors() {
		listed = append(listed, d.Failure)
	}
	for _, f := range failures.All() {
		wanted = append(wanted, f.Name)
	}
	if !slices.Equal(listed, wanted) {
		t.Errorf("detectors %v, vocabulary %v", listed, wanted)
	}
	slices.Sort(wanted)
	if !slices.Equal(folders, wanted) {
		t.Errorf("folders %v, vocabulary %v", folders, wanted)
	}
}

// Detectors judge observations and know nothing else of the project: no injector, scenario or transport; and they do no I/O.
func TestImports(t *testing.T) {
	const own = "github.com/sickbay-dev/sickbay/"
	seen := 0
	read := func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		seen++
		for _, spec := range file.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			domain, _, _ := strings.Cut(imp, "/")
			switch {
			case strings.HasPrefix(imp, own+"detectors"), strings.HasPrefix(imp, own+"api/"), slices.Contains([]string{own + "internal/facts", own + "internal/causal", own + "internal/text"}, imp):
			case strings.HasPrefix(imp, "k8s.io/api/"), strings.HasPrefix(imp, "k8s.io/apimachinery/"), imp == "sigs.k8s.io/yaml", imp == "al.essio.dev/pkg/shellescape":
			case !strings.Contains(domain, ".") && !slices.Contains([]string{"os", "net", "syscall", "bufio"}, domain), imp == "net/url":
			default:
				t.Errorf("%s imports %s", path, imp)
			}
		}
		return nil
	}
	for _, root := range []string{"..", "../../internal/facts", "../../internal/causal", "../../internal/text"} {
		if err := filepath.WalkDir(root, read); err != nil {
			t.Fatal(err)
		}
	}
	if seen < 20 {
		t.Fatalf("read %d files", seen)
	}
}

// The same history gives the same bytes, and judging changes nothing.
func TestDeterministicAndPure(t *testing.T) {
	for _, c := range sick {
		h := history(c)
		before, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		first, err := json.Marshal(all.Judge(h))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if again, _ := json.Marshal(all.Judge(h)); string(again) != string(first) {
				t.Errorf("%s: two answers", c.name)
			}
		}
		if after, _ := json.Marshal(h); string(after) != string(before) {
			t.Errorf("%s: judging changed the history", c.name)
		}
	}
}

// A history with any of its parts missing, as unreadable sources leave it, must not bring a detector down, nor make it
// name what the complete one does not have, apart from what it could not tell apart any more.
func TestMissingParts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range slices.Concat(sick, silent) {
		for range 3 {
			h := history(c)
			for i := range h {
				v := reflect.ValueOf(&h[i]).Elem()
				for j := range v.NumField() {
					if name := v.Type().Field(j).Name; r.IntN(4) == 0 && name != "At" && name != "Node" {
						v.Field(j).SetZero()
					}
				}
				if a := h[i].API; a != nil && r.IntN(2) == 0 {
					v := reflect.ValueOf(a).Elem()
					for j := range v.NumField() {
						if r.IntN(3) == 0 {
							v.Field(j).SetZero()
						}
					}
				}
			}
			all.Judge(h)
		}
	}
}

// A healthy node of which parts could not be read is not ill.
func TestUnknownIsNotIll(t *testing.T) {
	sources := []string{v1alpha1.SourceUnits, v1alpha1.SourceJournal, v1alpha1.SourceKubelet, v1alpha1.SourceKubeletAPI, v1alpha1.SourceStatus, v1alpha1.SourceSandboxes,
		v1alpha1.SourceContainers, v1alpha1.SourceImages, v1alpha1.SourceFilesystems, v1alpha1.SourceProcesses, v1alpha1.SourceCgroups, v1alpha1.SourceCerts,
		v1alpha1.SourceCNI, v1alpha1.SourceRegistries, v1alpha1.SourceKmsg, v1alpha1.SourceNetwork, v1alpha1.SourceAPI, "kubelet.kubeconfig", "pluginSockets", "security", "files"}
	for _, s := range sources {
		o := detectorstest.Healthy()
		switch s {
		case v1alpha1.SourceUnits:
			o.Units = nil
		case v1alpha1.SourceStatus:
			o.Runtime.Conditions, o.Runtime.Handlers, o.Runtime.LastCNILoad = nil, nil, ""
		case v1alpha1.SourceSandboxes:
			o.Runtime.Sandboxes = nil
		case v1alpha1.SourceContainers:
			o.Runtime.Containers = nil
		case v1alpha1.SourceFilesystems:
			o.Filesystems = nil
		case v1alpha1.SourceProcesses:
			o.Processes = nil
		case v1alpha1.SourceCNI:
			o.CNI = v1alpha1.CNI{}
		case v1alpha1.SourceNetwork:
			o.Network = v1alpha1.Network{}
		case v1alpha1.SourceAPI:
			o.API = nil
		case v1alpha1.SourceCerts:
			o.Certs = nil
		case "kubelet.kubeconfig":
			o.Kubelet.Kubeconfig = v1alpha1.Kubeconfig{}
		case v1alpha1.SourceKubelet:
			o.Kubelet.Config, o.Kubelet.ConfigSource = v1alpha1.KubeletConfig{}, ""
		}
		detectorstest.Unknown(o, "gave no answer within 1.5 s", s)
		if found := all.Judge(v1alpha1.History{*o}); len(found) > 0 {
			t.Errorf("%s unreadable: found %v", s, names(found))
		}
	}
}

// Recorded bundles: testdata/<name>/want.txt lists the findings, one "node:failure/cause" a line (none for a healthy node), and
// testdata/<name>/nodes/<node>.json holds each node's History, as bundles do.
func TestRecordedBundles(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/nodes")
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) == 0 {
		t.Skip("no bundle is recorded in testdata yet")
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(filepath.Dir(dir)), func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "want.txt"))
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Fields(string(raw))
			files, err := filepath.Glob(filepath.Join(dir, "*.json"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no node in %s: %v", dir, err)
			}
			var got []string
			var found []v1alpha1.Finding
			for _, file := range files {
				raw, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				var h v1alpha1.History
				if err := json.Unmarshal(raw, &h); err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				f := all.Judge(h)
				found = append(found, f...)
				for _, n := range names(f) {
					got = append(got, strings.TrimSuffix(filepath.Base(file), ".json")+":"+n)
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("found %v, want %v\n%s", got, want, describe(found))
			}
		})
	}
}

// A history that went through a bundle's JSON is judged as it was.
func TestBundlesKeepTheAnswer(t *testing.T) {
	for _, c := range slices.Concat(sick, silent) {
		raw, err := json.Marshal(history(c))
		if err != nil {
			t.Fatal(err)
		}
		var h v1alpha1.History
		if err := json.Unmarshal(raw, &h); err != nil {
			t.Fatal(err)
		}
		if got := names(all.Judge(h)); !slices.Equal(got, c.want) {
			t.Errorf("%s: found %v after a round trip, want %v", c.name, got, c.want)
		}
	}
}

func TestPlegDiskIsOneExplanation(t *testing.T) {
	o := detectorstest.Healthy()
	plegDisk(o)
	found := all.Judge(v1alpha1.History{*o})
	for _, f := range found {
		if !strings.Contains(f.Summary, "same filesystem") {
			t.Errorf("%s/%s does not say that it is the same filesystem: %s", f.Failure, f.Cause, f.Summary)
		}
		if !slices.ContainsFunc(f.Consequences, func(s string) bool { return strings.Contains(s, "Ready=False") }) {
			t.Errorf("%s/%s does not explain NotReady: %v", f.Failure, f.Cause, f.Consequences)
		}
	}
}

// A pod's counters are compared with those of an earlier look at the same pod, whichever container it had then. A pod of its name that
// was deleted since had others.
func TestThrottlingIsOfOnePod(t *testing.T) {
	look := func(uid, id string, periods, throttled int64) v1alpha1.Observation {
		o := detectorstest.Healthy()
		detectorstest.AddPod(o, detectorstest.Pod("default", "busy", limits("100m", "")))
		u := &o.Containers[len(o.Containers)-1]
		u.ID, u.CgroupPath = id, "/kubelet-kubepods.slice/kubelet-kubepods-pod"+uid+".slice/cri-containerd-"+id+".scope"
		u.CPU = v1alpha1.CPUUsage{QuotaMilli: 100, NrPeriods: 20}
		u.PodCPU = v1alpha1.CPUUsage{QuotaMilli: 100, NrPeriods: periods, NrThrottled: throttled, ThrottledUsec: throttled * 90_000}
		return *o
	}
	// Half of the later pod's periods were throttled, but nearly all of what came on top of the earlier numbers.
	for uid, want := range map[string][]string{"1": {"oom-throttle/cpu-throttled"}, "2": nil} {
		h := v1alpha1.History{look("1", "a", 500, 50), look(uid, "b", 1000, 500)}
		h[0].At = detectorstest.Ago(time.Minute)
		if got := names(all.Judge(h)); !slices.Equal(got, want) {
			t.Errorf("pod of uid %s after one of uid 1: found %v, want %v", uid, got, want)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	h := history(testCase{ill: plegDisk, baseline: true})
	for b.Loop() {
		all.Judge(h)
	}
}
