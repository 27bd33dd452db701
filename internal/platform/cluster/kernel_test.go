package cluster

import (
	"strings"
	"testing"
)

// A node gets what loads AppArmor profiles only where the kernel has AppArmor and the program runs in the node.
func TestAppArmorOfNodes(t *testing.T) {
	for _, c := range []struct {
		name     string
		world    world
		armed    bool
		asked    bool // a container was run for it
		cgroupV1 bool
	}{
		{"no AppArmor", world{Info: "2 [\"name=seccomp,profile=default\"]"}, false, false, false},
		{"cgroup v1", world{Info: "1 [\"name=seccomp,profile=default\"]"}, false, false, true},
		{"AppArmor", world{Info: "2 [\"name=apparmor\",\"name=seccomp,profile=default\"]"}, true, true, false},
		{"AppArmor, and a parser for another C library", world{Info: "2 [\"name=apparmor\"]", OldParser: true}, false, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, _, log := engineWith(t, c.world)
			config, _, err := plan(t.Context(), e, UpOptions{Name: "x", Image: "node:v1.37.2"})
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range config.Nodes {
				if len(n.ExtraMounts) > 1 != c.armed { // the mark is one
					t.Errorf("mounts %v", n.ExtraMounts)
				}
			}
			if got := strings.Contains(log(), "--entrypoint /usr/sbin/apparmor_parser node:v1.37.2 --version"); got != c.asked {
				t.Errorf("the parser was tried: %t, want %t\n%s", got, c.asked, log())
			}
			if got := strings.Contains(strings.Join(config.KubeadmConfigPatches, ""), "failCgroupV1"); got != c.cgroupV1 {
				t.Errorf("a patch for cgroup v1: %t, want %t", got, c.cgroupV1)
			}
		})
	}
}
