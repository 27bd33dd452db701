package collect

import (
	"bufio"
	"context"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/hypervisor"
)

func (l *look) host(_ context.Context, s *source) error {
	r := l.root
	if err := s.at(l, "reading", "/proc and /sys"); err != nil {
		return err
	}
	h := v1alpha1.Host{
		Arch:          runtime.GOARCH,
		BootID:        r.text("/proc/sys/kernel/random/boot_id"),
		Hostname:      r.text("/proc/sys/kernel/hostname"),
		Kernel:        r.text("/proc/sys/kernel/osrelease"),
		CgroupVersion: 1,
		CPUs:          cpuCount(r.text("/sys/devices/system/cpu/online")),
		Unprivileged:  unix.Geteuid() != 0,
	}
	for _, m := range l.table {
		if m.target == "/sys/fs/cgroup" && m.fstype == "cgroup2" {
			h.CgroupVersion = 2
		}
	}
	h.UptimeSeconds, _ = strconv.ParseFloat(firstField(r.text("/proc/uptime")), 64)
	h.LoadAverage1, _ = strconv.ParseFloat(firstField(r.text("/proc/loadavg")), 64)
	for line := range strings.Lines(r.text("/proc/meminfo")) {
		if v, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kb, _ := strconv.ParseInt(firstField(v), 10, 64)
			h.MemoryBytes = kb << 10
			break
		}
	}
	if lsm := r.text("/sys/kernel/security/lsm"); lsm != "" {
		h.LSMs = strings.Split(lsm, ",")
	}
	h.PSI.CPUSome, _ = pressure(r.text("/proc/pressure/cpu"))
	h.PSI.MemorySome, h.PSI.MemoryFull = pressure(r.text("/proc/pressure/memory"))
	h.PSI.IOSome, h.PSI.IOFull = pressure(r.text("/proc/pressure/io"))

	// These are files of the root filesystem, the last to be asked.
	for _, p := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if err := s.at(l, "reading", p); err != nil {
			return err
		}
		if h.OS = osName(r.text(p)); h.OS != "" {
			break
		}
	}
	rtc, hasRTC := rtcOffset(r)
	h.Virtualization, h.InContainer = virtualization(r)
	h.Machine = hypervisor.Machine()
	l.put(func(o *v1alpha1.Observation) {
		o.Host = h
		if l.opts.Node == "" && h.Hostname != "" {
			o.Node = h.Hostname
		}
		o.Clocks.Synchronized = synchronized()
		o.Clocks.RTCOffsetSeconds, o.Clocks.RTCOffsetKnown = rtc, hasRTC
	})
	return nil
}

// rtcOffset compares this machine's clock with the one that its battery keeps, which counts whole seconds. In local time, which is
// for sharing a machine with Windows, it says nothing without a time zone that may have changed.
func rtcOffset(r root) (seconds float64, known bool) {
	if lines := strings.Split(r.text("/etc/adjtime"), "\n"); len(lines) > 2 && strings.TrimSpace(lines[2]) == "LOCAL" {
		return 0, false
	}
	rtc, err := strconv.ParseInt(r.text("/sys/class/rtc/rtc0/since_epoch"), 10, 64)
	if err != nil {
		return 0, false
	}
	return float64(time.Now().UnixMilli())/1000 - float64(rtc) - 0.5, true
}

// synchronized asks the kernel whether its clock is disciplined; mode 0 changes nothing.
func synchronized() bool {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return false
	}
	return t.Status&unix.STA_UNSYNC == 0
}

func firstField(s string) string {
	f := strings.Fields(s)
	if len(f) == 0 {
		return ""
	}
	return f[0]
}

// cpuCount counts a kernel list such as 0-3,6.
func cpuCount(list string) int {
	n := 0
	for part := range strings.SplitSeq(list, ",") {
		a, b, isRange := strings.Cut(part, "-")
		first, err := strconv.Atoi(a)
		if err != nil {
			continue
		}
		last := first
		if isRange {
			if last, err = strconv.Atoi(b); err != nil {
				continue
			}
		}
		n += last - first + 1
	}
	return n
}

// pressure gives "some avg10" and "full avg10" of a PSI file.
func pressure(s string) (some, full float64) {
	for line := range strings.Lines(s) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		v, _ := strconv.ParseFloat(strings.TrimPrefix(f[1], "avg10="), 64)
		switch f[0] {
		case "some":
			some = v
		case "full":
			full = v
		}
	}
	return some, full
}

func osName(release string) string {
	sc := bufio.NewScanner(strings.NewReader(release))
	for sc.Scan() {
		if v, ok := strings.CutPrefix(sc.Text(), "PRETTY_NAME="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return ""
}

// virtualization says what systemd-detect-virt would, from the files it looks at: running it costs a process.
func virtualization(r root) (kind string, container bool) {
	if c := r.text("/run/systemd/container"); c != "" {
		return c, true
	}
	if _, err := r.lstat("/.dockerenv"); err == nil {
		return "docker", true
	}
	if _, err := r.lstat("/run/.containerenv"); err == nil {
		return "podman", true
	}
	vendor := r.text("/sys/class/dmi/id/sys_vendor") + " " + r.text("/sys/class/dmi/id/product_name")
	for _, v := range []struct{ mark, kind string }{
		{"QEMU", "qemu"}, {"KVM", "kvm"}, {"Amazon EC2", "amazon"}, {"Google", "google"}, {"VMware", "vmware"}, {"VirtualBox", "oracle"}, {"Microsoft Corporation Virtual", "microsoft"}, {"Xen", "xen"},
	} {
		if strings.Contains(vendor, v.mark) {
			return v.kind, false
		}
	}
	if r.text("/sys/hypervisor/type") == "xen" {
		return "xen", false
	}
	for line := range strings.Lines(r.text("/proc/cpuinfo")) {
		if strings.HasPrefix(line, "flags") {
			if strings.Contains(line, " hypervisor") {
				return "vm-other", false
			}
			break
		}
	}
	return "none", false
}
