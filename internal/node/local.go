package node

import (
	"context"
	"os/exec"
	"syscall"
)

// Local is the machine this process runs on. It runs as whoever runs it: without root, much of a node cannot be seen.
func Local(name string) Node {
	return &transport{
		name:  name,
		local: true,
		to: program{
			command: func(argv []string, _ bool) *exec.Cmd {
				c := exec.Command(argv[0], argv[1:]...)
				// A session of its own, so that ending the command's process group does not end this process.
				c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
				return c
			},
			unreached: func(_ context.Context, clientErr error, _ string) error {
				return &UnreachedError{Node: name, Reason: "no command could be run on this machine", Err: clientErr}
			},
		},
	}
}

// IsLocal tells whether the node is the machine this process runs on: its files need not be copied.
func IsLocal(n Node) bool {
	t, ok := n.(*transport)
	return ok && t.local
}
