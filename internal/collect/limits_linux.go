package collect

import (
	"context"
	"path"
	"strconv"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// limits reads what a node can run out of beside space, memory and CPU. Numbers that the kernel does not tell are left out.
func (l *look) limits(ctx context.Context, s *source) error {
	r := l.root
	value := func(p string) int64 { return number(r.text(p)) }
	var out []v1alpha1.Limit
	add := func(name, of string, used, limit int64) {
		if limit > 0 {
			out = append(out, v1alpha1.Limit{Name: name, Of: of, Used: used, Max: limit})
		}
	}
	// "0.00 0.01 0.05 1/123 4567": the fourth is of how many tasks how many run.
	if f := strings.Fields(r.text("/proc/loadavg")); len(f) > 3 {
		_, tasks, _ := strings.Cut(f[3], "/")
		add("pids", "node", number(tasks), min(value("/proc/sys/kernel/pid_max"), value("/proc/sys/kernel/threads-max")))
	}
	h := l.table.hierarchies()
	mounts := h.v1["pids"]
	if len(mounts) == 0 {
		mounts = h.unified
	}
	if len(mounts) > 0 {
		top := shortest(mounts).target
		names, _ := r.names(top, 200)
		for _, n := range names {
			if strings.HasSuffix(n, ".slice") || n == "kubepods" {
				add("pids", n, value(path.Join(top, n, "pids.current")), limitOf(r.text(path.Join(top, n, "pids.max"))))
			}
		}
	}
	add("conntrack", "node", value("/proc/sys/net/netfilter/nf_conntrack_count"), value("/proc/sys/net/netfilter/nf_conntrack_max"))
	if f := strings.Fields(r.text("/proc/sys/fs/file-nr")); len(f) == 3 {
		add("open-files", "node", number(f[0]), limitOf(f[2]))
	}
	l.mu.Lock()
	for _, p := range l.obs.Processes {
		add("open-files", p.Name+" "+strconv.Itoa(p.PID), int64(p.OpenFiles), int64(p.MaxFiles))
	}
	l.mu.Unlock()
	if peer, used, ports := l.ephemeralPorts(); ports > 0 {
		add("ephemeral-ports", peer, used, ports)
	}
	// What is there by now stays, should the many files of inotify not answer in time.
	l.put(func(o *v1alpha1.Observation) { o.Limits = out })
	if err := s.at(l, "reading", "/proc/*/ns and /proc/*/fd"); err != nil {
		return err
	}
	namespaces, err := l.namespaces(ctx)
	if err != nil {
		return err
	}
	out = append(out, namespaces...)
	instances, watches, err := l.inotify(ctx)
	if err != nil {
		return err
	}
	add("inotify-instances", "uid 0", instances, value("/proc/sys/fs/inotify/max_user_instances"))
	add("inotify-watches", "uid 0", watches, value("/proc/sys/fs/inotify/max_user_watches"))
	l.put(func(o *v1alpha1.Observation) { o.Limits = out })
	return nil
}

// ephemeralPorts are the local ports that the peer with the most connections takes, of those that the kernel gives out: two
// connections to the same peer cannot share one.
func (l *look) ephemeralPorts() (peer string, used, ports int64) {
	f := strings.Fields(l.root.text("/proc/sys/net/ipv4/ip_local_port_range"))
	if len(f) != 2 {
		return "", 0, 0
	}
	first, last := number(f[0]), number(f[1])
	count := map[string]int64{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := l.root.read(table, 2*maxFile)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 4 || f[3] == "0A" { // listening
				continue
			}
			_, hex, _ := strings.Cut(f[1], ":")
			port, err := strconv.ParseInt(hex, 16, 32)
			if err != nil || port < first || port > last {
				continue
			}
			if count[f[2]]++; count[f[2]] > used {
				peer, used = f[2], count[f[2]]
			}
		}
	}
	return peerName(peer), used, last - first + 1
}

// peerName is an address of /proc/net/tcp for people; IPv6 addresses stay as the kernel writes them.
func peerName(s string) string {
	address, hexPort, _ := strings.Cut(s, ":")
	port, _ := strconv.ParseUint(hexPort, 16, 16)
	n, err := strconv.ParseUint(address, 16, 32)
	if err != nil || len(address) != 8 {
		return s
	}
	var parts []string
	for i := range 4 {
		parts = append(parts, strconv.FormatUint(n>>(8*i)&0xff, 10))
	}
	return strings.Join(parts, ".") + ":" + strconv.FormatUint(port, 10)
}

// inotify counts root's instances and watches: the kernel limits them for each user, and kubelet, runtime and most pods are root.
func (l *look) inotify(ctx context.Context) (instances, watches int64, err error) {
	procs, err := l.procs()
	if err != nil {
		return 0, 0, err
	}
	for _, p := range procs {
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		if p.kernel || l.uid(p.pid) != 0 {
			continue
		}
		dir := procPath(p.pid, "fd")
		fds, _ := l.root.names(dir, 1<<14)
		for _, fd := range fds {
			if to, err := l.root.readlink(dir + "/" + fd); err != nil || !strings.HasSuffix(to, "inotify") {
				continue
			}
			instances++
			b, _ := l.root.read(procPath(p.pid, "fdinfo/"+fd), maxFile)
			watches += int64(strings.Count(string(b), "inotify wd:"))
		}
	}
	return instances, watches, nil
}

// namespaces are the limits of user.max_*_namespaces that are within reach, with how many there are: those of processes, and of network
// those that are mounted. The kernel counts them for each user, and on a node root has made them. None at all are allowed is a limit, too.
func (l *look) namespaces(ctx context.Context) (out []v1alpha1.Limit, err error) {
	procs, err := l.procs()
	if err != nil {
		return nil, err
	}
	var pinned []string
	for _, m := range l.table {
		if m.fstype == "nsfs" {
			pinned = append(pinned, m.root)
		}
	}
	for _, kind := range []string{"user", "net", "mnt", "pid", "ipc", "uts", "cgroup", "time"} {
		limit, err := strconv.ParseInt(l.root.text("/proc/sys/user/max_"+kind+"_namespaces"), 10, 64)
		if err != nil || limit > int64(len(procs)+len(pinned)) {
			continue // there cannot be as many
		}
		there := map[string]bool{}
		for _, p := range pinned {
			if strings.HasPrefix(p, kind+":") {
				there[p] = true
			}
		}
		for _, p := range procs {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if to, err := l.root.readlink(procPath(p.pid, "ns/"+kind)); err == nil {
				there[to] = true
			}
		}
		own, _ := l.root.readlink(procPath(1, "ns/"+kind))
		delete(there, own) // the kernel made it, nobody is charged for it
		out = append(out, v1alpha1.Limit{Name: kind + "-namespaces", Of: "node", Used: int64(len(there)), Max: limit})
	}
	return out, nil
}

// uid is a process's real user, -1 when it cannot be told.
func (l *look) uid(pid int) int64 {
	_, rest, ok := strings.Cut(l.root.text(procPath(pid, "status")), "\nUid:")
	if !ok {
		return -1
	}
	return number(firstField(rest))
}
