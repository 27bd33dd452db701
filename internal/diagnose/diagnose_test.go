package diagnose

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/failures"
	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func well(_ context.Context, ask Ask) (*v1alpha1.Observation, error) {
	return &v1alpha1.Observation{TookMS: 1, At: time.Now(), Journal: v1alpha1.Journal{Cursor: "after " + ask.Cursor}}, nil
}

func apiOf(_ context.Context, nodes []string) (map[string]*v1alpha1.API, error) {
	out := map[string]*v1alpha1.API{}
	for _, n := range nodes {
		out[n] = &v1alpha1.API{Node: &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n}}}
	}
	return out, nil
}

func TestADeadNodeDelaysNobody(t *testing.T) {
	hang := AgentFunc(func(context.Context, Ask) (*v1alpha1.Observation, error) {
		select {} // not even its context ends it
	})
	target := Target{API: APIFunc(apiOf), Nodes: []Node{{Name: "dead", Agent: hang}, {Name: "refused", Agent: AgentFunc(func(context.Context, Ask) (*v1alpha1.Observation, error) {
		return nil, errors.New("container dead is not running")
	})}}}
	for i := range 20 {
		target.Nodes = append(target.Nodes, Node{Name: fmt.Sprintf("n%02d", i), Agent: AgentFunc(well)})
	}
	began := time.Now()
	got, err := Look(t.Context(), target, Options{NodeTimeout: 200 * time.Millisecond, Parallel: 4})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("one dead node of 22 took the look %s with a bound of 200ms", took)
	}
	if len(got) != 22 {
		t.Fatalf("%d observations", len(got))
	}
	dead, refused, good := got["dead"], got["refused"], got["n00"]
	if why, yes := dead.Unreadable(v1alpha1.SourceStatus); !yes || !strings.Contains(why, "no answer within 200ms") {
		t.Errorf("dead node: %q", why)
	}
	if why, _ := refused.Unreadable(v1alpha1.SourceFilesystems); why != "container dead is not running" {
		t.Errorf("refused node: %q", why)
	}
	if dead.API == nil || dead.API.Node == nil {
		t.Error("the API's view of the dead node is missing")
	}
	if len(good.Unknown) > 0 || good.Node != "n00" || good.Kind != v1alpha1.KindObservation {
		t.Errorf("healthy node: %+v", good.Unknown)
	}

	d := Judge(map[string]v1alpha1.History{"dead": {dead}, "n00": {good}}, func(v1alpha1.History) []v1alpha1.Finding { return nil })
	if d.Healthy || len(d.Unknown) != 1 || d.Unknown[0].Node != "dead" || d.Unknown[0].What != "node" {
		t.Errorf("unknown is not healthy, and is one line: %+v", d)
	}
}

// A rack of dead nodes does not stop the others: twice as many as may be asked at a time.
func TestManyDeadNodesDelayNobody(t *testing.T) {
	const bound = 400 * time.Millisecond
	target := Target{}
	for i := range 8 {
		target.Nodes = append(target.Nodes, Node{Name: fmt.Sprintf("dead%d", i), Agent: AgentFunc(func(ctx context.Context, _ Ask) (*v1alpha1.Observation, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})})
	}
	began := time.Now()
	var last atomic.Int64
	for i := range 50 {
		target.Nodes = append(target.Nodes, Node{Name: fmt.Sprintf("n%02d", i), Agent: AgentFunc(func(ctx context.Context, ask Ask) (*v1alpha1.Observation, error) {
			last.Store(int64(time.Since(began)))
			return well(ctx, ask)
		})})
	}
	d, err := Once(t.Context(), target, Options{NodeTimeout: bound, Parallel: 4}, func(v1alpha1.History) []v1alpha1.Finding { return nil })
	if err != nil || len(d.Nodes) != 58 || d.Nodes[0] != "dead0" || d.Healthy {
		t.Fatalf("%d nodes, %v", len(d.Nodes), err)
	}
	// Two waves of four dead nodes, each with its part of the bound; without, it would be the bound twice.
	if took := time.Duration(last.Load()); took > bound+bound/2 {
		t.Errorf("the last healthy node was asked after %s", took)
	}
	if took := time.Since(began); took > 3*bound {
		t.Errorf("the look took %s", took)
	}
	blind := 0
	for _, u := range d.Unknown {
		if u.What == "node" && strings.Contains(u.Why, "no answer within 400ms") {
			blind++
		}
	}
	if blind != 8 {
		t.Errorf("%d of 8 dead nodes are named", blind)
	}
}

