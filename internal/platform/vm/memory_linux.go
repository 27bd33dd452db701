package vm

import "golang.org/x/sys/unix"

// memoryMiB is how much memory this machine has, 0 when that is not known.
func memoryMiB() int {
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) != nil {
		return 0
	}
	return int(uint64(si.Totalram) * uint64(si.Unit) >> 20)
}
