package suites

import (
	"fmt"
	"os"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// About describes a cluster for the report.
type About struct {
	Kubernetes string // server version
	Host       string // for people: kernel, runtime and kind of the machine under the nodes
	Kind       HostKind
}

// HostKind is the kind of machine under the nodes. The zero value means that it could not be asked.
type HostKind struct {
	CgroupVersion int `json:"cgroupVersion,omitempty"` // 1 or 2
	// LSMs are the kernel's security modules, in its order; empty where securityfs cannot be read.
	LSMs []string `json:"lsms,omitempty"`
	// Virtualization is none, kvm, tcg (QEMU's software emulation) or another monitor's name.
	Virtualization string `json:"virtualization,omitempty"`
}

// String is for people: "cgroup v2, LSMs lockdown,apparmor, tcg".
func (k HostKind) String() string {
	words := []string{fmt.Sprintf("cgroup v%d", k.CgroupVersion)}
	if len(k.LSMs) > 0 {
		words = append(words, "LSMs "+strings.Join(k.LSMs, ","))
	}
	if k.Virtualization != "" && k.Virtualization != "none" {
		words = append(words, k.Virtualization)
	}
	return strings.Join(words, ", ")
}

const (
	lsmFile  = "/sys/kernel/security/lsm"
	bootFile = "/proc/sys/kernel/random/boot_id"
)

// kindOfHost takes from a look at a node what is the machine's. A node often does not see the list of security modules: where it
// shares this process's kernel, that is asked here.
func kindOfHost(h v1alpha1.Host) HostKind {
	k := HostKind{CgroupVersion: h.CgroupVersion, LSMs: h.LSMs, Virtualization: h.Machine}
	if boot, err := os.ReadFile(bootFile); len(k.LSMs) == 0 && err == nil && h.BootID != "" && strings.TrimSpace(string(boot)) == h.BootID {
		if list, err := os.ReadFile(lsmFile); err == nil && len(strings.TrimSpace(string(list))) > 0 {
			k.LSMs = strings.Split(strings.TrimSpace(string(list)), ",")
		}
	}
	return k
}
