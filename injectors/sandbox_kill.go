package injectors

import (
	"context"
	"fmt"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/op"
)

var sandboxKill = Mechanism{
	Name: "sandbox-kill",
	Doc:  "kills pod sandboxes: once, again and again by a unit of its own, or only their network",
	New:  func() Params { return &SandboxKill{EverySeconds: 20} },
}

// SandboxKill are the parameters of sandbox-kill.
type SandboxKill struct {
	// Namespace and Pod choose; Pod is a name or its beginning. Empty: every pod outside kube-system, with once the first.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	// EverySeconds is the pause between kills: a single kill heals by itself, the illness is what kills again.
	EverySeconds int `json:"everySeconds,omitempty"`
	// Network takes away the sandbox's interface and network namespace instead of its process; with once only the interface.
	Network bool `json:"network,omitempty"`
	// Once strikes one sandbox a single time.
	Once bool `json:"once,omitempty"`
}

func (s *SandboxKill) Validate() error {
	switch {
	case s.EverySeconds < 5 || s.EverySeconds > 600:
		return fmt.Errorf("everySeconds %d: want 5 to 600", s.EverySeconds)
	case strings.ContainsAny(s.Namespace+s.Pod, "'\"\\$` /\n"):
		return fmt.Errorf("namespace %q, pod %q: want names", s.Namespace, s.Pod)
	}
	return nil
}

// reaper is a script and the unit that runs it, as somebody who meant well might have left them on a node. They have nothing of
// sickbay's in them, and stopping the unit is the cure.
type reaper struct{ script, unit, purpose, strike string }

var (
	killReaper = reaper{
		"/usr/local/sbin/reap-sandboxes", "sandbox-reaper.service", "Reclaims memory from idle sandboxes.",
		`kill -KILL "$(cat "$d/@PID@")" 2>/dev/null`,
	}
	netnsReaper = reaper{
		"/usr/local/sbin/netns-gc", "netns-gc.service", "Collects network namespaces that nobody uses any more.",
		`n=$(grep -o '/var/run/netns/[^"]*' "$d/config.json" | head -n 1)
    [ -e "$n" ] || continue
    nsenter --net="$n" ip link delete eth0 2>/dev/null
    umount "$n" && rm -f "$n"`,
	}
)

func (s *SandboxKill) Plan(_ context.Context, n Node) (*Plan, error) {
	one := op.KillTask{Namespace: s.Namespace, Pod: s.Pod, Sandbox: true}
	r := killReaper
	switch {
	case s.Once && s.Network:
		return &Plan{Ops: []op.Op{&op.CutSandbox{KillTask: one}}}, nil
	case s.Once:
		return &Plan{Ops: []op.Op{&one}}, nil
	case s.Network:
		r = netnsReaper
	}
	cri := op.CRIOf(n.Sys)
	keep := `grep -q '"@NAMESPACE@": *"kube-system"' "$d/config.json" && continue`
	if s.Namespace != "" {
		keep = fmt.Sprintf(`grep -q '"@NAMESPACE@": *"%s"' "$d/config.json" || continue`, s.Namespace)
	}
	if s.Pod != "" {
		keep += fmt.Sprintf("\n    grep -q '\"@POD@\": *\"%s' \"$d/config.json\" || continue", s.Pod)
	}
	script := fmt.Sprintf(`#!/bin/sh
# %s
while true; do
  for d in @TASKS@; do
    grep -q '"@KIND@": *"sandbox"' "$d/config.json" 2>/dev/null || continue
    %s
    %s
  done
  sleep %d
done
`, r.purpose, keep, r.strike, s.EverySeconds)
	script = cri.InShell(script)
	unit := `[Unit]
Description=` + strings.TrimSuffix(r.purpose, ".") + `

[Service]
ExecStart=` + r.script + `
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
`
	// The two files alone do nothing: a remedy that stops the unit has cleared the fault.
	return &Plan{Ops: []op.Op{
		&op.File{Path: r.script, Data: []byte(script), Mode: 0o755, Inert: true},
		&op.DropIn{File: op.File{Path: "/etc/systemd/system/" + r.unit, Data: []byte(unit), Mode: 0o644, Inert: true}},
		&op.Unit{Bounce: op.Bounce{Unit: r.unit}, Start: true},
	}}, nil
}
