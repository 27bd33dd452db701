package blockdev

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/moby/sys/mountinfo"
)

// A file is ours when it is kept below our folder, whatever the process that uses it calls it.
func TestBelow(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "volumes", "v", "swap")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/etc/hostname", link); err != nil {
		t.Fatal(err)
	}
	pid := os.Getpid()
	for _, tt := range []struct {
		path, dir string
		want      bool
	}{
		{file, dir, true}, {file, other, false}, {file, filepath.Join(dir, "vol"), false}, {filepath.Dir(file), dir, false},
		{link, dir, false}, {"/dev/null", "/dev", false}, {"/nowhere", "/", false},
	} {
		if _, ok := below(pid, tt.path, tt.dir); ok != tt.want {
			t.Errorf("%s below %s: %v", tt.path, tt.dir, ok)
		}
	}
	(Swap{Path: file, Kind: "partition"}).OffBelow(dir, []int{pid}) // and nothing happens
}

func TestPlace(t *testing.T) {
	mounts := []*mountinfo.Info{
		{Mountpoint: "/", Root: "/", Major: 8, Minor: 1},
		{Mountpoint: "/var", Root: "/engine/volumes/v/_data", Major: 8, Minor: 2},
		{Mountpoint: "/var", Root: "/later", Major: 8, Minor: 3},
	}
	for path, want := range map[string]string{"/swap": "8:1:/swap", "/var/lib/x": "8:3:/later/lib/x", "/various": "8:1:/various", "/var": "8:3:/later"} {
		if got := place(mounts, path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if got := place(nil, "/x"); got != "" {
		t.Errorf("without mounts: %s", got)
	}
}

// The same file, bound to another place in a mount namespace of its own, as a volume is in a container.
func TestBelowInAnotherNamespace(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "swap"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	at := t.TempDir()
	runtime.LockOSThread() // and never unlocked: the thread ends with the test, and its mounts with it
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		t.Skipf("no mount namespace of one's own: %v", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Skip(err)
	}
	if err := syscall.Mount(dir, at, "", syscall.MS_BIND, ""); err != nil {
		t.Skip(err)
	}
	defer func() { _ = syscall.Unmount(at, syscall.MNT_DETACH) }()
	if _, ok := below(syscall.Gettid(), filepath.Join(at, "swap"), dir); !ok {
		t.Error("a bound file is not recognised")
	}
}
