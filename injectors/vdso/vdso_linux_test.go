package vdso

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// TestMain also is the process whose clock is moved: it says what time it has, wall and monotonic, for every line it reads.
func TestMain(m *testing.M) {
	if os.Getenv("SICKBAY_TEST_CLOCK") == "" {
		os.Exit(m.Run())
	}
	// Busy threads: the function must be free of all of them when it is written.
	for range 2 {
		go func() {
			for n := 0; ; n++ {
				if n%5000 == 0 {
					_ = time.Now()
				}
			}
		}()
	}
	began := time.Now()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		fmt.Println(time.Now().Unix())
		fmt.Println(time.Since(began).Milliseconds())
	}
}

func TestShift(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "SICKBAY_TEST_CLOCK=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	out := bufio.NewScanner(stdout)
	number := func() int64 {
		if !out.Scan() {
			t.Fatalf("the process is gone: %v", out.Err())
		}
		n, err := strconv.ParseInt(out.Text(), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	ask := func() (off time.Duration, sinceStart time.Duration) {
		fmt.Fprintln(in, "?")
		off = time.Duration(number()-time.Now().Unix()) * time.Second
		return off, time.Duration(number()) * time.Millisecond
	}
	ask()
	for _, by := range []time.Duration{10 * 365 * 24 * time.Hour, -3 * time.Hour, 0} {
		began := time.Now()
		err := Shift(t.Context(), cmd.Process.Pid, by)
		if errors.Is(err, ErrUnsupported) || errors.Is(err, os.ErrPermission) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("moved by %s in %s", by, time.Since(began))
		off, since := ask()
		if d := off - by; d < -2*time.Second || d > 2*time.Second {
			t.Errorf("moved by %s, it reads %s off", by, off)
		}
		if since < 0 || since > time.Minute {
			t.Errorf("monotonic time moved, too: %s since start", since)
		}
		if got, ours, err := Offset(cmd.Process.Pid); err != nil || !ours || got != by {
			t.Errorf("measured %s, %t, %v", got, ours, err)
		}
	}
	if _, ours, err := Offset(os.Getpid()); err != nil || ours {
		t.Errorf("this process's own clock: %t, %v", ours, err)
	}
}
