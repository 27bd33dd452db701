// Package web is another face of the verbs of `sickbay lab`: a page for each learner, with a terminal, and one for who teaches them.
//
// It knows labs and no cluster: what a page shows and does goes through a Desk, which works as the verbs do.
package web

import (
	"context"
	"os/exec"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/lab"
)

// Desk is one learner's cluster and the lab on it. Its calls may come at the same time.
type Desk interface {
	// Lab is how it stands, and nil where there is none. It asks nothing of the nodes.
	Lab(ctx context.Context) (*Lab, error)
	Symptoms(ctx context.Context) (lab.Symptoms, error)
	Start(ctx context.Context, c Choice) error
	// Hint takes the next one, if there is one.
	Hint(ctx context.Context) error
	Answer(ctx context.Context, name string) error
	Check(ctx context.Context, detail func(string)) (lab.Verdict, error)
	// Pause stops the clock, Resume starts it again.
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
	// Reset makes the same fault anew.
	Reset(ctx context.Context) error
	// Step is the next one of the remedy: the lab has no score any more.
	Step(ctx context.Context) (Step, error)
	// Progress is how many labs were stopped so far, and their points.
	Progress() (labs, points int)
	// Stop undoes everything. There is no debrief of a lab whose start was cut short.
	Stop(ctx context.Context, language string) (*lab.Debrief, error)
	// Shell is a command that was not started; ended is called after it.
	Shell(ctx context.Context, node string, record bool) (sh *exec.Cmd, ended func(), err error)
}

// Choice says which lab to start: a code, or one that is drawn.
type Choice struct {
	Code  string `json:"code"`
	Level int    `json:"level"` // 0 for any
	Seed  uint64 `json:"-"`
}

// Lab is a lab as its pages show it: nothing of it tells the cause.
type Lab struct {
	Code    string          `json:"code"`
	Topic   string          `json:"topic"`
	Level   int             `json:"level"`
	Minutes int             `json:"minutes"`
	Page    string          `json:"page"`
	Story   v1alpha1.Text   `json:"story"`
	Phase   lab.Phase       `json:"phase"`
	Seconds int             `json:"seconds"` // on the clock
	Hints   []v1alpha1.Text `json:"hints"`   // that were taken
	Rungs   int             `json:"rungs"`   // there are
	Answers []lab.Answer    `json:"answers"`
	Left    int             `json:"left"` // causes that nobody has named yet
	Nodes   []string        `json:"nodes"`
	Home    string          `json:"home"` // the node with kubectl
	// Over says why the lab does not go on.
	Over string `json:"over,omitempty"`
}

// Step is one of the remedy, for the learner to type.
type Step struct {
	N    int    `json:"n"`
	Of   int    `json:"of"`
	Name string `json:"name"` // of the remedy
	Why  string `json:"why"`
	On   string `json:"on"` // the node, where it is not any
	Run  string `json:"run"`
}

// Debrief is one with what its texts need.
type Debrief struct {
	*lab.Debrief
	Knew  string // when the detectors did
	Lines []Line
	Named string
	Fixed string
	Again string
}

// Line is one of a timeline.
type Line struct{ After, Kind, Text string }

func debrief(d *lab.Debrief) *Debrief {
	if d == nil {
		return nil
	}
	out := &Debrief{Debrief: d, Knew: d.Took(d.Knew), Named: d.Took(d.Score.Detect), Fixed: d.Took(d.Score.Mitigate), Again: d.Again()}
	for _, e := range d.Timeline {
		out.Lines = append(out.Lines, Line{d.After(e.At), e.Kind, e.Text})
	}
	return out
}

// Nudge is a word of the teacher's.
type Nudge struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}
