package timeoutscale

import (
	"strconv"
	"strings"
)

// Busyness is 0 for a machine with time to spare and 1 for one on which tasks wait half of the time, for CPUs or disks, by the kernel's
// pressure, or by the load where it has none. read gives the text of a file, empty where there is none; cpus are those online, 0 where
// that is not known. Tasks that a quota holds back wait for CPUs as well, by the kernel's pressure; they make no busy machine.
func Busyness(read func(path string) string, cpus int) float64 {
	waiting := func(of string) float64 {
		_, some, _ := strings.Cut(read("/proc/pressure/"+of), "some avg10=")
		some, _, _ = strings.Cut(some, " ")
		v, _ := strconv.ParseFloat(some, 64)
		return v
	}
	busy := waiting("io") / 50
	wanted := false // there is more to do than CPUs to do it
	f := strings.Fields(read("/proc/loadavg"))
	if cpus > 0 && len(f) > 3 {
		load, _ := strconv.ParseFloat(f[0], 64)
		now, _, _ := strings.Cut(f[3], "/")
		runnable, _ := strconv.Atoi(now)
		wanted = load > float64(cpus) || runnable > cpus
		busy = max(busy, (load/float64(cpus)-1)/4)
	}
	if wanted || cpus <= 0 || len(f) < 4 {
		busy = max(busy, waiting("cpu")/50)
	}
	return min(1, max(0, busy))
}
