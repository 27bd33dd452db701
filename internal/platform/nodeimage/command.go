package nodeimage

import (
	"os/exec"

	"github.com/sickbay-dev/sickbay/internal/command"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// tail keeps what a failed command said last: an error needs its end, not its beginning.
func tail(said string) string { return text.Tail(said, 15) }

func output(cmd *exec.Cmd) (string, error) { return command.Output(cmd) }
