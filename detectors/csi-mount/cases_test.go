package csimount_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

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
	// A FUSE driver's restart ends its mounts in every pod that uses them.
	{Name: "one of three CSI drivers not registered", Want: []string{"csi-mount/driver-not-registered"}, Remedy: "csi-node-77", Never: []string{"csi-blobfuse-node-q1", "s3-csi-node-z9"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, false, detectorstest.NotInTheList)
		detectorstest.AddPod(o, detectorstest.Pod("kube-system", "csi-blobfuse-node-q1", detectorstest.DaemonSet("csi-blobfuse-node"), detectorstest.HostPath("/var/lib/kubelet/plugins/blob.csi.azure.com"), detectorstest.HostPath("/var/lib/kubelet/plugins_registry")))
		detectorstest.AddPod(o, detectorstest.Pod("kube-system", "s3-csi-node-z9", detectorstest.DaemonSet("s3-csi-node"), detectorstest.HostPath("/var/lib/kubelet/plugins/s3.csi.aws.com"), detectorstest.HostPath("/var/lib/kubelet/plugins_registry")))
	}},
	{Name: "a damaged filesystem of a generic ephemeral volume", Want: []string{"csi-mount/filesystem-corrupt"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = mount failed: exit status 32: mount: /dev/vdb: can't read superblock`)
		o.API.PVCs[0].Name = "db-data"
		o.API.Pods[len(o.API.Pods)-1].Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}}}
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
	// A duplicate UUID after a snapshot's restore, or a feature the kernel lacks, has the same words.
	{Name: "mount refuses an XFS volume", Perhaps: []string{"csi-mount/filesystem-corrupt"}, Never: []string{"e2fsck"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = could not format "/dev/nvme1n1" and mount it at "/var/lib/kubelet/plugins/kubernetes.io/csi/x/globalmount": wrong fs type, bad option, bad superblock on /dev/nvme1n1, missing codepage or helper program, or other error.`)
		csiSocket(o, "ok")
		o.API.PVs[0].Spec.CSI.FSType = "xfs"
		o.API.PVs[0].Spec.CSI.VolumeAttributes = nil
	}},
	{Name: "an encrypted volume that nobody opened", Perhaps: []string{"csi-mount/filesystem-corrupt"}, Never: []string{"fsck", "xfs_repair"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = mount failed: exit status 32: mount: /mnt: unknown filesystem type 'crypto_LUKS'.`)
		csiSocket(o, "ok")
		o.API.PVs[0].Spec.CSI.VolumeAttributes = nil
	}},
	// What csi-common drivers say while mkfs, fsck or fsGroup takes longer than the kubelet's two minutes.
	{Name: "a driver that is at work on a large volume", Perhaps: []string{"csi-mount/driver-unresponsive"}, Never: []string{"csi-node-77"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Aborted desc = An operation with the given Volume ID vol-1 already exists`)
		csiSocket(o, "ok")
	}},
	{Name: "the external attacher in the control plane is slow", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, "")
		csiSocket(o, "ok")
		detectorstest.Event(o, "default", "db", "FailedAttachVolume", `AttachVolume.Attach failed for volume "pv-1" : timed out waiting for external-attacher of `+detectorstest.Driver+` CSI driver to attach volume vol-1`, 20*time.Second, 4)
	}},
}

func csiSocket(o *v1alpha1.Observation, answers string) {
	o.Sockets = []v1alpha1.PluginSocket{{Path: "/var/lib/kubelet/plugins/" + detectorstest.Driver + "/csi.sock", Kind: "csi", Name: detectorstest.Driver, Answers: answers}}
}
