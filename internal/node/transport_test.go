package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/sickbay-dev/sickbay/internal/node/nodetest"
)

// TestMain lets the test binary be the fake engine's client.
func TestMain(m *testing.M) {
	if state := os.Getenv("SICKBAY_FAKE_ENGINE"); state != "" {
		os.Exit(fakeEngine(state, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// fakeEngine behaves as docker 20.10 and 28 do: exec runs the words, in a session of its own as runc does; a container that
// does not run is refused with exit code 1, and the client's own death does not end what it started.
func fakeEngine(state string, args []string) int {
	switch args[0] {
	case "container":
		switch state {
		case "gone":
			fmt.Fprintln(os.Stderr, "Error: No such container: "+args[len(args)-1])
			return 1
		case "down":
			fmt.Fprintln(os.Stderr, "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?")
			return 1
		}
		fmt.Println(state)
		return 0
	case "exec":
		args = args[1:]
		for strings.HasPrefix(args[0], "-") {
			args = args[1:]
		}
		switch state {
		case "gone":
			fmt.Fprintln(os.Stderr, "Error: No such container: "+args[0])
			return 1
		case "paused":
			fmt.Fprintln(os.Stderr, "Error response from daemon: Container "+args[0]+" is paused, unpause the container before exec")
			return 1
		case "exited":
			fmt.Fprintln(os.Stderr, "Error response from daemon: Container "+args[0]+" is not running")
			return 1
		case "down":
			fmt.Fprintln(os.Stderr, "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?")
			return 1
		}
		c := exec.Command("setsid", append([]string{"-w"}, args[1:]...)...)
		c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
		err := c.Run()
		if state == "lost" {
			fmt.Fprintln(os.Stderr, "error during connect: Get http://docker/exec/1/json: EOF")
			return 1
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode()
		}
		return 0
	}
	return 125
}

type fake struct{ state string }

func (f fake) Command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, os.Args[0], args...)
	// The race detector lets every process sleep a second at its end.
	c.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "SICKBAY_FAKE_ENGINE="+f.state)
	return c
}

// nodes are the transports that can be run in a test; the behaviour asked of them is the same.
func nodes(t *testing.T) map[string]Node {
	t.Helper()
	all := map[string]Node{"container": Container(fake{"running"}, "n1"), "local": Local("n1")}
	if _, err := exec.LookPath("ssh"); err == nil {
		nodetest.SSH(t)
		all["ssh"] = SSH("n1", "root@"+nodetest.Host, false)
	}
	return all
}

func TestRunGivesOutputAndExitCode(t *testing.T) {
	for name, n := range nodes(t) {
		t.Run(name, func(t *testing.T) {
			var live bytes.Buffer
			out, err := n.Run(t.Context(), Command{Argv: []string{"sh", "-c", "cat; echo one >&2; echo two >&2; exit 7"}, Stdin: strings.NewReader("in"), Stderr: &live})
			if string(out) != "in" {
				t.Errorf("stdout = %q, want the standard input", out)
			}
			var exit *ExitError
			if !errors.As(err, &exit) || exit.Code != 7 || exit.Node != "n1" || exit.Output != "one\ntwo" {
				t.Errorf("err = %#v, want ExitError 7 with the last lines", err)
			}
			if live.String() != "one\ntwo\n" {
				t.Errorf("live error stream = %q: the announcement must not be in it, the rest must", live.String())
			}
		})
	}
}

func TestRunKeepsWordsApart(t *testing.T) {
	for name, n := range nodes(t) {
		t.Run(name, func(t *testing.T) {
			out, err := n.Run(t.Context(), Argv("printf", "%s|", "a b", "$HOME", "it's", ""))
			if err != nil || string(out) != "a b|$HOME|it's||" {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}

func TestRunCommandNotFoundIsAnExit(t *testing.T) {
	for name, n := range nodes(t) {
		t.Run(name, func(t *testing.T) {
			_, err := n.Run(t.Context(), Argv("/no/such/program"))
			var exit *ExitError
			if !errors.As(err, &exit) || exit.Code != 127 && exit.Code != 126 {
				t.Errorf("err = %v, want ExitError 127", err)
			}
		})
	}
}

// A cancelled Run must end what runs on the node: the command, and what it started.
func TestRunCancelledEndsTheProcessOnTheNode(t *testing.T) {
	for name, n := range nodes(t) {
		t.Run(name, func(t *testing.T) {
			pids := filepath.Join(t.TempDir(), "pids")
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				_, err := n.Run(ctx, Command{Argv: []string{"sh", "-c", `sleep 300 & echo $! $$ >"$0.tmp"; mv "$0.tmp" "$0"; wait`, pids}})
				ended <- err
			}()
			var child, parent int
			eventually(t, func() bool {
				b, err := os.ReadFile(pids)
				if err != nil {
					return false
				}
				_, err = fmt.Sscan(string(b), &child, &parent)
				return err == nil
			})
			cancel()
			select {
			case err := <-ended:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("err = %v, want context.Canceled", err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("Run did not return after its context ended")
			}
			eventually(t, func() bool { return gone(child) && gone(parent) })
		})
	}
}

func TestEndGroupSparesAReusedNumber(t *testing.T) {
	c := exec.Command("sleep", "300")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	pid := fmt.Sprint(c.Process.Pid)
	if out, err := exec.Command("sh", "-c", endGroup, "sh", pid, pid, "1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if gone(c.Process.Pid) {
		t.Error("a process with another start time was killed")
	}
}

func TestUnreachedSaysWhy(t *testing.T) {
	for state, want := range map[string]string{
		"gone":   "no such container",
		"paused": "paused",
		"exited": "exited",
		"down":   "engine does not answer",
	} {
		t.Run(state, func(t *testing.T) {
			_, err := Container(fake{state}, "n1").Run(t.Context(), Argv("true"))
			var u *UnreachedError
			if !errors.As(err, &u) || !strings.Contains(u.Reason, want) || u.Node != "n1" || strings.Contains(u.Way, "`docker ") {
				t.Errorf("err = %v, want an UnreachedError about %q", err, want)
			}
			var exit *ExitError
			if errors.As(err, &exit) {
				t.Error("an unreached node looks like a command that failed")
			}
		})
	}
	if _, err := Container(fake{"lost"}, "n1").Run(t.Context(), Argv("true")); !errors.As(err, new(*UnreachedError)) {
		t.Errorf("err = %v, want an UnreachedError for an engine lost half-way", err)
	}
}

// An ssh that reaches nothing, is refused, or is cut off half-way is a node that was not reached, never a command that failed.
func TestSSHUnreached(t *testing.T) {
	unreached := func(err error, words ...string) {
		t.Helper()
		var u *UnreachedError
		if !errors.As(err, &u) || errors.As(err, new(*ExitError)) {
			t.Errorf("err = %v, want an UnreachedError", err)
			return
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("err = %v, want something of %q", err, w)
			}
		}
	}
	s := nodetest.SSH(t)
	n := SSH("n1", "root@"+nodetest.Host, false)
	pids := filepath.Join(t.TempDir(), "pid")
	ended := make(chan error, 1)
	go func() {
		_, err := n.Run(t.Context(), Argv("sh", "-c", `echo $$ >"$0.tmp"; mv "$0.tmp" "$0"; echo half >&2; sleep 300`, pids))
		ended <- err
	}()
	var pid int
	eventually(t, func() bool {
		b, err := os.ReadFile(pids)
		if err == nil {
			_, err = fmt.Sscan(string(b), &pid)
		}
		return err == nil
	})
	s.Drop()
	select {
	case err := <-ended:
		unreached(err, "the connection broke while", "n1")
	case <-time.After(10 * time.Second):
		t.Error("Run did not return when the connection was cut")
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)

	_, err := SSH("n1", "root@no-such-host.invalid", false).Run(t.Context(), Argv("true"))
	unreached(err, "ssh to root@no-such-host.invalid ran nothing there", "try `ssh root@no-such-host.invalid true`")
	s.Close()
	_, err = n.Run(t.Context(), Argv("true"))
	unreached(err, "Connection refused")
}

func TestSSHSudo(t *testing.T) {
	s := nodetest.SSH(t)
	_, _ = SSH("n1", nodetest.Host, true).Run(t.Context(), Argv("id", "-u"))
	if lines := s.Lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], "sudo -n -- sh ") {
		t.Errorf("ran %q", lines)
	}
}

func TestPut(t *testing.T) {
	for name, n := range nodes(t) {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "a", "b c", "file")
			for _, content := range []string{"first\n", strings.Repeat("x\x00y", 1<<20)} {
				if err := n.Put(t.Context(), file, 0o750, strings.NewReader(content)); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(file)
				if err != nil || string(got) != content {
					t.Fatalf("read %d bytes, %v; want %d", len(got), err, len(content))
				}
			}
			if st, _ := os.Stat(file); st.Mode() != 0o750 {
				t.Errorf("mode %v, want 0750", st.Mode())
			}
			if all, _ := os.ReadDir(filepath.Dir(file)); len(all) != 1 {
				t.Errorf("left %v beside the file", all)
			}
		})
	}
}

func TestPutCancelledLeavesTheOldFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Local("n1").Put(ctx, file, 0o600, strings.NewReader("new")); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	if got, _ := os.ReadFile(file); string(got) != "old" {
		t.Errorf("file is %q", got)
	}
	if err := Local("n1").Put(t.Context(), "/proc/sickbay/file", 0o600, strings.NewReader("new")); !errors.As(err, new(*ExitError)) {
		t.Errorf("err = %v, want ExitError", err)
	}
}

func TestArch(t *testing.T) {
	if a, err := Local("n1").Arch(t.Context()); err != nil || a == "" {
		t.Errorf("%q, %v", a, err)
	}
}

func TestQuote(t *testing.T) {
	out, err := exec.Command("sh", "-c", shellescape.QuoteCommand([]string{"printf", "%s|", "a b", "$HOME `id`", "it's", "\n"})).Output()
	if err != nil || string(out) != "a b|$HOME `id`|it's|\n|" {
		t.Errorf("%q, %v", out, err)
	}
}

func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(b, []byte(") Z "))
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("did not become true within 10 s")
}
