package engine

import (
	"errors"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/command"
)

// said returns what a failed command gave as its reason, on one line, or the whole error when it was not a command.
func said(err error) string {
	var c *command.Error
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
