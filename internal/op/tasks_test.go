package op

import (
	"fmt"
	"io/fs"
	"path"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// retiring is a node with two sandboxes; it writes down what is done to it.
type retiring struct {
	Sys
	did []string
}

func (r *retiring) do(what string) error { r.did = append(r.did, what); return nil }

func (*retiring) Processes() ([]Process, error) {
	shim := func(id string) []string { return []string{"/usr/local/bin/containerd-shim-runc-v2", "-id", id} }
	return []Process{{PID: 1}, {PID: 10, Command: shim("s1")}, {PID: 11}, {PID: 12}, {PID: 20, Command: shim("s2")}, {PID: 21}}, nil
}

func (*retiring) Mounts(int) ([]*Mount, error) {
	var out []*Mount
	for _, at := range []string{"/run/netns/cni-1", "/run/netns/cni-2", "/run/containerd/x/s1/rootfs", "/run/containerd/x/c1/rootfs", "/run/containerd/x/s2/rootfs", "/data/c1/x"} {
		out = append(out, &Mount{Mountpoint: at})
	}
	return out, nil
}

func (r *retiring) Signal(pid int, _ uint64, s Signal) error {
	return r.do(fmt.Sprintf("%s %d", s, pid))
}
func (r *retiring) Unmount(at string, lazy bool) error {
	return r.do(fmt.Sprintf("umount %s %t", at, lazy))
}
func (r *retiring) RemoveAll(p string) error    { return r.do("remove " + path.Base(p)) }
func (r *retiring) Remove(p string) error       { return r.do("remove " + p) }
func (*retiring) List(string) ([]string, error) { return nil, fs.ErrNotExist }
func (*retiring) Stat(string) (Stat, error)     { return Stat{}, fs.ErrNotExist }

// TestRetire: all of one sandbox goes, processes before what they use, and nothing of another.
func TestRetire(t *testing.T) {
	n := &retiring{}
	err := retire(n, "s1", []task{
		{id: "s1", sandbox: "s1", pid: 11, netns: "/var/run/netns/cni-1"}, {id: "c1", sandbox: "s1", pid: 12}, {id: "c0", sandbox: "s1"},
		{id: "s2", sandbox: "s2", pid: 21, netns: "/var/run/netns/cni-2"},
	})
	want := []string{
		"KILL 10", "KILL 11", "KILL 12", "umount /run/containerd/x/c1/rootfs true", "umount /run/containerd/x/s1/rootfs true", "umount /run/netns/cni-1 true",
		"remove s1", "remove s1", "remove c1", "remove c0", "remove /run/netns/cni-1", "remove /run/ipcns/cni-1", "remove /run/utsns/cni-1",
	}
	if diff := cmp.Diff(want, n.did); err != nil || diff != "" {
		t.Error(err, diff)
	}
}
