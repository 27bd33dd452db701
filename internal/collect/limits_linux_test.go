package collect

import (
	"context"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
)

func TestLimits(t *testing.T) {
	files := map[string]string{
		"/proc/loadavg": "0.50 0.40 0.30 2/31000 777\n", "/proc/sys/kernel/pid_max": "32768\n", "/proc/sys/kernel/threads-max": "90000\n",
		"/proc/sys/net/netfilter/nf_conntrack_count": "65500\n", "/proc/sys/net/netfilter/nf_conntrack_max": "65536\n", "/proc/sys/fs/file-nr": "5000\t0\t9223372036854775807\n",
		"/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n", "/proc/sys/fs/inotify/max_user_instances": "128\n", "/proc/sys/fs/inotify/max_user_watches": "8192\n",
		"/proc/net/tcp":     "  sl  local_address rem_address   st\n   0: 0100007F:8001 0A00000A:01BB 01 x\n   1: 0100007F:8002 0A00000A:01BB 06 x\n   2: 0100007F:8003 0B00000A:01BB 01 x\n   3: 00000000:8004 00000000:0000 0A x\n   4: 0100007F:0016 0A00000A:01BB 01 x\n",
		"/proc/7/status":    "Name:\tx\nUid:\t0\t0\t0\t0\n",
		"/proc/7/stat":      stat("7", "x", "S", "0", "1"),
		"/proc/7/fd/":       "",
		"/proc/7/fdinfo/3":  "pos:\t0\ninotify wd:1 ino:1\ninotify wd:2 ino:2\n",
		"/proc/8/status":    "Name:\ty\nUid:\t1000\t1000\n",
		"/proc/8/stat":      stat("8", "y", "S", "0", "1"),
		"/proc/8/fd/":       "",
		"/sys/fs/cgroup/a":  "",
		"/proc/self/mounts": "",
		"/sys/fs/cgroup/system.slice/pids.current": "90\n", "/sys/fs/cgroup/system.slice/pids.max": "100\n",
		"/sys/fs/cgroup/user.slice/pids.max": "max\n",
	}
	r := tree(t, files)
	must(t, os.Symlink("anon_inode:inotify", r.path("/proc/7/fd/3")))
	must(t, os.Symlink("anon_inode:inotify", r.path("/proc/8/fd/3")))
	l := at(t, r)
	l.table = unifiedMount
	l.obs.Processes = []v1alpha1.Process{{PID: 300, Name: "kubelet", OpenFiles: 90, MaxFiles: 1024}}
	want := []v1alpha1.Limit{
		{Name: "pids", Of: "node", Used: 31000, Max: 32768}, {Name: "pids", Of: "system.slice", Used: 90, Max: 100},
		{Name: "conntrack", Of: "node", Used: 65500, Max: 65536}, {Name: "open-files", Of: "kubelet 300", Used: 90, Max: 1024},
		{Name: "ephemeral-ports", Of: "10.0.0.10:443", Used: 2, Max: 28232},
		{Name: "inotify-instances", Of: "uid 0", Used: 1, Max: 128}, {Name: "inotify-watches", Of: "uid 0", Used: 2, Max: 8192},
	}
	if got := read(t, l, l.limits).Limits; !slices.Equal(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

// Namespaces are counted where the limit is near enough to be met, also the one that allows none; a network namespace may be mounted and
// have no process.
func TestNamespaces(t *testing.T) {
	files := map[string]string{
		"/proc/sys/user/max_user_namespaces": "0\n", "/proc/sys/user/max_net_namespaces": "3\n", "/proc/sys/user/max_mnt_namespaces": "2\n", "/proc/sys/user/max_pid_namespaces": "15000\n",
		"/proc/self/mountinfo": "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:4 net:[7] /run/netns/cni-1 rw - nsfs nsfs rw\n3 1 0:4 net:[8] /run/netns/cni-2 rw - nsfs nsfs rw\n",
	}
	for pid := range 4 {
		files["/proc/"+strconv.Itoa(pid+1)+"/stat"] = stat(strconv.Itoa(pid+1), "x", "S", "0", "1")
		files["/proc/"+strconv.Itoa(pid+1)+"/ns/"] = ""
	}
	r := tree(t, files)
	for link, to := range map[string]string{"1/ns/net": "net:[1]", "2/ns/net": "net:[7]", "3/ns/net": "net:[9]", "1/ns/user": "user:[1]", "2/ns/user": "user:[1]", "1/ns/mnt": "mnt:[1]", "2/ns/mnt": "mnt:[2]", "3/ns/mnt": "mnt:[2]", "1/ns/pid": "pid:[1]"} {
		must(t, os.Symlink(to, r.path("/proc/"+link)))
	}
	l := at(t, r)
	l.table = readMounts(r)
	got, err := l.namespaces(t.Context())
	must(t, err)
	want := []v1alpha1.Limit{{Name: "user-namespaces", Of: "node", Max: 0}, {Name: "net-namespaces", Of: "node", Used: 3, Max: 3}, {Name: "mnt-namespaces", Of: "node", Used: 1, Max: 2}}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

// conmon is no process of its container: CRI-O puts it into a scope of the same ID, by default outside of the pods' cgroups.
func TestConmonIsNotTheContainer(t *testing.T) {
	id := strings.Repeat("ab", 32)
	for path, want := range map[string]bool{
		"/system.slice/crio-conmon-" + id + ".scope": false, "/machine.slice/libpod-conmon-" + id + ".scope": false,
		"/kubepods.slice/kubepods-pod1.slice/crio-" + id + ".scope": true, "/kubepods.slice/kubepods-pod1.slice/crio-" + id + ".scope/container": true,
	} {
		if _, _, _, ok := container(path); ok != want {
			t.Errorf("%s: %v", path, ok)
		}
	}
	// A container is outside of the pods' cgroups only when all of it is.
	r := tree(t, map[string]string{"/proc/5/cgroup": "0::/system.slice/cri-" + id + ".scope\n", "/proc/6/cgroup": "0::/kubepods.slice/cri-" + id + ".scope\n"})
	out, in := procInfo{pid: 5, threads: 2}, procInfo{pid: 6, threads: 3}
	if u := at(t, r).usage(id, v1alpha1.Container{}, out, []procInfo{out, in}, hierarchies{}); !u.UnderKubepods || u.Threads != 5 {
		t.Errorf("%+v", u)
	}
	if u := at(t, r).usage(id, v1alpha1.Container{}, out, []procInfo{out}, hierarchies{}); u.UnderKubepods {
		t.Errorf("%+v", u)
	}
}

// The kernel stamps its log by a clock that nobody slews.
func TestKernelStart(t *testing.T) {
	var raw unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_MONOTONIC_RAW, &raw))
	if d := time.Since(kernelStart()) - time.Duration(raw.Nano()); d.Abs() > time.Second {
		t.Errorf("off by %s", d)
	}
}

// auditd keeps the kernel from printing its records: journald or auditd's file has them.
func TestAudit(t *testing.T) {
	now := time.Now()
	record := func(at time.Time, text string) string {
		return "type=AVC msg=audit(" + unixMilli(at) + ":9): " + text + "\n"
	}
	files := map[string]string{auditLog: record(now.Add(-time.Hour), "avc:  denied  { read } old") + record(now.Add(-time.Minute), "avc:  denied  { read } for comm=\"x\"") + record(now, "avc:  granted  { read }")}
	l := at(t, tree(t, files))
	if got := read(t, l, l.audit).Kmsg; len(got) != 1 || got[0].Source != "audit" || !strings.Contains(got[0].Text, `comm="x"`) || now.Sub(got[0].At) > 2*time.Minute {
		t.Errorf("%+v", got)
	}
	journal := func(_ context.Context, read func(io.Reader) error, argv ...string) error {
		if argv[len(argv)-1] != "_TRANSPORT=audit" {
			t.Errorf("asked %q", argv)
		}
		return read(strings.NewReader(`{"__CURSOR":"c","__REALTIME_TIMESTAMP":"1700000000000000","MESSAGE":"AVC apparmor=\"DENIED\" operation=\"open\""}` + "\n"))
	}
	l = newLook(protocol.ObserveOptions{}, tree(t, files), journal)
	if got := read(t, l, l.audit).Kmsg; len(got) != 1 || !strings.HasPrefix(got[0].Text, "AVC apparmor") {
		t.Errorf("%+v", got)
	}
}

func unixMilli(at time.Time) string {
	s := time.Duration(at.UnixMilli())
	return strings.Join([]string{strconv.FormatInt(int64(s)/1000, 10), strconv.FormatInt(int64(s)%1000+1000, 10)[1:]}, ".")
}

// A node on which everything waits gets more time, one that does not none, and a caller's own bounds are kept.
func TestStretched(t *testing.T) {
	base := protocol.ObserveOptions{}.WithDefaults()
	for name, c := range map[string]struct {
		files map[string]string
		more  bool
	}{
		"idle":           {map[string]string{"/proc/pressure/cpu": "some avg10=0.00 avg60=0 avg300=0 total=0\n", "/proc/loadavg": "0.1 0 0 1/2 3"}, false},
		"tasks wait":     {map[string]string{"/proc/pressure/cpu": "some avg10=80.00 avg60=0 avg300=0 total=0\n"}, true},
		"disks wait":     {map[string]string{"/proc/pressure/io": "some avg10=60.00 avg60=0 avg300=0 total=0\n"}, true},
		"load, no PSI":   {map[string]string{"/proc/loadavg": "40 0 0 1/2 3", "/sys/devices/system/cpu/online": "0-3\n"}, true},
		"nothing to see": {nil, false},
	} {
		got := stretched(tree(t, c.files), protocol.ObserveOptions{})
		if (got.Overall > base.Overall) != c.more || (got.PerSource > base.PerSource) != c.more || got.Overall > base.Overall*3/2 {
			t.Errorf("%s: %s, %s", name, got.Overall, got.PerSource)
		}
		if got := stretched(tree(t, c.files), short); got.Overall != short.Overall {
			t.Errorf("%s: a caller's bound became %s", name, got.Overall)
		}
	}
}
