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
	{Name: "CRI-O's monitor gone", Want: []string{"sandbox-create/shim-missing"}, Remedy: ":/usr/bin/conmon", Never: []string{"containerd"}, Ill: func(o *v1alpha1.Observation) {
		crioPrograms(o)
		o.Runtime.Handlers[0].ShimPath, o.Files[0] = "", v1alpha1.File{Path: "/usr/bin/conmon"}
		detectorstest.SandboxFails(o, "fork/exec /usr/bin/conmon: no such file or directory")
	}},
	{Name: "CRI-O's OCI runtime gone", Want: []string{"sandbox-create/oci-runtime-missing"}, Remedy: ":/usr/local/sbin/runc", Never: []string{"containerd"}, Ill: func(o *v1alpha1.Observation) {
		crioPrograms(o)
		o.Runtime.Handlers[0].RuntimePath, o.Files[1] = "", v1alpha1.File{Path: "/usr/local/sbin/runc"}
	}},
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
	{Name: "pods' cgroup may have no children", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "cgroup.max.descendants", Class: v1alpha1.Destructive, Ill: noChildren},
	{Name: "pods' cpuset is empty", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "cpuset.", Class: v1alpha1.Disruptive, Ill: func(o *v1alpha1.Observation) {
		o.Cgroups = []v1alpha1.Cgroup{{Path: "cpuset/kubelet.slice/kubelet-kubepods.slice", EmptyCPUs: true}}
		detectorstest.SandboxFails(o, "failed to create containerd task: unable to apply cgroup configuration: failed to write 77: write /sys/fs/cgroup/cpuset/x/cgroup.procs: no space left on device")
	}},
	{Name: "two faults, conflist gone and swap on", Want: []string{"swap/swap-on", "cni/conflist-missing"}, Remedy: "swapoff", Ill: func(o *v1alpha1.Observation) {
		o.CNI.Configs = nil
		detectorstest.CNIDown(o, detectorstest.NoConfig)
		o.Swaps = []v1alpha1.Swap{{Path: "/swap.img", Type: "file", SizeBytes: 16 << 20}}
		o.Kubelet.File.FailSwapOn = detectorstest.Ptr(true)
		detectorstest.KubeletLoops(o, detectorstest.SwapRefused)
	}},
	// After ten events that differ in ids client-go's aggregator puts these words before them.
	{Name: "cgroup cannot be made, said by combined events", Want: []string{"sandbox-create/cgroup-unwritable"}, Likely: true, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "new", detectorstest.Crashing("StartError", 128, 14, 0)))
		detectorstest.Event(o, "default", "new", "Failed", `(combined from similar events): Error: failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: unable to apply cgroup configuration: mkdir /sys/fs/cgroup/x: no space left on device`, 20*time.Second, 31)
	}},
	{Name: "CRI-O's monitor gone, and CRI-O stopped by its unit", Want: []string{"sandbox-create/shim-missing", "pleg/runtime-hung"}, Ill: func(o *v1alpha1.Observation) {
		crioPrograms(o)
		o.Runtime.Handlers[0].ShimPath, o.Files[0] = "", v1alpha1.File{Path: "/usr/bin/conmon"}
		detectorstest.Unit(o, "crio", func(u *v1alpha1.Unit) { u.ActiveState, u.SubState, u.MainPID = "inactive", "dead", 0 })
		o.Processes, o.Runtime.Conditions = o.Processes[1:], nil
	}},
	{Name: "shim gone, and containerd stopped since", Want: []string{"sandbox-create/shim-missing", "pleg/runtime-hung"}, Likely: true, Remedy: ":/usr/local/bin/containerd-shim-runc-v2", Ill: func(o *v1alpha1.Observation) {
		shimGone(o)
		stopped(o)
	}},
	{Name: "runc gone, and containerd stopped since", Want: []string{"sandbox-create/oci-runtime-missing", "pleg/runtime-hung"}, Likely: true, Remedy: ":/usr/local/sbin/runc", Ill: func(o *v1alpha1.Observation) {
		runcGone(o)
		stopped(o)
	}},
	{Name: "Kata's shim gone from a machine, and containerd stopped since", Want: []string{"sandbox-create/shim-missing", "pleg/runtime-hung"}, Likely: true, Remedy: "-", Says: "containerd-shim-kata-v2", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to start sandbox "x": failed to create containerd task: failed to start shim: failed to resolve runtime path: runtime "io.containerd.kata.v2" binary not installed "containerd-shim-kata-v2": file does not exist: unknown`)
		o.Host.InContainer = false
		stopped(o)
	}},
	{Name: "shim was gone and is back, and containerd stopped since", Want: []string{"pleg/runtime-hung"}, Ill: func(o *v1alpha1.Observation) {
		shimGone(o)
		o.Files = append(o.Files, v1alpha1.File{Path: "/usr/bin/containerd-shim-runc-v2", Exists: true, Mode: "-rwxr-xr-x", SizeBytes: 9 << 20})
		stopped(o)
	}},
	{Name: "conmon gone, and CRI-O was restarted", Want: []string{"sandbox-create/shim-missing"}, Remedy: "systemctl start crio.service", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		o.Files = []v1alpha1.File{{Path: "/usr/bin/conmon"}}
		o.Runtime.Handlers, o.Runtime.Conditions = nil, nil
		o.Unknown = append(o.Unknown, v1alpha1.Unknown{What: v1alpha1.SourceStatus, Why: "connection refused"})
		u := o.Units["crio"]
		u.ActiveState, u.SubState, u.Result, u.NRestarts, u.ExecMainStatus = "activating", "auto-restart", "exit-code", 9, 1
		o.Units["crio"] = u
		detectorstest.Log(o, "crio", `time="2026-11-29T23:01:50Z" level=fatal msg="validating runtime config: monitor fields translation: failed to translate monitor fields for runtime runc: invalid conmon path: stat /usr/bin/conmon: no such file or directory"`, 5*time.Second)
	}},
	{Name: "CRI-O's layers mounted read-only", Want: []string{"sandbox-create/snapshotter-unwritable"}, Remedy: "umount /var/lib/containers/storage/overlay", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		o.Mounts = []v1alpha1.Mount{{Target: "/var/lib/containers/storage/overlay", Source: "/dev/vda1", Root: "/x", Type: "ext4", Options: []string{"ro", "relatime"}}}
	}},
	{Name: "the kernel made the snapshotter's filesystem read-only after errors", Want: []string{"sandbox-create/snapshotter-unwritable"}, Never: []string{"remount"}, Ill: func(o *v1alpha1.Observation) {
		f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
		f.ReadOnly = true
		detectorstest.Kmsg(o, "EXT4-fs error (device loop3): ext4_journal_check_start:84: comm containerd: Detected aborted journal", 40*time.Second)
		detectorstest.Kmsg(o, "EXT4-fs (loop3): Remounting filesystem read-only", 40*time.Second)
		detectorstest.SandboxFails(o, "failed to create prepare snapshot dir: failed to create temp dir: mkdir /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/new-12: read-only file system")
	}},
	{Name: "the kubelet's folder of pods is mounted read-only", Want: []string{"sandbox-create/snapshotter-unwritable"}, Remedy: "-", Says: "/var/lib/kubelet/pods of the node is mounted read-only", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "web", detectorstest.Waiting("ContainerCreating", "")))
		o.Mounts = append(o.Mounts, v1alpha1.Mount{Target: "/var/lib/kubelet/pods", Source: "/dev/vda1", Root: "/x", Type: "ext4", Options: []string{"ro", "relatime"}})
		detectorstest.Log(o, "kubelet", `"Unable to make pod data directories for pod" err="mkdir /var/lib/kubelet/pods/1bd3f7a8-1f7a-4d0e-8b0c-2a5e8f0e7f11: read-only file system" pod="default/web"`, 4*time.Second)
	}},
	{Name: "a pull has just failed by a snapshotter's daemon, and the pod's status does not tell yet", Want: []string{"sandbox-create/snapshotter-unwritable"}, Remedy: "-", Likely: true, Says: "stargz", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "web", detectorstest.With(func(c *corev1.Container) { c.Image = "quay.io/team/web:9" }), detectorstest.Waiting("ContainerCreating", "")))
		detectorstest.Event(o, "default", "web", "Failed", `Failed to pull image "quay.io/team/web:9": rpc error: code = Unavailable desc = failed to prepare extraction snapshot "extract-1 sha256:0a": connection error: desc = "transport: Error while dialing: dial unix /run/containerd-stargz-grpc/containerd-stargz-grpc.sock: connect: connection refused"`, 2*time.Second, 1)
	}},
	{Name: "somebody made the folder of pods' logs immutable", Want: []string{"sandbox-create/snapshotter-unwritable"}, Remedy: "-", Likely: true, Manual: "chattr -i", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `mkdir /var/log/pods/default_web_1bd3f7a8-1f7a-4d0e-8b0c-2a5e8f0e7f11: operation not permitted`)
	}},
	{Name: "/run is read-only", Want: []string{"sandbox-create/snapshotter-unwritable"}, Remedy: "-", Says: "/run of the node is mounted read-only", Ill: func(o *v1alpha1.Observation) {
		o.Mounts = append(o.Mounts, v1alpha1.Mount{Target: "/run", Source: "tmpfs", Root: "/", Type: "tmpfs", Options: []string{"ro"}})
		detectorstest.SandboxFails(o, "failed to create a sandbox controller: mkdir /run/containerd/io.containerd.sandbox.controller.v1.shim/k8s.io/faa6e: read-only file system")
	}},
	// containerd cannot make the sandbox's directory of state; bytes are left.
	{Name: "no inodes left in /run", Want: []string{"sandbox-create/inodes-exhausted"}, Remedy: "rm -rf --one-file-system -- /run/containerd/old-tasks", Never: []string{"io.containerd", "/run/containerd/s"}, Ill: func(o *v1alpha1.Observation) {
		f := detectorstest.RunFilesystem(o)
		f.InodesFree = 3
		f.TopUsers = []v1alpha1.PathUse{{Path: "/run/containerd/old-tasks", Files: 201, Dir: true}, {Path: "/run/containerd/io.containerd.runtime.v2.task", Bytes: 90 << 10, Files: 400, Dir: true}, {Path: "/run/containerd/s", Files: 100, Dir: true}}
		detectorstest.SandboxFails(o, `failed to create sandbox "faa6e": mkdir /run/containerd/io.containerd.sandbox.controller.v1.shim/k8s.io/faa6e: no space left on device`)
	}},
	{Name: "no inodes left in /run, as systemd says it of a pod's slice", Want: []string{"sandbox-create/inodes-exhausted"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.RunFilesystem(o).InodesFree = 0
		detectorstest.AddPod(o, detectorstest.Pod("default", "new", detectorstest.Waiting("ContainerCreating", "")))
		detectorstest.Event(o, "default", "new", "FailedCreatePodContainer", "unable to ensure pod container exists: failed to create container for [kubelet kubepods besteffort podc1ef] : No space left on device", 8*time.Second, 12)
	}},
	{Name: "hardly an inode left in /run", Want: []string{"sandbox-create/inodes-exhausted"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.RunFilesystem(o).InodesFree = 19
		detectorstest.SandboxFails(o, `failed to create sandbox "faa6e": mkdir /run/containerd/io.containerd.sandbox.controller.v1.shim/k8s.io/faa6e: no space left on device`)
	}},
	{Name: "/run full, and the network plugin meets it first", Want: []string{"sandbox-create/disk-full"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.RunFilesystem(o).BytesFree = 0
		detectorstest.SandboxFails(o, `failed to setup network for sandbox "ab12": plugin type="ptp" failed (add): open /run/cni-ipam-state/kindnet/10.244.1.9: no space left on device`)
	}},
	{Name: "/run full, and the network namespace cannot be made", Want: []string{"sandbox-create/disk-full"}, Ill: func(o *v1alpha1.Observation) {
		detectorstest.RunFilesystem(o).BytesFree = 0
		detectorstest.SandboxFails(o, `failed to create network namespace for sandbox "ab12": open /var/run/netns/cni-2f6a: no space left on device`)
	}},
	{Name: "/tmp full, and the runtime needs it", Want: []string{"sandbox-create/disk-full"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Filesystems = append(o.Filesystems, v1alpha1.Filesystem{Path: "/tmp", Mount: "/tmp", Device: "tmpfs", MajorMinor: "0:41", Type: "tmpfs", Bytes: 1 << 30, Inodes: 1 << 20, InodesFree: 1 << 20, Roles: []string{"tmp"}})
		detectorstest.SandboxFails(o, "failed to create containerd task: failed to create shim task: failed to create temp file: open /tmp/runc-process123: no space left on device")
	}},
	{Name: "/var/log full, and the log folder of a pod cannot be made", Want: []string{"sandbox-create/disk-full"}, Remedy: "journalctl", Ill: func(o *v1alpha1.Observation) {
		o.Filesystems = append(o.Filesystems, v1alpha1.Filesystem{Path: "/var/log", Mount: "/var/log", Device: "/dev/vdc1", MajorMinor: "254:33", Type: "ext4", Bytes: 2 << 30, Inodes: 1 << 20, InodesFree: 1 << 20, Roles: []string{"logs"},
			TopUsers: []v1alpha1.PathUse{{Path: "/var/log/journal", Bytes: 1900 << 20, Files: 40, Dir: true}}})
		// The kubelet's own error: no runtime was asked.
		detectorstest.AddPod(o, detectorstest.Pod("default", "new", detectorstest.Waiting("ContainerCreating", "")))
		detectorstest.Event(o, "default", "new", "FailedCreatePodSandBox", "Failed to create pod sandbox: mkdir /var/log/pods/default_new_0a1b: no space left on device", 8*time.Second, 7)
	}},
	{Name: "no inotify watches left", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		limit(o, "inotify-watches", "uid 0", 8192, 8192)
		detectorstest.SandboxFails(o, "failed to create containerd task: failed to add inotify watch for /sys/fs/cgroup/kubelet.slice/x/memory.events: no space left on device")
	}},
	// https://github.com/siderolabs/talos/issues/8554
	{Name: "no user namespaces are allowed, containerd", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "-", Says: "allows no user namespaces", Ill: func(o *v1alpha1.Observation) {
		limit(o, "user-namespaces", "node", 0, 0)
		detectorstest.SandboxFails(o, `failed to create network namespace for sandbox "0752eaba05387bb7782ff1ad87ebd37ec3e1129e4e6e8c0695fc4337eac088d5": failed to start noop process for unshare: fork/exec /proc/self/exe: no space left on device`)
	}},
	// https://github.com/google/gvisor/issues/5964
	{Name: "no user namespaces are allowed, gVisor", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "-", Says: "user namespaces", Ill: func(o *v1alpha1.Observation) {
		limit(o, "user-namespaces", "node", 0, 0)
		detectorstest.SandboxFails(o, `failed to create containerd task: failed to create shim task: OCI runtime create failed: creating container: starting sandbox: fork/exec /proc/self/exe: no space left on device: unknown`)
	}},
	// https://github.com/opencontainers/runc/issues/3666
	{Name: "no user namespaces are allowed, an older runc", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "-", Says: "user namespaces", Ill: func(o *v1alpha1.Observation) {
		limit(o, "user-namespaces", "node", 0, 0)
		detectorstest.SandboxFails(o, `failed to create containerd task: failed to create shim task: OCI runtime create failed: container_linux.go:367: starting container process caused: process_linux.go:352: getting the final child's pid from pipe caused: EOF: unknown`)
	}},
	{Name: "no network namespaces left", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "-", Says: "node uses 256 of 256", Ill: func(o *v1alpha1.Observation) {
		limit(o, "net-namespaces", "node", 256, 256)
		detectorstest.SandboxFails(o, `failed to create network namespace for sandbox "ab12": failed to create namespace: no space left on device`)
	}},
	{Name: "no network namespaces left, CRI-O", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "-", Says: "node uses 256 of 256", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		limit(o, "net-namespaces", "node", 256, 256)
		detectorstest.SandboxFails(o, `failed to pin namespaces [net ipc uts]: [pinns:e]: Failed to unshare namespaces: No space left on device`)
	}},
	{Name: "a quota on the runtime's folder is used up", Want: []string{"sandbox-create/disk-full"}, Likely: true, Remedy: "-", Says: "a quota on /var/lib/containerd", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, "failed to create prepare snapshot dir: failed to create temp dir: mkdir /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/new-1: disk quota exceeded")
	}},
	// https://github.com/kubernetes-sigs/kind/issues/3806, https://github.com/taskcluster/community-tc-config/issues/793
	{Name: "no keys left, runc", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "-", Says: "no keys are left", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to start sandbox "x": failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: unable to join session keyring: unable to create session key: disk quota exceeded`)
	}},
	{Name: "no keys left for a container of a pod that runs, and /tmp is full", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "-", Says: "no keys are left", Ill: func(o *v1alpha1.Observation) {
		o.Filesystems = append(o.Filesystems, v1alpha1.Filesystem{Path: "/tmp", Mount: "/tmp", Device: "tmpfs", MajorMinor: "0:41", Type: "tmpfs", Bytes: 1 << 30, Inodes: 1 << 20, InodesFree: 1 << 20, Roles: []string{"tmp"}})
		detectorstest.AddPod(o, detectorstest.Pod("default", "new", detectorstest.Crashing("StartError", 128, 4, 0)))
		detectorstest.Event(o, "default", "new", "Failed", `Error: failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: unable to join session keyring: unable to create session key: disk quota exceeded`, 20*time.Second, 4)
	}},
	// https://github.com/podman-container-tools/podman/issues/23784
	{Name: "no keys left, crun", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "-", Says: "no keys are left", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		detectorstest.SandboxFails(o, "container create failed: create keyring `410742b2d2de473d2cb955f29b6988303489c911db754cfeb48c80478866d843`: Disk quota exceeded")
	}},
	{Name: "no room left for compiled seccomp filters", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "-", Says: "no room left for compiled filters", Ill: func(o *v1alpha1.Observation) {
		o.Kubelet.Config.SeccompDefault = detectorstest.Ptr(true)
		detectorstest.SandboxFails(o, created+`error during container init: unable to init seccomp: error loading seccomp filter into kernel: error loading seccomp filter: errno 524: unknown`)
	}},
	{Name: "no memory left to start a shim", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "-", Says: "no memory left to start", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to create containerd task: failed to start shim: start failed: fork/exec /usr/bin/containerd-shim-runc-v2: cannot allocate memory`)
	}},
	{Name: "the node's mounts are private", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "-", Says: "the mount / of this node is private", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("kube-system", "csi-node-1", detectorstest.DaemonSet("csi-node"), detectorstest.Waiting("CreateContainerError", `failed to generate container "ab" spec: failed to generate spec: path "/var/lib/kubelet" is mounted on "/" but it is not a shared mount`)))
	}},
	{Name: "a filesystem without idmapped mounts", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "-", Says: "hostUsers: false", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, created+`error during container init: failed to fulfil mount request: failed to set MOUNT_ATTR_IDMAP on /var/lib/kubelet/pods/x: invalid argument (maybe the filesystem used doesn't support idmap mounts on this kernel?): unknown`)
	}},
	{Name: "a handler that containerd does not know", Want: []string{"sandbox-create/oci-runtime-missing"}, Remedy: "-", Says: "has no handler nvidia", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to get sandbox runtime: no runtime for "nvidia" is configured`)
	}},
	{Name: "a handler that CRI-O does not know", Want: []string{"sandbox-create/oci-runtime-missing"}, Remedy: "-", Says: "has no handler kata", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		detectorstest.SandboxFails(o, `failed to find runtime handler kata from runtime list map[crun:0xc0001 runc:0xc002]`)
	}},
	{Name: "the kernel has no overlay filesystem", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Manual: "modprobe overlay", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to start sandbox "ab": failed to create containerd task: failed to create shim task: failed to mount rootfs component: no such device: unknown`)
	}},
	{Name: "layers are gone from the content store", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Manual: "crictl rmi", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "new", detectorstest.Waiting("CreateContainerError", `failed to create containerd container: error unpacking image: failed to extract layer sha256:ab: failed to get reader from content store: content digest sha256:ab: not found`)))
	}},
	{Name: "layers are gone from the snapshotter", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Manual: "crictl rmi", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to create containerd container: failed to create snapshot: missing parent "k8s.io/2/sha256:e3e5579d" bucket: not found`)
	}},
	// https://github.com/cri-o/cri-o/issues/3768, https://github.com/containers/storage/pull/1705
	{Name: "layers are gone from CRI-O's storage", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Says: "CRI-O's storage", Manual: "crio wipe", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		detectorstest.SandboxFails(o, `creating pod sandbox with name "k8s_new_default_0a_1": creating read-write layer with ID "ef9d": Stat /var/lib/containers/storage/overlay/e3e5/diff: no such file or directory`)
	}},
	{Name: "CRI-O's storage does not know a layer", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		detectorstest.SandboxFails(o, `error creating pod sandbox with name "k8s_new_default_0a_1": layer not known`)
	}},
	{Name: "the snapshotter's daemon does not run", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Says: "daemon of its own", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to create containerd container: failed to create snapshot: failed to prepare snapshot: connection error: desc = "transport: Error while dialing: dial unix /run/containerd-nydus/containerd-nydus-grpc.sock: connect: connection refused": unavailable`)
	}},
	{Name: "a pull meets stargz's daemon that does not run", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Says: "/run/containerd-stargz-grpc/containerd-stargz-grpc.sock (connection refused)", Manual: "systemctl start stargz-snapshotter.service", Ill: func(o *v1alpha1.Observation) {
		o.LocalUnits = []v1alpha1.Unit{{Name: "stargz-snapshotter.service", ActiveState: "failed", SubState: "failed"}}
		unpackFails(o, `failed to prepare extraction snapshot "extract-538822608-BFW5 sha256:332b199f36eb": connection error: desc = "transport: Error while dialing: dial unix /run/containerd-stargz-grpc/containerd-stargz-grpc.sock: connect: connection refused": unavailable`)
	}},
	{Name: "a pull meets SOCI's daemon that does not run", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Says: "/run/soci-snapshotter-grpc/soci-snapshotter-grpc.sock (timeout)", Manual: "list-units --all '*soci*'", Ill: func(o *v1alpha1.Observation) {
		unpackFails(o, `failed to prepare extraction snapshot "extract-538822608-BFW5 sha256:332b199f36eb": connection error: desc = "transport: Error while dialing: dial unix:///run/soci-snapshotter-grpc/soci-snapshotter-grpc.sock: timeout"`)
	}},
	{Name: "a pull meets nydus' daemon, whose pod does not run", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Says: "snapshotter nydus", Manual: "pod nydus-system/nydus-snapshotter-4kx2z", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("nydus-system", "nydus-snapshotter-4kx2z", detectorstest.DaemonSet("nydus-snapshotter")))
		unpackFails(o, `failed to prepare extraction snapshot "extract-1 sha256:332b199f36eb": connection error: desc = "transport: Error while dialing dial unix /run/containerd-nydus/containerd-nydus-grpc.sock: connect: no such file or directory": unavailable: unknown`)
	}},
	{Name: "a pull meets overlaybd's daemon that does not run", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Says: "snapshotter overlaybd", Ill: func(o *v1alpha1.Observation) {
		unpackFails(o, `failed to stat snapshot sha256:332b199f36eb: connection error: desc = "transport: Error while dialing: dial unix /run/overlaybd-snapshotter/overlaybd.sock: connect: connection refused": unavailable`)
	}},
	{Name: "the kubelet asks a daemon for images that does not run", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Says: "snapshotter stargz", Ill: func(o *v1alpha1.Observation) {
		p := detectorstest.PullFails(o, "ghcr.io/team/web:1", "")
		o.API.Events[len(o.API.Events)-1].Message = `Failed to pull image "` + p.Spec.Containers[0].Image + `": rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix /run/containerd-stargz-grpc/containerd-stargz-grpc.sock: connect: connection refused"`
	}},
	{Name: "a pull meets a database without the layers it names", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Manual: "crictl rmi", Ill: func(o *v1alpha1.Observation) {
		unpackFails(o, `failed to extract layer sha256:332b199f36eb: failed to get reader from content store: content digest sha256:1b930d010525: not found`)
	}},
	{Name: "a pull meets a quota", Want: []string{"sandbox-create/disk-full"}, Likely: true, Remedy: "-", Says: "quota on /var/lib/containerd", Ill: func(o *v1alpha1.Observation) {
		unpackFails(o, `failed to extract layer sha256:332b199f36eb: write /var/lib/containerd/tmpmounts/containerd-mount1/usr/lib/x.so: disk quota exceeded: unknown`)
	}},
	{Name: "a pull meets a runtime without open files", Want: []string{"sandbox-create/snapshotter-unwritable"}, Remedy: "-", Says: "no open files are left", Ill: func(o *v1alpha1.Observation) {
		o.Limits = []v1alpha1.Limit{{Name: "open-files", Of: "containerd (PID 200)", Used: 1024, Max: 1024}}
		unpackFails(o, `failed to copy: failed to send write: open /var/lib/containerd/io.containerd.content.v1.content/ingest/1/ref: too many open files: unknown`)
	}},
	{Name: "a pull meets a content store that takes no writes", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Says: "/var/lib/containerd/io.containerd.content.v1.content/ingest/1", Ill: func(o *v1alpha1.Observation) {
		unpackFails(o, `failed commit on ref "layer-sha256:33": commit failed: rename /var/lib/containerd/io.containerd.content.v1.content/ingest/1/data /var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/33: read-only file system`)
	}},
	{Name: "a pull names a snapshotter that containerd has not", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Says: "names a snapshotter", Ill: func(o *v1alpha1.Observation) {
		unpackFails(o, `failed to unpack image on snapshotter stargz: snapshotter stargz was not found: not found`)
	}},
	{Name: "the runtime's disk fails", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Says: "under /var/lib/containerd fails (input/output error", Manual: "drain the node", Ill: func(o *v1alpha1.Observation) {
		unpackFails(o, `failed to extract layer sha256:33: write /var/lib/containerd/tmpmounts/containerd-mount1/x: input/output error: unknown`)
	}},
	{Name: "CRI-O's filesystem is damaged", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Says: "(structure needs cleaning at /var/lib/containers/storage/overlay/44/diff)", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		detectorstest.SandboxFails(o, `error creating pod sandbox with name "k8s_new_default_0a_0": mount overlay: lstat /var/lib/containers/storage/overlay/44/diff: structure needs cleaning`)
	}},
	{Name: "Docker does not find its NVIDIA runtime", Want: []string{"sandbox-create/oci-runtime-missing"}, Likely: true, Remedy: "-", Says: "nvidia-container-runtime", Manual: "daemon.json", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to start sandbox container for pod "new": Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: unable to retrieve OCI runtime error (open /run/containerd/x/log.json: no such file or directory): exec: "nvidia-container-runtime": executable file not found in $PATH: unknown`)
	}},
	{Name: "nydusd has ended", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Says: "lost the daemon that serves it", Manual: "nydusd", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to start sandbox "ab": failed to create containerd task: failed to create shim task: failed to mount rootfs component: stat /var/lib/containerd/io.containerd.snapshotter.v1.nydus/snapshots/42/mnt: transport endpoint is not connected: unknown`)
	}},
	{Name: "a pull of CRI-O meets a store of layers whose daemon has ended", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Says: "lost the daemon that serves it", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		p := detectorstest.PullFails(o, "ghcr.io/team/web:1", "")
		o.API.Events[len(o.API.Events)-1].Message = `Failed to pull image "` + p.Spec.Containers[0].Image + `": rpc error: code = Unknown desc = copying system image from manifest list: committing the finished image: looking up additional layer store: open /var/lib/stargz-store/store/Z2hjcg==: transport endpoint is not connected`
	}},
	{Name: "a pull is refused its snapshot's directory", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Says: "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots", Ill: func(o *v1alpha1.Observation) {
		unpackFails(o, `failed to prepare extraction snapshot "extract-1 sha256:332b199f36eb": failed to create prepare snapshot dir: failed to create temp dir: mkdir /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/new-1: operation not permitted`)
	}},
	{Name: "the configuration names a snapshotter that containerd has not", Want: []string{"sandbox-create/snapshotter-unwritable"}, Likely: true, Remedy: "-", Says: "names a snapshotter", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to create containerd container: snapshotter not loaded: stargz: invalid argument`)
	}},
	{Name: "Kata on a node without KVM", Want: []string{"sandbox-create/oci-runtime-missing"}, Remedy: "-", Says: "KVM is not to be had", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to create containerd task: failed to create shim task: Could not access KVM kernel module: No such file or directory qemu-system-x86_64: failed to initialize kvm: No such file or directory: unknown`)
	}},
	{Name: "runc is not in a PATH that is not known, by its name", Want: []string{"sandbox-create/oci-runtime-missing"}, Ill: func(o *v1alpha1.Observation) {
		pathNotKnown(o)
		runcGone(o)
	}},
	{Name: "no inotify instances left", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		limit(o, "inotify-instances", "uid 0", 128, 128)
		detectorstest.SandboxFails(o, "failed to create fsnotify watcher: too many open files")
	}},
	{Name: "no process IDs left", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		limit(o, "pids", "system.slice", 4915, 4915)
		detectorstest.SandboxFails(o, "failed to create containerd task: failed to start shim: start failed: fork/exec /usr/local/bin/containerd-shim-runc-v2: resource temporarily unavailable")
	}},
	{Name: "the pods' slice has no process IDs left", Want: []string{"sandbox-create/cgroup-unwritable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		limit(o, "pids", "kubepods.slice", 4000, 4000)
		detectorstest.SandboxFails(o, "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: can't start: resource temporarily unavailable")
	}},
	{Name: "the kubelet has no open files left", Want: []string{"sandbox-create/snapshotter-unwritable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		limit(o, "open-files", "kubelet 300", 65536, 65536)
		detectorstest.SandboxFails(o, "rpc error: open /proc/sys/kernel: too many open files")
	}},
	{Name: "the runtime has no open files left", Want: []string{"sandbox-create/snapshotter-unwritable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		limit(o, "open-files", "containerd 200", 1024, 1024)
		detectorstest.SandboxFails(o, "failed to create containerd container: failed to create prepare snapshot dir: open /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots: too many open files")
	}},
	{Name: "a handler for Kata whose shim is not installed", Want: []string{"sandbox-create/shim-missing"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		handler(o, v1alpha1.RuntimeHandler{Name: "kata", Type: "io.containerd.kata.v2"})
		detectorstest.SandboxFails(o, `failed to start sandbox "x": failed to create containerd task: failed to start shim: failed to resolve runtime path: runtime "io.containerd.kata.v2" binary not installed "containerd-shim-kata-v2": file does not exist`)
	}},
	{Name: "a handler whose shim's path is of another node", Want: []string{"sandbox-create/shim-missing"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		handler(o, v1alpha1.RuntimeHandler{Name: "spin", Type: "/opt/kwasm/bin/containerd-shim-spin-v2"})
		detectorstest.SandboxFails(o, `failed to start sandbox "x": failed to create containerd task: failed to start shim: start failed: fork/exec /opt/kwasm/bin/containerd-shim-spin-v2: no such file or directory`)
	}},
	{Name: "runc of another architecture", Want: []string{"sandbox-create/oci-runtime-missing"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Host.InContainer = false
		detectorstest.SandboxFails(o, "failed to create containerd task: failed to create shim task: OCI runtime create failed: unable to retrieve OCI runtime error (open /run/containerd/x/log.json: no such file or directory): fork/exec /usr/local/sbin/runc: exec format error")
	}},
	{Name: "a shim of another architecture", Want: []string{"sandbox-create/shim-missing"}, Remedy: ":/usr/local/bin/containerd-shim-runc-v2", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, "failed to create containerd task: failed to start shim: start failed: fork/exec /usr/local/bin/containerd-shim-runc-v2: exec format error")
	}},
	{Name: "runc on a filesystem that is mounted noexec", Want: []string{"sandbox-create/oci-runtime-missing"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Mounts = append(o.Mounts, v1alpha1.Mount{Target: "/usr/local", Source: "/dev/vdb1", Root: "/", Type: "ext4", Options: []string{"rw", "noexec"}})
		detectorstest.SandboxFails(o, "failed to create containerd task: failed to create shim task: OCI runtime create failed: unable to retrieve OCI runtime error (open /run/containerd/x/log.json: no such file or directory): fork/exec /usr/local/sbin/runc: permission denied")
	}},
	{Name: "runc gone from a machine that is no container", Want: []string{"sandbox-create/oci-runtime-missing"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		o.Host.InContainer = false
		o.Runtime.Handlers[0].RuntimePath = ""
	}},
	{Name: "XFS gave the runtime's disk up", Want: []string{"sandbox-create/snapshotter-unwritable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
		f.ReadOnly, f.Type, f.Device = true, "xfs", "/dev/mapper/vg-containerd"
		detectorstest.Kmsg(o, "XFS (dm-3): Filesystem has been shut down due to log error (0x2).", 40*time.Second)
	}},
	{Name: "XFS found its metadata damaged, and shut the runtime's disk down", Want: []string{"sandbox-create/snapshotter-unwritable"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		f := detectorstest.LoopFilesystem(o, "/var/lib/containerd", "imagefs")
		f.ReadOnly, f.Type, f.Device = true, "xfs", "/dev/dm-3"
		detectorstest.Kmsg(o, "XFS (dm-3): Corruption of in-memory data (0x8) detected at xfs_defer_finish_noroll+0x2f6/0x520 [xfs] (fs/xfs/libxfs/xfs_defer.c:718).  Shutting down filesystem.", 40*time.Second)
	}},
	{Name: "gVisor's shim is not installed", Want: []string{"sandbox-create/shim-missing"}, Remedy: "-", Ill: func(o *v1alpha1.Observation) {
		handler(o, v1alpha1.RuntimeHandler{Name: "gvisor", Type: "io.containerd.runsc.v1"})
		detectorstest.SandboxFails(o, `failed to start sandbox "x": failed to create containerd task: failed to start shim: failed to resolve runtime path: runtime "io.containerd.runsc.v1" binary not installed "containerd-shim-runsc-v1": file does not exist`)
	}},
	{Name: "shim gone, and addresses that nobody has any more", Want: []string{"cni/ipam-exhausted", "sandbox-create/shim-missing"}, Ill: func(o *v1alpha1.Observation) {
		shimGone(o)
		o.CNI.IPAM[0].Reserved, o.CNI.IPAM[0].Orphans = o.CNI.IPAM[0].Capacity, 200
	}},
}

