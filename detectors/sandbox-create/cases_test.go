package sandboxcreate_test

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	_ "github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/detectorstest"
)

func TestCases(t *testing.T) { detectorstest.Run(t, "sandbox-create", sick, silent) }

var sick = []detectorstest.Case{
	{Name: "a folder in runc's place", Want: []string{"sandbox-create/oci-runtime-missing"}, Remedy: "mv -T --backup=numbered -- /usr/local/sbin/runc /usr/local/sbin/runc.sickbay-aside", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Handlers[0].RuntimePath, o.Runtime.Handlers[1].RuntimePath = "", ""
		o.Files = append(o.Files, v1alpha1.File{Path: "/usr/local/sbin/runc", Exists: true, Mode: "drwxr-xr-x", SizeBytes: 4096})
	}},
	{Name: "shim gone", Want: []string{"sandbox-create/shim-missing"}, Remedy: ":/usr/local/bin/containerd-shim-runc-v2", Ill: shimGone},
	{Name: "shim not executable", Want: []string{"sandbox-create/shim-missing"}, Remedy: "chmod 0755 /usr/local/bin/containerd-shim-runc-v2", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Handlers[0].ShimPath = ""
		o.Files = []v1alpha1.File{{Path: "/usr/local/bin/containerd-shim-runc-v2", Exists: true, Mode: "-rw-r--r--", SizeBytes: 9 << 20}}
	}},
	{Name: "runc gone", Want: []string{"sandbox-create/oci-runtime-missing"}, Remedy: ":/usr/local/sbin/runc", Ill: runcGone},
	{Name: "snapshot directory immutable", Want: []string{"sandbox-create/snapshotter-unwritable"}, Remedy: "chattr -i /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots", Ill: immutable},
	{Name: "snapshotter's directory mounted read-only", Want: []string{"sandbox-create/snapshotter-unwritable"}, Remedy: "umount /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs", Ill: func(o *v1alpha1.Observation) {
		o.Mounts = []v1alpha1.Mount{{Target: "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs", Source: "/dev/vda1", Root: "/x", Type: "ext4", Options: []string{"ro", "relatime"}}}
	}},
	{Name: "runtime's disk full, thresholds off", Want: []string{"sandbox-create/disk-full"}, Remedy: "rm -f -- /var/lib/containerd/fill", Ill: diskFull},
	{Name: "runtime's inodes used up, thresholds off", Want: []string{"sandbox-create/inodes-exhausted"}, Remedy: "find /var/lib/containerd -xdev -maxdepth 1 -type f -empty", Ill: inodesGone},
	{Name: "pods' cgroup may have no children", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "cgroup.max.descendants", Ill: noChildren},
	{Name: "pods' cpuset is empty", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "cpuset.", Ill: func(o *v1alpha1.Observation) {
		o.Cgroups = []v1alpha1.Cgroup{{Path: "cpuset/kubelet.slice/kubelet-kubepods.slice", EmptyCPUs: true}}
		detectorstest.SandboxFails(o, "failed to create containerd task: unable to apply cgroup configuration: failed to write 77: write /sys/fs/cgroup/cpuset/x/cgroup.procs: no space left on device")
	}},
	{Name: "two faults, shim gone and nodefs full", Want: []string{"disk-pressure/nodefs-full", "sandbox-create/shim-missing"}, Remedy: "rm -f", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Thresholds(o, "nodefs.available", "10%")
		detectorstest.Full(detectorstest.LoopFilesystem(o, "/var/lib/kubelet", "nodefs"), "/var/lib/kubelet/fill")
		o.Runtime.Handlers[0].ShimPath = ""
	}}, {Name: "two faults, conflist gone and swap on", Want: []string{"swap/swap-on", "cni/conflist-missing"}, Remedy: "swapoff", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = nil
		detectorstest.CNIDown(o, detectorstest.NoConfig)
		o.Swaps = []v1alpha1.Swap{{Path: "/swap.img", Type: "file", SizeBytes: 16 << 20}}
		o.Kubelet.File.FailSwapOn = detectorstest.Ptr(true)
		detectorstest.KubeletLoops(o, detectorstest.SwapRefused)
	}},
	{Name: "shim gone, and a sandbox that ended", Want: []string{"sandbox-create/shim-missing"}, Ill: detectorstest.All(shimGone, detectorstest.NotMadeAgain)},
	{Name: "runc gone, and a sandbox that ended", Want: []string{"sandbox-create/oci-runtime-missing"}, Ill: detectorstest.All(runcGone, detectorstest.NotMadeAgain)},
	{Name: "snapshot directory immutable, and a sandbox that ended", Want: []string{"sandbox-create/snapshotter-unwritable"}, Ill: detectorstest.All(immutable, detectorstest.NotMadeAgain)},
	{Name: "runtime's disk full, and a sandbox that ended", Want: []string{"sandbox-create/disk-full"}, Ill: detectorstest.All(diskFull, detectorstest.NotMadeAgain)},
	{Name: "runtime's inodes used up, and a sandbox that ended", Want: []string{"sandbox-create/inodes-exhausted"}, Ill: detectorstest.All(inodesGone, detectorstest.NotMadeAgain)},
	{Name: "pods' cgroup may have no children, and a sandbox that ended", Want: []string{"sandbox-create/cgroup-unwritable"}, Ill: detectorstest.All(noChildren, detectorstest.NotMadeAgain)},
	// After ten events that differ in ids client-go's aggregator puts these words before them.
	{Name: "cgroup cannot be made, said by combined events", Want: []string{"sandbox-create/cgroup-unwritable"}, Likely: true, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "new", detectorstest.Crashing("StartError", 128, 14, 0)))
		detectorstest.Event(o, "default", "new", "Failed", `(combined from similar events): Error: failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: unable to apply cgroup configuration: mkdir /sys/fs/cgroup/x: no space left on device`, 20*time.Second, 31)
	}},
	{Name: "the kernel made the snapshotter's filesystem read-only after errors", Want: []string{"sandbox-create/snapshotter-unwritable"}, Never: []string{"remount"}, Ill: func(o *v1alpha1.Observation) {
		f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
		f.ReadOnly = true
		detectorstest.Kmsg(o, "EXT4-fs error (device loop3): ext4_journal_check_start:84: comm containerd: Detected aborted journal", 40*time.Second)
		detectorstest.Kmsg(o, "EXT4-fs (loop3): Remounting filesystem read-only", 40*time.Second)
		detectorstest.SandboxFails(o, "failed to create prepare snapshot dir: failed to create temp dir: mkdir /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/new-12: read-only file system")
	}},
}

