package engine

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// CommandError is a command that failed, with what it said.
type CommandError struct {
	Command string
	Output  string // the last lines of standard error, or of standard output where that is empty
	Err     error
}

func (e *CommandError) Error() string {
	if e.Output == "" {
		return fmt.Sprintf("%s: %v", e.Command, e.Err)
	}
	return fmt.Sprintf("%s: %v: %s", e.Command, e.Err, e.Output)
}

func (e *CommandError) Unwrap() error { return e.Err }

func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return stdout.String(), commandError(cmd, stdout.String(), stderr.String(), err)
}

func commandError(cmd *exec.Cmd, stdout, stderr string, err error) error {
	if err == nil {
		return nil
	}
	said := tail(stderr, 5)
	if said == "" {
		said = tail(stdout, 5)
	}
	return &CommandError{Command: strings.Join(cmd.Args, " "), Output: said, Err: err}
}

// said returns what a failed command gave as its reason, on one line, or the whole error when it was not a command.
func said(err error) string {
	var c *CommandError
	if !errors.As(err, &c) || c.Output == "" {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(c.Output) {
		line = strings.TrimSpace(line)
		// Advice of the client's, not a reason.
		if line != "" && !strings.HasPrefix(line, "WARNING:") && !strings.HasPrefix(line, "Run 'docker") && !strings.HasPrefix(line, "See 'docker") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return err.Error()
	}
	return strings.Join(lines, "; ")
}

// tail returns the last n lines that are not empty.
func tail(text string, n int) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
