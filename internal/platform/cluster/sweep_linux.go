package cluster

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/platform/blockdev"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/process"
)

// sweepBound bounds the end of one process that was killed.
const sweepBound = 2 * time.Second

// mayNot tells that nothing of an engine's containers can be swept from here: it needs root, and the engine's own kernel.
func mayNot(e *engine.Engine) bool { return os.Geteuid() != 0 || e.Elsewhere }

// sweepHost thaws, from the host, the loop filesystems of containers that did not go away, and kills what is left of them. It
// tells whether it did anything.
func sweepHost(ctx context.Context, e *engine.Engine, cs []container) bool {
	did := false
	for _, c := range cs {
		did = thawAll(e, c) || did
		if mayNot(e) || ctx.Err() != nil {
			return did
		}
		for _, p := range processesOf(c.ID) {
			did = p.End(ctx, false, sweepBound) == nil || did
		}
	}
	return did
}

// thawAll thaws the loop filesystems that a container's processes see, and tells whether one was frozen.
func thawAll(e *engine.Engine, c container) bool {
	if mayNot(e) {
		return false
	}
	var pids []int
	for _, p := range processesOf(c.ID) {
		pids = append(pids, p.PID)
	}
	return blockdev.Thaw(pids...)
}

// processesOf finds the processes in a container's cgroups by the container's id: the engine's own word for them is only the first.
func processesOf(id string) []process.ID {
	if len(id) < 12 {
		return nil
	}
	return process.InCgroup(id)
}

// swapsOff turns off swap on the volumes of nodes that could not do it themselves, while the files can still be named: swap on
// a deleted file stays on until the machine restarts. Of two nodes with a file of this name only the right one's is swap.
func swapsOff(e *engine.Engine, cs []container) {
	if mayNot(e) {
		return
	}
	for _, s := range blockdev.Swaps() {
		file := strings.TrimPrefix(s.Path, "/var")
		if s.Kind != "file" || !strings.HasPrefix(file, blockdev.OwnPath) {
			continue
		}
		for _, c := range cs {
			for _, m := range c.Mounts {
				if m.Destination == "/var" && m.Source != "" && blockdev.Off(filepath.Join(m.Source, file)) {
					break
				}
			}
		}
	}
}

// loopsOff detaches loop devices whose file of ours went with its volume. One that is still mounted goes when it is unmounted.
func loopsOff(e *engine.Engine) {
	if mayNot(e) {
		return
	}
	for _, l := range blockdev.Loops() {
		if l.Orphan() {
			_ = l.Detach()
		}
	}
}
