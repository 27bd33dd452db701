package nodeimage

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func write(t *testing.T, dir, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestHashTree(t *testing.T) {
	change := map[string]struct {
		do   func(t *testing.T, dir string)
		same bool
	}{
		"nothing":             {func(*testing.T, string) {}, true},
		"a test":              {func(t *testing.T, dir string) { write(t, dir, "x/a_test.go", "package x", 0o644) }, true},
		"contents":            {func(t *testing.T, dir string) { write(t, dir, "x/a.go", "package y", 0o644) }, false},
		"a name":              {func(t *testing.T, dir string) { write(t, dir, "x/b.go", "", 0o644) }, false},
		"the executable bit":  {func(t *testing.T, dir string) { write(t, dir, "x/a.go", "package x", 0o755) }, false},
		"the time of a file":  {func(t *testing.T, dir string) { _ = os.Chtimes(filepath.Join(dir, "x/a.go"), time.Time{}, epoch) }, true},
		"a file that is gone": {func(t *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, "x/a.go")) }, false},
	}
	for name, c := range change {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "x/a.go", "package x", 0o644)
			write(t, dir, "go.sum", "sum", 0o644)
			before, err := hashTree(dir)
			if err != nil {
				t.Fatal(err)
			}
			c.do(t, dir)
			after, err := hashTree(dir)
			if err != nil {
				t.Fatal(err)
			}
			if (before == after) != c.same {
				t.Errorf("key stayed the same: %v, want %v", before == after, c.same)
			}
		})
	}
}

// A module's key must change with what it is built from, and only with that: another pinned version is none of it.
func TestHashSources(t *testing.T) {
	module := func(t *testing.T) string {
		dir := t.TempDir()
		write(t, dir, "main.go", "package main", 0o644)
		write(t, dir, "go.mod", "module m", 0o644)
		write(t, dir, "go.sum", "default", 0o644)
		write(t, dir, "versions/v1.36.3.mod", "module m // 1.36", 0o644)
		write(t, dir, "versions/v1.36.3.sum", "older", 0o644)
		return dir
	}
	key := func(t *testing.T, dir, modfile string) string {
		t.Helper()
		k, err := hashSources(dir, modfile)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	const older = "versions/v1.36.3.mod"
	for _, c := range []struct {
		file                         string
		changesDefault, changesOlder bool
	}{
		{"main.go", true, true}, {"go.mod", true, false}, {"go.sum", true, false},
		{"versions/v1.36.3.mod", false, true}, {"versions/v1.36.3.sum", false, true}, {"versions/v1.35.4.sum", false, false},
	} {
		t.Run(c.file, func(t *testing.T) {
			dir := module(t)
			d, o := key(t, dir, ""), key(t, dir, older)
			write(t, dir, c.file, "changed", 0o644)
			if got := key(t, dir, "") != d; got != c.changesDefault {
				t.Errorf("the default's key changed: %v, want %v", got, c.changesDefault)
			}
			if got := key(t, dir, older) != o; got != c.changesOlder {
				t.Errorf("the older version's key changed: %v, want %v", got, c.changesOlder)
			}
		})
	}
	if _, err := hashSources(module(t), "versions/v9.9.9.mod"); err == nil {
		t.Error("a version that is not pinned has a key")
	}
}
