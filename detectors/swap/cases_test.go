package swap_test

import (
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	_ "github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "swap", sick, silent) }

var sick = []detectorstest.Case{
	{Name: "swap on", Want: []string{"swap/swap-on"}, Remedy: "swapoff /swapfile", Ill: func(o *v1alpha1.Observation) {
		o.Swaps = []v1alpha1.Swap{{Path: "/swapfile", Type: "file", SizeBytes: 16 << 20, InFstab: true}}
		o.Kubelet.File.FailSwapOn = detectorstest.Ptr(true)
		detectorstest.KubeletLoops(o, detectorstest.SwapRefused)
	}},
	{Name: "swap shown to the kubelet by a mount", Want: []string{"swap/swap-on"}, Remedy: "umount /proc/swaps", Ill: func(o *v1alpha1.Observation) {
		o.Mounts = append(o.Mounts, v1alpha1.Mount{Target: "/proc/swaps", Root: "/var/lib/x/swaps"})
		o.Swaps = []v1alpha1.Swap{{Path: "/swap.img", Type: "file", SizeBytes: 16 << 20}}
		o.Kubelet.File.FailSwapOn = detectorstest.Ptr(true)
		detectorstest.KubeletLoops(o, detectorstest.SwapRefused)
	}},
	{Name: "swap of the machine that the node is a container of", Want: []string{"swap/swap-on"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Mounts = append(o.Mounts, v1alpha1.Mount{Target: "/proc/swaps", Root: "/proc/swaps", Source: "lxcfs", Type: "fuse.lxcfs"})
		o.Swaps = []v1alpha1.Swap{{Path: "/dev/sda2", Type: "partition", SizeBytes: 1 << 30}}
		o.Kubelet.File.FailSwapOn = detectorstest.Ptr(true)
		detectorstest.KubeletLoops(o, detectorstest.SwapRefused)
	}},
	{Name: "swap went off a moment ago, and a drop-in called swap sets something else", Want: []string{"node-notready/kubelet-stopped"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) {
			u.DropIns = []string{"/etc/systemd/system/kubelet.service.d/90-swap.conf"}
		})
		detectorstest.KubeletLoops(o, detectorstest.SwapRefused)
	}},
	{Name: "swap shown to the kubelet by its unit", Want: []string{"swap/swap-on"}, Remedy: "20-memory.conf", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) {
			u.DropIns = []string{"/etc/systemd/system/kubelet.service.d/10-kubeadm.conf", "/etc/systemd/system/kubelet.service.d/20-memory.conf"}
			u.Binds = []string{"/etc/kubernetes/swaps:/proc/swaps:rbind"}
		})
		o.Kubelet.File.FailSwapOn = detectorstest.Ptr(true)
		detectorstest.KubeletLoops(o, detectorstest.SwapRefused)
	}},
}

var silent = []detectorstest.Case{
	{Name: "swap on and tolerated", Ill: func(o *v1alpha1.Observation) {
		o.Swaps = []v1alpha1.Swap{{Path: "/swap.img", Type: "file", SizeBytes: 1 << 30, UsedBytes: 1 << 20}}
	}},
	{Name: "swap on after the kubelet started", Ill: func(o *v1alpha1.Observation) {
		o.Swaps = []v1alpha1.Swap{{Path: "/swap.img", Type: "file", SizeBytes: 1 << 30}}
		o.Kubelet.Config.FailSwapOn, o.Kubelet.File.FailSwapOn = detectorstest.Ptr(true), detectorstest.Ptr(true)
	}},
	{Name: "swap was on", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Log(o, "kubelet", `"command failed" err="failed to run Kubelet: running with swap on is not supported"`, 30*time.Second)
		detectorstest.Unit(o, "kubelet", func(u *v1alpha1.Unit) { u.ActiveSince, u.NRestarts = detectorstest.Ago(25*time.Second), 9 })
	}},
}
