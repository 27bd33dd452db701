package vm

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/internal/process"
)

func TestAlive(t *testing.T) {
	s := self(t)
	if !s.Alive() {
		t.Error("this process is taken for dead")
	}
	for name, change := range map[string]func(*state){
		"its number is another process's":     func(s *state) { s.Began++ },
		"the machine has been booted since":   func(s *state) { s.Boot = "other" },
		"nobody has its number":               func(s *state) { s.PID = 1 << 22 },
		"it was never written down, or wrong": func(s *state) { s.PID = 0 },
	} {
		s := self(t)
		change(&s)
		if s.Alive() {
			t.Errorf("%s, and it is taken for alive", name)
		}
	}
	// A process that has ended and that nobody has asked about is not alive.
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	for until := time.Now().Add(5 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if _, err := process.Of(cmd.Process.Pid); errors.Is(err, os.ErrProcessDone) {
			return
		}
	}
	t.Error("a zombie is taken for alive")
}

func TestStateFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := load(dir); !errors.Is(err, errNoGuest) {
		t.Errorf("without a file: %v", err)
	}
	want := self(t)
	want.Parts = []string{"base-1", "prepared-1"}
	if err := want.save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := load(dir)
	if err != nil || !got.Alive() || got.Port != want.Port || !got.Since.Equal(want.Since) || len(got.Parts) != 2 || got.Choice != want.Choice {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(dir); err == nil || !strings.Contains(err.Error(), "sickbay vm down") {
		t.Errorf("a damaged file: %v, want the way out", err)
	}
}

func TestStatus(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	look := func(state string) Status {
		t.Helper()
		s, err := Look(o)
		if err != nil || s.State != state {
			t.Fatalf("%+v, %v; want %s", s, err, state)
		}
		return s
	}
	s := look(Absent)
	if s.Cache.Parts == nil || s.Cache.Limit != DefaultLimit || s.Choice != nil {
		t.Errorf("%+v", s)
	}
	if _, err := Find(o); !errors.Is(err, errNoGuest) || !strings.Contains(err.Error(), "sickbay vm up") {
		t.Errorf("Find: %v, want the way out", err)
	}
	guest := filepath.Join(o.Dir, "guest")
	if err := os.MkdirAll(guest, 0o700); err != nil {
		t.Fatal(err)
	}
	look(Killed) // cut off before QEMU's process was written down
	st := self(t)
	if err := st.save(guest); err != nil {
		t.Fatal(err)
	}
	if s := look(Running); s.Port != st.Port || s.PID != st.PID || s.Choice == nil || *s.Choice != st.Choice {
		t.Errorf("%+v, want %+v", s, st)
	}
	st.Began++
	if err := st.save(guest); err != nil {
		t.Fatal(err)
	}
	if s := look(Killed); s.PID != 0 || s.Port != 0 || !strings.Contains(s.Problem, "is gone") {
		t.Errorf("%+v: what is gone has a process or a port", s)
	}
	// Down clears away what is left, and ends no process that is somebody else's.
	for range 2 {
		if err := Down(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		look(Absent)
	}
}

// Down ends the guest's process, and a QEMU of the guest's folder that was never written down.
func TestDownEndsProcesses(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir}
	guest := filepath.Join(dir, "guest")
	if err := os.MkdirAll(guest, 0o700); err != nil {
		t.Fatal(err)
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}
	begin := func(cmd *exec.Cmd) (id process.ID, ended chan error) {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended = make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		id, err := process.Of(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		return id, ended
	}
	one := exec.Command(sleep, "60")
	id, oneEnded := begin(one)
	// Its name and a file of the guest are what tells it. `sleep` takes no file, so a shell of that name waits.
	stray := exec.Command("/bin/sh", "-c", "read x", filepath.Join(guest, overlayFile))
	stray.Args[0] = "/usr/bin/" + qemu
	in, err := stray.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	_, strayEnded := begin(stray)

	s := self(t)
	s.ID = id
	if err := s.save(guest); err != nil {
		t.Fatal(err)
	}
	if err := Down(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for name, ended := range map[string]chan error{"the guest": oneEnded, "the stray": strayEnded} {
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Errorf("%s still runs", name)
		}
	}
	if _, err := os.Stat(guest); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}
