package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"al.essio.dev/pkg/shellescape"
	"github.com/spf13/cobra"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/npd"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/platform/nodeimage"
	"github.com/sickbay-dev/sickbay/internal/process"
	"github.com/sickbay-dev/sickbay/internal/remedy"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	"github.com/sickbay-dev/sickbay/internal/version"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

// fakeDeps is a machine on which nothing may happen but what a test allows: every call that is not set fails the test.
type fakeDeps struct {
	t        *testing.T
	decision *engine.Decision
	engine   func() (*engine.Engine, error)
	image    func(nodeimage.Request) (nodeimage.Resolved, error)
	cluster  func(name string) (*cluster.Cluster, error)
	all      []*cluster.Cluster
	upErr    error
	report   func(ctx context.Context, list []*scenarios.Scenario, o suites.Options) (*v1alpha1.Report, error)
	inv      engine.Inventory
	ups      []cluster.UpOptions
	adopted  []string
	downs    []string
}

var theEngine = &engine.Engine{Provider: "docker", Version: "29.0", CLI: "/nonexistent/docker"}

func (w *fakeDeps) refuse(what string) {
	w.t.Helper()
	w.t.Errorf("%s was reached", what)
}

func (w *fakeDeps) decideEngine(context.Context) (engine.Decision, error) {
	if w.decision == nil && w.engine != nil {
		return engine.Decision{Plan: engine.UseExisting, Engine: theEngine}, nil
	}
	if w.decision == nil {
		w.refuse("decideEngine")
		return engine.Decision{}, errors.New("no")
	}
	return *w.decision, nil
}

func (w *fakeDeps) ensureEngine(ctx context.Context) (*engine.Engine, error) {
	return w.presentEngine(ctx)
}

func (w *fakeDeps) presentEngine(context.Context) (*engine.Engine, error) {
	if w.engine == nil {
		w.refuse("the engine")
		return nil, errors.New("no")
	}
	return w.engine()
}

func (w *fakeDeps) resolveImage(_ context.Context, _ *engine.Engine, req nodeimage.Request) (nodeimage.Resolved, error) {
	if w.image == nil {
		w.refuse("the image")
		return nodeimage.Resolved{}, errors.New("no")
	}
	return w.image(req)
}

func (w *fakeDeps) up(_ context.Context, _ *engine.Engine, o cluster.UpOptions) (*cluster.Cluster, error) {
	w.ups = append(w.ups, o)
	if w.upErr != nil {
		return nil, w.upErr
	}
	return &cluster.Cluster{Name: o.Name, Ours: true, Image: o.Image}, nil
}

func (w *fakeDeps) find(_ context.Context, _ *engine.Engine, name string) (*cluster.Cluster, error) {
	if w.cluster == nil {
		w.refuse("the cluster")
		return nil, errors.New("no")
	}
	return w.cluster(name)
}

func (w *fakeDeps) clusters(context.Context, *engine.Engine) ([]*cluster.Cluster, error) {
	return w.all, nil
}
func (w *fakeDeps) down(_ context.Context, _ *engine.Engine, name string) error {
	if w.report == nil {
		w.refuse("down")
	}
	w.downs = append(w.downs, name)
	return nil
}
func (w *fakeDeps) testbed(context.Context, *cluster.Cluster) (suites.Testbed, error) {
	if w.report == nil {
		w.refuse("the lab")
	}
	return nil, nil
}
func (w *fakeDeps) agent(node.Node) diagnose.Agent { w.refuse("an agent"); return nil }
func (w *fakeDeps) adopt(_ context.Context, c *cluster.Cluster) (*cluster.Cluster, error) {
	w.adopted = append(w.adopted, c.Name)
	return &cluster.Cluster{Name: c.Name, Ours: true, Adopted: true}, nil
}
func (w *fakeDeps) othersNodes(_ context.Context, _ *engine.Engine, nodes []corev1.Node) (map[string]node.Node, error) {
	out := map[string]node.Node{}
	for _, n := range nodes {
		out[n.Name] = node.Local(n.Name)
	}
	return out, nil
}
func (w *fakeDeps) hostNode(name string) (node.Node, error) { return node.Local(name), nil }
func (w *fakeDeps) injecting(context.Context, node.Node) (injecting, error) {
	w.refuse("the injecting side of an agent")
	return nil, errors.New("no")
}
func (w *fakeDeps) inventory(context.Context, *engine.Engine) engine.Inventory { return w.inv }
func (w *fakeDeps) remedyTarget(*target) remedy.Target                         { return remedy.Target{} }
func (w *fakeDeps) runAll(ctx context.Context, _ suites.Testbed, list []*scenarios.Scenario, o suites.Options) (*v1alpha1.Report, error) {
	return w.report(ctx, list, o)
}
func (w *fakeDeps) clusterNames(context.Context) ([]string, error) {
	return []string{"sickbay", "dev"}, nil
}
func (w *fakeDeps) nodeNames(_ context.Context, c string) ([]string, error) {
	return []string{c + "-worker"}, nil
}

// call runs a command line and returns the exit code and both outputs.
func call(t *testing.T, w deps, in string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return callContext(t, t.Context(), w, in, args...)
}

func callContext(t *testing.T, ctx context.Context, w deps, in string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("GITHUB_STEP_SUMMARY", "") // the tests' own step has no use for theirs
	return callAs(t, ctx, w, in, args...)
}

func callAs(t *testing.T, ctx context.Context, w deps, in string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("SICKBAY_CACHE", t.TempDir()) // what runs of this machine's have left is no matter of a test's
	out, errs := file(t), file(t)
	a := newApp(strings.NewReader(in), out, errs)
	a.deps = w
	code = a.execute(ctx, args)
	return code, content(t, out), content(t, errs)
}

