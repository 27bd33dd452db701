package npd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
)

// theirs is what NPD decodes a configuration into (pkg/custompluginmonitor/types), with the fields that have a default there. It is
// written down here because NPD is one module: for these structs it would bring cloud exporters and 60 other modules into go.sum.
type theirs struct {
	Plugin       string `json:"plugin,omitempty"`
	PluginConfig struct {
		InvokeInterval  *string `json:"invoke_interval,omitempty"`
		Timeout         *string `json:"timeout,omitempty"`
		MaxOutputLength *int    `json:"max_output_length,omitempty"`
		Concurrency     *int    `json:"concurrency,omitempty"`
		MessageBased    *bool   `json:"enable_message_change_based_condition_update,omitempty"`
		SkipInitial     *bool   `json:"skip_initial_status,omitempty"`
	} `json:"pluginConfig,omitempty"`
	Source     string `json:"source"`
	Conditions []struct {
		Type       string    `json:"type"`
		Status     string    `json:"status"`
		Transition time.Time `json:"transition"`
		Reason     string    `json:"reason"`
		Message    string    `json:"message"`
	} `json:"conditions"`
	Rules []*struct {
		Type      string   `json:"type"`
		Condition string   `json:"condition"`
		Reason    string   `json:"reason"`
		Path      string   `json:"path"`
		Args      []string `json:"args"`
		Timeout   *string  `json:"timeout"`
	} `json:"rules"`
	Metrics *bool `json:"metricsReporting,omitempty"`
}

var camelCase = regexp.MustCompile(`^[A-Z][A-Za-z]+$`)

// The configuration passes what NPD demands when it starts, and more: it is decoded strictly, each failure of the vocabulary has its
// condition and rule, and every condition has a healthy state to return to.
func TestConfigIsNPDs(t *testing.T) {
	for name, o := range map[string]ConfigOptions{
		"default": {},
		"in pod":  {EnterHost: true, Kubeconfig: "/etc/kubeconfig", Every: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := NewConfig(o)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			var got theirs
			d := json.NewDecoder(bytes.NewReader(raw))
			d.DisallowUnknownFields()
			if err := d.Decode(&got); err != nil {
				t.Fatal(err)
			}
			if got.Plugin != "custom" || got.Source == "" {
				t.Errorf("plugin %q, source %q", got.Plugin, got.Source)
			}
			global, err := time.ParseDuration(*got.PluginConfig.Timeout)
			if err != nil {
				t.Fatal(err)
			}
			every, err := time.ParseDuration(*got.PluginConfig.InvokeInterval)
			if err != nil || every <= global {
				t.Errorf("a round every %s, each check up to %s: %v", every, global, err)
			}
			if bound >= global || *got.PluginConfig.MaxOutputLength > 4096 {
				t.Errorf("a check takes up to %s, NPD's bound is %s; messages of %d bytes", bound, global, *got.PluginConfig.MaxOutputLength)
			}
			if len(got.Rules) != len(failures.All()) || len(got.Conditions) != len(failures.All()) {
				t.Fatalf("%d rules and %d conditions for %d failures", len(got.Rules), len(got.Conditions), len(failures.All()))
			}
			seen := map[string]bool{}
			for i, f := range failures.All() {
				r, cond := got.Rules[i], got.Conditions[i]
				if r.Type != "permanent" || r.Condition != cond.Type || seen[cond.Type] || !filepath.IsAbs(r.Path) {
					t.Errorf("%s: rule %+v, condition %+v", f.Name, r, cond)
				}
				seen[cond.Type] = true
				for _, word := range []string{r.Reason, cond.Reason, cond.Type} {
					if !camelCase.MatchString(word) {
						t.Errorf("%s: %q is not CamelCase", f.Name, word)
					}
				}
				if r.Reason == cond.Reason || cond.Message == "" || cond.Status != "" {
					t.Errorf("%s returns to reason %q, message %q", f.Name, cond.Reason, cond.Message)
				}
				if timeout, err := time.ParseDuration(*r.Timeout); err != nil || timeout > global {
					t.Errorf("%s: timeout %s is above the global one: %v", f.Name, timeout, err)
				}
				if !slices.Contains(r.Args, f.Name) {
					t.Errorf("%s is not what %q checks", f.Name, r.Args)
				}
				for _, kubelets := range []corev1.NodeConditionType{corev1.NodeReady, corev1.NodeDiskPressure, corev1.NodeMemoryPressure, corev1.NodePIDPressure, corev1.NodeNetworkUnavailable} {
					if cond.Type == string(kubelets) {
						t.Errorf("%s would fight with the kubelet over %s", f.Name, kubelets)
					}
				}
			}
		})
	}
	if _, err := NewConfig(ConfigOptions{Failures: []string{"plegg"}}); err == nil {
		t.Error("an unknown failure was taken")
	}
	if c, err := NewConfig(ConfigOptions{Failures: []string{"pleg"}}); err != nil || len(c.Rules) != 1 || len(c.Conditions) != 1 || c.Rules[0].Condition != "PLEGProblem" {
		t.Errorf("%+v, %v", c, err)
	}
}

