package cluster

import (
	"bytes"
	"context"
	"errors"
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

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/platform/nodeimage"
	"github.com/sickbay-dev/sickbay/internal/remedy"
)

// life is a cluster of the tests' own: the one people work with is not disturbed.
const life = "sickbay-life"

// TestE2E makes real clusters, breaks them, and takes them down. It needs root, an engine and a node image, and takes three
// minutes on two idle cores:
//
//	SICKBAY_E2E=1 go test ./cluster -run E2E -v
func TestE2E(t *testing.T) {
	if os.Getenv("SICKBAY_E2E") == "" {
		t.Skip("SICKBAY_E2E is not set")
	}
	if os.Geteuid() != 0 {
		t.Skip("looking at the host's packets, swaps and loop devices needs root")
	}
	e, err := engine.Ensure(t.Context(), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	image, err := nodeimage.Resolve(t.Context(), e, nodeimage.Request{NoPull: true})
	if err != nil {
		t.Fatal(err)
	}
	l := &liveTest{e: e, o: UpOptions{Name: life, Topology: "small", Image: image.Ref}}
	before := l.left(t)
	t.Cleanup(func() {
		if err := Down(context.Background(), e, DownOptions{Name: life}); err != nil {
			t.Error(err)
		}
		if after := l.left(t); after != before {
			t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
		}
	})
	if err := Down(t.Context(), e, DownOptions{Name: life}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"interrupted while it is made", l.interrupted},
		{"up", l.up}, {"up again", l.again}, {"nothing leaves the machine", l.isolated}, {"every kind of remedy step", l.remedies},
		{"restarted nodes", l.restarted},
		{"down after everything at once", l.disaster},
		{"down with a process that cannot be killed", l.unkillable},
		{"down with a dead node whose swap is on", l.dead},
	} {
		if !t.Run(step.name, step.run) {
			return
		}
	}
}

type liveTest struct {
	e *engine.Engine
	o UpOptions
	c *Cluster
}

// left is what a cluster leaves on the host: engine objects of this cluster, swaps, loop devices.
func (l *liveTest) left(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, args := range [][]string{
		{"ps", "-a", "--format", "container {{.Names}}", "--filter", "label=" + kindClusterLabel + "=" + life},
		{"volume", "ls", "--format", "volume {{.Name}}", "--filter", "dangling=true"},
	} {
		out, err := run(context.Background(), l.e, lookBound, args...)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(out)
	}
	swaps, err := os.ReadFile("/proc/swaps")
	if err != nil {
		t.Fatal(err)
	}
	// Other clusters may be at work: only files of this test count.
	for line := range strings.Lines(string(swaps)) {
		if strings.Contains(line, "sickbay/e2e") {
			fmt.Fprintln(&b, "swap", strings.Fields(line)[0])
		}
	}
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range loops {
		if raw, _ := os.ReadFile(f); strings.Contains(string(raw), "sickbay/e2e") {
			fmt.Fprintln(&b, "loop", strings.TrimSpace(string(raw)))
		}
	}
	if dir, err := stateDir(life); err == nil {
		if _, err := os.Stat(dir); err == nil {
			fmt.Fprintln(&b, "state", dir)
		}
	}
	return b.String()
}

func (l *liveTest) interrupted(t *testing.T) {
	stopped := errors.New("ctrl-c")
	// While containers start, and while kubeadm works.
	for _, after := range []time.Duration{time.Second, 6 * time.Second} {
		ctx, cancel := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(after, func() { cancel(stopped) })
		_, err := Up(ctx, l.e, l.o)
		timer.Stop()
		if !errors.Is(err, stopped) {
			t.Fatalf("after %s: %v", after, err)
		}
		if cs, err := containersOf(t.Context(), l.e, life); err != nil || len(cs) > 0 {
			t.Fatalf("after %s: %d containers left, %v", after, len(cs), err)
		}
	}
}

