package collect

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/diagnose"
	"github.com/sickbay-dev/sickbay/observation"
)

// unified is a cgroup v2 tree in a directory, made of what was recorded on v1: the files as the kernel's
// Documentation/admin-guide/cgroup-v2.rst describes them. The collector then reads it as it would a node.
type unified struct {
	t       *testing.T
	root    root
	written map[string]string
}

var unifiedMount = mountTable{{root: "/", target: "/sys/fs/cgroup", fstype: "cgroup2"}}

func (u *unified) write(cgroup string, files map[string]string) {
	u.t.Helper()
	dir := u.root.path(filepath.Join("/sys/fs/cgroup", cgroup))
	for name, text := range files {
		path := filepath.Join(dir, name)
		if had, ok := u.written[path]; ok && had == text {
			continue // the next look of the same node
		}
		u.written[path] = text
		if err := os.MkdirAll(dir, 0o755); err != nil {
			u.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			u.t.Fatal(err)
		}
	}
}

func orMax(n int64) string {
	if n == 0 {
		return "max"
	}
	return fmt.Sprint(n)
}

func cpuFiles(c observation.CPUUsage) map[string]string {
	quota := "max"
	if c.QuotaMilli > 0 {
		quota = fmt.Sprint(c.QuotaMilli * 100)
	}
	return map[string]string{
		"cpu.max": quota + " 100000\n",
		"cpu.stat": fmt.Sprintf("usage_usec %d\nuser_usec %d\nsystem_usec 0\nnr_periods %d\nnr_throttled %d\nthrottled_usec %d\nnr_bursts 0\nburst_usec 0\n",
			c.UsageUsec, c.UsageUsec, c.NrPeriods, c.NrThrottled, c.ThrottledUsec),
	}
}

func events(frozen bool) string {
	return fmt.Sprintf("populated 1\nfrozen %d\n", map[bool]int{true: 1}[frozen])
}

// onV2 is the observation as the collector would have given it on cgroup v2: constructed, not recorded.
func (u *unified) onV2(o observation.Observation) observation.Observation {
	h := unifiedMount.hierarchies()
	o.Host.CgroupVersion = 2
	o.Containers = slices.Clone(o.Containers)
	for i := range o.Containers {
		c := &o.Containers[i]
		files := cpuFiles(c.CPU)
		maps.Copy(files, map[string]string{
			"memory.current": fmt.Sprintln(c.MemoryBytes), "memory.max": orMax(c.MemoryLimit) + "\n", "memory.peak": fmt.Sprintln(c.MemoryPeak),
			"memory.events": fmt.Sprintf("low 0\nhigh 0\nmax %d\noom %d\noom_kill %d\noom_group_kill 0\n", c.OOMKills, c.OOMKills, c.OOMKills),
			"cgroup.events": events(false),
		})
		u.write(c.CgroupPath, files)
		cg := parseCgroup("0::" + c.CgroupPath + "\n")
		m, path, ok := h.memory(u.root, cg)
		cpu, _, _ := h.cpu(u.root, cg)
		_, _, under, _ := container(containerPath(cg))
		before := *c
		c.CgroupPath, c.UnderKubepods, c.CPU = path, under, cpu
		c.MemoryBytes, c.MemoryLimit, c.MemoryPeak, c.OOMKills = m.usage, m.limit, m.peak, m.oomKills
		if !ok || before != *c {
			u.t.Errorf("container %s/%s: read %+v from the v2 tree, want %+v", c.Pod, c.Name, *c, before)
		}
	}
	o.Processes = slices.Clone(o.Processes)
	for i := range o.Processes {
		p := &o.Processes[i]
		if p.CgroupPath == "" || p.CgroupPath == "/" {
			continue
		}
		files := cpuFiles(p.CPUQuota)
		files["cgroup.events"] = events(p.FrozenCgroup)
		u.write(p.CgroupPath, files)
		cg := parseCgroup("0::" + p.CgroupPath + "\n")
		quota, path, ok := h.cpu(u.root, cg)
		frozen := h.frozen(u.root, cg)
		if !ok || quota != p.CPUQuota || frozen != p.FrozenCgroup {
			u.t.Errorf("process %s: read %+v, frozen %v from the v2 tree, want %+v, frozen %v", p.Name, quota, frozen, p.CPUQuota, p.FrozenCgroup)
		}
		p.CPUQuota, p.CgroupPath, p.FrozenCgroup = quota, path, frozen
	}
	o.Cgroups = u.kubepods(o.Cgroups)
	return o
}

