package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func packed(t *testing.T, text string) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll([]byte(text), nil)
}

func TestUnpack(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	one := packed(t, "#!/bin/sh\necho one\n")
	first, err := unpack(one, "agent")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(first).Output(); err != nil || string(out) != "one\n" {
		t.Errorf("%q, %v", out, err)
	}
	was, _ := os.Stat(first)
	again, err := unpack(one, "agent")
	if now, _ := os.Stat(again); err != nil || again != first || !os.SameFile(was, now) {
		t.Errorf("unpacked twice: %s and %s, %v", first, again, err)
	}
	if other, err := unpack(packed(t, "two"), "agent"); err != nil || other == first {
		t.Errorf("other content has the same file %s, %v", other, err)
	}
	if path, err := unpack(one[:len(one)/2], "agent"); err == nil {
		t.Errorf("half an agent was unpacked to %s", path)
	} else if left, _ := os.ReadDir(os.Getenv("XDG_CACHE_HOME") + "/sickbay/agents"); len(left) != 3 {
		t.Errorf("%d folders, not 3", len(left))
	}
}

// TestNoSourceOfAnyParent: a folder above the working directory that looks like the project's source is not built and run.
func TestNoSourceOfAnyParent(t *testing.T) {
	root := t.TempDir()
	for file, text := range map[string]string{
		"go.mod": "module github.com/sickbay-dev/sickbay\n", "cmd/sickbay-agent/main.go": "package main\n\nfunc main() {}\n", "x/y": "",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(root, "x"))
	t.Setenv(BinaryEnv, "")
	if p, err := Binary("amd64"); err == nil && strings.HasPrefix(p, root) {
		t.Errorf("taken: %s", p)
	}
	if _, err := os.Stat(filepath.Join(root, "bin")); err == nil {
		t.Error("it was built")
	}
}

// TestCacheOfOthers: an agent that another user could have put into the cache is not run.
func TestCacheOfOthers(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	one := packed(t, "one")
	path, err := unpack(one, "agent")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("another"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	if path, err = unpack(one, "agent"); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); string(b) != "one" {
		t.Errorf("it would run %q", b)
	}
	for mode, want := range map[os.FileMode]bool{0o700: true, 0o777: false} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if got := mine(filepath.Join(dir, "not", "there")); got != want {
			t.Errorf("mode %o: %t", mode, got)
		}
	}
}
