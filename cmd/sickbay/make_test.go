package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// make refuses what is missing or misspelled before it builds, and hands values on as one word each.
func TestMake(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"scenario"}, 2, "NAME is missing: make scenario NAME="},
		{[]string{"record"}, 2, "REPORT is missing: make record REPORT="},
		{[]string{"-n", "conformance", "profile=all"}, 2, "there is no variable profile"},
		{[]string{"-n", "scenario", "NAME=it's; touch x", "REPORT=my report"}, 0, `bin/sickbay run 'it'\''s; touch x' --report 'my report'`},
	} {
		cmd := exec.CommandContext(t.Context(), "make", c.args...)
		cmd.Dir, cmd.Env = "../..", []string{"PATH=" + os.Getenv("PATH")} // not what `make test-unit` was called with
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Skip(err)
		}
		if cmd.ProcessState.ExitCode() != c.code || !strings.Contains(string(out), c.want) || strings.Contains(string(out), "go build") && c.code != 0 {
			t.Errorf("make %v: exit code %d, want %d and %q\n%s", c.args, cmd.ProcessState.ExitCode(), c.code, c.want, out)
		}
	}
}
