package report

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// The part of the JUnit format that GitLab, Jenkins, GitHub's actions and Prow all read; junit_test.go has their rules. Names of cases are
// unique within a file: GitLab keeps only the first of duplicates, and Prow calls a name that passes and fails in one file flaky.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Time      string      `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr"`
	Props     []junitProp `xml:"properties>property,omitempty"`
	Cases     []junitCase `xml:"testcase"`
}

type junitProp struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Name      string        `xml:"name,attr"`
	Classname string        `xml:"classname,attr"`
	Time      string        `xml:"time,attr"`
	Failure   *junitMessage `xml:"failure,omitempty"`
	Error     *junitMessage `xml:"error,omitempty"`
	Skipped   *junitMessage `xml:"skipped,omitempty"`
	SystemOut string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes a suite for the runs, with a case for each scenario and each control, and one for each detector, with a case for each
// scenario. A control that held has passed. Unsupported, known and what only a reference missed is skipped with the reason, unknown is an
// error, flaky is a failure; a host that was left unclean is a failed case of its own.
func WriteJUnit(w io.Writer, rep *v1alpha1.Report) error {
	suites := []*junitSuite{newJUnitSuite(rep, "sickbay")}
	of := map[string]*junitSuite{"": suites[0]}
	for _, d := range rep.Detectors {
		s := newJUnitSuite(rep, d.Name)
		s.Props = append(s.Props, junitProp{"detector", d.Spec}, junitProp{"role", string(d.Role)})
		suites, of[d.Name] = append(suites, s), s
	}
	for _, c := range cases(rep) {
		s := of[detectorName(c)]
		if s == nil {
			s = suites[0]
		}
		s.add(c)
	}
	suites[0].wholeReport(rep)
	doc := junitSuites{Name: "sickbay", Time: suites[0].Time}
	for _, s := range suites {
		s.Tests = len(s.Cases)
		doc.Tests, doc.Failures, doc.Errors = doc.Tests+s.Tests, doc.Failures+s.Failures, doc.Errors+s.Errors
		doc.Suites = append(doc.Suites, *s)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func newJUnitSuite(rep *v1alpha1.Report, name string) *junitSuite {
	s := &junitSuite{
		Name: name, Timestamp: rep.Started.UTC().Format("2006-01-02T15:04:05"), Time: seconds(rep.Ended.Sub(rep.Started)),
		Props: []junitProp{{"cluster", rep.Cluster}, {"kubernetes", rep.Kubernetes}, {"host", rep.Host}, {"sickbay", rep.Version}, {"profile", rep.Profile}},
	}
	if rep.Shard != nil {
		s.Props = append(s.Props, junitProp{"shard", rep.Shard.String()})
	}
	s.Props = slices.DeleteFunc(s.Props, func(p junitProp) bool { return p.Value == "" })
	return s
}

func (s *junitSuite) add(c reportCase) {
	class := cmp.Or(c.result.Profile, "scenario")
	if c.control != nil {
		class = "controls"
	}
	x := junitCase{Name: c.name, Classname: s.Name + "." + class, Time: seconds(c.took), SystemOut: caseText(c)}
	msg := &junitMessage{Message: fmt.Sprintf("%s: %s", c.at, c.reason), Type: string(c.at), Text: c.reason}
	switch c.verdict {
	case v1alpha1.VerdictPassed:
	case v1alpha1.VerdictUnsupported, v1alpha1.VerdictSkipped:
		s.Skipped++
		x.Skipped = &junitMessage{Message: c.reason}
		if c.verdict == v1alpha1.VerdictUnsupported {
			x.Skipped.Message = "unsupported here: " + c.reason
		}
	case v1alpha1.VerdictUnknown:
		s.Errors++
		x.Error = msg
	case v1alpha1.VerdictFlaky:
		s.Failures++
		msg.Type, msg.Message = "flaky", "flaky: "+c.reason
		x.Failure = msg
	default:
		s.Failures++
		x.Failure = msg
	}
	s.Cases = append(s.Cases, x)
}

// wholeReport adds what fails a report as a whole.
func (s *junitSuite) wholeReport(rep *v1alpha1.Report) {
	if cured := blindlyCured(rep); len(cured) > v1alpha1.BlindCures {
		s.Failures++
		s.Cases = append(s.Cases, junitCase{
			Name: fmt.Sprintf("a blind restart cures at most %d core failures", v1alpha1.BlindCures), Classname: "sickbay.controls", Time: "0.000",
			Failure: &junitMessage{Message: fmt.Sprintf("it cures %d", len(cured)), Type: string(v1alpha1.ControlBlindRestart), Text: strings.Join(cured, "\n")},
		})
	}
	if len(rep.HostChanges) > 0 {
		s.Failures++
		s.Cases = append(s.Cases, junitCase{
			Name: "nothing left on the host", Classname: "sickbay.residue", Time: "0.000",
			Failure: &junitMessage{Message: fmt.Sprintf("%d difference(s)", len(rep.HostChanges)), Type: string(v1alpha1.StepResidue), Text: strings.Join(rep.HostChanges, "\n")},
		})
	}
}

// caseText is what stands in system-out.
func caseText(c reportCase) string {
	switch {
	case c.control != nil && c.control.Held:
		return c.control.Reason
	case c.control != nil:
		return strings.Join(c.control.Seen, "\n")
	case c.detector != nil:
		return detectorText(c.detector)
	}
	return stepsText(c.result) + "\nmore in report.html#" + linkName(c.result) + "\n"
}

// detectorText is what one detector made of one injection, as plain lines.
func detectorText(d *v1alpha1.DetectorResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, %d looks\n", d.Detector, d.Role, d.Looks)
	for _, e := range d.Expected {
		fmt.Fprintf(&b, "%s/%s: %s\n", e.Failure, e.Cause, detectedText(e))
	}
	for _, x := range d.Wrong {
		fmt.Fprintf(&b, "wrong: %s on %s (%s), in %d looks\n", x.Name, x.Node, x.Place, x.Looks)
	}
	if a := d.Action; a != nil {
		fmt.Fprintf(&b, "acted in run %s: %s\n", a.Run, actionText(a))
	}
	for _, e := range d.Errors {
		b.WriteString("no answer: " + e + "\n")
	}
	return b.String()
}

func detectedText(e v1alpha1.Detected) string {
	switch {
	case !e.Found && e.Named && !e.RightNode:
		return "named on the wrong node only"
	case !e.Found && e.Named:
		return "named before the injection only"
	case !e.Found:
		return "not named"
	}
	s := fmt.Sprintf("found after %s, %s from its signal", humanSeconds(e.Seconds), signed(e.AfterSignal))
	switch {
	case e.RightCause:
		return s + ", right cause"
	case e.CauseNamed:
		return s + ", wrong cause"
	}
	return s + ", no cause"
}

func signed(s float64) string { return fmt.Sprintf("%+.1f s", s) }

func actionText(a *v1alpha1.ActionResult) string {
	s := "not cleared: " + a.Reason
	if a.Cleared {
		s = "cleared after " + humanSeconds(a.Seconds)
	}
	if n := len(a.PodsKilled); n > 0 {
		s += fmt.Sprintf("; %d pods that were well were ended", n)
	}
	if a.Restarts > 0 {
		s += fmt.Sprintf("; %d restarts", a.Restarts)
	}
	if n := len(a.Residue); n > 0 {
		s += fmt.Sprintf("; %d things left behind", n)
	}
	return s
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", max(0, d.Seconds())) }

// stepsText is a run's steps as plain lines.
func stepsText(r *v1alpha1.ScenarioResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s on node %s, run %s, fidelity %s", r.Scenario, r.Node, r.Run, r.Fidelity.Level)
	if r.Fidelity.Differs != "" {
		fmt.Fprintf(&b, " (%s)", r.Fidelity.Differs)
	}
	b.WriteString("\n")
	for i, a := range r.Attempts {
		fmt.Fprintf(&b, "attempt %d %s at %s: %s\n", i+1, a.Verdict, a.FailedAt, a.Reason)
	}
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "%-10s %-11s", s.Name, s.Verdict)
		if !s.Started.IsZero() {
			fmt.Fprintf(&b, " %7.1fs", s.Ended.Sub(s.Started).Seconds())
		}
		if s.Reason != "" {
			b.WriteString("  " + s.Reason)
		}
		b.WriteString("\n")
		for _, line := range s.Seen {
			b.WriteString("    " + line + "\n")
		}
	}
	return b.String()
}
