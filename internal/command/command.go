// Package command runs programs whose errors tell what they said.
package command

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/text"
)

// Error is a command that failed, with what it said.
type Error struct {
	Command string
	Output  string // the last lines of standard error, or of standard output where that is empty
	Err     error
}

func (e *Error) Error() string {
	if e.Output == "" {
		return fmt.Sprintf("%s: %v", e.Command, e.Err)
	}
	return fmt.Sprintf("%s: %v: %s", e.Command, e.Err, e.Output)
}

func (e *Error) Unwrap() error { return e.Err }

// said is how many lines of a failed command an error has.
const said = 12

// Failed is the error of a command, nil without one.
func Failed(cmd *exec.Cmd, stdout, stderr string, err error) error {
	if err == nil {
		return nil
	}
	output := text.Tail(stderr, said)
	if output == "" {
		output = text.Tail(stdout, said)
	}
	return &Error{Command: strings.Join(cmd.Args, " "), Output: output, Err: err}
}

// Output runs a command and answers with its standard output.
func Output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return stdout.String(), Failed(cmd, stdout.String(), stderr.String(), err)
}
