package engine

import "github.com/sickbay-dev/sickbay/internal/process"

// Process is one of the private engine's.
type Process struct {
	process.ID
	Role    string // dockerd, containerd, shim
	Command string
}

const (
	roleDockerd    = "dockerd"
	roleContainerd = "containerd"
	roleShim       = "shim"
)
