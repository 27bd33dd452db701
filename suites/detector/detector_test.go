package detector

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
)

func script(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func look(nodes ...string) Look {
	l := Look{DetectorRequest: v1alpha1.DetectorRequest{Look: 1, Cluster: "c", Kubeconfig: "/k", Since: time.Now().Add(-time.Minute)}}
	for _, n := range nodes {
		l.Nodes = append(l.Nodes, v1alpha1.DetectorNode{Name: n, Exec: []string{"docker", "exec", n}})
	}
	return l
}

func ask(t *testing.T, e Entry, l Look, bound time.Duration) (v1alpha1.Diagnosis, error) {
	t.Helper()
	s, err := e.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.Ask(t.Context(), l, bound)
}

const soon = 20 * time.Second // for what ends by itself; no test waits for it

func said(d v1alpha1.Diagnosis) string {
	var out []string
	for _, f := range d.Findings {
		out = append(out, Name(f)+" "+f.Node)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// TestPrograms: what a program may do, and what becomes of its answer. Each case that fails does so with words that help its author.
func TestPrograms(t *testing.T) {
	const one = `{"findings":[{"failure":"cni","cause":"conflist-missing","node":"w1"}]}`
	for _, c := range []struct {
		name, script, want, err string
		bound                   time.Duration
	}{
		{"answers", "cat >/dev/null; echo '" + one + "'", "cni/conflist-missing w1", "", soon},
		{"does not read", "echo '" + one + "'", "cni/conflist-missing w1", "", soon},
		{"exit code 1 with an answer", "echo '" + one + "'; exit 1", "cni/conflist-missing w1", "", soon},
		{"a document with kind and version", `echo '{"apiVersion":"sickbay.dev/v1alpha1","kind":"Diagnosis","healthy":true,"extension":1}'`, "", "", soon},
		{"leaves a child that holds its output", "sleep 300 & echo '" + one + "'", "cni/conflist-missing w1", "", soon},
		{"exit code 1 and nothing", "exit 1", "", "it ended with exit status 1", soon},
		{"exit code 3", "echo '" + one + "'; echo cannot reach it >&2; exit 3", "", "it ended with exit status 3: cannot reach it", soon},
		{"says nothing", "exit 0", "", "it answered nothing", soon},
		{"crashes", "kill -SEGV $$", "", "segmentation fault", soon},
		{"garbage", "echo '<html>no</html>'", "", `is no sickbay.dev/v1alpha1 Diagnosis (invalid character '<' looking for beginning of value): "<html>no</html>"`, soon},
		{"two answers", "echo '" + one + one + "'", "", "there is more behind it", soon},
		{"another kind", `echo '{"apiVersion":"v1","kind":"List"}'`, "", "it is a v1 List", soon},
		{"no failure", `echo '{"findings":[{"node":"w1"}]}'`, "", "finding 1 of its answer has no failure", soon},
		{"no node", `echo '{"findings":[{"failure":"cni"}]}'`, "", "finding 1 of its answer (cni) has no node", soon},
		{"100 MB", "head -c 100000000 /dev/zero", "", "it wrote more than 4", soon},
		{"100 MB and deaf", "trap '' PIPE; while head -c 1000000 /dev/zero; do :; done; sleep 300", "", "it wrote more than 4", soon},
		{"much on standard error", "head -c 5000000 /dev/zero >&2; echo '{}'", "", "", soon},
		{"hangs", "sleep 300", "", "it did not answer within 300ms", 300 * time.Millisecond},
		{"hangs with children", "trap '' TERM; sleep 300 & sleep 300 | sleep 300", "", "it did not answer within 300ms", 300 * time.Millisecond},
	} {
		for _, stays := range []bool{false, true} {
			if stays && !strings.HasPrefix(c.name, "hangs") && c.name != "answers" && c.name != "100 MB" && c.name != "crashes" && c.name != "garbage" {
				continue
			}
			t.Run(fmt.Sprintf("%s stays=%t", c.name, stays), func(t *testing.T) {
				text := c.script
				if stays {
					text = strings.Replace(text, "cat >/dev/null", "read -r request", 1)
				}
				d, err := ask(t, Exec("mine", stays, script(t, "mine", "#!/bin/sh\n"+text+"\n")), look("w1", "w2"), c.bound)
				if stays && c.name == "crashes" {
					c.err = "it has ended"
				}
				switch {
				case c.err == "" && (err != nil || said(d) != c.want):
					t.Errorf("%s, %v", said(d), err)
				case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
					t.Errorf("%v, want %s", err, c.err)
				}
			})
		}
	}
}

// TestRequest: what a program gets, on standard input and in its environment.
func TestRequest(t *testing.T) {
	file := script(t, "mine", `#!/bin/sh
request=$(cat)
for want in '"kind":"DetectorRequest"' '"protocol":1' '"nodes":[{"name":"w1","exec":["docker","exec","w1"]}' '"kubeconfig":"/k"' '"deadline":"20'; do
  case $request in *"$want"*) ;; *) echo "no $want in $request" >&2; exit 3;; esac
done
[ "$SICKBAY_NODES" = "w1 w2" ] && [ "$KUBECONFIG" = /k ] && [ -n "$SICKBAY_SINCE" ] && [ -z "${SICKBAY_ACT:-}" ] || exit 4
echo '{}'
`)
	if _, err := ask(t, Exec("mine", false, file), look("w1", "w2"), soon); err != nil {
		t.Error(err)
	}
}

// TestStays: a program that stays is one process for all looks of a run, and a new one after it failed.
func TestStays(t *testing.T) {
	s, err := Exec("mine", true, script(t, "mine", `#!/bin/sh
n=0
while read -r request; do
  n=$((n+1))
  [ $n = 3 ] && { echo bad; continue; }
  echo "{\"findings\":[{\"failure\":\"cni\",\"cause\":\"look-$n\",\"node\":\"w1\"}]}"
done
`)).Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got []string
	for range 5 {
		d, err := s.Ask(t.Context(), look("w1"), soon)
		if err != nil {
			got = append(got, "error")
			continue
		}
		got = append(got, d.Findings[0].Cause)
	}
	if want := []string{"look-1", "look-2", "error", "look-1", "look-2"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestMapping(t *testing.T) {
	const head = "apiVersion: sickbay.dev/v1alpha1\nkind: Mapping\nrules:\n"
	for _, c := range []struct{ rules, want string }{
		{"- {condition: A, event: B, is: cni}", "rule 1 needs exactly one of condition, event and finding"},
		{"- {condition: A, is: cin}", "there is no cin"},
		{"- {condition: A, is: cni/swap-on}", "there is no cni/swap-on"},
		{" []", "m.yaml has no rules"},
		{"- {condition: A, status: Flase, is: cni}", `rule 1: status "Flase": it must be True, False or Unknown`},
		{"- {conditon: A, is: cni}", "conditon"}, //nolint:misspell // the mistake it is about
		{"- {condition: A, is: cni}\n- {condition: B, status: True, is: cni}", "m.yaml:5:26: status must be a string, not the boolean True: put it in quotes"},
		{"- {condition: A, is: cni}\n- {condition: B, stats: x, is: cni}", `m.yaml:5:18: unknown field "stats" in rules[1]; did you mean "status"?`},
		{"- {condition: A, is: 3}", "m.yaml:4:22: is must be a string"},
		{"- {finding: 'net-*', is: cni/conflist-missing}\n- {finding: 'noise?', is: ''}\n- {finding: disk, is: disk-pressure}", ""},
	} {
		m, err := parseMapping([]byte(head+c.rules+"\n"), "m.yaml", InVocabulary)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		e := New("theirs", Func(func(context.Context, Look) (d v1alpha1.Diagnosis, _ error) {
			for _, n := range []string{"net-down", "noise1", "noise12", "disk"} {
				d.Findings = append(d.Findings, v1alpha1.Finding{Failure: n, Node: "w1"})
			}
			return d, nil
		}))
		e.Mapping = m
		if d, err := ask(t, e, look("w1"), soon); err != nil || said(d) != "cni/conflist-missing w1, disk-pressure w1, noise12 w1" {
			t.Errorf("%s, %v", said(d), err)
		}
	}
}

// TestBuiltinMappings: those that come with sickbay name nothing outside the vocabulary (builtin panics).
func TestBuiltinMappings(t *testing.T) {
	for _, name := range []string{"npd", "conditions", "kubectl"} {
		if m := builtin(name); len(m.rules) < 10 {
			t.Errorf("%s has %d rules", name, len(m.rules))
		}
	}
}

// writtenBy is a cluster in which somebody has written conditions and events at a time.
func writtenBy(node string, conditions []corev1.NodeCondition, events []corev1.Event, pods ...*corev1.Pod) []runtime.Object {
	out := []runtime.Object{&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}, Status: corev1.NodeStatus{Conditions: conditions}}}
	for i := range events {
		events[i].Name, events[i].Namespace = fmt.Sprint("e", i), "default"
		out = append(out, &events[i])
	}
	for _, p := range pods {
		out = append(out, p)
	}
	return out
}

// TestWritten: conditions and events in the forms in which their agents write them; only what is newer than the run counts.
func TestWritten(t *testing.T) {
	now, before := metav1.Now(), metav1.NewTime(time.Now().Add(-time.Hour))
	condition := func(typ, status, reason, message string, at metav1.Time) corev1.NodeCondition {
		return corev1.NodeCondition{Type: corev1.NodeConditionType(typ), Status: corev1.ConditionStatus(status), Reason: reason, Message: message, LastTransitionTime: at}
	}
	event := func(kind, name, component, reason, message string, at metav1.Time) corev1.Event {
		return corev1.Event{InvolvedObject: corev1.ObjectReference{Kind: kind, Name: name, Namespace: map[bool]string{true: "shop"}[kind == "Pod"]}, Reason: reason, Message: message,
			Source: corev1.EventSource{Component: component, Host: "w1"}, LastTimestamp: at}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: "shop"}, Spec: corev1.PodSpec{NodeName: "w1"}, Status: corev1.PodStatus{
		ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled"}}}}}}
	notReady := condition("Ready", "False", "KubeletNotReady", "container runtime network not ready: cni plugin not initialized", now)
	for _, c := range []struct {
		name    string
		objects []runtime.Object
		want    map[string]string
	}{
		{"node-problem-detector", writtenBy("w1", []corev1.NodeCondition{
			condition("KubeletUnhealthy", "True", "KubeletUnhealthy", "The kubelet is unhealthy", now),
			condition("KernelDeadlock", "False", "KernelHasNoDeadlock", "kernel has no deadlock", now),
			condition("FrequentKubeletRestart", "Unknown", "NoFrequentKubeletRestart", "", now),
		}, []corev1.Event{event("Node", "w1", "kernel-monitor", "OOMKilling", "Killed process 4242 (stress)", now)}),
			map[string]string{"npd": "node-notready w1, oom-throttle/memory-limit w1", "conditions": "node-notready w1, oom-throttle/memory-limit w1", "kubectl": ""}},
		{"it was so before", writtenBy("w1", []corev1.NodeCondition{condition("KubeletUnhealthy", "True", "KubeletUnhealthy", "", before)},
			[]corev1.Event{event("Node", "w1", "kernel-monitor", "OOMKilling", "", before)}), map[string]string{"npd": "", "conditions": "", "kubectl": ""}},
		{"EKS' agent: False is ill", writtenBy("w1", []corev1.NodeCondition{
			condition("NetworkingReady", "False", "IPAMDNotRunning", "", now), condition("StorageReady", "True", "DiskIsReady", "", now), condition("ContainerRuntimeReady", "False", "PLEGUnhealthy", "", now),
		}, nil), map[string]string{"npd": "", "conditions": "cni w1, pleg w1", "kubectl": ""}},
		{"what medik8s looks at", writtenBy("w1", []corev1.NodeCondition{notReady}, nil), map[string]string{"npd": "", "conditions": "node-notready w1", "kubectl": "cni w1"}},
		{"the kubelet's events are no agent's", writtenBy("w1", nil, []corev1.Event{event("Node", "w1", "kubelet", "OOMKilling", "", now)}), map[string]string{"npd": "", "conditions": ""}},
		{"an event about a pod", writtenBy("w1", nil, []corev1.Event{event("Pod", "app", "kubelet", "Failed", `Failed to pull image "r.test/a": tls: failed to verify certificate: x509: certificate signed by unknown authority`, now)}, pod),
			map[string]string{"npd": "", "kubectl": "image-pull/registry-tls w1"}},
		{"a container's state", writtenBy("w1", nil, nil, pod), map[string]string{"npd": "", "conditions": "", "kubectl": "oom-throttle/memory-limit w1"}},
		{"a node that was not asked for", writtenBy("w9", []corev1.NodeCondition{notReady}, nil), map[string]string{"conditions": "", "kubectl": ""}},
	} {
		for name, want := range c.want {
			e := map[string]Entry{"npd": NPD(), "conditions": Conditions("conditions", nil), "kubectl": Kubectl()}[name]
			l := look("w1")
			l.Kube = fake.NewClientset(c.objects...)
			if d, err := ask(t, e, l, soon); err != nil || said(d) != want {
				t.Errorf("%s, %s: %q, %v; want %q", c.name, name, said(d), err, want)
			}
		}
	}
}

func TestParse(t *testing.T) {
	mapping := script(t, "m.yaml", "apiVersion: sickbay.dev/v1alpha1\nkind: Mapping\nrules: [{condition: X, is: cni}]\n")
	for _, c := range []struct{ spec, name, err string }{
		{"sickbay", "sickbay", ""},
		{"none", "none", ""},
		{"exec:./mine.sh --words a,b", "mine", ""},
		{"exec+stay:./mine,name=other,act,timeout=2m", "other", ""},
		{"conditions,mapping=" + mapping + ",name=agent", "agent", ""},
		{"kubctl", "", "did you mean kubectl?"},
		{"exec:", "", "name the program"},
		{"none,mapping=" + mapping, "", "none takes no mapping"},
		{"npd,act", "", "only a program acts"},
		{"exec:./mine,timeout=soon", "", "write it like 30s"},
		{"exec:./mine,name=a/b", "", "want a word"},
		{"conditions,mapping=nowhere.yaml", "", "read the mapping"},
	} {
		e, err := Parse(c.spec, InVocabulary)
		switch {
		case c.err == "" && (err != nil || e.Name != c.name):
			t.Errorf("%s: %s, %v", c.spec, e.Name, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: %v, want %s", c.spec, err, c.err)
		}
	}
	if e, _ := Parse("exec+stay:./mine,act,timeout=2m", InVocabulary); !e.Acts || e.Timeout != 2*time.Minute || e.Spec != "exec+stay:./mine" {
		t.Errorf("%+v", e)
	}
	if err := Unique([]Entry{None(), None()}); err == nil {
		t.Error("two of one name")
	}
}

// TestGoExample: it is built and asked as a program that stays, finds what is wrong on the node that has it, and mends it when asked.
func TestGoExample(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir+"/mine", "./examples/go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// A way to nodes that are folders.
	reach := script(t, "reach", `#!/bin/sh
cd "$1" || exit 1
case "$2 $3" in
"ls /etc/cni/net.d") ls cni;;
"systemctl is-active") cat kubelet; [ "$(cat kubelet)" = active ];;
"systemctl restart") [ -e swapped ] && exit 1; echo active >kubelet;;
"cat /proc/swaps") echo Filename; [ -e swapped ] && echo /swapfile; true;;
"swapoff -a") rm swapped;;
esac
`)
	l := look()
	for name, files := range map[string][2]string{"w1": {"active", "10-net.conflist"}, "w2": {"inactive", "10-net.conflist"}, "w3": {"active", ""}, "w4": {"activating", "10-net.conflist"}} {
		cni := filepath.Join(dir, name, "cni")
		if err := os.MkdirAll(cni, 0o755); err != nil {
			t.Fatal(err)
		}
		if files[1] != "" {
			if err := os.WriteFile(filepath.Join(cni, files[1]), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name, "kubelet"), []byte(files[0]+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "w4" {
			if err := os.WriteFile(filepath.Join(dir, name, "swapped"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l.Nodes = append(l.Nodes, v1alpha1.DetectorNode{Name: name, Exec: []string{reach, filepath.Join(dir, name)}})
	}
	s, err := Exec("mine", true, dir+"/mine").Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d, err := s.Ask(t.Context(), l, soon)
	if err != nil || said(d) != "cni/conflist-missing w3, node-notready/kubelet-stopped w2, swap/swap-on w4" {
		t.Fatalf("%s, %v", said(d), err)
	}
	l.Act, l.Diagnosis = true, &d
	if _, err := s.Ask(t.Context(), l, soon); err != nil {
		t.Fatal(err)
	}
	l.Act, l.Diagnosis = false, nil
	if d, err := s.Ask(t.Context(), l, soon); err != nil || said(d) != "cni/conflist-missing w3, node-notready/kubelet-stopped w2" {
		t.Errorf("after its remedy: %s, %v", said(d), err)
	}
}

// TestShellExample: less than 40 lines find nine failures of ten in what was recorded of real faults, with their causes, and say nothing of the
// node before. kubectl and docker play the recordings.
func TestShellExample(t *testing.T) {
	const recorded = "../../detectors/all/testdata/recorded"
	raw, err := os.ReadFile("examples/shell/detect.sh")
	if err != nil || strings.Count(string(raw), "\n") >= 40 {
		t.Fatalf("%d lines, %v", strings.Count(string(raw), "\n"), err)
	}
	for scenario, want := range map[string]string{
		"conflist-missing": "cni/conflist-missing", "swap-on": "swap/swap-on", "driver-mismatch": "cgroup-driver/driver-mismatch",
		"kubeconfig-broken": "node-notready/kubeconfig-broken", "clock-skew": "clock-cert/clock-skew", "registry-tls": "image-pull/registry-tls",
		"shim-missing": "sandbox-create/shim-missing", "nodefs-full": "disk-pressure/nodefs-full", "runtime-hung": "pleg/runtime-hung",
		"memory-limit": "",
	} {
		nodes, _, err := diagnose.FromBundle(filepath.Join(recorded, scenario))
		if err != nil {
			t.Fatal(err)
		}
		for node, h := range nodes {
			if want != "" {
				want += " " + node
			}
			if got := shellSays(t, node, h[:1]); got != "" {
				t.Errorf("%s, before the fault: %s", scenario, got)
			}
			if got := shellSays(t, node, h[1:]); got != want {
				t.Errorf("%s: %q, want %q", scenario, got, want)
			}
		}
	}
}

// shellSays is what the example finds where the API server and the node's journal say what was recorded in these looks.
func shellSays(t *testing.T, node string, h v1alpha1.History) string {
	t.Helper()
	var log, conditions strings.Builder
	for _, o := range h {
		for _, l := range o.Journal.Lines {
			fmt.Fprintln(&log, l.Text)
		}
	}
	if api := h.Last().API; api != nil && api.Node != nil {
		for _, c := range api.Node.Status.Conditions {
			fmt.Fprintf(&conditions, "condition %s=%s %s\n", c.Type, c.Status, c.Message)
		}
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"docker": log.String(), "kubectl": conditions.String()} {
		if err := os.WriteFile(filepath.Join(dir, name+".said"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\ncat "+dir+"/"+name+".said\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	d, err := ask(t, Exec("shell", false, "examples/shell/detect.sh"), look(node), soon)
	if err != nil {
		t.Fatal(err)
	}
	return said(d)
}

// TestFileThatIsNoProgram: a file of the working folder is not looked for in $PATH, and one that cannot be started says why.
func TestFileThatIsNoProgram(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, mode := range map[string]os.FileMode{"README.md": 0o644, "mine": 0o755} {
		if err := os.WriteFile(name, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"README.md":   "README.md is not in $PATH: name the file in this folder as ./README.md, and make it executable with `chmod +x README.md`",
		"mine":        "mine is not in $PATH: name the file in this folder as ./mine",
		"./README.md": "./README.md is not executable: `chmod +x ./README.md` makes it so",
		"./mine":      "",
		"sh":          "",
		"nowhere":     "not found in $PATH",
		"./nowhere":   "no such file or directory",
		".":           "not found in $PATH",
	} {
		_, err := Exec("x", false, name).Open()
		if got := fmt.Sprint(err); (want == "") != (err == nil) || !strings.HasSuffix(got, want) && want != "" {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}
