// Package pleg tells why the kubelet cannot list the runtime's containers: the runtime does not run, its disk blocks it, or
// it gets no CPU.
//
// PLEG itself speaks three minutes late, so the state of the runtime decides, and PLEG's words only support it.
package pleg

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/facts"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/words"
)

func init() {
	detectors.Register(detectors.Detector{Failure: "pleg", Needs: []string{v1alpha1.SourceUnits, v1alpha1.SourceProcesses, v1alpha1.SourceStatus, v1alpha1.SourceFilesystems}, Judge: judge})
}

// judge looks for the nearest cause first: a blocked disk and a lack of CPU both look like a hung runtime from outside, and after a
// restart by hand like one that does not start.
func judge(h v1alpha1.History) []v1alpha1.Finding {
	return facts.First(h, halted, withoutCRI, ioStall, failing, overloaded, stopped, unserved, silent)
}

const (
	slowCall    = 2000 // ms; a healthy CRI call takes under 50
	starvedCall = 300  // ms; with one per cent of a core, calls between the slow ones take this long
	// emulatedCall is slowCall where QEMU emulates the processor: the slowest call of a look takes 0.6 s there, one in fifty 3 s, with
	// the CPUs under pressure all the time (recordings of the core scenarios).
	emulatedCall = 10_000
)

// runtime is the runtime as this look shows it.
type runtime struct {
	facts.RuntimeOf
	unit  v1alpha1.Unit
	there bool // its unit exists
}

func runtimeOf(o *v1alpha1.Observation) runtime {
	r := runtime{RuntimeOf: facts.Runtime(o)}
	r.unit, r.there = facts.RuntimeUnit(o)
	return r
}

// halted: the runtime's process, or one that its unit has forgotten after a stop by hand, is stopped or frozen. Its state is the proof,
// whatever it did to others yet. Such a process keeps what a new one needs: the database's lock and the socket.
func halted(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	r := runtimeOf(o)
	list := facts.HaltedRuntime(o)
	if len(list) == 0 && !r.unit.Frozen {
		return nil
	}
	how, evidence := "is frozen by its cgroup", r.Unit+": systemd has frozen the unit"
	if len(list) > 0 {
		how = facts.HaltedHow(list[0])
		evidence = fmt.Sprintf("%s (pid %d) %s", list[0].Name, list[0].PID, how)
	}
	current := slices.ContainsFunc(list, func(p v1alpha1.Process) bool { return p.PID == r.unit.MainPID })
	left := r.there && r.unit.ActiveState != "active" && len(list) > 0 && !current
	if p, ok := facts.RuntimeProcess(o); ok && !facts.Halted(p) && !r.unit.Frozen && (!r.there || r.unit.ActiveState == "active") {
		return nil // a new one runs: what is left of the old one is in nobody's way
	}
	// One look may hit a process in the middle of being traced or frozen for a moment.
	if len(h) >= 2 && !left && !supported(h) && !haltedBefore(h) {
		return nil
	}
	f := &v1alpha1.Finding{
		Cause: "runtime-hung", Certainty: v1alpha1.Certain,
		Summary: r.Name + " " + how + ": it answers no call, so the kubelet can neither list nor change containers",
	}
	ev := []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceProcesses, evidence)}
	steps := facts.Wake(o, r.Unit, list...)
	if left {
		f.Summary += fmt.Sprintf("; its unit was stopped or restarted since and is %s: a new process cannot start beside the old one", r.unit.ActiveState)
		ev = append(ev, facts.Seen(o, v1alpha1.SourceUnits, fmt.Sprintf("%s: %s/%s, result %s, main process %d", r.Unit, r.unit.ActiveState, r.unit.SubState, r.unit.Result, r.unit.MainPID)))
		steps = append(append(steps, end(o.Node, list)...), start(o.Node, r, "start")...)
	} else if r.unit.ActiveState == "deactivating" {
		steps = append(steps, start(o.Node, r, "start")...)
	}
	f.Evidence = support(h, ev)
	f.Remedy = facts.Place(o).NewRemedy("wake-runtime", append(steps, ready(o)...)...)
	return f
}

// stopped: nobody starts the runtime's unit.
func (r runtime) stopped() bool {
	return r.there && (r.unit.ActiveState == "inactive" || r.unit.ActiveState == "failed" || r.unit.LoadState == "masked" && r.unit.ActiveState != "active")
}

