package detectors_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/causal"
)

func finding(failure, cause string, certainty v1alpha1.Certainty) v1alpha1.Finding {
	return v1alpha1.Finding{Failure: failure, Cause: cause, Node: "n", Certainty: certainty, Summary: "s of " + cause}
}

func graph(t *testing.T, edges ...causal.Edge) *causal.Graph {
	t.Helper()
	g, err := causal.New(causal.Names(), edges)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func names(found []v1alpha1.Finding) string {
	var out []string
	for _, f := range found {
		out = append(out, f.Failure+"/"+f.Cause)
	}
	return strings.Join(out, " ")
}

func TestReduceFoldsConsequences(t *testing.T) {
	g := graph(t, causal.Edge{From: "node-notready/kubelet-stopped", To: "image-pull/registry-tls", Scope: causal.Node},
		causal.Edge{From: "swap/swap-on", To: "node-notready/kubelet-stopped", Scope: causal.Node})
	got := detectors.Reduce(g, []v1alpha1.Finding{
		finding("image-pull", "registry-tls", v1alpha1.Certain),
		finding("node-notready", "kubelet-stopped", v1alpha1.Certain),
		finding("swap", "swap-on", v1alpha1.Certain),
	})
	if names(got) != "swap/swap-on" {
		t.Fatalf("got %s", names(got))
	}
	// The chain ends at the top, with both consequences in words.
	want := []string{"node-notready/kubelet-stopped: s of kubelet-stopped", "image-pull/registry-tls: s of registry-tls"}
	if !slices.Equal(got[0].Consequences, want) {
		t.Errorf("explains %q, want %q", got[0].Consequences, want)
	}
}

func TestReduceKeeps(t *testing.T) {
	g := graph(t, causal.Edge{From: "swap/swap-on", To: "node-notready/kubelet-stopped", Scope: causal.Node},
		causal.Edge{From: "pleg/runtime-io-stall", To: "cni/conflist-missing", Scope: causal.Order},
		causal.Edge{From: "clock-cert/client-cert-expired", To: "cni/conflist-missing", Scope: causal.Order})
	for name, c := range map[string]struct {
		in   []v1alpha1.Finding
		want string
	}{
		"a certain finding beside a likely one that would explain it": {[]v1alpha1.Finding{
			finding("swap", "swap-on", v1alpha1.Likely), finding("node-notready", "kubelet-stopped", v1alpha1.Certain),
		}, "swap/swap-on node-notready/kubelet-stopped"},
		"the certain of two about the same": {[]v1alpha1.Finding{
			finding("cni", "ipam-exhausted", v1alpha1.Likely), finding("cni", "conflist-missing", v1alpha1.Certain),
		}, "cni/conflist-missing"},
		"one of two alike": {[]v1alpha1.Finding{finding("cni", "conflist-missing", v1alpha1.Certain), finding("cni", "conflist-missing", v1alpha1.Likely)}, "cni/conflist-missing"},
		"what goes first before what waits for it, the rest as the vocabulary has it": {[]v1alpha1.Finding{
			finding("swap", "swap-on", v1alpha1.Certain), finding("cni", "conflist-missing", v1alpha1.Certain), finding("clock-cert", "client-cert-expired", v1alpha1.Certain), finding("pleg", "runtime-io-stall", v1alpha1.Certain),
		}, "pleg/runtime-io-stall clock-cert/client-cert-expired cni/conflist-missing swap/swap-on"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := names(detectors.Reduce(g, c.in)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestReduceFoldsOnlyTheSameObject(t *testing.T) {
	g := graph(t, causal.Edge{From: "oom-throttle/memory-limit", To: "probe-kill/probe-too-aggressive", Scope: causal.Object})
	a, b := &v1alpha1.ObjectRef{Kind: "Pod", Namespace: "d", Name: "a"}, &v1alpha1.ObjectRef{Kind: "Pod", Namespace: "d", Name: "b"}
	oom, probeA, probeB := finding("oom-throttle", "memory-limit", v1alpha1.Certain), finding("probe-kill", "probe-too-aggressive", v1alpha1.Certain), finding("probe-kill", "probe-too-aggressive", v1alpha1.Certain)
	oom.Object, probeA.Object, probeB.Object = a, a, b
	got := detectors.Reduce(g, []v1alpha1.Finding{oom, probeA, probeB})
	if names(got) != "oom-throttle/memory-limit probe-kill/probe-too-aggressive" || got[1].Object != b {
		t.Errorf("got %+v", got)
	}
	oom.Affects = []v1alpha1.ObjectRef{*b}
	if got := names(detectors.Reduce(g, []v1alpha1.Finding{oom, probeA, probeB})); got != "oom-throttle/memory-limit" {
		t.Errorf("one that affects both pods: got %s", got)
	}
}

func TestVocabularyIsEnforced(t *testing.T) {
	liar := detectors.Detector{Failure: "cni", Judge: func(v1alpha1.History) []v1alpha1.Finding {
		return []v1alpha1.Finding{{Failure: "cni", Cause: "gremlins"}}
	}}
	defer func() {
		if recover() == nil {
			t.Error("a finding outside the vocabulary passed")
		}
	}()
	detectors.Judge(v1alpha1.History{{}}, []detectors.Detector{liar})
}

func verbs(r *v1alpha1.Remedy) string {
	var out []string
	for _, s := range r.Steps {
		if s.API != nil {
			out = append(out, s.API.Verb)
		} else {
			out = append(out, "node")
		}
	}
	return strings.Join(out, " ")
}

func TestRemedyBrackets(t *testing.T) {
	gentle := detectors.NodeStep(v1alpha1.Safe, "n", "w", "true")
	rough := detectors.Disrupts(gentle)
	ready := detectors.WaitReady("n")
	for name, c := range map[string]struct {
		place detectors.Place
		steps []v1alpha1.Step
		want  string
	}{
		"nothing disrupts":       {detectors.Place{Node: "n", API: true}, []v1alpha1.Step{gentle, ready}, "node wait-ready"},
		"one disrupts":           {detectors.Place{Node: "n", API: true}, []v1alpha1.Step{gentle, rough, ready}, "node cordon node wait-ready uncordon"},
		"pods would be lost":     {detectors.Place{Node: "n", API: true}, []v1alpha1.Step{detectors.Loses(gentle), ready}, "cordon drain node wait-ready uncordon"},
		"cordoned by somebody":   {detectors.Place{Node: "n", API: true, Cordoned: true}, []v1alpha1.Step{detectors.Loses(gentle), ready}, "drain node wait-ready"},
		"no API":                 {detectors.Place{Node: "n"}, []v1alpha1.Step{rough, ready}, "node"},
		"evicting a pod is mild": {detectors.Place{Node: "n", API: true}, []v1alpha1.Step{detectors.EvictPod("a", "b", "w")}, "evict"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := verbs(c.place.NewRemedy("x", c.steps...)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	if r := (detectors.Place{Node: "n"}).NewRemedy("x", ready); r != nil {
		t.Errorf("a plan of nothing: %+v", r)
	}
}

// The words of a script raise its class and never lower it.
func TestClasses(t *testing.T) {
	for script, want := range map[string]v1alpha1.Class{
		"systemctl restart kubelet.service":         v1alpha1.Safe,
		"kill -CONT 12":                             v1alpha1.Safe,
		"mv -T --backup=numbered -- /etc/a /etc/rm": v1alpha1.Destructive, // a word is a word: better asked once too often
		"echo farm --rm":                            v1alpha1.Safe,
		"kill 12":                                   v1alpha1.Disruptive,
		"kill -KILL 12":                             v1alpha1.Disruptive,
		"pkill -9 pause":                            v1alpha1.Disruptive,
		"systemctl kill x.service":                  v1alpha1.Disruptive,
		"rm -f /x":                                  v1alpha1.Destructive,
		"[ -e x ] || /bin/rm -rf x":                 v1alpha1.Destructive,
		"umount /mnt":                               v1alpha1.Destructive,
		"e2fsck -f -y /dev/x":                       v1alpha1.Destructive,
		"fsck.ext4 /dev/x":                          v1alpha1.Destructive,
		"mkfs.xfs /dev/x":                           v1alpha1.Destructive,
		"iptables -t filter -D OUTPUT -j DROP":      v1alpha1.Destructive,
		"ip6tables-nft -F":                          v1alpha1.Destructive,
		"nft delete rule inet a b handle 4":         v1alpha1.Destructive,
		"nft -a flush ruleset":                      v1alpha1.Destructive,
		"ip route del blackhole 10.0.0.0/8":         v1alpha1.Destructive,
		"ip -6 route del default":                   v1alpha1.Destructive,
		"find / -name x -delete":                    v1alpha1.Destructive,
		"crictl rmi --prune":                        v1alpha1.Destructive,
		"ctr -n k8s.io images prune --all":          v1alpha1.Destructive,
		"update-ca-certificates":                    v1alpha1.Destructive,
		"journalctl --vacuum-size=64M":              v1alpha1.Destructive,
		"kubectl -n a delete pod b":                 v1alpha1.Destructive,
	} {
		step := detectors.NodeStep(v1alpha1.Safe, "n", "w", "sh", "-ec", script)
		if step.Class != want || (want == v1alpha1.Destructive) != (step.Risk != "") {
			t.Errorf("%s is %s (%s), want %s", script, step.Class, step.Risk, want)
		}
		if high := detectors.NodeStep(v1alpha1.Destructive, "n", "w", "sh", "-ec", script); high.Class != v1alpha1.Destructive {
			t.Errorf("%s was lowered to %s", script, high.Class)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a step without a class was made")
		}
	}()
	detectors.NodeStep("", "n", "w", "true")
}

// What a remedy moved or edited comes back by the command that the step prints, and by itself where the script fails.
func TestUndoPutsFilesBack(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "it's a"), filepath.Join(dir, "b")
	read := func() string {
		x, _ := os.ReadFile(a)
		y, _ := os.ReadFile(b)
		return string(x) + "|" + string(y)
	}
	write := func() {
		for f, text := range map[string]string{a: "one", b: "two"} {
			if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		step v1alpha1.Step
		then string
		ends bool
	}{
		"moved":  {detectors.MoveAside("n", a, "w"), "|two", true},
		"edited": {detectors.EditFile(v1alpha1.Safe, "n", "w", []string{a, b, dir + "/gone"}, `echo 1 > "$1"; echo 2 > "$2"`), "1\n|2\n", true},
		"failed": {detectors.EditFile(v1alpha1.Safe, "n", "w", []string{a, b}, `echo 1 > "$1"; false`), "one|two", false},
	} {
		for range 2 { // what was moved before is in nobody's way
			write()
			err := exec.CommandContext(t.Context(), "sh", "-c", c.step.Run).Run()
			if (err == nil) != c.ends || read() != c.then {
				t.Errorf("%s: %v, files %q, want %q", name, err, read(), c.then)
			}
		}
		if !c.ends {
			continue
		}
		if out, err := exec.CommandContext(t.Context(), "sh", "-ec", c.step.Undo).CombinedOutput(); err != nil || read() != "one|two" {
			t.Errorf("%s: undo: %v %s, files %q", name, err, out, read())
		}
	}
}

func TestDropIn(t *testing.T) {
	s := detectors.DropIn("n", "containerd.service", "Service", "KillMode=process", "w")
	if s.Class != v1alpha1.Safe || !slices.Contains(s.Exec, "/etc/systemd/system/containerd.service.d/90-sickbay-killmode.conf") || !strings.HasPrefix(s.Undo, "rm -f /etc/systemd/system/containerd.service.d/90-sickbay-killmode.conf") {
		t.Errorf("%+v", s)
	}
}

// What Run says is what a shell does with it.
func TestRunIsQuotedForAShell(t *testing.T) {
	words := []string{"printf", "%s\n", "plain", "two words", "it's", `"$HOME"`, "a;b", "", "*", "café", `back\slash`}
	step := detectors.NodeStep(v1alpha1.Safe, "n", "w", words...)
	out, err := exec.CommandContext(t.Context(), "sh", "-c", step.Run).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Join(words[2:], "\n") + "\n"; string(out) != want {
		t.Errorf("%s gave %q, want %q", step.Run, out, want)
	}
}

// A remedy whose step names what nothing is called is withheld; the finding says so.
func TestWithheld(t *testing.T) {
	step := func(vars ...detectors.Var) v1alpha1.Step {
		return detectors.ShellStep(v1alpha1.Safe, "n", "w", `true "$a"`, vars...)
	}
	for name, c := range map[string]struct {
		step v1alpha1.Step
		odd  bool
	}{
		"plain":                 {step(detectors.V("a", "/etc/x y;$(z)")), false},
		"an escape":             {step(detectors.V("a", "x\x1b[2K")), true},
		"a line's end":          {step(detectors.V("a", "x\ny")), true},
		"turned around":         {step(detectors.V("a", "x\u202ey")), true},
		"an option":             {step(detectors.V("a", "--modprobe=/x")), true},
		"a way up":              {step(detectors.V("a", "/etc/../x")), true},
		"a file's way up":       {detectors.RestoreStep("n", "/usr/../etc/passwd", "w"), true},
		"a unit":                {detectors.Restart("n", "containerd.service", "w"), false},
		"a unit's option":       {detectors.Restart("n", "--force", "w"), true},
		"a pod":                 {detectors.EvictPod("default", "app-1", "w"), false},
		"a pod of no name":      {detectors.EvictPod("default", "../nodes/x", "w"), true},
		"a node of no name":     {detectors.NodeStep(v1alpha1.Safe, "n;reboot", "w", "true"), true},
		"a node by its address": {detectors.NodeStep(v1alpha1.Safe, "[fd00::1]", "w", "true"), false},
	} {
		d := detectors.Detector{Failure: "cni", Judge: func(v1alpha1.History) []v1alpha1.Finding {
			return []v1alpha1.Finding{{Failure: "cni", Cause: "ipam-exhausted", Remedy: &v1alpha1.Remedy{Name: "r", Steps: []v1alpha1.Step{c.step}}}}
		}}
		f := detectors.Find(v1alpha1.History{{Node: "n"}}, []detectors.Detector{d})[0]
		if (f.Remedy == nil) != c.odd || c.odd != strings.Contains(f.ManualAction, "remedy r is withheld") || strings.ContainsAny(f.ManualAction, "\x1b\n\u202e") {
			t.Errorf("%s: %+v, %q", name, f.Remedy, f.ManualAction)
		}
	}
}
