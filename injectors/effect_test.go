package injectors_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/sickbay-dev/sickbay/injectors"
)

// TestInjectMeasuresItsEffect: every injection ends with a measurement that says what changed. Only what readies the node for
// plugin devices changes nothing until the scenario's workload runs: it is a preparation.
func TestInjectMeasuresItsEffect(t *testing.T) {
	prepare := map[string]string{"fill-disk": `{"size":"300Mi"}`, "freeze-filesystem": `{"size":"300Mi"}`}
	for _, f := range append(slices.Clone(faults), guestFaults...) {
		t.Run(f.mechanism+f.params, func(t *testing.T) {
			n := newNode()
			if slices.Contains(guestFaults, f) {
				n = newGuest()
			}
			in := injectors.New(parts(n), "/agent")
			if p := prepare[f.mechanism]; p != "" {
				if f.params == `{"path":"/var/lib/kubelet","leavePercent":3}` {
					p = faults[1].params
				}
				if _, err := in.Inject(t.Context(), injectors.Injection{ID: "p", Run: "r", Mechanism: "dedicated-filesystem", Params: json.RawMessage(p)}); err != nil {
					t.Fatal(err)
				}
			}
			st, err := in.Inject(t.Context(), injectors.Injection{ID: "a", Run: "r", Mechanism: f.mechanism, Params: json.RawMessage(f.params), Signed: signed})
			if err != nil {
				t.Fatal(err)
			}
			want := f.params != `{"action":"devices"}`
			if st.Active == nil || st.Active.Present != want || want == (st.Active.Text == "") {
				t.Errorf("effect: %+v", st.Active)
			}
		})
	}
}

// A containerd 1 names no driver: with a wrapper its kubelet, which goes by its own configuration, and what runs would still agree.
func TestDriverMismatchWithoutRuntimeConfig(t *testing.T) {
	n := newNode()
	n.Containerd = "v1.7.29"
	if _, err := injectors.New(parts(n), "/agent").Inject(t.Context(), injectors.Injection{ID: "a", Run: "r", Mechanism: "cgroup-driver", Params: json.RawMessage(`{"way":"wrapper"}`), Signed: signed}); err != nil {
		t.Fatal(err)
	}
	if b, err := n.Read("/var/lib/kubelet/config.yaml"); err != nil || !strings.Contains(string(b), "cgroupDriver: cgroupfs") {
		t.Errorf("the kubelet's configuration: %v\n%s", err, b)
	}
	if b, err := n.Read("/etc/containerd/config.toml"); err != nil || strings.Contains(string(b), "SystemdCgroup = false") {
		t.Errorf("the runtime's: %v\n%s", err, b)
	}
}
