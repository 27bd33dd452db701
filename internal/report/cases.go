package report

import (
	"fmt"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// reportCase is one thing of a report that can pass or fail: a scenario's run, a control made on its way, or what a detector made of it.
type reportCase struct {
	key    string // the same in another report: scenario, control and detector
	name   string // the key, made unique within this report
	result *v1alpha1.ScenarioResult
	// control is set for one made on the way; a run that is a control as a whole has it in its result. detector is set for a detector's.
	control  *v1alpha1.ControlRun
	detector *v1alpha1.DetectorResult

	verdict v1alpha1.Verdict // as it counts: see the functions below
	at      v1alpha1.StepName
	reason  string
	took    time.Duration
}

// run tells that a case is the run of a scenario itself.
func (c reportCase) run() bool { return c.control == nil && c.detector == nil }

// standing is a run's verdict as it counts: a control has passed when it held, a known failure is skipped.
func standing(r *v1alpha1.ScenarioResult) (v1alpha1.Verdict, string) {
	switch {
	case r.Control == v1alpha1.ControlNone:
		return excused(r, "", r.Verdict, r.Reason)
	case r.Verdict == v1alpha1.VerdictUnsupported:
		return r.Verdict, r.Reason
	case r.ControlHeld:
		return v1alpha1.VerdictPassed, r.Reason
	case r.Verdict == v1alpha1.VerdictUnknown:
		return r.Verdict, r.Reason
	}
	return v1alpha1.VerdictFailed, r.Reason
}

// excused makes what is known a skipped one, and says why.
func excused(r *v1alpha1.ScenarioResult, detector string, v v1alpha1.Verdict, reason string) (v1alpha1.Verdict, string) {
	if v == v1alpha1.VerdictPassed || v == v1alpha1.VerdictUnsupported {
		return v, reason
	}
	if k := excuse(r, detector); k != nil {
		return v1alpha1.VerdictSkipped, fmt.Sprintf("known until %s: %s (%s)", k.Until, k.Why, reason)
	}
	return v, reason
}

// controlStanding: that a blind restart cures one fault is no failure by itself, and no proof either.
func controlStanding(c *v1alpha1.ControlRun) v1alpha1.Verdict {
	switch {
	case c.Held:
		return v1alpha1.VerdictPassed
	case c.Verdict == v1alpha1.VerdictUnknown:
		return v1alpha1.VerdictUnknown
	case c.Control == v1alpha1.ControlBlindRestart:
		return v1alpha1.VerdictSkipped
	}
	return v1alpha1.VerdictFailed
}

// detectorStanding: a reference is scored and fails nothing.
func detectorStanding(r *v1alpha1.ScenarioResult, d *v1alpha1.DetectorResult) (v1alpha1.Verdict, string) {
	if d.Role == v1alpha1.RoleReference && d.Verdict == v1alpha1.VerdictFailed {
		return v1alpha1.VerdictSkipped, "a reference, which fails nothing: " + d.Reason
	}
	return excused(r, d.Detector, d.Verdict, d.Reason)
}

// cases are all cases of a report: each run, the controls made on its way, and what each detector made of it.
func cases(rep *v1alpha1.Report) []reportCase {
	var out []reportCase
	used := map[string]int{}
	add := func(c reportCase) {
		c.name = c.key
		used[c.key]++
		if n := used[c.key]; n > 1 {
			c.name = fmt.Sprintf("%s #%d", c.key, n)
		}
		out = append(out, c)
	}
	for i := range rep.Results {
		r := &rep.Results[i]
		key := r.Named()
		if r.Control != v1alpha1.ControlNone {
			key += " (" + string(r.Control) + ")"
		}
		c := reportCase{key: key, result: r, at: r.FailedAt, took: r.Ended.Sub(r.Started)}
		c.verdict, c.reason = standing(r)
		add(c)
		for j := range r.Controls {
			x := &r.Controls[j]
			add(reportCase{key: fmt.Sprintf("%s (%s)", key, x.Control), result: r, control: x, verdict: controlStanding(x), at: x.At, reason: x.Reason, took: x.Ended.Sub(x.Started)})
		}
		for j := range r.Detectors {
			d := &r.Detectors[j]
			c := reportCase{key: fmt.Sprintf("%s [%s]", key, d.Detector), result: r, detector: d, at: v1alpha1.StepDetect, took: detectTime(d)}
			c.verdict, c.reason = detectorStanding(r, d)
			add(c)
		}
	}
	return out
}

// detectTime is how long a detector took to name everything that it named.
func detectTime(d *v1alpha1.DetectorResult) time.Duration {
	s := 0.0
	for _, e := range d.Expected {
		s = max(s, e.Seconds)
	}
	return time.Duration(s * float64(time.Second))
}