// ofKubelet: the kubelet's own unit runs it, as k3s and RKE2 do.
func (r runtime) ofKubelet(o *v1alpha1.Observation) bool {
	return r.Unit != "" && r.Unit == facts.KubeletUnitName(o)
}

// noExec: systemd cannot execute the runtime's binary. While the next try is being prepared (start-pre) the unit has forgotten how the
// last one ended; its log has not.
func (r runtime) noExec(h v1alpha1.History) bool {
	_, said := facts.LastOf(h, facts.RuntimeLog, trying, "status=203/EXEC")
	return r.unit.ExecMainStatus == 203 || said && !r.stopped()
}

// looping: systemd starts it again and again, or will, for what it last said: a configuration of a later form stays one.
func (r runtime) looping(o *v1alpha1.Observation, noExec bool, said string) bool {
	again := r.unit.NRestarts > 1 || r.unit.SubState == "auto-restart" && newerConfig.MatchString(said)
	return r.unit.ActiveState == "activating" && (again || noExec || o.Runtime.ConfigFile.Error != "")
}

// stopped: the runtime's unit does not run, or starts again and again. One that the kubelet's program starts is not to be started.
func stopped(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	r := runtimeOf(o)
	u := r.unit
	noExec := r.noExec(h)
	last, ended := facts.LastOf(h, facts.RuntimeLog, 2*time.Minute, "level=fatal", "containerd: ", "panic:", "fatal error: ")
	looping := r.looping(o, noExec, last.Text)
	if r.ofKubelet(o) || !r.stopped() && !looping || r.stopped() && serves(o) {
		return nil
	}
	f := &v1alpha1.Finding{
		Cause: "runtime-hung", Certainty: v1alpha1.Certain,
		Summary:  r.Name + " does not run: its unit is " + u.ActiveState + " (" + u.SubState + ", result " + u.Result + ")",
		Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceUnits, fmt.Sprintf("%s: %s/%s, load %s, result %s, exit status %d, %d restarts", r.Unit, u.ActiveState, u.SubState, u.LoadState, u.Result, u.ExecMainStatus, u.NRestarts))},
	}
	if ended {
		f.Evidence = append(f.Evidence, facts.FromLine(last))
	}
	f.Evidence = support(h, f.Evidence)
	var steps []v1alpha1.Step
	verb := "start"
	if u.LoadState == "masked" {
		steps = append(steps, facts.Unmask(o.Node, r.Unit+".service"))
	}
	switch file := o.Runtime.ConfigFile; {
	case noExec && !o.Host.InContainer:
		f.ManualAction = "systemd cannot execute " + binary(r) + " (status 203): install the runtime's package again"
		return f
	case noExec:
		steps = append(steps, detectors.RestoreStep(o.Node, binary(r), "systemd cannot execute the runtime's binary (status 203)"))
	case file.Error != "":
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRuntimeFile, file.Path+": "+file.Error))
		f.ManualAction = r.Name + " exits at start for its configuration: " + file.Error
		if !o.Host.InContainer {
			return f
		}
		verb = "restart" // systemd may have started it meanwhile, with no configuration at all
		steps = append(steps, detectors.MoveAside(o.Node, file.Path, "the configuration cannot be read: put it aside"))
		if path.Base(path.Dir(file.Path)) != "crio.conf.d" { // a drop-in is somebody's, and goes without a successor
			steps = append(steps, detectors.RestoreStep(o.Node, file.Path, "the node image's own comes back"))
		}
	case looping || u.Result == "exit-code" && ended && !facts.Has(last.Text, words.NoSpaceLeftOnDevice, words.ReadOnlyFileSystem):
		// systemd starts it again and again, or has given up, and it ends itself each time: one start more changes nothing.
		endsItself(h, r, f, last)
		return f
	}
	f.Remedy = facts.Place(o).NewRemedy("start-runtime", append(append(steps, start(o.Node, r, verb)...), ready(o)...)...)
	return f
}

// endsItself says why a runtime ends, each time that it is started, by its last words if it has any.
func endsItself(h v1alpha1.History, r runtime, f *v1alpha1.Finding, last v1alpha1.LogLine) {
	o := h.Last()
	if _, result := facts.Failures(h, facts.RuntimeLog); last.Text == "" && facts.Killed(result) {
		f.Summary = r.Name + " is killed, again and again: systemd says " + result
		f.ManualAction = facts.WhoKills(r.UnitName())
		return
	}
	if last.Text != "" {
		f.Summary += ": " + facts.Short(last.Text)
	}
	f.ManualAction = cmp.Or(torn(o, last.Text), refusal(r, cmp.Or(o.Runtime.ConfigFile.Path, "its configuration"), last.Text))
}

