package csimount_test

import (
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	_ "github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "csi-mount", sick, silent) }

var sick = []detectorstest.Case{
	{Name: "volume's filesystem corrupt", Want: []string{"csi-mount/filesystem-corrupt"}, Remedy: "e2fsck", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = mount /var/lib/sickbay-csi/vol-1.img: wrong fs type, bad option, bad superblock on /dev/loop4`)
	}},
	{Name: "CSI driver not registered", Want: []string{"csi-mount/driver-not-registered"}, Remedy: "/api/v1/namespaces/kube-system/pods/csi-node-77/eviction", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, false, detectorstest.NotInTheList)
	}},
	{Name: "CSI driver does not answer", Want: []string{"csi-mount/driver-unresponsive"}, Remedy: "/api/v1/namespaces/kube-system/pods/csi-node-77/eviction", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = DeadlineExceeded desc = context deadline exceeded`)
		o.Sockets = []v1alpha1.PluginSocket{{Path: "/var/lib/kubelet/plugins/csi.sickbay.dev/csi.sock", Kind: "csi", Name: detectorstest.Driver, Answers: "timeout"}}
	}},
	{Name: "CSI driver stopped: the kubelet gave the connection up", Want: []string{"csi-mount/driver-unresponsive"}, Remedy: "/api/v1/namespaces/kube-system/pods/csi-node-77/eviction", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Unavailable desc = connection error: desc = "error reading server preface: raw-read unix @->/csi/csi.sock: use of closed network connection"`)
		csiSocket(o, "timeout")
	}},
	{Name: "CSI driver stopped, and the kubelet still waits for it", Want: []string{"csi-mount/driver-unresponsive"}, Remedy: "/api/v1/namespaces/kube-system/pods/csi-node-77/eviction", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, "")
		csiSocket(o, "timeout")
		o.API.Pods[len(o.API.Pods)-1].CreationTimestamp = detectorstest.MetaAgo(45 * time.Second)
	}},
}

var silent = []detectorstest.Case{
	{Name: "a volume that takes its time", Ill: func(o *v1alpha1.Observation) { detectorstest.CSIWaits(o, true, "") }},
	{Name: "a volume just asked for, of a driver that is slow to answer", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, "")
		csiSocket(o, "timeout")
		o.API.Pods[len(o.API.Pods)-1].CreationTimestamp = detectorstest.MetaAgo(5 * time.Second)
	}},
	{Name: "a volume whose image the driver does not find", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = attach /images/vol-1.img: no such file or directory`)
		csiSocket(o, "ok")
	}},
}

func csiSocket(o *v1alpha1.Observation, answers string) {
	o.Sockets = []v1alpha1.PluginSocket{{Path: "/var/lib/kubelet/plugins/" + detectorstest.Driver + "/csi.sock", Kind: "csi", Name: detectorstest.Driver, Answers: answers}}
}