// node is a node whose looks a test gives.
func node(look func() (*v1alpha1.Observation, error)) (on diagnose.Target, looks *atomic.Int32) {
	looks = new(atomic.Int32)
	return diagnose.Target{Nodes: []diagnose.Node{{Name: detectorstest.Node, Agent: diagnose.AgentFunc(
		func(context.Context, diagnose.Ask) (*v1alpha1.Observation, error) {
			looks.Add(1)
			o, err := look()
			if o != nil {
				o.At = time.Now()
			}
			return o, err
		})}}}, looks
}

func healthyLook() (*v1alpha1.Observation, error) {
	o := detectorstest.Healthy()
	o.API = nil
	return o, nil
}

func swapLook() (*v1alpha1.Observation, error) {
	nodes, _, err := diagnose.FromBundle("../../detectors/all/testdata/recorded/swap-on")
	for _, h := range nodes {
		o := *h.Last()
		o.API = nil
		now(&o)
		return &o, err
	}
	return nil, err
}

// now moves what was recorded to this moment: what a log line or a unit's start says depends on its age.
func now(o *v1alpha1.Observation) {
	by := time.Since(o.At)
	o.At = o.At.Add(by)
	for i := range o.Journal.Lines {
		l := &o.Journal.Lines[i]
		l.At, l.Own = l.At.Add(by), l.Own.Add(by)
	}
	for name, u := range o.Units {
		u.ActiveSince, u.StateSince = u.ActiveSince.Add(by), u.StateSince.Add(by)
		o.Units[name] = u
	}
}

func check(t *testing.T, on diagnose.Target, dir, failure string) Answer {
	t.Helper()
	a, err := Check(t.Context(), on, CheckOptions{Failure: failure, State: dir, Look: diagnose.Options{Since: 10 * time.Minute}})
	if err != nil {
		t.Error(err)
	}
	if a.Message == "" || strings.Contains(a.Message, "\n") || len(a.Message) > MaxOutput {
		t.Errorf("message %q", a.Message)
	}
	return a
}

// A status that was known stays through looks that know nothing, with its message, and is Unknown after five minutes.
func TestUnknownKeepsTheLastStatus(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	look := swapLook
	on, _ := node(func() (*v1alpha1.Observation, error) { return look() })
	before := map[string]Answer{"swap": check(t, on, dir, "swap"), "disk-pressure": check(t, on, dir, "disk-pressure")}
	if before["swap"].Status != NonOK || before["disk-pressure"].Status != OK {
		t.Fatalf("%+v", before)
	}
	look = func() (*v1alpha1.Observation, error) { return nil, errors.New("the agent is gone") }
	for range 2 {
		forget(t, dir)
		for f, was := range before {
			if a := check(t, on, dir, f); a.Status != was.Status || a.Message != was.Message {
				t.Errorf("%s was %+v, and in a look that knows nothing %+v", f, was, a)
			}
		}
	}
	var r round
	if err := read(dir, roundFile, &r); err != nil {
		t.Fatal(err)
	}
	for f, a := range r.Answers {
		a.Known = a.Known.Add(-keepKnown)
		r.Answers[f] = a
	}
	r.At = r.At.Add(-DefaultEvery)
	if err := write(dir, roundFile, r); err != nil {
		t.Fatal(err)
	}
	for f := range before {
		if a := check(t, on, dir, f); a.Status != Unknown || !strings.Contains(a.Message, "the agent is gone") {
			t.Errorf("%s after %s: %+v", f, keepKnown, a)
		}
	}
	look = healthyLook
	forget(t, dir)
	if a := check(t, on, dir, "swap"); a.Status != OK {
		t.Errorf("after the cure: %+v", a)
	}
}

