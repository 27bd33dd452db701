package suites

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites/detector"
)

// TestLending: while a run waits for minutes, another may have the whole host; not before, not after, and not for a short wait or where
// other people's detectors look.
func TestLending(t *testing.T) {
	minutes := func(s *scenarios.Scenario) {
		s.Metadata.Name, s.Spec.Timeouts.Manifest = "own", v1alpha1.Duration(5*time.Minute)
	}
	brief := func(s *scenarios.Scenario) {
		s.Metadata.Name, s.Spec.Timeouts.Manifest = "own", v1alpha1.Duration(time.Minute)
	}
	for _, c := range []struct {
		name   string
		sc     *scenarios.Scenario
		opts   Options
		during bool
	}{
		{"a long wait", scenario(minutes), Options{}, true},
		{"a short wait", scenario(brief), Options{}, false},
		{"known to take long", scenario(func(s *scenarios.Scenario) { s.Metadata.Name = "pleg-disk" }), Options{}, true},
		{"under controls", scenario(minutes), Options{Controls: AllOnTheWay}, false},
		{"with another detector", scenario(minutes), Options{Detectors: []detector.Entry{detector.Own(), whenIll("mine", "pleg")}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &session{Pool: &Pool{host: semaphore.NewWeighted(wholeHost)}, opts: c.opts}
			r := &run{s: s, sc: c.sc, host: newShare(s.host, c.sc)}
			free := func() bool {
				ok := s.host.TryAcquire(wholeHost)
				if ok {
					s.host.Release(wholeHost)
				}
				return ok
			}
			if err := r.host.take(t.Context()); err != nil {
				t.Fatal(err)
			}
			if free() {
				t.Error("the host is free before the wait")
			}
			err := r.lending(func(context.Context, step) error {
				if free() != c.during {
					t.Errorf("free during the wait: %v", !c.during)
				}
				return nil
			})(t.Context(), step{})
			if err != nil || free() {
				t.Errorf("after the wait the run must hold its share again: %v", err)
			}
			r.host.release()
			r.host.release()
			if !free() {
				t.Error("not given back")
			}
		})
	}
}

// TestLendingInterrupted: a run that cannot get its share back gives up, and gives back nothing that it does not hold.
func TestLendingInterrupted(t *testing.T) {
	sc := scenario(func(s *scenarios.Scenario) {
		s.Metadata.Name, s.Spec.Timeouts.Manifest = "own", v1alpha1.Duration(5*time.Minute)
	})
	s := &session{Pool: &Pool{host: semaphore.NewWeighted(wholeHost)}}
	r := &run{s: s, sc: sc, host: newShare(s.host, sc)}
	ctx, cancel := context.WithCancel(t.Context())
	if err := r.host.take(ctx); err != nil {
		t.Fatal(err)
	}
	err := r.lending(func(ctx context.Context, _ step) error {
		if err := s.host.Acquire(ctx, wholeHost); err != nil {
			t.Error(err)
		}
		cancel()
		return nil
	})(ctx, step{})
	if err == nil {
		t.Error("no error")
	}
	r.host.release()
	s.host.Release(wholeHost)
}

// TestHostBeforeTheRest: what needs the host begins as soon as those that wait for minutes lend it, and the rest after it, however the
// goroutines are scheduled.
func TestHostBeforeTheRest(t *testing.T) {
	named := func(name string, change ...func(*scenarios.Scenario)) *scenarios.Scenario {
		return scenario(append(change, func(s *scenarios.Scenario) { s.Metadata.Name = name })...)
	}
	for range 20 {
		timeless(func(t *testing.T) {
			w := newWorld(t, "w1", "w2", "w3", "w4")
			list := []*scenarios.Scenario{
				named("a"), named("b"),
				named("host", func(s *scenarios.Scenario) { s.Spec.Claims = []string{"host"} }),
				named("long", func(s *scenarios.Scenario) { s.Spec.Timeouts.Manifest = v1alpha1.Duration(5 * time.Minute) }),
			}
			rep, err := RunAll(t.Context(), fakeTestbed{w}, list, w.options())
			if err != nil || rep.Verdict != v1alpha1.VerdictPassed {
				t.Fatalf("%s, %v", rep.Verdict, err)
			}
			a, b, host := rep.Results[0], rep.Results[1], rep.Results[2]
			if a.Started.Before(host.Ended) || b.Started.Before(host.Ended) {
				t.Errorf("host ended at %s, a began at %s, b at %s", host.Ended, a.Started, b.Started)
			}
		})(t)
	}
}
