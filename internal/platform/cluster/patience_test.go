package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	kindconfigs "github.com/sickbay-dev/sickbay/kind-configs"
)

// The client waits for the node's systemd behind `run`, hands everything else on, and keeps arguments and exit codes.
func TestPatientClient(t *testing.T) {
	dir := t.TempDir()
	real, log, count, patches := filepath.Join(dir, "docker"), filepath.Join(dir, "log"), filepath.Join(dir, "count"), filepath.Join(dir, "patches")
	// systemd is up when the log is asked for the third time.
	script := `#!/bin/sh
for a; do printf '[%s]' "$a" >> ` + log + `; done; echo >> ` + log + `
case $1 in
run) [ "$3" != bad ] || exit 125;;
logs) echo x >> ` + count + `; [ $(wc -l < ` + count + `) -lt 3 ] || printf '[  OK  ] Reached target \033[0;1;39mMulti-User System\033[0m.\r\n';;
exec) case $* in *exit*) exit 7;; esac; printf '%s' "$5" | sed 's,/kind/patches,` + patches + `,g' | sh;;
esac
`
	if err := os.WriteFile(real, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	e := &engine.Engine{Provider: engine.Docker, CLI: real}
	if made, _, err := patience(e, 1, ""); made != "" || err != nil {
		t.Errorf("a machine that is not slow gets %q, %v", made, err)
	}
	made, remove, err := patience(e, 4, "v1.37.2")
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
	if code, said := call("run", "--name", "n1", "--label", "a b", "image"); code != 0 || strings.Count(said, "[logs][n1]") != 3 || !strings.HasPrefix(said, "[run][--name][n1][--label][a b][image]\n") {
		t.Errorf("run: %d:\n%s", code, said)
	}
	for name := range kindconfigs.Patches(4, "v1.37.2") {
		var pod corev1.Pod
		raw, err := os.ReadFile(filepath.Join(patches, name))
		if err == nil {
			err = yaml.UnmarshalStrict(raw, &pod)
		}
		if err != nil || len(pod.Spec.Containers) != 1 || name != pod.Spec.Containers[0].Name+"+strategic.json" {
			t.Errorf("patch %s: %v:\n%s", name, err, raw)
		}
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