func file(t *testing.T) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func content(t *testing.T, f *os.File) string {
	t.Helper()
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestBadRequests: each is refused with exit code 2, says what is wrong and the way out, and reaches neither engine nor cluster.
func TestBadRequests(t *testing.T) {
	notYAML := write(t, "scenario.yaml", "kind: [")
	field := write(t, "scenario.yaml", "apiVersion: sickbay.dev/v1alpha1\nkind: Scenario\nmetadata: {name: x}\nspek: {}\n")
	plainFile := write(t, "file", "")
	nobody := write(t, "known.yaml", "apiVersion: sickbay.dev/v1alpha1\nkind: KnownFailures\nfailures: [{scenario: \"clokc-*\", why: so, until: 2999-01-01}]\n")
	mistyped := write(t, "known.yaml", "apiVersion: sickbay.dev/v1alpha1\nkind: KnownFailures\nfailures: [{scenario: plegdisk, why: so, until: 2999-01-01}]\n")
	whole := write(t, "report.json", `{"apiVersion": "sickbay.dev/v1alpha1", "kind": "Report", "results": []}`)
	emptyDir, report := t.TempDir(), write(t, "report.json", "{}")
	for _, c := range []struct {
		args string
		want []string
	}{
		{"rnu pleg-disk", []string{`unknown command "rnu" for ` + "`sickbay`", "did you mean run?"}},
		{"frobnicate", []string{`unknown command "frobnicate"`, "It has ", "diagnose"}},
		{"--frobnicate", []string{"unknown flag --frobnicate", "--help"}},
		{"help rnu", []string{`unknown command "rnu" for ` + "`sickbay`", "did you mean run?"}},
		{"help image bild", []string{`unknown command "bild" for ` + "`sickbay image`", "did you mean build?"}},
		{"run pleg-disk --nop", []string{"unknown flag --nop; did you mean --noop or --node?"}},
		{"run pleg-disk -x", []string{"unknown flag -x\n"}},
		{"run pleg/runtime-io-stall", []string{"pleg/runtime-io-stall is a finding", "runtime-io-stall", "pleg-disk"}},
		{"run swap-on --blind-restart=stop", []string{"--blind-restart=stop: it needs --controls"}},
		{"run swap-on --controls --blind-restart=nap", []string{"kubelet-first, stop, kill, reboot"}},
		{"run swap-on --controls core", []string{"--controls takes its value with =: --controls=core"}},
		{"run swap-on --lease 60", []string{"--lease 60 needs a unit: --lease 60s"}},
		{"inject swap-on --for 90", []string{"--for 90 needs a unit: --for 90s"}},
		{"diagnose --bundle " + emptyDir, []string{"is not a bundle", "`sickbay bundle DIR` records one"}},
		{"diagnose --bundle " + plainFile, []string{plainFile, "`sickbay bundle DIR` records one"}},
		{"diagnose --bundle " + filepath.Dir(report), []string{"It is a report; its observations are in " + filepath.Dir(report) + "/bundle"}},
		{"diagnose --timeout -1s", []string{"--timeout -1s: it must be between 1s and 10m"}},
		{"run", []string{"takes the names of one or more scenarios", "--help"}},
		{"suite --detector kubctl", []string{"--detector kubctl: it must be one of", "did you mean kubectl?"}},
		{"run swap-on --detector exec:./no-such-program", []string{"--detector exec:./no-such-program", "no such file"}},
		{"run swap-on --detector none --detector none", []string{"two detectors are called none", ",name=OTHER"}},
		{"run swap-on --detector none --noop", []string{"noop", "detector"}},
		{"suite --repeat 0", []string{"--repeat 0: it must be 1 at least"}},
		{"suite --retries -1", []string{"--retries -1: it cannot be below zero"}},
		{"suite --only failure=cin", []string{"--only failure=cin: no scenario is like that; did you mean cni", "sickbay list"}},
		{"suite --only plegdisk", []string{"--only plegdisk: no scenario is like that; did you mean pleg-disk", "sickbay list"}},
		{"suite --skip profile=core,needs=fil-disk", []string{"did you mean fill-disk?"}},
		{"suite --skip zzzzzzzzzz", []string{"--skip zzzzzzzzzz: no scenario is like that: `sickbay list`"}},
		{"suite --only falure=cni", []string{`"falure=cni": want a name or KEY=PATTERN`, "did you mean failure?"}},
		{"suite --known-failures " + mistyped, []string{mistyped + ": entry 1: no scenario is called plegdisk; did you mean pleg-disk", "sickbay list"}},
		{"chaos --scenario plegdisk", []string{`there is no scenario "plegdisk"; did you mean pleg-disk`}},
		{"run plegdisk --node w1", []string{"did you mean pleg-disk"}},
		{"lab start plegdisk", []string{"did you mean pleg-disk"}},
		{"chaos --parallel 0", []string{"--parallel 0 runs nothing: it needs --table"}},
		{"chaos --parallel 0 --results /nope", []string{"--parallel 0 runs nothing"}},
		{"chaos --parallel 0 --results /nope --table " + plainFile, []string{"--results /nope: no such file"}},
		{"chaos --parallel 0 --results " + emptyDir + " --table " + plainFile, []string{"--results " + emptyDir + ": is a directory"}},
		{"chaos --parallel 0 --results " + field + " --table " + plainFile, []string{field + ":1 is no result"}},
		{"chaos --parallel 0 --results " + plainFile + " --table " + emptyDir, []string{"--table " + emptyDir + ": it is a folder"}},
		{"chaos --parallel -1", []string{"--parallel -1: it cannot be below zero"}},
		{"chaos --results " + plainFile + "/x/results", []string{"--results " + plainFile + "/x"}},
		{"chaos --table " + plainFile + "/x/table.md --results " + plainFile, []string{"--table " + plainFile + "/x"}},
		{"chaos --lease 1000h", []string{"--lease 1000h0m0s: it must be 15s to 24h"}},
		{"chaos --topology huge", []string{`--topology "huge"`}},
		{"chaos --mode wait,wait", []string{"--mode wait: it is named twice"}},
		{"run swap-on --lease 1000h", []string{"--lease 1000h0m0s: it must be 15s"}},
		{"vm run swap-on --lease 1s", []string{"--lease 1s: it must be 15s"}},
		{"vm run swap-on --repeat 0", []string{"--repeat 0: it must be 1 at least"}},
		{"vm run --profile core --parallel -1", []string{"--parallel -1: it cannot be below zero"}},
		{"vm run swap-on --parallel 2", []string{"--parallel needs --profile"}},
		{"lab verify L01 L01", []string{"lab L01 is named twice"}},
		{"npd --failure cni,cni", []string{"--failure cni: it is named twice"}},
		{"report diff " + emptyDir + " " + emptyDir + " --slower NaN", []string{"--slower must be 1 or more"}},
		{"report diff " + filepath.Dir(whole) + " " + filepath.Dir(whole) + " --summary /no/such/folder/x.md", []string{"--summary /no/such/folder/x.md: no such file"}},
		{"report merge " + filepath.Dir(whole) + " --summary /no/such/folder/x.md", []string{"--summary /no/such/folder/x.md: no such file"}},
		{"lab verify L0", []string{"did you mean L0"}},
		{"diagnose --ssh worker-1 --ssh worker-2 worker1", []string{`no node "worker1"; did you mean worker-1 or worker-2?`, "It has worker-1, worker-2."}},
		{"diagnose --bundle ../../detectors/all/testdata/recorded/swap-on --node sickbay-wroker", []string{`the bundle has no node "sickbay-wroker"; did you mean `}},
		{"suite --known-failures " + plainFile, []string{"want sickbay.dev/v1alpha1 KnownFailures"}},
		{"suite --profile ./no-such.yaml", []string{"read the profile ./no-such.yaml: no such file"}},
		{"run pleg-dsik", []string{`there is no scenario "pleg-dsik"; did you mean pleg-disk?`}},
		{"run zzzzzzzzzzzz", []string{"there is no scenario", "sickbay list"}},
		{"run pleg-disk swap-onn", []string{`"swap-onn"`, "swap-on"}},
		{"run pleg-disk pleg-disk", []string{"named twice"}},
		{"run ./no/such/scenario.yaml", []string{"read scenario ./no/such/scenario.yaml", "no such file"}},
		{"run " + notYAML, []string{notYAML + ":1:", "^"}},
		{"run " + field, []string{field + `:4:1: unknown field "spek" in the document; did you mean "spec"?`, "    4 | spek: {}", "^"}},
		{"run pleg-disk --noop --no-remedy", []string{"noop", "no-remedy"}},
		{"run pleg-disk --nope", []string{"unknown flag --nope"}},
		{"run pleg-disk -o xml", []string{"xml", "text, json or yaml"}},
		{"run pleg-disk --report " + plainFile, []string{"--report " + plainFile}},
		{"run pleg-disk --topology huge", []string{`--topology "huge"`, "default", "small"}},
		{"run pleg-disk --timings slow", []string{`--timings "slow"`, "quick", "stock"}},
		{"run pleg-disk swap-on --node w1", []string{"--node is for one scenario"}},
		{"run pleg-disk --cluster=", []string{"--cluster is empty"}},
		{"suite pleg-disk", []string{"takes no arguments"}},
		{"suite --profile basic", []string{`--profile "basic"`, "core, extended, all, decoys or a file"}},
		{"suite --parallel -1", []string{"--parallel -1"}},
		{"list extra", []string{"takes no arguments"}},
		{"inject pleg-disk --for 1s", []string{"--for 1s", "one minute to 24 hours"}},
		{"inject", []string{"takes the name of one scenario"}},
		{"lab", []string{"needs one of", "start", "check"}},
		{"lab L07", []string{"`sickbay lab start L07` starts it"}},
		{"lab strat", []string{`unknown command "strat"`, "did you mean start"}}, //nolint:misspell // the mistake it is about
		{"lab start nothing-like-it", []string{`there is no scenario "nothing-like-it"`}},
		{"lab start --level 4", []string{"--level 4"}},
		{"lab start --topic netwrok", []string{`--topic "netwrok"`, "network"}}, //nolint:misspell // the mistake it is about
		{"lab start --for 1s", []string{"--for 1s", "five minutes to 24 hours"}},
		{"lab start --language fr", []string{`--language "fr"`, "en or ko"}},
		{"lab start --level 1 --topic devices", []string{"there is no lab of level 1", "sickbay lab list"}},
		{"lab check", []string{"no lab is running on cluster sickbay", "sickbay lab start"}},
		{"lab drill --count 1", []string{"--count 1"}},
		{"lab verify", []string{"the names of labs, or --all"}},
		{"lab verify plegdisk", []string{"did you mean pleg-disk?"}},
		{"explain plegg", []string{`no failure "plegg"; did you mean pleg?`}},
		{"explain pleg/runtime-hangs", []string{`no cause of pleg "runtime-hangs"; did you mean runtime-hung?`}},
		{"diagnose --yes", []string{"--yes and --dry-run need --fix"}},
		{"diagnose --since 0s", []string{"--since 0s"}},
		{"diagnose --context prod", []string{`no context "prod"`, "--ssh"}},
		{"diagnose --cluster a --local", []string{"cluster", "local"}},
		{"diagnose --bundle /no/such/bundle", []string{"/no/such/bundle", "sickbay bundle"}},
		{"diagnose --local --node a --node b", []string{"--local is one node"}},
		{"diagnose --debug-image x", []string{"--debug-image needs --context"}},
		{"diagnose --kubeconfig x", []string{"--kubeconfig needs --local, --ssh or --context"}},
		{"diagnose --local --kubeconfig /no/such/file", []string{"read the kubeconfig /no/such/file", "no such file"}},
		{"diagnose --ssh a@b --node c", []string{`no node "c"`, "It has b."}},
		{"npd chekc", []string{`unknown command "chekc"`, "did you mean check?"}},
		{"npd --every 1s", []string{"--every 1s", "five seconds"}},
		{"npd --failure plegg", []string{`no failure "plegg"; did you mean pleg?`}},
		{"standby --listen nowhere", []string{`--listen "nowhere": it must be ADDRESS:PORT`}},
		{"npd check", []string{"takes the name of one failure"}},
		{"npd check plegg", []string{"did you mean pleg?"}},
		{"diagnose --sudo", []string{"--sudo needs --ssh"}},
		{"diagnose --ssh=", []string{"--ssh is empty"}},
		{"diagnose --ssh a@b --node=", []string{"--node is empty"}},
		{"diagnose --bundle=", []string{"--bundle is empty"}},
		{"diagnose --fix --context=", []string{"--context is empty"}},
		{"suite --shard=", []string{"--shard is empty"}},
		{"suite --detector=", []string{"--detector is empty"}},
		{"npd --failure=", []string{"--failure is empty"}},
		{"help run x", []string{"unknown command \"x\" for `sickbay run`\n  `sickbay help --help`"}},
		{"run pleg-disk --kubernetes new", []string{`--kubernetes "new" is no version of Kubernetes`}},
		{"suite --summary /no/such/folder/x.md", []string{"--summary /no/such/folder/x.md: no such file"}},
		{"report " + emptyDir + " --matrix -o json", []string{"--matrix and --output exclude each other"}},
		{"report diff " + emptyDir + " " + emptyDir + " --fail-on none,broken", []string{"none goes alone"}},
		{"report dif a b", []string{`unknown command "dif" for ` + "`sickbay report`", "did you mean diff?"}},
		{"report " + filepath.Dir(report), []string{`report.json is a document without apiVersion and kind; this sickbay reads`}},
		{"suite --known-failures " + nobody, []string{nobody + ": entry 1: no scenario is called clokc-*"}},
		{"suite --matrix kubernetes=1.34 --kubernetes 1.36", []string{"its cells have their own --kubernetes"}},
		{"image build --kubernetes new", []string{`--kubernetes "new" is no version`}},
		{"image build --runtime docker", []string{`--runtime "docker"`, "crio"}},
		{"explain " + strings.Repeat("x", 5000), []string{"…\"\n  `sickbay explain` lists all"}},
		{"report merge " + filepath.Dir(whole) + " --into " + filepath.Dir(whole), []string{"there is a report in it: choose another folder"}},
		{"diagnose --timeout -1s", []string{"between 1s and 10m"}},
		{"diagnose --bundle x --cluster dev", []string{"bundle", "cluster"}},
		{"diagnose --bundle x --local", []string{"bundle", "local"}},
		{"diagnose --bundle x --looks 5", []string{"bundle", "looks"}},
		{"diagnose --bundle x --since 0s", []string{"--bundle and --since exclude each other", "Leave one of them out."}},
		{"diagnose --bundle x --timeout -1s", []string{"--bundle and --timeout exclude each other"}},
		{"diagnose --bundle x --looks 0", []string{"--bundle and --looks exclude each other"}},
		{"diagnose --bundle x --keep-agent", []string{"--bundle and --keep-agent exclude each other"}},
		{"diagnose --bundle x --sudo", []string{"--bundle and --sudo exclude each other"}},
		{"diagnose --bundle x --kubeconfig y", []string{"--bundle and --kubeconfig exclude each other"}},
		{"diagnose --bundle x --every 9s", []string{"--every needs --watch"}},
		{"diagnose --watch --looks 3", []string{"--looks and --watch exclude each other"}},
		{"explain --bundle x --local", []string{"--bundle and --local exclude each other"}},
		{"explain --bundle x --since 1m", []string{"--bundle and --since exclude each other"}},
		{"explain --since 1m", []string{"--since needs --cluster, --context, --node, --local or --ssh"}},
		{"explain pleg --timeout 1s", []string{"--timeout needs --cluster"}},
		{"diagnose --fix --plan sha256:12", []string{"sha256:12 holds no plan", "`sickbay diagnose --fix --dry-run -o json`"}},
		{"diagnose --watch --every 1ms", []string{"--every 1ms"}},
		{"diagnose --for 10m", []string{"--for needs --watch"}},
		{"bundle", []string{"takes the folder to write into"}},
		{"bundle " + filepath.Dir(whole) + " --local", []string{"not a bundle (it holds report.json): choose another folder"}},
		{"bundle " + plainFile + " --local", []string{plainFile, "not a directory"}},
		{"bundle d --looks 0", []string{"--looks 0"}},
		{"cluster", []string{"needs one of", "up", "down", "status"}},
		{"cluster upp", []string{`unknown command "upp"`, "did you mean up"}},
		{"cluster down --all --cluster x", []string{"all", "cluster"}},
		{"engine", []string{"needs one of"}},
		{"image bild", []string{"did you mean build?"}},
		{"report /no/such/report", []string{"/no/such/report", "--report DIR"}},
		{"report diff /no/such/report /nor/this", []string{"/no/such/report", "--report DIR"}},
		{"report diff one", []string{"takes two folders of reports, not 1"}},
		{"report diff " + emptyDir + " " + emptyDir + " --fail-on worse", []string{"--fail-on worse", "broken, flaky, lost"}},
		{"report diff " + emptyDir + " " + emptyDir + " --slower 0.5", []string{"--slower must be 1 or more"}},
		{"report merge /no/such/report", []string{"/no/such/report", "--report DIR"}},
		{"report " + emptyDir + " --against " + emptyDir, []string{"--against needs --html"}},
		{"report " + emptyDir + " --implementation project=x", []string{"--implementation needs --conformance"}},
		{"report " + emptyDir + " --into " + emptyDir, []string{"--into needs --scoreboard"}},
		{"suite --shard 6/5", []string{`--shard "6/5"`, "2/5"}},
		{"suite --shard 1/500", []string{"--shard 1/500", "there are only"}},
		{"vm run pleg-disk --summary x.md", []string{"needs --report"}},
		{"completion tcsh", []string{`"tcsh"`, "bash, zsh, fish or powershell"}},
		{"recover --all --run x", []string{"all", "run"}},
		{"version 1", []string{"takes no arguments"}},
		{"vm", []string{"needs one of", "up", "run", "shell", "status", "down", "prune"}},
		{"vm upp", []string{"did you mean up?"}},
		{"vm up --cpus -1", []string{"--cpus -1"}},
		{"vm up --memory lots", []string{`--memory "lots"`, "8Gi"}},
		{"vm up --memory 512Mi", []string{"--memory 512Mi", "2Gi at least"}},
		{"vm up --accel xen", []string{`--accel "xen"`, "kvm or tcg"}},
		{"vm run", []string{"takes the names of scenarios, or --profile"}},
		{"vm run pleg-dsik", []string{`there is no scenario "pleg-dsik"; did you mean pleg-disk?`}},
		{"vm run pleg-disk --profile core", []string{"it goes without names"}},
		{"vm run --profile basic", []string{`--profile "basic"`, "core, extended, all, decoys or a file"}},
		{"vm run ./my/scenario.yaml", []string{"read scenario ./my/scenario.yaml"}},
		{"vm run pleg-disk --noop --no-remedy", []string{"noop", "no-remedy"}},
		{"vm run pleg-disk --report " + plainFile, []string{"--report " + plainFile}},
		{"vm run pleg-disk --topology huge", []string{`--topology "huge"`}},
		{"vm prune --all --limit 1Gi", []string{"all", "limit"}},
		{"vm prune --limit much", []string{`--limit "much"`}},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, stdout, stderr := call(t, &fakeDeps{t: t}, "", strings.Fields(c.args)...)
			if code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			if stdout != "" {
				t.Errorf("standard output is not for errors:\n%s", stdout)
			}
			if strings.Contains(stderr, "--seed") && !strings.Contains(c.args, "--seed") {
				t.Errorf("an order is told of what is not run:\n%s", stderr)
			}
			for _, want := range c.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("no %q in:\n%s", want, stderr)
				}
			}
		})
	}
}

