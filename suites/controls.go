package suites

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/detectors"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// A run can make its own controls on the way (Options.Controls), so that the physical waits, PLEG's three minutes above all, are
// paid once:
//
//	baseline ─ noop ─ inject ─ manifest ─ detect ─ no-remedy ─ blind restart ─ remediate ─ clear ─ residue
//	            red                                   red          red                       green
//
// Each is the same step as in a run of its own, with the same bound. Where the blind restart cured the fault, or made another
// illness of it, the own remedy has nothing left to prove itself on, and the scenario is run once more without controls.

// controlsAfter makes the controls that have their place after a step. It returns false when the remaining steps cannot be done
// with this injection; r.control.needsRerun says why.
func (r *run) controlsAfter(ctx context.Context, done v1alpha1.StepName) bool {
	switch done {
	case v1alpha1.StepBaseline:
		r.prove(ctx, v1alpha1.ControlNoop, v1alpha1.StepManifest, r.manifest)
		r.res.Signals, r.res.Findings = nil, nil
		// What comes from now on counts.
		r.last = r.look.Histories()[r.victim].Last()
	case v1alpha1.StepDetect:
		if r.prove(ctx, v1alpha1.ControlNoRemedy, v1alpha1.StepClear, r.clear) {
			r.prove(ctx, v1alpha1.ControlBlindRestart, v1alpha1.StepClear, r.blind)
		}
	}
	return r.control.needsRerun == ""
}

// prove runs a step as a control, notes whether it failed as it must, and returns that.
func (r *run) prove(ctx context.Context, c v1alpha1.Control, at v1alpha1.StepName, f func(context.Context, step) error) bool {
	r.control.current = c
	defer func() { r.control.current = v1alpha1.ControlNone }()
	bound := r.bound(at)
	if c == v1alpha1.ControlBlindRestart {
		bound += r.bound(v1alpha1.StepRemediate) + r.bound(v1alpha1.StepDetect)
	}
	st := r.attempt(ctx, "control "+string(c), at, bound, f)
	out := v1alpha1.ControlRun{Control: c, At: at, Verdict: st.Verdict, Started: st.Started, Ended: st.Ended, Reason: st.Reason, Seen: st.Seen}
	out.Held = st.Verdict == v1alpha1.VerdictFailed && (c != v1alpha1.ControlNoop || nothingShown(r.res))
	if st.Verdict == v1alpha1.VerdictPassed {
		out.Reason = map[v1alpha1.Control]string{
			v1alpha1.ControlNoop:         "the signals came without the fault",
			v1alpha1.ControlNoRemedy:     "the fault went away by itself",
			v1alpha1.ControlBlindRestart: "restarting " + cmp.Or(r.s.testbed.Runtime(), "containerd") + " and kubelet cures it",
		}[c]
	}
	r.res.Controls = append(r.res.Controls, out)
	text := "held: " + out.Reason
	var end error
	level := ""
	if !out.Held {
		text, level = "did not hold: "+out.Reason, "error"
		end = errors.New(text)
	}
	r.task.End(end)
	r.rec.add(v1alpha1.TimelineEntry{Kind: v1alpha1.EntryNote, Node: r.victim, Level: level, Text: fmt.Sprintf("control %s %s", c, text)})
	if at == v1alpha1.StepClear {
		r.dropProof(ctx)
	}
	return out.Held
}

// blind restarts the two units and waits for the fault to clear. What detectors say after it is what the next step remedies.
func (r *run) blind(ctx context.Context, st step) error {
	applied := len(r.res.Remedies)
	how := r.s.opts.BlindRestart
	err := r.apply(ctx, st, string(v1alpha1.ControlBlindRestart), blindRestart(r.victim, how, r.s.testbed.Runtime()))
	r.res.Remedies = r.res.Remedies[:applied]
	switch {
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		st.saw("carried out as far as it goes: %v", err)
	}
	clearing, cancel := context.WithTimeout(ctx, r.bound(v1alpha1.StepClear))
	defer cancel()
	if err = r.clear(clearing, st); err == nil {
		r.control.needsRerun = "a blind restart cured it"
		return nil
	}
	if ctx.Err() != nil {
		return err
	}
	first, later := split(r.sc.Spec.Expect)
	findings, changed := r.name(ctx, step{&v1alpha1.StepResult{}}, first, append(later, blindRestarts[how].leaves...), false)
	if changed != nil {
		r.control.needsRerun = "a blind restart made another illness of it"
		st.saw("%s: %v", r.control.needsRerun, changed)
		return err
	}
	r.findings = findings
	return err
}

