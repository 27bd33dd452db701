// Package pleg tells why the kubelet cannot list the runtime's containers: the runtime does not run, its disk blocks it, or
// it gets no CPU.
//
// PLEG itself speaks three minutes late, so the state of the runtime decides, and PLEG's words only support it.
package pleg

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/words"
)

func init() {
	detectors.Register(detectors.Detector{Failure: "pleg", Needs: []string{v1alpha1.SourceUnits, v1alpha1.SourceProcesses, v1alpha1.SourceFilesystems}, Judge: judge})
}

// judge looks for the nearest cause first: a blocked disk and a lack of CPU both look like a hung runtime from outside.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	for _, judge := range []func(v1alpha1.History) *v1alpha1.Finding{halted, ioStall, overloaded, unserved, silent} {
		if f := judge(h); f != nil {
			f.Failure, f.Node = "pleg", h.Last().Node
			f.Consequences = append(f.Consequences, facts.Consequences(h.Last())...)
			return []v1alpha1.Finding{*f}
		}
	}
	return nil
}

const (
	runtimeUnit = "containerd"
	slowCall    = 2000 // ms; a healthy CRI call takes under 50
	starvedCall = 300  // ms; with one per cent of a core, calls between the slow ones take this long
	// emulatedCall is slowCall where QEMU emulates the processor: the slowest call of a look takes 0.6 s there, one in fifty 3 s, with
	// the CPUs under pressure all the time (recordings of the core scenarios).
	emulatedCall = 10_000
)

// halted: the runtime's process does not run. The state of the process is the proof, whatever it did to others yet.
func halted(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	u, ok := o.Units[runtimeUnit]
	if !ok {
		return nil
	}
	p, seen := facts.MainProcess(o, runtimeUnit)
	if u.Frozen || seen && facts.Halted(p) {
		how := "is frozen by its cgroup"
		if seen && facts.Halted(p) {
			how = facts.HaltedHow(p)
		}
		// One look may hit a process in the middle of being traced or frozen for a moment.
		if len(h) >= 2 && !supported(h) && !haltedBefore(h) {
			return nil
		}
		ev := []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceProcesses, fmt.Sprintf("containerd (pid %d) %s", u.MainPID, how))}
		return &v1alpha1.Finding{
			Cause: "runtime-hung", Certainty: v1alpha1.Certain,
			Summary:  "containerd " + how + ": it answers no call, so the kubelet can neither list nor change containers",
			Evidence: support(h, ev),
			Remedy:   facts.Place(o).NewRemedy("wake-runtime", append(facts.Wake(o, runtimeUnit), ready(o)...)...),
		}
	}
	stopped := u.ActiveState == "inactive" || u.ActiveState == "failed" || u.LoadState == "masked"
	// While the next try is being prepared (start-pre) the unit has forgotten how the last one ended; its log has not.
	_, said := facts.LastOf(h, runtimeUnit, trying, "status=203/EXEC")
	noExec := u.ExecMainStatus == 203 || said && !stopped
	looping := u.ActiveState == "activating" && (u.NRestarts > 1 || noExec || o.Runtime.ConfigFile.Error != "")
	if !stopped && !looping {
		return nil
	}
	f := &v1alpha1.Finding{
		Cause: "runtime-hung", Certainty: v1alpha1.Certain,
		Summary:  "containerd does not run: its unit is " + u.ActiveState + " (" + u.SubState + ", result " + u.Result + ")",
		Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceUnits, fmt.Sprintf("containerd: %s/%s, load %s, result %s, exit status %d, %d restarts", u.ActiveState, u.SubState, u.LoadState, u.Result, u.ExecMainStatus, u.NRestarts))},
	}
	if l, ok := facts.LastOf(h, runtimeUnit, 2*time.Minute, "level=fatal", "containerd: ", "panic:"); ok {
		f.Evidence = append(f.Evidence, facts.FromLine(l))
	}
	f.Evidence = support(h, f.Evidence)
	var steps []v1alpha1.Step
	if u.LoadState == "masked" {
		steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "the unit is masked", "systemctl", "unmask", "containerd.service"))
	}
	if noExec {
		steps = append(steps, detectors.RestoreStep(o.Node, binary(o), "systemd cannot execute the runtime's binary (status 203)"))
	} else if looping || o.Runtime.ConfigFile.Error != "" {
		f.ManualAction = "containerd exits at start by itself; what it says decides, most often /etc/containerd/config.toml: " + o.Runtime.ConfigFile.Error
		if o.Runtime.ConfigFile.Error != "" {
			f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRuntimeFile, o.Runtime.ConfigFile.Path+": "+o.Runtime.ConfigFile.Error))
			steps = append(steps, detectors.RestoreStep(o.Node, "/etc/containerd/config.toml", "the configuration cannot be read: put the node image's own back"))
		}
	}
	if u.Result != "success" && u.Result != "" {
		steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "forget the failed starts", "systemctl", "reset-failed", "containerd.service"))
	}
	steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "running containers belong to their shims and go on", "systemctl", "start", "containerd.service"))
	f.Remedy = facts.Place(o).NewRemedy("start-runtime", append(steps, ready(o)...)...)
	return f
}

