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

// A process that has its own root puts links where its mounts and files were: they lead nowhere out of it.
func TestLinksOfAContainer(t *testing.T) {
	jail, outside := filepath.Join(t.TempDir(), "jail"), t.TempDir()
	for _, dir := range []string{"real", "mnt"} {
		if err := os.MkdirAll(filepath.Join(jail, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{filepath.Join(jail, "real", "swap"), filepath.Join(outside, "swap")} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"out": outside, "up": "../../../../../../../../.." + outside, "in": "/real"} {
		if err := os.Symlink(to, filepath.Join(jail, link)); err != nil {
			t.Fatal(err)
		}
	}
	tid, end := make(chan int), make(chan struct{})
	defer close(end)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		for _, f := range []func() error{
			func() error { return syscall.Unshare(syscall.CLONE_NEWNS) },
			func() error { return syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "") },
			func() error { return syscall.Mount(jail, jail, "", syscall.MS_BIND, "") },
			func() error { return syscall.Chroot(jail) },
		} {
			if f() != nil {
				close(tid)
				return
			}
		}
		tid <- syscall.Gettid()
		<-end
	}()
	pid, ok := <-tid
	if !ok {
		t.Skip("no root of one's own")
	}
	for path, want := range map[string]bool{"/real/swap": true, "/out/swap": false, "/up/swap": false, "/in/swap": false} {
		if _, ok := below(pid, path, jail); ok != want {
			t.Errorf("%s: %v", path, ok)
		}
	}
	for path, want := range map[string]bool{"/mnt": true, "/out": false, "/up": false, "/in": false} {
		fd, _, err := openSeen(pid, path, syscall.O_RDONLY|syscall.O_DIRECTORY)
		if (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
		if err == nil {
			_ = syscall.Close(fd)
		}
	}
}