// TestTrouble: what the machine refuses, with its exit code and the way out, and nothing made ill.
func TestTrouble(t *testing.T) {
	ok := func() (*engine.Engine, error) { return theEngine, nil }
	absent := func(name string) (*cluster.Cluster, error) { return nil, &cluster.NotFoundError{Name: name} }
	image := func(nodeimage.Request) (nodeimage.Resolved, error) { return nodeimage.Resolved{Ref: "node:1"}, nil }
	for _, c := range []struct {
		name string
		deps fakeDeps
		args string
		code int
		want []string
	}{
		{
			"no engine and none to be had",
			fakeDeps{engine: func() (*engine.Engine, error) {
				return nil, &engine.ImpossibleError{Decision: engine.Decision{Plan: engine.Impossible, Reason: "docker cannot run privileged containers", Remedy: "Run this as root."}}
			}},
			"run pleg-disk", exitTrouble, []string{"docker cannot run privileged containers", "Run this as root."},
		},
		{
			"engine not running",
			fakeDeps{engine: func() (*engine.Engine, error) {
				return nil, hint(errors.New("no container engine runs: none is there"), "`sickbay engine up` starts one.")
			}},
			"diagnose", exitTrouble, []string{"no container engine runs", "sickbay engine up"},
		},
		{
			"no space for the image",
			fakeDeps{engine: ok, cluster: absent, image: func(nodeimage.Request) (nodeimage.Resolved, error) {
				return nodeimage.Resolved{}, errors.New("building the node image needs 6 GiB in /c, and 1 GiB is free: set SICKBAY_CACHE to another folder")
			}},
			"run pleg-disk", exitTrouble, []string{"needs 6 GiB", "SICKBAY_CACHE"},
		},
		{
			"the cluster's name is somebody else's",
			fakeDeps{engine: ok, cluster: func(name string) (*cluster.Cluster, error) { return &cluster.Cluster{Name: name}, nil }},
			"run pleg-disk --cluster dev", exitUsage, []string{"cluster dev was not made by sickbay", "--cluster"},
		},
		{
			"nor is it made ill by inject",
			fakeDeps{engine: ok, cluster: func(name string) (*cluster.Cluster, error) { return &cluster.Cluster{Name: name}, nil }},
			"inject swap-on --cluster dev", exitUsage, []string{"not made by sickbay"},
		},
		{
			"nor recovered",
			fakeDeps{engine: ok, cluster: func(name string) (*cluster.Cluster, error) { return &cluster.Cluster{Name: name}, nil }},
			"recover --cluster dev", exitUsage, []string{"not made by sickbay"},
		},
		{
			"a port or name is taken",
			fakeDeps{engine: ok, cluster: absent, image: image, upErr: &cluster.TakenError{What: "port 6443 is taken by nginx", Way: "leave the choice to the engine"}},
			"cluster up", exitUsage, []string{"port 6443 is taken"},
		},
		{
			"status of a cluster that is not there",
			fakeDeps{engine: ok, cluster: absent},
			"status --cluster nope", exitUsage, []string{"nope"},
		},
		{
			"a mistyped cluster makes none",
			fakeDeps{engine: ok, cluster: absent, image: image, all: []*cluster.Cluster{{Name: "nightly", Ours: true}, {Name: "theirs"}}},
			"run pleg-disk --cluster nigthly", exitUsage, []string{`no cluster "nigthly"; did you mean nightly?`, "There is nightly.", "`sickbay cluster up --cluster nigthly` makes it"},
		},
		{
			"nor does inject",
			fakeDeps{engine: ok, cluster: absent, image: image},
			"inject swap-on --cluster nope --topology small", exitUsage, []string{`no cluster "nope"`, "sickbay cluster up --cluster nope"},
		},
		{
			"nor lab",
			fakeDeps{engine: ok, cluster: absent, image: image},
			"lab start swap-on --cluster nope", exitUsage, []string{`no cluster "nope"`},
		},
		{
			"no such worker",
			fakeDeps{engine: ok, cluster: absent, image: image},
			"run pleg-disk --node w9", exitUsage, []string{`has no worker "w9"`},
		},
		{
			"several clusters and none named",
			fakeDeps{engine: ok, all: []*cluster.Cluster{{Name: "a"}, {Name: "b"}}},
			"diagnose", exitUsage, []string{"several clusters exist: a, b", "--cluster"},
		},
		{
			"no cluster at all",
			fakeDeps{engine: ok},
			"diagnose", exitUsage, []string{"no kind cluster on", "--local"},
		},
		{
			"two runs on one node",
			fakeDeps{engine: ok, cluster: absent, image: image, report: func(context.Context, []*scenarios.Scenario, suites.Options) (*v1alpha1.Report, error) {
				return nil, &cluster.ClaimedError{What: "sickbay-worker", Holder: cluster.Holder{ID: process.ID{PID: 7}, Command: "sickbay run swap-on"}}
			}},
			"run pleg-disk", exitTrouble, []string{"sickbay-worker is held by process 7 (sickbay run swap-on)"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.deps.t = t
			code, _, stderr := call(t, &c.deps, "", strings.Fields(c.args)...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("no %q in:\n%s", want, stderr)
				}
			}
		})
	}
}

