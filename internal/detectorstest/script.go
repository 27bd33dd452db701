package detectorstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Script runs a remedy's script as a node would. systemctl answers with the text and does nothing: no test touches this machine's
// units.
func Script(t *testing.T, script, systemctl string) (string, error) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("remedies run on Linux nodes")
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte("#!/bin/sh\n[ \"$1\" = show ] || exit 0\ncat <<'EOF'\n"+systemctl+"\nEOF\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Edit is what a script makes of a file's text. Made twice it is the same, and nothing is left beside the file; a script that
// fails leaves it as it was. Refused is what it says then.
func Edit(t *testing.T, text, systemctl string, script func(file string) string) (got, refused string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func() string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	out, err := Script(t, script(file), systemctl)
	got = read()
	if err != nil {
		if refused = out; refused == "" {
			refused = err.Error()
		}
		if got != text {
			t.Errorf("it failed (%s) and changed the file all the same:\n%s", refused, got)
		}
	}
	if _, _ = Script(t, script(file), systemctl); read() != got {
		t.Errorf("the second time it makes of\n%s\nthis:\n%s", got, read())
	}
	if left, _ := filepath.Glob(file + "?*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return got, refused
}
