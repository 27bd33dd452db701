package sandboxchanged

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/internal/causal"
	"github.com/sickbay-dev/sickbay/internal/facts"
)

// deed is what somebody's commands do to sandboxes.
type deed struct {
	what string
	// does matches a command that does it. A script may pick what it is done to on one line and act on another.
	does, picks, acts *regexp.Regexp
	// spares matches what is done to sandboxes that have ended already.
	spares *regexp.Regexp
	// hints are words of names and commands that may mean it, one of each.
	hints [2][]string
}

var (
	killing = deed{what: "kills sandboxes",
		does: regexp.MustCompile(`\bcrictl\b.*\b(stopp|rmp)\b|\b(ctr|nerdctl)\b.*\b(tasks?|t)\s+(kill|rm|del|delete)\b|\bnerdctl\b.*\b(kill|stop|rm)\b|\brunc\b.*\s(kill|delete)\b|` +
			`\b(pkill|killall)\b.*\b(pause|containerd-shim|conmon)`),
		picks:  regexp.MustCompile(`\b(pgrep|pidof|ps)\b.*\b(pause|containerd-shim|conmon)|io\.kubernetes\.cri|runtime\.v2\.task|\bcrictl\b.*\bpods\b`),
		acts:   regexp.MustCompile(`(^|[\s;&|(])kill\s`),
		spares: regexp.MustCompile(`-(s|-state)[ =]?notready|notready`),
		hints:  [2][]string{{"pause", "sandbox", "shim", "crictl", "k8s.io"}, {"kill", "reap", "stopp", "rmp", "prune", "clean"}}}
	cutting = deed{what: "takes pods' network namespaces",
		does:   regexp.MustCompile(`\bip\b.*\bnetns\s+(del|delete)\b|\b(umount|rm|unlink)\b.*\bnetns\b|\bnetns\b.*\bip\b.*\b(link|addr\w*)\s+(del|delete|flush)|\bip\s+-(n|all)\b.*\b(del|delete|flush|down)\b|\bnetns\b.*\bip\s.*\bdown\b`),
		picks:  regexp.MustCompile(`\bnetns\b`),
		acts:   regexp.MustCompile(`(^|[\s;&|(])(umount|rm|unlink)\s|\bip\b.*\b(link|addr\w*)\s+(del|delete|flush)`),
		spares: regexp.MustCompile(`\$^`),
		hints:  [2][]string{{"netns", "ip link", "ip addr", "network-namespace"}, {"del", "flush", "down", "umount", "gc", "clean", "prune"}}}
)

// by is the command that does it, "" where none of the texts has one. Comments do not count.
func (d deed) by(texts ...string) string {
	picks, acts := "", false
	for _, text := range texts {
		for l := range strings.Lines(text) {
			if l = strings.ToLower(strings.TrimSpace(l)); l == "" || strings.HasPrefix(l, "#") || d.spares.MatchString(l) {
				continue
			}
			if d.does.MatchString(l) {
				return l
			}
			acts = acts || d.acts.MatchString(l)
			if picks == "" && d.picks.MatchString(l) {
				picks = l
			}
		}
	}
	if acts {
		return picks
	}
	return ""
}

// hinted tells that names and commands sound like it. What a program does cannot be told by its name.
func (d deed) hinted(texts ...string) bool {
	text := strings.ToLower(strings.Join(texts, " "))
	return facts.Has(text, d.hints[0]...) && facts.Has(text, d.hints[1]...) && !d.spares.MatchString(text)
}

// doer is somebody on the node who may do it.
type doer struct {
	text string
	seen bool // its commands do it, and it ran whenever it happened
	step v1alpha1.Step
	at   string // source
}

// doers are those who do it, or may do it, on the node: added units first, then cron's entries, then loose processes. when are the
// times at which it is known to have happened.
func (d deed) doers(o *v1alpha1.Observation, when []time.Time) []doer {
	var out []doer
	for _, u := range o.LocalUnits {
		by := d.by(u.ExecStart, u.Script)
		if !strings.HasSuffix(u.Name, ".service") || by == "" && !d.hinted(u.Name, u.ExecStart) {
			continue
		}
		out = append(out, doer{at: v1alpha1.SourceUnits, seen: by != "" && unitRan(u, when), step: stopUnit(o, u, "this unit, added to the node, "+d.what),
			text: fmt.Sprintf("%s (%s), added to this node: %s: %s", u.Name, u.ActiveState, u.ExecStart, by)})
	}
	for _, j := range o.LocalJobs {
		by := d.by(j.Command, j.Script)
		switch {
		case by == "":
		case j.Crontab != "":
			out = append(out, doer{at: v1alpha1.SourceUnits, seen: len(when) > 0 && !slices.ContainsFunc(when, func(t time.Time) bool { return !due(j.Command, t) }),
				text: "cron, " + j.Crontab + ": " + j.Command + ": " + by,
				step: silence(o.Node, "this entry of cron "+d.what+": make a comment of it; cron reads the file again within a minute", j.Crontab, j.Command)})
		default:
			out = append(out, doer{at: v1alpha1.SourceProcesses, seen: jobRan(o, j, when), text: fmt.Sprintf("process %d, of no unit, started by %s: %s: %s", j.PID, parent(j), j.Command, by),
				step: end(o.Node, "this process, of no unit, "+d.what+": "+facts.Short(j.Command), j.PID, j.Started)})
		}
	}
	return out
}