func ready(t *testing.T) *fakeDeps {
	return &fakeDeps{
		t:      t,
		engine: func() (*engine.Engine, error) { return theEngine, nil },
		cluster: func(name string) (*cluster.Cluster, error) {
			return &cluster.Cluster{Name: name, Ours: true, Image: "node:1", Topology: "small", Profile: "stock"}, nil
		},
		image: func(nodeimage.Request) (nodeimage.Resolved, error) { return nodeimage.Resolved{Ref: "node:2"}, nil },
	}
}

func result(v v1alpha1.Verdict) *v1alpha1.Report {
	return &v1alpha1.Report{Verdict: v, Results: []v1alpha1.ScenarioResult{{
		Scenario: "pleg-disk", Node: "sickbay-worker", Verdict: v,
		Steps: []v1alpha1.StepResult{{Name: v1alpha1.StepBaseline, Verdict: v1alpha1.VerdictPassed, Seen: []string{"well"}}, {Name: v1alpha1.StepInject, Verdict: v, Reason: "because\nof two things"}},
	}}}
}

func TestRunExitCodes(t *testing.T) {
	for _, c := range []struct {
		verdict v1alpha1.Verdict
		err     error
		code    int
	}{
		{v1alpha1.VerdictPassed, nil, exitYes},
		{v1alpha1.VerdictFailed, nil, exitNo},
		{v1alpha1.VerdictUnknown, nil, exitTrouble},
		{v1alpha1.VerdictUnsupported, nil, exitTrouble},
		{v1alpha1.VerdictUnknown, errors.New("the node went away"), exitTrouble},
		{v1alpha1.VerdictUnknown, suites.ErrInterrupted, exitInterrupted},
	} {
		w := ready(t)
		w.report = func(context.Context, []*scenarios.Scenario, suites.Options) (*v1alpha1.Report, error) {
			return result(c.verdict), c.err
		}
		code, stdout, stderr := call(t, w, "", "run", "pleg-disk")
		if code != c.code {
			t.Errorf("%s, %v: exit code %d, want %d\n%s", c.verdict, c.err, code, c.code, stderr)
		}
		if !strings.Contains(stdout, "pleg-disk on sickbay-worker: "+string(c.verdict)) {
			t.Errorf("%s: the verdict is not told:\n%s", c.verdict, stdout)
		}
	}
}

