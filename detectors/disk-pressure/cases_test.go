package diskpressure_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	_ "github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "disk-pressure", sick, silent) }

var sick = []detectorstest.Case{
	{Name: "nodefs full", Want: []string{"disk-pressure/nodefs-full"}, Remedy: "rm -f -- /var/lib/kubelet/fill", Ill: detectorstest.NodefsFull},
	{Name: "nodefs full, thresholds off", Want: []string{"disk-pressure/nodefs-full"}, Remedy: "rm -f -- /var/lib/kubelet/fill", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Full(detectorstest.LoopFilesystem(o, "/var/lib/kubelet", "nodefs"), "/var/lib/kubelet/fill")
		o.Filesystems[0].BytesFree = 0
	}},
	{Name: "imagefs full", Want: []string{"disk-pressure/imagefs-full"}, Remedy: "rm -f -- /var/lib/containerd/backup.tar", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "imagefs.available", "15%")
		detectorstest.Full(detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs"), "/var/lib/containerd/backup.tar")
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
		detectorstest.SandboxFails(o, "failed to create prepare snapshot dir: mkdir: no space left on device")
	}},
	{Name: "imagefs full of images", Want: []string{"disk-pressure/imagefs-full"}, Remedy: "rmi sha256:old", Never: []string{"--prune", "sha256:1", "sha256:pinned", "sha256:loaded"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "imagefs.available", "15%")
		f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
		detectorstest.Full(f, "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs")
		o.Runtime.Images = append(o.Runtime.Images, v1alpha1.Image{ID: "sha256:old", Tags: []string{"quay.io/shop/app:1.0"}, SizeBytes: 120 << 20},
			v1alpha1.Image{ID: "sha256:pinned", Tags: []string{"registry.k8s.io/kube-proxy:v1.37.2"}, Pinned: true}, v1alpha1.Image{ID: "sha256:loaded", Tags: []string{"localhost/shop/app:2.0"}})
	}},
	{Name: "inodes of imagefs used up under a threshold", Want: []string{"disk-pressure/inodes-exhausted"}, Remedy: "rm -rf --one-file-system -- /var/lib/containerd/tiny", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "imagefs.inodesFree", "5%")
		f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
		f.InodesFree = 3
		f.TopUsers = []v1alpha1.PathUse{{Path: "/var/lib/containerd/tiny", Bytes: 4096, Files: 29000, Dir: true}}
	}},
	{Name: "inodes of imagefs nearly used up", Want: []string{"disk-pressure/inodes-exhausted"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "imagefs.inodesFree", "10%")
		detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs").InodesFree = 1500
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	}},
	{Name: "imagefs full but for some bytes", Want: []string{"disk-pressure/imagefs-full"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "imagefs.available", "15%")
		detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs").BytesFree = 30 << 20
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	}},
	{Name: "threshold beyond the disk", Want: []string{"disk-pressure/threshold-misconfigured"}, Remedy: "nodefs", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "nodefs.available", "95%")
		f := detectorstest.LoopFilesystem(o, "/var/lib/kubelet", "nodefs")
		f.BytesFree = 300 << 20
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	}},
	{Name: "threshold beyond a disk in use", Want: []string{"disk-pressure/threshold-misconfigured"}, Remedy: "nodefs", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "nodefs.available", "99%")
		f := detectorstest.LoopFilesystem(o, "/var/lib/kubelet", "nodefs")
		f.BytesFree = f.Bytes / 8 // little, and more than the kubelet asks for by default
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	}},
	{Name: "threshold beyond a disk that is full all the same", Want: []string{"disk-pressure/nodefs-full"}, Remedy: "rm -f -- /var/lib/kubelet/fill", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "nodefs.available", "99%")
		f := detectorstest.LoopFilesystem(o, "/var/lib/kubelet", "nodefs")
		detectorstest.Full(f, "/var/lib/kubelet/fill")
		f.BytesFree = f.Bytes / 20
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	}},
	{Name: "one disk for kubelet and runtime, full", Want: []string{"disk-pressure/nodefs-full"}, Remedy: "/var/lib/kubelet/fill", Ill: func(o *v1alpha1.Observation) {
		for i := range o.Filesystems {
			o.Filesystems[i].BytesFree = 0
		}
		o.Filesystems[0].TopUsers = []v1alpha1.PathUse{{Path: "/var/lib/kubelet/fill", Bytes: 290 << 30, Files: 1}}
		detectorstest.SandboxFails(o, "failed to create prepare snapshot dir: mkdir: no space left on device")
	}},
	{Name: "imagefs full of images, and some were loaded from a file", Want: []string{"disk-pressure/imagefs-full"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "imagefs.available", "15%")
		f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
		detectorstest.Full(f, "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs")
		o.Runtime.Images = append(o.Runtime.Images, v1alpha1.Image{ID: "sha256:old", Tags: []string{"quay.io/shop/app:1.0"}, SizeBytes: 120 << 20})
		detectorstest.AddPod(o, detectorstest.Pod("default", "sealed", detectorstest.With(func(c *corev1.Container) { c.ImagePullPolicy = corev1.PullNever })))
	}},
	// RKE2 and k3s log their containerd into its root; the blockfile snapshotter's scratch file is open only while it is copied.
	{Name: "imagefs full, with k3s's log and a scratch file on it", Want: []string{"disk-pressure/imagefs-full"}, Never: []string{"containerd.log", "scratch"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "imagefs.available", "15%")
		const root = "/var/lib/rancher/k3s/agent/containerd"
		o.Runtime.RootDir = root
		f := detectorstest.LoopFilesystem(o, root, "imagefs")
		detectorstest.Full(f, root+"/containerd.log")
		f.TopUsers = append(f.TopUsers, v1alpha1.PathUse{Path: root + "/scratch", Bytes: 100 << 20, Files: 1})
	}},
	{Name: "the disk of CRI-O's storage full", Want: []string{"disk-pressure/imagefs-full"}, Never: []string{"overlay", "anything"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		delete(o.Units, "containerd")
		detectorstest.Thresholds(o, "imagefs.available", "15%")
		f := detectorstest.LoopFilesystem(o, "/var/lib/containers/storage", "imagefs")
		detectorstest.Full(f, "/var/lib/containers/storage/overlay")
		f.TopUsers[0].Dir = true
		f.TopUsers = append(f.TopUsers, v1alpha1.PathUse{Path: "/var/lib/containers/storage/anything", Bytes: 100 << 20, Files: 1})
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	}},
	{Name: "a file beside CRI-O's storage fills its disk", Want: []string{"disk-pressure/imagefs-full"}, Remedy: "rm -f -- /var/lib/containers/fill", Never: []string{"cache", "storage"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		delete(o.Units, "containerd")
		detectorstest.Thresholds(o, "imagefs.available", "15%")
		f := detectorstest.LoopFilesystem(o, "/var/lib/containers/storage", "imagefs")
		f.Mount = "/var/lib/containers"
		detectorstest.Full(f, "/var/lib/containers/fill")
		f.TopUsers = append(f.TopUsers, v1alpha1.PathUse{Path: "/var/lib/containers/cache", Bytes: 100 << 20, Files: 1})
	}},
	{Name: "a kubelet of another directory, full", Want: []string{"disk-pressure/nodefs-full"}, Remedy: "rm -f -- /mnt/kubelet/dump.tar", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "nodefs.available", "10%")
		o.Kubelet.RootDir = "/mnt/kubelet"
		detectorstest.Full(detectorstest.LoopFilesystem(o, "/mnt/kubelet", "nodefs"), "/mnt/kubelet/dump.tar")
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	}},
	{Name: "nodefs full of the journal", Want: []string{"disk-pressure/nodefs-full"}, Remedy: "journalctl --vacuum-size=64M", Never: []string{"/var/log/pods"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.NodefsFull(o)
		o.Filesystems[0].Roles = []string{"nodefs", "logs"}
		o.Filesystems[0].TopUsers = []v1alpha1.PathUse{{Path: "/var/log/journal", Bytes: 300 << 20, Files: 40, Dir: true}, {Path: "/var/log/pods", Bytes: 1 << 20, Files: 40, Dir: true}}
	}},
	{Name: "a folder of the kubelet's disk that may be anything", Want: []string{"disk-pressure/nodefs-full"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.NodefsFull(o)
		o.Filesystems[0].TopUsers = []v1alpha1.PathUse{{Path: "/var/lib/kubelet/backup", Bytes: 400 << 20, Files: 3, Dir: true}}
	}},
	// The kubelet's drop-ins are merged after its file: the last one that has the threshold decides.
	{Name: "threshold beyond the disk, set by a drop-in", Want: []string{"disk-pressure/threshold-misconfigured"}, Remedy: "on /etc/kubernetes/kubelet/config.d/10-disk.conf /etc/kubernetes/kubelet.yaml\n", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.ConfigFiles = []string{"/etc/kubernetes/kubelet.yaml", "/etc/kubernetes/kubelet/config.d/10-disk.conf"}
		detectorstest.Thresholds(o, "nodefs.available", "95%")
		detectorstest.LoopFilesystem(o, "/var/lib/kubelet", "nodefs")
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	}},
	{Name: "DiskPressure for hours by a filesystem that is not looked at", Want: []string{"disk-pressure/inodes-exhausted"}, Likely: true, Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "nodefs.available", "5%")
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
		pressureSince(o, 20*time.Minute)
		detectorstest.Event(o, "", "", "EvictionThresholdMet", "Attempting to reclaim inodes", 20*time.Second, 70)
	}},
	// containerd's docs/snapshotters/devmapper.md puts the thin pool, the storage of every container, there.
	{Name: "imagefs full, with devmapper's pool on it", Want: []string{"disk-pressure/imagefs-full"}, Never: []string{"/var/lib/containerd/devmapper"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "imagefs.available", "15%", "nodefs.available", "5%")
		f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
		f.BytesFree = 4 << 20
		f.TopUsers = []v1alpha1.PathUse{{Path: "/var/lib/containerd/devmapper", Bytes: 400 << 20, Files: 3, Dir: true}}
		o.Runtime.Snapshotter = "devmapper"
	}},
	{Name: "nodefs full, with logs on a disk of their own", Want: []string{"disk-pressure/nodefs-full"}, Never: []string{"journalctl", "/var/log"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.NodefsFull(o)
		o.Filesystems[0].TopUsers = []v1alpha1.PathUse{{Path: "/var/lib/kubelet/pods", Bytes: 480 << 20, Files: 200, Dir: true}}
		o.Filesystems = append(o.Filesystems, v1alpha1.Filesystem{Path: "/var/log", Mount: "/var/log", Device: "/dev/vdc1", MajorMinor: "254:33", Type: "ext4", Bytes: 20 << 30, BytesFree: 12 << 30, Inodes: 1 << 20, InodesFree: 1 << 20, Roles: []string{"logs"}})
	}},
	// By a soft threshold after its grace period, or a filesystem that is not asked for.
	{Name: "DiskPressure for hours", Want: []string{"disk-pressure/nodefs-full"}, Likely: true, Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "nodefs.available", "5%")
		o.Kubelet.Config.EvictionSoft = map[string]string{"nodefs.available": "15%"}
		o.Kubelet.File.EvictionSoft = o.Kubelet.Config.EvictionSoft
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
		pressureSince(o, 2*time.Hour)
		detectorstest.Event(o, "", "", "EvictionThresholdMet", "Attempting to reclaim ephemeral-storage", 20*time.Second, 700)
	}},
	// The kubelet asks CRI for its image filesystem: the snapshots have a disk of their own.
	{Name: "the kubelet says for hours that there is no pressure", Want: []string{"disk-pressure/imagefs-full"}, Likely: true, Says: "less than the eviction threshold", Remedy: "-", Manual: "proven to be nobody's", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "imagefs.available", "15%", "nodefs.available", "5%")
		f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
		f.BytesFree = f.Bytes / 10
		pressureSince(o, 40*time.Hour)
	}},
}

