package collect

import (
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
	"github.com/sickbay-dev/sickbay/internal/redact"
)

const (
	// maxJobs bounds cron's entries, and the processes, that are reported.
	maxJobs = 32
	// maxCommand is as much of a command line as is taken.
	maxCommand = 1000
)

// crontabs are the files, or directories of files, of cron.
var crontabs = []string{"/etc/crontab", "/etc/cron.d", "/var/spool/cron/crontabs", "/var/spool/cron"}

// cronUnits start other people's commands: what runs in their cgroups is not theirs.
var cronUnits = map[string]bool{"cron": true, "crond": true, "atd": true, "anacron": true}

// cronJobs reads the entries of all crontabs.
func (l *look) cronJobs() []v1alpha1.Job {
	var out []v1alpha1.Job
	for _, place := range crontabs {
		files := []string{place}
		if names, err := l.root.names(place, 100); err == nil {
			files = nil
			for _, n := range names {
				files = append(files, path.Join(place, n))
			}
		}
		for _, f := range files {
			b, err := l.root.read(f, 64<<10)
			if err != nil {
				continue
			}
			owner := uint32(0)
			if fi, err := l.root.stat(f); err == nil {
				owner = fi.Sys().(*syscall.Stat_t).Uid // of a user's own crontab
			}
			for line := range strings.Lines(string(b)) {
				line = strings.TrimRight(line, "\n")
				words := strings.Fields(line)
				// A comment, or a setting of the environment.
				if len(words) < 2 || words[0][0] == '#' || strings.ContainsRune(words[0], '=') || words[1] == "=" || len(out) >= maxJobs {
					continue
				}
				out = append(out, v1alpha1.Job{Crontab: f, Command: redact.Command(clip(line)), Script: l.script(line, owner)})
			}
		}
	}
	return out
}

// loose tells whether a process runs outside of all units: started by hand, or by cron. This program is not meant, nor those
// that brought it here.
func loose(p procInfo, cg cgroupOf) bool {
	if p.pid <= 1 || p.state == "Z" || p.name == lookName || p.pid == os.Getpid() {
		return false
	}
	unit := unitOf(cg)
	return unit == "" || cronUnits[unit]
}

// looseJob is such a process; ok is false when it has ended, or is sickbay's own.
func (l *look) looseJob(p procInfo, names map[int]string) (j v1alpha1.Job, ok bool) {
	argv := strings.Split(strings.TrimRight(l.root.text(procPath(p.pid, "cmdline")), "\x00"), "\x00")
	command := strings.TrimSpace(strings.Join(argv, " "))
	if command == "" || strings.HasPrefix(command, protocol.Dir+"/") {
		return j, false
	}
	uid := ^uint32(0)
	if fi, err := l.root.stat(procPath(p.pid, "")); err == nil {
		uid = fi.Sys().(*syscall.Stat_t).Uid
	}
	return v1alpha1.Job{
		PID: p.pid, Started: p.started, Parent: strings.TrimSpace(fmt.Sprintf("%s %d", names[p.ppid], p.ppid)),
		Command: redact.Command(clip(strings.Join(redact.Args(argv), " "))), Script: l.script(command, uid),
	}, true
}

func clip(s string) string {
	if len(s) > maxCommand {
		return s[:maxCommand]
	}
	return s
}