func binary(o *v1alpha1.Observation) string {
	for _, w := range strings.Fields(o.Units[runtimeUnit].ExecStart) {
		if strings.HasPrefix(w, "/") && strings.HasSuffix(w, "/containerd") {
			return w
		}
	}
	return "/usr/local/bin/containerd"
}

func haltedBefore(h v1alpha1.History) bool {
	before := &h[len(h)-2]
	p, ok := facts.MainProcess(before, runtimeUnit)
	return before.Units[runtimeUnit].Frozen || ok && facts.Halted(p)
}

// supported: somebody already misses the runtime.
func supported(h v1alpha1.History) bool {
	o := h.Last()
	if facts.TimedOut(o, v1alpha1.SourceStatus) || facts.RuntimeListsBlocked(o) {
		return true
	}
	_, down := facts.RuntimeDown(h)
	_, pleg := facts.PLEGUnhealthy(h)
	return down || pleg
}

// support adds who misses the runtime already.
func support(h v1alpha1.History, ev []v1alpha1.Evidence) []v1alpha1.Evidence {
	o := h.Last()
	for _, s := range []string{v1alpha1.SourceStatus, v1alpha1.SourceContainers, v1alpha1.SourceSandboxes} {
		if why, ok := o.Unreadable(s); ok {
			ev = append(ev, facts.Seen(o, s, why))
			break
		}
	}
	if e, ok := facts.PLEGUnhealthy(h); ok {
		ev = append(ev, e)
	} else if e, ok := facts.RuntimeDown(h); ok {
		ev = append(ev, e)
	}
	return ev
}

func ready(o *v1alpha1.Observation) []v1alpha1.Step {
	return []v1alpha1.Step{detectors.WaitReady(o.Node)}
}

// freezeGates are kernel functions in which a write to a frozen filesystem waits.
var freezeGates = []string{"percpu_rwsem_wait", "__sb_start_write", "sb_start_write", "percpu_down_read", "freeze_super", "wait_for_partially_frozen", "ext4_journal_start", "ext4_journal_check_start"}

// diskWaits are kernel functions in which a thread waits for a slow or dead device.
var diskWaits = []string{"io_schedule", "jbd2_log_wait_commit", "wait_on_page", "folio_wait", "blkdev_issue_flush", "submit_bio_wait", "rq_qos_wait", "do_get_write_access", "wait_transaction_locked", "nfs_", "rpc_wait", "xlog_", "btrfs_"}

