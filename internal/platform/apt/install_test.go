package apt

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/internal/command"
	"github.com/sickbay-dev/sickbay/internal/progress"
)

// fakeApt puts a program named apt-get in front of PATH and returns the file it writes its calls to.
func fakeApt(t *testing.T, script string) (calls string) {
	t.Helper()
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	script = "#!/bin/sh\necho \"$DEBIAN_FRONTEND $*\" >>" + calls + "\ntest -e " + filepath.Join(dir, "policy-rc.d") + " && echo services forbidden >>" + calls + "\n" + script
	if err := os.WriteFile(filepath.Join(dir, "apt-get"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	old, held := policy, inUse
	policy, inUse = filepath.Join(dir, "policy-rc.d"), filepath.Join(dir, "lock")
	t.Cleanup(func() { policy, inUse = old, held })
	return calls
}

func TestInstall(t *testing.T) {
	calls := fakeApt(t, "exit 0\n")
	if err := Install(t.Context(), progress.Discard.Start("", 0), "iptables"); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(calls)
	want := "noninteractive -q -o DPkg::Lock::Timeout=120 update\nservices forbidden\n" +
		"noninteractive -q -o DPkg::Lock::Timeout=120 install -y --no-install-recommends iptables\nservices forbidden\n"
	if string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if _, err := os.Stat(policy); !os.IsNotExist(err) {
		t.Error("the policy against services stays")
	}
}

func TestInstallFails(t *testing.T) {
	fakeApt(t, `case "$*" in *update) echo "E: cannot resolve archive.example" >&2; exit 100;; *) echo "E: no package docker.io" >&2; exit 100;; esac`)
	err := Install(t.Context(), progress.Discard.Start("", 0), "docker.io")
	var failed *command.Error
	if !errors.As(err, &failed) {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"apt-get", "install -y --no-install-recommends docker.io", "no package docker.io", "cannot resolve archive.example"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not say %q: %v", want, err)
		}
	}
	if _, err := os.Stat(policy); !os.IsNotExist(err) {
		t.Error("the policy against services stays")
	}
}

// Stale lists are not a reason to fail when the package can be had.
func TestInstallWithoutUpdate(t *testing.T) {
	fakeApt(t, `case "$*" in *update) exit 100;; esac`)
	if err := Install(t.Context(), progress.Discard.Start("", 0), "iptables"); err != nil {
		t.Fatal(err)
	}
}

func TestPolicyOfOthersStays(t *testing.T) {
	fakeApt(t, "exit 0\n")
	if err := os.WriteFile(policy, []byte("theirs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Install(t.Context(), progress.Discard.Start("", 0), "iptables"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(policy); err != nil || string(got) != "theirs" {
		t.Errorf("%q, %v", got, err)
	}
}

// One of sickbay's own that stayed, because sickbay was killed while it installed: services start again after the next installation.
func TestPolicyOfAKilledInstallationGoes(t *testing.T) {
	fakeApt(t, "exit 0\n")
	if _, err := forbidServices(t.Context()); err != nil || Left() != policy {
		t.Fatal(Left(), err)
	}
	if err := os.Remove(inUse); err != nil { // as the kernel drops the lock of a process that was killed
		t.Fatal(err)
	}
	if err := Install(t.Context(), progress.Discard.Start("", 0), "iptables"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(policy); !os.IsNotExist(err) || Left() != "" {
		t.Error("the policy against services stays")
	}
}