var silent = []detectorstest.Case{
	{Name: "a sandbox failed and was made since", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Event(o, "default", "app", "FailedCreatePodSandBox", "Failed to create pod sandbox: no space left on device; failed to find plugin \"ptp\"", 30*time.Second, 4)
	}},
	{Name: "a pod that failed is deleted", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Event(o, "default", "gone", "FailedCreatePodSandBox", "unable to apply cgroup configuration", 10*time.Second, 4)
	}},
	{Name: "a snapshotter's layer is mounted read-only", Ill: func(o *v1alpha1.Observation) {
		o.Mounts = append(o.Mounts, v1alpha1.Mount{Target: "/var/lib/containerd/io.containerd.snapshotter.v1.erofs/snapshots/42/fs", Source: "/dev/loop7", Root: "/", Type: "ext4", Options: []string{"ro", "relatime"}})
	}},
	// containerd takes a runtime_type that is a path as it is (shim_manager.go, resolveRuntimePath).
	{Name: "a handler whose type is its shim's path", Ill: func(o *v1alpha1.Observation) {
		detectorstest.RuntimeClass(o, "wasm", "spin")
		o.Runtime.Handlers = append(o.Runtime.Handlers, v1alpha1.RuntimeHandler{Name: "spin", Type: "/opt/kwasm/bin/containerd-shim-spin-v2"})
		detectorstest.AddPod(o, detectorstest.Pod("default", "wasm", func(p *corev1.Pod) { p.Spec.RuntimeClassName = detectorstest.Ptr("wasm") }))
		o.Files = append(o.Files, v1alpha1.File{Path: "/opt/kwasm/bin/containerd-shim-spin-v2", Exists: true, Mode: "-rwxr-xr-x", SizeBytes: 30 << 20})
	}},
}

func shimGone(o *v1alpha1.Observation) {
	o.Runtime.Handlers[0].ShimPath, o.Runtime.Handlers[1].ShimPath = "", ""
	detectorstest.SandboxFails(o, `failed to start sandbox "x": failed to create containerd task: failed to start shim: start failed: fork/exec /usr/local/bin/containerd-shim-runc-v2: no such file or directory`)
}

func runcGone(o *v1alpha1.Observation) {
	o.Runtime.Handlers[0].RuntimePath = ""
	detectorstest.SandboxFails(o, `failed to create containerd task: failed to create shim task: OCI runtime create failed: unable to retrieve OCI runtime error (open /run/containerd/x/log.json: no such file or directory): exec: "runc": executable file not found in $PATH`)
}

func immutable(o *v1alpha1.Observation) {
	o.Files = []v1alpha1.File{{Path: "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots", Exists: true, Immutable: true, Mode: "drwx------"}}
	detectorstest.SandboxFails(o, `failed to create containerd container: failed to create prepare snapshot dir: failed to create temp dir: mkdir /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/new-12: operation not permitted`)
}

func diskFull(o *v1alpha1.Observation) {
	f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
	detectorstest.Full(f, "/var/lib/containerd/fill")
	f.BytesFree = 0
	detectorstest.SandboxFails(o, "failed to create prepare snapshot dir: failed to create temp dir: mkdir /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/new-1: no space left on device")
}

func inodesGone(o *v1alpha1.Observation) {
	f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
	f.InodesFree = 0
	for i := range 6 {
		f.TopUsers = append(f.TopUsers, v1alpha1.PathUse{Path: fmt.Sprintf("/var/lib/containerd/job-%d", i), Files: 1})
	}
	detectorstest.SandboxFails(o, "failed to create prepare snapshot dir: no space left on device")
}

func noChildren(o *v1alpha1.Observation) {
	o.Cgroups = []v1alpha1.Cgroup{{Path: "kubelet.slice/kubelet-kubepods.slice", Limited: true, MaxBelow: 0, Below: 12}}
	detectorstest.SandboxFails(o, "failed to create containerd task: unable to apply cgroup configuration: mkdir /sys/fs/cgroup/kubelet.slice: resource temporarily unavailable")
}
