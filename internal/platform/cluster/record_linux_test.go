package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// TestAFullDiskIsNoHalfRecord: a run whose record cannot be written does not begin, and leaves nothing. The disk is a real one, a few
// pages of memory mounted where only this test's thread sees it.
func TestAFullDiskIsNoHalfRecord(t *testing.T) {
	c := ourCluster(t)
	runtime.LockOSThread() // and never unlocked: the thread ends with the test, and its mounts with it
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		t.Skipf("no mount namespace of one's own: %v", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Skip(err)
	}
	dir, err := runsDir("c")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Skip(err)
	}
	defer func() { _ = syscall.Unmount(dir, 0) }()
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 16<<10), 0o600); err != nil {
		t.Logf("the filler ended with %v", err)
	}
	_, err = c.Begin(Record{Run: "r-1", Node: "c-worker", Lease: time.Minute})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("on a full disk a run began: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left beside the filler: %v, %v", left, err)
	}
	if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
		t.Fatal(err)
	}
	h, err := c.Begin(Record{Run: "r-1", Node: "c-worker", Lease: time.Minute})
	if err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if err := h.End(); err != nil {
		t.Fatal(err)
	}
}
