package collect

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
)

// childRoot names the tree that the test binary looks at when it is started as the looking child.
const childRoot = "SICKBAY_TEST_LOOK_ROOT"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == VerbLook {
		var o protocol.ObserveOptions
		if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
			panic(err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(newLook(o, root(os.Getenv(childRoot)), noCommands).run(context.Background())); err != nil {
			panic(err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// alone runs the test again in a mount namespace of its own, so that no mount of it is seen outside. There it answers false, and
// the test goes on.
func alone(t *testing.T) bool {
	t.Helper()
	const mark = "SICKBAY_TEST_NAMESPACE"
	if os.Getenv(mark) != "" {
		return false
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case strings.Contains(string(out), "--- SKIP: "+t.Name()):
		t.Skipf("%s", out)
	case err != nil && len(out) == 0:
		t.Skipf("needs a mount namespace: %v", err)
	case err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	return true
}

// dead mounts a filesystem that answers nothing, ever, until the test ends: every call on it waits in the kernel, as on a disk
// that is gone. It is FUSE, whose server here never takes up its work.
func dead(t *testing.T, dir string) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("needs FUSE: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) }) // the kernel answers ENOTCONN to all who wait
	if err := unix.Mount("sickbay-test", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		t.Skipf("needs FUSE: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// slack is for a machine that is busy with other things.
const slack = 500 * time.Millisecond

func whyUnknown(o *v1alpha1.Observation, what string) string {
	var out []string
	for _, u := range o.Unknown {
		if u.What == what {
			out = append(out, u.Why)
		}
	}
	return strings.Join(out, "; ")
}

// short bounds are still longer than settingsWait: what depends on a runtime that hangs is read after that.
var short = protocol.ObserveOptions{Node: "worker", PerSource: settingsWait + 500*time.Millisecond, Overall: settingsWait + time.Second}

// TestLookEndsWhateverHangs: programs that ignore their end, and a runtime that takes the call and says nothing.
func TestLookEndsWhateverHangs(t *testing.T) {
	dir, err := os.MkdirTemp("", "s") // a socket's path may have 108 characters
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for p, content := range map[string]string{kubeletConfigFile: "maxPods: 7\n", "/etc/cni/net.d/10-x.conflist": conflist(ptp), "/run/containerd/x": ""} {
		must(t, os.MkdirAll(filepath.Dir(dir+p), 0o755))
		must(t, os.WriteFile(dir+p, []byte(content), 0o600))
	}
	l, err := net.Listen("unix", dir+"/run/containerd/containerd.sock")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	forever := make(chan struct{})
	t.Cleanup(func() { close(forever) })
	hang := func(context.Context, func(io.Reader) error, ...string) error { <-forever; return nil }

	began := time.Now()
	o := newLook(short, root(dir), hang).run(t.Context())
	if took := time.Since(began); took > short.Overall+slack {
		t.Errorf("the look took %s", took)
	}
	for what, why := range map[string]string{
		v1alpha1.SourceUnits:   "systemctl show",
		v1alpha1.SourceJournal: "gave no answer within",
		v1alpha1.SourceStatus:  "Status over unix:///run/containerd/containerd.sock",
	} {
		if got := whyUnknown(o, what); !strings.Contains(got, why) || !strings.Contains(got, "no answer within ") {
			t.Errorf("%s is unknown because %q, want %q and for how long it was waited", what, got, why)
		}
	}
	if o.Kubelet.Config.MaxPods != 7 || len(o.CNI.Configs) != 1 {
		t.Errorf("what answers was not read: %+v, %+v", o.Kubelet.Config, o.CNI)
	}
	for _, u := range o.Unknown {
		if u.Why == "" {
			t.Errorf("%s is unknown without a reason", u.What)
		}
	}
}

// TestLookOnADeadFilesystem: everything of the kubelet's lies on a disk that is gone. Each source waits for it alone.
func TestLookOnADeadFilesystem(t *testing.T) {
	if alone(t) {
		return
	}
	r := tree(t, map[string]string{
		"/var/lib/kubelet/": "", "/var/lib/containerd/": "", "/etc/cni/net.d/10-x.conflist": conflist(ptp), "/proc/swaps": "Filename Type Size Used Priority\n",
		"/proc/self/mountinfo": "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:99 / /var/lib/kubelet rw - fuse x rw\n",
	})
	dead(t, r.path("/var/lib/kubelet"))
	began := time.Now()
	o := newLook(short, r, noCommands).run(t.Context())
	took := time.Since(began)
	if took > short.Overall+slack {
		t.Errorf("the look took %s", took)
	}
	for what, why := range map[string]string{
		v1alpha1.SourceKubeletFile: "reading /var/lib/kubelet/config.yaml gave no answer within ",
		v1alpha1.SourceFilesystems: "reading /var/lib/kubelet gave no answer within ",
		v1alpha1.SourceCerts:       "reading /var/lib/kubelet/pki/kubelet-client-current.pem gave no answer within ",
		v1alpha1.SourceSecurity:    "listing /var/lib/kubelet/seccomp gave no answer within ",
		v1alpha1.SourceSockets:     "listing /var/lib/kubelet/device-plugins gave no answer within ",
		v1alpha1.SourceFiles:       "gave no answer within ",
	} {
		if got := whyUnknown(o, what); !strings.Contains(got, why) {
			t.Errorf("%s is unknown because %q, want %q", what, got, why)
		}
	}
	for _, what := range []string{v1alpha1.SourceSwaps, v1alpha1.SourceProcesses, v1alpha1.SourceCNI, v1alpha1.SourceRuntimeFile} {
		if got := whyUnknown(o, what); got != "" {
			t.Errorf("%s does not lie there and is unknown all the same: %s", what, got)
		}
	}
	if i := slices.IndexFunc(o.Filesystems, func(f v1alpha1.Filesystem) bool { return f.Path == "/var/lib/containerd" }); i < 0 {
		t.Errorf("one dead filesystem hides the others: %+v", o.Filesystems)
	}
	if len(o.CNI.Configs) != 1 {
		t.Errorf("%+v", o.CNI)
	}
	t.Logf("%d unknown after %s", len(o.Unknown), took)

	// From outside: the child may hang for ever, its observation is there in time.
	t.Setenv(childRoot, string(r))
	began = time.Now()
	b, err := Supervise(t.Context(), os.Args[0], short)
	if took := time.Since(began); err != nil || took > short.Overall+grace+slack {
		t.Fatalf("%v after %s", err, took)
	}
	var again v1alpha1.Observation
	must(t, json.Unmarshal(b, &again))
	if whyUnknown(&again, v1alpha1.SourceKubeletFile) == "" || len(again.CNI.Configs) != 1 {
		t.Errorf("%+v", again.Unknown)
	}
}

// TestSuperviseLeavesNoDead: an agent that stays looks a thousand times.
func TestSuperviseLeavesNoDead(t *testing.T) {
	child := filepath.Join(t.TempDir(), "look")
	must(t, os.WriteFile(child, []byte("#!/bin/sh\necho '{}'\n"), 0o755))
	for range 3 {
		if b, err := Supervise(t.Context(), child, short); err != nil || string(b) != "{}" {
			t.Fatal(string(b), err)
		}
	}
	dead := func() (n int) {
		stats, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, f := range stats {
			b, _ := os.ReadFile(f)
			_, rest, _ := strings.Cut(string(b), "(look) ")
			if w := strings.Fields(rest); len(w) > 1 && w[0] == "Z" && w[1] == strconv.Itoa(os.Getpid()) {
				n++
			}
		}
		return n
	}
	for end := time.Now().Add(5 * time.Second); dead() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d dead children", dead())
		}
	}
}

const (
	fiFreeze = 0xC0045877 // FIFREEZE of include/uapi/linux/fs.h
	fiThaw   = 0xC0045878
)

// TestLookAtAFrozenFilesystem: a real ext4 is frozen under a writer. The look ends in time, says so, and reads on.
func TestLookAtAFrozenFilesystem(t *testing.T) {
	if alone(t) {
		return
	}
	dir := t.TempDir()
	image, disk := dir+"/image", dir+"/disk"
	must(t, os.Mkdir(disk, 0o755))
	f, err := os.Create(image)
	must(t, err)
	must(t, f.Truncate(16<<20))
	must(t, f.Close())
	for _, argv := range [][]string{{"mkfs.ext4", "-q", "-F", image}, {"mount", "-o", "loop", image, disk}} {
		if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Skipf("needs a loop filesystem: %v: %v: %s", argv, err, out)
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	fd, err := unix.Open(disk, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	must(t, unix.IoctlSetInt(fd, fiFreeze, 0))
	thaw := func() { _ = unix.IoctlSetInt(fd, fiThaw, 0) }
	t.Cleanup(thaw)

	look := func() (*v1alpha1.Observation, time.Duration) {
		o := short
		o.PerSource, o.Overall = time.Second, 2*time.Second
		l := newLook(o, "/", noCommands)
		set := defaultSettings()
		set.root = disk
		l.setSettings(set, true)
		began := time.Now()
		return l.run(t.Context()), time.Since(began)
	}
	imagefs := func(o *v1alpha1.Observation) v1alpha1.Filesystem {
		for _, f := range o.Filesystems {
			if f.Path == disk {
				return f
			}
		}
		t.Fatalf("%s is not among %+v; unknown: %+v", disk, o.Filesystems, o.Unknown)
		return v1alpha1.Filesystem{}
	}
	if o, _ := look(); imagefs(o).Frozen {
		t.Error("nobody writes: that it is frozen cannot be seen, and must not be said")
	}
	writer := exec.CommandContext(t.Context(), "mkdir", disk+"/x")
	must(t, writer.Start())
	t.Cleanup(func() { thaw(); _ = writer.Wait() })
	var o *v1alpha1.Observation
	var took time.Duration
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if o, took = look(); imagefs(o).Frozen {
			break
		}
	}
	if !imagefs(o).Frozen {
		t.Errorf("a writer waits for the thaw, and it is not seen: %+v", o.Processes)
	}
	if took > 2*time.Second+slack {
		t.Errorf("the look took %s", took)
	}
	if i := slices.IndexFunc(o.Processes, func(p v1alpha1.Process) bool { return p.PID == writer.Process.Pid }); i < 0 ||
		len(o.Processes[i].BlockedD) != 1 || o.Processes[i].BlockedD[0].Path != disk+"/x" {
		t.Errorf("the writer and what it waits for: %+v", o.Processes)
	}
	t.Logf("a look at a frozen filesystem took %s", took)
	thaw()
	must(t, writer.Wait())
	if o, _ := look(); imagefs(o).Frozen {
		t.Error("thawed, and still said to be frozen")
	}
}