var silent = []detectorstest.Case{
	{Name: "CRI-O has started since its monitor was gone, and answers nothing now", Ill: func(o *v1alpha1.Observation) {
		detectorstest.CRIO(o)
		o.Runtime.Handlers, o.Files = nil, nil
		detectorstest.Unknown(o, "CRI call over unix:///var/run/crio/crio.sock gave no answer within 1.5 s", v1alpha1.SourceStatus)
		detectorstest.Log(o, "crio", `time="2026-11-29T23:01:50Z" level=fatal msg="validating runtime config: monitor fields translation: failed to translate monitor fields for runtime runc: invalid conmon path: stat /usr/bin/conmon: no such file or directory"`, 100*time.Second)
		detectorstest.Unit(o, "crio", func(u *v1alpha1.Unit) { u.ActiveSince = detectorstest.Ago(70 * time.Second) })
	}},
	{Name: "a container was started since the shim was gone, and containerd was stopped then", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Handlers, o.Files = nil, nil
		detectorstest.Unknown(o, "Status over unix:///run/containerd/containerd.sock gave no answer within 1.5 s", v1alpha1.SourceStatus)
		detectorstest.Log(o, "containerd", `level=error msg="RunPodSandbox for &PodSandboxMetadata{Name:web,Namespace:default,Attempt:0,} failed, error" error="rpc error: code = Unknown desc = failed to start sandbox: failed to create containerd task: failed to start shim: runtime \"io.containerd.runc.v2\" binary not installed \"containerd-shim-runc-v2\": file does not exist"`, 100*time.Second)
		detectorstest.Event(o, "default", "web", "Started", "Container started", 60*time.Second, 1)
	}},
	{Name: "a volume whose driver's process has ended", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "new", detectorstest.Waiting("CreateContainerError", `failed to generate container "ab" spec: failed to generate spec: failed to stat "/var/lib/kubelet/pods/d41e083d/volumes/kubernetes.io~csi/pv-1/mount": stat /var/lib/kubelet/pods/d41e083d/volumes/kubernetes.io~csi/pv-1/mount: transport endpoint is not connected`)))
	}},
	{Name: "CRI-O with its monitor and its programs", Ill: crioPrograms},
	{Name: "CRI-O, whose programs an older agent did not look for", Ill: detectorstest.CRIO},
	{Name: "a sandbox failed and was made since", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Event(o, "default", "app", "FailedCreatePodSandBox", "Failed to create pod sandbox: no space left on device; failed to find plugin \"ptp\"", 30*time.Second, 4)
	}},
	{Name: "a pod that failed is deleted", Ill: func(o *v1alpha1.Observation) {
		detectorstest.Event(o, "default", "gone", "FailedCreatePodSandBox", "unable to apply cgroup configuration", 10*time.Second, 4)
	}},
	{Name: "a snapshotter's layer is mounted read-only", Ill: func(o *v1alpha1.Observation) {
		o.Mounts = append(o.Mounts, v1alpha1.Mount{Target: "/var/lib/containerd/io.containerd.snapshotter.v1.erofs/snapshots/42/fs", Source: "/dev/loop7", Root: "/", Type: "ext4", Options: []string{"ro", "relatime"}})
	}},
	{Name: "a mount point in a container's read-only root", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error mounting "/var/lib/kubelet/pods/0a/volumes/kubernetes.io~configmap/c" to rootfs at "/etc/c": create mountpoint for /etc/c mount: mkdirat /run/containerd/io.containerd.runtime.v2.task/k8s.io/0b/rootfs/etc/c: read-only file system`)
	}},
	{Name: "a hostPath that the node's read-only system does not let be made", Ill: func(o *v1alpha1.Observation) {
		detectorstest.SandboxFails(o, `failed to generate container "0b" spec: failed to generate spec: failed to mkdir "/data": mkdir /data: read-only file system`)
	}},
	{Name: "nydus' and erofs' layers are mounted read-only", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Snapshotter = "nydus"
		for _, at := range []string{"io.containerd.snapshotter.v1.nydus/mnt", "io.containerd.snapshotter.v1.nydus/snapshots/7/mnt", "io.containerd.snapshotter.v1.erofs"} {
			o.Mounts = append(o.Mounts, v1alpha1.Mount{Target: "/var/lib/containerd/" + at, Source: "/dev/loop8", Root: "/", Type: "erofs", Options: []string{"ro"}})
		}
	}},
	{Name: "a small /run that nobody misses", Ill: func(o *v1alpha1.Observation) { detectorstest.RunFilesystem(o).BytesFree = 3 << 20 }},
	{Name: "/tmp full, and a pod that fails for something else", Ill: func(o *v1alpha1.Observation) {
		o.Filesystems = append(o.Filesystems, v1alpha1.Filesystem{Path: "/tmp", Mount: "/tmp", Device: "tmpfs", MajorMinor: "0:41", Type: "tmpfs", Bytes: 1 << 30, Inodes: 1 << 20, InodesFree: 1 << 20, Roles: []string{"tmp"}})
		detectorstest.SandboxFails(o, "failed to write /data/x: no space left on device")
	}},
	{Name: "a hardened node allows no user namespaces, and no sandbox fails", Ill: func(o *v1alpha1.Observation) { limit(o, "user-namespaces", "node", 0, 0) }},
	{Name: "inotify instances used up, and no sandbox fails", Ill: func(o *v1alpha1.Observation) { limit(o, "inotify-instances", "uid 0", 128, 128) }},
	{Name: "people's sessions have no process IDs left", Ill: func(o *v1alpha1.Observation) {
		limit(o, "pids", "user.slice", 1000, 1000)
		detectorstest.SandboxFails(o, "something else: resource temporarily unavailable")
	}},
	{Name: "another process has no open files left", Ill: func(o *v1alpha1.Observation) {
		limit(o, "open-files", "java 900", 1024, 1024)
		detectorstest.SandboxFails(o, "failed to read the image's configuration: too many open files")
	}},
	// k3s keeps its shim and runc in a folder of its own.
	{Name: "binaries of a runtime whose PATH is not known", Ill: pathNotKnown},
	{Name: "a program that an image has not, under a runtime whose PATH is not known", Ill: func(o *v1alpha1.Observation) {
		pathNotKnown(o)
		detectorstest.AddPod(o, detectorstest.Pod("default", "new", detectorstest.Crashing("StartError", 128, 14, 0)))
		detectorstest.Event(o, "default", "new", "Failed", `Error: `+created+`exec: "serve": executable file not found in $PATH: unknown`, 20*time.Second, 31)
	}},
	{Name: "an image's program that is for another machine and called runc", Ill: func(o *v1alpha1.Observation) {
		detectorstest.AddPod(o, detectorstest.Pod("default", "new", detectorstest.Crashing("StartError", 128, 14, 0)))
		detectorstest.Event(o, "default", "new", "Failed", `Error: `+created+`exec /usr/local/bin/runc: exec format error: unknown`, 20*time.Second, 31)
	}},
	{Name: "a handler that is known since", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Handlers[1].Name = "nvidia"
		detectorstest.SandboxFails(o, `failed to get sandbox runtime: no runtime for "nvidia" is configured`)
	}},
	{Name: "a handler that no pod asks for, without its shim", Ill: func(o *v1alpha1.Observation) {
		o.Runtime.Handlers = append(o.Runtime.Handlers, v1alpha1.RuntimeHandler{Name: "gvisor", Type: "io.containerd.runsc.v1"})
	}},
	// containerd takes a runtime_type that is a path as it is (shim_manager.go, resolveRuntimePath).
	{Name: "a handler whose type is its shim's path", Ill: func(o *v1alpha1.Observation) {
		detectorstest.RuntimeClass(o, "wasm", "spin")
		o.Runtime.Handlers = append(o.Runtime.Handlers, v1alpha1.RuntimeHandler{Name: "spin", Type: "/opt/kwasm/bin/containerd-shim-spin-v2"})
		detectorstest.AddPod(o, detectorstest.Pod("default", "wasm", func(p *corev1.Pod) { p.Spec.RuntimeClassName = detectorstest.Ptr("wasm") }))
		o.Files = append(o.Files, v1alpha1.File{Path: "/opt/kwasm/bin/containerd-shim-spin-v2", Exists: true, Mode: "-rwxr-xr-x", SizeBytes: 30 << 20})
	}},
}

// unpackFails is a pull whose registry answered, and that the node itself cannot take in.
func unpackFails(o *v1alpha1.Observation, message string) {
	const image = "ghcr.io/team/web:1"
	detectorstest.PullFails(o, image, "")
	o.API.Events[len(o.API.Events)-1].Message = `Failed to pull image "` + image + `": rpc error: code = Unknown desc = failed to pull and unpack image "` + image + `": ` + message
}

// crioPrograms are those that CRI-O's configuration names.
func crioPrograms(o *v1alpha1.Observation) {
	detectorstest.CRIO(o)
	o.Runtime.DefaultHandler = "runc"
	o.Runtime.Handlers = []v1alpha1.RuntimeHandler{{Name: "runc", BinaryName: "/usr/local/sbin/runc", RuntimePath: "/usr/local/sbin/runc", ShimPath: "/usr/bin/conmon", SystemdCgroup: detectorstest.Ptr(true)}}
	o.Runtime.Environment.Path = []string{"/usr/local/sbin", "/usr/bin"}
	o.Files = []v1alpha1.File{{Path: "/usr/bin/conmon", Exists: true, Mode: "-rwxr-xr-x", SizeBytes: 150 << 10}, {Path: "/usr/local/sbin/runc", Exists: true, Mode: "-rwxr-xr-x", SizeBytes: 3 << 20}}
}

// created is what containerd and runc put before the reason.
const created = `failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: `

// pathNotKnown is a node whose runtime's PATH nobody read, as k3s' with an older agent.
func pathNotKnown(o *v1alpha1.Observation) {
	o.Runtime.Environment.Path, o.Files = nil, nil
	o.Runtime.Handlers[0].ShimPath, o.Runtime.Handlers[0].RuntimePath = "", ""
}

func shimGone(o *v1alpha1.Observation) {
	o.Runtime.Handlers[0].ShimPath, o.Runtime.Handlers[1].ShimPath = "", ""
	detectorstest.SandboxFails(o, `failed to start sandbox "x": failed to create containerd task: failed to start shim: start failed: fork/exec /usr/local/bin/containerd-shim-runc-v2: no such file or directory`)
}

// stopped is containerd that somebody stopped a minute ago: pods' newest failures are of that.
func stopped(o *v1alpha1.Observation) {
	detectorstest.Unit(o, "containerd", func(u *v1alpha1.Unit) { u.ActiveState, u.SubState, u.MainPID = "inactive", "dead", 0 })
	o.Processes = o.Processes[1:]
	detectorstest.RuntimeSilent(o)
	detectorstest.Event(o, "default", "new", "FailedCreatePodSandBox", `Failed to create pod sandbox: rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused"`, 2*time.Second, 5)
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

// run is the tmpfs of state, sockets and network namespaces.
func limit(o *v1alpha1.Observation, name, of string, used, most int64) {
	o.Limits = append(o.Limits, v1alpha1.Limit{Name: name, Of: of, Used: used, Max: most})
}

// handler gives the runtime a handler, and the cluster a RuntimeClass and a pod of it.
func handler(o *v1alpha1.Observation, h v1alpha1.RuntimeHandler) {
	detectorstest.RuntimeClass(o, h.Name, h.Name)
	o.Runtime.Handlers = append(o.Runtime.Handlers, h)
	detectorstest.AddPod(o, detectorstest.Pod("default", h.Name, func(p *corev1.Pod) { p.Spec.RuntimeClassName = detectorstest.Ptr(h.Name) }))
}