// anotherIllness tells that after a blind restart something else than the fault was named for as long as detect waits for the right name:
// what remains of the control's bound is for a node on which nothing is named yet. since is when that began.
func (r *run) anotherIllness(a assessment, since *time.Time) bool {
	switch {
	case r.control.current != v1alpha1.ControlBlindRestart || len(a.wrong) == 0 || len(a.missing) == 0:
		*since = time.Time{}
	case since.IsZero():
		*since = time.Now()
	}
	return !since.IsZero() && time.Since(*since) >= r.t.bound(r.sc, v1alpha1.StepDetect)
}

// setAside takes a failed clear out of the result when a blind restart came before the remedy: on a full disk, say, it makes the
// runtime forget containers that run on and keep their successors from starting (seen live). The run is then made once more,
// with nothing but the remedy.
func (r *run) setAside() bool {
	i := slices.IndexFunc(r.res.Controls, func(c v1alpha1.ControlRun) bool { return c.Control == v1alpha1.ControlBlindRestart })
	last := len(r.res.Steps) - 1
	if i < 0 || !r.control.onTheWay || r.res.Steps[last].Verdict != v1alpha1.VerdictFailed {
		return false
	}
	r.control.needsRerun = "a blind restart left what the remedy is not for"
	r.res.Controls[i].Seen = append(r.res.Controls[i].Seen, r.control.needsRerun+": "+r.res.Steps[last].Reason)
	r.res.Steps = r.res.Steps[:last]
	return true
}

// dropProof deletes a control's proof pod, which may never have come to run: it must not be what a detector speaks about.
func (r *run) dropProof(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, r.t.Call)
	defer cancel()
	err := r.s.testbed.Kube().CoreV1().Pods(r.fault.Namespace()).DeleteCollection(call, metav1.DeleteOptions{GracePeriodSeconds: new(int64)},
		metav1.ListOptions{LabelSelector: "sickbay.dev/role=proof"})
	if err != nil {
		r.rec.note(r.victim, "the control's proof pod could not be deleted: %v", err)
	}
}

// Restart says how somebody who does not know what is wrong restarts kubelet and runtime.
type Restart string

// The ways of a blind restart. Each leaves what a detector has to see through: other processes, other times, other logs.
const (
	RestartRuntimeFirst Restart = ""
	RestartKubeletFirst Restart = "kubelet-first"
	RestartStop         Restart = "stop" // both are stopped, and stay so
	RestartKill         Restart = "kill" // SIGKILL; systemd starts them again
	RestartReboot       Restart = "reboot"
)

// Restarts are the ways that have a name.
var Restarts = []Restart{RestartKubeletFirst, RestartStop, RestartKill, RestartReboot}

// blindRestarts has the script of each way, and what a detector may then name beside the cause. A runtime that cannot end (its
// threads wait in the kernel) must not keep it from the kubelet, nor the control from its end.
var blindRestarts = map[Restart]struct {
	script string
	leaves []v1alpha1.Expected
}{
	RestartRuntimeFirst: {script: "timeout 45 systemctl restart containerd.service; timeout 45 systemctl restart kubelet.service"},
	RestartKubeletFirst: {script: "timeout 45 systemctl restart kubelet.service; timeout 45 systemctl restart containerd.service"},
	RestartStop: {
		script: "timeout 45 systemctl stop kubelet.service; timeout 45 systemctl stop containerd.service",
		leaves: []v1alpha1.Expected{{Failure: "node-notready", Cause: "kubelet-stopped"}, {Failure: "pleg", Cause: "runtime-hung"}},
	},
	RestartKill:   {script: "systemctl kill --kill-whom=main -s KILL containerd.service; systemctl kill --kill-whom=main -s KILL kubelet.service"},
	RestartReboot: {script: "systemctl reboot"},
}

// blindRestart is what is done first where nobody knows what is wrong.
func blindRestart(node string, how Restart, runtime string) *v1alpha1.Remedy {
	script := blindRestarts[how].script
	if runtime == scenarios.CRIO {
		script = strings.ReplaceAll(script, "containerd.service", "crio.service")
	}
	return &v1alpha1.Remedy{Name: string(v1alpha1.ControlBlindRestart), Steps: []v1alpha1.Step{
		detectors.NodeStep(v1alpha1.Safe, node, "whatever it is, a restart may help", "sh", "-c", script),
	}}
}

// nothingShown tells that no detector spoke and no signal was seen.
func nothingShown(r *v1alpha1.ScenarioResult) bool {
	return len(r.Findings) == 0 && !slices.ContainsFunc(r.Signals, func(s v1alpha1.Signal) bool { return !s.At.IsZero() })
}