// culprits are the steps that stop those who were seen to do it, what names each, and a sentence on those who only may.
func (d deed) culprits(o *v1alpha1.Observation, when []time.Time) (steps []v1alpha1.Step, evidence []v1alpha1.Evidence, ask string) {
	var perhaps []string
	list := d.doers(o, when)
	// Of one that is started again by a unit or by cron, these are what to stop.
	lasting := slices.ContainsFunc(list, func(w doer) bool { return w.seen && w.at == v1alpha1.SourceUnits })
	for _, w := range list {
		switch {
		case w.seen && lasting && w.at == v1alpha1.SourceProcesses:
		case w.seen:
			steps = append(steps, w.step)
			evidence = append(evidence, facts.Seen(o, w.at, causal.AtWork+": "+w.text))
			if w.at == v1alpha1.SourceProcesses {
				ask = "what is stopped, of no unit, may be started again: nothing on this node says by whom"
			}
		default:
			evidence = append(evidence, facts.Seen(o, w.at, "may do it: "+w.text))
			perhaps = append(perhaps, facts.Short(w.text))
		}
	}
	if len(perhaps) > 0 && len(steps) == 0 {
		ask = "by its name or commands this may do it, and it was not seen at work: " + strings.Join(perhaps, "; ") + ": look at what it does, and stop it if it does that"
	}
	return steps, evidence, ask
}

// unitRan tells that a unit ran at each of the times, or that one which a timer starts ended a moment after the last of them.
func unitRan(u v1alpha1.Unit, when []time.Time) bool {
	if u.ActiveState == "active" || u.ActiveState == "activating" || u.ActiveState == "reloading" {
		return !u.ActiveSince.IsZero() && !slices.ContainsFunc(when, func(t time.Time) bool { return t.Before(u.ActiveSince.Add(-slack)) })
	}
	return slices.ContainsFunc(when, func(t time.Time) bool {
		return !u.StateSince.IsZero() && u.StateSince.After(t.Add(-slack)) && u.StateSince.Sub(t) < tick
	})
}

const (
	// slack is by how much stamps of the kubelet's events, in whole seconds, may be early; tick is a round of somebody's script.
	slack = 2 * time.Second
	tick  = 30 * time.Second
	// userHZ are the clock ticks of a second in which Linux tells a process' start, on every architecture that Go has.
	userHZ = 100
)

// jobRan tells that a process had been started by each of the times.
func jobRan(o *v1alpha1.Observation, j v1alpha1.Job, when []time.Time) bool {
	if o.Host.UptimeSeconds <= 0 || j.Started == 0 {
		return false
	}
	started := o.At.Add(time.Duration((float64(j.Started)/userHZ - o.Host.UptimeSeconds) * float64(time.Second)))
	return !slices.ContainsFunc(when, func(t time.Time) bool { return t.Before(started.Add(-slack)) })
}

// due tells that cron starts an entry in the minute of t or in the one before. In which zone its hours are is not known: only entries of
// every hour count.
func due(entry string, t time.Time) bool {
	f := strings.Fields(entry)
	if len(f) < 6 || strings.Join(f[1:5], "") != "****" {
		return false
	}
	return slices.ContainsFunc([]int{t.Minute(), (t.Minute() + 59) % 60}, func(m int) bool {
		return slices.ContainsFunc(strings.Split(f[0], ","), func(part string) bool {
			span, every, _ := strings.Cut(part, "/")
			first, last := 0, 59
			if a, b, ranged := strings.Cut(span, "-"); span != "*" {
				first, _ = strconv.Atoi(a)
				if last = first; ranged {
					last, _ = strconv.Atoi(b)
				}
			}
			n, _ := strconv.Atoi(every)
			return m >= first && m <= last && (m-first)%max(n, 1) == 0
		})
	})
}

// stopUnit stops a unit for good, its timer first. A unit made by systemd-run cannot be disabled: it ends when it is stopped.
func stopUnit(o *v1alpha1.Observation, u v1alpha1.Unit, why string) v1alpha1.Step {
	names := []string{u.Name}
	if timer := strings.TrimSuffix(u.Name, ".service") + ".timer"; slices.ContainsFunc(o.LocalUnits, func(t v1alpha1.Unit) bool { return t.Name == timer }) {
		names = []string{timer, u.Name}
	}
	step := detectors.Destructive(detectors.ShellStepOn(v1alpha1.Destructive, o.Node, why+": "+facts.Short(u.ExecStart), names,
		"systemctl stop \"$@\"\nsystemctl disable \"$@\" || true"), "stops what somebody runs on this node")
	step.Undo = "systemctl enable --now " + detectors.Quoted(names)
	return step
}

// parent names who started a loose process; one that came in from outside the node has none.
func parent(j v1alpha1.Job) string {
	if j.Parent == "0" {
		return "somebody outside this node"
	}
	return j.Parent
}

// silence makes a comment of one line of a crontab. It fails where the line is not there any more.
func silence(node, why, crontab, line string) v1alpha1.Step {
	return detectors.Destructive(detectors.ShellStep(v1alpha1.Destructive, node, why, `if grep -qxF -- "# $line" "$f"; then exit 0; fi
new=$(line="$line" awk '$0 == ENVIRON["line"] { print "# " $0; done = 1; next } { print } END { exit !done }' "$f") || { echo "$f has no such line any more" >&2; exit 1; }
printf '%s\n' "$new" > "$f"`, detectors.V("f", crontab), detectors.V("line", line)), "stops what somebody runs on this node")
}

// end ends a process, politely first, unless its number is another's by now.
func end(node, why string, pid int, started uint64) v1alpha1.Step {
	return detectors.Destructive(detectors.ShellStep(v1alpha1.Destructive, node, why, `same() { [ "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | awk '$1 != "Z" {print $20}')" = "$started" ]; }
same || exit 0
kill "$pid"
for _ in 1 2 3 4 5; do sleep 1; same || exit 0; done
kill -KILL "$pid"`, detectors.V("pid", strconv.Itoa(pid)), detectors.V("started", strconv.FormatUint(started, 10))), "stops what somebody runs on this node")
}
