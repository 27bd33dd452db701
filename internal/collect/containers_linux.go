package collect

import (
	"context"
	"errors"
	"path"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// containers reads the cgroup and confinement of every running container. The process is found by its cgroup, not by asking
// the runtime: one look at /proc costs less than a ContainerStatus per container and works when the runtime hangs.
func (l *look) containers(ctx context.Context, s *source) error {
	l.mu.Lock()
	pids := l.containerPIDs
	l.mu.Unlock()
	if pids == nil {
		return errors.New("the list of processes is not there")
	}
	l.kubepods(s)
	// The runtime's list gives names. A runtime that hangs must not take the numbers along.
	boxes, listed := l.listed()
	sandboxes, names := map[string]bool{}, map[string]v1alpha1.Container{}
	for _, b := range boxes {
		sandboxes[b.ID] = true
	}
	for _, c := range listed {
		names[c.ID] = c
	}
	told := boxes != nil && listed != nil
	if listed == nil {
		names = l.namesFromLogs(s)
	}
	h := l.table.hierarchies()
	var out []v1alpha1.ContainerUsage
	for id, list := range pids {
		c, known := names[id]
		if sandboxes[id] || !known && told {
			continue // a pause process, or a container of another namespace of the runtime
		}
		p, ok := mainProcess(list)
		if !ok || !known && p.name == "pause" {
			continue
		}
		d := "reading " + procPath(p.pid, "status")
		s.doing.Store(&d)
		out = append(out, l.usage(id, c, p, list, h))
		if ctx.Err() != nil {
			break // those read by now are kept
		}
	}
	sort.Slice(out, func(i, j int) bool {
		return out[i].Namespace+"/"+out[i].Pod+"/"+out[i].Name+out[i].ID < out[j].Namespace+"/"+out[j].Pod+"/"+out[j].Name+out[j].ID
	})
	l.put(func(o *v1alpha1.Observation) { o.Containers = out })
	return ctx.Err()
}

func (l *look) usage(id string, c v1alpha1.Container, p procInfo, all []procInfo, h hierarchies) v1alpha1.ContainerUsage {
	r := l.root
	u := v1alpha1.ContainerUsage{ID: id, Pod: c.Pod, Namespace: c.Namespace, Name: c.Name, PID: p.pid}
	full := parseCgroup(r.text(procPath(p.pid, "cgroup")))
	cg := cgroupOf{}
	for k, v := range full {
		if _, own, _, ok := container(v); ok {
			v = own // the container's own cgroup, not one it made below
		}
		cg[k] = v
	}
	for _, q := range all {
		_, _, under, _ := container(containerPath(l.cgroupOf(q.pid)))
		u.UnderKubepods = u.UnderKubepods || under
		u.Threads += q.threads
	}
	if dir, _, v1, ok := h.dir(r, cg, "cpuset"); ok {
		name := "/cpuset.cpus.effective"
		if v1 {
			name = "/cpuset.effective_cpus"
		}
		u.CPUs = cpuCount(r.text(dir + name))
	}
	var m memoryUse
	m, u.CgroupPath, _ = h.memory(r, cg)
	if u.CgroupPath == "" {
		u.CgroupPath = containerPath(cg)
	}
	u.MemoryBytes, u.MemoryLimit, u.MemoryPeak, u.OOMKills = m.usage, m.limit, m.peak, m.oomKills
	u.CPU, _, _ = h.cpu(r, cg)
	if u.UnderKubepods {
		u.PodCPU, _, _ = h.cpu(r, cg.parent())
	}
	for line := range strings.Lines(r.text(procPath(p.pid, "status"))) {
		k, v, _ := strings.Cut(line, ":")
		v = strings.TrimSpace(v)
		switch k {
		case "Seccomp":
			u.Seccomp = int(number(v))
		case "NoNewPrivs":
			u.NoNewPrivs = v == "1"
		case "CapEff":
			u.CapEff = v
		}
	}
	u.LSMLabel = strings.TrimRight(r.text(procPath(p.pid, "attr/current")), "\x00")
	return u
}

// namesFromLogs takes names from the links in /var/log/containers, <pod>_<namespace>_<container>-<id>.log, when the runtime
// does not tell them.
func (l *look) namesFromLogs(s *source) map[string]v1alpha1.Container {
	const dir = "/var/log/containers"
	if s.at(l, "listing", dir) != nil {
		return nil
	}
	files, err := l.root.names(dir, 5000)
	if err != nil {
		return nil
	}
	out := map[string]v1alpha1.Container{}
	for _, f := range files {
		f = strings.TrimSuffix(f, ".log")
		i := strings.LastIndexByte(f, '-')
		parts := strings.Split(f[:max(i, 0)], "_")
		if i < 0 || len(parts) != 3 {
			continue
		}
		out[f[i+1:]] = v1alpha1.Container{ID: f[i+1:], Pod: parts[0], Namespace: parts[1], Name: parts[2]}
	}
	return out
}

// kubepodsDirs are where the kubelet keeps pods, by cgroup driver and by kind's cgroup root.
var kubepodsDirs = []string{"kubepods", "kubepods.slice", "kubelet/kubepods", "kubelet.slice/kubelet-kubepods.slice"}

// kubepods reads the kubelet's own cgroups, in which every pod's is made.
func (l *look) kubepods(s *source) {
	h := l.table.hierarchies()
	type tree struct {
		controller string
		mount      mountLine
	}
	var trees []tree
	for _, c := range []string{"cpuset", "pids", "memory", "cpu", "freezer", "name=systemd"} {
		if ms := h.v1[c]; len(ms) > 0 {
			trees = append(trees, tree{c, shortest(ms)})
		}
	}
	if len(h.unified) > 0 {
		trees = append(trees, tree{"", shortest(h.unified)})
	}
	var out []v1alpha1.Cgroup
	for _, t := range trees {
		for _, k := range kubepodsDirs {
			top := path.Join(t.mount.target, k)
			if s.at(l, "reading", top) != nil {
				continue
			}
			if _, err := l.root.lstat(top); err != nil {
				continue
			}
			dirs := []string{top}
			if names, err := l.root.names(top, 4000); err == nil {
				for _, n := range names {
					if strings.Contains(n, "burstable") && !strings.Contains(n, "pod") || strings.HasSuffix(n, "-burstable.slice") || n == "besteffort" || strings.HasSuffix(n, "-besteffort.slice") {
						dirs = append(dirs, path.Join(top, n))
					}
				}
			}
			for _, d := range dirs {
				out = append(out, l.cgroup(d, t.controller))
			}
			break
		}
	}
	l.put(func(o *v1alpha1.Observation) { o.Cgroups = out })
}

func shortest(ms []mountLine) mountLine {
	best := ms[0]
	for _, m := range ms[1:] {
		if len(m.target) < len(best.target) {
			best = m
		}
	}
	return best
}

func (l *look) cgroup(dir, controller string) v1alpha1.Cgroup {
	r := l.root
	c := v1alpha1.Cgroup{Path: strings.TrimPrefix(dir, "/sys/fs/cgroup/")}
	var st unix.Statfs_t
	if unix.Statfs(r.path(dir), &st) == nil {
		c.ReadOnly = int64(st.Flags)&unix.ST_RDONLY != 0
	}
	switch controller {
	case "cpuset":
		c.EmptyCPUs = r.exists(dir+"/cpuset.cpus") && (r.text(dir+"/cpuset.cpus") == "" || r.text(dir+"/cpuset.mems") == "")
	case "pids":
		c.PIDsMax, c.PIDsInside = limitOf(r.text(dir+"/pids.max")), number(r.text(dir+"/pids.current"))
	case "freezer":
		state := r.text(dir + "/freezer.state")
		c.Frozen = state == "FROZEN" || state == "FREEZING"
	case "":
		if v := r.text(dir + "/cgroup.max.descendants"); v != "" && v != "max" {
			c.MaxBelow, c.Limited = number(v), true
		}
		c.Below = keyed(r.text(dir + "/cgroup.stat"))["nr_descendants"]
		c.PIDsMax, c.PIDsInside = limitOf(r.text(dir+"/pids.max")), number(r.text(dir+"/pids.current"))
		c.Frozen = keyed(r.text(dir + "/cgroup.events"))["frozen"] == 1
	}
	return c
}

func (r root) exists(p string) bool {
	_, err := r.lstat(p)
	return err == nil
}
