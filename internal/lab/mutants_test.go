package lab

import (
	"errors"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	ktesting "k8s.io/client-go/testing"
)

// TestScaleDownConflict: a controller that writes the deployment's status at that moment is no reason to give up.
func TestScaleDownConflict(t *testing.T) {
	f := newFakeCluster(t)
	conflicts := 2
	f.kube.PrependReactor("update", "deployments", func(a ktesting.Action) (bool, runtime.Object, error) {
		if conflicts--; conflicts < 0 {
			return false, nil, nil
		}
		return true, nil, apierrors.NewConflict(appsv1.Resource("deployments"), "shop", errors.New("the object has been modified"))
	})
	if _, err := scaleDown(t.Context(), f.world(t)); err != nil || conflicts > 0 {
		t.Errorf("%v, %d conflicts left", err, conflicts)
	}
}
