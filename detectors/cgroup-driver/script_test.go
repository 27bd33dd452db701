package cgroupdriver

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestSetSystemdCgroup(t *testing.T) {
	const head = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n  runtime_type = \"io.containerd.runc.v2\"\n"
	const options = "  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n"
	const other = "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.test-handler]\n  runtime_type = \"io.containerd.runc.v2\"\n  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.test-handler.options]\n    SystemdCgroup = false\n"
	for name, c := range map[string]struct{ in, handler, want string }{
		"flipped":       {head + options + "    SystemdCgroup = false\n" + other, "runc", head + options + "    SystemdCgroup = true\n" + other},
		"empty options": {head + options + other, "runc", head + options + "    SystemdCgroup = true\n" + other},
		"no options":    {head, "runc", head + "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n    SystemdCgroup = true\n"},
		"last table":    {head + options, "runc", head + options + "    SystemdCgroup = true\n"},
		"version 3": {"[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\n  BinaryName = ''\n  SystemdCgroup = false\n[x]\n", "runc",
			"[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\n  BinaryName = ''\n  SystemdCgroup = true\n[x]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.toml")
			if err := os.WriteFile(file, []byte(c.in), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), "sh", "-ec", setSystemdCgroup(file, c.handler)).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if got, _ := os.ReadFile(file); string(got) != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}
