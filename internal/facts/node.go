package facts

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/words"
)

// Place is where the remedy for this node goes.
func Place(o *v1alpha1.Observation) detectors.Place {
	p := detectors.Place{Node: o.Node, API: o.API != nil}
	if p.API && o.API.Node != nil {
		p.Cordoned = o.API.Node.Spec.Unschedulable
	}
	return p
}

// Condition is a condition of the Node object.
func Condition(o *v1alpha1.Observation, kind corev1.NodeConditionType) (corev1.NodeCondition, bool) {
	if o.API == nil || o.API.Node == nil {
		return corev1.NodeCondition{}, false
	}
	for _, c := range o.API.Node.Status.Conditions {
		if c.Type == kind {
			return c, true
		}
	}
	return corev1.NodeCondition{}, false
}

// NotReady is the Ready condition where it is not True.
func NotReady(o *v1alpha1.Observation) (corev1.NodeCondition, bool) {
	c, ok := Condition(o, corev1.NodeReady)
	return c, ok && c.Status != corev1.ConditionTrue
}

// Unwell says that a condition tells of trouble, by the kubelet's own types. Those of other agents mean health by True or by False, as each
// likes, and some keep a verdict for long after: they are evidence at most.
func Unwell(c corev1.NodeCondition) bool {
	switch c.Type {
	case corev1.NodeReady:
		return c.Status != corev1.ConditionTrue
	case corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure, corev1.NodeNetworkUnavailable:
		return c.Status == corev1.ConditionTrue
	}
	return false
}

// FromCondition is a node condition as evidence.
func FromCondition(c corev1.NodeCondition) v1alpha1.Evidence {
	return v1alpha1.Evidence{Source: "api.node", At: c.LastTransitionTime.Time, Text: Short(fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))}
}

// Consequences says in words what else is wrong with a node of which a cause is known: NotReady and the pods that wait.
func Consequences(o *v1alpha1.Observation) []string {
	var out []string
	if c, ok := NotReady(o); ok {
		out = append(out, Short(fmt.Sprintf("node Ready=%s (%s: %s)", c.Status, c.Reason, c.Message)))
	}
	if n := len(Waiting(o, "ContainerCreating", "PodInitializing")); n > 0 {
		out = append(out, fmt.Sprintf("%s in ContainerCreating", text.Plural(n, "pod")))
	}
	if n := evicted(o); n > 0 {
		out = append(out, fmt.Sprintf("%s evicted", text.Plural(n, "pod")))
	}
	return out
}

func evicted(o *v1alpha1.Observation) (n int) {
	if o.API == nil {
		return 0
	}
	for i := range o.API.Pods {
		if o.API.Pods[i].Status.Reason == "Evicted" {
			n++
		}
	}
	return n
}

// LeaseAge is how long ago the kubelet renewed its lease, by the API server's clock.
func LeaseAge(o *v1alpha1.Observation) (time.Duration, bool) {
	if o.API == nil || o.API.Lease == nil || o.API.Lease.Spec.RenewTime == nil || o.API.ServerDate.IsZero() {
		return 0, false
	}
	return o.API.ServerDate.Sub(o.API.Lease.Spec.RenewTime.Time), true
}

// leaseLate is two renewals that failed and some of the Date header's coarseness: the kubelet renews a lease after a quarter of it, the usual
// one every 10s. Shorter ones may be as late as that.
func leaseLate(o *v1alpha1.Observation) time.Duration {
	lease := 40 * time.Second
	if d := o.API.Lease.Spec.LeaseDurationSeconds; d != nil {
		lease = max(lease, time.Duration(*d)*time.Second)
	}
	return lease/2 + 5*time.Second
}

// Silent tells that the kubelet does not report to the API server now: its lease runs out or the node is Unknown.
func Silent(o *v1alpha1.Observation) bool {
	if age, ok := LeaseAge(o); ok {
		return age > leaseLate(o)
	}
	c, ok := NotReady(o)
	return ok && c.Status == corev1.ConditionUnknown
}

