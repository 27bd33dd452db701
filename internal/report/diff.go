package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// SlowerThan bounds what counts as slower: both by the factor and by the seconds.
type SlowerThan struct {
	Factor float64
	By     time.Duration
}

// DefaultSlowerThan: medians of one scenario on one machine differ by up to a third, and by the ten seconds of a status period.
func DefaultSlowerThan() SlowerThan { return SlowerThan{Factor: 1.5, By: 10 * time.Second} }

// measures are what may get slower.
var measures = []struct {
	name string
	of   func(reportCase) float64
}{
	{"time to the finding", func(c reportCase) float64 {
		if c.detector != nil {
			return c.took.Seconds()
		}
		return c.result.Clocks.Finding
	}},
	{"time to be cleared", func(c reportCase) float64 {
		if c.detector != nil {
			return 0
		}
		return c.result.Clocks.Cleared
	}},
	{"whole run", func(c reportCase) float64 { return c.took.Seconds() }},
}

// attempts are all cases of one key in a report.
type attempts []reportCase

// verdict of several attempts: one that passed beside one that failed is flaky.
func (a attempts) verdict() v1alpha1.Verdict {
	if len(a) == 0 {
		return ""
	}
	count := map[v1alpha1.Verdict]int{}
	for _, c := range a {
		count[c.verdict]++
	}
	switch {
	case count[v1alpha1.VerdictFlaky] > 0, count[v1alpha1.VerdictPassed] > 0 && count[v1alpha1.VerdictFailed] > 0:
		return v1alpha1.VerdictFlaky
	case count[v1alpha1.VerdictFailed] > 0:
		return v1alpha1.VerdictFailed
	case count[v1alpha1.VerdictUnknown] > 0:
		return v1alpha1.VerdictUnknown
	}
	return a[0].verdict
}

// reason is that of the first attempt that did not pass.
func (a attempts) reason() string {
	for _, c := range a {
		if c.verdict != v1alpha1.VerdictPassed && c.reason != "" {
			return strings.TrimPrefix(fmt.Sprintf("%s: %s", c.at, c.reason), ": ")
		}
	}
	return ""
}

func grouped(rep *v1alpha1.Report) (order []string, of map[string]attempts) {
	of = map[string]attempts{}
	for _, c := range cases(rep) {
		if of[c.key] == nil {
			order = append(order, c.key)
		}
		of[c.key] = append(of[c.key], c)
	}
	return order, of
}

// Diff compares two reports case by case.
func Diff(old, now *v1alpha1.Report, slow SlowerThan) *v1alpha1.ReportDiff {
	d := &v1alpha1.ReportDiff{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindReportDiff, Old: refOf(old), New: refOf(now)}
	before, was := grouped(old)
	order, is := grouped(now)
	for _, key := range order {
		c := v1alpha1.CaseChange{Case: key, Was: was[key].verdict(), Is: is[key].verdict(), Reason: is[key].reason()}
		bad := func(v v1alpha1.Verdict) bool { return v == v1alpha1.VerdictFailed || v == v1alpha1.VerdictUnknown }
		switch {
		case c.Is == v1alpha1.VerdictFlaky:
			d.Flaky = append(d.Flaky, c)
		case bad(c.Is) && bad(c.Was):
			d.Failing = append(d.Failing, c)
		case bad(c.Is):
			d.Broken = append(d.Broken, c)
		case c.Is != v1alpha1.VerdictPassed && c.Was == v1alpha1.VerdictPassed:
			d.Lost = append(d.Lost, c)
		case c.Is == v1alpha1.VerdictPassed && (bad(c.Was) || c.Was == v1alpha1.VerdictFlaky):
			d.Fixed = append(d.Fixed, c)
		default:
			if s := slower(c, was[key], is[key], slow); s != nil {
				d.Slower = append(d.Slower, *s)
			} else {
				d.Same++
			}
		}
	}
	for _, key := range before {
		if is[key] == nil && was[key].verdict() == v1alpha1.VerdictPassed {
			d.Lost = append(d.Lost, v1alpha1.CaseChange{Case: key, Was: v1alpha1.VerdictPassed, Reason: "it is not in the new report"})
		}
	}
	return d
}

func refOf(rep *v1alpha1.Report) v1alpha1.ReportRef {
	return v1alpha1.ReportRef{Cluster: rep.Cluster, Version: rep.Version, Kubernetes: rep.Kubernetes, Started: rep.Started, Verdict: rep.Verdict}
}

// slower is the measure that got slower by the largest factor, nil for none. Controls wait for what must not come: they have no pace.
func slower(c v1alpha1.CaseChange, was, is attempts, bound SlowerThan) *v1alpha1.CaseChange {
	if c.Was != v1alpha1.VerdictPassed || c.Is != v1alpha1.VerdictPassed || is[0].control != nil || is[0].result.Control != v1alpha1.ControlNone {
		return nil
	}
	var found []v1alpha1.CaseChange
	for _, m := range measures {
		c.Measure, c.From, c.To = m.name, median(was, m.of), median(is, m.of)
		if c.From > 0 && c.To > c.From*bound.Factor && c.To-c.From > bound.By.Seconds() {
			found = append(found, c)
		}
	}
	if len(found) == 0 {
		return nil
	}
	worst := slices.MaxFunc(found, func(a, b v1alpha1.CaseChange) int { return cmp.Compare(a.To/a.From, b.To/b.From) })
	return &worst
}

// DiffKinds are what a diff may be gated on, in the order they are told.
var DiffKinds = []string{"broken", "flaky", "lost", "slower", "failing", "fixed"}

// ChangesOf are a diff's cases of one kind.
func ChangesOf(d *v1alpha1.ReportDiff, kind string) []v1alpha1.CaseChange {
	switch kind {
	case "broken":
		return d.Broken
	case "flaky":
		return d.Flaky
	case "lost":
		return d.Lost
	case "slower":
		return d.Slower
	case "failing":
		return d.Failing
	case "fixed":
		return d.Fixed
	}
	return nil
}

// changeText is what happened to a case, for people.
func changeText(c v1alpha1.CaseChange) string {
	switch {
	case c.Measure != "":
		return fmt.Sprintf("%s: %s, was %s", c.Measure, humanSeconds(c.To), humanSeconds(c.From))
	case c.Is == "":
		return c.Reason
	}
	was := cmp.Or(c.Was, "not there")
	s := fmt.Sprintf("%s, was %s", c.Is, was)
	if c.Reason != "" {
		s += ": " + c.Reason
	}
	return s
}

var diffTitles = map[string]string{
	"broken": "New failures", "flaky": "Flaky", "lost": "No longer passing", "slower": "Slower", "failing": "Still failing", "fixed": "Fixed",
}

// DiffText writes a diff for a terminal.
func DiffText(d *v1alpha1.ReportDiff) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  →  %s\n", refText(d.Old), refText(d.New))
	for _, kind := range DiffKinds {
		list := ChangesOf(d, kind)
		if len(list) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s (%d)\n", diffTitles[kind], len(list))
		for _, c := range list {
			first, _, _ := strings.Cut(changeText(c), "\n")
			fmt.Fprintf(&b, "  %s  %s\n", c.Case, first)
		}
	}
	fmt.Fprintf(&b, "%d the same\n", d.Same)
	return b.String()
}

func refText(r v1alpha1.ReportRef) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Started.UTC().Format("2006-01-02 15:04"), r.Version, r.Kubernetes))
}
