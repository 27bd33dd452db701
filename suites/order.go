package suites

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/report"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites/detector"
)

// item is one run that a suite has to make.
type item struct {
	sc     *scenarios.Scenario
	place  int // in the list that was given
	repeat int // from 1; 0 where nothing is repeated
	host   *share
}

// items are the runs in the order in which they begin: shuffled by the seed, then by turn.
func (s *session) items(list []*scenarios.Scenario) []item {
	var out []item
	for n, sc := range list {
		if s.opts.Repeat <= 1 {
			out = append(out, item{sc: sc, place: n})
			continue
		}
		for i := range s.opts.Repeat {
			out = append(out, item{sc: sc, place: n, repeat: i + 1})
		}
	}
	if s.opts.Seed != 0 {
		rand.New(rand.NewPCG(s.opts.Seed, 0)).Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		// Repeats of one scenario are numbered as they begin.
		next := map[int]int{}
		for i := range out {
			if out[i].repeat > 0 {
				next[out[i].place]++
				out[i].repeat = next[out[i].place]
			}
		}
	}
	slices.SortStableFunc(out, func(a, b item) int { return cmp.Compare(s.turn(a.sc), s.turn(b.sc)) })
	return out
}

// turn is when a scenario begins: those that wait for minutes first, so that everything else runs beside them; then what needs the host
// for itself, while they wait, or last where they do not lend it; then what takes longer than most, so that the last to end is short.
func (s *session) turn(sc *scenarios.Scenario) int {
	switch {
	case fault.EveryNode(sc): // it waits for all others to end
		return 5
	case waitsLong(sc):
		return 0
	case fault.ClaimsHost(sc) && s.lends():
		return 1
	case fault.ClaimsHost(sc):
		return 4
	case durations()[sc.Metadata.Name] > unknownDuration:
		return 2
	}
	return 3
}

func (s *session) checkDetectors() error {
	if s.opts.Controls.control() != v1alpha1.ControlNone && slices.ContainsFunc(s.opts.Detectors, func(e detector.Entry) bool { return !e.IsOwn() }) {
		return fmt.Errorf("a control proves sickbay's own detectors and remedies: it cannot be made with others")
	}
	return detector.Unique(s.opts.Detectors)
}

// about describes the detectors for the report.
func (s *session) about() []v1alpha1.DetectorInfo {
	var out []v1alpha1.DetectorInfo
	for _, e := range s.opts.Detectors {
		out = append(out, v1alpha1.DetectorInfo{Name: e.Name, Spec: e.Spec, Role: e.Role, Acts: e.Acts})
	}
	return out
}

// until makes a run, again where it failed and may be made again. What then passes is flaky.
func (s *session) until(ctx context.Context, it item) (*v1alpha1.ScenarioResult, error) {
	var attempts []v1alpha1.Attempt
	failed := map[string]bool{} // detectors, and "" for the run
	for {
		res, err := s.one(ctx, it)
		if res == nil {
			return res, err
		}
		res.Repeat, res.Attempts = it.repeat, attempts
		excuse(s.opts.Known, res)
		now := failures(res)
		if err != nil || len(now) == 0 || len(attempts) >= s.opts.Retries {
			flaky(res, failed)
			return res, err
		}
		for _, name := range now {
			failed[name] = true
		}
		attempts = append(attempts, v1alpha1.Attempt{Run: res.Run, Verdict: res.Verdict, FailedAt: res.FailedAt, Reason: reasonOf(res, now)})
	}
}

// failures are what fails a result: "" for the run's own steps, and contestants.
func failures(res *v1alpha1.ScenarioResult) []string {
	var out []string
	if (res.Verdict == v1alpha1.VerdictFailed || res.Verdict == v1alpha1.VerdictUnknown) && !report.Excused(res, "") {
		out = append(out, "")
	}
	for _, d := range res.Detectors {
		if d.Verdict == v1alpha1.VerdictFailed && d.Role != v1alpha1.RoleReference && !report.Excused(res, d.Detector) {
			out = append(out, d.Detector)
		}
	}
	return out
}

func reasonOf(res *v1alpha1.ScenarioResult, failures []string) string {
	var why []string
	if res.Reason != "" {
		why = append(why, res.Reason)
	}
	for _, d := range res.Detectors {
		if d.Detector != detector.OwnName && slices.Contains(failures, d.Detector) {
			why = append(why, d.Detector+": "+d.Reason)
		}
	}
	return strings.Join(slices.Compact(why), "; ")
}

// flaky marks what failed in an earlier attempt and passed now.
func flaky(res *v1alpha1.ScenarioResult, failed map[string]bool) {
	if len(res.Attempts) == 0 {
		return
	}
	why := fmt.Sprintf("it passed at attempt %d; before: %s", len(res.Attempts)+1, res.Attempts[len(res.Attempts)-1].Reason)
	if failed[""] && res.Verdict == v1alpha1.VerdictPassed {
		res.Verdict, res.Reason = v1alpha1.VerdictFlaky, why
	}
	for i := range res.Detectors {
		if d := &res.Detectors[i]; failed[d.Detector] && d.Verdict == v1alpha1.VerdictPassed {
			d.Verdict, d.Reason = v1alpha1.VerdictFlaky, why
		}
	}
}
