package suites_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/apiserver"
)

// startsPods are scenarios that leave the kubelet able to start a pod.
var startsPods = []string{
	"conflist-missing", "containercreating-cni", "ipam-exhausted", "cpu-throttled", "memory-limit",
	"probe-wrong-endpoint", "registry-tls", "tag-not-found", "plugin-down", "threshold-misconfigured",
}

// TestThroughAPI: with the engine out of reach, `sickbay diagnose --context` finds what it finds by the engine, and leaves nothing.
func TestThroughAPI(t *testing.T) {
	needPool(t)
	binary, err := filepath.Abs("../bin/sickbay")
	if err != nil {
		t.Fatal(err)
	}
	victims := ground.Victims()
	victim := victims[len(victims)-1]
	run := func(ctx context.Context, env []string, args ...string) (stdout, stderr string) {
		t.Helper()
		c := exec.CommandContext(ctx, binary, args...)
		c.Env = append(os.Environ(), env...)
		var out, errs strings.Builder
		c.Stdout, c.Stderr = &out, &errs
		if err := c.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
			t.Fatalf("%v: %v", args, err)
		}
		return out.String(), errs.String()
	}
	nowhere := []string{"DOCKER_HOST=tcp://127.0.0.1:9", "KIND_EXPERIMENTAL_PROVIDER="}
	look := func(env []string, way ...string) (found []string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		out, errs := run(ctx, env, append([]string{"diagnose", "-o", "json"}, way...)...)
		var d v1alpha1.Diagnosis
		if err := json.Unmarshal([]byte(out), &d); err != nil {
			t.Fatalf("%v\n%s%s", err, out, errs)
		}
		for _, u := range d.Unknown {
			if u.What == "node" {
				t.Errorf("%v: node %s was not read: %s", way, u.Node, u.Why)
			}
		}
		for _, f := range d.Findings {
			found = append(found, f.Node+" "+f.Failure+"/"+f.Cause)
		}
		slices.Sort(found)
		return slices.Compact(found)
	}
	byEngine, byAPI := []string{"--cluster", ground.Name}, []string{"--context", "kind-" + ground.Name}
	nothingLeft := func(t *testing.T) {
		t.Helper()
		pods, err := ground.Kube().CoreV1().Pods("").List(t.Context(), metav1.ListOptions{LabelSelector: apiserver.LabelDebug})
		if err != nil || len(pods.Items) > 0 {
			t.Errorf("pods are left: %v, %v", pods.Items, err)
		}
	}

	t.Run("healthy", func(t *testing.T) {
		NewWithT(t).Expect(look(nowhere, byAPI...)).To(BeEmpty())
		nothingLeft(t)
	})
	for _, name := range startsPods {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			t.Cleanup(func() {
				out, errs := run(context.Background(), nil, "recover", "--all", "--cluster", ground.Name)
				t.Logf("%s%s", out, errs)
				g.Eventually(func() []string { return look(nil, byEngine...) }).WithTimeout(4 * time.Minute).Should(BeEmpty())
			})
			out, errs := run(t.Context(), nil, "inject", name, "--cluster", ground.Name, "--node", victim)
			t.Logf("%s%s", out, errs)
			g.Eventually(func(g Gomega) {
				want := look(nil, byEngine...)
				g.Expect(want).ToNot(BeEmpty())
				g.Expect(look(nowhere, byAPI...)).To(Equal(want))
			}).WithTimeout(4 * time.Minute).Should(Succeed())
			nothingLeft(t)
		})
	}
	t.Run("killed", func(t *testing.T) {
		c := exec.Command(binary, append([]string{"diagnose", "--watch", "-q"}, byAPI...)...)
		c.Env = append(os.Environ(), nowhere...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		g := NewWithT(t)
		g.Eventually(func() int {
			pods, _ := ground.Kube().CoreV1().Pods("").List(t.Context(), metav1.ListOptions{LabelSelector: apiserver.LabelDebug})
			return len(pods.Items)
		}).WithTimeout(time.Minute).Should(Equal(len(ground.Nodes())))
		_ = c.Process.Kill()
		_ = c.Wait()
		out, _ := run(t.Context(), nil, "doctor", "-o", "json")
		g.Expect(out).To(ContainSubstring("pod " + apiserver.DebugPrefix))
		look(nowhere, byAPI...)
		nothingLeft(t)
	})
}
