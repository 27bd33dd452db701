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

// Contract runs the cases. Each asks for an agent on a clean node and for an injection: ill changes the node, idle finds it as it would
// make it.
func Contract(t *testing.T, ill, idle func(t *testing.T) (fault.Agent, injectors.Injection)) {
	complete := func(in injectors.Injection, run, id string) injectors.Injection {
		in.Run, in.ID, in.Lease = run, id, time.Minute
		return in
	}
	inject := func(t *testing.T, a fault.Agent, in injectors.Injection) *injectors.Status {
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
	listed := func(t *testing.T, a fault.Agent, id string) bool {
		t.Helper()
		list, err := a.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(list, func(s injectors.Status) bool { return s.ID == id && s.Run == Run && s.State == injectors.Injected })
	}
	t.Run("check changes nothing", func(t *testing.T) {
		a, in := ill(t)
		if _, err := a.Check(t.Context(), complete(in, Run, "a")); err != nil || listed(t, a, "a") {
			t.Error(err)
		}
	})
	t.Run("an effect is measured", func(t *testing.T) {
		a, in := ill(t)
		if st := inject(t, a, complete(in, Run, "a")); !st.Active.Present || st.Active.Text == "" {
			t.Errorf("effect %+v", st.Active)
		}
	})
	t.Run("that there is none is measured", func(t *testing.T) {
		a, in := idle(t)
		if st := inject(t, a, complete(in, Run, "a")); st.Active.Present {
			t.Errorf("effect %+v", st.Active)
		}
	})
	t.Run("status lists it until it is recovered, once", func(t *testing.T) {
		a, in := ill(t)
		inject(t, a, complete(in, Run, "a"))
		if !listed(t, a, "a") {
			t.Error("not listed")
		}
		if err := a.Renew(t.Context(), Run, time.Minute); err != nil {
			t.Error(err)
		}
		got, err := a.Recover(t.Context(), Run, "a")
		if err != nil || len(got) != 1 || got[0].State != injectors.Recovered || len(got[0].Undone) == 0 {
			t.Errorf("recovered %+v, %v", got, err)
		}
		if again, err := a.Recover(t.Context(), Run, ""); err != nil || len(again) > 0 || listed(t, a, "a") {
			t.Errorf("again %+v, %v", again, err)
		}
	})
	t.Run("an id is injected once", func(t *testing.T) {
		a, in := ill(t)
		inject(t, a, complete(in, Run, "a"))
		if _, err := a.Inject(t.Context(), complete(in, Run, "a")); err == nil {
			t.Error("no error")
		}
	})
	t.Run("a node is one run's", func(t *testing.T) {
		a, in := ill(t)
		inject(t, a, complete(in, Run, "a"))
		if _, err := a.Inject(t.Context(), complete(in, Run+"-other", "b")); err == nil {
			t.Error("no error")
		}
		if got, err := a.Recover(t.Context(), Run+"-other", ""); err != nil || len(got) > 0 || !listed(t, a, "a") {
			t.Errorf("another run's recovery undid %+v, %v", got, err)
		}
	})
}
