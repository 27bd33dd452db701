package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func fillHost(h *hostFacts) {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if b, err := os.ReadFile("/etc/os-release"); err == nil {
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
				h.OS = strings.Trim(strings.TrimSpace(v), `"`)
			}
		}
	}
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) == nil {
		h.MemoryMiB = int64(uint64(si.Totalram) * uint64(si.Unit) >> 20)
	}
	var fs unix.Statfs_t
	if unix.Statfs("/sys/fs/cgroup", &fs) == nil {
		h.CgroupVersion = 1
		if fs.Type == unix.CGROUP2_SUPER_MAGIC {
			h.CgroupVersion = 2
		}
	}
	if b, err := os.ReadFile("/sys/kernel/security/lsm"); err == nil {
		for _, l := range strings.Split(strings.TrimSpace(string(b)), ",") {
			if l != "" {
				h.LSMs = append(h.LSMs, l)
			}
		}
	}
	if b, err := os.ReadFile("/proc/swaps"); err == nil {
		for i, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
			if f := strings.Fields(line); i > 0 && len(f) > 2 {
				h.Swaps = append(h.Swaps, fmt.Sprintf("%s (%s KiB)", f[0], f[2]))
			}
		}
	}
	loops, _ := filepath.Glob("/dev/loop[0-9]*")
	h.LoopDevices = len(loops)
	at := existing("/var/lib/sickbay")
	if unix.Statfs(at, &fs) == nil {
		h.FreeAt, h.FreeMiB = at, int64(fs.Bavail)*fs.Bsize>>20
	}
}
