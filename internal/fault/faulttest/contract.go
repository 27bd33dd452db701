// Package faulttest holds what every fault.Agent has to do: a node's own, and the one that tests put in its place.
package faulttest

import (
	"slices"
	"testing"
	"time"

	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/fault"
)

// Run is the run that the contract injects for.
const Run = "contract-abcde"

// node gives an agent on a clean node and an injection.
type node func(t *testing.T) (fault.Agent, injectors.Injection)

// Contract runs the cases. Each asks for an agent on a clean node and for an injection: ill changes the node, idle finds it as it would
// make it.
func Contract(t *testing.T, ill, idle func(t *testing.T) (fault.Agent, injectors.Injection)) {
	for name, c := range map[string]struct {
		on   node
		test func(*testing.T, fault.Agent, injectors.Injection)
	}{
		"check changes nothing":                       {ill, checkChangesNothing},
		"an effect is measured":                       {ill, effect(true)},
		"that there is none is measured":              {idle, effect(false)},
		"status lists it until it is recovered, once": {ill, recoverOnce},
		"an id is injected once":                      {ill, injectOnce},
		"a node is one run's":                         {ill, oneRun},
	} {
		t.Run(name, func(t *testing.T) {
			a, in := c.on(t)
			in.Run, in.ID, in.Lease = Run, "a", time.Minute
			c.test(t, a, in)
		})
	}
}

func inject(t *testing.T, a fault.Agent, in injectors.Injection) *injectors.Status {
	t.Helper()
	st, err := a.Inject(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if st.State != injectors.Injected || st.Active == nil {
		t.Fatalf("state %s, effect %v: it must be injected and measured", st.State, st.Active)
	}
	return st
}

func listed(t *testing.T, a fault.Agent) bool {
	t.Helper()
	list, err := a.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(list, func(s injectors.Status) bool { return s.ID == "a" && s.Run == Run && s.State == injectors.Injected })
}

func checkChangesNothing(t *testing.T, a fault.Agent, in injectors.Injection) {
	if _, err := a.Check(t.Context(), in); err != nil || listed(t, a) {
		t.Error(err)
	}
}

func effect(want bool) func(*testing.T, fault.Agent, injectors.Injection) {
	return func(t *testing.T, a fault.Agent, in injectors.Injection) {
		if st := inject(t, a, in); st.Active.Present != want || want && st.Active.Text == "" {
			t.Errorf("effect %+v", st.Active)
		}
	}
}

func recoverOnce(t *testing.T, a fault.Agent, in injectors.Injection) {
	inject(t, a, in)
	if !listed(t, a) {
		t.Error("not listed")
	}
	if err := a.Renew(t.Context(), Run, time.Minute); err != nil {
		t.Error(err)
	}
	got, err := a.Recover(t.Context(), Run, "a")
	if err != nil || len(got) != 1 || got[0].State != injectors.Recovered || len(got[0].Undone) == 0 {
		t.Errorf("recovered %+v, %v", got, err)
	}
	if again, err := a.Recover(t.Context(), Run, ""); err != nil || len(again) > 0 || listed(t, a) {
		t.Errorf("again %+v, %v", again, err)
	}
}

func injectOnce(t *testing.T, a fault.Agent, in injectors.Injection) {
	inject(t, a, in)
	if _, err := a.Inject(t.Context(), in); err == nil {
		t.Error("no error")
	}
}

func oneRun(t *testing.T, a fault.Agent, in injectors.Injection) {
	inject(t, a, in)
	in.Run, in.ID = Run+"-other", "b"
	if _, err := a.Inject(t.Context(), in); err == nil {
		t.Error("no error")
	}
	if got, err := a.Recover(t.Context(), Run+"-other", ""); err != nil || len(got) > 0 || !listed(t, a) {
		t.Errorf("another run's recovery undid %+v, %v", got, err)
	}
}
