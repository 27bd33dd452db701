package facts_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
	"github.com/sickbay-dev/sickbay/internal/facts"
)

func TestSetKubeletConfig(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"in place":          {"apiVersion: v1\nfailCgroupV1: true\nkind: KubeletConfiguration\n", "apiVersion: v1\nfailCgroupV1: false\nkind: KubeletConfiguration\n"},
		"in no order":       {"kind: X\nfailCgroupV1: true\napiVersion: v1\n", "kind: X\nfailCgroupV1: false\napiVersion: v1\n"},
		"at its place":      {"apiVersion: v1\nevictionHard:\n  nodefs.available: 0%\nfailSwapOn: false\nkind: X\n", "apiVersion: v1\nevictionHard:\n  nodefs.available: 0%\nfailCgroupV1: false\nfailSwapOn: false\nkind: X\n"},
		"at the end":        {"apiVersion: v1\n", "apiVersion: v1\nfailCgroupV1: false\n"},
		"not inside a list": {"apiVersion: v1\nz:\n- failCgroupV1: true\n", "apiVersion: v1\nfailCgroupV1: false\nz:\n- failCgroupV1: true\n"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(file, []byte(c.in), 0o600); err != nil {
				t.Fatal(err)
			}
			step := facts.SetKubeletConfig(&v1alpha1.Observation{Node: "n", Kubelet: v1alpha1.Kubelet{ConfigFiles: []string{file}}}, "w", "failCgroupV1", "false")
			run := func(argv []string, want string) {
				if out, err := detectorstest.Script(t, argv, ""); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				if got, _ := os.ReadFile(file); string(got) != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
			}
			run(step.Exec, c.want)
			run([]string{"sh", "-ec", step.Undo}, c.in)
			if left, _ := filepath.Glob(file + ".*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// The last file that sets the key decides (--config-dir), and a file may be JSON.
func TestSetKubeletConfigWhereItDecides(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	main, first, last := file("config.json", "{\n  \"failSwapOn\": true,\n  \"kind\": \"KubeletConfiguration\"\n}\n"), file("10-ours.conf", "failCgroupV1: true\n"), file("20-other.conf", "maxPods: 9\n")
	o := &v1alpha1.Observation{Node: "n", Kubelet: v1alpha1.Kubelet{ConfigFiles: []string{main, first, last}}}
	for _, key := range []string{"failCgroupV1", "failSwapOn"} {
		if out, err := detectorstest.Script(t, facts.SetKubeletConfig(o, "w", key, "false").Exec, ""); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for p, want := range map[string]string{main: "{\n  \"failSwapOn\": false,\n  \"kind\": \"KubeletConfiguration\"\n}\n", first: "failCgroupV1: false\n", last: "maxPods: 9\n"} {
		if got, _ := os.ReadFile(p); string(got) != want {
			t.Errorf("%s: got\n%s\nwant\n%s", filepath.Base(p), got, want)
		}
	}
}

func TestDropSetting(t *testing.T) {
	dir := t.TempDir()
	only, mixed, other := filepath.Join(dir, "only", "90-limits.conf"), filepath.Join(dir, "mixed", "x.conf"), filepath.Join(dir, "mixed", "10-kubeadm.conf")
	wrapped := filepath.Join(dir, "wrapped", "20-start.conf")
	text := map[string]string{
		only: "[Service]\nCPUQuota=1%\n", mixed: "# ours\n[Service]\nCPUQuota=5%\nLimitNOFILE=9\n", other: "[Service]\nCPUWeight=3\n",
		wrapped: "[Service]\nExecStart=\nExecStart=/opt/with CPUQuota=2 kubelet\nNice=1\n",
	}
	for file := range text {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	step := facts.DropSetting("n", "w", `^[[:space:]]*(ExecStart=.*)?CPUQuota[[:space:]]*=`, []string{only, mixed, other, wrapped, filepath.Join(dir, "gone.conf")})
	for script, want := range map[string]map[string]string{
		step.Run:                               {only: "", mixed: "# ours\n[Service]\nLimitNOFILE=9\n", other: "[Service]\nCPUWeight=3\n", wrapped: "[Service]\nNice=1\n"},
		step.Run + "\n(\n" + step.Undo + "\n)": text,
	} {
		for file, before := range text {
			if err := os.WriteFile(file, []byte(before), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := detectorstest.Script(t, []string{"sh", "-ec", script}, ""); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for file, want := range want {
			if got, _ := os.ReadFile(file); string(got) != want {
				t.Errorf("%s holds %q, want %q", file, got, want)
			}
		}
		if _, err := os.Stat(only); (err == nil) != (want[only] != "") {
			t.Errorf("the drop-in that sets nothing else: %v", err)
		}
	}
}
