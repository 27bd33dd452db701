package agent

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/node/nodetest"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// As main does: agents get the time that this machine needs, which may be busy with other tests.
func init() { timeoutscale.MeasureWhenAsked() }

// build makes the agent of the source as it stands.
func build(t *testing.T) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "sickbay-agent")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, "../../cmd/sickbay-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv(BinaryEnv, bin)
}

// lasting is what two looks at the same machine have in common.
func lasting(o *v1alpha1.Observation) any {
	type seen struct {
		Host                            v1alpha1.Host
		Mounts, Filesystems, Unreadable []string
	}
	s := seen{Host: o.Host}
	s.Host.UptimeSeconds, s.Host.LoadAverage1, s.Host.PSI = 0, 0, v1alpha1.PSI{}
	for _, m := range o.Mounts {
		s.Mounts = append(s.Mounts, m.Target)
	}
	for _, f := range o.Filesystems {
		s.Filesystems = append(s.Filesystems, f.Path)
	}
	for _, u := range o.Unknown {
		s.Unreadable = append(s.Unreadable, u.What)
	}
	slices.Sort(s.Unreadable)
	return s
}

// asNobody has the server run what it is asked not as root, and not in root's place on this machine either, but in the home it returns.
func asNobody(t *testing.T, server *nodetest.Server) string {
	t.Helper()
	home := t.TempDir()
	if os.Getuid() != 0 {
		t.Setenv("HOME", home)
		return home
	}
	const uid, gid = 65534, 65534
	for _, dir := range []string{home, filepath.Dir(home)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(home, uid, gid); err != nil {
		t.Fatal(err)
	}
	server.RunAs(uid, gid, home)
	return home
}

// However a node is reached, it is the same agent that looks, and sees the same. Without root it is put where it may be, and says
// what it could not see.
func TestTransportsSeeTheSame(t *testing.T) {
	build(t)
	server := nodetest.SSH(t)
	observe := func(n node.Node) (*Client, *v1alpha1.Observation) {
		t.Helper()
		c, err := Install(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		o, err := c.Observe(t.Context(), protocol.ObserveOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return c, o
	}
	here, local := observe(node.Local("n1"))
	if want := os.Getenv(BinaryEnv); here.Path() != want {
		t.Errorf("on this machine the agent was copied to %s", here.Path())
	}
	home := asNobody(t, server)
	n := node.SSH("n1", "user@"+nodetest.Host, false)
	there, remote := observe(n)
	if !strings.HasPrefix(there.Path(), filepath.Join(home, ".cache", "sickbay")) {
		t.Errorf("without root the agent went to %s", there.Path())
	}
	if again, err := Install(t.Context(), n); err != nil || again.Path() != there.Path() {
		t.Errorf("the second time: %v, %v", again, err)
	}
	if !remote.Host.Unprivileged || len(remote.Unknown) == 0 || remote.Node != "n1" {
		t.Errorf("without root: unprivileged %v, unknown %v", remote.Host.Unprivileged, remote.Unknown)
	}
	if os.Getuid() != 0 {
		if diff := cmp.Diff(lasting(local), lasting(remote)); diff != "" {
			t.Error(diff)
		}
		return
	}
	// As root over ssh: the agent's own place on a node is not this machine's to fill, so the local one is called there.
	server.RunAs(0, 0, home)
	// The machine is in use: what mounts and unmounts between two looks is no difference of the way.
	diff := ""
	for range 3 {
		o, err := (&Client{node: n, path: here.Path()}).Observe(t.Context(), protocol.ObserveOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if diff = cmp.Diff(lasting(local), lasting(o)); diff == "" {
			return
		}
		_, local = observe(node.Local("n1"))
	}
	t.Error(diff)
}

// TestLeave: the agent is gone with what it runs, unless the node has something to take back; who looks again has it again.
func TestLeave(t *testing.T) {
	build(t)
	home := asNobody(t, nodetest.SSH(t))
	c, err := Install(t.Context(), node.SSH("n1", "user@"+nodetest.Host, false))
	if err != nil {
		t.Fatal(err)
	}
	look := func() {
		t.Helper()
		if _, err := c.Observe(t.Context(), protocol.ObserveOptions{MaxLines: 1}); err != nil {
			t.Fatal(err)
		}
	}
	look()
	look()
	if len(staying(c.path)) != 1 {
		t.Fatal("none stays")
	}
	if err := c.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(home, ".cache", "sickbay")); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
	for end := time.Now().Add(5 * time.Second); len(staying(c.path)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it still runs")
		}
	}
	look()

	// What the script keeps.
	for _, busy := range []string{"mark", "switch"} {
		dir := t.TempDir()
		file := filepath.Join(dir, "agent")
		for _, f := range []string{file, filepath.Join(dir, busy)} {
			if err := os.WriteFile(f, nil, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := exec.Command("sh", "-c", leave, "sh", file, filepath.Join(dir, "mark"), filepath.Join(dir, "switch")).CombinedOutput(); err != nil || !isFile(file) {
			t.Errorf("%s: %v %s", busy, err, out)
		}
	}
}

// TestGuest: an agent that comes with its looks leaves no file, neither while it runs nor after it, and the next look works as the first.
func TestGuest(t *testing.T) {
	build(t)
	home := asNobody(t, nodetest.SSH(t))
	c, err := Guest(t.Context(), node.SSH("n1", "user@"+nodetest.Host, false))
	if err != nil {
		t.Fatal(err)
	}
	c.machines = "of another kind" // which the node says, and then gets its own
	for range 3 {
		if o, err := c.Observe(t.Context(), protocol.ObserveOptions{MaxLines: 1}); err != nil || o.Node != "n1" {
			t.Fatal(err)
		}
		left, _ := filepath.Glob("/dev/shm/agent-guest.*")
		if _, err := os.Stat(filepath.Join(home, ".cache", "sickbay")); len(left) > 0 || !os.IsNotExist(err) {
			t.Errorf("left behind: %v %v", left, err)
		}
	}
	if !c.stay.stays() {
		t.Error("none stays")
	}
	if err := c.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Observe(t.Context(), protocol.ObserveOptions{MaxLines: 1}); err != nil {
		t.Errorf("after leaving: %v", err)
	}
}

// TestGuestCutShort: a client that dies half-way leaves nothing, and what it sent is not run.
func TestGuestCutShort(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	machine, err := exec.Command("uname", "-m").Output()
	if err != nil {
		t.Skip(err)
	}
	program := append([]byte("#!/bin/sh\necho ran $1\nexit\n"), make([]byte, block)...)[:block]
	for want, blocks := range map[string]int{"ran it\n": 1, "": 2} {
		c := exec.Command("sh", "-c", guest, "sh", filepath.Join(t.TempDir(), "sickbay"), strings.TrimSpace(string(machine)), strconv.Itoa(blocks), "it")
		c.Stdin = bytes.NewReader(program)
		out, _ := c.Output()
		if string(out) != want || want == "" && c.ProcessState.ExitCode() != 98 {
			t.Errorf("of %d blocks: %q, %v", blocks, out, c.ProcessState)
		}
		if left, _ := filepath.Glob("/dev/shm/agent-guest.*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// TestGuestKilled: the file that is being copied has no name, so that nothing stays of it when all that copies is killed.
func TestGuestKilled(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	machine, err := exec.Command("uname", "-m").Output()
	if err != nil {
		t.Skip(err)
	}
	before, _ := filepath.Glob("/dev/shm/agent-guest.*")
	c := exec.Command("sh", "-c", guest, "sh", filepath.Join(t.TempDir(), "sickbay"), strings.TrimSpace(string(machine)), "9", "it")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	// More than the pipe holds: when this is taken, some of it is in the file.
	if _, err := in.Write(make([]byte, 3*block)); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(-c.Process.Pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	_ = c.Wait() // by the signal
	if left, _ := filepath.Glob("/dev/shm/agent-guest.*"); len(left) > len(before) {
		for _, f := range left {
			_ = os.Remove(f)
		}
		t.Errorf("left behind: %v", left)
	}
}

// TestInstallByContent: an agent of the right name and size that is another program is not run.
func TestInstallByContent(t *testing.T) {
	dir := t.TempDir()
	b := []byte("#!/bin/sh\necho ours\n")
	key := fmt.Sprintf("%x", sha256.Sum256(b))
	file := filepath.Join(dir, "agent-x")
	where := func() string {
		out, err := exec.Command("sh", "-c", whereTo, "sh", dir, "agent-x", strconv.Itoa(len(b)), key).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	t.Setenv("XDG_CACHE_HOME", filepath.Dir(dir))
	if os.Getuid() != 0 {
		t.Skip("another user's folder is elsewhere")
	}
	for text, want := range map[string]string{string(b): "there " + file, strings.Replace(string(b), "ours", "evil", 1): file} {
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		if got := where(); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// TestEnter: the agent becomes a command of another mount namespace, and is run there by its descriptor.
func TestEnter(t *testing.T) {
	build(t)
	dir := t.TempDir()
	there := exec.Command("unshare", "-m", "sh", "-c", `mount -t tmpfs none "$0" && touch "$0/inside" && echo up && exec sleep 60`, dir)
	out, err := there.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := there.Start(); err != nil {
		t.Skip("no namespace can be made: ", err)
	}
	defer func() { _ = there.Process.Kill(); _ = there.Wait() }()
	if _, err := out.Read(make([]byte, 2)); err != nil {
		t.Skip("no mount namespace can be made here")
	}
	agent, err := os.Open(os.Getenv(BinaryEnv))
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	c := exec.Command(agent.Name(), protocol.VerbEnter, strconv.Itoa(there.Process.Pid), "sh", "-c", `ls "$0" && /proc/self/fd/3 version && echo "$HOME"`, dir)
	c.Env = []string{"HOME=/elsewhere"}
	c.ExtraFiles = []*os.File{agent}
	if said, err := c.CombinedOutput(); err != nil || !strings.HasPrefix(string(said), "inside\n{") || !strings.HasSuffix(string(said), "\n/root\n") {
		t.Errorf("%v: %s", err, said)
	}
	if said, err := exec.Command(agent.Name(), protocol.VerbEnter, "1073741824", "true").CombinedOutput(); err == nil || !strings.Contains(string(said), "hostPID") {
		t.Errorf("%v: %s", err, said)
	}
}