var silent = []detectorstest.Case{
	{Name: "an unrelated filesystem is full", Ill: func(o *v1alpha1.Observation) {
		o.Filesystems = append(o.Filesystems, v1alpha1.Filesystem{Path: "/data", Mount: "/data", MajorMinor: "7:9", Bytes: 1 << 30, Inodes: 1000, Roles: []string{"root"}})
	}},
	{Name: "DiskPressure lingers after the space is back", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "imagefs.available", "15%", "nodefs.available", "5%")
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
	}},
	{Name: "DiskPressure lingers, and its event is fresh", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
		pressureSince(o, 2*time.Minute)
		detectorstest.Event(o, "", "", "EvictionThresholdMet", "Attempting to reclaim ephemeral-storage", 20*time.Second, 7)
	}},
	{Name: "DiskPressure that came and went, of which nothing is said any more", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
		pressureSince(o, 20*time.Minute)
	}},
	{Name: "DiskPressure lingers longer than usual after the space is back", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Config.EvictionPressureTransitionPeriod = "30m0s"
		detectorstest.Condition(o, corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure")
		pressureSince(o, 20*time.Minute)
	}},
	{Name: "soft threshold crossed", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Config.EvictionSoft = map[string]string{"nodefs.available": "50%"}
	}},
	{Name: "a huge log of a pod deleted long ago", Ill: func(o *v1alpha1.Observation) {
		o.Filesystems[0].TopUsers = []v1alpha1.PathUse{{Path: "/var/lib/kubelet/old-backup", Bytes: 90 << 30, Files: 1}}
	}},
}

// pressureSince has DiskPressure be what it is for so long, and the kubelet have said so a moment ago.
func pressureSince(o *v1alpha1.Observation, long time.Duration) {
	for i := range o.API.Node.Status.Conditions {
		if c := &o.API.Node.Status.Conditions[i]; c.Type == corev1.NodeDiskPressure {
			c.LastTransitionTime, c.LastHeartbeatTime = detectorstest.MetaAgo(long), detectorstest.MetaAgo(4*time.Second)
		}
	}
}
