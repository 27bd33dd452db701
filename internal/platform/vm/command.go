package vm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/sickbay-dev/sickbay/internal/process"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// politely is how long a program that was told to end may take before it is killed: mmdebstrap and QEMU tidy up first.
const politely = 10 * time.Second

// run runs a program of this machine; the error carries what it said last. As root it gets a mount namespace of its own: what it mounts
// (mmdebstrap /proc, /sys and /dev, below the folder that we remove) goes with it, also when it is killed.
func run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = politely
	process.Leash(cmd, syscall.SIGTERM)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", name, context.Cause(ctx))
		}
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, text.Tail(out.String(), 12))
	}
	return nil
}
