package collect

import (
	"os"
	"path"
	"strconv"
	"time"
)

// lookName is the process name of the child that looks; the kernel keeps 15 characters.
const lookName = "sickbay-look"

// ticksPerSecond is the unit of start times in /proc/PID/stat, which is the same on every Linux that Go runs on.
const ticksPerSecond = 100

// stuckMount is a mount that an earlier look hangs on.
type stuckMount struct {
	mount string
	table mountTable
	pid   int
}

func (s stuckMount) holds(p string) bool {
	m, ok := s.table.of(p)
	return ok && m.target == s.mount
}

// stuckLooks finds children of earlier looks that still wait in the kernel, and the mounts they wait for. One look a second
// over ten minutes of a dead disk would otherwise leave six hundred of them.
func (l *look) stuckLooks() []stuckMount {
	all, err := l.procs()
	if err != nil {
		return nil
	}
	// A look that runs beside this one may wait for a disk for a moment; one past its own bound hangs.
	uptime, _ := strconv.ParseFloat(firstField(l.root.text("/proc/uptime")), 64)
	var out []stuckMount
	for _, p := range all {
		age := time.Duration((uptime - float64(p.started)/ticksPerSecond) * float64(time.Second))
		if p.name != lookName || p.pid == os.Getpid() || age < l.opts.Overall+time.Second {
			continue
		}
		task := procPath(p.pid, "task")
		tids, err := l.root.names(task, 256)
		if err != nil {
			continue
		}
		for _, tid := range tids {
			dir := path.Join(task, tid)
			b, err := l.root.read(dir+"/stat", 4096)
			if err != nil {
				continue
			}
			t, ok := parseStat(string(b))
			if !ok || t.state != "D" {
				continue
			}
			c, ok := parseSyscall(l.root.text(dir + "/syscall"))
			if !ok {
				continue
			}
			if m, ok := l.table.of(l.callPath(dir, c)); ok {
				out = append(out, stuckMount{mount: m.target, table: l.table, pid: p.pid})
			}
		}
	}
	return out
}
