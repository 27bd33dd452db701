// Package retry asks again: a condition that comes later, a call that an API server refuses while it starts. It knows nothing of
// what is asked.
package retry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
)

// ErrBound says that a condition did not come within its bound.
var ErrBound = errors.New("not within its bound")

// Until asks f until it says yes. An error of f is kept and f asked again until the bound: while a node is ill, single calls may
// fail. At the bound the result wraps ErrBound and f's last error, if any.
func Until(ctx context.Context, every, bound time.Duration, f func(context.Context) (bool, error)) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, every, bound, true, func(inner context.Context) (bool, error) {
		yes, err := f(inner)
		if !yes && inner.Err() == nil {
			last = err
		}
		return yes, nil
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return ctx.Err()
	case last != nil:
		return fmt.Errorf("%w of %s: %w", ErrBound, bound, last)
	default:
		return fmt.Errorf("%w of %s", ErrBound, bound)
	}
}

// Accepted makes a call of the API until it is accepted, at most for bound. An API server that starts anew refuses connections, and
// once it listens forbids even its administrator everything until it has read its rules: that passes. Any other error is final.
func Accepted(ctx context.Context, every, bound time.Duration, call func(context.Context) error) error {
	var final error
	err := Until(ctx, every, bound, func(ctx context.Context) (bool, error) {
		err := call(ctx)
		if err != nil && !refusedForNow(err) {
			final = err
			return true, nil
		}
		return err == nil, err
	})
	return errors.Join(final, err)
}

// refusedForNow recognizes an error of a call that was not carried out, and may be later.
func refusedForNow(err error) bool {
	rules := false
	if status := apierrors.APIStatus(nil); apierrors.IsForbidden(err) && errors.As(err, &status) {
		// RBAC's own words; of discovery's calls the client keeps none. Admission forbids, too: a quota, a pod's security standard; that
		// does not pass.
		m := status.Status().Message
		rules = strings.Contains(m, "cannot ") && strings.Contains(m, " in API group ") || m == "unknown"
	}
	return rules || apierrors.IsServiceUnavailable(err) || apierrors.IsTooManyRequests(err) || utilnet.IsConnectionRefused(err)
}

// Within makes one call with a bound of its own.
func Within[A any](ctx context.Context, bound time.Duration, f func(context.Context) (A, error)) (A, error) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	return f(ctx)
}

// Sleep waits, or returns ctx's error.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
