package suites_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/node"
)

// TestHostileNode gives one worker to an attacker with root: its journal, file names, certificates, a pod's image and the agent
// itself are his. The node is diagnosed, bundled and fixed from outside. Nothing of his runs, reaches the terminal or keeps a
// secret in the bundle, and the other nodes' answers come in time.
func TestHostileNode(t *testing.T) {
	needPool(t)
	victims := ground.Victims()
	victim := victims[len(victims)-1]
	n := ground.Node(victim)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	free, err := lab.Claim(ctx, victim)
	if err != nil {
		t.Fatal(err)
	}
	defer free()
	binary, err := filepath.Abs("../bin/sickbay")
	if err != nil {
		t.Fatal(err)
	}

	registry := filepath.Join(t.TempDir(), "registry")
	build := exec.Command("go", "build", "-o", registry, "./testdata/hostile/registry.go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	put(ctx, t, n, registry, "/root/hostile-registry")
	put(ctx, t, n, "testdata/hostile/plant.sh", "/root/hostile-plant.sh")
	t.Cleanup(func() { cleanHostile(t, n) })

	plant := func(args ...string) {
		t.Helper()
		if _, err := n.Run(ctx, node.Argv(append([]string{"sh", "/root/hostile-plant.sh"}, args...)...)); err != nil {
			t.Fatal(err)
		}
	}
	look := func(args ...string) (output []byte, code int) {
		t.Helper()
		call, cancel := context.WithTimeout(ctx, 3*time.Minute)
		defer cancel()
		c := exec.CommandContext(call, binary, append(args, "--cluster", ground.Name)...)
		out, err := c.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatalf("%v: %v", args, err)
		}
		if call.Err() != nil {
			t.Fatalf("%v did not end", args)
		}
		NewWithT(t).Expect(hostile.Find(out)).To(BeNil(), "%v wrote control characters:\n%q", args, out)
		return out, c.ProcessState.ExitCode()
	}

	plant()
	hostilePod(ctx, t, victim)
	time.Sleep(15 * time.Second) // the kubelet's retries, and its events

	t.Run("diagnose", func(t *testing.T) {
		out, code := look("diagnose", "--whole")
		t.Logf("%s", out)
		NewWithT(t).Expect(code).To(BeElementOf(1, 3))
		othersAnswered(t, look, victim)
	})
	t.Run("bundle", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "bundle")
		out, _ := look("bundle", dir)
		t.Logf("%s", out)
		noSecret(t, dir)
	})
	t.Run("fix", func(t *testing.T) {
		out, _ := look("diagnose", "--node", victim, "--fix", "--dry-run", "--whole")
		t.Logf("%s", out)
		out, _ = look("diagnose", "--node", victim, "--fix", "--yes", "--allow", "destructive", "--timeout", "2m")
		t.Logf("%s", out)
	})
	t.Run("agent", func(t *testing.T) {
		plant("agent")
		// The node's own answer must be missing, or the attacker's program was never asked.
		g := NewWithT(t)
		g.Eventually(func() []string { return othersAnswered(t, look, victim) }).WithTimeout(time.Minute).Should(ContainElement("node"))
	})
	found, err := n.Run(ctx, node.Sh("ls -d /tmp/pwned* /pwned* /root/pwned* /etc/cni/net.d/pwned-file 2>/dev/null || true"))
	if err != nil {
		t.Fatal(err)
	}
	NewWithT(t).Expect(strings.TrimSpace(string(found))).To(BeEmpty(), "the attacker's words were run on the node")
	here, _ := filepath.Glob("/tmp/pwned*")
	NewWithT(t).Expect(here).To(BeEmpty(), "the attacker's words were run on this machine")
}

// hostile is what must not reach a terminal: control characters but line feed and tab, and those that change the direction.
var hostile = regexp.MustCompile("[\x00-\x08\x0b-\x1f\x7f\u0080-\u009f\u202a-\u202e\u2066-\u2069]")

// put copies a file onto the node, to be run there.
func put(ctx context.Context, t *testing.T, n node.Node, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = n.Put(ctx, to, 0o755, bytes.NewReader(b))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func cleanHostile(t *testing.T, n node.Node) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	script, err := os.ReadFile("testdata/hostile/clean.sh")
	if err == nil {
		_, err = n.Run(ctx, node.Command{Argv: []string{"sh"}, Stdin: bytes.NewReader(script)})
	}
	if err != nil {
		t.Errorf("clean up on %s: %v", n.Name(), err)
	}
	now := int64(0)
	_ = ground.Kube().CoreV1().Pods("default").Delete(ctx, "hostile", metav1.DeleteOptions{GracePeriodSeconds: &now})
}

// hostilePod makes the kubelet pull from the attacker's registry. Its arguments and annotations hold secrets.
func hostilePod(ctx context.Context, t *testing.T, on string) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "hostile", Annotations: map[string]string{"example.com/api-token": "hostile-secret-four", "example.com/note": "\u202e\x1b[2K"}},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{corev1.LabelHostname: on},
			Containers:   []corev1.Container{{Name: "c", Image: "127.0.0.1:5443/app:1", Args: []string{"--db-password", "hostile-secret-five"}}},
		},
	}
	if _, err := ground.Kube().CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// othersAnswered tells that no other node is without an answer, and returns what is not known of the victim.
func othersAnswered(t *testing.T, look func(...string) ([]byte, int), victim string) (unknown []string) {
	t.Helper()
	began := time.Now()
	out, _ := look("diagnose", "-q", "-o", "json")
	t.Logf("diagnose took %s", time.Since(began).Round(100*time.Millisecond))
	var d v1alpha1.Diagnosis
	if err := yaml.Unmarshal(out, &d); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, u := range d.Unknown {
		if u.Node != victim {
			if u.What == "node" { // one slow source is no missing answer
				t.Errorf("node %s did not answer: %s", u.Node, u.Why)
			}
			continue
		}
		unknown = append(unknown, u.What)
		t.Logf("%s of %s is not known: %s", u.What, u.Node, u.Why)
	}
	for _, f := range d.Findings {
		if f.Node != victim {
			t.Errorf("node %s is said to have %s/%s", f.Node, f.Failure, f.Cause)
		}
	}
	return unknown
}

// noSecret looks through everything in a bundle, packed or not.
func noSecret(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := unpacked(path)
		if err != nil {
			return err
		}
		for _, secret := range []string{"hostile-secret", "hostileSecret"} {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s has %s in it", path, secret)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// unpacked reads a file, unpacked where it is compressed.
func unpacked(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(path, ".zst") {
		return b, err
	}
	r, err := zstd.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
