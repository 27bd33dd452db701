package suites

import (
	"context"
	"fmt"
	"strings"

	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/retry"
)

// residue undoes what is left and proves that the node is as it was. After a run whose remedy cleared the fault, recover
// must have found nothing left to do, but what the scenario declares as prepared.
func (r *run) residue(ctx context.Context, st step, cleared bool) error {
	undone, err := r.fault.Undo(ctx)
	if err != nil {
		return err
	}
	var extra []string
	for _, u := range undone {
		st.saw("recover undid: %s", u.Text)
		if !u.Prepared {
			extra = append(extra, u.Text)
		}
	}
	if len(undone) == 0 {
		st.saw("recover found nothing left to do")
	}
	if cleared && len(extra) > 0 {
		return fault.Failf("the node looked cleared, but recover still had to undo: %s", strings.Join(extra, "; "))
	}
	if r.fingerprint == nil {
		return nil
	}
	r.detail("comparing fingerprints of node %s", r.victim)
	var changes []string
	err = retry.Until(ctx, 2*r.t.Poll, r.t.Settle, func(ctx context.Context) (bool, error) {
		var err error
		changes, err = r.fingerprint.Changes(ctx)
		if err == nil && len(changes) > 0 {
			r.detail("%d difference(s) left: %s", len(changes), changes[0])
		}
		return err == nil && len(changes) == 0, err
	})
	r.res.Residue = changes
	switch {
	case err == nil:
		st.saw("the node's fingerprint equals the baseline")
		return nil
	case len(changes) > 0:
		return fault.Failf("left behind on node %s: %s", r.victim, strings.Join(changes, "; "))
	default:
		return fmt.Errorf("compare the fingerprint of node %s: %w", r.victim, err)
	}
}
