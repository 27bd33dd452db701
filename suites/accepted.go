package suites

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/sickbay-dev/sickbay/internal/fingerprint"
)

// accepted makes a call of the API until it is accepted, at most for bound. An API server that starts anew refuses connections, and
// once it listens forbids even its administrator everything until it has read its rules: that passes. Any other error is final.
func accepted(ctx context.Context, every, bound time.Duration, call func(context.Context) error) error {
	var final error
	err := poll(ctx, every, bound, func(ctx context.Context) (bool, error) {
		err := call(ctx)
		if err != nil && !refusedForNow(err) {
			final = err
			return true, nil
		}
		return err == nil, err
	})
	return errors.Join(final, err)
}

// refusedForNow tells an error of a call that was not carried out, and may be later.
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

// readable takes a fingerprint again until all of it can be read, at most for bound: what is unknown in the first one would differ
// from all that follow. An error of take itself is final. The bound is none of take's: on a busy machine one fingerprint may take longer.
func readable(ctx context.Context, every, bound time.Duration, take func(context.Context) (*fingerprint.Fingerprint, error)) (*fingerprint.Fingerprint, error) {
	var f *fingerprint.Fingerprint
	var final error
	err := poll(ctx, every, bound, func(context.Context) (bool, error) {
		if f, final = take(ctx); final != nil {
			return true, nil
		}
		var unread []string
		for area, why := range f.Unknown {
			unread = append(unread, area+": "+why)
		}
		if len(unread) == 0 {
			return true, nil
		}
		slices.Sort(unread)
		return false, fmt.Errorf("could not be read: %s", strings.Join(unread, "; "))
	})
	return f, errors.Join(final, err)
}