func TestRunPassesItsFlagsOn(t *testing.T) {
	w := ready(t)
	dir := t.TempDir()
	w.report = func(_ context.Context, list []*scenarios.Scenario, o suites.Options) (*v1alpha1.Report, error) {
		if len(list) != 2 || list[0].Metadata.Name != "swap-on" || o.Controls != suites.OnlyNoRemedy || !o.Keep || o.ReportDir != dir {
			t.Errorf("%d scenarios, options %+v", len(list), o)
		}
		return &v1alpha1.Report{Verdict: v1alpha1.VerdictFailed, Results: []v1alpha1.ScenarioResult{{Verdict: v1alpha1.VerdictFailed}}}, nil
	}
	if code, _, _ := call(t, w, "", "run", "swap-on", "pleg-disk", "--no-remedy", "--keep", "--report", dir); code != exitNo {
		t.Errorf("exit code %d", code)
	}
	// The cluster that is there is used in the shape it has.
	if len(w.ups) != 1 || w.ups[0].Image != "node:1" || w.ups[0].Topology != "small" || w.ups[0].Profile != "stock" {
		t.Errorf("up was asked for %+v", w.ups)
	}
}

// TestWhatMakesClusters: the default cluster is made by whoever needs it, one of another name by `cluster up` alone.
func TestWhatMakesClusters(t *testing.T) {
	for args, made := range map[string]int{
		"run pleg-disk":                   1,
		"run pleg-disk --cluster sickbay": 1,
		"run pleg-disk --cluster two":     0,
		"suite --cluster two":             0,
		"cluster up --cluster two":        1,
	} {
		w := ready(t)
		w.cluster = func(name string) (*cluster.Cluster, error) { return nil, &cluster.NotFoundError{Name: name} }
		w.upErr = errors.New("made, for this test")
		if _, _, stderr := call(t, w, "", strings.Fields(args)...); len(w.ups) != made {
			t.Errorf("%q made %d clusters, want %d\n%s", args, len(w.ups), made, stderr)
		}
	}
}

// TestShapeOfNewClusters: many scenarios get a wide cluster, unless another shape is asked for.
func TestShapeOfNewClusters(t *testing.T) {
	for args, topology := range map[string]string{
		"run pleg-disk":               "",
		"suite --only cni":            "",
		"suite":                       "wide",
		"suite --topology small":      "small",
		"suite --profile all":         "wide",
		"cluster up --topology small": "small",
	} {
		w := ready(t)
		w.cluster = func(name string) (*cluster.Cluster, error) { return nil, &cluster.NotFoundError{Name: name} }
		w.upErr = errors.New("made, for this test")
		if _, _, stderr := call(t, w, "", strings.Fields(args)...); len(w.ups) != 1 || w.ups[0].Topology != topology {
			t.Errorf("%q made %+v, want %q\n%s", args, w.ups, topology, stderr)
		}
	}
}

func TestRunReportAsJSON(t *testing.T) {
	w := ready(t)
	w.report = func(context.Context, []*scenarios.Scenario, suites.Options) (*v1alpha1.Report, error) {
		return &v1alpha1.Report{Kind: v1alpha1.KindReport, Verdict: v1alpha1.VerdictPassed, Results: []v1alpha1.ScenarioResult{{Verdict: v1alpha1.VerdictPassed}}}, nil
	}
	_, stdout, _ := call(t, w, "", "run", "pleg-disk", "-o", "json")
	var rep v1alpha1.Report
	if err := json.Unmarshal([]byte(stdout), &rep); err != nil || rep.Verdict != v1alpha1.VerdictPassed {
		t.Errorf("%v in:\n%s", err, stdout)
	}
}