// ioStall: the runtime's filesystem takes no writes: it is frozen, or its device does not answer.
func ioStall(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	fs, ok := runtimeFilesystem(o)
	blocked := blockedThreads(o)
	var ev []v1alpha1.Evidence
	certainty, how := v1alpha1.Certain, ""
	gate := waitingIn(blocked, freezeGates)
	switch {
	case ok && fs.Frozen:
		how = "is frozen"
		ev = append(ev, facts.Seen(o, v1alpha1.SourceFilesystems, fmt.Sprintf("%s (%s on %s) is frozen: writes wait in the kernel's freeze gate", fs.Path, fs.Type, fs.Mount)))
	case ok && gate != "" && (persists(h) || facts.RuntimeListsBlocked(o)):
		how = "is frozen"
	case waitingIn(blocked, diskWaits) != "" && persists(h) && (facts.RuntimeListsBlocked(o) || supported(h)):
		how, certainty = "does not complete its writes", v1alpha1.Likely
	default:
		return nil
	}
	if len(blocked) > 0 {
		ev = append(ev, facts.Seen(o, v1alpha1.SourceProcesses, fmt.Sprintf("%s of containerd in uninterruptible sleep (D): %s", facts.Plural(len(blocked), "thread"), describe(blocked))))
	}
	f := &v1alpha1.Finding{
		Cause: "runtime-io-stall", Certainty: certainty, Evidence: support(h, ev),
	}
	name := fs.Path
	if !ok {
		name = facts.RuntimeRoot(o)
	}
	f.Summary = fmt.Sprintf("the runtime's filesystem %s %s, so containerd hangs as soon as it writes", name, how)
	if ok && nearlyFull(o, fs) {
		f.Summary += "; the same filesystem is also full"
	}
	if certainty == v1alpha1.Likely {
		f.ToConfirm = "whether the device answers: `dmesg | tail`, `cat /sys/block/*/stat`, and `cat /proc/" + fmt.Sprint(o.Units[runtimeUnit].MainPID) + "/task/*/stack` on the node"
		f.ManualAction = "the device under " + name + " is slow or dead: nothing on the node repairs it"
		return f
	}
	mount := fs.Mount
	if mount == "" {
		mount = name
	}
	f.Remedy = facts.Place(o).NewRemedy("thaw-filesystem", append([]v1alpha1.Step{
		detectors.NodeStep(v1alpha1.Safe, o.Node, "the filesystem takes writes again and the waiting threads go on; nothing is restarted", "fsfreeze", "--unfreeze", mount),
	}, ready(o)...)...)
	return f
}

func runtimeFilesystem(o *v1alpha1.Observation) (v1alpha1.Filesystem, bool) {
	for _, role := range []string{"imagefs", "containerd-state"} {
		if f, ok := facts.Filesystem(o, role); ok && f.Frozen {
			return f, true
		}
	}
	return facts.Filesystem(o, "imagefs")
}

func nearlyFull(o *v1alpha1.Observation, f v1alpha1.Filesystem) bool {
	if facts.Full(f) {
		return true
	}
	t, ok := facts.HardThreshold(o, "imagefs.available", f.Bytes)
	return ok && f.BytesFree < t.Value && f.BytesFree*4 < f.Bytes
}

// blockedThreads are the runtime's threads, and those of its shims, in state D.
func blockedThreads(o *v1alpha1.Observation) []v1alpha1.Thread {
	var out []v1alpha1.Thread
	for _, p := range o.Processes {
		if p.Unit == runtimeUnit || p.Name == "containerd" {
			out = append(out, p.BlockedD...)
		}
	}
	return out
}

func waitingIn(threads []v1alpha1.Thread, where []string) string {
	for _, t := range threads {
		if facts.Has(t.Wchan, where...) {
			return t.Wchan
		}
	}
	return ""
}

