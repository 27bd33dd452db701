//go:build !linux

package cluster

import (
	"context"

	"github.com/sickbay-dev/sickbay/internal/platform/engine"
)

// Nothing can be swept where the engine's kernel is not this machine's.
func sweepHost(context.Context, *engine.Engine, []container) bool { return false }

func swapsOff(*engine.Engine, []container) {}

func loopsOff(*engine.Engine) {}

func thawAll(*engine.Engine, container) bool { return false }
