package nodeimage

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
)

// lastLines keeps what a failed command said last: an error needs its end, not its beginning.
const lastLines = 15

func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) > lastLines {
		lines = lines[len(lines)-lastLines:]
	}
	return strings.Join(lines, "\n")
}

// output runs the command and answers its standard output; the error carries command and standard error.
func output(cmd *exec.Cmd) (string, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", cmd, err, tail(errs.String()))
	}
	return out.String(), nil
}
