package cluster

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	kindconfigs "github.com/sickbay-dev/sickbay/kind-configs"
)

// systemdBound is what kind gives a node's systemd to come up, and cannot be told to stretch: 3 s usually, half a minute and more under
// software emulation.
const systemdBound = 30 * time.Second

// nodeClient is a client of the engine's that goes on after `run`. On a slow machine it waits until the node's systemd is up, as kind's own
// wait right behind it would: that one then ends at once. Then it puts the files there that a control plane needs before kubeadm begins:
// kind has no way for them but a mount of something on this machine, which could be lost. $real is the client itself, $tries how many
// seconds it waits at most; after that kind's own error says what is wrong.
const nodeClient = `#!/bin/sh
# Made by sickbay while kind makes a cluster, and removed afterwards.
real=%s tries=%d
[ "$1 $2" = "run --name" ] || exec "$real" "$@"
"$real" "$@" || exit
while [ $tries -gt 0 ] && ! "$real" logs "$3" 2>&1 | grep -qE 'Reached target .*Multi-User System|detected cgroup v1'; do
	tries=$((tries-1))
	sleep 1
done
case $3 in
*-control-plane) exec "$real" exec "$3" sh -c %s ;;
esac
`

// client makes a folder with the node client for nodes of this Kubernetes version, to go in front of PATH while kind runs.
func client(e *engine.Engine, factor float64, kubernetes string) (dir string, remove func() error, err error) {
	remove = func() error { return nil }
	real := e.CLI
	if !filepath.IsAbs(real) {
		if real, err = exec.LookPath(e.Provider); err != nil {
			return "", remove, fmt.Errorf("look for the engine's client: %w", err)
		}
	}
	if dir, err = os.MkdirTemp("", "sickbay-client-"); err != nil {
		return "", remove, fmt.Errorf("make a client for kind: %w", err)
	}
	remove = func() error { return os.RemoveAll(dir) }
	tries, put := 0, "set -e"
	if factor > 1 {
		tries = int(timeoutscale.Stretch(systemdBound, factor).Seconds())
	}
	files := kindconfigs.Files(factor, kubernetes)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		put += fmt.Sprintf("; mkdir -p %s; echo %s > %s", path.Dir(name), detectors.Quote(files[name]), name)
	}
	script := fmt.Sprintf(nodeClient, detectors.Quote(real), tries, detectors.Quote(put))
	if err := os.WriteFile(filepath.Join(dir, e.Provider), []byte(script), 0o700); err != nil {
		return "", remove, errors.Join(fmt.Errorf("make a client for kind: %w", err), remove())
	}
	return dir, remove, nil
}
