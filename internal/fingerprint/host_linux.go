package fingerprint

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
)

// engineRules are chains of the container engine and of sickbay's own isolation, which stand while a cluster stands: their life is
// the engine's and the cluster's matter.
var engineRules = regexp.MustCompile(`DOCKER|docker|br-[0-9a-f]{12}|sickbay|NETAVARK|CNI-|LIBVIRT|ip6? (nat|filter|mangle|raw)$`)

// Two rules that Docker writes into the kernel's own chains for a published port, such as the API's of any kind cluster.
var (
	hairpin  = regexp.MustCompile(`^-A POSTROUTING -s (\S+) -d (\S+) -p \w+ -m \w+ --dport \d+ -j MASQUERADE$`)
	loopback = regexp.MustCompile(`^-A PREROUTING -d (127\.0\.0\.1/32|::1/128) ! -i lo -p \w+ -m \w+ --dport \d+ -j DROP$`)
)

// hostRule tells whether a rule of the host's is the engine's to change.
func hostRule(rule string) bool {
	if m := hairpin.FindStringSubmatch(rule); m != nil && m[1] == m[2] {
		return true
	}
	return engineRules.MatchString(rule) || loopback.MatchString(rule)
}

// Host takes the fingerprint of the machine the harness runs on: what a node's fault could leave in the shared kernel.
func Host(ctx context.Context) *Fingerprint {
	f := New("host", time.Now())
	backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, p := range backing {
		if b, err := os.ReadFile(p); err == nil {
			f.Set(Loops, strings.Split(p, "/")[3], strings.TrimSpace(string(b)))
		}
	}
	addSwaps(f)
	addMounts(f, func(m *mountinfo.Info) bool {
		return hasAnyPrefix(m.Mountpoint, "/proc", "/sys", "/dev", "/run/docker/", "/run/sickbay/", "/run/netns", "/run/user", "/run/credentials") ||
			strings.Contains(m.Mountpoint, "/overlay2/") || strings.Contains(m.Mountpoint, "/overlay/") || strings.Contains(m.Mountpoint, "/containers/")
	})
	addRules(ctx, f, hostRule)
	addRoutes(f, func(dev string) bool { return hasAnyPrefix(dev, "veth", "br-", "docker", "sickbay") })
	addSysctls(f, "net.ipv4.ip_forward", "net.bridge.*", "vm.overcommit_memory", "vm.panic_on_oom", "vm.swappiness", "kernel.panic*", "fs.inotify.*")
	addModules(f)
	return f
}

func addSwaps(f *Fingerprint) {
	b, err := os.ReadFile("/proc/swaps")
	if os.IsNotExist(err) {
		return // a kernel without swap
	}
	if err != nil {
		f.Fail(Swaps, err)
		return
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	for _, line := range lines[1:] {
		if w := strings.Fields(line); len(w) >= 3 {
			f.Set(Swaps, w[0], w[1]+" "+w[2]+" KiB")
		}
	}
}
