package sandboxchanged

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestSpareShims(t *testing.T) {
	for _, c := range []struct{ in, systemd, want string }{
		{"[Service]\nKillMode=control-group\nDelegate=yes\n", "process", "[Service]\nKillMode=process\nDelegate=yes\n"},
		{"[Service]\n KillMode = mixed\n", "process", "[Service]\nKillMode=process\n"},
		{"[Unit]\n[Service]\nKillMode=process\n", "process", "[Unit]\n[Service]\nKillMode=process\n"},
		// The drop-in that said otherwise is gone, and the unit says nothing: systemd's default is control-group.
		{"[Service]\nDelegate=yes\n", "process", "[Service]\nDelegate=yes\n"},
	} {
		if got, why := detectorstest.Edit(t, c.in, c.systemd, spareShims); got != c.want {
			t.Errorf("%q became %q, not %q %s", c.in, got, c.want, why)
		}
	}
	// A systemd that never takes it: told, and not passed for cured.
	unit := filepath.Join(t.TempDir(), "containerd.service")
	if err := os.WriteFile(unit, []byte("[Service]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := detectorstest.Script(t, spareShims(unit), "control-group")
	if b, _ := os.ReadFile(unit); err == nil || !strings.Contains(out, "systemctl cat containerd") || string(b) != "[Service]\nKillMode=process\n" {
		t.Errorf("%v %s\n%s", err, out, b)
	}
}

func TestSilence(t *testing.T) {
	const entry = `* * * * * root pkill -9 pause; echo '\d' "x"`
	for in, want := range map[string]string{
		"# ours\n" + entry + "\n" + entry + " now\n": "# ours\n# " + entry + "\n" + entry + " now\n",
		"# " + entry + "\n":                          "# " + entry + "\n",
	} {
		if got, why := detectorstest.Edit(t, in, "", func(file string) string { return silence(file, entry) }); got != want || why != "" {
			t.Errorf("%q became %q, not %q %s", in, got, want, why)
		}
	}
	if _, why := detectorstest.Edit(t, "x\n", "", func(file string) string { return silence(file, entry) }); !strings.Contains(why, "no such line") {
		t.Errorf("not refused: %q", why)
	}
}

func TestEnd(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	out, err := detectorstest.Script(t, fmt.Sprintf("sed 's/.*) //' /proc/%d/stat | awk '{print $20}'", pid), "")
	if err != nil {
		t.Fatal(err)
	}
	started, err := strconv.ParseUint(strings.TrimSpace(out), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	// The number of a process that is another's now is left alone.
	if out, err := detectorstest.Script(t, end(pid, started+1), ""); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Fatalf("another process was ended: %v", err)
	}
	if out, err := detectorstest.Script(t, end(pid, started), ""); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("it ended with %v", err)
	}
}
