package words

// The words of Linux, read in version 6.12.
var (
	NoSpaceLeftOnDevice = kernel.says("no space left on device", Entry{File: "errno, as Go spells it: src/syscall/zerrors_linux_amd64.go",
		Sample: "d.grpc.v1.cri/sandboxes/faa6e8959e19bdae8053d220c20c831df13035faee8b253eaccb7bcb59a24262: no space left on device"})
	ReadOnlyFileSystem = kernel.says("read-only file system", Entry{File: "errno, as Go spells it: src/syscall/zerrors_linux_amd64.go",
		Sample: "steffort.slice/kubelet-kubepods-besteffort-pode4549535_a91a_4155_abd3_ae9152b2b352.slice: read-only file system"})
	NoRouteToHost = kernel.says("no route to host", Entry{File: "errno, as Go spells it: src/syscall/zerrors_linux_amd64.go",
		Sample: `Liveness probe failed: Get "http://10.244.7.62:8080/healthz": dial tcp 10.244.7.62:8080: connect: no route to host`})
	ConnectionRefused = kernel.says("connection refused", Entry{File: "errno, as Go spells it: src/syscall/zerrors_linux_amd64.go",
		Sample: "dial tcp 172.17.0.13:443: connect: connection refused"})
	OperationNotPermitted = kernel.says("operation not permitted", Entry{File: "errno, as Go spells it: src/syscall/zerrors_linux_amd64.go",
		Sample: `E1128 01:38:52.606702   34447 server.go:1332] "Failed to set rlimit on max file handles" err="operation not permitted"`})
	NoSuchFileOrDirectory = kernel.says("no such file or directory", Entry{File: "errno, as Go spells it: src/syscall/zerrors_linux_amd64.go",
		Sample: `rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: no such file or directory"`})
	TooManyOpenFiles = kernel.says("too many open files", Entry{File: "errno, as Go spells it: src/syscall/zerrors_linux_amd64.go",
		Sample: "failed to create fsnotify watcher: too many open files"})
	CannotAllocateMemory = kernel.says("cannot allocate memory", Entry{File: "errno, as Go spells it: src/syscall/zerrors_linux_amd64.go",
		Sample: "fork/exec /usr/local/bin/containerd-shim-runc-v2: cannot allocate memory"})
	TemporarilyUnavailable = kernel.says("resource temporarily unavailable", Entry{File: "errno, as Go spells it: src/syscall/zerrors_linux_amd64.go",
		Sample: "failed to start shim: start failed: fork/exec /usr/bin/containerd-shim-runc-v2: resource temporarily unavailable"})
	CannotAssignAddress = kernel.says("cannot assign requested address", Entry{File: "errno, as Go spells it: src/syscall/zerrors_linux_amd64.go",
		Sample: "dial tcp 10.0.0.100:6443: connect: cannot assign requested address"})
	ConntrackFull = kernel.says("table full, dropping packet", Entry{File: "net/netfilter/nf_conntrack_core.c",
		Sample: "nf_conntrack: nf_conntrack: table full, dropping packet"})
	ExecFormatError = kernel.says("exec format error", Entry{File: "errno, as Go spells it: src/syscall/zerrors_linux_amd64.go",
		Sample: "failed to start shim: start failed: fork/exec /usr/bin/containerd-shim-runc-v2: exec format error"})
	RemountedReadOnly = kernel.says("Remounting filesystem read-only", Entry{File: "fs/ext4/super.c",
		Sample: "EXT4-fs (loop3): Remounting filesystem read-only"})
	XFSShutDown = kernel.says("has been shut down", Entry{File: "fs/xfs/xfs_log.c",
		Sample: "XFS (dm-3): Filesystem has been shut down due to log error (0x2)."})
	XFSShutsDown = kernel.says("Shutting down filesystem", Entry{File: "fs/xfs/xfs_fsops.c",
		Sample: "XFS (dm-3): Corruption of in-memory data (0x8) detected at xfs_defer_finish_noroll+0x2f6/0x520 [xfs] (fs/xfs/libxfs/xfs_defer.c:718).  Shutting down filesystem."})
	BtrfsForcedReadOnly = kernel.says("forced readonly", Entry{File: "fs/btrfs/messages.c",
		Sample: "BTRFS info (device vdb state EA): forced readonly"})
	DuplicateUUID = kernel.says("has duplicate UUID", Entry{File: "fs/xfs/xfs_mount.c",
		Sample: "XFS (nvme1n1): Filesystem has duplicate UUID 5f6f4c8e-0c0e-4c0a-9b54-7f2ab4f36d6a - can't mount"})
	UnsupportedFeatures = kernel.says("because of unsupported optional features", Entry{File: "fs/ext4/super.c",
		Sample: "EXT4-fs (sdb): Couldn't mount because of unsupported optional features (4000)"})
	WriteAccessUnavailable = kernel.says("write access unavailable", Entry{File: "fs/ext4/super.c",
		Sample: "EXT4-fs (sdc): write access unavailable, cannot proceed (try mounting with noload)"})
	DeviceIOError = kernel.says("I/O error", Entry{File: "block/blk-mq.c, with the name of block/blk-core.c; fs/buffer.c",
		Sample: "I/O error, dev rbd0, sector 2 op 0x0:(READ) flags 0x1000 phys_seg 1 prio class 2"})
	EndpointNotConnected = kernel.says("ransport endpoint is not connected", Entry{File: "errno, as Go and the C library spell it",
		Sample: "stat /var/lib/kubelet/pods/d41e083d/volumes/kubernetes.io~csi/pv-1/mount: transport endpoint is not connected"})
	MemoryOomGroupSet = kernel.says("memory.oom.group set", Entry{File: "mm/memcontrol.c",
		Sample: "e37bcf1f3b47cb49e44dedd90479956133e955694675efababb4a.scope are going to be killed due to memory.oom.group set"})
)

var kernel = &Component{Name: "kernel", Version: "6.12"}
