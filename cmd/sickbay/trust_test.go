package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

const strangers = `apiVersion: sickbay.dev/v1alpha1
kind: Scenario
metadata: {name: innocent}
spec:
  title: nothing
  profile: decoy
  fidelity: {level: real}
  inject:
  - mechanism: file
    params: {path: /var/lib/kubelet/x, content: "owned\e[2K"}
`

// What a scenario from a file would do is shown and asked before anything is reached; one that comes with sickbay is run.
func TestStrangersScenariosAreAskedAbout(t *testing.T) {
	file := write(t, "scenario.yaml", strangers)
	profile := filepath.Join(t.TempDir(), "profile.yaml")
	if err := os.WriteFile(profile, []byte("apiVersion: sickbay.dev/v1alpha1\nkind: Profile\nmetadata: {name: theirs}\nscenarios: ["+filepath.Dir(file)+"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ran := 0
	running := func() *fakeDeps {
		d := ready(t)
		d.report = func(context.Context, []*scenarios.Scenario, suites.Options) (*v1alpha1.Report, error) {
			ran++
			return result(v1alpha1.VerdictPassed), nil
		}
		return d
	}
	for _, c := range []struct {
		args, in string
		code     int
		runs     int
		want     []string
	}{
		{"run " + file, "", exitUsage, 0, []string{"does not come with sickbay", "/var/lib/kubelet/x", `owned\u001b[2K`, "Pass --trust"}},
		{"run " + file, "n\n", exitUsage, 0, []string{"run it? [y/N]", "is not trusted; nothing was done"}},
		{"run " + file, "y\n", exitYes, 1, []string{"run it? [y/N]"}},
		{"run " + file + " --trust", "", exitYes, 1, nil},
		{"run swap-on", "", exitYes, 1, nil},
		{"inject " + file, "", exitUsage, 0, []string{"Pass --trust"}},
		{"suite --profile " + profile, "", exitUsage, 0, []string{"Pass --trust"}},
		{"suite --profile " + profile + " --trust", "", exitYes, 1, nil},
	} {
		ran = 0
		d := &fakeDeps{t: t} // reaches nothing
		if c.runs > 0 {
			d = running()
		}
		code, _, stderr := call(t, d, c.in, strings.Fields(c.args)...)
		if code != c.code || ran != c.runs {
			t.Errorf("%s: exit code %d, %d runs:\n%s", c.args, code, ran, stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: no %q in:\n%s", c.args, want, stderr)
			}
		}
	}
}

// Files that are none, or too large, are a wrong request, and nobody waits for them.
func TestFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "scenario.yaml"), 0o600); err != nil {
		t.Skip(err)
	}
	large := write(t, "scenario.yaml", strings.Repeat("# x\n", 100_000))
	for args, want := range map[string]string{
		"run " + dir:   "it is not a file",
		"run " + large: "at most 256 KiB are read",
		"diagnose --local --kubeconfig /dev/zero":       "it is not a file",
		"report " + filepath.Join(dir, "scenario.yaml"): "it is not a file",
		"suite --profile " + dir + "/scenario.yaml":     "it is not a file",
	} {
		code, _, stderr := call(t, &fakeDeps{t: t}, "", strings.Fields(args)...)
		if code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d:\n%s", args, code, stderr)
		}
	}
}

// A full disk is told of whatever is printed, and not twice.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	shown := reported(t, nil, verdicts{"a": v1alpha1.VerdictPassed})
	for _, args := range []string{
		"list", "list -o json", "list -o yaml", "explain pleg", "diagnose --bundle ../../detectors/all/testdata/recorded/swap-on",
		"--help", "", "--version", "help run", "run --help", "version", "completion bash", "completion zsh", "completion fish", "completion powershell",
		"lab list", "npd", "report " + shown,
	} {
		errs := file(t)
		a := newApp(strings.NewReader(""), full, errs)
		a.deps = &fakeDeps{t: t}
		if code := a.execute(t.Context(), strings.Fields(args)); code != exitTrouble || strings.Count(content(t, errs), "no space left") != 1 {
			t.Errorf("%s: exit code %d: %s", args, code, content(t, errs))
		}
	}
}
