package collect

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

func (l *look) swaps(_ context.Context, s *source) error {
	if err := s.at(l, "reading", "/proc/swaps"); err != nil {
		return err
	}
	b, err := l.root.read("/proc/swaps", 1<<20)
	if err != nil {
		return err
	}
	swaps := parseSwaps(string(b))
	if len(swaps) > 0 {
		if err := s.at(l, "reading", "/etc/fstab"); err != nil {
			return err
		}
		fstab := fstabSwaps(l.root.text("/etc/fstab"))
		indirect := slices.ContainsFunc(slices.Collect(maps.Keys(fstab)), otherwiseNamed)
		for i := range swaps {
			// A device's UUID is not looked up: one that is meant by another line is found out when the line is taken out.
			swaps[i].InFstab = fstab[swaps[i].Path] || indirect && swaps[i].Type == "partition"
		}
	}
	l.put(func(o *v1alpha1.Observation) { o.Swaps = swaps })
	return nil
}

// parseSwaps reads /proc/swaps; sizes there are KiB.
func parseSwaps(s string) []v1alpha1.Swap {
	var out []v1alpha1.Swap
	for line := range strings.Lines(s) {
		f := strings.Fields(line)
		if len(f) < 4 || f[0] == "Filename" {
			continue
		}
		size, _ := strconv.ParseInt(f[2], 10, 64)
		used, _ := strconv.ParseInt(f[3], 10, 64)
		out = append(out, v1alpha1.Swap{Path: unescape(f[0]), Type: f[1], SizeBytes: size << 10, UsedBytes: used << 10})
	}
	return out
}

func fstabSwaps(s string) map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(s) {
		f := strings.Fields(line)
		if len(f) >= 3 && !strings.HasPrefix(f[0], "#") && f[2] == "swap" {
			out[unescape(f[0])] = true
		}
	}
	return out
}

// otherwiseNamed: /proc/swaps calls the same device by another name.
func otherwiseNamed(spec string) bool {
	return strings.Contains(spec, "=") || strings.HasPrefix(spec, "/dev/disk/") || strings.HasPrefix(spec, "/dev/mapper/")
}
