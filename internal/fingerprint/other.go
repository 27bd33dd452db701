//go:build !linux

package fingerprint

import (
	"context"
	"time"
)

// Node is only meaningful on a Linux node; elsewhere every area is unknown.
func Node(_ context.Context, name, _ string) *Fingerprint {
	f := New(name, time.Now())
	f.Unknown[Files] = "not a Linux node"
	return f
}

// Host of a machine that is not Linux: the nodes' kernel is the engine's virtual machine, which nodes themselves report.
func Host(context.Context) *Fingerprint { return New("host", time.Now()) }

// LoopImage is only known on Linux.
func LoopImage(string) (dev, ino uint64, ok bool) { return 0, 0, false }

// FileID is only known on Linux.
func FileID(string) (dev, ino uint64, ok bool) { return 0, 0, false }