// newerConfig is what a containerd says of a configuration in the form of a later one: the form it knows, and the one it got. One
// before its version 2 tells the latter alone, and knows 2.
var newerConfig = regexp.MustCompile("(?:" + words.ConfigVersion + " `?(\\d+)`?, got|" + words.UnsupportedConfigVersion + ") `?(\\d+)")

// oldPluginName is what containerd 2 says of a plugin that a configuration of the first form disables or requires.
var oldPluginName = regexp.MustCompile(`invalid (?:disabled|required) plugin URI "([^"]+)"`)

// noRoom is a path that could not be written, on a filesystem that is full or read-only.
var noRoom = regexp.MustCompile(`(/[^\s:"\\]+)\\*"?: (?:` + words.NoSpaceLeftOnDevice + `|` + words.ReadOnlyFileSystem + `)`)

// refusal says who has to change what where a runtime ends itself at start.
func refusal(r runtime, file, said string) string {
	if m := newerConfig.FindStringSubmatch(said); m != nil {
		return fmt.Sprintf("%s is in the form of a later containerd (version %s, this one reads up to %s): whoever wrote it has to write it in that form (`containerd config default` shows it), or install the containerd that it is for", file, m[2], cmp.Or(m[1], "2"))
	}
	if strings.Contains(said, "inotify") && facts.Has(said, words.NoSpaceLeftOnDevice) || facts.Has(said, words.TooManyOpenFiles) {
		return fmt.Sprintf("%s gets no inotify instance, watch or file more, and no disk is full: `sysctl fs.inotify.max_user_instances fs.inotify.max_user_watches fs.file-max`; see who has them (`find /proc/*/fd -lname anon_inode:inotify`), raise what is used up, or LimitNOFILE of the unit", r.Name)
	}
	if strings.Contains(said, "newosproc") {
		return fmt.Sprintf("%s gets no threads more: `systemctl show -p TasksMax,TasksCurrent,DropInPaths -- %s`, kernel.pid_max, kernel.threads-max: raise what is used up", r.Name, detectors.Quote(r.Unit))
	}
	if m := noRoom.FindStringSubmatch(said); m != nil {
		return fmt.Sprintf("%s cannot write %[2]s: look at `df -h -- %[2]s`, `df -i -- %[2]s` and `findmnt -T %[2]s`, or at its nearest parent, and make room there", r.Name, m[1])
	}
	if m := oldPluginName.FindStringSubmatch(said); m != nil {
		return fmt.Sprintf("%s names the plugin %s as containerd did before its version 2: write it in full there (io.containerd.grpc.v1.cri for cri), with `version = 2` or 3 above, and start the unit again", file, m[1])
	}
	return fmt.Sprintf("%s exits at start by itself; what it says has to be changed by whoever runs it, most often in %s: `journalctl -u %s -n 20`", r.Name, file, detectors.Quote(r.Unit))
}

// serves tells that the runtime answers CRI now, whoever started it.
func serves(o *v1alpha1.Observation) bool {
	_, unread := o.Unreadable(v1alpha1.SourceStatus)
	return !unread && len(o.Runtime.Conditions) > 0
}

// start are the steps that start the runtime's unit.
func start(node string, r runtime, verb string) []v1alpha1.Step {
	var steps []v1alpha1.Step
	if r.unit.Result != "success" && r.unit.Result != "" {
		steps = append(steps, detectors.NodeStep(v1alpha1.Safe, node, "forget the failed starts", "systemctl", "reset-failed", r.Unit+".service"))
	}
	step := detectors.NodeStep(v1alpha1.Safe, node, "running containers belong to their shims and go on", "systemctl", verb, r.Unit+".service")
	if facts.StoppedByHand(r.unit) {
		step = facts.AgainstAStop(step, "the kubelet ends pods that were deleted while it was stopped", r.Unit+".service")
	}
	return append(steps, step)
}

// end are the steps that end processes which their unit has given up. One that was told to end while it was frozen is gone by then.
func end(node string, list []v1alpha1.Process) []v1alpha1.Step {
	var steps []v1alpha1.Step
	for _, p := range list {
		steps = append(steps, detectors.ShellStep(v1alpha1.Safe, node, fmt.Sprintf("process %d was given up by its unit: end it, so that the new one gets its lock and socket; containers belong to their shims and go on", p.PID),
			`same() { [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$name" ]; }
for _ in 1 2 3; do same || exit 0; sleep 1; done
kill -TERM "$pid"
for _ in 1 2 3 4 5; do same || exit 0; sleep 1; done
kill -KILL "$pid"`, detectors.V("pid", strconv.Itoa(p.PID)), detectors.V("name", p.Name)))
	}
	return steps
}

