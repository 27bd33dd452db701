package cluster

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	kindconfigs "github.com/sickbay-dev/sickbay/kind-configs"
)

// systemdBound is what kind gives a node's systemd to come up, and cannot be told to stretch: 3 s usually, half a minute and more under
// software emulation.
const systemdBound = 30 * time.Second

// patientClient is a client of the engine's that goes on after `run` until the node's systemd is up, as kind's own wait right behind it
// would: that one then ends at once. Then it puts kubeadm's patches there, for which kind has no way but a mount. $real is the client
// itself, $tries how many seconds it waits at most; after that kind's own error says what is wrong.
const patientClient = `#!/bin/sh
# Made by sickbay while kind makes a cluster on a slow machine, and removed afterwards.
real=%s tries=%d
[ "$1 $2" = "run --name" ] || exec "$real" "$@"
"$real" "$@" || exit
while [ $tries -gt 0 ] && ! "$real" logs "$3" 2>&1 | grep -qE 'Reached target .*Multi-User System|detected cgroup v1'; do
	tries=$((tries-1))
	sleep 1
done
exec "$real" exec "$3" sh -c %s
`

// patience makes a folder with the patient client for nodes of this Kubernetes version, to go in front of PATH while kind runs. On a
// machine that is not slow it makes nothing, and answers "".
func patience(e *engine.Engine, factor float64, kubernetes string) (dir string, remove func() error, err error) {
	remove = func() error { return nil }
	if factor <= 1 {
		return "", remove, nil
	}
	real := e.CLI
	if !filepath.IsAbs(real) {
		if real, err = exec.LookPath(e.Provider); err != nil {
			return "", remove, fmt.Errorf("look for the engine's client: %w", err)
		}
	}
	if dir, err = os.MkdirTemp("", "sickbay-client-"); err != nil {
		return "", remove, fmt.Errorf("make a client for a slow machine: %w", err)
	}
	remove = func() error { return os.RemoveAll(dir) }
	var put strings.Builder
	fmt.Fprintf(&put, "mkdir -p %s && cd %[1]s", kindconfigs.PatchesDir)
	patches := kindconfigs.Patches(factor, kubernetes)
	for _, name := range slices.Sorted(maps.Keys(patches)) {
		fmt.Fprintf(&put, " && echo %s > %s", detectors.Quote(patches[name]), name)
	}
	script := fmt.Sprintf(patientClient, detectors.Quote(real), int(timeoutscale.Stretch(systemdBound, factor).Seconds()), detectors.Quote(put.String()))
	if err := os.WriteFile(filepath.Join(dir, e.Provider), []byte(script), 0o700); err != nil {
		return "", remove, errors.Join(fmt.Errorf("make a client for a slow machine: %w", err), remove())
	}
	return dir, remove, nil
}
