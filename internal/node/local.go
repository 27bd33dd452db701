package node

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"

	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
)

// Local is the machine this process runs on. It runs as whoever runs it: without root, much of a node cannot be seen.
func Local(name string) Node {
	return &transport{
		name:    name,
		program: func(file string) string { return file },
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

// Host is the machine whose pod this process runs in: a privileged one with hostPID. Commands are run by the agent, which enters the
// machine's namespaces and is run there by its descriptor: nothing is mounted or copied.
func Host(name string, agent *os.File) Node {
	return &transport{
		name:    name,
		program: func(string) string { return "/proc/self/fd/3" },
		to: program{
			command: func(argv []string, _ bool) *exec.Cmd {
				c := exec.Command(agent.Name(), append([]string{protocol.VerbEnter, "1"}, argv...)...)
				c.ExtraFiles = []*os.File{agent} // it is number 3
				c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
				return c
			},
			unreached: func(_ context.Context, clientErr error, stderr string) error {
				if stderr != "" {
					clientErr = errors.New(stderr)
				}
				return &UnreachedError{Node: name, Reason: "no command could be run on the machine of this pod", Way: "see docs/standby.md", Err: clientErr}
			},
		},
	}
}

// Program is where a program of this machine is on a node that has it already: a node that is this machine.
func Program(n Node, file string) (there string, has bool) {
	if t, ok := n.(*transport); ok && t.program != nil {
		return t.program(file), true
	}
	return "", false
}