// binaries are where the runtimes' packages put them, by the name of the runtime.
var binaries = map[string]string{facts.Containerd: "/usr/local/bin/containerd", facts.CRIO: "/usr/bin/crio", facts.Docker: "/usr/bin/cri-dockerd"}

func binary(r runtime) string {
	for _, w := range strings.Fields(r.unit.ExecStart) {
		if strings.HasPrefix(w, "/") && path.Base(w) == path.Base(binaries[r.Name]) {
			return w
		}
	}
	return binaries[r.Name]
}

func haltedBefore(h v1alpha1.History) bool {
	before := &h[len(h)-2]
	return runtimeOf(before).unit.Frozen || len(facts.HaltedRuntime(before)) > 0
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

// diskWaits are kernel functions in which a thread waits for a slow or dead device.
var diskWaits = []string{"io_schedule", "jbd2_log_wait_commit", "wait_on_page", "folio_wait", "blkdev_issue_flush", "submit_bio_wait", "rq_qos_wait", "do_get_write_access", "wait_transaction_locked", "nfs_", "rpc_wait", "xlog_", "btrfs_"}

// ioStall: the runtime's filesystem takes no writes: it is frozen, or its device does not answer.
func ioStall(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	fs, ok := runtimeFilesystem(o)
	blocked := blockedThreads(o)
	var ev []v1alpha1.Evidence
	certainty, how := v1alpha1.Certain, ""
	switch {
	case ok && fs.Frozen:
		how = "is frozen"
		ev = append(ev, facts.Seen(o, v1alpha1.SourceFilesystems, fmt.Sprintf("%s (%s on %s) is frozen: writes wait in the kernel's freeze gate", fs.Path, fs.Type, fs.Mount)))
	case waitingIn(blocked, diskWaits) != "" && persists(h) && (facts.RuntimeListsBlocked(o) || supported(h)):
		how, certainty = "does not complete its writes", v1alpha1.Likely
	default:
		return nil
	}
	if len(blocked) > 0 {
		ev = append(ev, facts.Seen(o, v1alpha1.SourceProcesses, fmt.Sprintf("%s of the runtime in uninterruptible sleep (D): %s", text.Plural(len(blocked), "thread"), describe(blocked))))
	}
	f := &v1alpha1.Finding{
		Cause: "runtime-io-stall", Certainty: certainty, Evidence: support(h, ev),
	}
	name := fs.Path
	if !ok {
		name = facts.RuntimeRoot(o)
	}
	f.Summary = fmt.Sprintf("the runtime's filesystem %s %s, so %s hangs as soon as it writes", name, how, facts.Runtime(o).Name)
	if ok && nearlyFull(o, fs) {
		f.Summary += "; the same filesystem is also full"
	}
	if certainty == v1alpha1.Likely {
		f.ToConfirm = "whether the device answers: `dmesg | tail`, `cat /sys/block/*/stat`, and `cat /proc/" + fmt.Sprint(runtimePID(o)) + "/task/*/stack` on the node"
		f.ManualAction = "the device under " + name + " is slow or dead: nothing on the node repairs it"
		return f
	}
	mount := fs.Mount
	if mount == "" {
		mount = name
	}
	steps := []v1alpha1.Step{detectors.Destructive(detectors.NodeStep(v1alpha1.Destructive, o.Node, "the filesystem takes writes again and the waiting threads go on; nothing is restarted", "fsfreeze", "--unfreeze", mount),
		"whoever froze it may be taking a snapshot, which is torn then")}
	if r := runtimeOf(o); r.there && r.unit.ActiveState != "active" { // somebody restarted it meanwhile: it could neither end nor start
		steps = append(steps, start(o.Node, r, "start")...)
	}
	f.Remedy = facts.Place(o).NewRemedy("thaw-filesystem", append(steps, ready(o)...)...)
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
	r := facts.Runtime(o)
	var out []v1alpha1.Thread
	for _, p := range o.Processes {
		if p.PID == o.Runtime.PID || p.Unit != "" && p.Unit == r.Unit || p.Unit == "" && p.Name == "containerd" {
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
	p, ok := facts.RuntimeProcess(o)
	if !ok {
		return nil
	}
	t := throttled(h, p)
	slow, call := slowest(o)
	late := isLate(o, slow)
	u, _ := facts.RuntimeUnit(o)
	starved := t.quota > 0 && t.periods >= 20 && t.throttled*5 >= t.periods*4 && (slow >= starvedCall || u.ActiveState == "activating")
	if _, pleg := facts.PLEGUnhealthy(h); !late && !starved && !pleg {
		return nil
	}
	var ev []v1alpha1.Evidence
	f := &v1alpha1.Finding{Cause: "runtime-overloaded", Certainty: v1alpha1.Certain}
	switch {
	case t.quota > 0 && t.periods >= 5 && t.throttled*2 >= t.periods:
		ev = append(ev, overQuota(o, p, t, f))
	case late && busy(o.Host) && len(blockedThreads(o)) == 0:
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

// throttling is how a CPU limit held the runtime back: since an earlier look where there is one.
type throttling struct{ quota, periods, throttled int64 }

func throttled(h v1alpha1.History, p v1alpha1.Process) throttling {
	q := p.CPUQuota
	t := throttling{q.QuotaMilli, q.NrPeriods, q.NrThrottled}
	if before, ok := earlier(h); ok && q.NrPeriods > before.NrPeriods {
		t.periods, t.throttled = q.NrPeriods-before.NrPeriods, q.NrThrottled-before.NrThrottled
	}
	return t
}

// isLate: the runtime's calls take too long, or do not come back.
func isLate(o *v1alpha1.Observation, slow int64) bool {
	most := int64(slowCall)
	if o.Host.Emulated() {
		most = emulatedCall
	}
	return slow >= most || facts.TimedOut(o, v1alpha1.SourceStatus) || facts.RuntimeListsBlocked(o)
}

// busy: there is far more runnable work than CPUs, by the pressure, or by the load where there is none.
func busy(host v1alpha1.Host) bool {
	return host.CPUs > 0 && (host.PSI.CPUSome >= 80 || host.PSI.CPUSome == 0 && host.LoadAverage1 >= 10*float64(host.CPUs))
}

// overQuota says which CPU limit throttles the runtime, and lifts it where it is the node's own.
func overQuota(o *v1alpha1.Observation, p v1alpha1.Process, t throttling, f *v1alpha1.Finding) v1alpha1.Evidence {
	r := facts.Runtime(o)
	f.Summary = fmt.Sprintf("%s may use %s of a core and is throttled in %d%% of its periods: its calls come too late for the kubelet", r.Name, milli(t.quota), t.throttled*100/t.periods)
	limited := r.Unit + ".service"
	if p.QuotaCgroup != "" {
		limited = p.QuotaCgroup
		f.Summary += "; the limit is that of " + p.QuotaCgroup
	}
	if p.QuotaCgroup != "" && !strings.HasSuffix(p.QuotaCgroup, ".slice") {
		f.ManualAction = "the limit of " + p.QuotaCgroup + " is that of whatever runs this node: it is changed there"
	} else {
		f.Remedy = facts.Place(o).NewRemedy("lift-cpu-quota", append(liftQuota(o, p), ready(o)...)...)
	}
	return facts.Seen(o, v1alpha1.SourceCgroups, fmt.Sprintf("%s: quota %dm, throttled in %d of %d periods, %d ms throttled in total", limited, t.quota, t.throttled, t.periods, p.CPUQuota.ThrottledUsec/1000))
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
	now, _ := facts.RuntimeProcess(h.Last())
	for i := len(h) - 2; i >= 0; i-- {
		// A quota's period is a second at most: six seconds ago, at least five have passed.
		if p, ok := facts.RuntimeProcess(&h[i]); ok && p.PID == now.PID && p.QuotaCgroup == now.QuotaCgroup && p.CPUQuota.QuotaMilli > 0 && h.Last().At.Sub(h[i].At) >= 6*time.Second {
			return p.CPUQuota, true
		}
	}
	return v1alpha1.CPUUsage{}, false
}

// liftQuota takes the limit away where it is set: the files of the unit, or the slice above it that has the limit, and the cgroup's
// own file, which is all that a limit set by hand changes.
func liftQuota(o *v1alpha1.Observation, p v1alpha1.Process) []v1alpha1.Step {
	var steps []v1alpha1.Step
	u, _ := facts.RuntimeUnit(o)
	files := slices.Clone(u.DropIns)
	if u.Fragment != "" {
		files = append(files, u.Fragment)
	}
	switch slice := path.Base(p.QuotaCgroup); {
	case p.QuotaCgroup != "":
		step := detectors.NodeStep(v1alpha1.Destructive, o.Node, "take the CPU limit from the slice that the runtime's unit is in", "systemctl", "set-property", slice, "CPUQuota=")
		step.Undo = fmt.Sprintf("systemctl set-property %s CPUQuota=%s%%", detectors.Quote(slice), percent(p.CPUQuota.QuotaMilli))
		steps = append(steps, step)
	case len(files) > 0:
		steps = append(steps, facts.DropSetting(o.Node, "take the CPU limit out of the unit's files, so that it does not come back", `^[[:space:]]*CPUQuota(PeriodSec)?[[:space:]]*=`, files))
	}
	steps = append(steps, detectors.ShellStep(v1alpha1.Destructive, o.Node, "lift the limit of the running cgroup (v1 and v2 name it differently)",
		`[ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$name" ] || exit 0 # it was restarted meanwhile
cg=${above:-$(awk -F: '$2 ~ /(^|,)cpu(,|$)/{print $3}' "/proc/$pid/cgroup")}
for d in /sys/fs/cgroup/cpu /sys/fs/cgroup/cpu,cpuacct; do f=$d$cg/cpu.cfs_quota_us; if [ -n "$cg" ] && [ "$cg" != / ] && [ -e "$f" ]; then echo -1 > "$f"; break; fi; done
cg=${above:-$(awk -F: '$1=="0"{print $3}' "/proc/$pid/cgroup")}
f=/sys/fs/cgroup$cg/cpu.max; if [ -n "$cg" ] && [ "$cg" != / ] && [ -e "$f" ]; then echo max > "$f"; fi`, detectors.V("pid", strconv.Itoa(p.PID)), detectors.V("above", p.QuotaCgroup), detectors.V("name", p.Name)))
	for i := range steps {
		steps[i] = detectors.Destructive(steps[i], facts.LimitOfSomebody)
	}
	return steps
}

func percent(milli int64) string { return fmt.Sprintf("%d.%d", milli/10, milli%10) }

func runtimePID(o *v1alpha1.Observation) int {
	p, _ := facts.RuntimeProcess(o)
	return p.PID
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
	r := runtimeOf(o)
	why, unread := o.Unreadable(v1alpha1.SourceStatus)
	// Where it serves is only sure by its process, or where it serves unless told otherwise.
	sure := r.Name == facts.Containerd && facts.OwnSocket(o) || r.Name == facts.CRIO && strings.HasSuffix(r.Socket, "/run/crio/crio.sock")
	if !unread || r.unit.ActiveState != "active" || o.At.Sub(r.unit.ActiveSince) < starting || !sure ||
		// A look that does not know the kubelet's configuration yet asks where containerd usually serves.
		!facts.Has(why, "dial unix "+r.Socket, "dial unix "+strings.TrimPrefix(r.Socket, "/var")) || !facts.Has(why, words.NoSuchFileOrDirectory, words.ConnectionRefused) {
		return nil
	}
	return &v1alpha1.Finding{
		Cause: "runtime-hung", Certainty: v1alpha1.Certain,
		Summary: r.Name + " runs, and nobody can connect to it: its socket is gone",
		Evidence: []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceStatus, why),
			facts.Seen(o, v1alpha1.SourceUnits, fmt.Sprintf("%s: %s/%s since %s", r.Unit, r.unit.ActiveState, r.unit.SubState, r.unit.ActiveSince.UTC().Format(time.RFC3339)))},
		Remedy: facts.Place(o).NewRemedy("serve-again", append([]v1alpha1.Step{
			facts.RestartRuntime(o, "a new runtime process makes its socket again"),
		}, ready(o)...)...),
	}
}

// criPlugins are containerd's parts without which it serves no CRI, in the order in which they need each other, and their old name. The
// last before those tells for want of which of the others it did not load.
var criPlugins = []string{"io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.podsandbox.controller.v1.podsandbox", "io.containerd.grpc.v1.cri", "cri"}

// withoutCRI: the runtime answers, and has no CRI service. What kept it from loading stands in its configuration or in its log.
func withoutCRI(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	r := runtimeOf(o)
	why, unread := o.Unreadable(v1alpha1.SourceStatus)
	if !unread || !strings.Contains(why, words.UnknownRuntimeService) {
		return nil
	}
	f := &v1alpha1.Finding{Cause: "runtime-hung", Certainty: v1alpha1.Certain,
		Evidence: support(h, []v1alpha1.Evidence{facts.Seen(o, v1alpha1.SourceStatus, why)})}
	f.Summary = cmp.Or(r.Name, "the runtime") + " runs and serves no CRI: "
	show := "`journalctl -u " + detectors.Quote(r.UnitName()) + " | grep -e 'load.* plugin' -e level=fatal`"
	disabled := keep(o.Runtime.ConfigFile.DisabledPlugins, criPlugins)
	line, plugin, failed := pluginError(h)
	switch {
	case len(disabled) > 0:
		files := o.Runtime.ConfigFile.DisabledBy
		says := fmt.Sprintf("%s has it in disabled_plugins (%s)", strings.Join(files, ", "), strings.Join(disabled, ", "))
		f.Summary += says
		f.Evidence = append(f.Evidence, facts.Seen(o, v1alpha1.SourceRuntimeFile, says))
		step := enable(o.Node, files)
		f.Remedy = facts.Place(o).NewRemedy("enable-cri", append([]v1alpha1.Step{step, facts.RestartRuntime(o, "a new process loads the CRI service")}, ready(o)...)...)
	case failed:
		f.Summary += plugin + " could not be loaded: " + pluginReason(line.Text)
		f.Evidence = append(f.Evidence, facts.FromLine(line))
		f.ManualAction = torn(o, line.Text)
		if f.ManualAction != "" {
			return f
		}
		f.ManualAction = "what the runtime says has to be changed in its configuration (" + strings.Join(o.Runtime.ConfigFiles, ", ") + "), then it has to be restarted; its own words: " + show
	default:
		f.Summary += "its CRI service is disabled, could not be loaded, or is of a version that this kubelet does not speak"
		f.ManualAction = "what keeps it from loading was not seen; the runtime says it when it starts: " + show
	}
	return f
}

// torn says what is to be done where the runtime's own database cannot be read (bbolt errors/errors.go), "" where that is not why.
func torn(o *v1alpha1.Observation, said string) string {
	if !facts.Has(said, "invalid database", "checksum error", "invalid freelist page", "page already freed") {
		return ""
	}
	root := facts.RuntimeRoot(o)
	return "the runtime's database under " + root + " is damaged, as after a power cut or a full disk: it lists all images and containers, and nothing mends it; drain the node, stop kubelet and runtime, move " + root + " aside and start them: images are pulled and containers made again"
}

func keep(list, of []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return !slices.Contains(of, s) })
}

// pluginError is the runtime's line about the first part that could not be loaded: the others fail for want of it.
func pluginError(h v1alpha1.History) (v1alpha1.LogLine, string, bool) {
	for _, plugin := range criPlugins[:4] {
		for _, said := range [][]string{{words.FailedToLoadPlugin, "id=" + plugin}, {words.FailedToLoadPlugin + " " + plugin}, {words.FailedToLoadPlugin, `"id":"` + plugin + `"`}} {
			if l, ok := facts.LastLine(h, facts.RuntimeLog, always, said...); ok {
				return l, plugin, true
			}
		}
	}
	return v1alpha1.LogLine{}, "", false
}

// always is longer than any log that is read.
const always = 365 * 24 * time.Hour

var errorField = regexp.MustCompile(`error"?[=:]"((?:[^"\\]|\\.)*)"`)

func pluginReason(line string) string {
	if m := errorField.FindStringSubmatch(line); m != nil {
		return facts.Short(strings.ReplaceAll(m[1], `\"`, `"`))
	}
	return facts.Short(line)
}

// enable takes the CRI service out of disabled_plugins, on one line or on several.
func enable(node string, files []string) v1alpha1.Step {
	return detectors.EditFile(v1alpha1.Safe, node, "take CRI out of disabled_plugins; nothing else of the file changes", files, `for f; do
new=$(awk -v q="['\"]" '
/^[[:space:]]*disabled_plugins[[:space:]]*=/ { inside = 1 }
inside { gsub(q "(io\\.containerd\\.grpc\\.v1\\.cri|io\\.containerd\\.cri\\.v1\\.(runtime|images)|cri)" q "[[:space:]]*,?", "") }
{ print }
inside && /\]/ { inside = 0 }' "$f")
printf '%s\n' "$new" > "$f"
done`)
}

// lacks are what the kernel answers a process that has used up what it may have, and what a person does.
var lacks = []struct{ says, todo string }{
	{words.TooManyOpenFiles, "raise LimitNOFILE of its unit, or fs.file-max where the whole node has none left, and restart it (`systemctl show -p LimitNOFILE,DropInPaths -- UNIT; sysctl fs.file-nr`); containers belong to their shims and go on"},
	{words.CannotAllocateMemory, "see who has the memory: `ps -eo rss,pid,cmd --sort=-rss | head`, and MemoryMax of its unit (`systemctl show -p MemoryMax,MemoryCurrent -- UNIT`)"},
	{words.TemporarilyUnavailable, "it gets no more threads: `systemctl show -p TasksMax,TasksCurrent -- UNIT`, kernel.pid_max and kernel.threads-max"},
}

// failing: what the runtime answers even the simplest question with, or what it says while it answers nothing, is that the kernel gives it
// nothing more.
func failing(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	r := runtimeOf(o)
	why, unread := o.Unreadable(v1alpha1.SourceStatus)
	if !unread || facts.Has(why, "dial ", "socket: ") || r.there && r.unit.ActiveState != "active" {
		return nil
	}
	for _, l := range lacks {
		said, times := facts.Said(h, facts.RuntimeLog, 30*time.Second, l.says)
		if !strings.Contains(why, l.says) && (times < 2 || !facts.TimedOut(o, v1alpha1.SourceStatus)) {
			continue
		}
		f := &v1alpha1.Finding{Cause: "runtime-hung", Certainty: v1alpha1.Certain,
			Summary:      r.Name + " runs and can do nothing for the kubelet: " + l.says,
			Evidence:     support(h, nil),
			ManualAction: strings.ReplaceAll(l.todo, "UNIT", detectors.Quote(r.UnitName()))}
		if times > 0 {
			f.Evidence = append(f.Evidence, facts.FromLine(said))
		}
		for _, limit := range o.Limits {
			if who, _, _ := strings.Cut(limit.Of, " "); limit.Name == "open-files" && l.says == words.TooManyOpenFiles && (who == r.Name || who == path.Base(o.Runtime.Exe)) {
				f.Evidence = append(f.Evidence, facts.FromLimit(o, limit))
			}
		}
		return f
	}
	if _, down := facts.RuntimeDown(h); !down || facts.TimedOut(o, v1alpha1.SourceStatus) || facts.Has(why, "connection error", "EOF", words.ConnectionRefused) {
		return nil
	}
	return &v1alpha1.Finding{Cause: "runtime-hung", Certainty: v1alpha1.Likely,
		Summary:      r.Name + " runs and answers the kubelet with an error: " + facts.Short(why),
		Evidence:     support(h, nil),
		ToConfirm:    "whether it still does: `" + facts.Here(o, "crictl info") + "`",
		ManualAction: "what it says has to be mended; its own words: `journalctl -n 50 -u " + detectors.Quote(r.UnitName()) + "`"}
}

// silent: the runtime's process is there, not blocked and not throttled, and yet answers nothing: it is deadlocked, most likely.
func silent(h v1alpha1.History) *v1alpha1.Finding {
	o := h.Last()
	r := runtimeOf(o)
	if !r.there || r.unit.ActiveState != "active" || len(blockedThreads(o)) > 0 {
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
	why := "it is deadlocked or waits for something outside"
	if l, ok := facts.UsedUp(o, "open-files", r.Name, path.Base(o.Runtime.Exe)); ok {
		why = "there are no open files left for it (LimitNOFILE of its unit, fs.file-max)"
		ev = append(ev, facts.FromLimit(o, l))
	}
	return &v1alpha1.Finding{
		Cause: "runtime-hung", Certainty: v1alpha1.Likely, Evidence: ev,
		Summary:   r.Name + "'s process runs, but it does not answer the kubelet: " + why,
		ToConfirm: fmt.Sprintf("where its goroutines wait: `kill -USR1 %d` has it write them to its log or to a file that it names", runtimePID(o)),
		Remedy: facts.Place(o).NewRemedy("restart-runtime", append([]v1alpha1.Step{
			facts.RestartRuntime(o, "a new runtime process"),
			facts.RestartKubelet(o, "the kubelet connects to the new runtime"),
		}, ready(o)...)...),
	}
}

// conditionSays: the Ready condition itself still names PLEG, so the kubelet has not had an answer since.
func conditionSays(o *v1alpha1.Observation) bool {
	c, ok := facts.NotReady(o)
	return ok && strings.Contains(c.Message, words.PLEGNotHealthy) && facts.APINow(o).Sub(c.LastHeartbeatTime.Time) < 30*time.Second
}
