package kindconfigs

import (
	"strings"
	"testing"
)

// kind itself writes containerd's socket, and its patches of containerd's configuration need one.
func TestCRIO(t *testing.T) {
	for _, profile := range Profiles() {
		c, err := Cluster(Options{Name: "x", Profile: profile, Runtime: crio})
		if err != nil {
			t.Fatal(err)
		}
		sockets := strings.Count(strings.Join(c.KubeadmConfigPatches, "\n"), "criSocket: unix:///var/run/crio/crio.sock")
		if sockets != 4 || len(c.ContainerdConfigPatches) > 0 {
			t.Errorf("%s: %d sockets of CRI-O (want those of init and join, in two versions of kubeadm), patches of containerd %v", profile, sockets, c.ContainerdConfigPatches)
		}
	}
}

// containerd 1.7 is told where hosts.toml and CAs of registries are.
func TestContainerd17(t *testing.T) {
	c, err := Cluster(Options{Name: "x", Runtime: "containerd@1.7"})
	if err != nil || !strings.Contains(strings.Join(c.ContainerdConfigPatches, "\n"), `config_path = "/etc/containerd/certs.d"`) {
		t.Errorf("%v, %v", c.ContainerdConfigPatches, err)
	}
}
