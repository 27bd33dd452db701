package cluster

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fiThaw is FITHAW of linux/fs.h.
const fiThaw = 0xc0045878

// sweepHost thaws, from the host, the loop filesystems of containers that did not go away, turns off swap on their volumes, and
// kills what is left of them. It needs root on the engine's own host, and tells whether it did anything.
func sweepHost(ctx context.Context, cs []container) bool {
	if os.Geteuid() != 0 {
		return false
	}
	did := false
	for _, c := range cs {
		for _, m := range c.Mounts {
			if m.Destination == "/var" && m.Source != "" {
				did = swapOff(m.Source) || did
			}
		}
		pids := processesOf(c.ID)
		seen := map[string]bool{}
		for _, pid := range pids {
			ns, _ := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns", "mnt"))
			if ns == "" || seen[ns] {
				continue
			}
			seen[ns] = true
			for _, at := range loopMounts(pid) {
				did = thaw(filepath.Join("/proc", strconv.Itoa(pid), "root", at)) || did
			}
		}
		for _, pid := range pids {
			did = unix.Kill(pid, unix.SIGKILL) == nil || did
		}
		if ctx.Err() != nil {
			return did
		}
	}
	return did
}

// processesOf finds the processes in a container's cgroups by the container's id: the engine's own word for them is only the first.
func processesOf(id string) []int {
	dirs, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil || len(id) < 12 {
		return nil
	}
	var pids []int
	for _, f := range dirs {
		raw, err := os.ReadFile(f)
		if err != nil || !strings.Contains(string(raw), id) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// loopMounts lists where a process sees filesystems on loop devices.
func loopMounts(pid int) []string {
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "mountinfo"))
	if err != nil {
		return nil
	}
	defer f.Close()
	var at []string
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		i := slices.Index(fields, "-")
		if i > 4 && len(fields) > i+2 && strings.HasPrefix(fields[i+2], "/dev/loop") {
			at = append(at, unescape(fields[4]))
		}
	}
	return at
}

// thaw ends a freeze; a filesystem that is not frozen answers EINVAL.
func thaw(path string) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.IoctlSetInt(fd, fiThaw, 0) == nil
}

// swapOff turns off swap on files of sickbay's below a node's /var. The kernel names such a file as the node saw it.
func swapOff(varOnHost string) bool {
	raw, err := os.ReadFile("/proc/swaps")
	if err != nil {
		return false
	}
	did := false
	for line := range strings.Lines(string(raw)) {
		file, _, _ := strings.Cut(line, " ")
		inVar, ok := strings.CutPrefix(unescape(file), "/var/")
		if !ok || !strings.HasPrefix(inVar, "lib/sickbay/") {
			continue
		}
		p, err := unix.BytePtrFromString(filepath.Join(varOnHost, inVar))
		if err != nil {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(p)), 0, 0); errno == 0 {
			did = true
		}
	}
	return did
}

// unescape undoes the octal escapes of /proc files.
func unescape(s string) string {
	for _, r := range [][2]string{{`\040`, " "}, {`\011`, "\t"}, {`\012`, "\n"}, {`\134`, `\`}} {
		s = strings.ReplaceAll(s, r[0], r[1])
	}
	return s
}
