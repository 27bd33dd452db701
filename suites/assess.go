package suites

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// assessment compares findings with what a scenario expects.
type assessment struct {
	missing []string // expected and not found
	wrong   []string // found and not expected, each named for what is wrong about it
}

func (a assessment) ok() bool { return len(a.missing) == 0 && len(a.wrong) == 0 }

func (a assessment) String() string {
	return strings.Join(append(slices.Clone(a.wrong), a.missing...), "; ")
}

func findingName(f v1alpha1.Finding) string { return f.Failure + "/" + f.Cause }

func expectedName(e v1alpha1.Expected) string { return e.Failure + "/" + e.Cause }

// assess judges findings of all watched nodes. expected are those due now; allowed may appear on the victim and need not.
func assess(findings []v1alpha1.Finding, victim string, expected, allowed []v1alpha1.Expected) assessment {
	var a assessment
	has := func(list []v1alpha1.Expected, f v1alpha1.Finding) bool {
		return slices.ContainsFunc(list, func(e v1alpha1.Expected) bool { return e.Failure == f.Failure && e.Cause == f.Cause })
	}
	for _, e := range expected {
		found := slices.ContainsFunc(findings, func(f v1alpha1.Finding) bool {
			return f.Node == victim && f.Failure == e.Failure && f.Cause == e.Cause
		})
		if !found {
			a.missing = append(a.missing, fmt.Sprintf("missed: %s on %s", expectedName(e), victim))
		}
	}
	for _, f := range findings {
		known := has(expected, f) || has(allowed, f)
		switch {
		case known && f.Node == victim:
		case has(expected, f):
			a.wrong = append(a.wrong, fmt.Sprintf("wrong node: %s on %s instead of %s", findingName(f), f.Node, victim))
		case f.Node != victim:
			a.wrong = append(a.wrong, fmt.Sprintf("extra finding on another node: %s on %s (%s)", findingName(f), f.Node, f.Summary))
		default:
			// A finding of the right failure whose right cause nobody named is a wrong cause, not an extra one.
			i := slices.IndexFunc(expected, func(e v1alpha1.Expected) bool {
				return e.Failure == f.Failure && slices.ContainsFunc(a.missing, func(m string) bool { return strings.Contains(m, expectedName(e)+" ") })
			})
			if i >= 0 {
				a.wrong = append(a.wrong, fmt.Sprintf("wrong cause: %s instead of %s on %s (%s)", findingName(f), expectedName(expected[i]), f.Node, f.Summary))
			} else {
				a.wrong = append(a.wrong, fmt.Sprintf("extra finding: %s on %s (%s)", findingName(f), f.Node, f.Summary))
			}
		}
	}
	a.wrong = slices.Compact(a.wrong)
	return a
}

// split separates what is due at once from what shows only after a remedy.
func split(expect []v1alpha1.Expected) (first, later []v1alpha1.Expected) {
	for _, e := range expect {
		if e.AfterRemedy {
			later = append(later, e)
		} else {
			first = append(first, e)
		}
	}
	return first, later
}

func names(list []v1alpha1.Expected) []string {
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = expectedName(e)
	}
	return out
}

func findingNames(list []v1alpha1.Finding) []string {
	out := make([]string, len(list))
	for i, f := range list {
		out[i] = findingName(f)
		if f.Object != nil {
			out[i] += " (" + strings.ToLower(f.Object.Kind) + " " + f.Object.Name + ")"
		}
		out[i] += " on " + f.Node
	}
	return out
}
