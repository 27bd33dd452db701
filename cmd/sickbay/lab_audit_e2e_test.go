package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	kindconfigs "github.com/sickbay-dev/sickbay/kind-configs"
)

// TestLabAudit: what a learner changes with the lab's kubeconfig is in the debrief of who agreed to it, and the API server's log has nothing
// of anybody else: neither of sickbay, which makes the node ill, nor of a learner who did not agree. The cluster is of this version.
//
//	make build && SICKBAY_E2E=1 SICKBAY_CLUSTER=name go test ./cmd/sickbay -run TestLabAudit -v -count 1
func TestLabAudit(t *testing.T) {
	ctx, bin := t.Context(), "../../bin/sickbay"
	c, name := labCluster(t)
	run := func(stdin string, args ...string) string {
		cmd := exec.CommandContext(ctx, bin, append(args, "--cluster", name)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	log := func() string {
		raw, err := c.AuditLog(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	const changes = `kubectl label node "$NODE" sickbay.dev/audited=x --overwrite && kubectl label node "$NODE" sickbay.dev/audited-
kubectl create secret generic audited --from-literal=password=hunter22 && kubectl delete secret audited`
	for _, agreed := range []bool{false, true} {
		before, dir := log(), t.TempDir()
		t.Cleanup(func() { _ = exec.Command(bin, "lab", "stop", "--cluster", name).Run() })
		start := []string{"lab", "start", "L07"}
		if agreed {
			start = append(start, "--record")
		}
		briefing := run("", start...)
		if log() != before {
			t.Errorf("what sickbay itself did is in the log: %s", strings.TrimPrefix(log(), before))
		}
		run(changes, "lab", "shell")
		want := []string{"patch nodes " + name + "-worker", "create secrets default/audited", "delete secrets default/audited"}
		if agreed { // kubectl on this machine, with the kubeconfig of the briefing
			m := regexp.MustCompile(`export KUBECONFIG=(\S+)`).FindStringSubmatch(briefing)
			if m == nil || !strings.HasSuffix(m[1], "-"+kindconfigs.OnCall) {
				t.Fatalf("the briefing names another kubeconfig:\n%s", briefing)
			}
			_, kube, err := cluster.Kubeconfig(m[1])
			if err != nil {
				t.Fatal(err)
			}
			if err := kube.CoreV1().Pods("default").Delete(ctx, "audited", metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("delete a pod that is not there: %v", err)
			}
			want = append(want, "delete pods default/audited (failed: 404)")
		}
		run("", "lab", "stop", "--report", dir)
		files, err := filepath.Glob(filepath.Join(dir, "*.md"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%v, %v", files, err)
		}
		raw, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if strings.Contains(string(raw), w) != agreed {
				t.Errorf("agreed: %t; %q is in the debrief: %t\n%s", agreed, w, !agreed, raw)
			}
		}
		added := strings.TrimPrefix(log(), before)
		if !agreed && added != "" {
			t.Errorf("it was not agreed to, and in the log: %s", added)
		}
		if strings.Contains(added, "hunter22") || strings.Count(added, `"username":"`+kindconfigs.OnCall+`"`) != strings.Count(added, "\n") {
			t.Errorf("there is more in the log than the learner's requests: %s", added)
		}
	}
}
