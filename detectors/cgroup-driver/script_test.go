package cgroupdriver

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
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
			if got, why := detectorstest.Edit(t, c.in, "", func(file string) v1alpha1.Step { return setSystemdCgroup("n", []string{file}, c.handler) }); got != c.want {
				t.Errorf("got\n%s\nwant\n%s%s", got, c.want, why)
			}
		})
	}
	for name, in := range map[string]string{
		"handler of another file": "imports = [\"/etc/containerd/conf.d/*.toml\"]\n",
		"options in one line":     head + "  options = {SystemdCgroup = false}\n",
		"dotted options":          head + "  options.SystemdCgroup = false\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, why := detectorstest.Edit(t, in, "", func(file string) v1alpha1.Step { return setSystemdCgroup("n", []string{file}, "runc") }); !strings.Contains(why, "by hand") {
				t.Errorf("not refused: %q", why)
			}
		})
	}
}

func TestDropBinaryName(t *testing.T) {
	script := filepath.Join(t.TempDir(), "runc-hardened")
	for in, want := range map[string]struct {
		text string
		gone bool
	}{
		"[x.options]\n  BinaryName = \"" + script + "\"\n  SystemdCgroup = true\n": {"[x.options]\n  SystemdCgroup = true\n", true},
		"BinaryName = '" + script + "' # ours\n":                                   {"", true},
		// A handler that is no longer the default may still name it in another way.
		"BinaryName = \"" + script + "\"\n# see " + script + "\n": {"# see " + script + "\n", false},
	} {
		if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		got, why := detectorstest.Edit(t, in, "", func(file string) v1alpha1.Step { return dropBinaryName("n", file, script) })
		if _, err := os.Stat(script); got != want.text || os.IsNotExist(err) != want.gone {
			t.Errorf("%q became %q, the script's end: %v %s", in, got, err, why)
		}
	}
	if _, why := detectorstest.Edit(t, "BinaryName = \""+script+"2\"\n", "", func(file string) v1alpha1.Step { return dropBinaryName("n", file, script) }); !strings.Contains(why, "imports") {
		t.Errorf("not refused: %q", why)
	}
}

func TestUseSystemd(t *testing.T) {
	script := filepath.Join(t.TempDir(), "w")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	in := "[crio.runtime]\ncgroup_manager = \"cgroupfs\"\n[crio.runtime.runtimes.runc]\n  runtime_path = \"" + script + "\"\n[crio.runtime.runtimes.crun]\n  runtime_path = \"/usr/bin/crun\"\n"
	const want = "[crio.runtime]\ncgroup_manager = \"systemd\"\n[crio.runtime.runtimes.runc]\n[crio.runtime.runtimes.crun]\n  runtime_path = \"/usr/bin/crun\"\n"
	step := func(file string) v1alpha1.Step { return useSystemd("n", []string{file}, script) }
	if got, why := detectorstest.Edit(t, in, "", step); got != want {
		t.Errorf("got\n%s\nwant\n%s%s", got, want, why)
	}
	if _, err := os.Stat(script); !os.IsNotExist(err) {
		t.Error("the script is still in its place, and nothing names it")
	}
	if _, why := detectorstest.Edit(t, want, "", step); !strings.Contains(why, "by hand") {
		t.Errorf("nothing to change is not refused: %q", why)
	}
}

// CRI-O reads whatever lies in its folder of drop-ins, in the order of names: a copy beside the file would win over what was mended.
func TestUseSystemdInADropIn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "crio.conf.d")
	file := filepath.Join(dir, "90-cgroups.conf")
	const was = "[crio.runtime]\ncgroup_manager = \"cgroupfs\"\n"
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(file, []byte(was), 0o644)); err != nil {
		t.Fatal(err)
	}
	step := useSystemd("n", []string{file}, "")
	if out, err := detectorstest.Script(t, step.Exec, ""); err != nil {
		t.Fatal(err, out)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("in the folder: %v %v", left, err)
	}
	if b, err := os.ReadFile(dir + ".90-cgroups.conf" + v1alpha1.Aside); err != nil || string(b) != was {
		t.Errorf("the copy: %q %v", b, err)
	}
	if aside := detectors.MoveAside("n", "/etc/crio/crio.conf.d/90-x.conf", "w").Exec; aside[len(aside)-1] != "/etc/crio/crio.conf.d.90-x.conf"+v1alpha1.Aside {
		t.Errorf("moved aside: %q", aside)
	}
	if out, err := exec.Command("sh", "-ec", step.Undo).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != was {
		t.Errorf("undone: %q %v", b, err)
	}
}