func (l *liveTest) up(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "elsewhere"))
	start := time.Now()
	c, err := Up(t.Context(), l.e, l.o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("Ready in %s", time.Since(start).Round(100*time.Millisecond))
	l.c = c
	if !c.Ours || c.Topology != "small" || len(c.Victims()) != 1 {
		t.Errorf("%+v", c)
	}
	if _, err := os.Stat(os.Getenv("KUBECONFIG")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the user's kubeconfig was written: %v", err)
	}
	file, err := c.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v", file, st, err)
	}
	victim := c.Victims()[0]
	if _, err := c.Node(victim).Run(t.Context(), node.Argv("test", "-d", Mark)); err != nil {
		t.Errorf("the mark is not to be seen inside: %v", err)
	}
	ref, err := c.WorkloadImage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// What the runtime says counts: the kubelet asks it which images garbage collection may take.
	images, err := c.workloadImages(t.Context(), victim)
	if err != nil || !slices.Contains(images, workloadImage{ref, true}) {
		t.Errorf("%v, %v: %s must be pinned", images, err, ref)
	}
	if f, err := c.Original(t.Context(), victim, "/usr/bin/env"); err != nil || len(f.Content) == 0 && f.Link == "" {
		t.Errorf("a file of the image: %+v, %v", f, err)
	}
	start = time.Now()
	eventually(t, 20*time.Second, "the API's view is whole", func() bool { // a new kubelet's lease comes some seconds after Ready
		start = time.Now()
		view, err := c.ObserveAPI(t.Context(), nil)
		v := view[victim]
		return err == nil && v.Configz != nil && v.Lease != nil && v.Node != nil && len(v.Pods) > 0 && len(v.Events) > 0 && len(v.Endpoints) > 0
	})
	t.Logf("the API's view took %s", time.Since(start).Round(time.Millisecond))
}

func (l *liveTest) again(t *testing.T) {
	start := time.Now()
	c, err := Up(t.Context(), l.e, l.o)
	if err != nil || c.Nodes()[0].ID != l.c.Nodes()[0].ID {
		t.Fatalf("a healthy cluster was not used again: %v", err)
	}
	t.Logf("answered in %s", time.Since(start).Round(time.Millisecond))
	other := l.o
	other.Profile = "stock"
	if _, err := Up(t.Context(), l.e, other); !errors.As(err, new(*TakenError)) {
		t.Errorf("another profile under the same name: %v", err)
	}
}

// witness is a table of the test's own behind masquerading: it counts what goes to the addresses that are tried, by any
// interface but the bridge, and drops it with everything else of the bridge, so that the test that takes the rules away lets
// nothing out either.
const witness = `table inet sickbay_test
delete table inet sickbay_test
table inet sickbay_test {
	counter out { }
	chain postrouting {
		type filter hook postrouting priority 310; policy accept;
		ip daddr { 192.0.2.0/24, 198.51.100.0/24 } oifname != "sickbay0" counter name out drop
		iifname "sickbay0" oifname != "sickbay0" drop
	}
}
`

func (l *liveTest) seen(t *testing.T) string {
	t.Helper()
	out, err := nft(t.Context(), l.e, l.o.Image, "", "list", "counter", "inet", "sickbay_test", "out")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(out), "packets ")
	return strings.Fields(rest)[0]
}

