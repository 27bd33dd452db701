package oci

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBecomesRunc starts this test binary under the runtime's name, which it recognises, with a runc that shows what it got.
func TestBecomesRunc(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	runc := "#!/bin/sh\necho \"runc $*\"\ncat \"$4\"/config.json\nexit 7\n"
	if err := os.WriteFile(filepath.Join(dir, "runc"), []byte(runc), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "config.json", "broken")
	log := filepath.Join(dir, "log")
	cmd := &exec.Cmd{Path: self, Args: []string{"/somewhere/" + Name, "--log=" + log, "create", "--bundle", dir, "id"},
		Env: append(os.Environ(), "PATH="+dir+":/bin:/usr/bin")}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !asExit(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("runc's exit status is lost: %v", err)
	}
	if want := "runc --log=" + log + " create --bundle " + dir + " id\nbroken"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
	if len(exit.Stderr) > 0 {
		t.Errorf("the container's output would contain: %s", exit.Stderr)
	}
	status, _ := os.ReadFile("/proc/self/status")
	if have, _ := ParseStatus(string(status), "CapBnd"); len(have.Missing()) > 0 && !strings.Contains(read(t, log), `"level":"warning"`) {
		t.Errorf("no warning in runc's log")
	}
}

func asExit(err error, into **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*into = e
	return ok
}
