package oci

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Set is a set of capabilities, as the kernel prints them in /proc/PID/status.
type Set uint64

// names are the kernel's capabilities in the order of their numbers (linux/capability.h).
var names = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW",
	"CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
	"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
	"CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// Has tells whether the set holds the capability of that name. It is true for a name that is not in the table: runc has the
// newer table and gives the better error.
func (s Set) Has(name string) bool {
	n := slices.Index(names, strings.ToUpper(name))
	return n < 0 || s&(1<<n) != 0
}

// Missing names the known capabilities that are not in the set.
func (s Set) Missing() []string {
	var out []string
	for _, name := range names {
		if !s.Has(name) {
			out = append(out, name)
		}
	}
	return out
}

// ParseStatus reads one set, such as CapBnd or CapEff, from the content of /proc/PID/status.
func ParseStatus(status, field string) (Set, error) {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return Set(n), err
		}
	}
	return 0, fmt.Errorf("no %s line in the process status", field)
}
