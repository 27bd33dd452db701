package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/remedy"
)

// patient is a node of somebody else's, ill until the cure is run on it.
type patient struct {
	fakeDeps
	ill  func(*v1alpha1.Observation)
	cure string // what a command must contain

	mu  sync.Mutex
	ran []string
}

func masked(o *v1alpha1.Observation) {
	u := o.Units["kubelet"]
	u.LoadState, u.ActiveState, u.SubState, u.MainPID = "masked", "inactive", "dead", 0
	o.Units["kubelet"] = u
}

func stopped(o *v1alpha1.Observation) {
	masked(o)
	u := o.Units["kubelet"]
	u.LoadState = "loaded"
	o.Units["kubelet"] = u
}

func (p *patient) cured() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cure != "" && slices.ContainsFunc(p.ran, func(c string) bool { return strings.Contains(c, p.cure) })
}

func (p *patient) agent(node.Node) diagnose.Agent {
	return diagnose.AgentFunc(func(context.Context, diagnose.Ask) (*v1alpha1.Observation, error) {
		o := detectorstest.Healthy()
		if o.API, o.At = nil, time.Now(); !p.cured() {
			p.ill(o)
		}
		return o, nil
	})
}

func (p *patient) remedyTarget(*target) remedy.Target {
	return remedy.Target{Nodes: func(string) (node.Node, bool) { return p, true }}
}

func (p *patient) Name() string                         { return "w" }
func (p *patient) Arch(context.Context) (string, error) { return "amd64", nil }
func (p *patient) Run(_ context.Context, c node.Command) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ran = append(p.ran, strings.Join(c.Argv, " "))
	return nil, nil
}
func (p *patient) Put(context.Context, string, os.FileMode, io.Reader) error { return nil }

func fixed(t *testing.T, p *patient, in string, args ...string) (int, fixReport, string) {
	t.Helper()
	p.fakeDeps.t = t
	code, stdout, stderr := call(t, p, in, append([]string{"diagnose", "--local", "--node", "lab-worker", "--fix", "-o", "json"}, args...)...)
	var r fixReport
	if stdout != "" {
		if err := json.Unmarshal([]byte(stdout), &r); err != nil {
			t.Fatalf("%v\n%s", err, stdout)
		}
	}
	return code, r, stderr
}

func TestNobodyElsesNodeIsChangedUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const unmask = "systemctl unmask kubelet.service"
		for name, c := range map[string]struct {
			in   string
			args []string
			ran  bool
			code int
			says string
		}{
			"--yes":                       {"", []string{"--yes"}, false, exitNo, "a step is destructive: --allow destructive takes it"},
			"--yes --allow disruptive":    {"", []string{"--yes", "--allow", "disruptive"}, false, exitNo, "--allow destructive takes it"},
			"--yes --allow destructive":   {"", []string{"--yes", "--allow", "destructive"}, true, exitYes, ""},
			"asked, and yes to the step":  {"y\ny\n", nil, true, exitYes, "node-notready/kubelet-stopped on lab-worker, step 1 of start-kubelet: destructive\n  systemctl unmask"},
			"asked, and no to the step":   {"y\nn\n", nil, false, exitNo, "risk: somebody masked"},
			"asked, and no to everything": {"n\n", nil, false, exitNo, "Nothing was changed"},
		} {
			p := &patient{ill: masked, cure: "start kubelet"}
			code, r, stderr := fixed(t, p, c.in, c.args...)
			if code != c.code || slices.Contains(p.ran, unmask) != c.ran || !strings.Contains(stderr, c.says) {
				t.Errorf("%s: exit code %d, ran %q\n%s", name, code, p.ran, stderr)
			}
			if !c.ran && len(p.ran) > 0 {
				t.Errorf("%s: half a remedy was applied: %q", name, p.ran)
			}
			if c.ran && (len(r.Fix.Applied) != 1 || !r.Healthy || r.Fix.Applied[0].Steps[0].Step.Class != v1alpha1.Destructive) {
				t.Errorf("%s: %+v", name, r)
			}
		}
	})
}

func TestPlanIsAppliedAsShownOrNotAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "plan.json")
		_, shown, _ := fixed(t, &patient{ill: stopped}, "", "--dry-run")
		raw, err := json.Marshal(shown)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		is := func(name, content string) string {
			name = filepath.Join(filepath.Dir(file), name)
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			return name
		}
		empty, cut := is("empty", ""), is("cut", string(raw[:len(raw)/2]))
		newer, plain := is("newer", strings.Replace(string(raw), "v1alpha1", "v1beta1", 1)), is("plain", `{"apiVersion": "sickbay.dev/v1alpha1", "kind": "Diagnosis"}`)
		time.Sleep(time.Hour) // the same plan later
		for name, c := range map[string]struct {
			ill  func(*v1alpha1.Observation)
			args []string
			code int
			says string
		}{
			"the same":          {stopped, []string{"--plan", file}, exitYes, ""},
			"the same hash":     {stopped, []string{"--plan", shown.Fix.Plan.Hash}, exitYes, ""},
			"another":           {masked, []string{"--plan", file}, exitNo, "has other steps today"},
			"another hash":      {masked, []string{"--plan", shown.Fix.Plan.Hash}, exitNo, "not " + shown.Fix.Plan.Hash},
			"nothing any more":  {func(*v1alpha1.Observation) {}, []string{"--plan", file}, exitNo, "is not found today"},
			"no file":           {stopped, []string{"--plan", file + "x"}, exitUsage, "no such file"},
			"what holds none":   {stopped, []string{"--plan", os.Args[0]}, exitUsage, "holds no plan"},
			"an empty file":     {stopped, []string{"--plan", empty}, exitUsage, empty + " holds no plan: the file is empty\n  `sickbay diagnose --fix --dry-run -o json` prints one"},
			"cut off":           {stopped, []string{"--plan", cut}, exitUsage, cut + " holds no plan: unexpected end of JSON input\n  `sickbay diagnose"},
			"a folder":          {stopped, []string{"--plan", filepath.Dir(file)}, exitUsage, filepath.Dir(file) + " holds no plan: it is not a file\n  `sickbay diagnose"},
			"a newer one":       {stopped, []string{"--plan", newer}, exitUsage, newer + ` holds no plan: it is a "sickbay.dev/v1beta1" "Diagnosis", and this sickbay reads sickbay.dev/v1alpha1`},
			"without a plan":    {stopped, []string{"--plan", plain}, exitUsage, plain + " holds no plan: it is a diagnosis without --fix"},
			"half a hash":       {stopped, []string{"--plan", shown.Fix.Plan.Hash[:20]}, exitUsage, "64 hexadecimal digits"},
			"without --fix too": {stopped, []string{"--fix=false", "--plan", file}, exitUsage, "--allow and --plan need --fix"},
		} {
			p := &patient{ill: c.ill, cure: "start kubelet"}
			code, _, stderr := fixed(t, p, "", c.args...)
			if code != c.code || (len(p.ran) > 0) != (c.code == exitYes) || !strings.Contains(stderr, c.says) {
				t.Errorf("%s: exit code %d, ran %q\n%s", name, code, p.ran, stderr)
			}
		}
	})
}

// A remedy that does not help ends soon, is taken back as far as it can be, and says what to look at.
func TestFixThatDoesNotHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patient{ill: masked}
		began := time.Now()
		code, r, stderr := fixed(t, p, "", "--yes", "--allow", "destructive")
		if took := time.Since(began); code != exitNo || took > 30*time.Second {
			t.Errorf("exit code %d after %s", code, took)
		}
		if want := []string{"systemctl unmask kubelet.service", "systemctl start kubelet.service", "sh -ec systemctl mask kubelet.service"}; !slices.Equal(p.ran, want) {
			t.Errorf("ran %q", p.ran)
		}
		x := r.Fix.Applied
		if len(x) != 1 || !x[0].Stays || x[0].Next == "" || x[0].Steps[0].Undone.IsZero() || len(r.Findings) != 1 || r.Fix.Error == "" {
			t.Errorf("%+v", r.Fix)
		}
		for _, want := range []string{"start-kubelet did not help node-notready/kubelet-stopped on lab-worker", "systemctl unmask kubelet.service: undone", "systemctl start kubelet.service: done", "next: "} {
			if !strings.Contains(stderr, want) {
				t.Errorf("no %q in\n%s", want, stderr)
			}
		}
	})
}

func TestStaying(t *testing.T) {
	began := time.Now()
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	say := func(source string, second int) []v1alpha1.Finding {
		return []v1alpha1.Finding{{Failure: "x", Evidence: []v1alpha1.Evidence{{Source: source, At: at(second)}}}}
	}
	for name, c := range map[string]struct {
		looks map[int][]v1alpha1.Finding
		want  int // second of the verdict, 0 for none
	}{
		"the node's own state":     {map[int][]v1alpha1.Finding{3: say("units", 3), 9: say("units", 9), 15: say("units", 15), 21: say("units", 21)}, 21},
		"an old line":              {map[int][]v1alpha1.Finding{9: say("journal/kubelet", 2), 15: say("journal/kubelet", 2), 21: say("journal/kubelet", 2), 60: say("journal/kubelet", 2)}, 0},
		"a condition that lags":    {map[int][]v1alpha1.Finding{9: say("api.node", 9), 15: say("api.node", 15), 21: say("api.node", 21), 90: say("api.node", 90)}, 0},
		"an event that came again": {map[int][]v1alpha1.Finding{9: say("api.events", 9), 15: say("api.events", 12), 21: say("api.events", 20)}, 21},
		"gone in between":          {map[int][]v1alpha1.Finding{9: say("units", 9), 12: say("units", 12), 15: nil, 21: say("units", 21), 24: say("units", 24), 27: say("units", 27)}, 27},
	} {
		s := newStaying(began)
		got := 0
		for second := range 100 {
			found, looked := c.looks[second]
			if looked && s.look(at(second), found) != nil && got == 0 {
				got = second
			}
		}
		if got != c.want {
			t.Errorf("%s: plain after %ds, want %ds", name, got, c.want)
		}
	}
}
