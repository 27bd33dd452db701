package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
	"github.com/sickbay-dev/sickbay/suites/detector"
)

// scoringFlags say who is scored, and how often a scenario is run.
type scoringFlags struct {
	detectors       []string
	detectorWait    time.Duration
	known           string
	repeat, retries int
}

func (f *scoringFlags) register(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.detectors, "detector", nil, "score this detector on the same faults: "+strings.Join(detector.Kinds(), ", ")+
		"; with ,name=NAME ,mapping=FILE ,timeout=30s ,act behind it (default sickbay; may be repeated)")
	fl.DurationVar(&f.detectorWait, "detector-wait", 0, "how long other detectors have after the signals of a fault (default 1m)")
	fl.StringVar(&f.known, "known-failures", "", "a file with failures that are known, why and until when: they do not fail the report")
	fl.IntVar(&f.repeat, "repeat", 1, "run each scenario so often, and report how often it passed")
	fl.IntVar(&f.retries, "retries", 0, "run a scenario that failed again, at most so often; what passes then is flaky, and no pass")
}

// scoring is what the flags ask for.
type scoring struct {
	detectors []detector.Entry
	known     []v1alpha1.KnownFailure
}

func (f *scoringFlags) scoring(list []*scenarios.Scenario) (s scoring, err error) {
	known := func(failure, cause string) bool {
		return detector.InVocabulary(failure, cause) || slices.ContainsFunc(list, func(sc *scenarios.Scenario) bool { return sc.Vocabulary.Has(failure, cause) })
	}
	for _, spec := range f.detectors {
		e, err := detector.Parse(spec, known)
		if err != nil {
			return s, err
		}
		if e.Open != nil { // a program that is not there is told before anything is made ill
			if _, err := e.Start(); err != nil {
				return s, usagef("--detector %s: %s", spec, err)
			}
		}
		s.detectors = append(s.detectors, e)
	}
	if len(s.detectors) == 0 {
		s.detectors = []detector.Entry{detector.Own()}
	}
	if err := detector.Unique(s.detectors); err != nil {
		return s, err
	}
	if f.known != "" {
		s.known, err = knownFailures(f.known, list)
	}
	return s, err
}

// knownFailures reads a list. An entry may be about scenarios that are not run now, but not about none.
func knownFailures(file string, list []*scenarios.Scenario) ([]v1alpha1.KnownFailure, error) {
	known, err := suites.LoadKnown(file, time.Now())
	if err != nil {
		return nil, err
	}
	all, err := scenarios.All()
	for i := range all {
		list = append(list, &all[i])
	}
	for i, k := range known {
		pattern := text.Glob(k.Scenario)
		if !slices.ContainsFunc(list, func(s *scenarios.Scenario) bool { return pattern.MatchString(s.Metadata.Name) }) {
			var names []string
			for _, s := range list {
				names = append(names, s.Metadata.Name)
			}
			return nil, usagef("%s: entry %d: no scenario is called %s%s `sickbay list` shows them all", file, i+1, k.Scenario, cmp.Or(text.Near(k.Scenario, names, 2), ":"))
		}
	}
	return known, err
}

// showDetectors writes what each detector made of an injection, where more than sickbay's own were asked.
func (a *app) showDetectors(w io.Writer, r v1alpha1.ScenarioResult) {
	for _, d := range r.Detectors {
		if d.Detector == detector.OwnName && len(r.Detectors) == 1 {
			continue
		}
		said := d.Reason
		if found := foundBy(d); found != "" {
			said = strings.TrimSuffix(found+"; "+said, "; ")
		}
		fmt.Fprintf(w, "  %s %s: %s\n", a.mark(d.Verdict), d.Detector, said)
		if x := d.Action; x != nil && d.Detector != detector.OwnName {
			outcome := "did not clear it: " + x.Reason
			if x.Cleared {
				outcome = "cleared it in " + progress.Elapsed(time.Duration(x.Seconds*float64(time.Second)))
			}
			fmt.Fprintf(w, "    its remedy %s\n", outcome)
		}
	}
	for _, k := range r.Known {
		fmt.Fprintf(w, "  known until %s: %s\n", k.Until, k.Why)
	}
}

func foundBy(d v1alpha1.DetectorResult) string {
	var out []string
	for _, e := range d.Expected {
		if !e.Found {
			continue
		}
		name := e.Failure
		if e.RightCause {
			name += "/" + e.Cause
		}
		out = append(out, fmt.Sprintf("found %s %.0f s after its signal", name, e.AfterSignal))
	}
	return strings.Join(out, ", ")
}

// showScores writes one line for each detector over all failures.
func showScores(w io.Writer, rep *v1alpha1.Report) {
	if len(rep.Detectors) < 2 {
		return
	}
	table(w, func(row func(...string)) {
		row("DETECTOR", "PASSED", "FOUND", "RIGHT CAUSE", "95 %", "SECONDS", "FALSE BEFORE", "DECOYS", "ELSEWHERE", "EXTRA", "CLEARED")
		for _, s := range rep.Scores {
			if s.Failure != "" {
				continue
			}
			cleared, seconds := "", ""
			if s.Action != nil {
				cleared = s.Action.Cleared.String()
			}
			if s.AfterSignal.N > 0 {
				seconds = fmt.Sprintf("%.0f", s.AfterSignal.Median)
			}
			row(s.Detector, s.Passed.String(), s.Found.String(), s.RightCause.String(), fmt.Sprintf("%.0f-%.0f %%", 100*s.Found.Low, 100*s.Found.High), seconds,
				s.FalseBaseline.String(), s.FalseDecoy.String(), s.FalseBystander.String(), s.Extra.String(), cleared)
		}
	})
	fmt.Fprintln(w)
}

// showFlakes writes what did not pass every time, and known failures that passed.
func showFlakes(w io.Writer, rep *v1alpha1.Report) {
	for _, f := range rep.Flakes {
		if f.Flaky {
			fmt.Fprintf(w, "flaky: %s passed %s times (%.0f to %.0f %%)\n", strings.TrimSpace(f.Scenario+" "+f.Detector), f.Passed, 100*f.Passed.Low, 100*f.Passed.High)
		}
	}
	for _, k := range rep.KnownPassed {
		fmt.Fprintf(w, "known, and it passed: %s; take it off the list\n", strings.TrimSpace(k.Scenario+" "+k.Detector))
	}
}
