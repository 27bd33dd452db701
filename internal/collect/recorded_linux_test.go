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

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors/all"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
)

// unified is a cgroup v2 tree in a directory: files that a kernel wrote (testdata/cgroup-v2, taken by record.sh there), with the numbers
// that were recorded on v1. The collector then reads it as it would a node.
type unified struct {
	t       *testing.T
	root    root
	written map[string]string
}

const recordedV2 = "testdata/cgroup-v2"

// kernels is a recorded file's text.
func kernels(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(recordedV2, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// keyed is a recorded file of "key value" lines with other values; a key that the kernel does not write there fails the test.
func (u *unified) keyed(name string, values map[string]int64) string {
	u.t.Helper()
	lines := strings.SplitAfter(kernels(u.t, name), "\n")
	for key, v := range values {
		i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, key+" ") })
		if i < 0 {
			u.t.Fatalf("%s has no %s", name, key)
		}
		lines[i] = fmt.Sprintf("%s %d\n", key, v)
	}
	return strings.Join(lines, "")
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

// number is a recorded file with another number where its first one was; what follows it stays. A file that the kernel does not begin
// with a number fails the test.
func (u *unified) number(name string, n int64) string {
	u.t.Helper()
	text := kernels(u.t, name)
	rest := strings.TrimLeft(strings.TrimPrefix(text, "max"), "0123456789")
	if rest == text {
		u.t.Fatalf("%s does not begin with a number: %q", name, text)
	}
	return fmt.Sprint(n) + rest
}

// limit is number, and for no limit the file as it was recorded of a cgroup that has none.
func (u *unified) limit(limited, unlimited string, n int64) string {
	u.t.Helper()
	if n > 0 {
		return u.number(limited, n)
	}
	text := kernels(u.t, unlimited)
	if !strings.HasPrefix(text, "max") {
		u.t.Fatalf("%s has a limit: %q", unlimited, text)
	}
	return text
}

func (u *unified) cpuFiles(c v1alpha1.CPUUsage) map[string]string {
	return map[string]string{
		"cpu.max": u.limit("throttled/cpu.max", "frozen/cpu.max", c.QuotaMilli*100),
		"cpu.stat": u.keyed("throttled/cpu.stat", map[string]int64{
			"usage_usec": c.UsageUsec, "nr_periods": c.NrPeriods, "nr_throttled": c.NrThrottled, "throttled_usec": c.ThrottledUsec,
		}),
	}
}

func (u *unified) events(frozen bool) string {
	if frozen {
		return kernels(u.t, "frozen/cgroup.events")
	}
	return kernels(u.t, "throttled/cgroup.events")
}

