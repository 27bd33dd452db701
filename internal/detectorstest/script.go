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
	"github.com/sickbay-dev/sickbay/detectors"
)

// Script runs a remedy's command as a node would. systemctl answers with the text and does nothing: no test touches this machine's
// units.
func Script(t *testing.T, argv []string, systemctl string) (string, error) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("remedies run on Linux nodes")
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte("#!/bin/sh\n[ \"$1\" = show ] || exit 0\ncat <<'EOF'\n"+systemctl+"\nEOF\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Edit is what a step makes of a file's text. Made twice it is the same, and nothing but its copies is left beside the file; one that
// fails leaves it as it was. Refused is what it says then.
func Edit(t *testing.T, text, systemctl string, step func(file string) v1alpha1.Step) (got, refused string) {
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
	out, err := Script(t, step(file).Exec, systemctl)
	got = read()
	if err != nil {
		if refused = out; refused == "" {
			refused = err.Error()
		}
		if got != text {
			t.Errorf("it failed (%s) and changed the file all the same:\n%s", refused, got)
		}
	}
	forget := func() { // the copies that it keeps for its undo
		copies, _ := filepath.Glob(file + "*" + v1alpha1.Aside + "*")
		for _, f := range copies {
			_ = os.Remove(f)
		}
	}
	forget()
	if _, _ = Script(t, step(file).Exec, systemctl); read() != got {
		t.Errorf("the second time it makes of\n%s\nthis:\n%s", got, read())
	}
	forget()
	if left, _ := filepath.Glob(file + "?*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return got, refused
}

// Expanded is what a step runs with the words in their places, as a person reads it: it is no program.
func Expanded(s v1alpha1.Step) string {
	if len(s.Exec) < 5 || s.Exec[0] != "sh" {
		return s.Run
	}
	text, args := s.Exec[2], s.Exec[4:]
	var pairs []string
	said := ""
	put := func(name, value string) { pairs = append(pairs, `"$`+name+`"`, value, "$"+name, value) }
	if head, rest, ok := strings.Cut(text, "\n"); ok && strings.Contains(head, "=$1; ") {
		for set := range strings.SplitSeq(strings.TrimSuffix(head, head[strings.LastIndex(head, "; "):]), "; ") {
			name, _, _ := strings.Cut(set, "=")
			put(name, detectors.Quote(args[0]))
			said += name + "=" + detectors.Quote(args[0]) + "\n"
			args = args[1:]
		}
		text = rest
	}
	put("@", detectors.Quoted(args))
	for i, a := range args {
		put(strconv.Itoa(i+1), detectors.Quote(a))
	}
	return said + "on " + detectors.Quoted(args) + "\n" + strings.NewReplacer(pairs...).Replace(text)
}

// notWrong is what remedies do on purpose: words of a command's output that have no blanks (SC2013), a && b || continue (SC2015), a
// loop over a list that is one file long this time (SC2043).
const notWrong = "SC2013,SC2015,SC2043"

// Scripts adds the scripts of remedies to a map, by what they are for. One of several alike is enough: they
// differ in their arguments.
func Scripts(into map[string]string, found []v1alpha1.Finding) {
	for _, f := range found {
		if f.Remedy == nil {
			continue
		}
		for _, s := range f.Remedy.Steps {
			if len(s.Exec) > 2 && s.Exec[0] == "sh" {
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
