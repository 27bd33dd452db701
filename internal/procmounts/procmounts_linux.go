// Package procmounts reads the mounts that a process sees.
package procmounts

import (
	"fmt"
	"os"

	"github.com/moby/sys/mountinfo"
)

// Of lists the mounts in the mount namespace of a process, from /proc/PID/mountinfo.
func Of(pid int) ([]*mountinfo.Info, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return mountinfo.GetMountsFromReader(f, nil)
}