// forget ends a round: NPD's next comes half a minute later.
func forget(t *testing.T, dir string) {
	t.Helper()
	var r round
	if err := read(dir, roundFile, &r); err != nil {
		t.Fatal(err)
	}
	r.At = r.At.Add(-DefaultEvery)
	if err := write(dir, roundFile, r); err != nil {
		t.Fatal(err)
	}
}

// All checks of a round share a look, however many run at a time; a condition comes and goes with the illness, and what only the API
// server knows is unknown.
func TestRounds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	look := healthyLook
	on, looks := node(func() (*v1alpha1.Observation, error) { return look() })
	all := func() map[string]Answer {
		var mu sync.Mutex
		var wg sync.WaitGroup
		got := map[string]Answer{}
		for _, f := range failures.All() {
			wg.Go(func() {
				a := check(t, on, dir, f.Name)
				mu.Lock()
				defer mu.Unlock()
				got[f.Name] = a
			})
		}
		wg.Wait()
		return got
	}
	for f, a := range all() {
		want := OK
		if slices.Contains(needs(f), v1alpha1.SourceAPI) {
			want = Unknown
		}
		if a.Status != want {
			t.Errorf("%s on a healthy node without API: %+v, want %d", f, a, want)
		}
	}
	if n := looks.Load(); n != 1 {
		t.Errorf("%d looks for one round", n)
	}
	look = swapLook
	if a := all()["swap"]; a.Status != OK {
		t.Errorf("within a round: %+v", a)
	}
	forget(t, dir)
	if a := all()["swap"]; a.Status != NonOK || !strings.Contains(a.Message, "swap-on: ") {
		t.Errorf("swap: %+v", a)
	}
	look = healthyLook
	forget(t, dir)
	if a := all()["swap"]; a.Status != OK || a.Message != "no sign of: kubelet refuses to start with swap on" {
		t.Errorf("after the cure: %+v", a)
	}
	if n := looks.Load(); n != 3 {
		t.Errorf("%d looks for three rounds", n)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("what was seen of the node is open to others: %v %v", st.Mode(), err)
	}
}

