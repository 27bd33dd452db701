package collect

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/redact"
	"github.com/sickbay-dev/sickbay/internal/systemd"
)

// imageUnits are services that node images themselves put below /etc/systemd/system.
var imageUnits = map[string]bool{
	"kubelet.service": true, "containerd.service": true, "crio.service": true, "docker.service": true,
	"containerd-fuse-overlayfs.service": true, "undo-mount-hacks.service": true,
}

// localDirs are where somebody who adds a service to a node puts it; transient is where systemd-run does.
var localDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/run/systemd/transient"}

const maxLocalUnits = 64

// maxScript is as much of a script as is read: a page.
const maxScript = 4 << 10

// maxScriptWords are the words of a command line among which it is looked for.
const maxScriptWords = 16

// units asks systemd for all units in one call: systemctl costs 8 ms of CPU each time.
func (l *look) units(ctx context.Context, s *source) error {
	local, err := l.localUnits(s)
	if err != nil {
		return err
	}
	argv := []string{"systemctl", "show", "--no-pager", "-p",
		"Id,LoadState,ActiveState,SubState,Result,UnitFileState,MainPID,ExecMainStatus,ExecMainCode,NRestarts,ActiveEnterTimestampMonotonic,StateChangeTimestampMonotonic,FreezerState,DropInPaths,ExecStart,KillMode,FragmentPath,Environment,EnvironmentFiles,BindPaths,BindReadOnlyPaths"}
	wanted := slices.Concat(kubeletUnits, runtimeUnits)
	for _, u := range l.serviceUnits() {
		if !slices.Contains(wanted, u) {
			wanted = append(wanted, u)
		}
	}
	for _, u := range wanted {
		argv = append(argv, u+".service")
	}
	out, err := l.output(ctx, s, append(argv, local...)...)
	if err != nil {
		return err
	}
	units := parseUnits(out, bootTime())
	isLocal := map[string]bool{}
	for _, u := range local {
		isLocal[u] = true
	}
	up := func(u v1alpha1.Unit) bool { return u.ActiveState == "active" || u.ActiveState == "activating" }
	timed := map[string]bool{} // services that a timer starts: most of the time they do not run
	for i := range units {
		if name, ok := strings.CutSuffix(units[i].Name, ".timer"); ok && up(units[i]) {
			timed[name+".service"] = true
		}
		if isLocal[units[i].Name] {
			units[i].Script = l.script(units[i].ExecStart, 0)
		}
	}
	blocks := map[string]map[string]string{}
	for _, b := range systemd.Units(out) {
		blocks[strings.TrimSuffix(b["Id"], ".service")] = b
	}
	l.mu.Lock()
	l.unitBlocks = blocks
	l.mu.Unlock()
	jobs := l.cronJobs()
	l.put(func(o *v1alpha1.Observation) {
		o.LocalJobs = append(o.LocalJobs, jobs...)
		o.Units = map[string]v1alpha1.Unit{}
		for _, u := range units {
			name := strings.TrimSuffix(u.Name, ".service")
			switch {
			case isLocal[u.Name]:
				if up(u) || timed[u.Name] {
					o.LocalUnits = append(o.LocalUnits, u)
				}
			default:
				u.Name = name
				o.Units[name] = u
			}
		}
	})
	if len(units) == 0 {
		return fmt.Errorf("systemctl show told nothing about %s", strings.Join(wanted, ", "))
	}
	return nil
}

// script is the beginning of the first script on a command line that the user may read who has it run, "" when there is none: what `cat`
// would show them. The command line is anybody's.
func (l *look) script(command string, uid uint32) string {
	may := func(st unix.Stat_t) bool {
		return uid == 0 || st.Mode&0o004 != 0 || st.Uid == uid && st.Mode&0o400 != 0
	}
	for i, w := range strings.Fields(command) {
		if i == maxScriptWords {
			break
		}
		if !strings.HasPrefix(w, "/") {
			continue
		}
		if head, err := l.root.readFileOf(w, maxScript, may); err == nil && strings.HasPrefix(string(head), "#!") {
			return redact.Text(string(head))
		}
	}
	return ""
}

// localUnits lists services and timers whose unit files were put there by hand or by systemd-run.
func (l *look) localUnits(s *source) ([]string, error) {
	var out []string
	for _, dir := range localDirs {
		if err := s.at(l, "listing", dir); err != nil {
			return nil, err
		}
		names, err := l.root.names(dir, 500)
		if err != nil {
			continue // a node without this directory has nothing there
		}
		for _, n := range names {
			if imageUnits[n] || !strings.HasSuffix(n, ".service") && !strings.HasSuffix(n, ".timer") || strings.Contains(n, "@.") || harnessUnit(n) {
				continue
			}
			// A symbolic link enables or masks a unit that lies elsewhere.
			if fi, err := l.root.lstat(path.Join(dir, n)); err != nil || !fi.Mode().IsRegular() {
				continue
			}
			if len(out) < maxLocalUnits {
				out = append(out, n)
			}
		}
	}
	return out, nil
}

// harnessUnit tells whether a unit is the harness's own: the timer that heals a node left alone is on every node it works on and
// ails nothing.
func harnessUnit(name string) bool { return strings.HasPrefix(name, "sickbay-") }

// parseUnits reads `systemctl show` blocks. Times are monotonic microseconds: they mean the same in every systemd and locale. A unit
// that does not exist is no unit, though systemd answers for it with defaults; one whose file was taken away and that runs is.
func parseUnits(out string, boot time.Time) (units []v1alpha1.Unit) {
	for _, p := range systemd.Units(out) {
		if p["Id"] == "" || p["LoadState"] == "not-found" && (p["ActiveState"] == "inactive" || p["ActiveState"] == "") {
			continue
		}
		n := func(key string) int { v, _ := strconv.Atoi(p[key]); return v }
		units = append(units, v1alpha1.Unit{
			Name: p["Id"], LoadState: p["LoadState"], ActiveState: p["ActiveState"], SubState: p["SubState"], Result: p["Result"],
			UnitFileState: p["UnitFileState"], MainPID: n("MainPID"), ExecMainStatus: n("ExecMainStatus"), ExecMainCode: n("ExecMainCode"),
			NRestarts: n("NRestarts"), ActiveSince: monotonicTime(p["ActiveEnterTimestampMonotonic"], boot),
			StateSince: monotonicTime(p["StateChangeTimestampMonotonic"], boot), Frozen: p["FreezerState"] == "frozen" || p["FreezerState"] == "freezing",
			DropIns: strings.Fields(p["DropInPaths"]), KillMode: p["KillMode"], Binds: strings.Fields(p["BindPaths"] + " " + p["BindReadOnlyPaths"]), Fragment: p["FragmentPath"],
			ExecStart: redact.Command(systemd.Argv(p["ExecStart"])),
		})
	}
	return units
}

// bootTime is the wall-clock moment at which CLOCK_MONOTONIC was zero, by today's wall clock.
func bootTime() time.Time { return zeroOf(unix.CLOCK_MONOTONIC) }

// kernelStart is the moment at which the clock of the kernel's log was zero. It counts as CLOCK_MONOTONIC_RAW does, which no time server
// slews: against CLOCK_MONOTONIC it drifts by seconds a day.
func kernelStart() time.Time { return zeroOf(unix.CLOCK_MONOTONIC_RAW) }

func zeroOf(clock int32) time.Time {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(ts.Nano()))
}

func monotonicTime(usec string, boot time.Time) time.Time {
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n == 0 || boot.IsZero() {
		return time.Time{}
	}
	return boot.Add(time.Duration(n) * time.Microsecond).Round(0)
}
