package vdso

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	roleVar = "SICKBAY_TEST_ROLE"
	byVar   = "SICKBAY_TEST_BY"
	pidVar  = "SICKBAY_TEST_PID"
)

func init() {
	if os.Getenv(roleVar) == "exec" {
		runtime.LockOSThread()
	}
}

// TestMain also is the process that executes, its attendant, and the program that says what it reads.
func TestMain(m *testing.M) {
	by, _ := time.ParseDuration(os.Getenv(byVar))
	switch os.Getenv(roleVar) {
	case "":
		os.Exit(m.Run())
	case "exec":
		attendant := exec.Command("/proc/self/exe")
		attendant.Env = append(os.Environ(), roleVar+"=attend", pidVar+"="+strconv.Itoa(os.Getpid()))
		attendant.Stderr = os.Stderr
		_ = os.Setenv(roleVar, "tell")
		fmt.Fprintln(os.Stderr, Exec(attendant, []string{os.Args[0]}))
	case "attend":
		pid, _ := strconv.Atoi(os.Getenv(pidVar))
		if err := Attend(pid, by, os.NewFile(3, "ready")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			if errors.Is(err, ErrUnsupported) || errors.Is(err, os.ErrPermission) {
				fmt.Fprintln(os.Stderr, "skip")
			}
		}
	case "tell":
		began := time.Now()
		measured, ours, err := Offset(os.Getpid())
		time.Sleep(50 * time.Millisecond)
		children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
		fmt.Println(began.Unix(), time.Since(began).Milliseconds(), measured, ours, err, len(strings.Fields(string(children))))
	}
	os.Exit(0)
}

func TestExec(t *testing.T) {
	for _, by := range []time.Duration{10 * 365 * 24 * time.Hour, -3 * time.Hour} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), roleVar+"=exec", byVar+"="+by.String())
		var said strings.Builder
		cmd.Stderr = &said
		began := time.Now()
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err, said.String())
		}
		if strings.Contains(said.String(), "skip") {
			t.Skip(said.String())
		}
		t.Logf("%s: started, asked and ended in %s: %s%s", by, time.Since(began), out, said.String())
		f := strings.Fields(string(out))
		if len(f) != 6 {
			t.Fatalf("%q", out)
		}
		unix, _ := strconv.ParseInt(f[0], 10, 64)
		if d := time.Until(time.Unix(unix, 0)) - by; d.Abs() > 5*time.Second {
			t.Errorf("moved by %s, the first it reads is %s beside that", by, d)
		}
		if since, _ := strconv.Atoi(f[1]); since < 50 || since > 60_000 {
			t.Errorf("monotonic time moved, too: %s ms for a sleep of 50", f[1])
		}
		if f[2] != by.String() || f[3] != "true" {
			t.Errorf("measured %s, %s, %s", f[2], f[3], f[4])
		}
		if f[5] != "0" {
			t.Errorf("the program has %s children that it never started", f[5])
		}
	}
	if _, ours, err := Offset(os.Getpid()); err != nil || ours {
		t.Errorf("this process's own clock: %t, %v", ours, err)
	}
}

// TestExecFails: a program that is not there, and an attendant that cannot do its work, which costs the clock and not the
// program.
func TestExecFails(t *testing.T) {
	if err := Exec(exec.Command("/bin/true"), []string{"/no/such/program"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Exec of a missing program: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), roleVar+"=exec", byVar+"=900000h") // more than 68 years
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil || !strings.Contains(said.String(), "68 years") || !strings.Contains(string(out), " 0s false ") {
		t.Errorf("%v, %q, %q", err, out, said.String())
	}
}
