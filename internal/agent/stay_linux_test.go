package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
	"github.com/sickbay-dev/sickbay/internal/node"
)

// staying are the processes of an agent's program that stay.
func staying(program string) []int {
	var out []int
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range lines {
		line, _ := os.ReadFile(f)
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil && strings.HasPrefix(string(line), program+"\x00") && strings.Contains(string(line), "\x00observe\x00--stay") {
			out = append(out, pid)
		}
	}
	return out
}

func TestTheAgentStays(t *testing.T) {
	build(t)
	c, err := Install(t.Context(), node.Local("n1"))
	if err != nil {
		t.Fatal(err)
	}
	look := func(ctx context.Context) error {
		_, err := c.Observe(ctx, protocol.ObserveOptions{MaxLines: 10})
		return err
	}
	must := func() {
		t.Helper()
		if err := look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	one := func(not int) int {
		t.Helper()
		list := staying(c.Path())
		if len(list) != 1 || list[0] == not {
			t.Fatalf("agents that stay: %v, want one, not %d", list, not)
		}
		return list[0]
	}
	must()
	if list := staying(c.Path()); len(list) > 0 {
		t.Errorf("after one look agents stay: %v", list)
	}
	must()
	first := one(0)
	must()
	if next := one(0); next != first {
		t.Errorf("asked again, another one stays: %d and %d", first, next)
	}

	// It dies between two looks.
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	must()
	must()
	second := one(first)

	// It hangs: the look ends in its time, and the next one is made by another.
	if err := syscall.Kill(second, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := look(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that hangs: %v", err)
	}
	must()
	must()
	one(second)

	// Whoever asked is gone, and with it the standard input: nobody ends the agent, it does so itself.
	if err := c.stay.ask.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); len(staying(c.Path())) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still there: %v", staying(c.Path()))
		}
	}
}
