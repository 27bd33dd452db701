package testbed

import (
	"os"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

const (
	lsmFile  = "/sys/kernel/security/lsm"
	bootFile = "/proc/sys/kernel/random/boot_id"
)

// kindOfHost takes from a look at a node what is the machine's. A node often does not see the list of security modules: where it
// shares this process's kernel, that is asked here.
func kindOfHost(h v1alpha1.Host) v1alpha1.HostKind {
	k := v1alpha1.HostKind{CgroupVersion: h.CgroupVersion, LSMs: h.LSMs, Virtualization: h.Machine}
	if boot, err := os.ReadFile(bootFile); len(k.LSMs) == 0 && err == nil && h.BootID != "" && strings.TrimSpace(string(boot)) == h.BootID {
		if list, err := os.ReadFile(lsmFile); err == nil && len(strings.TrimSpace(string(list))) > 0 {
			k.LSMs = strings.Split(strings.TrimSpace(string(list)), ",")
		}
	}
	return k
}
