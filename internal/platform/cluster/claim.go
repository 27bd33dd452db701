package cluster

import (
	"context"
	"fmt"

	"github.com/sickbay-dev/sickbay/internal/lockfile"
)

// HostClaim is the claim of the machine itself, for faults of the shared kernel; it is one for all clusters.
const HostClaim = "host"

// Holder is who holds a claim, ClaimedError a node that another run holds.
type (
	Holder       = lockfile.Holder
	ClaimedError = lockfile.HeldError
)

// claims are this machine's, not a user's: two users may have one container engine, and its kernel is one.
var claims = lockfile.OfMachine

// Claim takes a node for one run, or HostClaim. The kernel gives it back when the process dies, however it dies. A node that is
// held is a *ClaimedError that names the holder; one on which a dead process has left something is a *NotCleanError.
func (c *Cluster) Claim(ctx context.Context, node string) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if node != HostClaim && !c.Has(node) {
		return nil, fmt.Errorf("claim %s: cluster %s has no such node", node, c.Name)
	}
	m, err := claims()
	if err != nil {
		return nil, err
	}
	if release, err = m.Take(c.claim(node), node); err != nil {
		return nil, err
	}
	if left, ok := c.leftOn(node); ok {
		release()
		return nil, &NotCleanError{left}
	}
	return release, nil
}

// claim names the lock of a node. No cluster and no container has a + in its name.
func (c *Cluster) claim(node string) string {
	if node == HostClaim {
		return HostClaim
	}
	return c.Name + "+" + node
}

// heldElsewhere tells whether a run of another process holds a node, or has left it ill.
func (c *Cluster) heldElsewhere(node string) bool {
	m, err := claims()
	if err != nil {
		return false
	}
	_, held := lockfile.Elsewhere(m.File(c.claim(node)))
	return held || c.recorded(node)
}

// HostHeldElsewhere tells which other process holds HostClaim at this moment, or is gone and has left the machine's kernel changed.
func HostHeldElsewhere() (Holder, bool) {
	if r, ok := leftOnHost(); ok {
		return r.Holder, true
	}
	m, err := claims()
	if err != nil {
		return Holder{}, false
	}
	return lockfile.Elsewhere(m.File(HostClaim))
}

// lock waits until nobody else on this machine makes or removes the cluster.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	m, err := claims()
	if err != nil {
		return nil, err
	}
	return m.Wait(ctx, name, "another sickbay that makes or removes cluster "+name)
}
