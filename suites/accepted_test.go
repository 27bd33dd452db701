package suites

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

	"github.com/sickbay-dev/sickbay/fingerprint"
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
			err := accepted(t.Context(), time.Millisecond, time.Minute, func(context.Context) error {
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
	err := accepted(t.Context(), time.Millisecond, 10*time.Millisecond, func(context.Context) error { return rules })
	if !errors.Is(err, errBound) || !strings.Contains(err.Error(), "kubernetes-admin") {
		t.Errorf("an API server that goes on forbidding: %v", err)
	}
}

// A fingerprint that could not be read as a whole is taken again, and one that never can be says what is unknown.
func TestReadable(t *testing.T) {
	bad, calls := 2, 0
	take := func(context.Context) (*fingerprint.Fingerprint, error) {
		f := fingerprint.New("api", time.Time{})
		if calls++; calls <= bad {
			f.Fail(fingerprint.Objects, errors.New("list secrets: forbidden"))
		}
		return f, nil
	}
	f, err := readable(t.Context(), time.Millisecond, time.Minute, take)
	if err != nil || calls != 3 || len(f.Unknown) != 0 {
		t.Errorf("%d calls: %v, %v", calls, f, err)
	}
	bad = 1 << 30
	if _, err := readable(t.Context(), time.Millisecond, 10*time.Millisecond, take); !errors.Is(err, errBound) || !strings.Contains(err.Error(), "objects: list secrets: forbidden") {
		t.Errorf("never readable: %v", err)
	}
	broken := errors.New("no agent")
	if _, err := readable(t.Context(), time.Millisecond, time.Minute, func(context.Context) (*fingerprint.Fingerprint, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("an error of its own: %v", err)
	}
}