// Kubelet is what the kubelet's process does.
type Kubelet struct {
	Known bool // the unit could be read
	// Running: the process is there and not about to exit again.
	Running bool
	// Looping: it exits with an error and is started again, over and over.
	Looping bool
	// Stopped: nobody starts it: inactive, failed, masked.
	Stopped bool
	// Halted: its process is there but does not run: SIGSTOP or a frozen cgroup.
	Halted bool
	Unit   v1alpha1.Unit
	// Exit is the line in which it said why it exited last, when Said.
	Exit v1alpha1.LogLine
	Said bool
}

// ends are the words with which a kubelet that is up already ends itself (pkg/kubelet/kubelet.go, pkg/kubelet/server/server.go):
// its healthz may have said ok a moment before.
var ends = []string{words.FailedToStartContainerManager, words.FailedToListenAndServe, words.FailedToStartCAdvisor, words.InternalModules}

// Down tells that there is no working kubelet.
func (k Kubelet) Down() bool { return k.Looping || k.Stopped || k.Halted }

const (
	// settled: a kubelet that runs this long has passed everything that makes it exit at start.
	settled = 20 * time.Second
	// ending: a kubelet that ends itself does so within this time: 2 s after its start, more on a busy machine.
	ending = 8 * time.Second
	// ExitFresh is how old a last word may be: a crash loop with RestartSec 1s to 10s speaks at least this often.
	ExitFresh = 45 * time.Second
)

// KubeletState reads the kubelet's state of the last look, helped by earlier ones.
func KubeletState(h v1alpha1.History) Kubelet {
	o := h.Last()
	u, known := knownUnit(o)
	k := Kubelet{Unit: u, Known: known}
	if !known {
		return k
	}
	up := o.At.Sub(u.ActiveSince)
	k.Exit, k.Said = LastOf(h, "kubelet", ExitFresh, append([]string{`"command failed"`, words.FailedToRunKubelet, words.FailedToLoadKubeletConfig, "unknown flag", "panic:", "level=fatal msg="}, ends...)...)
	k.Said = k.Said && !k.worked(up)
	child, ended := childEnded(h)
	switch {
	case ended:
		k.Looping = true
		if !k.Said || !strings.Contains(k.Exit.Text, ofK0sKubelet) {
			k.Exit, k.Said = child, true
		}
	case u.LoadState == "not-found" && o.Kubelet.Healthz == "ok":
		k.Running = true // it runs without a unit, or in one that is not known
	case nobodyStarts(u):
		k.Stopped = true
	case k.endsItself(up):
		k.Looping = true
	case o.Kubelet.Healthz == "ok":
		k.Running = true
	case starting(u):
		k.Looping = u.NRestarts > 0 || u.ExecMainStatus != 0 || k.Said
		k.Running = !k.Looping
	case up < settled && k.startsAgain(h):
		k.Looping = true
	default:
		k.Running = u.ActiveState == "active"
	}
	if p, ok := MainProcess(o, KubeletUnitName(o)); ok && Halted(p) || u.Frozen {
		k.Halted, k.Running = true, false
	}
	return k
}

// ofK0sKubelet is in what k0s writes of its kubelet, and in the kubelet's own words in k0s' log.
const ofK0sKubelet = " component=kubelet"

// childEnded: K3s, RKE2 and k0s start the kubelet themselves, and go on without it, or wait before they do.
func childEnded(h v1alpha1.History) (v1alpha1.LogLine, bool) {
	l, ended := newest(h, "kubelet", ExitFresh, func(text string) bool {
		return Has(text, words.ChildKubeletExited, words.K0sChildExited, words.AgentWaits) || containsAll(text, []string{words.K0sChildTerminated, ofK0sKubelet})
	})
	k := h.Last().Kubelet
	return l, ended && k.Healthz != "ok" && strings.Contains(k.HealthzError, words.ConnectionRefused)
}