func TestInterruptIs130(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := ready(t)
	w.report = func(ctx context.Context, _ []*scenarios.Scenario, _ suites.Options) (*v1alpha1.Report, error) {
		cancel()
		return nil, errors.Join(suites.ErrInterrupted, ctx.Err())
	}
	if code, _, _ := callContext(t, ctx, w, "", "run", "pleg-disk"); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
}

// npdDeps is a node whose kubelet stands still.
type npdDeps struct {
	fakeDeps
	o *v1alpha1.Observation
}

func (w *npdDeps) agent(node.Node) diagnose.Agent {
	return diagnose.AgentFunc(func(context.Context, diagnose.Ask) (*v1alpha1.Observation, error) { return w.o, nil })
}

// npd writes what NPD reads and checks as NPD calls: a line, and 0, 1 or 2.
func TestNPD(t *testing.T) {
	code, stdout, stderr := call(t, &fakeDeps{t: t}, "", "npd")
	var c npd.Config
	if err := json.Unmarshal([]byte(stdout), &c); err != nil || code != exitYes || stderr != "" || len(c.Rules) != len(failures.All()) {
		t.Fatalf("exit code %d, %d rules, %v\n%s", code, len(c.Rules), err, stderr)
	}
	for failure, want := range map[string]struct {
		code int
		line string
	}{
		"node-notready": {1, "kubelet-stopped: "},
		"swap":          {0, "no sign of: kubelet refuses"},
		"image-pull":    {2, "api could not be read"},
	} {
		o := detectorstest.Healthy()
		o.API = nil
		o.At = time.Now()
		u := o.Units["kubelet"]
		u.ActiveState, u.SubState, u.MainPID = "inactive", "dead", 0
		o.Units["kubelet"] = u
		code, stdout, stderr := call(t, &npdDeps{fakeDeps{t: t}, o}, "", "npd", "check", failure, "--state", t.TempDir())
		if code != want.code || !strings.HasPrefix(stdout, want.line) || strings.Count(stdout, "\n") != 1 {
			t.Errorf("%s: exit code %d, %q\n%s", failure, code, stdout, stderr)
		}
	}
}

func bundleWith(t *testing.T, ill bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bundle")
	o := v1alpha1.Observation{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindObservation, Node: "n1", At: time.Now(), TookMS: 5}
	if ill {
		o.Unknown = append(o.Unknown, v1alpha1.Unknown{What: "node", Why: "it does not answer"})
	}
	if _, err := diagnose.WriteBundle(dir, v1alpha1.Bundle{Cluster: "c1", RecordedAt: time.Now()}, map[string]v1alpha1.History{"n1": {o}}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDiagnoseBundle(t *testing.T) {
	code, stdout, stderr := call(t, &fakeDeps{t: t}, "", "diagnose", "--bundle", bundleWith(t, false), "-o", "json")
	var d v1alpha1.Diagnosis
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || code != exitYes || d.Kind != v1alpha1.KindDiagnosis || d.Cluster != "c1" || !d.Healthy {
		t.Errorf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if d.Findings == nil || d.Unknown == nil {
		t.Error("empty lists must be [], not null: readers index them")
	}
	if code, _, _ := call(t, &fakeDeps{t: t}, "", "diagnose", "--bundle", bundleWith(t, false), "--node", "n2"); code != exitUsage {
		t.Errorf("a node that is not in the bundle: exit code %d", code)
	}
}

// A bundle that cannot be read is told as such: could not look, never a panic and never a diagnosis.
// What to do comes before what the reader has already seen, and a diagnosis leads straight to the pages of its findings.
func TestExplainActsFirst(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"cni"}, []string{"cni: pod network", "\nFirst\n", "\nWhat you see\n", "\nCauses\n", "\nconflist-missing\n"}},
		{[]string{"cni/conflist-missing"}, []string{"cni: pod network", "\nconflist-missing\n", "\nFix: ", "\nFirst\n", "\nWhat you see\n"}},
		{[]string{"--bundle", recorded + "conflist-missing"}, []string{"cni/conflist-missing", "there is no CNI configuration", "\nFix: ", "\nFirst\n"}},
	} {
		_, stdout, stderr := call(t, &fakeDeps{t: t}, "", append([]string{"explain"}, c.args...)...)
		rest := stdout
		for _, want := range c.want {
			_, after, ok := strings.Cut(rest, want)
			if !ok {
				t.Fatalf("%v: no %q, or out of order, in\n%s%s", c.args, want, stdout, stderr)
			}
			rest = after
		}
	}
	if code, _, _ := call(t, &fakeDeps{t: t}, "", "explain", "cni", "--bundle", "x"); code != exitUsage {
		t.Errorf("a name and a bundle: %d", code)
	}
}

// With --quiet the exit code is the answer; a node may be named without a flag; each node that was not reached is a failed look.
func TestDiagnoseQuietly(t *testing.T) {
	bundle := recorded + "conflist-missing"
	if code, stdout, stderr := call(t, &fakeDeps{t: t}, "", "diagnose", "-q", "--bundle", bundle); code != exitNo || stdout+stderr != "" {
		t.Errorf("%d %q %q", code, stdout, stderr)
	}
	if code, stdout, _ := call(t, &fakeDeps{t: t}, "", "diagnose", "-q", "-o", "json", "--bundle", bundle); code != exitNo || !strings.HasPrefix(stdout, "{") {
		t.Errorf("%d %q", code, stdout)
	}
	if code, _, stderr := call(t, &fakeDeps{t: t}, "", "diagnose", "n9", "--bundle", bundle); code != exitUsage || !strings.Contains(stderr, `no node "n9"`) {
		t.Errorf("%d %q", code, stderr)
	}
	if err := unread(v1alpha1.Diagnosis{Nodes: []string{"a", "b"}, Unknown: []v1alpha1.NodeUnknown{{Node: "a", What: "node"}, {Node: "b", What: "kmsg"}}}); err == nil || err.Error() != "1 of 2 could not be read" {
		t.Error(err)
	}
}

