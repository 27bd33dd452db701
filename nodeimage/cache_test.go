package nodeimage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestHashKeepsFieldsApart(t *testing.T) {
	if hash("ab", "c") == hash("a", "bc") || hash("a") == hash("a", "") {
		t.Error("two different lists of fields have one hash")
	}
	if first, second := hash("a", "b"), hash("a", "b"); first != second {
		t.Error("one list of fields has two hashes")
	}
}

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

func TestEnsureMakesOnce(t *testing.T) {
	c := &cache{dir: t.TempDir()}
	made := 0
	p := &part{name: "x", key: hash("x"), make: func(_ context.Context, dir string) error {
		made++
		return os.WriteFile(filepath.Join(dir, "f"), []byte("done"), 0o644)
	}}
	for range 3 {
		if err := c.ensure(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if made != 1 {
		t.Errorf("made %d times, want once", made)
	}
	if data, err := os.ReadFile(filepath.Join(c.path(p), "f")); err != nil || string(data) != "done" {
		t.Errorf("the part holds %q, %v", data, err)
	}
	if c.times()["x"] < 0 || len(c.times()) != 1 {
		t.Errorf("times are %v, want one of x", c.times())
	}
	q := &part{name: "x", key: hash("y"), make: p.make}
	if err := c.ensure(t.Context(), q); err != nil || made != 2 {
		t.Errorf("another key: %v, made %d times, want 2", err, made)
	}
}

// A build that fails or is cut off leaves nothing that a later one takes for a part, and the later one succeeds.
func TestEnsureResumes(t *testing.T) {
	boom := errors.New("boom")
	for _, name := range []string{"fails", "is interrupted"} {
		t.Run(name, func(t *testing.T) {
			c := &cache{dir: t.TempDir()}
			ctx, cancel := context.WithCancel(t.Context())
			p := &part{name: "x", key: hash("x"), make: func(_ context.Context, dir string) error {
				if err := os.WriteFile(filepath.Join(dir, "half"), nil, 0o644); err != nil {
					return err
				}
				if name == "fails" {
					return boom
				}
				cancel()
				return nil
			}}
			err := c.ensure(ctx, p)
			if want := map[string]error{"fails": boom, "is interrupted": context.Canceled}[name]; !errors.Is(err, want) {
				t.Fatalf("ensure: %v, want %v", err, want)
			}
			left, err := os.ReadDir(filepath.Join(c.dir, "parts"))
			if err != nil || len(left) != 0 {
				t.Fatalf("left behind: %v, %v", left, err)
			}
			if len(c.times()) != 0 {
				t.Errorf("a part that was not made has a time: %v", c.times())
			}
			p.make = func(context.Context, string) error { return nil }
			if err := c.ensure(t.Context(), p); err != nil || !c.has(p) {
				t.Errorf("afterwards: %v, in the cache: %v", err, c.has(p))
			}
		})
	}
}

func TestEnsureLosesRaceGracefully(t *testing.T) {
	c := &cache{dir: t.TempDir()}
	p := &part{name: "x", key: hash("x")}
	p.make = func(context.Context, string) error { // another process finishes meanwhile
		write(t, c.path(p), "theirs", "", 0o644)
		return nil
	}
	if err := c.ensure(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	left, _ := os.ReadDir(filepath.Join(c.dir, "parts"))
	if len(left) != 1 {
		t.Errorf("parts: %v, want theirs alone", left)
	}
}

func TestExpected(t *testing.T) {
	c := &cache{dir: t.TempDir()}
	if got := c.expected("kubernetes"); got != usual["kubernetes"] || got == 0 {
		t.Errorf("before any build: %v", got)
	}
	write(t, c.dir, "times.json", `{"kubernetes": 5000000000}`, 0o644)
	if got := c.expected("kubernetes"); got != 5*time.Second {
		t.Errorf("after one: %v, want 5s", got)
	}
	write(t, c.dir, "times.json", `{"kuber`, 0o644)
	if got := c.expected("kubernetes"); got != usual["kubernetes"] {
		t.Errorf("with a damaged file: %v", got)
	}
}

func TestLockKeepsSecondBuildOut(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lockDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lockDir(ctx, dir); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second lock: %v, want a deadline that names the folder", err)
	}
	unlock()
	again, err := lockDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	again()
}