// knownUnit is the kubelet's unit, one that is not there where the node has no kubelet any more, and whether that tells anything.
func knownUnit(o *v1alpha1.Observation) (v1alpha1.Unit, bool) {
	u, ok := KubeletUnit(o)
	if !ok && noKubelet(o) {
		u, ok = v1alpha1.Unit{Name: "kubelet.service", LoadState: "not-found", ActiveState: "inactive", SubState: "dead"}, true
	}
	// A unit that does not exist is not one that stopped: the kubelet may run in another, and only its own answer tells.
	_, unread := o.Unreadable(v1alpha1.SourceKubeletAPI)
	return u, ok && !(unread && u.LoadState == "not-found")
}

// worked: what it said was before the start that worked.
func (k Kubelet) worked(up time.Duration) bool {
	return !k.Unit.ActiveSince.IsZero() && k.Exit.At.Before(k.Unit.ActiveSince) && k.Unit.ActiveState == "active" && up > settled
}

// nobodyStarts tells a unit that systemd does not run and will not start by itself.
func nobodyStarts(u v1alpha1.Unit) bool {
	return u.LoadState == "masked" || u.LoadState == "not-found" || slices.Contains([]string{"inactive", "failed", "deactivating"}, u.ActiveState)
}

// starting tells a unit that systemd is about to start, or starts.
func starting(u v1alpha1.Unit) bool {
	return u.SubState == "auto-restart" || u.ActiveState == "activating"
}

// startsAgain: systemd has started it again, and it said why it exited, or that was seen to happen over and over.
func (k Kubelet) startsAgain(h v1alpha1.History) bool {
	times, _ := Failures(h, "kubelet")
	return restarted(h) || k.Unit.NRestarts >= 1 && (k.Said || times > 1)
}

// failedWithResult is what systemd says when a unit's process ended otherwise than well (systemd src/core/unit.c).
const failedWithResult = "Failed with result '"

// Failures are how often systemd says lately that a unit's process failed, and the result that it said last. A process that is killed says
// nothing itself.
func Failures(h v1alpha1.History, unit string) (times int, result string) {
	l, times := Said(h, unit, ExitFresh, failedWithResult)
	_, result, _ = strings.Cut(l.Text, failedWithResult)
	result, _, _ = strings.Cut(result, "'")
	return times, result
}

// Killed tells the results of a process that did not end itself.
func Killed(result string) bool {
	return slices.Contains([]string{"signal", "core-dump", "oom-kill", "watchdog"}, result)
}

// WhoKills is where to look for what kills a unit's process.
func WhoKills(unit string) string {
	return "who kills it has to be found: for want of memory `dmesg | grep -i oom`, and `systemctl show -p MemoryMax,DropInPaths -- " + detectors.Quote(unit) + "` with its slice's; a crash of its own leaves a dump (`coredumpctl list`)"
}

// endsItself: the kubelet is up for a moment, and said in it, or before a restart, that it ends.
func (k Kubelet) endsItself(up time.Duration) bool {
	return k.Said && Has(k.Exit.Text, ends...) && up < ending && (k.Unit.NRestarts > 0 || !k.Exit.At.Before(k.Unit.ActiveSince))
}

// noKubelet tells that a node which has joined a cluster has no kubelet any more: no unit of one, no process, and nobody answers for it.
func noKubelet(o *v1alpha1.Observation) bool {
	for _, source := range []string{v1alpha1.SourceUnits, v1alpha1.SourceProcesses} {
		if _, unread := o.Unreadable(source); unread {
			return false
		}
	}
	return o.Kubelet.Kubeconfig.Exists && strings.Contains(o.Kubelet.HealthzError, words.ConnectionRefused) &&
		!slices.ContainsFunc(o.Processes, func(p v1alpha1.Process) bool { return slices.Contains(kubelets, p.Name) })
}

