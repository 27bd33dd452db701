package node

import (
	"context"
	"errors"
	"os/exec"

	"al.essio.dev/pkg/shellescape"
)

// SSH is a node reached by the user's own ssh client, configuration and keys. Destination is what ssh takes: user@host or a
// host of ~/.ssh/config. With sudo every command runs under `sudo -n`.
func SSH(name, destination string, sudo bool) Node {
	return &transport{
		name: name, elsewhere: true,
		to: program{
			command: func(argv []string, _ bool) *exec.Cmd {
				if sudo {
					argv = append([]string{"sudo", "-n", "--"}, argv...)
				}
				// BatchMode: a question for a password would wait for ever behind a progress line.
				return exec.Command("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "--", destination, shellescape.QuoteCommand(argv))
			},
			unreached: func(_ context.Context, clientErr error, stderr string) error {
				if stderr != "" {
					clientErr = errors.New(stderr)
				}
				return &UnreachedError{Node: name, Reason: "ssh to " + destination + " ran nothing there", Way: "try `ssh " + destination + " true`", Err: clientErr}
			},
		},
	}
}
