package words

// The words of CRI-O, read in version v1.34.0.
var (
	CgroupfsGotSlice = crio.says("cgroup manager, but received systemd slice as parent", Entry{File: "internal/config/cgmgr/cgroupfs_linux.go",
		Sample: "cri-o configured with cgroupfs cgroup manager, but received systemd slice as parent: kubelet-kubepods-besteffort-pod1.slice"})
	SystemdGotNoSlice = crio.says("cgroup manager, but did not receive slice as parent", Entry{File: "internal/config/cgmgr/systemd_linux.go",
		Sample: "cri-o configured with systemd cgroup manager, but did not receive slice as parent: /kubelet/kubepods/besteffort/pod1"})
	InvalidConmonPath = crio.says("invalid conmon path:", Entry{File: "pkg/config/config.go",
		Sample: `level=fatal msg="validating runtime config: monitor fields translation: failed to translate monitor fields for runtime runc: invalid conmon path: stat /usr/bin/conmon: no such file or directory"`})
)

var crio = &Component{Name: "CRI-O", Version: "v1.34.0"}
