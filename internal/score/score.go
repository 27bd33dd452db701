// Package score sums what detectors made of injections: rates with their intervals, times, false findings, and how often repeated runs pass.
// It knows reports and nothing else, so that merged reports are summed as those of one run.
package score

import (
	"math"
	"slices"
	"strings"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// Fill sets what a report sums over its results: the scores and the flake rates.
func Fill(rep *v1alpha1.Report) {
	rep.Scores, rep.Flakes = Of(rep), flakes(rep)
}

// Of are the scores of a report's detectors: over all failures first, then for each failure in the order in which it is met. Results of
// which nothing could be told are left out.
func Of(rep *v1alpha1.Report) []v1alpha1.Score {
	var out []v1alpha1.Score
	for _, d := range rep.Detectors {
		all := newSum(d.Name, "")
		var failures []string
		each := map[string]*sum{}
		for i := range rep.Results {
			r, dr := &rep.Results[i], resultOf(&rep.Results[i], d.Name)
			if dr == nil || dr.Verdict == v1alpha1.VerdictUnknown {
				continue
			}
			all.add(r, dr, dr.Expected)
			for failure, part := range byFailure(dr.Expected) {
				if each[failure] == nil {
					each[failure] = newSum(d.Name, failure)
					failures = append(failures, failure)
				}
				each[failure].add(r, dr, part)
			}
		}
		out = append(out, all.score())
		for _, f := range slices.Sorted(slices.Values(failures)) {
			out = append(out, each[f].score())
		}
	}
	return out
}

func resultOf(r *v1alpha1.ScenarioResult, name string) *v1alpha1.DetectorResult {
	for i := range r.Detectors {
		if r.Detectors[i].Detector == name {
			return &r.Detectors[i]
		}
	}
	return nil
}

func byFailure(list []v1alpha1.Detected) map[string][]v1alpha1.Detected {
	out := map[string][]v1alpha1.Detected{}
	for _, e := range list {
		out[e.Failure] = append(out[e.Failure], e)
	}
	return out
}

// sum is a score in the making.
type sum struct {
	v1alpha1.Score
	after  []float64
	action v1alpha1.ActionScore
	acted  bool
	clear  []float64
}

func newSum(detector, failure string) *sum {
	return &sum{Score: v1alpha1.Score{Detector: detector, Failure: failure}}
}

func (s *sum) add(r *v1alpha1.ScenarioResult, d *v1alpha1.DetectorResult, expected []v1alpha1.Detected) {
	decoy := r.Profile == v1alpha1.ProfileDecoy
	if !decoy {
		count(&s.Passed, Right(d))
	}
	for _, e := range expected {
		count(&s.Found, e.Found)
		count(&s.RightCause, e.RightCause)
		count(&s.RightNode, e.RightNode)
		if e.Found {
			s.after = append(s.after, e.AfterSignal)
		}
	}
	in := func(p v1alpha1.WrongPlace) bool {
		return slices.ContainsFunc(d.Wrong, func(w v1alpha1.WrongFinding) bool { return w.Place == p })
	}
	count(&s.FalseBaseline, in(v1alpha1.WrongBaseline))
	count(&s.FalseBystander, in(v1alpha1.WrongBystander))
	if decoy {
		count(&s.FalseDecoy, in(v1alpha1.WrongDecoy))
	} else {
		count(&s.Extra, in(v1alpha1.WrongVictim))
	}
	s.Looks += d.Looks
	s.Errors += len(d.Errors)
	if a := d.Action; a != nil {
		s.act(a)
	}
}

// Right tells whether a detector named what is expected and nothing else. A control passes by not doing so.
func Right(d *v1alpha1.DetectorResult) bool {
	return d.Role != v1alpha1.RoleControl && (d.Verdict == v1alpha1.VerdictPassed || d.Verdict == v1alpha1.VerdictFlaky)
}

func (s *sum) act(a *v1alpha1.ActionResult) {
	s.acted = true
	count(&s.action.Cleared, a.Cleared)
	switch {
	case !a.Acted:
	case a.CauseRight:
		count(&s.action.ClearedRightCause, a.Cleared)
	default:
		count(&s.action.ClearedWrongCause, a.Cleared)
	}
	if a.Cleared {
		s.clear = append(s.clear, a.Seconds)
	}
	s.action.PodsKilled += len(a.PodsKilled)
	s.action.Restarts += a.Restarts
	if len(a.Residue) > 0 {
		s.action.Residue++
	}
}

func (s *sum) score() v1alpha1.Score {
	out := s.Score
	out.AfterSignal = spread(s.after)
	for _, r := range []*v1alpha1.Rate{&out.Passed, &out.Found, &out.RightCause, &out.RightNode, &out.FalseBaseline, &out.FalseDecoy, &out.FalseBystander, &out.Extra} {
		r.Low, r.High = Wilson(r.N, r.Of)
	}
	if s.acted {
		a := s.action
		a.Seconds = spread(s.clear)
		for _, r := range []*v1alpha1.Rate{&a.Cleared, &a.ClearedRightCause, &a.ClearedWrongCause} {
			r.Low, r.High = Wilson(r.N, r.Of)
		}
		out.Action = &a
	}
	return out
}

func count(r *v1alpha1.Rate, yes bool) {
	r.Of++
	if yes {
		r.N++
	}
}

// Wilson is the 95 % interval of n of many by Wilson's score method, which also holds for few and for all or none.
func Wilson(n, of int) (low, high float64) {
	if of == 0 {
		return 0, 0
	}
	const z = 1.959964
	p, m := float64(n)/float64(of), float64(of)
	mid := p + z*z/(2*m)
	half := z * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	round := func(x float64) float64 { return math.Round(min(max(x/(1+z*z/m), 0), 1)*1e4) / 1e4 }
	return round(mid - half), round(mid + half)
}

func spread(list []float64) v1alpha1.Spread {
	if len(list) == 0 {
		return v1alpha1.Spread{}
	}
	list = slices.Sorted(slices.Values(list))
	mid := list[len(list)/2]
	if len(list)%2 == 0 {
		mid = (list[len(list)/2-1] + mid) / 2
	}
	return v1alpha1.Spread{N: len(list), Median: mid, Min: list[0], Max: list[len(list)-1]}
}

// flakes are there where a scenario was run more than once. A pass at a retry counts as one of each.
func flakes(rep *v1alpha1.Report) []v1alpha1.FlakeRate {
	type key struct{ scenario, detector string }
	var order []key
	rates, runs := map[key]*v1alpha1.Rate{}, map[key]int{}
	add := func(k key, v v1alpha1.Verdict) {
		if v == v1alpha1.VerdictUnsupported || v == v1alpha1.VerdictSkipped {
			return
		}
		if rates[k] == nil {
			rates[k] = &v1alpha1.Rate{}
			order = append(order, k)
		}
		runs[k]++
		if v == v1alpha1.VerdictFlaky {
			runs[k]++
			count(rates[k], false)
			v = v1alpha1.VerdictPassed
		}
		count(rates[k], v == v1alpha1.VerdictPassed)
	}
	for _, r := range rep.Results {
		if r.Control != v1alpha1.ControlNone {
			continue
		}
		add(key{r.Named(), ""}, r.Verdict)
		for _, d := range r.Detectors {
			add(key{r.Named(), d.Detector}, d.Verdict)
		}
	}
	var out []v1alpha1.FlakeRate
	slices.SortStableFunc(order, func(a, b key) int {
		return strings.Compare(a.scenario+"\x00"+a.detector, b.scenario+"\x00"+b.detector)
	})
	for _, k := range order {
		if runs[k] < 2 {
			continue
		}
		r := *rates[k]
		r.Low, r.High = Wilson(r.N, r.Of)
		out = append(out, v1alpha1.FlakeRate{Scenario: k.scenario, Detector: k.detector, Passed: r, Flaky: r.N > 0 && r.N < r.Of})
	}
	return out
}
