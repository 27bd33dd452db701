package testbed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/fingerprint"
	"github.com/sickbay-dev/sickbay/internal/retry"
)

// readable takes a fingerprint again until all of it can be read, at most for bound: what is unknown in the first one would differ
// from all that follow. An error of take itself is final. The bound is none of take's: on a busy machine one fingerprint may take longer.
func readable(ctx context.Context, every, bound time.Duration, take func(context.Context) (*fingerprint.Fingerprint, error)) (*fingerprint.Fingerprint, error) {
	var f *fingerprint.Fingerprint
	var final error
	err := retry.Until(ctx, every, bound, func(context.Context) (bool, error) {
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
