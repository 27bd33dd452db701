package facts

import (
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

func TestRuntime(t *testing.T) {
	units := map[string]v1alpha1.Unit{"containerd": {Name: "containerd"}, "crio": {Name: "crio"}}
	for _, c := range []struct {
		name string
		r    v1alpha1.Runtime
		want string
		unit string
	}{
		{"told", v1alpha1.Runtime{Name: "containerd", Unit: "k3s-agent"}, Containerd, "k3s-agent"},
		{"of before units were told", v1alpha1.Runtime{Name: "containerd"}, Containerd, "containerd"},
		{"silent", v1alpha1.Runtime{Endpoint: "unix:///var/run/crio/crio.sock"}, CRIO, "crio"},
		{"no such unit", v1alpha1.Runtime{Endpoint: "unix:///run/cri-dockerd.sock"}, Docker, ""},
		{"unknown", v1alpha1.Runtime{}, "", ""},
	} {
		if got := Runtime(&v1alpha1.Observation{Runtime: c.r, Units: units}); got.Name != c.want || got.Unit != c.unit {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
