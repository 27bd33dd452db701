package injectors_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sickbay-dev/sickbay/injectors"
)

// TestSweepTakesPreparationsLast: when the lease is over the fault goes at once, and what was prepared for it when the run's pods have
// had time to go.
func TestSweepTakesPreparationsLast(t *testing.T) {
	ctx := t.Context()
	n := newNode()
	start := n.Dump(true)
	in := injectors.New(parts(n), "/agent")
	for _, inj := range []injectors.Injection{
		{ID: "p", Mechanism: "dedicated-filesystem", Params: json.RawMessage(`{"size":"300Mi"}`), Prepared: true},
		{ID: "i", Mechanism: "cni-config", Params: json.RawMessage(`{}`)},
	} {
		inj.Run, inj.Lease = "r", time.Minute
		if _, err := in.Inject(ctx, inj); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (ids string) {
		t.Helper()
		if _, err := in.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		list, err := in.List(ctx, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			ids += s.ID
		}
		return ids
	}
	for _, c := range []struct {
		pass time.Duration
		want string
	}{{50 * time.Second, "pi"}, {15 * time.Second, "p"}, {20 * time.Second, "p"}, {10 * time.Second, ""}} {
		n.Pass(c.pass)
		if got := left(); got != c.want {
			t.Fatalf("after %s more there is %q, want %q", c.pass, got, c.want)
		}
	}
	if diff := cmp.Diff(start, n.Dump(true)); diff != "" {
		t.Errorf("swept, and yet different:\n%s", diff)
	}
}
