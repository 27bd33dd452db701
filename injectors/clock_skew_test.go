package injectors_test

import (
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/op"
)

// TestClockSkewKeepsTheCommand: the unit's own program and arguments follow the agent, and what systemd expands is kept from it.
func TestClockSkewKeepsTheCommand(t *testing.T) {
	c := &injectors.ClockSkew{By: "1h", Units: []string{"kubelet.service"}}
	p, err := c.Plan(t.Context(), injectors.Node{Sys: newNode(), Agent: "/agent"})
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
