package cluster

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	kindconfigs "github.com/sickbay-dev/sickbay/kind-configs"
)

// The client puts a control plane's files there behind `run`, on a slow machine once its systemd is up, hands everything else on, and keeps
// arguments and exit codes.
func TestNodeClient(t *testing.T) {
	for _, c := range []struct {
		factor float64
		asked  int // how often, whether systemd is up
	}{{1, 0}, {4, 3}} {
		dir := t.TempDir()
		real, log, count, node := filepath.Join(dir, "docker"), filepath.Join(dir, "log"), filepath.Join(dir, "count"), filepath.Join(dir, "node")
		// systemd is up when the log is asked for the third time.
		script := `#!/bin/sh
for a; do printf '[%s]' "$a" >> ` + log + `; done; echo >> ` + log + `
case $1 in
run) [ "$3" != bad ] || exit 125;;
logs) echo x >> ` + count + `; [ $(wc -l < ` + count + `) -lt 3 ] || printf '[  OK  ] Reached target \033[0;1;39mMulti-User System\033[0m.\r\n';;
exec) case $* in *exit*) exit 7;; esac; printf '%s' "$5" | sed 's, /kind/, ` + node + `/kind/,g' | sh;;
esac
`
		if err := os.WriteFile(real, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		made, remove, err := client(&engine.Engine{Provider: engine.Docker, CLI: real}, c.factor, "v1.37.2")
		if err != nil {
			t.Fatal(err)
		}
		call := func(args ...string) (code int, said string) {
			t.Helper()
			_ = os.Remove(log)
			cmd := exec.Command(filepath.Join(made, "docker"), args...)
			out, err := cmd.CombinedOutput()
			if err != nil && cmd.ProcessState == nil {
				t.Fatal(err, string(out))
			}
			b, _ := os.ReadFile(log)
			return cmd.ProcessState.ExitCode(), string(b)
		}
		if code, said := call("run", "--name", "c-control-plane", "--label", "a b", "image"); code != 0 || strings.Count(said, "[logs][c-control-plane]") != c.asked || !strings.HasPrefix(said, "[run][--name][c-control-plane][--label][a b][image]\n") {
			t.Errorf("run: %d:\n%s", code, said)
		}
		for name, want := range kindconfigs.Files(c.factor, "v1.37.2") {
			raw, err := os.ReadFile(filepath.Join(node, name))
			if err != nil || strings.TrimSpace(string(raw)) != strings.TrimSpace(want) {
				t.Errorf("%s: %v:\n%s", name, err, raw)
			}
			if path.Dir(name) != kindconfigs.PatchesDir {
				continue
			}
			var pod corev1.Pod
			if err := yaml.UnmarshalStrict(raw, &pod); err != nil || len(pod.Spec.Containers) != 1 || path.Base(name) != pod.Spec.Containers[0].Name+"+strategic.json" {
				t.Errorf("patch %s: %v:\n%s", name, err, raw)
			}
		}
		if code, said := call("run", "--name", "c-worker", "image"); code != 0 || strings.Contains(said, "[exec]") || strings.Contains(said, "[logs]") != (c.factor > 1) {
			t.Errorf("a worker: %d:\n%s", code, said)
		}
		if code, said := call("run", "--name", "bad", "image"); code != 125 || strings.Contains(said, "logs") {
			t.Errorf("a container that does not start: %d:\n%s", code, said)
		}
		if code, said := call("exec", "n1", "sh", "-c", "exit $x 'y'"); code != 7 || said != "[exec][n1][sh][-c][exit $x 'y']\n" {
			t.Errorf("anything else: %d:\n%s", code, said)
		}
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(made); !os.IsNotExist(err) {
			t.Errorf("it stays: %v", err)
		}
	}
}
