//go:build !linux

package vm

func memoryMiB() int { return 0 }
