package engine

import (
	"encoding/json"
	"fmt"
)

// machine is what the configuration of the private engine depends on.
type machine struct {
	SystemdCgroups bool   // systemd is PID 1 and the hierarchy is v2: dockerd leaves cgroups to it
	OverlayOnRoot  bool   // the state directory can carry overlay mounts (it is not itself an overlay)
	MaxFiles       uint64 // hard limit of open files, which nobody may exceed here
	Bridge         string // "none", or the bridge made because docker0 belongs to another engine
}

// ownBridgeName is made where docker0 belongs to another engine: dockerd without a default bridge would delete it.
const ownBridgeName = "sickbay-docker0"

// dockerdJSON is the daemon's whole configuration. It is a file of its own, not flags, so that /etc/docker/daemon.json of another
// engine is not read.
func dockerdJSON(opts Options, m machine) ([]byte, error) {
	type runtime struct {
		Path string `json:"path"`
	}
	type ulimit struct {
		Name       string
		Hard, Soft uint64
	}
	config := struct {
		Hosts               []string           `json:"hosts"`
		DataRoot            string             `json:"data-root"`
		ExecRoot            string             `json:"exec-root"`
		PIDFile             string             `json:"pidfile"`
		Containerd          string             `json:"containerd"`
		Namespace           string             `json:"containerd-namespace"`
		PluginsNamespace    string             `json:"containerd-plugins-namespace"`
		Labels              []string           `json:"labels"`
		Runtimes            map[string]runtime `json:"runtimes"`
		DefaultRuntime      string             `json:"default-runtime"`
		CgroupParent        string             `json:"cgroup-parent"`
		ExecOpts            []string           `json:"exec-opts,omitempty"`
		Bridge              string             `json:"bridge"`
		IPTables            bool               `json:"iptables"`
		StorageDriver       string             `json:"storage-driver,omitempty"`
		LogLevel            string             `json:"log-level"`
		LogDriver           string             `json:"log-driver"`
		LogOpts             map[string]string  `json:"log-opts"`
		DefaultUlimits      map[string]ulimit  `json:"default-ulimits"`
		MaxConcurrentPulls  int                `json:"max-concurrent-downloads"`
		ShutdownTimeoutSecs int                `json:"shutdown-timeout"`
	}{
		Hosts:            []string{opts.host()},
		DataRoot:         opts.dataRoot(),
		ExecRoot:         opts.execRoot(),
		PIDFile:          opts.dockerdPID(),
		Containerd:       opts.containerdSocket(),
		Namespace:        "sickbay",
		PluginsNamespace: "sickbay-plugins",
		Labels:           []string{privateLabel},
		Runtimes:         map[string]runtime{"sickbay": {opts.runtime()}},
		DefaultRuntime:   "sickbay",
		CgroupParent:     "/" + opts.cgroup(),
		ExecOpts:         []string{"native.cgroupdriver=cgroupfs"},
		Bridge:           m.Bridge,
		IPTables:         true,
		LogLevel:         "warn",
		LogDriver:        "json-file",
		// A node's console is small; a workload that talks must not fill the host's disk.
		LogOpts:             map[string]string{"max-size": "10m", "max-file": "2"},
		MaxConcurrentPulls:  3,
		ShutdownTimeoutSecs: 15,
	}
	if m.SystemdCgroups {
		config.CgroupParent, config.ExecOpts = opts.cgroup()+".slice", nil
	}
	if m.OverlayOnRoot {
		// Said explicitly because newer engines would take containerd's snapshotters, which `docker save` of a node image is slower with.
		config.StorageDriver = "overlay2"
	}
	// Without CAP_SYS_RESOURCE a limit above the machine's own fails the container; an endless one makes old programs in it close
	// a billion descriptors one by one.
	files := min(m.MaxFiles, 1<<20)
	config.DefaultUlimits = map[string]ulimit{"nofile": {"nofile", files, files}}
	return json.MarshalIndent(config, "", "  ")
}

// containerdTOML is the configuration of the private engine's own containerd. dockerd would otherwise join a containerd that
// runs on the host already, and its containers with it.
func containerdTOML(opts Options) string {
	return fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = %q
[debug]
  level = "warn"
`, opts.containerdRoot(), opts.containerdState(), opts.containerdSocket())
}
