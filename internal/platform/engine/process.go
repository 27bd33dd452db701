package engine

// Process is one of the private engine's.
type Process struct {
	PID     int
	Role    string // dockerd, containerd, shim
	Command string
}

const (
	roleDockerd    = "dockerd"
	roleContainerd = "containerd"
	roleShim       = "shim"
)
