package oci

// Report is what the probe saw from inside a privileged container. It answers whether nodes can be made to fall ill in there.
type Report struct {
	Capabilities  Set      `json:"capabilities"`      // effective
	FullUserIDs   bool     `json:"fullUserIDs"`       // uid 0 is the host's root, not a mapped user (rootless engines)
	MountError    string   `json:"mountError"`        // why a tmpfs could not be mounted, "" when it could
	LoopDevices   bool     `json:"loopDevices"`       // /dev/loop-control is there
	CgroupVersion int      `json:"cgroupVersion"`     // 1 or 2; 1 for the hybrid layout
	Kernel        string   `json:"kernel"`            // uname -r of the machine the engine runs on
	Boot          string   `json:"boot,omitempty"`    // the boot id of that machine: no two running kernels share one
	Missing       []string `json:"missing,omitempty"` // capabilities not granted
}

// Rootless is why an engine without root is refused.
const Rootless = "the engine is rootless: root in its containers is not root of the kernel, so no loop device, swap or filesystem can be made to fail"

// Privileged tells whether the container had what a node needs. The reason is for people.
func (r Report) Privileged() (ok bool, reason string) {
	switch {
	case !r.Capabilities.Has("CAP_SYS_ADMIN") || !r.Capabilities.Has("CAP_NET_ADMIN"):
		return false, "a privileged container has neither CAP_SYS_ADMIN nor CAP_NET_ADMIN"
	case !r.FullUserIDs:
		return false, Rootless
	case r.MountError != "":
		return false, "a privileged container cannot mount: " + r.MountError
	}
	return true, ""
}
