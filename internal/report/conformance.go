package report

import (
	"cmp"
	"io"
	"math"
	"slices"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/score"
)

// WriteConformance writes the short statement of a report as YAML: of the run itself, or a document for each detector that was scored.
func WriteConformance(w io.Writer, rep *v1alpha1.Report, of v1alpha1.Implementation) error {
	detectors := []string{""}
	if len(rep.Detectors) > 0 {
		detectors = nil
	}
	for _, d := range rep.Detectors {
		if d.Role == v1alpha1.RoleContestant {
			detectors = append(detectors, d.Name)
		}
	}
	for i, d := range detectors {
		raw, err := yaml.Marshal(Conformance(rep, d, of))
		if err != nil {
			return err
		}
		if i > 0 {
			raw = append([]byte("---\n"), raw...)
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
	}
	return nil
}

func detectorName(c reportCase) string {
	if c.detector == nil {
		return ""
	}
	return c.detector.Detector
}

// Conformance draws the short statement from a report: of one detector, or with an empty name of the runs themselves. Controls are the
// suite's own proof and not part of it.
func Conformance(rep *v1alpha1.Report, detector string, of v1alpha1.Implementation) *v1alpha1.ConformanceReport {
	of.Project = cmp.Or(of.Project, detector, "sickbay")
	if detector == "" || detector == "sickbay" {
		of.Version = cmp.Or(of.Version, rep.Version)
	}
	c := &v1alpha1.ConformanceReport{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindConformanceReport, Date: rep.Ended.UTC().Format(time.RFC3339), Implementation: of,
		Environment: v1alpha1.JudgedOn{Sickbay: rep.Version, Kubernetes: rep.Kubernetes, Host: rep.Host, HostKind: rep.HostKind},
		Profiles:    []v1alpha1.ProfileScore{},
	}
	keys, all := grouped(rep)
	for _, key := range keys {
		list := all[key]
		first := list[0]
		if first.control != nil || first.result.Control != v1alpha1.ControlNone {
			continue
		}
		if first.run() && detector != "" {
			list = notJudged(list, detector)
		} else if detectorName(first) != detector {
			continue
		}
		if len(list) == 0 {
			continue
		}
		name := first.result.Profile
		if name == "" {
			name = "own"
		}
		i := slices.IndexFunc(c.Profiles, func(p v1alpha1.ProfileScore) bool { return p.Name == name })
		if i < 0 {
			i = len(c.Profiles)
			c.Profiles = append(c.Profiles, v1alpha1.ProfileScore{Name: name})
		}
		tally(&c.Profiles[i], list)
	}
	for _, s := range score.Of(rep) {
		if s.Detector == detector && s.Failure == "" {
			c.Detection = &s
		}
	}
	for i := range c.Profiles {
		conclude(&c.Profiles[i])
	}
	return c
}

// notJudged are runs that a detector was not asked about: this host cannot have the fault, or the run ended before it was there.
func notJudged(list attempts, detector string) (out attempts) {
	for _, c := range list {
		if slices.ContainsFunc(c.result.Detectors, func(d v1alpha1.DetectorResult) bool { return d.Detector == detector }) {
			continue
		}
		if c.verdict != v1alpha1.VerdictUnsupported {
			c.verdict = v1alpha1.VerdictUnknown
		}
		out = append(out, c)
	}
	return out
}

// tally adds one scenario to its profile.
func tally(p *v1alpha1.ProfileScore, a attempts) {
	n, name := &p.Statistics, a[0].result.Scenario
	switch v := a.verdict(); v {
	case v1alpha1.VerdictPassed:
		n.Passed++
		p.Passed = append(p.Passed, name)
	case v1alpha1.VerdictUnsupported:
		n.Unsupported++
		p.Unsupported = append(p.Unsupported, v1alpha1.UnmetScenario{Scenario: name, Reason: a.reason()})
	case v1alpha1.VerdictSkipped:
		n.Skipped++
		p.Skipped = append(p.Skipped, v1alpha1.UnmetScenario{Scenario: name, Reason: a.reason()})
	default:
		switch v {
		case v1alpha1.VerdictFlaky:
			n.Flaky++
		case v1alpha1.VerdictUnknown:
			n.Unknown++
		default:
			n.Failed++
		}
		f := v1alpha1.FailedCase{Scenario: name, Verdict: v}
		for _, c := range a {
			if c.verdict != v1alpha1.VerdictPassed {
				f.At, f.Reason = c.at, c.reason
				break
			}
		}
		p.Failed = append(p.Failed, f)
	}
}

func conclude(p *v1alpha1.ProfileScore) {
	n := p.Statistics
	ran := n.Passed + n.Failed + n.Flaky + n.Unknown
	if ran > 0 {
		p.Score = math.Round(float64(n.Passed)/float64(ran)*1000) / 1000
	}
	switch {
	case n.Failed+n.Flaky > 0:
		p.Result = v1alpha1.ProfileFailure
	case n.Unknown+n.Skipped+n.Unsupported > 0 || ran == 0:
		p.Result = v1alpha1.ProfilePartial
	default:
		p.Result = v1alpha1.ProfileSuccess
	}
}
