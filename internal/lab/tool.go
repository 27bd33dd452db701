package lab

import (
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// OfTool is a lab that a detector took, by the rules of people: it named a cause when it named the right one on the right node, and it
// solved what its own remedy cleared. One that does not act has no points.
func OfTool(c *scenarios.Course, r v1alpha1.ScenarioResult, d v1alpha1.DetectorResult) Done {
	spec := c.Of.Spec
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	rec := Record{Started: r.Started}
	var last time.Duration
	all := len(d.Expected) > 0
	for _, e := range d.Expected {
		if !e.Found || !e.RightCause || !e.RightNode {
			all = false
			continue
		}
		at := rec.Started.Add(seconds(e.Seconds))
		rec.Answers = append(rec.Answers, Answer{At: at, Name: e.Failure + "/" + e.Cause, Grade: Right})
		if rec.Named.IsZero() || at.Before(rec.Named) {
			rec.Named = at
		}
		last = max(last, seconds(e.Seconds))
	}
	for _, w := range d.Wrong {
		rec.Answers = append(rec.Answers, Answer{Name: w.Name, Grade: Wrong})
	}
	if all {
		rec.Knew = rec.Started.Add(last)
	}
	if d.Action != nil && d.Action.Cleared {
		rec.SolvedAt = rec.Started.Add(last + seconds(d.Action.Seconds))
	}
	return Done{
		Learner: "detector " + d.Detector, Code: spec.Code, Scenario: c.Metadata.Name, Topic: spec.Topic, Level: spec.Level,
		Ended: r.Ended.UTC(), Score: ScoreOf(rec, c.Of, nil), Record: rec,
	}
}