// The looks before are judged with the last one, until they are older than the logs.
func TestHistoryGoesOn(t *testing.T) {
	dir := t.TempDir()
	on, _ := node(healthyLook)
	for range 10 {
		check(t, on, dir, "pleg")
		forget(t, dir)
	}
	var h v1alpha1.History
	if err := read(dir, historyFile, &h); err != nil || len(h) != keepLooks+1 {
		t.Fatalf("%d looks are kept: %v", len(h), err)
	}
	for i := range h {
		h[i].At = h[i].At.Add(-time.Hour)
	}
	if err := write(dir, historyFile, h); err != nil {
		t.Fatal(err)
	}
	check(t, on, dir, "pleg")
	if err := read(dir, historyFile, &h); err != nil || len(h) != 1 {
		t.Errorf("%d looks after an hour's pause: %v", len(h), err)
	}
	for _, broken := range []string{"", "{", "[]", `[{"units":7}]`} {
		for _, f := range []string{historyFile, roundFile} {
			if err := os.WriteFile(filepath.Join(dir, f), []byte(broken), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if a := check(t, on, dir, "pleg"); a.Status != OK {
			t.Errorf("with %q as state: %+v", broken, a)
		}
	}
}

// Numbers that move on do not change a condition's message: NPD would write an event each time.
func TestMessageStays(t *testing.T) {
	found := func(summary, cause string) v1alpha1.Diagnosis {
		return v1alpha1.Diagnosis{Findings: []v1alpha1.Finding{{Failure: "pleg", Cause: cause, Certainty: v1alpha1.Certain, Summary: summary}}}
	}
	f, _ := failures.Lookup("pleg")
	o := &v1alpha1.Observation{}
	first := answer(f, found("silent for 3m1s", "runtime-hung"), o, Answer{})
	if again := answer(f, found("silent for 3m31s", "runtime-hung"), o, first); again.Message != first.Message {
		t.Errorf("%q became %q", first.Message, again.Message)
	}
	if other := answer(f, found("silent for 4m1s", "runtime-io-stall"), o, first); other.Message == first.Message {
		t.Error("another cause is not told")
	}
	long := answer(f, found(strings.Repeat("Blöcke ", 200), "runtime-io-stall"), o, Answer{})
	if len(long.Message) > MaxOutput || len(long.Message) < MaxOutput-4 || !utf8.ValidString(long.Message) {
		t.Errorf("%d bytes: %q", len(long.Message), long.Message)
	}
}

// Unknown never passes for healthy: a node that does not answer, a state that cannot be kept, a source that was not read.
func TestUnknown(t *testing.T) {
	on, _ := node(func() (*v1alpha1.Observation, error) {
		return nil, errors.New("the looking process 7 was left behind")
	})
	dir := t.TempDir()
	for _, f := range failures.All() {
		if a := check(t, on, dir, f.Name); a.Status != Unknown || !strings.Contains(a.Message, "left behind") {
			t.Errorf("%s: %+v", f.Name, a)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	on, _ = node(swapLook)
	if a, err := Check(t.Context(), on, CheckOptions{Failure: "swap", State: filepath.Join(file, "state")}); err == nil || a.Status != NonOK {
		t.Errorf("no state, and a single look: %+v, %v", a, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a, _ := Check(ctx, on, CheckOptions{Failure: "swap", State: filepath.Join(dir, "other")}); a.Status != Unknown {
		t.Errorf("cancelled: %+v", a)
	}
}

// onlyByAPI are causes of failures that the node alone shows, which it does not show alone. docs/npd.md says so.
var onlyByAPI = []string{"node-notready/not-registered"}

// Take any source of any recorded illness away: the check finds it nevertheless, or says that it does not know.
func TestNeeds(t *testing.T) {
	wants, err := filepath.Glob("../../detectors/all/testdata/recorded/*/want.yaml")
	if err != nil || len(wants) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	alone, recorded := map[string]bool{}, map[string]bool{}
	for _, path := range wants {
		var want struct{ Findings []string }
		raw, err := os.ReadFile(path)
		if err == nil {
			err = yaml.Unmarshal(raw, &want)
		}
		if err != nil {
			t.Fatal(err)
		}
		nodes, _, err := diagnose.FromBundle(filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		for name, h := range nodes {
			for _, source := range append(detectorstest.Sources(), "") {
				less := slices.Clone(h)
				if source != "" {
					for i := range less {
						less[i].Unknown = slices.Clone(less[i].Unknown)
						detectorstest.Blank(&less[i], source)
					}
				}
				d := diagnose.Judge(map[string]v1alpha1.History{name: less}, nil)
				for _, finding := range want.Findings {
					failure, _ := failures.Split(finding)
					f, _ := failures.Lookup(failure)
					a := answer(f, d, less.Last(), Answer{})
					recorded[failure] = true
					if a.Status == OK && !(source == v1alpha1.SourceAPI && slices.Contains(onlyByAPI, finding)) {
						t.Errorf("%s: without %q the check for %s says %q", filepath.Base(filepath.Dir(path)), source, failure, a.Message)
					}
					if source == v1alpha1.SourceAPI && a.Status == NonOK {
						alone[failure] = true
					}
				}
			}
		}
	}
	for _, f := range failures.All() {
		if api := slices.Contains(needs(f.Name), v1alpha1.SourceAPI); recorded[f.Name] && api == alone[f.Name] {
			t.Errorf("%s: needs the API server: %v; found without it: %v", f.Name, api, alone[f.Name])
		}
	}
}

func ExampleConditionType() {
	fmt.Println(ConditionType("pleg"), ConditionType("node-notready"), ConditionType("cgroup-driver"))
	// Output: PLEGProblem NodeNotReadyProblem CgroupDriverProblem
}
