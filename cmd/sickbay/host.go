package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/hypervisor"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// hostFacts are what decides which faults this machine can host.
type hostFacts struct {
	OS            string   `json:"os"`
	Kernel        string   `json:"kernel,omitempty"`
	Arch          string   `json:"arch"`
	CPUs          int      `json:"cpus"`
	MemoryMiB     int64    `json:"memoryMiB,omitempty"`
	Root          bool     `json:"root"`
	Go            string   `json:"go,omitempty"`
	CgroupVersion int      `json:"cgroupVersion,omitempty"`
	LSMs          []string `json:"lsms,omitempty"`
	// Virtualization is the monitor under this machine: none, kvm, tcg (software emulation) or another's name; "" where that is not
	// known.
	Virtualization string `json:"virtualization,omitempty"`
	// Pace is by how much bounds are stretched on this machine, 1 for not at all: see package pace.
	Pace        float64  `json:"pace"`
	Swaps       []string `json:"swaps,omitempty"`
	LoopDevices int      `json:"loopDevices,omitempty"`
	FreeMiB     int64    `json:"freeMiB,omitempty"`
	FreeAt      string   `json:"freeAt,omitempty"`
}

// needMiB is what a cold start writes, measured: Go's build cache 4 GiB and modules 2 GiB, parts of the image 2 GiB, the engine's
// data with one cluster 2 GiB, temporary files 1 GiB.
const needMiB = 12 * 1024

func lookAtHost() hostFacts {
	h := hostFacts{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Root: os.Geteuid() == 0, Virtualization: hypervisor.Machine(), Pace: timeoutscale.Factor()}
	if p, err := exec.LookPath("go"); err == nil {
		h.Go = p
	}
	fillHost(&h)
	return h
}

// existing is the nearest folder of a path that is there.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// linux tells whether faults can live in this machine's own kernel. Its OS is the distribution's name where that is known.
func (h hostFacts) linux() bool { return h.OS != "darwin" && h.OS != "windows" }

func (h hostFacts) lines() [][2]string {
	root := "no"
	if h.Root {
		root = "yes"
	}
	out := [][2]string{
		{"system", strings.TrimSpace(h.OS + " " + h.Kernel + " " + h.Arch)},
		{"size", fmt.Sprintf("%d CPUs, %s of memory", h.CPUs, text.Bytes(h.MemoryMiB<<20))},
		{"root", root},
	}
	if h.FreeAt != "" {
		out = append(out, [2]string{"free disk", fmt.Sprintf("%s at %s", text.Bytes(h.FreeMiB<<20), h.FreeAt)})
	}
	if h.CgroupVersion > 0 {
		out = append(out, [2]string{"cgroup", fmt.Sprintf("v%d", h.CgroupVersion)})
	}
	if h.Virtualization != "" {
		out = append(out, [2]string{"virtualization", h.Virtualization})
	}
	if h.Pace > 1 {
		out = append(out, [2]string{"speed", fmt.Sprintf("bounds are stretched %s times", timeoutscale.Format(h.Pace))})
	}
	if h.linux() {
		lsms, swaps := "none", "off"
		if len(h.LSMs) > 0 {
			lsms = strings.Join(h.LSMs, ", ")
		}
		if len(h.Swaps) > 0 {
			swaps = strings.Join(h.Swaps, ", ")
		}
		out = append(out, [2]string{"security", lsms}, [2]string{"swap", swaps}, [2]string{"loop devices", fmt.Sprint(h.LoopDevices)})
	}
	return out
}

// notes are the consequences for faults.
func (h hostFacts) notes() []string {
	var out []string
	if h.FreeAt != "" && h.FreeMiB < needMiB {
		out = append(out, fmt.Sprintf("only %s are free at %s; a cold start needs up to %s", text.Bytes(h.FreeMiB<<20), h.FreeAt, text.Bytes(needMiB<<20)))
	}
	if len(h.Swaps) > 0 {
		out = append(out, "this machine swaps: swap-on will be contained instead of real")
	}
	if h.linux() {
		if h.Virtualization == hypervisor.TCG {
			out = append(out, "this machine is emulated in software: everything takes about ten times as long")
		}
		if h.LoopDevices == 0 {
			out = append(out, "there are no loop devices: faults that fill or freeze a disk are unsupported here")
		}
		for _, lsm := range []string{"apparmor", "selinux"} {
			if !slices.Contains(h.LSMs, lsm) {
				out = append(out, fmt.Sprintf("the kernel has no %s: its faults are unsupported here", map[string]string{"apparmor": "AppArmor", "selinux": "SELinux"}[lsm]))
			}
		}
	}
	return out
}

func sortedList(s []string) string {
	slices.Sort(s)
	return strings.Join(s, ", ")
}
