package timeoutscale

import (
	"strconv"
	"strings"
)

// Busyness is 0 for a machine with time to spare and 1 for one on which tasks wait half of the time, for CPUs or disks, by the kernel's
// pressure, or by the load where it has none. read gives the text of a file, empty where there is none; cpus are those online, 0 where
// that is not known.
func Busyness(read func(path string) string, cpus int) float64 {
	waiting := func(of string) float64 {
		_, some, _ := strings.Cut(read("/proc/pressure/"+of), "some avg10=")
		some, _, _ = strings.Cut(some, " ")
		v, _ := strconv.ParseFloat(some, 64)
		return v
	}
	busy := max(waiting("cpu"), waiting("io")) / 50
	if cpus > 0 {
		first, _, _ := strings.Cut(read("/proc/loadavg"), " ")
		load, _ := strconv.ParseFloat(first, 64)
		busy = max(busy, (load/float64(cpus)-1)/4)
	}
	return min(1, max(0, busy))
}