// onV2 is the observation as the collector would have given it on cgroup v2.
func (u *unified) onV2(o v1alpha1.Observation) v1alpha1.Observation {
	h := unifiedMount.hierarchies()
	o.Host.CgroupVersion = 2
	o.Containers = slices.Clone(o.Containers)
	for i := range o.Containers {
		c := &o.Containers[i]
		files := u.cpuFiles(c.CPU)
		maps.Copy(files, map[string]string{
			"memory.current": u.number("killed/memory.current", c.MemoryBytes),
			"memory.max":     u.limit("killed/memory.max", "frozen/memory.max", c.MemoryLimit),
			"memory.peak":    u.number("killed/memory.peak", c.MemoryPeak),
			"memory.events":  u.keyed("killed/memory.events", map[string]int64{"oom_kill": c.OOMKills}),
			"cgroup.events":  u.events(false),
		})
		u.write(c.CgroupPath, files)
		cg := parseCgroup("0::" + c.CgroupPath + "\n")
		m, path, ok := h.memory(u.root, cg)
		cpu, _, _ := h.cpu(u.root, cg)
		cpu.PeriodUsec = c.CPU.PeriodUsec // of before it was told
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
		files := u.cpuFiles(p.CPUQuota)
		files["cgroup.events"] = u.events(p.FrozenCgroup)
		u.write(p.CgroupPath, files)
		cg := parseCgroup("0::" + p.CgroupPath + "\n")
		quota, path, ok := h.cpu(u.root, cg)
		quota.PeriodUsec = p.CPUQuota.PeriodUsec
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
func (u *unified) kubepods(v1 []v1alpha1.Cgroup) []v1alpha1.Cgroup {
	merged := map[string]v1alpha1.Cgroup{}
	for _, c := range v1 {
		_, path, _ := strings.Cut(c.Path, "/")
		m := merged[path]
		m.Path = path
		m.ReadOnly, m.Immutable, m.Frozen = m.ReadOnly || c.ReadOnly, m.Immutable || c.Immutable, m.Frozen || c.Frozen
		m.Limited, m.MaxBelow, m.Below = m.Limited || c.Limited, max(m.MaxBelow, c.MaxBelow), max(m.Below, c.Below)
		m.PIDsMax, m.PIDsInside = max(m.PIDsMax, c.PIDsMax), max(m.PIDsInside, c.PIDsInside)
		merged[path] = m
	}
	var out []v1alpha1.Cgroup
	for _, path := range slices.Sorted(maps.Keys(merged)) {
		m := merged[path]
		below := kernels(u.t, "kubepods/cgroup.max.descendants")
		if m.Limited {
			below = u.number("kubepods/cgroup.max.descendants", m.MaxBelow)
		}
		u.write(path, map[string]string{
			"cgroup.max.descendants": below,
			"cgroup.stat":            u.keyed("kubepods/cgroup.stat", map[string]int64{"nr_descendants": m.Below}),
			"pids.max":               u.limit("kubepods/pids.max", "killed/pids.max", m.PIDsMax),
			"pids.current":           u.number("kubepods/pids.current", m.PIDsInside),
			"cgroup.events":          u.events(m.Frozen),
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

// What a kernel wrote, read as it stands: of a container that is throttled, of one that is frozen, of a pod whose container was killed
// again and again (its own cgroup goes with each kill), and of the cgroup of all pods.
func TestCgroupV2Files(t *testing.T) {
	r, h := root(recordedV2), mountTable{{root: "/", target: "/", fstype: "cgroup2"}}.hierarchies()
	of := func(name string) cgroupOf { return parseCgroup("0::/" + name + "\n") }

	if got, _, ok := h.cpu(r, of("throttled")); !ok || got != (v1alpha1.CPUUsage{
		QuotaMilli: 20, PeriodUsec: 100_000, NrPeriods: 834, NrThrottled: 834, ThrottledUsec: 81_518_025, UsageUsec: 1_956_554,
	}) {
		t.Errorf("throttled: %+v, %v", got, ok)
	}
	if got, _, ok := h.memory(r, of("killed")); !ok || got != (memoryUse{usage: 14_757_888, limit: 32 << 20, peak: 32 << 20, oomKills: 15}) {
		t.Errorf("killed: %+v, %v", got, ok)
	}
	memory, _, _ := h.memory(r, of("frozen"))
	if cpu, _, ok := h.cpu(r, of("frozen")); !ok || cpu.QuotaMilli != 0 || cpu.UsageUsec == 0 || memory.limit != 0 || memory.usage == 0 {
		t.Errorf("frozen, without limits: %+v, %+v, %v", cpu, memory, ok)
	}
	if h.frozen(r, of("throttled")) || !h.frozen(r, of("frozen")) {
		t.Error("only the frozen one is frozen")
	}
	if got := (&look{root: r}).cgroup("/kubepods", ""); got != (v1alpha1.Cgroup{Path: "/kubepods", Below: 15, PIDsMax: 63_453, PIDsInside: 48}) {
		t.Errorf("kubepods: %+v", got)
	}
}

// A container's usage has its pod's throttling beside its own; one that lies outside of the pods' cgroup has no pod's.
func TestUsageHasThePods(t *testing.T) {
	u := &unified{t, root(t.TempDir()), map[string]string{}}
	id := strings.Repeat("0a", 32)
	for parent, want := range map[string]int64{"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1.slice": 9, "/system.slice": 0} {
		own := parent + "/cri-containerd-" + id + ".scope"
		u.write(parent, u.cpuFiles(v1alpha1.CPUUsage{QuotaMilli: 20, NrThrottled: 9}))
		u.write(own, u.cpuFiles(v1alpha1.CPUUsage{QuotaMilli: 20, NrThrottled: 2}))
		proc := u.root.path("/proc/7")
		if err := os.MkdirAll(proc, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, "cgroup"), []byte("0::"+own+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		got := (&look{root: u.root}).usage(id, v1alpha1.Container{}, procInfo{pid: 7}, []procInfo{procInfo{pid: 7}}, unifiedMount.hierarchies())
		if got.CPU.NrThrottled != 2 || got.PodCPU.NrThrottled != want {
			t.Errorf("%s: own %+v, the pod's %+v, want 2 and %d", parent, got.CPU, got.PodCPU, want)
		}
	}
}

// The smallest quota at or above a process's cgroup is the one that holds.
func TestQuotaOfASlice(t *testing.T) {
	const own, slice = "/sys/fs/cgroup/system.slice/containerd.service/cpu.max", "/sys/fs/cgroup/system.slice/cpu.max"
	for _, c := range []struct {
		files map[string]string
		milli int64
		name  string
	}{
		{map[string]string{own: "max 100000\n", slice: "1000 100000\n"}, 10, "/system.slice"},
		{map[string]string{own: "500 100000\n", slice: "1000 100000\n"}, 5, "/system.slice/containerd.service"},
		{map[string]string{own: "max 100000\n", slice: "max 100000\n"}, 0, ""},
	} {
		q, name := unifiedMount.hierarchies().quota(tree(t, c.files), cgroupOf{"": "/system.slice/containerd.service"})
		if q.QuotaMilli != c.milli || name != c.name {
			t.Errorf("%v: %d of %q", c.files, q.QuotaMilli, name)
		}
	}
}