func describe(threads []v1alpha1.Thread) string {
	var out []string
	for _, t := range threads {
		s := t.Wchan
		if s == "" {
			s = "?"
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return strings.Join(out, ", ")
}

// persists: the same thread was already blocked at the look before, or there was none: a single slow write is no stall.
func persists(h v1alpha1.History) bool {
	if len(h) < 2 {
		return facts.RuntimeListsBlocked(h.Last())
	}
	now, before := blockedThreads(h.Last()), blockedThreads(&h[len(h)-2])
	return slices.ContainsFunc(now, func(t v1alpha1.Thread) bool {
		return slices.ContainsFunc(before, func(b v1alpha1.Thread) bool { return b.TID == t.TID })
	})
}

// overloaded: the runtime's cgroup is throttled so hard that its calls come late.
func overloaded(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	p, ok := facts.MainProcess(o, runtimeUnit)
	if !ok {
		return nil
	}
	q := p.CPUQuota
	periods, throttled := q.NrPeriods, q.NrThrottled
	if before, ok := earlier(h); ok && q.NrPeriods > before.NrPeriods {
		periods, throttled = q.NrPeriods-before.NrPeriods, q.NrThrottled-before.NrThrottled
	}
	slow, call := slowest(o)
	most := int64(slowCall)
	if o.Host.Emulated() {
		most = emulatedCall
	}
	late := slow >= most || facts.TimedOut(o, v1alpha1.SourceStatus) || facts.RuntimeListsBlocked(o)
	starved := q.QuotaMilli > 0 && periods >= 20 && throttled*5 >= periods*4 && slow >= starvedCall
	if !late && !starved {
		if _, pleg := facts.PLEGUnhealthy(h); !pleg {
			return nil
		}
	}
	ev := []v1alpha1.Evidence{}
	f := &v1alpha1.Finding{Cause: "runtime-overloaded", Certainty: v1alpha1.Certain}
	switch {
	case q.QuotaMilli > 0 && periods >= 5 && throttled*2 >= periods:
		f.Summary = fmt.Sprintf("containerd may use %s of a core and is throttled in %d%% of its periods: its calls come too late for the kubelet", milli(q.QuotaMilli), throttled*100/periods)
		ev = append(ev, facts.Seen(o, v1alpha1.SourceCgroups, fmt.Sprintf("containerd.service: quota %dm, throttled in %d of %d periods, %d ms throttled in total", q.QuotaMilli, throttled, periods, q.ThrottledUsec/1000)))
		f.Remedy = facts.Place(o).NewRemedy("lift-cpu-quota", append(liftQuota(o), ready(o)...)...)
	case late && o.Host.CPUs > 0 && (o.Host.PSI.CPUSome >= 80 || o.Host.PSI.CPUSome == 0 && o.Host.LoadAverage1 >= 10*float64(o.Host.CPUs)) && len(blockedThreads(o)) == 0:
		f.Certainty = v1alpha1.Likely
		f.Summary = fmt.Sprintf("the node has far more runnable work than its %d CPUs, and the runtime's calls come late", o.Host.CPUs)
		f.ToConfirm = "who uses the CPU: `top` on the node; fewer pods, or CPU limits for the greedy ones, settle it"
		f.ManualAction = "which work has to go is for the owner of the node to say"
		ev = append(ev, facts.Seen(o, v1alpha1.SourceHost, fmt.Sprintf("load average %.1f on %d CPUs, CPU pressure %.0f%%", o.Host.LoadAverage1, o.Host.CPUs, o.Host.PSI.CPUSome)))
	default:
		return nil
	}
	if call != "" {
		ev = append(ev, facts.Seen(o, "runtime", fmt.Sprintf("CRI %s took %d ms", call, slow)))
	}
	f.Evidence = support(h, ev)
	return f
}

func milli(m int64) string { return fmt.Sprintf("%d.%03d", m/1000, m%1000) }

func slowest(o *v1alpha1.Observation) (ms int64, call string) {
	for name, v := range o.Runtime.CallMS {
		if v > ms || v == ms && name < call {
			ms, call = v, name
		}
	}
	return ms, call
}

func earlier(h v1alpha1.History) (v1alpha1.CPUUsage, bool) {
	for i := len(h) - 2; i >= 0; i-- {
		if p, ok := facts.MainProcess(&h[i], runtimeUnit); ok && h[i].Units[runtimeUnit].MainPID == h.Last().Units[runtimeUnit].MainPID && p.CPUQuota.QuotaMilli > 0 {
			// A quota's period is a second at most: that long ago, at least five have passed.
			if h.Last().At.Sub(h[i].At) >= 6*time.Second {
				return p.CPUQuota, true
			}
		}
	}
	return v1alpha1.CPUUsage{}, false
}

// liftQuota takes the limit away where it is set: the unit and its drop-ins, and the cgroup's own file, which is all that a limit
// set by hand changes.
func liftQuota(o *v1alpha1.Observation) []v1alpha1.Step {
	var steps []v1alpha1.Step
	u := o.Units[runtimeUnit]
	files := slices.Clone(u.DropIns)
	if u.Fragment != "" {
		files = append(files, u.Fragment)
	}
	if len(files) > 0 {
		steps = append(steps, facts.DropSetting(o.Node, "take the CPU limit out of the unit's files, so that it does not come back", `^[[:space:]]*CPUQuota(PeriodSec)?[[:space:]]*=`, files))
	}
	return append(steps, detectors.ShellStep(v1alpha1.Safe, o.Node, "lift the limit of the running cgroup (v1 and v2 name it differently)",
		`pid=$(systemctl show -p MainPID --value containerd)
cg=$(awk -F: '$2 ~ /(^|,)cpu(,|$)/{print $3}' "/proc/$pid/cgroup")
for d in /sys/fs/cgroup/cpu /sys/fs/cgroup/cpu,cpuacct; do f=$d$cg/cpu.cfs_quota_us; if [ -n "$cg" ] && [ "$cg" != / ] && [ -e "$f" ]; then echo -1 > "$f"; break; fi; done
cg=$(awk -F: '$1=="0"{print $3}' "/proc/$pid/cgroup")
f=/sys/fs/cgroup$cg/cpu.max; if [ -n "$cg" ] && [ "$cg" != / ] && [ -e "$f" ]; then echo max > "$f"; fi`))
}

// starting is how long a runtime's socket may be missing after its start: its unit is active when it says that it serves
// (Type=notify), and one look takes up to a second.
const starting = 3 * time.Second

// trying is how far back an end of the runtime may lie whose next try is under way: systemd waits a second (RestartSec).
const trying = 15 * time.Second

// unserved: the runtime's process runs, and its socket is gone or has become another's: whoever was connected before does not
// notice, and nobody else gets in, a kubelet that starts least of all.
func unserved(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	u := o.Units[runtimeUnit]
	why, unread := o.Unreadable(v1alpha1.SourceStatus)
	if !unread || u.ActiveState != "active" || o.At.Sub(u.ActiveSince) < starting || !facts.OwnSocket(o) ||
		!strings.Contains(why, "dial unix") || !facts.Has(why, words.NoSuchFileOrDirectory, words.ConnectionRefused) {
		return nil
	}
	return &v1alpha1.Finding{
		Cause: "runtime-hung", Certainty: v1alpha1.Certain,
		Summary: "containerd runs, and nobody can connect to it: its socket is gone",
		Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceStatus, why),
			facts.Seen(o, v1alpha1.SourceUnits, fmt.Sprintf("containerd: %s/%s since %s", u.ActiveState, u.SubState, u.ActiveSince.UTC().Format(time.RFC3339)))},
		Remedy: facts.Place(o).NewRemedy("serve-again", append([]v1alpha1.Step{
			facts.RestartRuntime(o, "a new runtime process makes its socket again"),
		}, ready(o)...)...),
	}
}

