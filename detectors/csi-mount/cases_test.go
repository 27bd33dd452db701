package csimount_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	_ "github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "csi-mount", sick, silent) }

var sick = []detectorstest.Case{
	// Who writes a pod with an inline volume would choose the device that is repaired.
	{Name: "an inline volume whose attributes name a device", Want: []string{"csi-mount/filesystem-corrupt"}, Remedy: "-", Never: []string{"fsck", "/dev/sdz"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.SetUp failed for volume "data" : rpc error: code = Internal desc = mount failed: exit status 32: mount: /dev/sdz: can't read superblock`)
		o.API.Pods[len(o.API.Pods)-1].Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: detectorstest.Driver, VolumeAttributes: map[string]string{"device": "/dev/sdz"}}}}}
	}},
	{Name: "a volume whose attributes alone name a device", Want: []string{"csi-mount/filesystem-corrupt"}, Remedy: "-", Never: []string{"fsck"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = mount failed: can't read superblock`)
		o.API.PVs[0].Spec.CSI.VolumeAttributes = map[string]string{"device": "/dev/sdz"}
	}},
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
	{Name: "another driver's FUSE mounts do not count", Want: []string{"csi-mount/driver-not-registered"}, Remedy: "csi-node-77", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, false, detectorstest.NotInTheList)
		listDriver(o, "s3.csi.aws.com")
		o.Mounts = append(o.Mounts, v1alpha1.Mount{Target: "/var/lib/kubelet/plugins/kubernetes.io/csi/s3.csi.aws.com/ab12/globalmount", Source: "mountpoint-s3", Type: "fuse.mountpoint-s3"})
	}},
	{Name: "a FUSE driver whose mounts would end with it", Want: []string{"csi-mount/driver-unresponsive"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, "")
		csiSocket(o, "timeout")
		o.API.Pods[len(o.API.Pods)-1].CreationTimestamp = detectorstest.MetaAgo(45 * time.Second)
		o.API.PVs = append(o.API.PVs, corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-2"}, Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: detectorstest.Driver}}}})
		o.Mounts = append(o.Mounts, v1alpha1.Mount{Target: "/var/lib/kubelet/pods/uid-app/volumes/kubernetes.io~csi/pv-2/mount", Source: "seaweedfs", Type: "fuse.seaweedfs"})
	}},
	{Name: "the driver's own pod does not start", Want: []string{"csi-mount/driver-not-registered"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, false, detectorstest.NotInTheList)
		for i := range o.API.Pods {
			if p := &o.API.Pods[i]; p.Name == "csi-node-77" {
				p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CreateContainerConfigError", Message: `secret "cloud-sa" not found`}}
			}
		}
	}},
	// The folder is called otherwise; the plugin is told its name.
	{Name: "a driver in a folder of another name", Want: []string{"csi-mount/driver-not-registered"}, Remedy: "csi-nfs-node-5", Never: []string{"csi-node-77"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, false, strings.ReplaceAll(detectorstest.NotInTheList, detectorstest.Driver, "nfs.csi.k8s.io"))
		o.API.PVs[0].Spec.CSI.Driver = "nfs.csi.k8s.io"
		detectorstest.AddPod(o, detectorstest.Pod("kube-system", "csi-nfs-node-5", detectorstest.DaemonSet("csi-nfs-node"), detectorstest.HostPath("/var/lib/kubelet/plugins/csi-nfsplugin"), detectorstest.HostPath("/var/lib/kubelet/plugins_registry"),
			detectorstest.With(func(c *corev1.Container) { c.Args = []string{"--nodeid=x", "--drivername=nfs.csi.k8s.io"} })))
	}},
	{Name: "an inline volume of a driver that is not here", Want: []string{"csi-mount/driver-not-registered"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.SetUp failed for volume "secrets" : kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name secrets-store.csi.k8s.io not found in the list of registered CSI drivers`)
		o.API.Pods[len(o.API.Pods)-1].Spec.Volumes = []corev1.Volume{{Name: "secrets", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "secrets-store.csi.k8s.io"}}}}
	}},
	{Name: "a damaged filesystem of an in-tree volume that was handed to its driver", Want: []string{"csi-mount/filesystem-corrupt"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = 'fsck' found errors on device /dev/nvme1n1 but could not correct them: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY`)
		csiSocket(o, "ok")
		o.API.PVs[0].Spec.PersistentVolumeSource = corev1.PersistentVolumeSource{AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "vol-1"}}
		o.API.PVs[0].Annotations = map[string]string{"pv.kubernetes.io/migrated-to": detectorstest.Driver}
	}},
	// https://github.com/ceph/ceph-csi/issues/859
	{Name: "an XFS volume whose log is to be replayed", Want: []string{"csi-mount/filesystem-corrupt"}, Remedy: "-", Manual: "a mount does", Never: []string{"repair"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, "MountVolume.MountDevice failed for volume \"pv-1\" : rpc error: code = Internal desc = 'xfs_repair' found errors on device /dev/rbd0 but could not correct them: Phase 1 - find and verify superblock...\nPhase 2 - using internal log\n        - zero log...\nERROR: The filesystem has valuable metadata changes in a log which needs to\nbe replayed.  Mount the filesystem to replay the log, and unmount it before\nre-running xfs_repair.")
		csiSocket(o, "ok")
		o.API.PVs[0].Spec.CSI.FSType = "xfs"
	}},
	// https://github.com/kadalu/kadalu/issues/1055, https://github.com/ceph/ceph-csi/pull/2634
	{Name: "a FUSE volume's process has ended", Want: []string{"csi-mount/driver-unresponsive"}, Remedy: "-", Says: "has ended", Manual: "umount -l", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.SetUp failed for volume "pv-1" : rpc error: code = Internal desc = stat /var/lib/kubelet/pods/d41e083d/volumes/kubernetes.io~csi/pv-1/mount: transport endpoint is not connected`)
		csiSocket(o, "ok")
	}},
	{Name: "a btrfs volume that is damaged", Want: []string{"csi-mount/filesystem-corrupt"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = mount failed: exit status 32: mount: /dev/vdb: can't read superblock`)
		csiSocket(o, "ok")
		o.API.PVs[0].Spec.CSI.FSType = "btrfs"
	}},
	// A duplicate UUID after a snapshot's restore, or a feature the kernel lacks, has the same words.
	{Name: "mount refuses an XFS volume", Want: []string{"csi-mount/filesystem-corrupt"}, Likely: true, Remedy: "-", Manual: "xfs_repair -n", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = could not format "/dev/nvme1n1" and mount it at "/var/lib/kubelet/plugins/kubernetes.io/csi/x/globalmount": wrong fs type, bad option, bad superblock on /dev/nvme1n1, missing codepage or helper program, or other error.`)
		csiSocket(o, "ok")
		o.API.PVs[0].Spec.CSI.FSType = "xfs"
		o.API.PVs[0].Spec.CSI.VolumeAttributes = nil
	}},
	{Name: "an encrypted volume that nobody opened", Want: []string{"csi-mount/filesystem-corrupt"}, Likely: true, Remedy: "-", Manual: "holds crypto_LUKS", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = mount failed: exit status 32: mount: /mnt: unknown filesystem type 'crypto_LUKS'.`)
		csiSocket(o, "ok")
		o.API.PVs[0].Spec.CSI.VolumeAttributes = nil
	}},
	{Name: "a volume that holds another filesystem than it is to have", Want: []string{"csi-mount/filesystem-corrupt"}, Likely: true, Remedy: "-", Manual: "fsType", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = failed to mount the volume as "ext4", it already contains xfs. Mount error: mount failed: exit status 32`)
		csiSocket(o, "ok")
	}},
	{Name: "a restored snapshot of a mounted XFS volume", Want: []string{"csi-mount/filesystem-corrupt"}, Likely: true, Remedy: "-", Manual: "nouuid", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = mount failed: exit status 32: mount: wrong fs type, bad option, bad superblock on /dev/nvme1n1, missing codepage or helper program, or other error.`)
		csiSocket(o, "ok")
		detectorstest.Kmsg(o, "XFS (nvme1n1): Filesystem has duplicate UUID 5f6f4c8e-0c0e-4c0a-9b54-7f2ab4f36d6a - can't mount", 30*time.Second)
	}},
	{Name: "an ext4 volume with a feature that the kernel lacks", Want: []string{"csi-mount/filesystem-corrupt"}, Likely: true, Remedy: "-", Manual: "newer kernel mounts it", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = mount failed: exit status 32: mount: wrong fs type, bad option, bad superblock on /dev/sdb, missing codepage or helper program, or other error.`)
		csiSocket(o, "ok")
		detectorstest.Kmsg(o, "EXT4-fs (sdb): Couldn't mount because of unsupported optional features (4000)", 30*time.Second)
	}},
	{Name: "a device that cannot be read", Want: []string{"csi-mount/filesystem-corrupt"}, Likely: true, Remedy: "-", Manual: "cannot be read", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = mount failed: exit status 32: mount: /dev/rbd0: can't read superblock`)
		csiSocket(o, "ok")
		detectorstest.Kmsg(o, "I/O error, dev rbd0, sector 2 op 0x0:(READ) flags 0x1000 phys_seg 1 prio class 2", 30*time.Second)
	}},
	{Name: "a device that takes no writes", Want: []string{"csi-mount/filesystem-corrupt"}, Likely: true, Remedy: "-", Manual: "takes no writes", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = mount failed: exit status 32: mount: wrong fs type, bad option, bad superblock on /dev/sdc, missing codepage or helper program, or other error.`)
		csiSocket(o, "ok")
		detectorstest.Kmsg(o, "EXT4-fs (sdc): write access unavailable, cannot proceed (try mounting with noload)", 30*time.Second)
	}},
	// https://github.com/tytso/e2fsprogs/issues/147, https://github.com/longhorn/website/pull/783
	{Name: "a filesystem that is newer than the driver's fsck", Want: []string{"csi-mount/filesystem-corrupt"}, Likely: true, Remedy: "-", Manual: "newer release of the driver", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, "MountVolume.MountDevice failed for volume \"pv-1\" : rpc error: code = Internal desc = 'fsck' found errors on device /dev/longhorn/pvc-1 but could not correct them: fsck from util-linux 2.37.2\n/dev/longhorn/pvc-1 has unsupported feature(s): FEATURE_C12\ne2fsck: Get a newer version of e2fsck!")
		csiSocket(o, "ok")
		o.API.PVs[0].Spec.CSI.FSType = "ext4"
	}},
	{Name: "a driver whose backend is slow", Want: []string{"csi-mount/driver-unresponsive"}, Likely: true, Remedy: "-", Manual: "do not restart the driver", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = DeadlineExceeded desc = context deadline exceeded`)
		csiSocket(o, "ok")
	}},
	// What csi-common drivers say while mkfs, fsck or fsGroup takes longer than the kubelet's two minutes.
	{Name: "a driver that is at work on a large volume", Want: []string{"csi-mount/driver-unresponsive"}, Likely: true, Remedy: "-", Manual: "do not restart the driver", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Aborted desc = An operation with the given Volume ID vol-1 already exists`)
		csiSocket(o, "ok")
	}},
	{Name: "a volume that is a part of LVM", Want: []string{"csi-mount/filesystem-corrupt"}, Likely: true, Remedy: "-", Manual: "`pvs` and `lvs` (LVM2_member)", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = mount failed: exit status 32: mount: /mnt: unknown filesystem type 'LVM2_member'.`)
		csiSocket(o, "ok")
	}},
	{Name: "a volume that is a part of a ZFS pool", Want: []string{"csi-mount/filesystem-corrupt"}, Likely: true, Remedy: "-", Manual: "`zpool import` (zfs_member)", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = mount failed: exit status 32: mount: /mnt: unknown filesystem type 'zfs_member'.`)
		csiSocket(o, "ok")
	}},
	{Name: "a volume whose device holds swap", Want: []string{"csi-mount/filesystem-corrupt"}, Likely: true, Remedy: "-", Manual: "holds swap and no filesystem", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = mount failed: exit status 32: mount: /mnt: unknown filesystem type 'swap'.`)
		csiSocket(o, "ok")
	}},
	{Name: "a filesystem that the kernel has no module of", Want: []string{"csi-mount/filesystem-corrupt"}, Likely: true, Remedy: "-", Manual: "modprobe", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = mount failed: exit status 32: mount: /mnt: unknown filesystem type 'btrfs'.`)
		csiSocket(o, "ok")
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
	// The driver took the call and says who refused: neither is it silent, nor does its restart help.
	{Name: "an NFS server that refuses", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, "MountVolume.SetUp failed for volume \"pv-1\" : rpc error: code = Internal desc = mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t nfs -o vers=4.1 10.0.0.9:/srv /var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/pv-1/mount\nOutput: mount.nfs: Connection refused")
		csiSocket(o, "ok")
	}},
	{Name: "a storage backend's API that refuses, and a socket that was not found", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = Post "http://longhorn-backend:9500/v1/volumes/vol-1": dial tcp 10.43.1.1:9500: connect: connection refused`)
	}},
	{Name: "a provider of secrets that does not answer its driver", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.SetUp failed for volume "pv-1" : rpc error: code = Unknown desc = failed to mount secrets store objects for pod default/db, err: rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix /etc/kubernetes/secrets-store-csi-providers/azure.sock: connect: connection refused"`)
		csiSocket(o, "ok")
	}},
	{Name: "a pod that came to a new node before its driver", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, detectorstest.NotInTheList)
		csiSocket(o, "ok")
		for i := range o.API.Pods {
			if p := &o.API.Pods[i]; p.Name == "csi-node-77" {
				p.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: detectorstest.MetaAgo(5 * time.Second)}}
			}
		}
	}},
	// https://github.com/longhorn/longhorn/issues/3994
	{Name: "multipathd holds a Longhorn volume", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, "MountVolume.MountDevice failed for volume \"pv-1\" : rpc error: code = Internal desc = mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t ext4 -o defaults /dev/longhorn/pvc-8ccb /var/lib/kubelet/plugins/kubernetes.io/csi/pv/pvc-8ccb/globalmount\nOutput: mount: /var/lib/kubelet/plugins/kubernetes.io/csi/pv/pvc-8ccb/globalmount: /dev/longhorn/pvc-8ccb already mounted or mount point busy.")
		csiSocket(o, "ok")
	}},
	// https://github.com/piraeusdatastore/linstor-csi/issues/385
	{Name: "fsck refuses a volume that is mounted", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, "MountVolume.SetUp failed for volume \"pv-1\" : rpc error: code = Internal desc = NodePublishVolume failed for pvc-d9539098: failed to run fsck on device '/dev/drbd1000': failed to run fsck: output: \"fsck from util-linux 2.41\n/dev/drbd1000 is mounted.\ne2fsck: Cannot continue, aborting.\n\", exit status 8")
		csiSocket(o, "ok")
	}},
	// https://github.com/kubernetes-csi/csi-driver-smb/issues/852
	{Name: "a share that refuses its user", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, "MountVolume.MountDevice failed for volume \"pv-1\" : rpc error: code = Internal desc = volume(a#b) mount \"//files/archives\" on \"/var/lib/kubelet/plugins/kubernetes.io/csi/smb.csi.k8s.io/0a/globalmount\" failed with mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t cifs -o <masked> //files/archives /var/lib/kubelet/plugins/kubernetes.io/csi/smb.csi.k8s.io/0a/globalmount\nOutput: mount error(13): Permission denied")
		csiSocket(o, "ok")
	}},
	{Name: "no helper for an NFS volume of a CSI driver", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.SetUp failed for volume "pv-1" : rpc error: code = Internal desc = mount failed: exit status 32: mount: bad option; for several filesystems (e.g. nfs, cifs) you might need a /sbin/mount.<type> helper program.`)
		csiSocket(o, "ok")
	}},
	{Name: "a config map is missing in a pod with a CSI volume", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.SetUp failed for volume "settings" : failed to sync configmap cache: timed out waiting for the condition: context deadline exceeded`)
		csiSocket(o, "ok")
	}},
	{Name: "the external attacher in the control plane is slow", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, "")
		csiSocket(o, "ok")
		detectorstest.Event(o, "default", "db", "FailedAttachVolume", `AttachVolume.Attach failed for volume "pv-1" : timed out waiting for external-attacher of `+detectorstest.Driver+` CSI driver to attach volume vol-1`, 20*time.Second, 4)
	}},
	{Name: "a disk that is attached to another node", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, "")
		detectorstest.Event(o, "default", "db", "FailedAttachVolume", `Multi-Attach error for volume "pv-1" Volume is already exclusively attached to one node and can't be attached to another`, 20*time.Second, 4)
	}},
	{Name: "a volume whose backend does not answer mount", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CSIWaits(o, true, `MountVolume.MountDevice failed for volume "pv-1" : rpc error: code = Internal desc = an error (exit status 110) occurred while running mount args: [-t ceph 10.0.0.9:6789:/ /var/lib/kubelet/plugins/kubernetes.io/csi/pv/pv-1/globalmount] stderr: mount error 110 = Connection timed out`)
		o.Sockets = append(o.Sockets, v1alpha1.PluginSocket{Path: "/var/lib/kubelet/plugins/" + detectorstest.Driver + "/csi.sock", Kind: "csi", Name: detectorstest.Driver, Answers: "ok"})
	}},
}

func csiSocket(o *v1alpha1.Observation, answers string) {
	o.Sockets = []v1alpha1.PluginSocket{{Path: "/var/lib/kubelet/plugins/" + detectorstest.Driver + "/csi.sock", Kind: "csi", Name: detectorstest.Driver, Answers: answers}}
}

func listDriver(o *v1alpha1.Observation, name string) {
	o.API.CSINode.Spec.Drivers = append(o.API.CSINode.Spec.Drivers, storagev1.CSINodeDriver{Name: name, NodeID: o.Node})
}