// What --fix would do is printed once, in full.
func TestDryRunPrintsOnce(t *testing.T) {
	w := &watchDeps{fakeDeps: fakeDeps{t: t}}
	w.looks.Store(1)
	code, stdout, stderr := call(t, w, "", "diagnose", "--local", "--fix", "--dry-run")
	if code != exitNo || strings.Count(stdout+stderr, "node-notready/kubelet-stopped") != 2 || !strings.Contains(stderr, "Nothing was changed: --dry-run (plan sha256:") {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
}

func TestDiagnoseDamagedBundle(t *testing.T) {
	for name, damage := range map[string]struct{ file, content, want string }{
		"later format": {"bundle.yaml", "apiVersion: sickbay.dev/v1alpha1\nkind: Bundle\nformat: 2\n", "format 2"},
		"cut short":    {"nodes/n1.json", "[{", "n1.json is damaged"},
		"outside":      {"bundle.yaml", "apiVersion: sickbay.dev/v1alpha1\nkind: Bundle\nformat: 1\nrecordedAt: 2026-11-24T00:00:00Z\nnodes: [{name: n1, file: /etc/passwd, looks: 1}]\n", "leads out of the bundle"},
	} {
		dir := bundleWith(t, false)
		if err := os.WriteFile(filepath.Join(dir, damage.file), []byte(damage.content), 0o600); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := call(t, &fakeDeps{t: t}, "", "diagnose", "--bundle", dir, "-o", "json")
		said := stderr
		if name == "cut short" { // one node's file: it is unknown, and others would be judged
			said = stdout
			if !strings.Contains(stdout, `"healthy": false`) {
				t.Errorf("%s: %s", name, stdout)
			}
		} else if stdout != "" {
			t.Errorf("%s: standard output is not for errors: %s", name, stdout)
		}
		if code != exitTrouble || !strings.Contains(said, damage.want) {
			t.Errorf("%s: exit code %d\n%s%s", name, code, stdout, stderr)
		}
	}
}

func TestVerdictOfADiagnosis(t *testing.T) {
	for _, c := range []struct {
		d    v1alpha1.Diagnosis
		want error
	}{
		{v1alpha1.Diagnosis{Healthy: true}, nil},
		{v1alpha1.Diagnosis{}, answer(exitTrouble)},
		{v1alpha1.Diagnosis{Findings: []v1alpha1.Finding{{Failure: "pleg"}}}, no},
	} {
		if got := verdictOf(c.d); got != c.want {
			t.Errorf("%+v: got %v, want %v", c.d, got, c.want)
		}
	}
}

func TestDoctor(t *testing.T) {
	use := engine.Decision{Plan: engine.UseExisting, Reason: "sickbay started it earlier", Engine: &engine.Engine{Provider: "docker", Private: true, Version: "20"}}
	none := engine.Decision{Plan: engine.StartPrivate, Reason: "no container engine is there"}
	impossible := engine.Decision{Plan: engine.Impossible, Reason: "no container engine is there", Remedy: "Install one."}
	item := func(k engine.Kind, name string, ours bool) engine.Item {
		return engine.Item{Kind: k, Name: name, Ours: ours}
	}
	for _, c := range []struct {
		name     string
		decision engine.Decision
		clusters []*cluster.Cluster
		items    []engine.Item
		code     int
		want     string
	}{
		{"a clean machine", none, nil, nil, exitYes, "Nothing is left behind."},
		{"an engine of ours, kept", use, nil, []engine.Item{item(engine.Cgroup, "/sickbay", true), item(engine.Proc, "dockerd", true)}, exitYes, "sickbay engine down"},
		{"a container without its cluster", use, nil, []engine.Item{item(engine.Container, "sickbay-registry", true)}, exitNo, "sickbay-registry"},
		{"a cluster, kept", use, []*cluster.Cluster{{Name: "sickbay", Ours: true}}, []engine.Item{item(engine.Container, "sickbay-worker", true)}, exitYes, "sickbay cluster down --cluster sickbay"},
		{"a loop device beside a cluster", use, []*cluster.Cluster{{Name: "sickbay", Ours: true}}, []engine.Item{item(engine.Loop, "/dev/loop3", true)}, exitNo, "/dev/loop3"},
		{"swap of ours by its path", use, nil, []engine.Item{item(engine.Swap, "/var/lib/sickbay/x/swapfile", false)}, exitNo, "swapfile"},
		{"somebody else's swap", none, nil, []engine.Item{item(engine.Swap, "/dev/sda2", false)}, exitYes, "Nothing is left behind."},
		{"a rule without engine and cluster", none, nil, []engine.Item{item(engine.Rule, "SICKBAY", true)}, exitNo, "SICKBAY"},
		{"no engine possible", impossible, nil, nil, exitNo, "Install one."},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &fakeDeps{
				t: t, decision: &c.decision, all: c.clusters, inv: engine.Inventory{Items: c.items},
				image: func(req nodeimage.Request) (nodeimage.Resolved, error) {
					if !req.NoPull || !req.NoBuild {
						t.Error("doctor must change nothing, and this would pull or build")
					}
					return nodeimage.Resolved{Ref: "node:1"}, nil
				},
			}
			code, stdout, stderr := call(t, w, "", "doctor")
			if code != c.code || !strings.Contains(stdout, c.want) {
				t.Errorf("exit code %d, want %d and %q in:\n%s%s", code, c.code, c.want, stdout, stderr)
			}
		})
	}
}

func TestExplainKnowsAll(t *testing.T) {
	for _, f := range failures.All() {
		for _, c := range f.Causes {
			code, stdout, _ := call(t, &fakeDeps{t: t}, "", "explain", f.Name+"/"+c.Name)
			if code != exitYes || !strings.Contains(stdout, "\n"+c.Name+"\n") {
				t.Errorf("%s/%s: exit code %d\n%s", f.Name, c.Name, code, stdout)
			}
			for _, other := range f.Causes {
				if other.Name != c.Name && strings.Contains(stdout, "\n"+other.Name+"\n") {
					t.Errorf("%s/%s also explains %s", f.Name, c.Name, other.Name)
				}
			}
		}
	}
	for args, want := range map[string]string{
		"PLEG is not healthy":        "pleg: PLEG is not healthy\n", // several words, unquoted
		"kubelet-stopped":            "Explained by:\n  swap/swap-on  ",
		"swap":                       "Explains:\n  node-notready/kubelet-stopped  the kubelet ends itself",
		"client-cert-expired":        "Treat after:\n  disk-pressure/nodefs-full  ",
		"ImagePullBackOff":           "First: read the end of the message",
		"pleg":                       "pleg: PLEG is not healthy\n", // not the symptom of that name
		"playbook":                   "From the outside in.",
		"no space left on device":    "sickbay explain sandbox-create",
		"이미지 풀 실패":                   "image-pull: image pull fails\n",
		"failed to create shim task": "Other failures with the same signal: cgroup-driver.",
	} {
		code, stdout, stderr := call(t, &fakeDeps{t: t}, "", append([]string{"explain"}, strings.Fields(args)...)...)
		if code != exitYes || !strings.Contains(stdout, want) {
			t.Errorf("%q: exit code %d, no %q in:\n%s%s", args, code, want, stdout, stderr)
		}
	}
	if code, stdout, _ := call(t, &fakeDeps{t: t}, "", "explain", "runtime-hung"); code != exitYes || !strings.Contains(stdout, "pleg") {
		t.Errorf("a cause alone: exit code %d\n%s", code, stdout)
	}
}

func TestDocumentsSayWhatTheyAre(t *testing.T) {
	for args, kind := range map[string]string{
		"version":      "Version",
		"list":         "ScenarioList",
		"explain":      "ExplanationList",
		"explain pleg": "Explanation",
		"diagnose --bundle " + recorded + "shim-missing": "Diagnosis",
	} {
		_, stdout, stderr := call(t, &fakeDeps{t: t}, "", append(strings.Fields(args), "-o", "json")...)
		var d map[string]any
		if err := json.Unmarshal([]byte(stdout), &d); err != nil || d["apiVersion"] != v1alpha1.APIVersion || d["kind"] != kind {
			t.Errorf("sickbay %s -o json is a %v %v, want a %s (%v)\n%s%s", args, d["apiVersion"], d["kind"], kind, err, stdout, stderr)
		}
	}
}