// kubelets are the processes that are one.
var kubelets = []string{"kubelet", "kubelite", "k3s-server", "k3s-agent", "rke2", "k0s"}

// restarted: systemd started the kubelet again by itself twice between looks, or once between each of the last ones.
func restarted(h v1alpha1.History) bool {
	if len(h) < 2 {
		return false
	}
	unit := KubeletUnitName(h.Last())
	last, before := h.Last().Units[unit], h[len(h)-2].Units[unit]
	if len(h) >= 3 && before.NRestarts > h[len(h)-3].Units[unit].NRestarts && last.NRestarts > before.NRestarts {
		return true
	}
	return last.NRestarts >= before.NRestarts+2
}

// MainProcess is the main process of a unit.
func MainProcess(o *v1alpha1.Observation, unit string) (v1alpha1.Process, bool) {
	pid := o.Units[unit].MainPID
	for _, p := range o.Processes {
		if p.Unit == unit && (pid == 0 || p.PID == pid) {
			return p, true
		}
	}
	for _, p := range o.Processes {
		if pid != 0 && p.PID == pid {
			return p, true
		}
	}
	return v1alpha1.Process{}, false
}

// Halted tells that a process exists and does not run.
func Halted(p v1alpha1.Process) bool { return p.State == "T" || p.State == "t" || p.FrozenCgroup }

// HaltedHow says how, in words.
func HaltedHow(p v1alpha1.Process) string {
	switch {
	case p.State == "t":
		return "is held by a tracer (state t)"
	case p.State == "T":
		return "is stopped (state T)"
	default:
		return "is frozen by its cgroup"
	}
}

// Wake are the steps that make a unit's halted processes run again: its main process, and the others that are named. Those that were
// told to end while they were halted do so then.
func Wake(o *v1alpha1.Observation, unit string, halted ...v1alpha1.Process) []v1alpha1.Step {
	if p, ok := MainProcess(o, unit); len(halted) == 0 && ok && Halted(p) {
		halted = append(halted, p)
	}
	var steps []v1alpha1.Step
	if o.Units[unit].Frozen {
		steps = append(steps, detectors.NodeStep(v1alpha1.Safe, o.Node, "systemd froze the unit: thaw it", "systemctl", "thaw", unit+".service"))
	}
	for _, p := range halted {
		if p.FrozenCgroup {
			steps = append(steps, detectors.ShellStep(v1alpha1.Safe, o.Node, fmt.Sprintf("the cgroup of process %d (%s) is frozen: thaw it, in the files of both cgroup versions", p.PID, p.Name),
				`[ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$name" ] || exit 0 # it ended meanwhile
thaw() { d=$1$2; while [ "$d" != "$1" ] && [ "$d" != "$1/" ]; do [ ! -e "$d/$3" ] || echo "$4" > "$d/$3"; d=${d%/*}; done; }
thaw /sys/fs/cgroup/freezer "$(awk -F: '$2=="freezer"{print $3}' "/proc/$pid/cgroup")" freezer.state THAWED
thaw /sys/fs/cgroup "$(awk -F: '$1=="0"{print $3}' "/proc/$pid/cgroup")" cgroup.freeze 0`, detectors.V("pid", strconv.Itoa(p.PID)), detectors.V("name", p.Name)))
		}
		if p.State == "T" || p.State == "t" {
			steps = append(steps, detectors.ShellStep(v1alpha1.Safe, o.Node, fmt.Sprintf("process %d (%s) is stopped: continue it, nothing is lost", p.PID, p.Name),
				`[ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$name" ] || kill -CONT "$pid"`, detectors.V("pid", strconv.Itoa(p.PID)), detectors.V("name", p.Name)))
		}
	}
	return steps
}

