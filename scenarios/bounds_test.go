package scenarios

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Whatever somebody sends is refused with its place, and soon.
func TestHostileScenarios(t *testing.T) {
	field := func(v string) string {
		return "apiVersion: sickbay.dev/v1alpha1\nkind: Scenario\nmetadata: {name: x}\nspec:\n  title: " + v + "\n"
	}
	for name, c := range map[string]struct{ text, want string }{
		"deep brackets": {field(strings.Repeat("[", 20000) + strings.Repeat("]", 20000)), ":5:1: it is nested more than 64 levels deep"},
		"deep mappings": {field(strings.Repeat("{a: ", 20000)), "levels deep"},
		"deep dashes":   {strings.Repeat("- ", 20000) + "x", "levels deep"},
		"a list":        {"- apiVersion: x\n- kind: y\n", "must be a mapping of fields, not a list"},
		"empty":         {"", "the file is empty"},
		"large":         {strings.Repeat("# comment\n", 100_000), "at most 256 KiB are read"},
		"no text":       {"\x00\xff\xfe{", ""},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, FileName)
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(file)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.300v", name, err)
		}
		if err != nil && name == "a list" && strings.Count(err.Error(), FileName) != 1 {
			t.Errorf("one mistake is told more than once: %v", err)
		}
	}
	pipe := filepath.Join(t.TempDir(), FileName)
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := Load(pipe); err == nil || !strings.Contains(err.Error(), "not a file") { // and it does not wait
		t.Errorf("a pipe: %v", err)
	}
}

// foreign is a scenario of somebody else's.
func foreign(t *testing.T, workload string) (*Scenario, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{FileName: `apiVersion: sickbay.dev/v1alpha1
kind: Scenario
metadata: {name: innocent}
spec:
  title: nothing
  profile: decoy
  fidelity: {level: real}
  workload: workload.yaml
  inject:
  - mechanism: file
    params: {path: /var/lib/kubelet/99-x.conf, content: "[Service]\nExecStartPre=/bin/sh -c 'echo owned'\n", restart: kubelet.service}
`, "workload.yaml": workload} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(dir)
}

func TestEffects(t *testing.T) {
	s, err := foreign(t, `apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  nodeName: "{{.Node}}"
  hostPID: true
  containers:
  - {name: c, image: evil:1, command: [sh, -c, rm], securityContext: {privileged: true}}
  volumes:
  - {name: h, hostPath: {path: /}}
`)
	if err != nil {
		t.Fatal(err)
	}
	effects, err := s.Effects()
	said := strings.Join(effects, "\n")
	for _, want := range []string{"99-x.conf", "ExecStartPre", "kubelet.service", "Pod app, image evil:1", `"sh -c rm"`, "privileged", "the node's /", "the node's processes"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s (%v)", want, said, err)
		}
	}
	if !s.Foreign() {
		t.Error("a file of somebody's counts as sickbay's own")
	}
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range all {
		if own.Foreign() {
			t.Errorf("%s counts as somebody's", own.Metadata.Name)
		}
		if _, err := own.Effects(); err != nil {
			t.Errorf("%s: %v", own.Metadata.Name, err)
		}
	}
	for text, want := range map[string]string{"not: [a manifest": "is no manifest", "": "holds no object"} {
		if _, err := foreign(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("workload %q: %v", text, err)
		}
	}
}

// A byte order mark is what editors on Windows begin a file with.
func TestByteOrderMark(t *testing.T) {
	raw, err := embedded.ReadFile("swap-on/" + FileName)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(append([]byte("\ufeff"), raw...), "x.yaml"); err != nil {
		t.Error(err)
	}
}

func FuzzScenario(f *testing.F) {
	for _, name := range []string{"swap-on", "pleg-disk", "conflist-missing"} {
		raw, err := embedded.ReadFile(name + "/" + FileName)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	for _, text := range []string{"", "- a", "a: &a [*a]", "spec: {inject: [{mechanism: file, params: {path: [}}]}", "\ufeff---\n...", "a: !!binary x", "<<: *x", "? [a]: b"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 16<<10 {
			t.Skip("the bound of a file is the reader's")
		}
		if s, err := Parse(raw, "x.yaml"); err == nil && s.Metadata.Name == "" {
			t.Error("a scenario without a name is accepted")
		}
	})
}
