package op

import (
	"path"
	"strings"
)

// CRI is what faults have to know of the node's container runtime.
type CRI struct {
	Unit string // with .service
	// Root holds images and containers; a filesystem of its own is mounted there.
	Root string
	// Certs has a folder for each registry.
	Certs  string
	Socket string // path
	// Shim is the program that stands between the runtime and a container.
	Shim string
	// Tasks has a folder for each running container, on a tmpfs: readable while the disk is frozen. Bundle, below it, has the container's
	// config.json, and PID is the file beside that with the process.
	Tasks, Bundle, PID string
	// Annotations of a config.json.
	kind, namespace, pod, name, sandbox string
}

// Containerd and CRIO are the two that nodes of sickbay have.
var (
	Containerd = CRI{
		Unit: "containerd.service", Root: "/var/lib/containerd", Certs: "/etc/containerd/certs.d", Socket: "/run/containerd/containerd.sock",
		Shim: "containerd-shim-runc-v2", Tasks: "/run/containerd/io.containerd.runtime.v2.task/k8s.io", PID: "init.pid",
		kind: "io.kubernetes.cri.container-type", namespace: "io.kubernetes.cri.sandbox-namespace", pod: "io.kubernetes.cri.sandbox-name",
		name: "io.kubernetes.cri.container-name", sandbox: "io.kubernetes.cri.sandbox-id",
	}
	CRIO = CRI{
		Unit: "crio.service", Root: "/var/lib/containers", Certs: "/etc/containers/certs.d", Socket: "/run/crio/crio.sock",
		Shim: "conmon", Tasks: "/run/containers/storage/overlay-containers", Bundle: "userdata", PID: "pidfile",
		kind: "io.kubernetes.cri-o.ContainerType", namespace: "io.kubernetes.pod.namespace", pod: "io.kubernetes.pod.name",
		name: "io.kubernetes.container.name", sandbox: "io.kubernetes.cri-o.SandboxID",
	}
)

// CRIOf is the node's: its configuration is there also while it does not run.
func CRIOf(sys interface {
	Stat(path string) (Stat, error)
}) CRI {
	if _, err := sys.Stat("/etc/crio/crio.conf"); err == nil {
		return CRIO
	}
	return Containerd
}

// InShell puts the runtime's paths and annotations into a script: @TASKS@ matches the folders of containers, @PID@ is a file in one,
// @KIND@, @NAMESPACE@ and @POD@ are annotations.
func (c CRI) InShell(script string) string {
	return strings.NewReplacer("@TASKS@", path.Join(c.Tasks, "*", c.Bundle), "@PID@", c.PID, "@KIND@", c.kind, "@NAMESPACE@", c.namespace, "@POD@", c.pod).Replace(script)
}
