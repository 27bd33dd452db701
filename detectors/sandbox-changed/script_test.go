package sandboxchanged

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestSilence(t *testing.T) {
	const entry = `* * * * * root pkill -9 pause; echo '\d' "x"`
	for in, want := range map[string]string{
		"# ours\n" + entry + "\n" + entry + " now\n": "# ours\n# " + entry + "\n" + entry + " now\n",
		"# " + entry + "\n":                          "# " + entry + "\n",
	} {
		if got, why := detectorstest.Edit(t, in, "", func(file string) v1alpha1.Step { return silence("n", "w", file, entry) }); got != want || why != "" {
			t.Errorf("%q became %q, not %q %s", in, got, want, why)
		}
	}
	if _, why := detectorstest.Edit(t, "x\n", "", func(file string) v1alpha1.Step { return silence("n", "w", file, entry) }); !strings.Contains(why, "no such line") {
		t.Errorf("not refused: %q", why)
	}
}

func TestEnd(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	out, err := detectorstest.Script(t, []string{"sh", "-c", fmt.Sprintf("sed 's/.*) //' /proc/%d/stat | awk '{print $20}'", pid)}, "")
	if err != nil {
		t.Fatal(err)
	}
	started, err := strconv.ParseUint(strings.TrimSpace(out), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	// The number of a process that is another's now is left alone.
	if out, err := detectorstest.Script(t, end("n", "w", pid, started+1).Exec, ""); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Fatalf("another process was ended: %v", err)
	}
	if out, err := detectorstest.Script(t, end("n", "w", pid, started).Exec, ""); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("it ended with %v", err)
	}
}