func (l *liveTest) isolated(t *testing.T) {
	if _, err := nft(t.Context(), l.e, l.o.Image, witness, "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := nft(context.Background(), l.e, l.o.Image, "table inet sickbay_test\ndelete table inet sickbay_test\n", "-f", "-"); err != nil {
			t.Error(err)
		}
	})
	before, err := l.c.Isolation(t.Context())
	if err != nil || !before.InPlace {
		t.Fatalf("%+v, %v", before, err)
	}
	victim := l.c.Victims()[0]
	try := func(to string) (string, time.Duration) {
		start := time.Now()
		host, port, _ := strings.Cut(to, ":")
		_, err := l.c.Node(victim).Run(t.Context(), node.Argv("timeout", "5", "bash", "-c", "exec 3<>/dev/tcp/"+host+"/"+port))
		var exit *node.ExitError
		if !errors.As(err, &exit) {
			t.Fatalf("connect to %s from the node: %v", to, err)
		}
		return exit.Output, time.Since(start)
	}
	for _, to := range []string{"192.0.2.1:443", "198.51.100.1:80"} {
		if said, took := try(to); took > 2*time.Second {
			t.Errorf("connecting to %s took %s: %s; it must be rejected at once", to, took, said)
		}
	}
	gateway, err := l.c.Node(victim).Run(t.Context(), node.Sh("ip -4 route show default | cut -d' ' -f3"))
	if err != nil {
		t.Fatal(err)
	}
	if said, took := try(strings.TrimSpace(string(gateway)) + ":22"); took > 2*time.Second {
		t.Errorf("connecting to the host took %s: %s", took, said)
	}
	start := time.Now()
	out, err := l.c.Node(victim).Run(t.Context(), node.Argv("timeout", "20", "getent", "hosts", "registry.example.com"))
	if err == nil {
		t.Errorf("a name outside was resolved: %s", out)
	}
	// Docker 20.10's resolver says nothing when its own query is rejected, and the client waits its time out.
	t.Logf("a name outside was given up after %s", time.Since(start).Round(time.Millisecond))
	l.podTries(t, victim, "192.0.2.1:443")

	after, err := l.c.Isolation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", after)
	if after.Kept-before.Kept < 4 || after.Host == before.Host || after.Escaped != 0 {
		t.Errorf("rules saw %+v before and %+v after: what was tried must be counted as kept, and nothing as escaped", before, after)
	}
	if n := l.seen(t); n != "0" {
		t.Errorf("%s packets were on their way out", n)
	}

	// Without the rules the witness must see it: otherwise it proves nothing.
	if err := unisolate(t.Context(), l.e, l.o.Image); err != nil {
		t.Fatal(err)
	}
	try("192.0.2.1:443")
	if n := l.seen(t); n == "0" {
		t.Error("the witness saw nothing leave when the rules were gone")
	}
	if gone, err := l.c.Isolation(t.Context()); err != nil || gone.InPlace {
		t.Errorf("%+v, %v", gone, err)
	}
	if _, err := Up(t.Context(), l.e, l.o); err != nil {
		t.Fatal(err)
	}
	if back, err := l.c.Isolation(t.Context()); err != nil || !back.InPlace {
		t.Errorf("the next up did not put the rules back: %+v, %v", back, err)
	}
}