// kubepods merges the controllers' trees of v1 into the one of v2.
func (u *unified) kubepods(v1 []observation.Cgroup) []observation.Cgroup {
	merged := map[string]observation.Cgroup{}
	for _, c := range v1 {
		_, path, _ := strings.Cut(c.Path, "/")
		m := merged[path]
		m.Path = path
		m.ReadOnly, m.Immutable, m.Frozen = m.ReadOnly || c.ReadOnly, m.Immutable || c.Immutable, m.Frozen || c.Frozen
		m.Limited, m.MaxBelow, m.Below = m.Limited || c.Limited, max(m.MaxBelow, c.MaxBelow), max(m.Below, c.Below)
		m.PIDsMax, m.PIDsInside = max(m.PIDsMax, c.PIDsMax), max(m.PIDsInside, c.PIDsInside)
		merged[path] = m
	}
	var out []observation.Cgroup
	for _, path := range slices.Sorted(maps.Keys(merged)) {
		m := merged[path]
		below := "max"
		if m.Limited {
			below = fmt.Sprint(m.MaxBelow)
		}
		u.write(path, map[string]string{
			"cgroup.max.descendants": below + "\n", "cgroup.stat": fmt.Sprintf("nr_descendants %d\nnr_dying_descendants 0\n", m.Below),
			"pids.max": orMax(m.PIDsMax) + "\n", "pids.current": fmt.Sprintln(m.PIDsInside), "cgroup.events": events(m.Frozen),
		})
		got := (&look{root: u.root}).cgroup("/sys/fs/cgroup/"+path, "")
		got.ReadOnly, got.Immutable = m.ReadOnly, m.Immutable // of the mount and the inode, the same on both versions
		out = append(out, got)
	}
	return out
}

// onlyOnV1 are scenarios whose cause is cgroup v1 itself.
var onlyOnV1 = []string{"cgroup-v1-refused"}

// Every recording says on cgroup v2 what it says on v1, its counters read by the collector from v2's files.
func TestRecordedOnCgroupV2(t *testing.T) {
	wants, err := filepath.Glob("../../detectors/all/testdata/recorded/*/want.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range wants {
		dir := filepath.Dir(path)
		name := filepath.Base(dir)
		if slices.Contains(onlyOnV1, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			var want struct{ Findings []string }
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := yaml.Unmarshal(raw, &want); err != nil {
				t.Fatal(err)
			}
			nodes, _, err := diagnose.FromBundle(dir)
			if err != nil {
				t.Fatal(err)
			}
			u := &unified{t, root(t.TempDir()), map[string]string{}}
			for _, h := range nodes {
				for i := range h {
					h[i] = u.onV2(h[i])
				}
				var got []string
				for _, f := range all.Judge(h) {
					got = append(got, f.Failure+"/"+f.Cause)
				}
				slices.Sort(got)
				if got = slices.Compact(got); !slices.Equal(got, want.Findings) {
					t.Errorf("on cgroup v2 %v, on v1 %v", got, want.Findings)
				}
			}
		})
	}
}

// A container whose kills are counted is gone from every recording: its successor begins at zero. The names of the words are cgroup-v2.rst's.
func TestOOMKillsOnCgroupV2(t *testing.T) {
	u := &unified{t, root(t.TempDir()), map[string]string{}}
	u.write("/kubepods/pod1/c", map[string]string{
		"memory.current": "1\n", "memory.max": "max\n", "memory.events": "low 0\nhigh 0\nmax 9\noom 5\noom_kill 3\noom_group_kill 1\n",
	})
	m, _, ok := unifiedMount.hierarchies().memory(u.root, parseCgroup("0::/kubepods/pod1/c\n"))
	if !ok || m.oomKills != 3 {
		t.Errorf("%+v, %v: want 3 kills", m, ok)
	}
}