// Nothing found where nothing could be seen is not healthy.
func TestSeenOnlyInPart(t *testing.T) {
	silent := func(v1alpha1.History) []v1alpha1.Finding { return nil }
	for name, c := range map[string]struct {
		o       v1alpha1.Observation
		healthy bool
		why     string
	}{
		"a node":       {v1alpha1.Observation{Unknown: []v1alpha1.Unknown{{What: v1alpha1.SourceStatus, Why: "hangs"}}}, true, ""},
		"without root": {v1alpha1.Observation{Host: v1alpha1.Host{Unprivileged: true}}, false, "did not run as root"},
		"no node": {v1alpha1.Observation{Unknown: []v1alpha1.Unknown{
			{What: v1alpha1.SourceUnits, Why: "no systemd"}, {What: v1alpha1.SourceStatus, Why: "no containerd"}}}, false, "is it a node?"},
	} {
		c.o.Node = "n"
		d := Judge(map[string]v1alpha1.History{"n": {c.o}}, silent)
		if d.Healthy != c.healthy || c.why != "" && (d.Unknown[0].What != "node" || !strings.Contains(d.Unknown[0].Why, c.why)) {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// A node of which a detector saw nothing that its verdict rests on is not healthy, and its reader learns why and what to do next. One
// source that is missing among others, and an API server that nobody asked for, change nothing.
func TestNothingToJudgeIsNotHealthy(t *testing.T) {
	const why = "CRI call gave no answer within 1.5 s"
	cri := []string{v1alpha1.SourceStatus, v1alpha1.SourceSandboxes, v1alpha1.SourceContainers}
	for name, c := range map[string]struct {
		unread []string
		why    string
		says   string // of the reason; empty where the node is healthy
	}{
		"all read":                  {nil, "", ""},
		"no way to the API server":  {[]string{v1alpha1.SourceAPI}, errNoAPI.Error(), ""},
		"the API server is silent":  {[]string{v1alpha1.SourceAPI}, "no answer within 4s", "kubectl get --raw"},
		"the runtime is silent":     {cri, why, "crictl --runtime-endpoint unix:///run/containerd/containerd.sock version"},
		"one call to it is":         {cri[2:], why, ""},
		"its status is":             {cri[:1], why, ""},
		"certificates are not read": {[]string{v1alpha1.SourceCerts}, "permission denied", "clock-cert rests on"},
		"filesystems are not read":  {[]string{v1alpha1.SourceFilesystems}, "not tried", "disk-pressure rests on"},
		"the journal is not read":   {[]string{v1alpha1.SourceJournal}, "no journalctl", ""},
	} {
		o := detectorstest.Healthy()
		for _, s := range c.unread {
			detectorstest.Unknown(o, c.why, s)
			if s == v1alpha1.SourceAPI {
				o.API = nil
			}
		}
		d := Judge(map[string]v1alpha1.History{"n": {*o}}, nil)
		if len(d.Findings) > 0 {
			t.Errorf("%s: %+v", name, d.Findings)
		}
		told := slices.ContainsFunc(d.Unknown, func(u v1alpha1.NodeUnknown) bool {
			return u.What == verdict && strings.Contains(u.Why, c.says) && strings.Contains(u.Why, c.why) && strings.Contains(u.Why, "; next: ")
		})
		if d.Healthy != (c.says == "") || told == d.Healthy {
			t.Errorf("%s: healthy %v, %+v", name, d.Healthy, d.Unknown)
		}
		var text strings.Builder
		if err := WriteText(&text, d, TextOptions{Width: 400, Now: o.At}); err != nil {
			t.Fatal(err)
		}
		if !d.Healthy && (!strings.HasPrefix(text.String(), "UNKNOWN") || !strings.Contains(text.String(), c.says)) {
			t.Errorf("%s: %s", name, text.String())
		}
	}
}

// A busy machine is a slow one, and a look that takes longer there is waited for.
func TestBusyMachinesGetMoreTime(t *testing.T) {
	was := busyness
	t.Cleanup(func() { busyness = was })
	for busy, want := range map[float64]time.Duration{0: 4 * time.Second, 0.5: 6 * time.Second, 1: 8 * time.Second} {
		busyness = func() float64 { return busy }
		if o := (Options{}).withDefaults(); o.NodeTimeout != want || o.APITimeout != want {
			t.Errorf("busy %v: %s, %s", busy, o.NodeTimeout, o.APITimeout)
		}
		if o := (Options{NodeTimeout: time.Second}).withDefaults(); o.NodeTimeout != time.Second {
			t.Errorf("busy %v: %s where a second was asked for", busy, o.NodeTimeout)
		}
	}
}

func TestNoAPIStillLooks(t *testing.T) {
	for name, api := range map[string]API{
		"none": nil,
		"error": APIFunc(func(context.Context, []string) (map[string]*v1alpha1.API, error) {
			return nil, errors.New("refused")
		}),
		"hangs": APIFunc(func(context.Context, []string) (map[string]*v1alpha1.API, error) { select {} }),
		"partly": APIFunc(func(ctx context.Context, n []string) (map[string]*v1alpha1.API, error) {
			m, _ := apiOf(ctx, n)
			return m, errors.New("events: forbidden")
		}),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Look(t.Context(), Target{API: api, Nodes: []Node{{Name: "a", Agent: AgentFunc(well)}}}, Options{APITimeout: 50 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			a := got["a"]
			if _, yes := a.Unreadable(v1alpha1.SourceAPI); !yes {
				t.Error("nothing says that the API was not (wholly) read")
			}
			if (name == "partly") != (a.API != nil) {
				t.Errorf("API view: %v", a.API)
			}
		})
	}
}

// TestWhatTheCallerMayNotReadIsUnknown: and the rest of the API's view stands.
func TestWhatTheCallerMayNotReadIsUnknown(t *testing.T) {
	part := v1alpha1.Unknown{What: v1alpha1.SourceClusterCAs, Why: "forbidden"}
	got, err := Look(t.Context(), Target{Nodes: []Node{{Name: "n", Agent: AgentFunc(well)}}, API: APIFunc(func(context.Context, []string) (map[string]*v1alpha1.API, error) {
		return map[string]*v1alpha1.API{"n": {Unread: []v1alpha1.Unknown{part}}}, nil
	})}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := got["n"]
	if _, cut := o.Unreadable(v1alpha1.SourceAPI); cut || !slices.Contains(o.Unknown, part) {
		t.Errorf("%+v", o.Unknown)
	}
}

func TestLookEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	target := Target{Nodes: []Node{{Name: "a", Agent: AgentFunc(func(ctx context.Context, _ Ask) (*v1alpha1.Observation, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	})}}}
	if _, err := Look(ctx, target, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestClocksAreComparedThroughTheAskingMachine(t *testing.T) {
	now := time.Now()
	target := Target{
		Nodes: []Node{{Name: "fast", Agent: AgentFunc(func(context.Context, Ask) (*v1alpha1.Observation, error) {
			return &v1alpha1.Observation{Clocks: v1alpha1.Clocks{NodeUnix: float64(time.Now().UnixMilli())/1000 + 3600}}, nil
		})}},
		API: APIFunc(func(context.Context, []string) (map[string]*v1alpha1.API, error) {
			// The asking machine is two minutes slow; that must not matter.
			return map[string]*v1alpha1.API{"fast": {ServerDate: now.Add(2 * time.Minute), AskedAt: now}}, nil
		}),
	}
	got, err := Look(t.Context(), target, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := got["fast"].Clocks
	if !c.APIOffsetKnown || c.APIOffsetSeconds < 3478 || c.APIOffsetSeconds > 3482 {
		t.Errorf("node is 1h ahead of us, the API server 2m: offset %v, known %v; want about 3480", c.APIOffsetSeconds, c.APIOffsetKnown)
	}
}

func TestWatcherKeepsBaselineCursorsAndLines(t *testing.T) {
	n := 0
	var cursors []string
	agent := AgentFunc(func(_ context.Context, ask Ask) (*v1alpha1.Observation, error) {
		cursors = append(cursors, ask.Cursor)
		n++
		return &v1alpha1.Observation{TookMS: int64(n), Journal: v1alpha1.Journal{
			Cursor: fmt.Sprint(n), Lines: []v1alpha1.LogLine{{Text: fmt.Sprintf("line %d", n)}},
		}}, nil
	})
	w := NewWatcher(Target{API: APIFunc(apiOf), Nodes: []Node{{Name: "a", Agent: agent}}}, Options{Keep: 3, KeepLines: 100})
	for range 10 {
		if _, err := w.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	h := w.Histories()["a"]
	if len(h) != 4 || h[0].TookMS != 1 || h.Last().TookMS != 10 {
		t.Fatalf("history of %d looks, baseline %d, last %d", len(h), h[0].TookMS, h.Last().TookMS)
	}
	var lines []string
	for _, o := range h {
		for _, l := range o.Journal.Lines {
			lines = append(lines, l.Text)
		}
	}
	for i := 1; i <= 10; i++ {
		if lines[i-1] != fmt.Sprintf("line %d", i) {
			t.Fatalf("lines were lost or out of order: %v", lines)
		}
	}
	if cursors[0] != "" || cursors[9] != "9" {
		t.Errorf("cursors %v", cursors)
	}
	w.Restart()
	if _, err := w.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h := w.Histories()["a"]; len(h) != 1 || cursors[10] != "10" {
		t.Errorf("after a restart: %d looks, cursor %q; want 1 and the last one", len(h), cursors[10])
	}
}

func TestHistoryStaysBounded(t *testing.T) {
	agent := AgentFunc(func(context.Context, Ask) (*v1alpha1.Observation, error) {
		return &v1alpha1.Observation{Journal: v1alpha1.Journal{Lines: make([]v1alpha1.LogLine, 50)}}, nil
	})
	w := NewWatcher(Target{Nodes: []Node{{Name: "a", Agent: agent}}}, Options{Keep: 5, KeepLines: 120})
	for range 100 {
		if _, err := w.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	total := 0
	for _, o := range w.Histories()["a"] {
		total += len(o.Journal.Lines)
	}
	if max := 50 + 120 + 4*50; total > max {
		t.Errorf("%d lines after 100 looks, want at most %d", total, max)
	}
	if o := w.Histories()["a"][1]; !o.Journal.Truncated {
		t.Error("dropped lines are not marked as truncated")
	}
}

// planted are secrets as they turn up in logs, command lines and objects. Each must be gone from a bundle.
var planted = []string{
	"-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAplantedplanted\n-----END RSA PRIVATE KEY-----",
	"client-key-data: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpNSUlFcGxhbnRlZA==",
	"Authorization: Bearer abcdef0123456789abcdef.planted",
	"eyJhbGciOiJSUzI1NiIsImtpZCI6IiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJlcGxhbnRlZA",
	"https://robot:plantedpassword@registry.example/v2/",
	"kubeadm join --token abcdef.0123456789abcdef",
	`{"auths":{"r.example":{"auth":"cGxhbnRlZDpwbGFudGVk"}}}`,
	"AKIAABCDEFGHIJKLMNOP",
	"DB_PASSWORD=plantedplanted",
}

func TestBundleHoldsNoSecret(t *testing.T) {
	for _, s := range planted {
		if len(FindSecrets(s)) == 0 {
			t.Errorf("the scan does not see %q", s)
		}
		if r := Redact(s); len(FindSecrets(r)) > 0 {
			t.Errorf("redacting %q leaves %q", s, r)
		}
		if r := Redact(s); Redact(r) != r {
			t.Errorf("redacting twice is not the same as once: %q", r)
		}
	}
	h := v1alpha1.History{{Node: "a"}, {Node: "a"}}
	for _, s := range planted {
		h[1].Journal.Lines = append(h[1].Journal.Lines, v1alpha1.LogLine{Text: "E0 failed: " + s})
		h[1].Kubelet.Flags = append(h[1].Kubelet.Flags, "--x="+s)
	}
	h[1].API = &v1alpha1.API{Pods: []corev1.Pod{{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: "hunter22"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Env: []corev1.EnvVar{{Name: "X", Value: "hunter22"}}}}},
	}}}
	dir := filepath.Join(t.TempDir(), "b")
	if _, err := WriteBundle(dir, v1alpha1.Bundle{Cluster: "c"}, map[string]v1alpha1.History{"a": h}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "nodes", "a.json"))
	if err != nil {
		t.Fatal(err)
	}
	if found := FindSecrets(string(raw)); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	for _, s := range []string{"planted", "hunter22", "0123456789abcdef"} {
		if strings.Contains(string(raw), s) {
			t.Errorf("the bundle holds %q", s)
		}
	}
	if h[1].API.Pods[0].Spec.Containers[0].Env[0].Value != "hunter22" {
		t.Error("writing a bundle changed the observation in memory")
	}
}

// TestRedactionKeepsEvidence: what detectors decide by must not look like a secret.
func TestRedactionKeepsEvidence(t *testing.T) {
	for _, s := range []string{
		"failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized",
		"pull access denied, repository does not exist or may require authorization: no basic auth credentials",
		"PLEG is not healthy: pleg was last seen active 3m2.5s ago; threshold is 3m0s",
		"tls: failed to verify certificate: x509: certificate signed by unknown authority",
		"stat /etc/passwd: no such file or directory",
		"expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/kubepods/burstable/pod1/abc\" instead",
		"/system.slice/containerd.service/kubepods-burstable-pod0a1b2c3d.slice:cri-containerd:4f5e6d",
	} {
		if r := Redact(s); r != s {
			t.Errorf("%q became %q", s, r)
		}
	}
}

func TestBundleRoundTrip(t *testing.T) {
	at := time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)
	want := map[string]v1alpha1.History{
		"lab-worker":        {{Node: "lab-worker", At: at}, {Node: "lab-worker", At: at, Swaps: []v1alpha1.Swap{{Path: "/x"}}}},
		"lab-control-plane": {{Node: "lab-control-plane", At: at}},
	}
	dir := filepath.Join(t.TempDir(), "b")
	for range 2 { // the second replaces the first
		if _, err := WriteBundle(dir, v1alpha1.Bundle{Cluster: "lab", RecordedAt: at, Note: "n"}, want); err != nil {
			t.Fatal(err)
		}
	}
	got, info, err := FromBundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if info.Cluster != "lab" || len(info.Nodes) != 2 || info.Nodes[1].Looks != 2 {
		t.Errorf("%+v", info)
	}
}

func TestJudgeOrdersAndPropagatesPanics(t *testing.T) {
	h := map[string]v1alpha1.History{"b": {{Node: "b"}}, "a": {{Node: "a"}}}
	d := Judge(h, func(h v1alpha1.History) []v1alpha1.Finding {
		n := h.Last().Node
		return []v1alpha1.Finding{{Node: n, Failure: "pleg", Cause: "first"}, {Node: n, Failure: "disk-pressure", Cause: "second"}}
	})
	var got []string
	for _, f := range d.Findings {
		got = append(got, f.Node+" "+f.Cause)
	}
	if want := []string{"a first", "a second", "b first", "b second"}; d.Healthy || !cmp.Equal(got, want) {
		t.Errorf("by node, and in the detectors' own order, which is that of the remedies: %v", got)
	}
	// A detector's panic is its node's alone: the others are told, and runs that have something to recover go on.
	d = Judge(map[string]v1alpha1.History{"a": {{Node: "a"}}, "b": {{Node: "b"}}}, func(h v1alpha1.History) []v1alpha1.Finding {
		if h.Last().Node == "a" {
			panic("defect")
		}
		return []v1alpha1.Finding{{Node: "b", Failure: "pleg"}}
	})
	if d.Healthy || len(d.Findings) != 1 || len(d.Unknown) != 1 || d.Unknown[0].Node != "a" || !strings.Contains(d.Unknown[0].Why, "judging node a: defect") {
		t.Errorf("a node that brings a detector down: %+v", d)
	}
}

func TestTextReadsTopDown(t *testing.T) {
	at := time.Date(2026, 11, 24, 9, 12, 0, 0, time.Local)
	d := v1alpha1.Diagnosis{Cluster: "lab", Nodes: []string{"lab-worker", "lab-worker2"}, Findings: []v1alpha1.Finding{{
		Failure: "cni", Cause: "conflist-missing", Node: "lab-worker", Certainty: v1alpha1.Certain,
		Summary: "There is no CNI configuration in /etc/cni/net.d.",
		Evidence: []v1alpha1.Evidence{
			{Source: "cni", At: at, Text: "/etc/cni/net.d holds no file"}, {Source: "runtime.status", At: at, Text: "lastCNILoadStatus: cni config load failed"},
			{Source: "journal/kubelet", At: at, Text: strings.Repeat("long ", 100)}, {Source: "api.node", Text: "fourth"},
		},
		Consequences: []string{"node Ready=False"},
		Remedy: &v1alpha1.Remedy{Name: "restore-conflist", Steps: []v1alpha1.Step{
			{Run: "kubectl -n kube-system delete pod kindnet-x", Why: "the network's own agent writes it again", Class: v1alpha1.Destructive, Risk: "the pod"},
			{Run: "systemctl restart containerd", On: "lab-worker", Why: "it reads it at start", Class: v1alpha1.Disruptive},
		}},
	}}, Unknown: []v1alpha1.NodeUnknown{{Node: "lab-worker2", What: "node", Why: "no answer within 4s"}, {Node: "lab-worker", What: "kmsg", Why: "not permitted"}}}
	var b strings.Builder
	if err := WriteText(&b, d, TextOptions{Width: 90, Now: at}); err != nil {
		t.Fatal(err)
	}
	out := b.String()
	order := []string{"ILL  1 of 2 nodes of cluster lab: 1 finding\n", "lab-worker  cni/conflist-missing  certain", "cause", "There is no CNI",
		"evidence", "09:12:00 cni: /etc/cni", "runtime.status", "journal/kubelet", "and 1 more with -o json", "consequences", "remedy", "restore-conflist",
		"1. kubectl", "destructive", "risk: the pod", "2. on lab-worker: systemctl restart containerd", "disruptive", "sickbay explain cni/conflist-missing", "lab-worker2: no answer", "not seen", "lab-worker kmsg; --unknown shows why"}
	at0 := 0
	for _, want := range order {
		i := strings.Index(out[at0:], want)
		if i < 0 {
			t.Fatalf("%q is missing or out of order in:\n%s", want, out)
		}
		at0 += i
	}
	if strings.Contains(out, "fourth") || strings.Contains(out, "\x1b") {
		t.Errorf("too much:\n%s", out)
	}
	for _, line := range strings.Split(out, "\n") {
		if len([]rune(line)) > 92 {
			t.Errorf("a line of %d columns: %s", len([]rune(line)), line)
		}
	}
	d.Findings[0].Remedy.Steps[0].Run = "sh -ec 'one\ntwo\nthree'"
	for whole, want := range map[bool]string{false: "sh -ec 'one … (2 more lines with --whole)  destructive\n", true: "\nsh -ec 'one\ntwo\nthree'\n"} {
		b.Reset()
		if err := WriteText(&b, d, TextOptions{Whole: whole}); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("whole %t: no %q in\n%s", whole, want, b.String())
		}
	}
	for name, d := range map[string]v1alpha1.Diagnosis{"HEALTHY": {Nodes: []string{"a"}}, "UNKNOWN": {Nodes: []string{"a"}, Unknown: []v1alpha1.NodeUnknown{{Node: "a", What: "node", Why: "x"}}}} {
		b.Reset()
		if err := WriteText(&b, d, TextOptions{}); err != nil || !strings.HasPrefix(b.String(), name) {
			t.Errorf("want %s: %s", name, b.String())
		}
	}
}

// The command by hand is the cause's own, with the finding's node and pod in it.
func TestByHand(t *testing.T) {
	for _, c := range []struct {
		f    v1alpha1.Finding
		want string
	}{
		{v1alpha1.Finding{Failure: "disk-pressure", Cause: "threshold-misconfigured", Node: "w1"}, "kubectl get --raw /api/v1/nodes/w1/proxy/configz | jq .kubeletconfig.evictionHard"},
		{v1alpha1.Finding{Failure: "probe-kill", Cause: "probe-wrong-endpoint", Node: "w1", Object: &v1alpha1.ObjectRef{Kind: "Pod", Namespace: "shop", Name: "web-1"}}, "kubectl describe pod web-1 -n shop"},
		{v1alpha1.Finding{Failure: "probe-kill", Cause: "probe-wrong-endpoint", Node: "w1"}, "kubectl describe pod POD"},
		{v1alpha1.Finding{Failure: "image-pull", Cause: "registry-tls", Evidence: []v1alpha1.Evidence{{Text: `Head "https://held…own authority`}, {Text: "https://heldout-worker:5055 shows CN=h09"}}}, "echo | openssl s_client -connect heldout-worker:5055 -servername heldout-worker -showcerts 2>/dev/null | openssl x509 -noout -issuer -subject -dates"},
		{v1alpha1.Finding{Failure: "image-pull", Cause: "registry-unreachable", Evidence: []v1alpha1.Evidence{{Text: `Failed to pull image "reg.example/shop/app:1.1": dial tcp`}}}, "curl -v https://reg.example/v2/"},
		{v1alpha1.Finding{Failure: "gremlins", Cause: "many"}, ""},
	} {
		if got := byHand(c.f, &v1alpha1.Observation{}); got != c.want {
			t.Errorf("%s/%s: %q, want %q", c.f.Failure, c.f.Cause, got, c.want)
		}
	}
}

// Pages are written for containerd: a check on another node names that node's runtime, its unit, its directories, and the way to ask it.
func TestByHandOfTheNodesRuntime(t *testing.T) {
	k3s := func(o *v1alpha1.Observation) {
		o.Runtime.Unit, o.Runtime.RootDir = "k3s", "/var/lib/rancher/k3s/agent/containerd"
		o.Runtime.Endpoint, o.Runtime.CLI = "unix:///run/k3s/containerd/containerd.sock", []string{"k3s", "crictl"}
	}
	for _, c := range []struct {
		of         func(*v1alpha1.Observation)
		name, want string
	}{
		{detectorstest.CRIO, "pleg/runtime-hung", "grep State /proc/$(pidof crio)/status"},
		{detectorstest.CRIO, "pleg/runtime-io-stall", "ps -o pid,stat,wchan:30,comm -Lp $(pidof crio)"},
		{detectorstest.CRIO, "pleg/runtime-overloaded", "systemctl show -p CPUQuotaPerSecUSec crio"},
		{detectorstest.CRIO, "sandbox-create/shim-missing", "ls -l $(command -v conmon)"},
		{detectorstest.CRIO, "sandbox-create/snapshotter-unwritable", "lsattr -d /var/lib/containers/storage/overlay"},
		{detectorstest.CRIO, "sandbox-create/disk-full", "df -h /var/lib/containers/storage"},
		{detectorstest.CRIO, "sandbox-create/inodes-exhausted", "df -hi /var/lib/containers/storage /run"},
		{detectorstest.CRIO, "image-pull/mirror-misconfigured", "cat /etc/containers/registries.conf /etc/containers/registries.conf.d/*.conf"},
		{detectorstest.CRIO, "cni/conflist-missing", "/usr/bin/crictl --runtime-endpoint unix:///var/run/crio/crio.sock info | jq '.status.conditions, .lastCNILoadStatus'"},
		{detectorstest.CRIO, "sandbox-changed/sandbox-network-lost", "ls -l /run/netns; /usr/bin/crictl --runtime-endpoint unix:///var/run/crio/crio.sock pods"},
		{k3s, "pleg/runtime-overloaded", "systemctl show -p CPUQuotaPerSecUSec k3s"},
		{k3s, "pleg/runtime-hung", "grep State /proc/$(pidof containerd)/status"},
		{k3s, "sandbox-create/shim-missing", "ls -l $(dirname $(command -v containerd))/containerd-shim-*"},
		{k3s, "sandbox-changed/sandbox-network-lost", "ls -l /run/netns; k3s crictl pods"},
		{func(o *v1alpha1.Observation) { o.Runtime.Unit = "x; reboot" }, "sandbox-changed/runtime-restart-kills-pods", "systemctl cat 'x; reboot'; systemctl show -p KillMode 'x; reboot'"},
		{func(*v1alpha1.Observation) {}, "sandbox-changed/sandbox-network-lost", "ls -l /run/netns; crictl pods"},
		{func(*v1alpha1.Observation) {}, "sandbox-create/snapshotter-unwritable", "lsattr -d /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots"},
	} {
		o := detectorstest.Healthy()
		c.of(o)
		failure, cause := failures.Split(c.name)
		d := Judge(map[string]v1alpha1.History{o.Node: {*o}}, func(v1alpha1.History) []v1alpha1.Finding {
			return []v1alpha1.Finding{{Node: o.Node, Failure: failure, Cause: cause}}
		})
		if got := d.Findings[0].Check; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	// No command of all pages leads a node with CRI-O to containerd.
	o := detectorstest.Healthy()
	detectorstest.CRIO(o)
	for _, f := range failures.All() {
		for _, cause := range f.Causes {
			x := v1alpha1.Finding{Failure: f.Name, Cause: cause.Name, Node: o.Node}
			if got := byHand(x, o); x.Name() != "sandbox-changed/runtime-restart-kills-pods" && strings.Contains(got, "containerd") {
				t.Errorf("%s: %s", x.Name(), got)
			}
		}
	}
}

// What decides stands at the end of an error. A pipe gets it whole; a terminal loses the middle.
func TestEvidenceKeepsItsEnd(t *testing.T) {
	line := "Failed to pull image: " + strings.Repeat("x", 200) + ": x509: certificate signed by unknown authority"
	d := v1alpha1.Diagnosis{Nodes: []string{"a"}, Findings: []v1alpha1.Finding{{Node: "a", Evidence: []v1alpha1.Evidence{{Source: "api.events", Text: line}}}}}
	for width, want := range map[int]string{0: line, 80: "signed by unknown authority"} {
		var b strings.Builder
		if err := WriteText(&b, d, TextOptions{Width: width}); err != nil || !strings.Contains(b.String(), want) || strings.Contains(b.String(), line) != (width == 0) {
			t.Errorf("width %d: no %q in\n%s", width, want, b.String())
		}
	}
}

// A recording says of when it is, and times of another day have their date. A live look does not need either.
func TestTextOfARecording(t *testing.T) {
	at := time.Date(2026, 11, 24, 9, 12, 0, 0, time.Local)
	d := v1alpha1.Diagnosis{
		Nodes: []string{"a"}, At: at, Recording: &v1alpha1.Recording{At: at, Note: "since the upgrade"},
		Pods: []v1alpha1.NodePods{{Node: "a", Total: 9, NotReady: []string{"n/1", "n/2", "n/3", "n/4"}}},
		Findings: []v1alpha1.Finding{
			{Node: "a", Failure: "cni", Cause: "conflist-missing", Check: "crictl info", Evidence: []v1alpha1.Evidence{{At: at.Add(-time.Minute), Source: "cni", Text: "gone"}}},
			{Node: "a", Failure: "swap", Cause: "swap-on"},
		},
	}
	var b strings.Builder
	if err := WriteText(&b, d, TextOptions{Now: at.Add(73 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"recorded " + at.Format(withDate) + " (3 days ago), note: since the upgrade\n", "since         2026-11-24 09:11:00 ", " or earlier", "evidence      2026-11-24 09:11:00 ",
		"4 of 9 on this node not ready: n/1, n/2, n/3 and 1 more", "1. a  cni/", "2. a  swap/", "in the order in which to treat them", "on a: crictl info",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// Pasted into a shell whose current context is production, a step must still reach the cluster that was looked at.
func TestStepsNameTheContext(t *testing.T) {
	judge := func(h v1alpha1.History) []v1alpha1.Finding {
		return []v1alpha1.Finding{{Node: h.Last().Node, Remedy: &v1alpha1.Remedy{Steps: []v1alpha1.Step{
			{Run: "kubectl delete pod x"}, {Run: "kubectl get x", On: "a"}, {Run: "cat f | kubectl apply -f -"},
		}}}}
	}
	agent := AgentFunc(func(context.Context, Ask) (*v1alpha1.Observation, error) { return &v1alpha1.Observation{}, nil })
	for cluster, want := range map[string][]string{
		"dev": {"kubectl --context kind-dev delete pod x", "kubectl get x", "cat f | kubectl --context kind-dev apply -f -"},
		"":    {"kubectl delete pod x", "kubectl get x", "cat f | kubectl apply -f -"},
	} {
		d, err := Once(t.Context(), Target{Cluster: cluster, Nodes: []Node{{Name: "a", Agent: agent}}}, Options{}, judge)
		if err != nil {
			t.Fatal(err)
		}
		for i, st := range d.Findings[0].Remedy.Steps {
			if st.Run != want[i] {
				t.Errorf("cluster %q: %q, want %q", cluster, st.Run, want[i])
			}
		}
	}
}
