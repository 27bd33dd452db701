package testbed

import (
	"testing"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// TestOwnPodsAreNotSeen: the pod by which a node is read is on it while it is read.
func TestOwnPodsAreNotSeen(t *testing.T) {
	o := &v1alpha1.Observation{}
	for _, pod := range []string{"sickbay-debug-n1-x", "shop"} {
		o.Runtime.Sandboxes = append(o.Runtime.Sandboxes, v1alpha1.Sandbox{Name: pod})
		o.Runtime.Containers = append(o.Runtime.Containers, v1alpha1.Container{Pod: pod})
		o.Containers = append(o.Containers, v1alpha1.ContainerUsage{Pod: pod})
	}
	withoutDebugPods(o)
	if len(o.Runtime.Sandboxes) != 1 || len(o.Runtime.Containers) != 1 || len(o.Containers) != 1 || o.Containers[0].Pod != "shop" {
		t.Errorf("%+v", o)
	}
}