func TestListAsData(t *testing.T) {
	_, stdout, _ := call(t, &fakeDeps{t: t}, "", "list", "-o", "json")
	var l listing[listingEntry]
	if err := json.Unmarshal([]byte(stdout), &l); err != nil || len(l.Items) != len(scenarios.Names()) {
		t.Errorf("%v: %d items\n%s", err, len(l.Items), stdout)
	}
	if _, stdout, _ := call(t, &fakeDeps{t: t}, "", "list", "-o", "yaml"); !strings.HasPrefix(stdout, "apiVersion: "+v1alpha1.APIVersion) {
		t.Errorf("YAML:\n%s", stdout)
	}
}

func TestCompletion(t *testing.T) {
	for args, want := range map[string]string{
		"run ":                       "pleg-disk",
		"lab start ":                 "L07",
		"explain pleg/":              "pleg/runtime-hung",
		"diagnose --cluster ":        "dev",
		"run x --cluster c1 --node ": "c1-worker",
		"list -o ":                   "yaml",
		"cluster up --topology ":     "small",
		"completion ":                "fish",
	} {
		words := append([]string{cobra.ShellCompRequestCmd}, strings.Split(args, " ")...)
		_, stdout, _ := call(t, &fakeDeps{t: t}, "", words...)
		if !strings.Contains(stdout, want) {
			t.Errorf("%q completes to\n%s, not %s", args, stdout, want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, stdout, _ := call(t, &fakeDeps{t: t}, "", "completion", shell); code != exitYes || len(stdout) < 1000 {
			t.Errorf("%s: exit code %d, %d bytes", shell, code, len(stdout))
		}
	}
}

// TestEveryVerbHasHelp holds every verb to an example.
func TestEveryVerbHasHelp(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s lacks a sentence or an example", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			if strings.Contains(line, "sickbay ") && !strings.Contains(line, c.Name()) && c.Name() != "sickbay" && c.Parent().Name() == "sickbay" && c.Name() != "inject" && c.Name() != "bundle" {
				t.Errorf("%s: the example %q is about something else", c.CommandPath(), strings.TrimSpace(line))
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newApp(nil, os.Stdout, os.Stderr).root())
	code, stdout, _ := call(t, &fakeDeps{t: t}, "", "--help")
	if code != exitYes || !strings.Contains(stdout, "diagnose") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}

// Both spellings of help and of the version that people try.
func TestHelpAndVersion(t *testing.T) {
	for _, c := range []struct{ args, same, want string }{
		{"help", "--help", "Exit codes"},
		{"help run", "run --help", "sickbay run SCENARIO..."},
		{"help image build", "image build --help", "sickbay image build"},
		{"--version", "-v", "sickbay " + version.String() + "\n"},
	} {
		code, stdout, stderr := call(t, &fakeDeps{t: t}, "", strings.Fields(c.args)...)
		_, same, _ := call(t, &fakeDeps{t: t}, "", strings.Fields(c.same)...)
		if code != exitYes || stdout != same || !strings.Contains(stdout, c.want) {
			t.Errorf("%s: exit code %d\n%s%s\n%s is\n%s", c.args, code, stdout, stderr, c.same, same)
		}
	}
}

func TestUsableEngine(t *testing.T) {
	for _, c := range []struct {
		d    engine.Decision
		code int
		want string
	}{
		{engine.Decision{Plan: engine.Impossible, Reason: "DOCKER_HOST is wrong", Remedy: "unset it"}, exitTrouble, "unset it"},
		{engine.Decision{Plan: engine.Impossible, Reason: "no provider", Remedy: "unset it", BadRequest: true}, exitUsage, "unset it"},
		{engine.Decision{Plan: engine.StartPrivate, Reason: "none"}, exitTrouble, "sickbay engine up"},
	} {
		_, err := usable(c.d)
		if code := exitCode(t.Context(), err); code != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: exit code %d, %v", c.d, code, err)
		}
	}
}

// TestVerbsHaveAFileEach: one file per verb, so that a verb is found by its name.
func TestVerbsHaveAFileEach(t *testing.T) {
	files, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range newApp(nil, os.Stdout, os.Stderr).root().Commands() {
		name := c.Name()
		switch name {
		case "suite": // run and suite are one verb with another list
			name = "run"
		case "status": // status and recover ask the same journals
			name = "recover"
		}
		if !slices.Contains(files, name+".go") {
			t.Errorf("%s has no %s.go", c.Name(), name)
		}
	}
}

func TestShellQuote(t *testing.T) {
	for _, s := range []string{"/a/b", "a b", "it's", "", "$(x)", "a\nb"} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellescape.Quote(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("%q came back as %q, %v", s, out, err)
		}
	}
}

func TestAskWithNobodyThere(t *testing.T) {
	a := newApp(strings.NewReader(""), file(t), file(t))
	if _, err := a.ask(t.Context(), "?"); exitCode(t.Context(), err) != exitUsage {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, _ := io.Pipe() // nobody ever types
	a = newApp(r, file(t), file(t))
	if _, err := a.ask(ctx, "?"); !errors.Is(err, context.Canceled) {
		t.Errorf("Ctrl-C at a question: %v", err)
	}
	for in, want := range map[string]bool{"y\n": true, "YES\n": true, "n\n": false, "\n": false, "sure\n": false} {
		a = newApp(strings.NewReader(in), file(t), file(t))
		if got, err := a.ask(t.Context(), "?"); err != nil || got != want {
			t.Errorf("%q: %t, %v", in, got, err)
		}
	}
}

// TestRefusedBeforeAnythingIsMade: a typo costs neither an engine nor an image nor a cluster.
func TestRefusedBeforeAnythingIsMade(t *testing.T) {
	bare := engine.Decision{Plan: engine.InstallAndStart, Packages: []string{"docker.io"}}
	absent := func(name string) (*cluster.Cluster, error) { return nil, &cluster.NotFoundError{Name: name} }
	here := func() (*engine.Engine, error) { return theEngine, nil }
	for _, c := range []struct {
		deps fakeDeps
		args string
		want []string
	}{
		{fakeDeps{decision: &bare}, "run pleg-disk --cluster typo", []string{"there is no cluster typo", "no container engine runs", "cluster up --cluster typo"}},
		{fakeDeps{decision: &bare}, "run pleg-disk --node sickbay-woker", []string{`no worker "sickbay-woker"`, "sickbay-worker, sickbay-worker2"}},
		{fakeDeps{decision: &bare}, "inject pleg-disk --node sickbay-control-plane", []string{"is a control plane"}},
		{fakeDeps{decision: &bare}, "lab start conflist-missing --node sickbay-worker9", []string{"no worker"}},
		{fakeDeps{engine: here, cluster: absent}, "run pleg-disk --node sickbay-worker9", []string{"no worker", "sickbay-worker4"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			c.deps.t = t
			code, _, stderr := call(t, &c.deps, "", strings.Fields(c.args)...)
			if code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			for _, want := range c.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("no %q in:\n%s", want, stderr)
				}
			}
		})
	}
}

// TestTimeoutScaleIsChecked: a factor that is none was ignored in silence.
func TestTimeoutScaleIsChecked(t *testing.T) {
	for _, v := range []string{"banana", "0", "99"} {
		t.Setenv(timeoutscale.Env, v)
		if code, _, stderr := call(t, &fakeDeps{t: t}, "", "list"); code != exitUsage || !strings.Contains(stderr, timeoutscale.Env+"="+v) || !strings.Contains(stderr, "30") {
			t.Errorf("%s: exit code %d, %s", v, code, stderr)
		}
	}
}
