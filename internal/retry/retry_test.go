package retry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

var namespaces = schema.GroupResource{Resource: "namespaces"}

// What a starting API server says is asked again, as the words of a real one had it; any other error is final at once.
func TestAccepted(t *testing.T) {
	rules := apierrors.NewForbidden(namespaces, "", errors.New(`User "kubernetes-admin" cannot create resource "namespaces" in API group "" at the cluster scope`))
	for _, tc := range []struct {
		name  string
		err   error
		calls int
	}{
		{"its rules are not read yet", rules, 3},
		{"nobody listens", fmt.Errorf("dial tcp: %w", syscall.ECONNREFUSED), 3},
		{"not ready", apierrors.NewServiceUnavailable("starting"), 3},
		{"a quota", apierrors.NewForbidden(namespaces, "x", errors.New("exceeded quota: compute")), 1},
		{"it is there", apierrors.NewAlreadyExists(namespaces, "x"), 1},
		// It may have been carried out.
		{"it ended in the middle", errors.New("EOF"), 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			calls := 0
			err := Accepted(t.Context(), time.Millisecond, time.Minute, func(context.Context) error {
				if calls++; calls < 3 {
					return tc.err
				}
				return nil
			})
			if calls != tc.calls {
				t.Errorf("%d calls, want %d", calls, tc.calls)
			}
			if final := tc.calls == 1; final != errors.Is(err, tc.err) || !final && err != nil {
				t.Errorf("%v", err)
			}
		})
	}
	err := Accepted(t.Context(), time.Millisecond, 10*time.Millisecond, func(context.Context) error { return rules })
	if !errors.Is(err, ErrBound) || !strings.Contains(err.Error(), "kubernetes-admin") {
		t.Errorf("an API server that goes on forbidding: %v", err)
	}
}