// podTries connects from a pod and expects to be refused at once.
func (l *liveTest) podTries(t *testing.T, victim, to string) {
	ref, err := l.c.WorkloadImage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pods := l.c.Kube().CoreV1().Pods(metav1.NamespaceDefault)
	zero := int64(0)
	no := false
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "out"}, Spec: corev1.PodSpec{
		NodeName: victim, RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: &zero, AutomountServiceAccountToken: &no,
		Containers: []corev1.Container{{Name: "out", Image: ref, ImagePullPolicy: corev1.PullNever, Command: []string{"/agnhost", "connect", to, "--timeout=5s"}}},
	}}
	eventually(t, time.Minute, "the pod is created", func() bool {
		_, err := pods.Create(t.Context(), p, metav1.CreateOptions{})
		return err == nil
	})
	var end *corev1.ContainerStateTerminated
	eventually(t, time.Minute, "the pod ends", func() bool {
		got, err := pods.Get(t.Context(), "out", metav1.GetOptions{})
		if err != nil || len(got.Status.ContainerStatuses) == 0 {
			return false
		}
		end = got.Status.ContainerStatuses[0].State.Terminated
		return end != nil
	})
	said, err := pods.GetLogs("out", &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil {
		t.Error(err)
	}
	if end.ExitCode == 0 || bytes.Contains(said, []byte("TIMEOUT")) {
		t.Errorf("from a pod: exit %d, %s; it must be rejected at once", end.ExitCode, said)
	}
	t.Logf("from a pod: %s", bytes.TrimSpace(said))
	if err := pods.Delete(t.Context(), "out", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

// remedies carries out one plan with every kind of step there is.
func (l *liveTest) remedies(t *testing.T) {
	victim := l.c.Victims()[0]
	n := l.c.Node(victim)
	on := &v1alpha1.ObjectRef{Kind: "Node", Name: victim}
	api := func(verb string, a v1alpha1.APIAction) v1alpha1.Step {
		a.Verb = verb
		if a.Object == nil {
			a.Object = on
		}
		return detectors.APIStep(v1alpha1.Safe, "the test wants it", a)
	}
	ref, err := l.c.WorkloadImage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.c.Kube().CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bare"}, Spec: corev1.PodSpec{
		NodeName: victim, TerminationGracePeriodSeconds: new(int64), Containers: []corev1.Container{{Name: "a", Image: ref, Args: []string{"pause"}}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Run(t.Context(), node.Argv("rm", "/usr/bin/env")); err != nil {
		t.Fatal(err)
	}
	res, err := remedy.Apply(t.Context(), l.c.RemedyTarget(), v1alpha1.Remedy{Name: "everything", Steps: []v1alpha1.Step{
		api(v1alpha1.VerbCordon, v1alpha1.APIAction{}),
		api(v1alpha1.VerbDrain, v1alpha1.APIAction{}),
		api(v1alpha1.VerbPatch, v1alpha1.APIAction{Patch: `{"metadata":{"labels":{"sickbay.dev/e2e":"yes"}}}`}),
		detectors.RemakePod("default", "bare", `{"metadata":{"labels":{"sickbay.dev/e2e":"yes"}}}`, "the test wants it"),
		detectors.RestoreStep(victim, "/usr/bin/env", "the test took it"),
		api(v1alpha1.VerbRenewClientCert, v1alpha1.APIAction{}),
		detectors.Restart(victim, "kubelet.service", "the kubelet reads its certificate at start"),
		api(v1alpha1.VerbWaitReady, v1alpha1.APIAction{}),
		api(v1alpha1.VerbUncordon, v1alpha1.APIAction{}),
	}}, remedy.Options{OnStep: func(s remedy.StepResult) {
		if !s.Ended.IsZero() {
			t.Logf("%5dms %.60s: %s %v", s.Ended.Sub(s.Started).Milliseconds(), s.Step.Run, s.Output, s.Err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if out := res.Steps[1].Output; !strings.Contains(out, "default/bare") {
		t.Errorf("the drain does not say that it left the bare pod alone: %s", out)
	}
	if out, err := n.Run(t.Context(), node.Argv("/usr/bin/env", "echo", "back")); err != nil || string(out) != "back\n" {
		t.Errorf("the restored program: %q, %v", out, err)
	}
	got, err := l.c.Kube().CoreV1().Nodes().Get(t.Context(), victim, metav1.GetOptions{})
	if err != nil || got.Spec.Unschedulable || got.Labels["sickbay.dev/e2e"] != "yes" {
		t.Errorf("the node: %v, unschedulable %v, labels %v", err, got.Spec.Unschedulable, got.Labels)
	}
	// The kubelet must be using the new certificate: its file says when it was made.
	out, err := n.Run(t.Context(), node.Sh("readlink /var/lib/kubelet/pki/kubelet-client-current.pem; ls -A /var/lib/kubelet/pki"))
	if err != nil || strings.Contains(string(out), ".sickbay") || strings.Contains(string(out), ".new") {
		t.Errorf("left beside the certificate: %s, %v", out, err)
	}
}

func (l *liveTest) restarted(t *testing.T) {
	for _, n := range l.c.Nodes() {
		if _, err := run(t.Context(), l.e, time.Minute, "kill", n.Name); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	c, err := Up(t.Context(), l.e, l.o)
	if err != nil || c.Nodes()[0].ID != l.c.Nodes()[0].ID {
		t.Fatalf("stopped nodes were not started again: %v", err)
	}
	t.Logf("Ready again in %s", time.Since(start).Round(100*time.Millisecond))
	l.c = c
}

// makeIll leaves on a node what outlives a container: swap, and a frozen loop filesystem with a writer that hangs on it.
const makeIll = `set -e
d=/var/lib/sickbay/e2e; mkdir -p $d /mnt/e2e
dd if=/dev/zero of=$d/swap bs=1M count=16 status=none; chmod 600 $d/swap; mkswap $d/swap >/dev/null; swapon $d/swap
dd if=/dev/zero of=$d/disk bs=1M count=32 status=none; mkfs.ext4 -q $d/disk
l=$(losetup -f --show $d/disk); mount $l /mnt/e2e
fsfreeze -f /mnt/e2e
setsid sh -c 'exec >/dev/null 2>&1 </dev/null; echo x >/mnt/e2e/x' &
sleep 0.5
grep -q $d/swap /proc/swaps`

func (l *liveTest) disaster(t *testing.T) {
	cp, victim := l.c.Nodes()[0].Name, l.c.Victims()[0]
	if _, err := l.c.Node(victim).Run(t.Context(), node.Sh(makeIll)); err != nil {
		t.Fatal(err)
	}
	if s := l.left(t); !strings.Contains(s, "e2e/swap") || !strings.Contains(s, "e2e/disk") {
		t.Fatalf("nothing to be left behind was made:\n%s", s)
	}
	if _, err := l.c.Node(cp).Run(t.Context(), node.Sh("mv /etc/kubernetes/manifests/*.yaml /root; pkill -9 kube-apiserver; pkill -9 containerd; true")); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t.Context(), l.e, time.Minute, "pause", victim); err != nil {
		t.Fatal(err)
	}
	dir, err := stateDir(life)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	l.mustGoDown(t)
}

func (l *liveTest) unkillable(t *testing.T) {
	c, err := Up(t.Context(), l.e, l.o)
	if err != nil {
		t.Fatal(err)
	}
	l.c = c
	victim := c.Victims()[0]
	if _, err := c.Node(victim).Run(t.Context(), node.Sh(makeIll)); err != nil {
		t.Fatal(err)
	}
	// Nothing can be run in it any more: only the host can help.
	if _, err := c.Node(victim).Run(t.Context(), node.Sh("rm -f /bin/sh /usr/bin/sh")); err != nil {
		t.Fatal(err)
	}
	l.mustGoDown(t)
}

func (l *liveTest) dead(t *testing.T) {
	c, err := Up(t.Context(), l.e, l.o)
	if err != nil {
		t.Fatal(err)
	}
	l.c = c
	victim := c.Victims()[0]
	if _, err := c.Node(victim).Run(t.Context(), node.Sh(makeIll+"; fsfreeze -u /mnt/e2e")); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t.Context(), l.e, time.Minute, "kill", victim); err != nil {
		t.Fatal(err)
	}
	l.mustGoDown(t)
}

func (l *liveTest) mustGoDown(t *testing.T) {
	t.Helper()
	start := time.Now()
	if err := Down(t.Context(), l.e, DownOptions{Name: life, Timeouts: Timeouts{Remove: 20 * time.Second}}); err != nil {
		t.Fatal(err)
	}
	t.Logf("down in %s", time.Since(start).Round(100*time.Millisecond))
	if s := l.left(t); strings.Contains(s, "e2e") || strings.Contains(s, life) {
		t.Errorf("left behind:\n%s", s)
	}
	if out, err := exec.Command("sh", "-c", "ps -eo stat,args | grep '^D.*e2e' || true").Output(); err != nil || len(out) > 0 {
		t.Errorf("processes left: %s, %v", out, err)
	}
}

func eventually(t *testing.T, bound time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(bound); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %s: %s", bound, what)
}
