package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// Overall judges a report: one failed scenario or anything left on the host fails the report; something that could not be told makes it unknown;
// a suite in which something passed and the rest is unsupported here has passed.
func Overall(rep *v1alpha1.Report) v1alpha1.Verdict {
	count := map[v1alpha1.Verdict]int{}
	for _, r := range rep.Results {
		count[r.Verdict]++
	}
	switch {
	case count[v1alpha1.VerdictFailed] > 0 || len(rep.HostChanges) > 0 || len(BrokenControls(rep, v1alpha1.VerdictFailed)) > 0:
		return v1alpha1.VerdictFailed
	case count[v1alpha1.VerdictUnknown] > 0 || len(rep.Results) == 0 || len(BrokenControls(rep, v1alpha1.VerdictUnknown)) > 0:
		return v1alpha1.VerdictUnknown
	case count[v1alpha1.VerdictPassed] > 0:
		return v1alpha1.VerdictPassed
	default:
		return v1alpha1.VerdictUnsupported
	}
}

// countControls sums the controls of a report.
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
