// Package systemd reads what systemctl prints. It runs nothing: whoever asks has a deadline and a way to run commands of its own.
package systemd

import "strings"

// Units reads the output of `systemctl show`: the properties of each unit that was asked for, in that order. The values of a property
// that is there more than once, such as EnvironmentFiles, are lines.
func Units(out string) []map[string]string {
	var units []map[string]string
	for block := range strings.SplitSeq(strings.TrimSpace(out), "\n\n") {
		unit := map[string]string{}
		for line := range strings.Lines(block) {
			if key, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "="); ok {
				if had, again := unit[key]; again {
					value = had + "\n" + value
				}
				unit[key] = value
			}
		}
		if len(unit) > 0 {
			units = append(units, unit)
		}
	}
	return units
}

// Argv takes the command line out of a value of ExecStart, `{ path=… ; argv[]=… ; … }`. It is "" where there is none.
func Argv(execStart string) string {
	_, rest, _ := strings.Cut(execStart, "argv[]=")
	argv, _, _ := strings.Cut(rest, " ; ")
	return argv
}
