package injectors

import (
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/internal/op"
	"github.com/sickbay-dev/sickbay/internal/op/optest"
)

// TestClockSkewKeepsTheCommand: the unit's own program and arguments follow the agent, and what systemd expands is kept from it.
func TestClockSkewKeepsTheCommand(t *testing.T) {
	c := &ClockSkew{By: "1h", Units: []string{kubeletUnit}}
	p, err := c.Plan(t.Context(), Node{Sys: optest.New(), Agent: "/agent"})
	if err != nil {
		t.Fatal(err)
	}
	want := "[Service]\nExecStart=\nExecStart=/agent shift-clock --by 1h0m0s /usr/bin/kubelet --config=/etc/%%i\n"
	if got := string(p.Ops[0].(*op.Clock).Data); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if !strings.Contains(p.Differs, "not for the whole node") {
		t.Error("it says that it is real")
	}
}
