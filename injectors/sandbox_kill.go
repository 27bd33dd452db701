package injectors

import (
	"context"
	"fmt"
	"strings"

	"github.com/sickbay-dev/sickbay/injectors/op"
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
	// Once kills one sandbox a single time; Network takes one sandbox's interface away instead of its process.
	Once    bool `json:"once,omitempty"`
	Network bool `json:"network,omitempty"`
}

// Validate implements Params.
func (s *SandboxKill) Validate() error {
	switch {
	case s.EverySeconds < 5 || s.EverySeconds > 600:
		return fmt.Errorf("everySeconds %d: want 5 to 600", s.EverySeconds)
	case s.Once && s.Network:
		return fmt.Errorf("once and network exclude each other")
	case strings.ContainsAny(s.Namespace+s.Pod, "'\"\\$` /\n"):
		return fmt.Errorf("namespace %q, pod %q: want names", s.Namespace, s.Pod)
	}
	return nil
}

const (
	reaperScript = "/usr/local/sbin/reap-sandboxes"
	reaperUnit   = "sandbox-reaper.service"
)

// Plan implements Params. The killer is what an operator might find on a real node: a script somebody put there and a unit
// that runs it; it has nothing of sickbay's in it, and stopping it is the cure.
func (s *SandboxKill) Plan(_ context.Context, _ Node) (*Plan, error) {
	switch {
	case s.Once:
		return &Plan{Ops: []op.Op{&op.KillTask{Namespace: s.Namespace, Pod: s.Pod, Sandbox: true}}}, nil
	case s.Network:
		return &Plan{Ops: []op.Op{&op.CutSandbox{KillTask: op.KillTask{Namespace: s.Namespace, Pod: s.Pod, Sandbox: true}}}}, nil
	}
	keep := `grep -q '"io.kubernetes.cri.sandbox-namespace": *"kube-system"' "$d/config.json" && continue`
	if s.Namespace != "" {
		keep = fmt.Sprintf(`grep -q '"io.kubernetes.cri.sandbox-namespace": *"%s"' "$d/config.json" || continue`, s.Namespace)
	}
	if s.Pod != "" {
		keep += fmt.Sprintf("\n    grep -q '\"io.kubernetes.cri.sandbox-name\": *\"%s' \"$d/config.json\" || continue", s.Pod)
	}
	script := fmt.Sprintf(`#!/bin/sh
# Reclaims memory from idle sandboxes.
while true; do
  for d in /run/containerd/io.containerd.runtime.v2.task/k8s.io/*; do
    grep -q '"io.kubernetes.cri.container-type": *"sandbox"' "$d/config.json" 2>/dev/null || continue
    %s
    kill -KILL "$(cat "$d/init.pid")" 2>/dev/null
  done
  sleep %d
done
`, keep, s.EverySeconds)
	unit := `[Unit]
Description=Reclaim idle sandboxes

[Service]
ExecStart=` + reaperScript + `
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
`
	return &Plan{Ops: []op.Op{
		&op.File{Path: reaperScript, Data: []byte(script), Mode: 0o755},
		&op.DropIn{File: op.File{Path: "/etc/systemd/system/" + reaperUnit, Data: []byte(unit), Mode: 0o644}},
		&op.Unit{Unit: reaperUnit, Start: true},
	}}, nil
}
