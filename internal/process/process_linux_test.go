package process

import (
	"os/exec"
	"testing"
	"time"
)

func TestEndHitsNoOther(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	id, err := Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]ID{
		"one that began earlier":   {PID: id.PID, Began: id.Began - 1, Boot: id.Boot},
		"one of an earlier boot":   {PID: id.PID, Began: id.Began, Boot: "00000000-0000-0000-0000-000000000000"},
		"a number of nobody's":     {PID: 1 << 30, Began: 1, Boot: id.Boot},
		"one that is told nowhere": {},
	} {
		if other.Alive() {
			t.Errorf("%s is alive", name)
		}
		if other.PID > 0 {
			if err := other.End(t.Context(), false, time.Second); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if !id.Alive() {
		t.Fatal("the process was ended in place of another one with its number")
	}
	if err := id.End(t.Context(), true, time.Minute); err != nil {
		t.Fatal(err)
	}
	<-ended
	if id.Alive() {
		t.Error("alive after its end")
	}
}

func TestSelfIsAlive(t *testing.T) {
	if self := Self(); !self.Alive() || self.Began == 0 {
		t.Errorf("%+v", self)
	}
}

func TestRuns(t *testing.T) {
	for _, tt := range []struct {
		p    Process
		want bool
	}{
		{Process{Exe: "/usr/bin/containerd", Args: []string{"containerd", "--config", "x"}}, true},
		{Process{Exe: "/usr/bin/containerd (deleted)", Args: []string{"x"}}, true}, // after an upgrade
		{Process{Exe: "/nix/.containerd-wrapped", Args: []string{"/bin/containerd"}}, true},
		{Process{Exe: "/usr/bin/vim", Args: []string{"vim", "containerd"}}, false},
	} {
		if got := tt.p.Runs("containerd"); got != tt.want {
			t.Errorf("%+v: %v", tt.p, got)
		}
	}
}
