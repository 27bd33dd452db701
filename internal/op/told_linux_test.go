package op_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/internal/op"
)

// inside answers a process whose root the folder is: a thread of this one.
func inside(t *testing.T, root string) int {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: changes a thread's root")
	}
	tid, done := make(chan int), make(chan struct{})
	t.Cleanup(func() { close(done) })
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this function
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Chroot(root)
		}
		if err != nil {
			failed <- err
			return
		}
		tid <- unix.Gettid()
		<-done
	}()
	select {
	case err := <-failed:
		t.Fatal(err)
	case id := <-tid:
		return id
	}
	return 0
}

// What a program in a container has made of its files must not lead out of the container: the file would be written, and removed, on the node.
func TestToldStaysInside(t *testing.T) {
	root, node := t.TempDir(), t.TempDir()
	pid := inside(t, root)
	p, err := host.Process(pid)
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(root, "real/devices"), 0o755))
	mine := filepath.Join(node, "devices/errors")
	must(t, os.MkdirAll(filepath.Dir(mine), 0o755))
	run, env := filepath.Join(root, "run"), real(t)
	told := on(&op.Told{Program: "plugin", File: "/run/devices/errors", Data: "lamp\n", PID: pid, Start: p.Start})

	for name, link := range map[string]string{"absolute": node, "relative": "../../../../../../../../../../.." + node} {
		must(t, os.Symlink(link, run))
		if err := told.Do(t.Context(), env); err == nil {
			t.Errorf("%s: written by a link that leads out", name)
		}
		if _, err := os.Stat(mine); err == nil {
			t.Fatalf("%s: the node has the file", name)
		}
		must(t, os.WriteFile(mine, []byte("the node's own"), 0o600))
		if r, err := told.Pending(t.Context(), env); err != nil || !r.Nothing() {
			t.Errorf("%s: the node's file is taken for the program's: %+v, %v", name, r, err)
		}
		must(t, told.Undo(t.Context(), env))
		must(t, os.Remove(mine)) // it is still there
		must(t, os.Remove(run))
	}

	must(t, os.MkdirAll(filepath.Join(root, "run/devices"), 0o755))
	last := filepath.Join(root, "run/devices/errors")
	must(t, os.Symlink(mine, last))
	if err := told.Do(t.Context(), env); err == nil {
		t.Error("written by the file's own link")
	}
	must(t, os.RemoveAll(run))

	must(t, os.Symlink("/real", run)) // as the program sees it
	must(t, told.Do(t.Context(), env))
	if b, err := os.ReadFile(filepath.Join(root, "real/devices/errors")); err != nil || string(b) != "lamp\n" {
		t.Errorf("%q, %v", b, err)
	}
	if r, err := told.Pending(t.Context(), env); err != nil || r.Nothing() {
		t.Errorf("%+v, %v", r, err)
	}
	must(t, told.Undo(t.Context(), env))
	if r, err := told.Pending(t.Context(), env); err != nil || !r.Nothing() {
		t.Errorf("%+v, %v", r, err)
	}
}
