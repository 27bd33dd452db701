package vm

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/sickbay-dev/sickbay/internal/platform/buildcache"
)

// Prune removes disks from the cache, the longest unused first, until no more than Options.Limit bytes are left; with all set,
// every one. Those that the guest that is up rests on stay in any case.
func Prune(ctx context.Context, o Options, all bool) ([]buildcache.Kept, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(o.Dir); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if all {
		o.Limit = 0
	}
	// Nobody boots, and nobody builds, what is about to go.
	unlock, err := lockGuest(ctx, o)
	if err != nil {
		return nil, err
	}
	defer unlock()
	release, err := newCache(o).Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return prune(o, func(string) bool { return false })
}

// prune removes what is beyond the limit and not needed. The caller holds the lock of the cache, or has nothing to build.
func prune(o Options, needed func(name string) bool) ([]buildcache.Kept, error) {
	c := newCache(o)
	all, err := c.List()
	if err != nil {
		return nil, err
	}
	var used []string
	if s, err := load(o.guest()); err == nil && s.Alive() {
		used = s.Parts
	}
	var removed []buildcache.Kept
	for _, k := range buildcache.Surplus(all, o.Limit, func(name string) bool { return needed(name) || slices.Contains(used, name) }) {
		if err := c.Remove(k.Name); err != nil {
			return removed, err
		}
		removed = append(removed, k)
	}
	return removed, nil
}
