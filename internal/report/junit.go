package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// The part of the JUnit format that GitLab, Jenkins, GitHub actions and Prow all read. Names of cases are unique within a
// file: GitLab keeps only the first of duplicates, and Prow calls a name that passes and fails in one file flaky.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
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
	Hostname  string      `xml:"hostname,attr,omitempty"`
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

// WriteJUnit writes one test case per scenario, its steps in system-out. Unsupported is skipped with the reason, unknown is an
// error; a host that was left unclean is a failed case of its own.
func WriteJUnit(w io.Writer, rep *v1alpha1.Report) error {
	suite := junitSuite{
		Name: "sickbay", Timestamp: rep.Started.UTC().Format("2006-01-02T15:04:05"), Hostname: rep.Cluster,
		Time: seconds(rep.Ended.Sub(rep.Started)),
		Props: []junitProp{
			{"cluster", rep.Cluster}, {"kubernetes", rep.Kubernetes}, {"host", rep.Host}, {"sickbay", rep.Version},
		},
	}
	used := map[string]int{}
	for _, r := range rep.Results {
		name := r.Scenario
		if r.Control != v1alpha1.ControlNone {
			name += " (" + string(r.Control) + ")"
		}
		used[name]++
		if n := used[name]; n > 1 {
			name = fmt.Sprintf("%s #%d", name, n)
		}
		profile := r.Profile
		if profile == "" {
			profile = "scenario"
		}
		c := junitCase{Name: name, Classname: "sickbay." + profile, Time: seconds(r.Ended.Sub(r.Started)), SystemOut: stepsText(&r)}
		msg := &junitMessage{Message: fmt.Sprintf("%s: %s", r.FailedAt, r.Reason), Type: string(r.FailedAt), Text: r.Reason}
		switch r.Verdict {
		case v1alpha1.VerdictPassed:
		case v1alpha1.VerdictUnsupported:
			suite.Skipped++
			c.Skipped = &junitMessage{Message: "unsupported here: " + r.Reason}
		case v1alpha1.VerdictUnknown:
			suite.Errors++
			c.Error = msg
		default:
			suite.Failures++
			c.Failure = msg
		}
		suite.Cases = append(suite.Cases, c)
		for _, x := range r.Controls {
			suite.control(name, x)
		}
	}
	if cured := blindlyCured(rep); len(cured) > v1alpha1.BlindCures {
		suite.Failures++
		suite.Cases = append(suite.Cases, junitCase{
			Name: fmt.Sprintf("a blind restart cures at most %d core failures", v1alpha1.BlindCures), Classname: "sickbay.controls", Time: "0.000",
			Failure: &junitMessage{Message: fmt.Sprintf("it cures %d", len(cured)), Type: string(v1alpha1.ControlBlindRestart), Text: strings.Join(cured, "\n")},
		})
	}
	if len(rep.HostChanges) > 0 {
		suite.Failures++
		suite.Cases = append(suite.Cases, junitCase{
			Name: "nothing left on the host", Classname: "sickbay.residue", Time: "0.000",
			Failure: &junitMessage{Message: fmt.Sprintf("%d difference(s)", len(rep.HostChanges)), Type: string(v1alpha1.StepResidue), Text: strings.Join(rep.HostChanges, "\n")},
		})
	}
	suite.Tests = len(suite.Cases)
	doc := junitSuites{
		Name: "sickbay", Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors, Skipped: suite.Skipped, Time: suite.Time,
		Suites: []junitSuite{suite},
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

// control is a control made on the way: it passes when its step failed. That a blind restart cures one fault is no failure by
// itself, and no proof either.
func (s *junitSuite) control(name string, x v1alpha1.ControlRun) {
	c := junitCase{Name: name + " (" + string(x.Control) + ")", Classname: "sickbay.controls", Time: seconds(x.Ended.Sub(x.Started)), SystemOut: strings.Join(x.Seen, "\n")}
	msg := &junitMessage{Message: fmt.Sprintf("control did not hold at %s: %s", x.At, x.Reason), Type: string(x.Control), Text: x.Reason}
	switch {
	case x.Held:
		c.SystemOut = x.Reason
	case x.Verdict == v1alpha1.VerdictUnknown:
		s.Errors++
		c.Error = msg
	case x.Control == v1alpha1.ControlBlindRestart:
		s.Skipped++
		c.Skipped = msg
	default:
		s.Failures++
		c.Failure = msg
	}
	s.Cases = append(s.Cases, c)
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
