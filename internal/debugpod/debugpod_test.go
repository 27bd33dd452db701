package debugpod

import (
	"bytes"
	"context"
	"encoding/json"
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
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sickbay-dev/sickbay/internal/apiserver"
	"github.com/sickbay-dev/sickbay/internal/debugpod/podtest"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/process"
)

func options(t *testing.T, a *podtest.API) Options {
	t.Helper()
	c := &rest.Config{Host: a.URL, QPS: -1}
	k, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return Options{REST: c, Kube: k, Context: "away", Namespace: "tools"}
}

func open(t *testing.T, a *podtest.API) *Session {
	t.Helper()
	s, err := Open(t.Context(), options(t, a))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A pod behaves as every other way to a node, and is gone afterwards.
func TestNode(t *testing.T) {
	a := podtest.Serve(t, podtest.Node("n1", "registry.example/agnhost:2.66.1"))
	s := open(t, a)
	n := s.Node("n1")
	out, err := n.Run(t.Context(), node.Command{Argv: []string{"sh", "-c", "cat; echo two words >&2; exit 7"}, Stdin: strings.NewReader("in")})
	var exit *node.ExitError
	if string(out) != "in" || !errors.As(err, &exit) || exit.Code != 7 || exit.Output != "two words" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := n.Run(t.Context(), node.Argv("printf", "%s|", "a b", "$HOME", "it's", "")); err != nil || string(out) != "a b|$HOME|it's||" {
		t.Errorf("%q, %v", out, err)
	}
	file, content := filepath.Join(t.TempDir(), "a", "file"), bytes.Repeat([]byte("x\x00y"), 1<<20)
	if err := n.Put(t.Context(), file, 0o750, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	made := a.Made()
	if len(made) != 1 {
		t.Fatalf("%d pods for one node", len(made))
	}
	p := made[0]
	if spec := p.Spec; spec.NodeName != "n1" || !spec.HostPID || !spec.HostNetwork || !spec.HostIPC || !*spec.Containers[0].SecurityContext.Privileged ||
		spec.Containers[0].Image != "registry.example/agnhost:2.66.1" || spec.Containers[0].ImagePullPolicy != corev1.PullIfNotPresent ||
		*spec.ActiveDeadlineSeconds != int64(Lifetime.Seconds()) || spec.Tolerations[0].Operator != corev1.TolerationOpExists || *spec.AutomountServiceAccountToken {
		t.Errorf("%+v", spec)
	}
	if p.Labels[apiserver.LabelDebug] == "" || !strings.HasPrefix(p.Name, apiserver.DebugPrefix) || p.Annotations[ownerAnnotation] == "" {
		t.Errorf("%+v", p.ObjectMeta)
	}
	if err := s.Close(t.Context()); err != nil || len(a.Pods()) != 0 {
		t.Errorf("left: %v, %v", a.Pods(), err)
	}
	if _, err := n.Run(t.Context(), node.Argv("true")); err == nil || len(a.Pods()) != 0 {
		t.Errorf("after the end: %v, %v", err, a.Pods())
	}
}

// A cancelled command is ended on the node, not only its client.
func TestCancelled(t *testing.T) {
	n := open(t, podtest.Serve(t, podtest.Node("n1"))).Node("n1")
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := n.Run(ctx, node.Argv("sh", "-c", `echo $$ >"$0.tmp"; mv "$0.tmp" "$0"; sleep 300`, file))
		ended <- err
	}()
	pid := pidIn(t, file)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	eventually(t, func() bool { return !(process.ID{PID: pid}).Alive() })
}

// Restarting the kubelet or the runtime breaks the connection to the command that does it. How it ended is found out.
func TestConnectionBreaks(t *testing.T) {
	a := podtest.Serve(t, podtest.Node("n1"))
	n := open(t, a).Node("n1")
	for _, code := range []int{0, 3} {
		dir := t.TempDir()
		ended := make(chan error, 1)
		go func() {
			_, err := n.Run(t.Context(), node.Argv("sh", "-c", `touch "$0/began"; until [ -e "$0/go" ]; do sleep 0.02; done; exit "$1"`, dir, fmt.Sprint(code)))
			ended <- err
		}()
		eventually(t, func() bool { _, err := os.Stat(filepath.Join(dir, "began")); return err == nil })
		a.Drop()
		if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		err := <-ended
		var exit *node.ExitError
		if code == 0 && err != nil || code != 0 && (!errors.As(err, &exit) || exit.Code != code) {
			t.Errorf("exit %d: %v", code, err)
		}
	}
}

// A pod that somebody deletes is made again.
func TestPodDeleted(t *testing.T) {
	a := podtest.Serve(t, podtest.Node("n1"))
	s := open(t, a)
	n := s.Node("n1")
	if _, err := n.Run(t.Context(), node.Argv("true")); err != nil {
		t.Fatal(err)
	}
	if err := s.o.Kube.CoreV1().Pods("tools").Delete(t.Context(), a.Pods()[0], metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	var u *node.UnreachedError
	if _, err := n.Run(t.Context(), node.Argv("true")); !errors.As(err, &u) || !strings.Contains(err.Error(), "was deleted") {
		t.Errorf("%v", err)
	}
	if _, err := n.Run(t.Context(), node.Argv("true")); err != nil {
		t.Error(err)
	}
}

func TestForbidden(t *testing.T) {
	a := podtest.Serve(t, podtest.Node("n1"))
	a.Deny("create pods/exec", "delete pods")
	_, err := Open(t.Context(), options(t, a))
	var f *ForbiddenError
	if !errors.As(err, &f) || !strings.Contains(err.Error(), "may not delete pods in namespace tools, nor create pods/exec in namespace tools") {
		t.Errorf("%v", err)
	}
	if len(a.Made()) != 0 {
		t.Error("a pod was made")
	}
}

// What a node says of a pod that does not start is told, with the other ways, and nothing of it stays.
func TestNotStarted(t *testing.T) {
	waiting := func(reason, message string) corev1.PodStatus {
		return corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}}
	}
	dead := podtest.Node("n1")
	dead.Status.Conditions[0].Status, dead.Status.Conditions[0].Message = corev1.ConditionUnknown, "Kubelet stopped posting node status."
	windows := podtest.Node("n1")
	windows.Status.NodeInfo.OperatingSystem = "windows"
	for name, c := range map[string]struct {
		node   *corev1.Node
		status corev1.PodStatus
		want   []string
	}{
		"no image": {podtest.Node("n1"), waiting("ErrImagePull", "no route to host"), []string{"ErrImagePull: no route to host", "--debug-image names another image than " + DefaultImage, "--ssh NODE=user@host"}},
		"dead":     {dead, corev1.PodStatus{Phase: corev1.PodPending}, []string{"its kubelet is silent since", "stopped posting", "--local"}},
		"refused":  {podtest.Node("n1"), corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfpods", Message: "Node didn't have enough resource: pods"}, []string{"ended at once", "OutOfpods: Node didn't have enough"}},
		"windows":  {windows, corev1.PodStatus{}, []string{"runs windows"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := podtest.Serve(t, c.node)
			a.Status(func(*corev1.Pod) corev1.PodStatus { return c.status })
			s := open(t, a)
			s.patience = 0.01
			_, err := s.Node("n1").Run(t.Context(), node.Argv("true"))
			var u *node.UnreachedError
			if !errors.As(err, &u) {
				t.Fatalf("%v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("no %q in %v", w, err)
				}
			}
			if left := a.Pods(); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// Under pressure a kubelet takes only what is critical.
func TestPressure(t *testing.T) {
	a := podtest.Serve(t, podtest.Node("n1"))
	a.Status(func(p *corev1.Pod) corev1.PodStatus {
		if p.Spec.PriorityClassName != "system-node-critical" {
			return corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node had condition: [DiskPressure]. "}
		}
		return corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}
	})
	s := open(t, a)
	if _, err := s.Node("n1").Run(t.Context(), node.Argv("true")); err != nil {
		t.Error(err)
	}
	if made := a.Made(); len(made) != 2 || made[0].Spec.PriorityClassName != "" || len(a.Pods()) != 1 {
		t.Errorf("%d made, %v there", len(made), a.Pods())
	}
}

// What dead processes left is deleted by the next one; what another process uses is not.
func TestSweep(t *testing.T) {
	a := podtest.Serve(t, podtest.Node("n1"))
	host, _ := os.Hostname()
	put := func(name, host string, id process.ID, phase corev1.PodPhase) {
		b, _ := json.Marshal(owner{host, id})
		a.Put(corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{apiserver.LabelDebug: "node"}, Annotations: map[string]string{ownerAnnotation: string(b)}},
			Status:     corev1.PodStatus{Phase: phase},
		})
	}
	put("alive", host, process.Self(), corev1.PodRunning)
	put("dead", host, process.ID{PID: 1 << 30}, corev1.PodRunning)
	put("elsewhere", "another", process.ID{PID: 1 << 30}, corev1.PodRunning)
	put("ended", "another", process.ID{PID: 1 << 30}, corev1.PodFailed)
	a.Put(corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}})
	open(t, a)
	if got, want := a.Pods(), []string{"alive", "elsewhere", "theirs"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestImageFor(t *testing.T) {
	for want, images := range map[string][]string{
		"docker.io/kindest/local-path-helper:v1": {"registry.k8s.io/pause:3.10", "docker.io/kindest/local-path-helper:v1"},
		"registry.example:5000/x/agnhost:2":      {"docker.io/library/debian:12", "registry.example:5000/x/agnhost:2"},
		"docker.io/library/busybox:1.36":         {"docker.io/library/busybox@sha256:0", "docker.io/library/busybox:1.36"},
		DefaultImage:                             {"registry.k8s.io/pause:3.10", "x/debian-base:1", "x/busybox-like:2"},
	} {
		if got, has := ImageFor(podtest.Node("n", images...)); got != want || has != (want != DefaultImage) {
			t.Errorf("%v: %s, %t", images, got, has)
		}
	}
}

func TestPodName(t *testing.T) {
	for _, on := range []string{"n1", "ip-10-0-0-1.eu-central-1.compute.internal", strings.Repeat("a-", 126)} {
		if n := podName(on); len(n) > 63 || strings.Contains(n, ".") || strings.Contains(n, "--") || podName(on) == n {
			t.Errorf("%s: %s", on, n)
		}
	}
}

// TestEnter: what an image lacks is taken from the node, without a word of it being run in the container.
func TestEnter(t *testing.T) {
	shell, err := exec.LookPath("dash")
	if err != nil {
		t.Skip("there is no dash here")
	}
	fake := "#!" + shell + "\necho \"$0 $*\"\nexit 4\n"
	for name, c := range map[string]struct{ bin, host, want string }{
		"of the image": {"nsenter", "usr/bin/nsenter", "bin/nsenter -t 1 -m --"},
		"of the node":  {"chroot", "usr/bin/nsenter lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "ld-linux-x86-64.so.2 --library-path"},
		"chroot":       {"chroot", "etc/x", "bin/chroot"},
	} {
		dir := t.TempDir()
		for _, f := range append(strings.Fields(c.host), "") {
			f = filepath.Join(dir, "host", f)
			if strings.HasSuffix(f, "host") {
				f = filepath.Join(dir, "bin", c.bin)
			}
			if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f, []byte(fake), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		script := strings.NewReplacer("h=/host", "h="+dir+"/host", "/sickbay-$k", dir+"/done-$k").Replace(enter)
		cmd := exec.Command(shell, "-c", script, "sh", "key", "true", "a b")
		cmd.Env = []string{"PATH=" + filepath.Join(dir, "bin")}
		out, _ := cmd.CombinedOutput()
		if !strings.Contains(string(out), c.want) || !strings.Contains(string(out), "true a b") {
			t.Errorf("%s: %s", name, out)
		}
		if code, err := os.ReadFile(dir + "/done-key"); err != nil || string(code) != "4\n" {
			t.Errorf("%s: exit code %q, %v", name, code, err)
		}
	}
}

func pidIn(t *testing.T, file string) (pid int) {
	t.Helper()
	eventually(t, func() bool {
		b, err := os.ReadFile(file)
		if err == nil {
			_, err = fmt.Sscan(string(b), &pid)
		}
		return err == nil
	})
	return pid
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("did not become true within 10 s")
}
