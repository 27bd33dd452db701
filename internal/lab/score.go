package lab

import (
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// Grade is how right an answer is.
type Grade string

// The grades.
const (
	Right     Grade = "right"
	RightPart Grade = "part" // the failure without its cause, or one of several
	Wrong     Grade = "wrong"
)

// GradeAnswer compares FAILURE or FAILURE/CAUSE with what the lab is about.
func GradeAnswer(answer string, expect []v1alpha1.Expected) Grade {
	failure, cause, named := strings.Cut(answer, "/")
	part := Wrong
	for _, e := range expect {
		if e.Failure != failure {
			continue
		}
		if named && e.Cause == cause {
			return Right
		}
		if !named {
			part = RightPart
		}
	}
	return part
}

// Missing are how many causes nobody has named yet.
func Missing(answers []Answer, expect []v1alpha1.Expected) int {
	named := map[string]bool{}
	for _, a := range answers {
		if a.Grade == Right {
			named[a.Name] = true
		}
	}
	n := 0
	for _, e := range expect {
		if !named[e.Failure+"/"+e.Cause] {
			n++
		}
	}
	return n
}

// Score is a lab in numbers.
type Score struct {
	Points     int           `json:"points"`               // of 100
	Detect     time.Duration `json:"detect,omitempty"`     // to the first right answer
	Mitigate   time.Duration `json:"mitigate,omitempty"`   // until the referee said solved
	Hints      int           `json:"hints"`                // taken
	Wrong      int           `json:"wrong"`                // answers
	Disruption int           `json:"disruption,omitempty"` // workarounds that were tried
	Residue    []string      `json:"residue,omitempty"`    // what the learner has left on the node
	Solved     bool          `json:"solved"`
}

// What costs how much of 100 points.
const (
	costHint    = 10
	costWrong   = 5
	costUnnamed = 10
	costRefused = 5
	costResidue = 5 // each, and
	mostResidue = 20
)

// ScoreOf counts a record.
func ScoreOf(r Record, l *v1alpha1.Lab, residue []string) Score {
	s := Score{Hints: r.Hints, Residue: residue, Solved: !r.SolvedAt.IsZero() && r.Shown == 0}
	for _, a := range r.Answers {
		if a.Grade == Wrong {
			s.Wrong++
		}
	}
	for _, x := range r.Refused {
		if x != string(v1alpha1.RefusedStillIll) {
			s.Disruption++
		}
	}
	if !r.Named.IsZero() {
		s.Detect = r.Clock(r.Named)
	}
	if r.SolvedAt.IsZero() {
		return s
	}
	s.Mitigate = r.Clock(r.SolvedAt)
	if !s.Solved {
		return s
	}
	s.Points = 100 - costHint*s.Hints - costWrong*s.Wrong - costRefused*s.Disruption - min(costResidue*len(residue), mostResidue)
	if r.Named.IsZero() {
		s.Points -= costUnnamed
	}
	if over := s.Mitigate - time.Duration(l.Spec.Minutes)*time.Minute; over > 0 {
		s.Points -= int(over.Minutes())
	}
	s.Points = max(0, s.Points)
	return s
}
