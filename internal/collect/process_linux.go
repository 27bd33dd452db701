package collect

import (
	"context"
	"path"
	"sort"
	"strconv"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

const (
	// maxStalled bounds the processes reported only because they are stopped or wait in the kernel.
	maxStalled = 32
	// maxBlocked bounds the blocked threads reported of one process: a stalled containerd may have hundreds, all alike.
	maxBlocked = 32
)

// serviceNames are processes that are always reported. The kernel cuts names at 15 characters.
var serviceNames = map[string]bool{
	"kubelet": true, "containerd": true, "containerd-shim": true, "dockerd": true, "crio": true, "conmon": true,
	"cri-dockerd": true, "k3s-server": true, "k3s-agent": true, "kubelite": true,
}

// procInfo is /proc/PID/stat as far as it is needed. It is the one file of a process that never waits for its memory map.
type procInfo struct {
	pid, ppid int
	name      string
	state     string
	threads   int
	started   uint64
	kernel    bool
}

func parseStat(s string) (p procInfo, ok bool) {
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || end < open {
		return p, false
	}
	f := strings.Fields(s[end+1:])
	if len(f) < 20 {
		return p, false
	}
	p.pid, _ = strconv.Atoi(strings.TrimSpace(s[:open]))
	p.name = s[open+1 : end]
	p.state = f[0]
	p.ppid, _ = strconv.Atoi(f[1])
	flags, _ := strconv.ParseUint(f[6], 10, 64)
	p.threads, _ = strconv.Atoi(f[17])
	p.started, _ = strconv.ParseUint(f[19], 10, 64)
	const kthread = 0x00200000 // PF_KTHREAD
	p.kernel = flags&kthread != 0
	return p, true
}

func (r root) procs() ([]procInfo, error) {
	names, err := r.names("/proc", 1<<16)
	if err != nil {
		return nil, err
	}
	var out []procInfo
	for _, n := range names {
		if n[0] < '1' || n[0] > '9' {
			continue
		}
		b, err := r.read("/proc/"+n+"/stat", 4096)
		if err != nil {
			continue // it ended meanwhile
		}
		if p, ok := parseStat(string(b)); ok {
			out = append(out, p)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].pid < out[j].pid })
	return out, nil
}

// processes reads the processes that matter, and which container each other one belongs to.
func (l *look) processes(ctx context.Context, s *source) error {
	if err := s.at(l, "reading", "/proc"); err != nil {
		return err
	}
	r := l.root
	all, err := l.procs()
	if err != nil {
		return err
	}
	h := l.table.hierarchies()
	var out []v1alpha1.Process
	inContainers := map[string][]procInfo{}
	stalled := 0
	names := map[int]string{}
	for _, p := range all {
		names[p.pid] = p.name
	}
	var jobs []v1alpha1.Job
	for _, p := range all {
		if ctx.Err() != nil {
			break
		}
		if p.kernel {
			continue
		}
		cg := parseCgroup(r.text(procPath(p.pid, "cgroup")))
		if id, _, _, ok := container(containerPath(cg)); ok {
			inContainers[id] = append(inContainers[id], p)
		} else if len(jobs) < maxJobs && loose(p, cg) {
			if j, ok := l.looseJob(p, names); ok {
				jobs = append(jobs, j)
			}
		}
		if !serviceNames[p.name] {
			if p.state != "D" && p.state != "T" && p.state != "t" || stalled >= maxStalled || p.name == lookName {
				continue
			}
			stalled++
		}
		d := procPath(p.pid, "stat")
		s.doing.Store(&d)
		out = append(out, l.process(p, cg, h))
	}
	l.mu.Lock()
	l.containerPIDs = inContainers
	l.mu.Unlock()
	l.put(func(o *v1alpha1.Observation) { o.Processes, o.LocalJobs = out, append(o.LocalJobs, jobs...) })
	return ctx.Err()
}

// containerPath is the path by which a process's container is told: memory's on v1, the unified one on v2.
func containerPath(c cgroupOf) string {
	for _, k := range []string{"memory", "", "pids", "cpu"} {
		if c[k] != "" && c[k] != "/" {
			return c[k]
		}
	}
	return ""
}

func procPath(pid int, file string) string { return "/proc/" + strconv.Itoa(pid) + "/" + file }

func (l *look) process(p procInfo, cg cgroupOf, h hierarchies) v1alpha1.Process {
	r := l.root
	out := v1alpha1.Process{PID: p.pid, Name: p.name, State: p.state, Threads: p.threads, Unit: unitOf(cg), FrozenCgroup: h.frozen(r, cg)}
	if exe, err := r.readlink(procPath(p.pid, "exe")); err == nil {
		out.Exe, out.ExeDeleted = strings.CutSuffix(exe, " (deleted)")
	}
	out.CPUQuota, out.CgroupPath, _ = h.cpu(r, cg)
	if q, name := h.quota(r, cg); name != out.CgroupPath && q.QuotaMilli > 0 {
		out.CPUQuota, out.QuotaCgroup = q, name
	}
	if p.name != "containerd-shim" && serviceNames[p.name] {
		if fds, err := r.names(procPath(p.pid, "fd"), 1<<16); err == nil {
			out.OpenFiles = len(fds)
		}
		out.MaxFiles = openFileLimit(r.text(procPath(p.pid, "limits")))
	}
	out.BlockedD = l.blocked(p)
	return out
}

func openFileLimit(limits string) int {
	for line := range strings.Lines(limits) {
		if v, ok := strings.CutPrefix(line, "Max open files"); ok {
			return int(number(firstField(v)))
		}
	}
	return 0
}

// blocked lists the threads of a process that wait uninterruptibly, and notes which filesystem those in a freeze gate wait for.
func (l *look) blocked(p procInfo) []v1alpha1.Thread {
	r := l.root
	task := procPath(p.pid, "task")
	tids, err := r.names(task, 1<<14)
	if err != nil {
		return nil
	}
	// A path means the same only in the node's own mount namespace; a container's would name something else here.
	var out []v1alpha1.Thread
	home := -1
	for _, tid := range tids {
		b, err := r.read(path.Join(task, tid, "stat"), 4096)
		if err != nil {
			continue
		}
		t, ok := parseStat(string(b))
		if !ok || t.state != "D" {
			continue
		}
		dir := path.Join(task, tid)
		wchan := r.text(dir + "/wchan")
		if wchan == "0" {
			wchan = ""
		}
		th := v1alpha1.Thread{TID: t.pid, Name: t.name, Wchan: wchan}
		stack := r.text(dir + "/stack")
		if th.Wchan == "" {
			th.Wchan = topFrame(stack)
		}
		c, known := parseSyscall(r.text(dir + "/syscall"))
		if home < 0 {
			home = 0
			if ns, err := r.readlink(path.Join(dir, "ns/mnt")); err == nil && ns == l.mountNS() {
				home = 1
			}
		}
		if known && home == 1 {
			th.Path = l.callPath(dir, c)
		}
		if inFreezeGate(th.Wchan, stack, known && writes(c.nr)) && th.Path != "" {
			if m, ok := l.table.backing(th.Path); ok && !pseudo[m.fstype] {
				l.mu.Lock()
				l.frozen[m.majorMinor] = append(l.frozen[m.majorMinor], frozenBy{p.pid, t.pid, p.name, th.Path})
				l.mu.Unlock()
			}
		}
		if len(out) < maxBlocked {
			out = append(out, th)
		}
	}
	return out
}

// mountNS is this process's mount namespace, which is the node's.
func (l *look) mountNS() string {
	ns, _ := l.root.readlink("/proc/self/ns/mnt")
	return ns
}
