//go:build !linux

package engine

import (
	"context"
	"fmt"
	"runtime"

	"github.com/sickbay-dev/sickbay/internal/progress"
)

// Engines of our own exist on Linux only. Elsewhere decide never plans one, so that these functions have nothing to do.

func start(context.Context, Options) (*Engine, error) {
	return nil, fmt.Errorf("sickbay cannot start a container engine on %s", runtime.GOOS)
}

func stop(context.Context, Options, progress.Task) error { return nil }

func ownProcesses(Options) []Process { return nil }

func hostInventory(context.Context, Options, *Inventory) {}
