package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/progress"
	kindconfigs "github.com/sickbay-dev/sickbay/kind-configs"
)

// kernel is what decides about a cluster's shape: the engine's kernel is that of all nodes.
type kernel struct {
	cgroupV1 bool
	appArmor bool
}

func askKernel(ctx context.Context, e *engine.Engine) (kernel, error) {
	format := "{{.CgroupVersion}} {{json .SecurityOptions}}"
	if e.Provider == engine.Podman {
		format = "{{.Host.CgroupsVersion}} {{if .Host.Security.AppArmorEnabled}}name=apparmor{{end}}"
	}
	out, err := run(ctx, e, lookBound, "info", "--format", format)
	if err != nil {
		return kernel{}, fmt.Errorf("ask the engine for its kernel's cgroup version and AppArmor: %w", err)
	}
	version, rest, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	return kernel{cgroupV1: strings.TrimPrefix(version, "v") == "1", appArmor: strings.Contains(rest, "name=apparmor")}, nil
}

// parserBound bounds one container that says its version: half a second, ten under software emulation on a busy machine.
const parserBound = 2 * time.Minute

// appArmor tells whether nodes can load AppArmor profiles, which takes the kernel's list of them and the host's program to load them
// with. A parser that the node's C library is too old for would keep every pod from starting: it is tried first. A cluster that is
// there stays as it was made.
func appArmor(ctx context.Context, e *engine.Engine, k kernel, o UpOptions) (bool, error) {
	if !k.appArmor {
		return false, nil
	}
	c, err := Find(ctx, e, o.Name)
	switch {
	case err == nil && c.Ours:
		return slices.ContainsFunc(c.containers, func(k container) bool {
			return slices.ContainsFunc(kindconfigs.AppArmorMounts(), func(m kindconfigs.Mount) bool { return k.mounts(m.ContainerPath) })
		}), nil
	case err != nil && !errors.As(err, new(*NotFoundError)):
		return false, err
	}
	words := []string{"run", "--rm", "--label", ownedLabel + "=true", "--network", "none"}
	parser := ""
	for _, m := range kindconfigs.AppArmorMounts() {
		words = append(words, "--mount", fmt.Sprintf("type=bind,src=%s,dst=%s,readonly", m.HostPath, m.ContainerPath))
		parser = m.ContainerPath
	}
	if _, err := run(ctx, e, parserBound, append(words, "--entrypoint", parser, o.Image, "--version")...); err != nil {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		progress.From(ctx).Note("the kernel has AppArmor, and nodes go without it, since the host's apparmor_parser does not run in them: %v", err)
		return false, nil
	}
	return true, nil
}
