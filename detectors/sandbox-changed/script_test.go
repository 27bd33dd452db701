package sandboxchanged

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/detectors/detectorstest"
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
