package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/text"
)

// Overall judges a report: one failed scenario or anything left on the host fails the report; something that could not be told makes it unknown;
// something that passed only when it was made again makes it flaky; a suite in which something passed and the rest is unsupported here has passed.
// What a list of known failures excuses counts as passed. A detector that was scored counts as the scenario does.
func Overall(rep *v1alpha1.Report) v1alpha1.Verdict {
	count := map[v1alpha1.Verdict]int{}
	for i := range rep.Results {
		r := &rep.Results[i]
		v := r.Verdict
		if v != v1alpha1.VerdictUnsupported && Excused(r, "") {
			v = v1alpha1.VerdictPassed
		}
		count[v]++
		for _, d := range r.Detectors {
			if (d.Verdict == v1alpha1.VerdictFailed || d.Verdict == v1alpha1.VerdictFlaky) && d.Role != v1alpha1.RoleReference && !Excused(r, d.Detector) {
				count[d.Verdict]++
			}
		}
	}
	switch {
	case count[v1alpha1.VerdictFailed] > 0 || len(rep.HostChanges) > 0 || len(BrokenControls(rep, v1alpha1.VerdictFailed)) > 0:
		return v1alpha1.VerdictFailed
	case count[v1alpha1.VerdictUnknown] > 0 || len(rep.Results) == 0 || len(BrokenControls(rep, v1alpha1.VerdictUnknown)) > 0:
		return v1alpha1.VerdictUnknown
	case count[v1alpha1.VerdictFlaky] > 0:
		return v1alpha1.VerdictFlaky
	case count[v1alpha1.VerdictPassed] > 0:
		return v1alpha1.VerdictPassed
	default:
		return v1alpha1.VerdictUnsupported
	}
}

// Excused tells whether a known failure stands for a result: for a detector's in it, or for the run's own steps where detector is empty.
// Sickbay's own detectors fail with the run.
func Excused(r *v1alpha1.ScenarioResult, detector string) bool { return excuse(r, detector) != nil }

// excuse is the known failure that stands for a result, or nil.
func excuse(r *v1alpha1.ScenarioResult, detector string) *v1alpha1.KnownFailure {
	for i := range r.Known {
		k := &r.Known[i]
		if k.Detector == "" && (detector == "" || detector == OwnDetector) || k.Detector != "" && detector != "" && text.Glob(k.Detector).MatchString(detector) {
			return k
		}
	}
	return nil
}

// OwnDetector names sickbay's own detectors in a report.
const OwnDetector = "sickbay"

// CountControls sums the controls of a report.
func CountControls(rep *v1alpha1.Report) []v1alpha1.ControlCount {
	var out []v1alpha1.ControlCount
	for _, c := range []v1alpha1.Control{v1alpha1.ControlNoop, v1alpha1.ControlNoRemedy, v1alpha1.ControlBlindRestart} {
		n := v1alpha1.ControlCount{Control: c}
		for _, r := range rep.Results {
			for _, x := range r.Controls {
				if x.Control != c {
					continue
				}
				n.Made++
				if x.Held {
					n.Held++
				} else {
					n.NotHeld = append(n.NotHeld, r.Scenario)
				}
			}
		}
		if n.Made > 0 {
			out = append(out, n)
		}
	}
	return out
}

// blindlyCured are the core failures that a blind restart cured.
func blindlyCured(rep *v1alpha1.Report) []string {
	var out []string
	for _, r := range rep.Results {
		if r.Profile != "core" || len(r.Expected) == 0 {
			continue
		}
		cured := slices.ContainsFunc(r.Controls, func(c v1alpha1.ControlRun) bool {
			return c.Control == v1alpha1.ControlBlindRestart && c.Verdict == v1alpha1.VerdictPassed
		})
		if f, _, _ := strings.Cut(r.Expected[0], "/"); cured && !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	return out
}

// brokenControls are the controls that make a report failed, or unknown: a blind restart only when it cures too many.
func BrokenControls(rep *v1alpha1.Report, v v1alpha1.Verdict) []string {
	tooMany := len(blindlyCured(rep)) > v1alpha1.BlindCures
	var out []string
	for _, r := range rep.Results {
		for _, c := range r.Controls {
			lost := c.Verdict == v1alpha1.VerdictUnknown
			if c.Held || lost != (v == v1alpha1.VerdictUnknown) || c.Control == v1alpha1.ControlBlindRestart && !lost && !tooMany {
				continue
			}
			out = append(out, fmt.Sprintf("%s: control %s did not hold: %s", r.Scenario, c.Control, c.Reason))
		}
	}
	return out
}
