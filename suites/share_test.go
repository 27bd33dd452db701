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
			s := &session{Pool: &Pool{host: semaphore.NewWeighted(whole)}, opts: c.opts}
			r := &run{s: s, sc: c.sc, host: newShare(s.host, false)}
			free := func() bool {
				ok := s.host.TryAcquire(whole)
				if ok {
					s.host.Release(whole)
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

// TestEveryNode: what reaches every node waits until no run has one, though these lend the host's kernel while they wait.
func TestEveryNode(t *testing.T) {
	p := newPool(nil, nil)
	long := scenario(func(s *scenarios.Scenario) { s.Spec.Timeouts.Manifest = v1alpha1.Duration(5 * time.Minute) })
	every := scenario(func(s *scenarios.Scenario) {
		s.Spec.Claims = []string{"host"}
		s.Spec.Prepare = []v1alpha1.Action{{Mechanism: "kubelet-config", On: v1alpha1.OnEveryNode}}
	})
	nodes, host := p.shares(long)
	if nodes.take(t.Context()) != nil || host.take(t.Context()) != nil {
		t.Fatal("not taken")
	}
	host.release() // lent
	all, kernel := p.shares(every)
	if kernel.weight != whole || p.nodes.TryAcquire(all.weight) {
		t.Error("it begins while a run has a node")
	}
	nodes.release()
	if !p.nodes.TryAcquire(all.weight) {
		t.Error("it does not begin when no run has a node")
	}
	s := &session{Pool: p}
	if s.turn(every) <= s.turn(long) || s.turn(every) <= s.turn(scenario()) {
		t.Error("it is not the last")
	}
}

// TestLendingInterrupted: a run that cannot get its share back gives up, and gives back nothing that it does not hold.
func TestLendingInterrupted(t *testing.T) {
	sc := scenario(func(s *scenarios.Scenario) {
		s.Metadata.Name, s.Spec.Timeouts.Manifest = "own", v1alpha1.Duration(5*time.Minute)
	})
	s := &session{Pool: &Pool{host: semaphore.NewWeighted(whole)}}
	r := &run{s: s, sc: sc, host: newShare(s.host, false)}
	ctx, cancel := context.WithCancel(t.Context())
	if err := r.host.take(ctx); err != nil {
		t.Fatal(err)
	}
	err := r.lending(func(ctx context.Context, _ step) error {
		if err := s.host.Acquire(ctx, whole); err != nil {
			t.Error(err)
		}
		cancel()
		return nil
	})(ctx, step{})
	if err == nil {
		t.Error("no error")
	}
	r.host.release()
	s.host.Release(whole)
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

// TestEveryNodeRunsAlone: no other run has a node when a scenario that reaches all of them begins, also none that lends the host's kernel.
func TestEveryNodeRunsAlone(t *testing.T) {
	named := func(name string, change ...func(*scenarios.Scenario)) *scenarios.Scenario {
		return scenario(append(change, func(s *scenarios.Scenario) { s.Metadata.Name = name })...)
	}
	timeless(func(t *testing.T) {
		w := newWorld(t, "w1", "w2", "w3", "w4")
		list := []*scenarios.Scenario{
			named("every", func(s *scenarios.Scenario) {
				s.Spec.Claims = []string{"host"}
				s.Spec.Prepare = []v1alpha1.Action{{Mechanism: "kubelet-config", On: v1alpha1.OnEveryNode}}
			}),
			named("a"),
			named("long", func(s *scenarios.Scenario) { s.Spec.Timeouts.Manifest = v1alpha1.Duration(5 * time.Minute) }),
		}
		rep, err := RunAll(t.Context(), fakeTestbed{w}, list, w.options())
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range rep.Results[1:] {
			if rep.Results[0].Started.Before(other.Ended) {
				t.Errorf("%s ended at %s, and the one for every node began at %s", other.Scenario, other.Ended, rep.Results[0].Started)
			}
		}
	})(t)
}
