package engine

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// A value that neither the engine nor a kubelet sets is somebody else's.
func TestUndoSysctls(t *testing.T) {
	before := map[string]string{"net/ipv4/conf/all/accept_redirects": "1", "net/ipv4/ip_forward": "0", "kernel/panic": "0", "gone": "1", "same": "x",
		"vm/overcommit_memory": "0", "fs/inotify/max_user_instances": "128"}
	now := map[string]string{"net/ipv4/conf/all/accept_redirects": "0", "net/ipv4/ip_forward": "1", "kernel/panic": "10", "same": "x", "new": "1",
		"vm/overcommit_memory": "2", "fs/inotify/max_user_instances": "8192"} // these two are an administrator's, who came later
	want := []string{"net/ipv4/ip_forward", "kernel/panic", "net/ipv4/conf/all/accept_redirects"}
	if got := undoSysctls(before, now); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whoever reads containerd's configuration is not containerd.
func TestDownLeavesAnEditor(t *testing.T) {
	state, run := t.TempDir(), t.TempDir()
	file := filepath.Join(state, "containerd.toml")
	if err := os.WriteFile(file, []byte("version = 2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	editor := exec.Command("tail", "-f", file)
	if err := editor.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = editor.Process.Kill(); _ = editor.Wait() }()
	opts := Options{StateDir: state, RunDir: run, Timeouts: Timeouts{Stop: 2 * time.Second}}
	if own := ownProcesses(opts.withDefaults()); len(own) > 0 {
		t.Fatalf("taken for a daemon of sickbay's, and ended by `engine down`: %v", own)
	}
}
