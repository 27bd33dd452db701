package cluster

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/internal/procmounts"
)

// fiThaw is FITHAW of linux/fs.h.
const fiThaw = 0xc0045878

// sweepHost thaws, from the host, the loop filesystems of containers that did not go away, and kills what is left of them. It
// needs root on the engine's own host, and tells whether it did anything.
func sweepHost(ctx context.Context, cs []container) bool {
	if os.Geteuid() != 0 {
		return false
	}
	did := false
	for _, c := range cs {
		did = thawAll(c) || did
		for _, pid := range processesOf(c.ID) {
			did = unix.Kill(pid, unix.SIGKILL) == nil || did
		}
		if ctx.Err() != nil {
			return did
		}
	}
	return did
}

// thawAll thaws the loop filesystems that a container's processes see, and tells whether one was frozen.
func thawAll(c container) bool {
	if os.Geteuid() != 0 {
		return false
	}
	did := false
	seen := map[string]bool{}
	for _, pid := range processesOf(c.ID) {
		ns, _ := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns", "mnt"))
		if ns == "" || seen[ns] {
			continue
		}
		seen[ns] = true
		for _, at := range loopMounts(pid) {
			did = thaw(filepath.Join("/proc", strconv.Itoa(pid), "root", at)) || did
		}
	}
	return did
}

// swapsOff turns off swap on the volumes of nodes that could not do it themselves, while the files can still be named: swap on
// a deleted file stays on until the machine restarts.
func swapsOff(cs []container) {
	if os.Geteuid() != 0 {
		return
	}
	for _, c := range cs {
		for _, m := range c.Mounts {
			if m.Destination == "/var" && m.Source != "" {
				swapOff(m.Source)
			}
		}
	}
}

// loopsOff detaches loop devices whose file of ours went with its volume: nobody can want them any more. One that is still
// mounted goes when it is unmounted.
func loopsOff() {
	if os.Geteuid() != 0 {
		return
	}
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		file := strings.TrimSpace(string(raw))
		if err != nil || !strings.Contains(file, ownPath) || !strings.HasSuffix(file, " (deleted)") {
			continue
		}
		dev := filepath.Join("/dev", filepath.Base(filepath.Dir(filepath.Dir(f))))
		fd, err := unix.Open(dev, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		_ = unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0)
		_ = unix.Close(fd)
	}
}

// ownPath is in the name of every file of ours on a node, as the kernel tells it: /var/lib/sickbay/… while the node's mounts are
// there, /lib/sickbay/… (seen from the volume) after that.
const ownPath = "/lib/sickbay/"

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
	mounts, _ := procmounts.Of(pid) // none of one that has ended
	var at []string
	for _, m := range mounts {
		if strings.HasPrefix(m.Source, "/dev/loop") {
			at = append(at, m.Mountpoint)
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

// swapOff turns off swap on files of ours below a node's /var.
func swapOff(varOnHost string) {
	raw, err := os.ReadFile("/proc/swaps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(raw)) {
		file, _, _ := strings.Cut(line, " ")
		file = strings.TrimPrefix(unescape(file), "/var")
		if !strings.HasPrefix(file, ownPath) {
			continue
		}
		// Of two nodes with a file of this name only the right one's is swap: the others answer EINVAL.
		p, err := unix.BytePtrFromString(filepath.Join(varOnHost, file))
		if err != nil {
			continue
		}
		_, _, _ = unix.Syscall(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(p)), 0, 0)
	}
}

// unescape undoes the octal escapes of /proc files.
func unescape(s string) string {
	for _, r := range [][2]string{{`\040`, " "}, {`\011`, "\t"}, {`\012`, "\n"}, {`\134`, `\`}} {
		s = strings.ReplaceAll(s, r[0], r[1])
	}
	return s
}
