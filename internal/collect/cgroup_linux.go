package collect

import (
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// cgroupOf is a process's cgroup path per controller; "" is the unified hierarchy, "name=systemd" systemd's own on v1.
type cgroupOf map[string]string

func parseCgroup(s string) cgroupOf {
	out := cgroupOf{}
	for line := range strings.Lines(s) {
		f := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		for c := range strings.SplitSeq(f[1], ",") {
			out[c] = f[2]
		}
	}
	return out
}

// parent is the cgroup that each of these lies in: of a container's, its pod's.
func (c cgroupOf) parent() cgroupOf {
	out := cgroupOf{}
	for controller, p := range c {
		out[controller] = path.Dir(p)
	}
	return out
}

// hierarchies is where each controller is mounted. On a hybrid node memory may be v1 while the unified tree is there, too.
type hierarchies struct {
	v1      map[string][]mountLine
	unified []mountLine
}

func (t mountTable) hierarchies() hierarchies {
	h := hierarchies{v1: map[string][]mountLine{}}
	for _, m := range t {
		switch m.fstype {
		case "cgroup2":
			h.unified = append(h.unified, m)
		case "cgroup":
			for _, o := range m.super {
				h.v1[o] = append(h.v1[o], m)
			}
		}
	}
	return h
}

// dir is the directory of a process's cgroup for a controller, whether it is a v1 one, and the path as the kernel names it.
func (h hierarchies) dir(r root, c cgroupOf, controller string) (dir, name string, v1, ok bool) {
	mounts, v1 := h.v1[controller]
	name = c[controller]
	if !v1 {
		mounts, name = h.unified, c[""]
	}
	if name == "" {
		return "", "", v1, false
	}
	// A container sees its own part of the hierarchy: the mount's root is then a prefix of the path. With a cgroup namespace
	// both are already relative.
	best := ""
	for _, m := range mounts {
		var d string
		switch {
		case under(name, m.root):
			d = path.Join(m.target, strings.TrimPrefix(name, m.root))
		case m.root == "/" || strings.HasPrefix(m.root, "/.."):
			d = path.Join(m.target, name)
		default:
			continue
		}
		if best == "" || len(d) < len(best) {
			if _, err := r.lstat(d); err == nil {
				best = d
			}
		}
	}
	return best, name, v1, best != ""
}

// cpu reads a cgroup's CPU accounting, the same numbers from both versions.
func (h hierarchies) cpu(r root, c cgroupOf) (u v1alpha1.CPUUsage, name string, ok bool) {
	dir, name, v1, ok := h.dir(r, c, "cpu")
	if !ok {
		return u, name, false
	}
	if v1 {
		quota := number(r.text(dir + "/cpu.cfs_quota_us"))
		period := number(r.text(dir + "/cpu.cfs_period_us"))
		if quota > 0 && period > 0 {
			u.QuotaMilli, u.PeriodUsec = quota*1000/period, period
		}
		stat := keyed(r.text(dir + "/cpu.stat"))
		u.NrPeriods, u.NrThrottled, u.ThrottledUsec = stat["nr_periods"], stat["nr_throttled"], stat["throttled_time"]/1000
		if acct, _, _, found := h.dir(r, c, "cpuacct"); found {
			u.UsageUsec = number(r.text(acct+"/cpuacct.usage")) / 1000
		}
		return u, name, true
	}
	quota, period, _ := strings.Cut(r.text(dir+"/cpu.max"), " ")
	if p := number(period); quota != "max" && p > 0 {
		u.QuotaMilli, u.PeriodUsec = number(quota)*1000/p, p
	}
	u.PressureSome, u.PressureFull = pressure(r.text(dir + "/cpu.pressure"))
	stat := keyed(r.text(dir + "/cpu.stat"))
	u.NrPeriods, u.NrThrottled, u.ThrottledUsec, u.UsageUsec = stat["nr_periods"], stat["nr_throttled"], stat["throttled_usec"], stat["usage_usec"]
	return u, name, true
}

// quota is the CPU accounting of the cgroup with the smallest quota at or above a process's own, and that cgroup.
func (h hierarchies) quota(r root, c cgroupOf) (u v1alpha1.CPUUsage, name string) {
	key := ""
	if _, v1 := h.v1["cpu"]; v1 {
		key = "cpu"
	}
	for p := c[key]; p != "" && p != "/" && p != "."; p = path.Dir(p) {
		if above, n, ok := h.cpu(r, cgroupOf{key: p}); ok && above.QuotaMilli > 0 && (u.QuotaMilli == 0 || above.QuotaMilli < u.QuotaMilli) {
			u, name = above, n
		}
	}
	return u, name
}

type memoryUse struct{ usage, limit, peak, oomKills int64 }

func (h hierarchies) memory(r root, c cgroupOf) (m memoryUse, name string, ok bool) {
	dir, name, v1, ok := h.dir(r, c, "memory")
	if !ok {
		return m, name, false
	}
	if v1 {
		m.usage = number(r.text(dir + "/memory.usage_in_bytes"))
		m.limit = limitOf(r.text(dir + "/memory.limit_in_bytes"))
		m.peak = number(r.text(dir + "/memory.max_usage_in_bytes"))
		m.oomKills = keyed(r.text(dir + "/memory.oom_control"))["oom_kill"]
		return m, name, true
	}
	m.usage = number(r.text(dir + "/memory.current"))
	m.limit = limitOf(r.text(dir + "/memory.max"))
	m.peak = number(r.text(dir + "/memory.peak"))
	m.oomKills = keyed(r.text(dir + "/memory.events"))["oom_kill"]
	return m, name, true
}

// limitOf is a memory limit in bytes, 0 for none: v2 says max, v1 the largest page-aligned number.
func limitOf(s string) int64 {
	n := number(s)
	if n >= 1<<62 {
		return 0
	}
	return n
}

// frozen tells whether a process's cgroup, or one above it, is frozen. Both versions say so in the leaf.
func (h hierarchies) frozen(r root, c cgroupOf) bool {
	if _, v1 := h.v1["freezer"]; v1 {
		if dir, _, _, ok := h.dir(r, c, "freezer"); ok {
			if s := r.text(dir + "/freezer.state"); s == "FROZEN" || s == "FREEZING" {
				return true
			}
		}
	}
	if len(h.unified) == 0 || c[""] == "" {
		return false
	}
	dir, _, _, ok := h.dir(r, cgroupOf{"": c[""]}, "")
	return ok && keyed(r.text(dir + "/cgroup.events"))["frozen"] == 1
}

func number(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// keyed reads "key value" lines.
func keyed(s string) map[string]int64 {
	out := map[string]int64{}
	for line := range strings.Lines(s) {
		k, v, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok {
			out[k] = number(v)
		}
	}
	return out
}

var containerID = regexp.MustCompile(`^(?:.*:)?(?:[a-z-]+-)?([0-9a-f]{64})(?:\.scope)?$`)

// container is the container a cgroup path belongs to and the container's own part of the path. A container that runs an
// init system has cgroups of its own below.
func container(p string) (id, own string, underKubepods, ok bool) {
	parts := strings.Split(strings.Trim(p, "/"), "/")
	for i := len(parts) - 1; i >= 0; i-- {
		m := containerID.FindStringSubmatch(parts[i])
		if m == nil || strings.Contains(parts[i], "conmon") { // CRI-O's and Podman's monitor is no process of its container
			continue
		}
		return m[1], "/" + strings.Join(parts[:i+1], "/"), belowKubepods(parts[:i]), true
	}
	return "", "", false, false
}

// belowKubepods tells whether one of the directories above is the kubelet's: kubepods, kubepods.slice,
// kubelet-kubepods.slice. "…slice:cri-containerd:<id>" is not: that is runc taking a systemd path for a directory name.
func belowKubepods(parents []string) bool {
	for _, p := range parents {
		if strings.Contains(p, ":") {
			continue
		}
		p = strings.TrimSuffix(p, ".slice")
		if p == "kubepods" || strings.HasPrefix(p, "kubepods-") || strings.HasSuffix(p, "-kubepods") || strings.Contains(p, "-kubepods-") {
			return true
		}
	}
	return false
}

// unitOf is the systemd unit a process runs in.
func unitOf(c cgroupOf) string {
	for _, k := range []string{"name=systemd", "", "pids", "memory", "cpu"} {
		parts := strings.Split(c[k], "/")
		for i := len(parts) - 1; i >= 0; i-- {
			if u, ok := strings.CutSuffix(parts[i], ".service"); ok {
				return u
			}
		}
	}
	return ""
}
