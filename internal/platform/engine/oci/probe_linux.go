package oci

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
)

func probe() int {
	r := look()
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", Name, err)
		return 1
	}
	return 0
}

func look() Report {
	r := Report{CgroupVersion: 1}
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		r.Capabilities, _ = ParseStatus(string(status), "CapEff")
		r.Missing = r.Capabilities.Missing()
	}
	if uids, err := os.ReadFile("/proc/self/uid_map"); err == nil {
		r.FullUserIDs = strings.Join(strings.Fields(string(uids)), " ") == "0 0 4294967295"
	}
	r.MountError = tryMount()
	if _, err := os.Stat("/dev/loop-control"); err == nil {
		r.LoopDevices = true
	}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		r.CgroupVersion = 2
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		r.Kernel = strings.TrimSpace(string(release))
	}
	if boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		r.Boot = strings.TrimSpace(string(boot))
	}
	return r
}

// tryMount mounts and unmounts a tmpfs in a fresh directory: the least that every node does.
func tryMount() string {
	dir, err := os.MkdirTemp("/", "probe-")
	if err != nil {
		return err.Error()
	}
	defer os.Remove(dir)
	if err := syscall.Mount("probe", dir, "tmpfs", 0, "size=64k"); err != nil {
		return err.Error()
	}
	if err := syscall.Unmount(dir, 0); err != nil {
		return err.Error()
	}
	return ""
}
