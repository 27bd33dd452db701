package injectors_test

import (
	"encoding/json"
	"testing"

	"github.com/sickbay-dev/sickbay/injectors"
)

// A runtime that was restarted on its full disk has lost containers, which hold the filesystem from mount namespaces of their own.
func TestDedicatedFilesystemGoesUnderLostContainers(t *testing.T) {
	for _, lost := range []bool{false, true} {
		ctx := t.Context()
		n := newNode()
		n.StartPod("kube-system", "older")
		in := injectors.New(parts(n), "/var/lib/sickbay/agent-test")
		_, err := in.Inject(ctx, injectors.Injection{ID: "r-p1", Run: "r", Mechanism: "dedicated-filesystem", Prepared: true, Params: json.RawMessage(`{"size":"300Mi"}`)})
		if err != nil {
			t.Fatal(err)
		}
		before, err := n.Processes()
		if err != nil {
			t.Fatal(err)
		}
		n.StartPod("lab", "app")
		if lost {
			n.Forget()
		}
		st, err := in.Recover(ctx, injectors.Selector{All: true})
		if err != nil || len(st) != 1 || st[0].State != injectors.Recovered {
			t.Fatalf("lost %v: %+v, %v", lost, st, err)
		}
		after, err := n.Processes()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range before {
			still := false
			for _, q := range after {
				still = still || p.PID == q.PID
			}
			if !still && len(p.Command) > 0 && p.Command[0] == "/app/older" {
				t.Errorf("lost %v: a container that was there before has ended", lost)
			}
		}
	}
}
