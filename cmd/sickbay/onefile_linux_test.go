package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// bin/sickbay, copied alone to an empty folder, diagnoses a bundle and has its agent with it, of its own version.
func TestOneFileIsEnough(t *testing.T) {
	built, err := os.ReadFile("../../bin/sickbay")
	if err != nil {
		t.Skip("`make build` first: ", err)
	}
	bundle, err := filepath.Abs(recorded + "conflist-missing")
	if err != nil {
		t.Fatal(err)
	}
	dir, home := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sickbay"), built, 0o755); err != nil {
		t.Fatal(err)
	}
	// Neither source tree nor agent is near: what is inside is all there is.
	run := func(program string, args ...string) ([]byte, int) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir, cmd.Env = dir, []string{"HOME=" + home, "PATH=/usr/bin:/bin"}
		out, err := cmd.Output()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return out, cmd.ProcessState.ExitCode()
	}
	if out, code := run("./sickbay", "diagnose", "--bundle", bundle); code != 1 {
		t.Errorf("diagnose --bundle ended with %d:\n%s", code, out)
	}
	run("./sickbay", "diagnose", "--local", "-q") // what it finds is this machine's affair
	agents, _ := filepath.Glob(home + "/.cache/sickbay/agents/*/*")
	if len(agents) != 1 {
		t.Fatalf("unpacked: %v", agents)
	}
	var command, agent struct{ Version string }
	for v, program := range map[*struct{ Version string }]string{&command: "./sickbay", &agent: agents[0]} {
		args := []string{"version"}
		if program == "./sickbay" {
			args = append(args, "-o", "json")
		}
		out, code := run(program, args...)
		if err := json.Unmarshal(out, v); err != nil || code != 0 {
			t.Fatalf("%s version: %d, %v\n%s", program, code, err, out)
		}
	}
	if command.Version == "" || agent.Version != command.Version {
		t.Errorf("the agent's version is %q, the command's %q", agent.Version, command.Version)
	}
}
