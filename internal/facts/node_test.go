package facts_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/internal/detectorstest"
	"github.com/sickbay-dev/sickbay/internal/facts"
)

// A kubelet with a long lease renews it seldom, and is not silent for that.
func TestSilentByTheLeaseItself(t *testing.T) {
	for _, c := range []struct {
		lease int32
		age   time.Duration
		want  bool
	}{{0, 20 * time.Second, false}, {40, 26 * time.Second, true}, {16, 20 * time.Second, false}, {16, 26 * time.Second, true}, {160, 38 * time.Second, false}, {160, 90 * time.Second, true}} {
		o := detectorstest.Healthy()
		spec := &o.API.Lease.Spec
		spec.RenewTime, spec.LeaseDurationSeconds = &metav1.MicroTime{Time: o.API.ServerDate.Add(-c.age)}, nil
		if c.lease != 0 {
			spec.LeaseDurationSeconds = &c.lease
		}
		if got := facts.Silent(o); got != c.want {
			t.Errorf("a lease of %d s, renewed %s ago: silent is %t", c.lease, c.age, got)
		}
	}
}
