package injectors

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/sickbay-dev/sickbay/internal/op"
)

const crioFile = "/etc/crio/crio.conf"

var (
	managerLine  = regexp.MustCompile(`(?m)^([ \t]*cgroup_manager[ \t]*=[ \t]*)"systemd"[ \t]*$`)
	runcTable    = regexp.MustCompile(`(?m)^[ \t]*\[crio\.runtime\.runtimes\.runc\][ \t]*$`)
	programLine  = regexp.MustCompile(`(?m)^([ \t]*runtime_path[ \t]*=[ \t]*)"[^"]*"[ \t]*$`)
	crioHasOne   = "CRI-O has one cgroup_manager for all handlers, and tells the kubelet that one"
	crioCompares = "CRI-O compares each pod's cgroup with its cgroup_manager and refuses what does not fit: nothing runs in silence"
)

// planCRIO is Plan with CRI-O, whose driver is one setting.
func (c *CgroupDriver) planCRIO(ctx context.Context, n Node) (*Plan, error) {
	switch c.Way {
	case "flip":
		return nil, cgroupDriver.unsupported(crioCompares)
	case "empty-options", "handler":
		return nil, cgroupDriver.unsupported(crioHasOne)
	}
	text, err := n.Sys.Read(crioFile)
	if err != nil {
		return nil, cgroupDriver.unsupported(err.Error())
	}
	if !managerLine.Match(text) {
		return nil, cgroupDriver.unsupported(crioFile + ` does not say cgroup_manager = "systemd"`)
	}
	edited := managerLine.ReplaceAll(text, []byte(`${1}"cgroupfs"`))
	if c.Way == "stale" {
		if haveTool(ctx, n, "curl") != nil {
			return nil, cgroupDriver.unsupported("the node has no curl to ask for the kubelet's health")
		}
		return &Plan{Ops: []op.Op{&op.SpareCgroups{Names: kubeletCgroups}, &op.StaleAnswer{File: op.File{Path: crioFile, Data: edited}, Runtime: op.CRIO.Unit, Kubelet: kubeletUnit}}}, nil
	}
	at := runcTable.FindIndex(edited)
	if at == nil || !programLine.Match(edited[at[1]:]) {
		return nil, cgroupDriver.unsupported(crioFile + " has no runtime_path for handler runc")
	}
	line := programLine.FindSubmatchIndex(edited[at[1]:])
	edited = slices.Concat(edited[:at[1]+line[3]], fmt.Appendf(nil, "%q", runcWrapper), edited[at[1]+line[1]:])
	return &Plan{Ops: []op.Op{
		&op.SpareCgroups{Names: kubeletCgroups},
		op.PauseUnit(kubeletUnit), op.PauseUnit(op.CRIO.Unit),
		&op.File{Path: runcWrapper, Data: []byte("#!/bin/sh\nexec runc --systemd-cgroup \"$@\"\n"), Mode: 0o755},
		&op.File{Path: crioFile, Data: edited},
		&op.Resume{Unit: op.CRIO.Unit}, &op.Resume{Unit: kubeletUnit},
	}}, nil
}
