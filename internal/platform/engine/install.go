package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/platform/apt"
	"github.com/sickbay-dev/sickbay/internal/progress"
)

// install takes packages from the distribution's archive. sickbay starts their daemon itself, elsewhere.
func install(ctx context.Context, opts Options, packages []string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, opts.Timeouts.Install)
	defer cancel()
	task := progress.From(ctx).Start("install "+strings.Join(packages, ", "), opts.Timeouts.Install)
	task.Expect(12 * time.Second)
	defer func() { task.End(err) }()

	if err := apt.Install(ctx, task, packages...); err != nil {
		return fmt.Errorf("install the container engine: %w", err)
	}
	if slices.Contains(packages, "docker.io") && lookPath(Docker) == "" {
		// Debian 13 and later.
		if err := apt.Install(ctx, task, "docker-cli"); err != nil {
			return fmt.Errorf("install the container engine's client: %w", err)
		}
	}
	return nil
}