// silent: the runtime's process is there, not blocked and not throttled, and yet answers nothing: it is deadlocked, most likely.
func silent(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	u, ok := o.Units[runtimeUnit]
	if !ok || u.ActiveState != "active" || len(blockedThreads(o)) > 0 {
		return nil
	}
	pleg, isPLEG := facts.PLEGUnhealthy(h)
	down, isDown := facts.RuntimeDown(h)
	quiet := facts.RuntimeSilent(o)
	before := len(h) >= 2 && facts.RuntimeSilent(&h[len(h)-2])
	var ev []v1alpha1.Evidence
	switch {
	case quiet && (before || isPLEG || isDown):
		why, _ := o.Unreadable(v1alpha1.SourceStatus)
		ev = append(ev, facts.Seen(o, v1alpha1.SourceStatus, why))
	case isPLEG && facts.RuntimeListsBlocked(o):
	case isPLEG && conditionSays(o):
	default:
		return nil
	}
	if isPLEG {
		ev = append(ev, pleg)
	}
	if isDown {
		ev = append(ev, down)
	}
	return &v1alpha1.Finding{
		Cause: "runtime-hung", Certainty: v1alpha1.Likely, Evidence: ev,
		Summary:   "containerd's process runs, but it does not answer the kubelet: it is deadlocked or waits for something outside",
		ToConfirm: "where its goroutines wait: `kill -USR1 $(systemctl show -p MainPID --value containerd)` writes them to its journal",
		Remedy: facts.Place(o).NewRemedy("restart-runtime", append([]v1alpha1.Step{
			facts.RestartRuntime(o, "a new runtime process"),
			detectors.Restart(o.Node, "kubelet.service", "the kubelet connects to the new runtime"),
		}, ready(o)...)...),
	}
}

// conditionSays: the Ready condition itself still names PLEG, so the kubelet has not had an answer since.
func conditionSays(o *v1alpha1.Observation) bool {
	c, ok := facts.NotReady(o)
	return ok && strings.Contains(c.Message, words.PLEGNotHealthy) && facts.APINow(o).Sub(c.LastHeartbeatTime.Time) < 30*time.Second
}
