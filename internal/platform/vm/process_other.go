//go:build !linux

package vm

import (
	"os/exec"
	"time"
)

// No guest runs here: see supported.

func startedAt(int) (uint64, error) { return 0, errNowhere }

func detach(*exec.Cmd) {}

func dieWithParent(*exec.Cmd) {}

func mountAlone(*exec.Cmd) {}

func end(int, uint64, time.Duration) error { return nil }

type process struct {
	pid   int
	began uint64
}

func strays(string) []process { return nil }
