package lockfile

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLockIsTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "lock")
	unlock, err := Wait(t.Context(), path, "another")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*poll)
	defer cancel()
	if _, err := Wait(ctx, path, "another"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "held by process") {
		t.Errorf("taken twice: %v", err)
	}
	if !Held(path) {
		t.Error("it is not held")
	}
	unlock()
	if unlock, err = Wait(t.Context(), path, "another"); err != nil {
		t.Fatal(err)
	}
	unlock()
}

// Whoever else uses this machine meets the same lock, and cannot lead it elsewhere.
func TestLockOfTheMachine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sickbay")
	if _, err := At(dir); err != nil {
		t.Fatal(err)
	}
	m, err := At(dir)
	if err != nil {
		t.Fatal(err)
	}
	release, err := m.Take("host", "host")
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]os.FileMode{dir: os.ModeDir | os.ModeSticky | 0o777, m.File("host"): 0o666} {
		if st, err := os.Stat(file); err != nil || st.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", file, st.Mode(), err, want)
		}
	}
	held := (*HeldError)(nil)
	if _, err := m.Take("host", "host"); !errors.As(err, &held) || held.Holder.PID != os.Getpid() {
		t.Errorf("%v", err)
	}
	release()

	precious := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(precious, m.File("link")); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Take("link", "link"); err == nil {
		t.Error("a lock followed a link")
	}
	if raw, _ := os.ReadFile(precious); string(raw) != "x" {
		t.Errorf("what a link led to was overwritten: %q", raw)
	}
	if got := m.File("../../etc/x"); filepath.Dir(got) != dir {
		t.Errorf("a name led out: %s", got)
	}
	if err := os.Symlink(t.TempDir(), dir+"2"); err != nil {
		t.Fatal(err)
	}
	if _, err := At(dir + "2"); err == nil {
		t.Error("a link was taken for the folder")
	}
}

// A number alone is no holder: it may be another process's by now.
func TestElsewhereKnowsTheHolderByMore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "host.lock")
	parent := Self()
	parent.PID = os.Getppid()
	for name, change := range map[string]func(*Holder){
		"one that began at another time": func(h *Holder) { h.Began++ },
		"one of an earlier boot":         func(h *Holder) { h.Boot = "earlier" },
	} {
		h := parent
		change(&h)
		raw, _ := json.Marshal(h)
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, held := Elsewhere(file); held {
			t.Errorf("%s is taken for the holder", name)
		}
	}
}