// Config is the kubelet's configuration as far as it is known to be in force: of the running kubelet, else what it would
// read at its next start. Source says which.
func Config(o *v1alpha1.Observation) (c v1alpha1.KubeletConfig, source string) {
	if o.Kubelet.ConfigSource == "configz" {
		return o.Kubelet.Config, "kubelet.configz"
	}
	if o.API != nil && o.API.Configz != nil {
		return *o.API.Configz, "kubelet.configz"
	}
	if o.Kubelet.FileError == "" && o.Kubelet.ConfigSource == "file" {
		return o.Kubelet.Config, "kubelet config file"
	}
	return o.Kubelet.File, "kubelet config file"
}

// FlagValue is the value of --name in the kubelet's running command line or unit.
func FlagValue(o *v1alpha1.Observation, name string) (string, bool) {
	flags := o.Kubelet.Flags
	if len(flags) == 0 {
		flags = strings.Fields(o.Units[KubeletUnitName(o)].ExecStart)
	}
	for i, f := range flags {
		if v, ok := strings.CutPrefix(f, "--"+name+"="); ok {
			return v, true
		}
		if f == "--"+name {
			if i+1 < len(flags) && !strings.HasPrefix(flags[i+1], "-") {
				return flags[i+1], true
			}
			return "true", true
		}
	}
	return "", false
}

// TimedOut tells whether a source gave no answer in its time, as opposed to having refused or been impossible to reach.
func TimedOut(o *v1alpha1.Observation, source string) bool {
	why, ok := o.Unreadable(source)
	return ok && isTimeout(why)
}

func isTimeout(why string) bool {
	why = strings.ToLower(why)
	return Has(why, "deadline", "timeout", "timed out", "no answer within", "did not answer", "still blocked", "canceled: ")
}

// RuntimeSilent tells that the node's own agent answered, and the runtime answered none of the CRI calls in its time.
func RuntimeSilent(o *v1alpha1.Observation) bool {
	return TimedOut(o, v1alpha1.SourceStatus) && (TimedOut(o, v1alpha1.SourceSandboxes) || TimedOut(o, v1alpha1.SourceContainers) || missing(o))
}

func missing(o *v1alpha1.Observation) bool {
	return len(o.Runtime.Sandboxes) == 0 && len(o.Runtime.Containers) == 0 && len(o.Runtime.Conditions) == 0
}

// RuntimeListsBlocked tells that a list call got no answer, whatever the status call said.
func RuntimeListsBlocked(o *v1alpha1.Observation) bool {
	return TimedOut(o, v1alpha1.SourceSandboxes) || TimedOut(o, v1alpha1.SourceContainers)
}

// PLEGUnhealthy is the newest sign that PLEG is unhealthy now: the Ready condition, else the kubelet's own line of this minute.
// "has yet to be successful" is what it says at every start.
func PLEGUnhealthy(h v1alpha1.History) (v1alpha1.Evidence, bool) {
	o := h.Last()
	if c, ok := NotReady(o); ok && strings.Contains(c.Message, words.PLEGNotHealthy) {
		return FromCondition(c), true
	}
	if l, ok := LastLine(h, "kubelet", 30*time.Second, words.PLEGNotHealthy); ok {
		if _, known := Condition(o, corev1.NodeReady); known {
			if _, bad := NotReady(o); !bad && o.At.Sub(l.At) > 15*time.Second {
				return v1alpha1.Evidence{}, false
			}
		}
		return FromLine(l), true
	}
	return v1alpha1.Evidence{}, false
}

// RuntimeDown is the newest sign that the kubelet misses the runtime now.
func RuntimeDown(h v1alpha1.History) (v1alpha1.Evidence, bool) {
	o := h.Last()
	if c, ok := NotReady(o); ok && Has(c.Message, words.ContainerRuntimeIsDown, words.RuntimeStatusNotChecked) {
		return FromCondition(c), true
	}
	if l, ok := LastOf(h, "kubelet", 15*time.Second, words.ContainerRuntimeIsDown); ok {
		return FromLine(l), true
	}
	return v1alpha1.Evidence{}, false
}
