package op_test

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/internal/op"
)

// group is a version 1 freezer's cgroup whose processes start others as soon as they are thawed.
type group struct {
	op.Sys
	frozen, gone bool
	procs        []string
	born         []string // one comes with every look
}

func (g *group) Read(p string) ([]byte, error) {
	switch {
	case g.gone:
		return nil, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
	case path.Base(p) == "freezer.state":
		return []byte(map[bool]string{true: "FROZEN\n", false: "THAWED\n"}[g.frozen]), nil
	}
	out := strings.Join(g.procs, "\n")
	if len(g.born) > 0 {
		g.procs, g.born = append(g.procs, g.born[0]), g.born[1:]
	}
	return []byte(out), nil
}

func (g *group) Write(p string, data []byte, _ fs.FileMode) error {
	if path.Base(p) == "freezer.state" {
		g.frozen = string(data) == "FROZEN"
		return nil
	}
	g.procs = slices.DeleteFunc(g.procs, func(s string) bool { return s == string(data) })
	return nil
}

func (g *group) Remove(p string) error {
	if len(g.procs) > 0 {
		return &fs.PathError{Op: "remove", Path: p, Err: errors.New("device or resource busy")}
	}
	g.gone = true
	return nil
}

func (*group) Wait(context.Context, time.Duration) error { return nil }

func TestWhatWasThawedMayStartProcesses(t *testing.T) {
	g := &group{frozen: true, procs: []string{"7"}, born: []string{"8", "9"}}
	f := &op.Freezer{Unit: "containerd.service", V1: true, File: "/sys/fs/cgroup/freezer/sickbay-x/freezer.state", PID: 7}
	op.Attach(f, op.Sys{Files: g, Edits: g, Commands: g, Timer: g, ProcessTable: g})
	if err := f.Undo(t.Context(), op.Env{}); err != nil || !g.gone {
		t.Fatalf("%v, gone %t, left %v", err, g.gone, g.procs)
	}
	if err := f.Undo(t.Context(), op.Env{}); err != nil {
		t.Errorf("again: %v", err)
	}
}
