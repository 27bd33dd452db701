package detectorstest

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
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

// notWrong is what remedies do on purpose: words of a command's output that have no blanks (SC2013), a && b || continue (SC2015), a
// loop over a list that is one file long this time (SC2043).
const notWrong = "SC2013,SC2015,SC2043"

// Scripts adds the scripts of remedies to a map, by what they are for. One of several alike is enough: they differ in what is quoted
// into them.
func Scripts(into map[string]string, found []v1alpha1.Finding) {
	for _, f := range found {
		if f.Remedy == nil {
			continue
		}
		for _, s := range f.Remedy.Steps {
			if len(s.Exec) == 3 && s.Exec[0] == "sh" {
				into[f.Failure+"/"+f.Cause+": "+s.Why] = s.Exec[2]
			}
		}
	}
}

// Shellcheck fails for every script, by name, in which shellcheck sees something; it is skipped where there is no shellcheck.
func Shellcheck(t *testing.T, scripts map[string]string) {
	t.Helper()
	if _, err := exec.LookPath("shellcheck"); err != nil {
		t.Skip("shellcheck is not installed: the scripts are not checked")
	}
	dir, names, files := t.TempDir(), slices.Sorted(maps.Keys(scripts)), []string{}
	for i, name := range names {
		file := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(file, []byte("#!/bin/sh -e\n"+scripts[name]+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	out, err := exec.CommandContext(t.Context(), "shellcheck", append([]string{"--format=json", "--exclude=" + notWrong}, files...)...).Output()
	var found []struct {
		File    string
		Line    int
		Code    int
		Message string
	}
	if jerr := json.Unmarshal(out, &found); jerr != nil {
		t.Fatalf("%v, %v: %s", err, jerr, out)
	}
	for _, f := range found {
		i, _ := strconv.Atoi(filepath.Base(f.File))
		line := strings.Split(scripts[names[i]], "\n")[max(0, f.Line-2)]
		t.Errorf("%s, line %d: SC%d %s\n\t%s", names[i], f.Line-1, f.Code, f.Message, line)
	}
}
