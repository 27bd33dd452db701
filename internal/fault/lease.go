package fault

import (
	"context"
	"maps"
	"time"
)

// KeepLease renews the leases of everything injected until the returned function is called, also after ctx has ended: a run that was
// interrupted recovers still.
func (s *Session) KeepLease(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(s.t.Lease / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			s.renew(ctx, s.t.Lease)
		}
	}()
	return func() { cancel(); <-done }
}

func (s *Session) renew(ctx context.Context, lease time.Duration) {
	s.mu.Lock()
	agents, record := maps.Clone(s.agents), s.record
	s.mu.Unlock()
	if record != nil {
		if err := record.Renew(); err != nil {
			s.note(s.Node, "the run's record on the host could not be renewed: %v", err)
		}
	}
	for node, a := range agents {
		call, cancel := context.WithTimeout(ctx, s.t.Lease/3)
		err := a.Renew(call, s.Run, lease)
		cancel()
		if err != nil && ctx.Err() == nil {
			s.note(node, "the lease could not be renewed: %v", err)
			locked(s, func() any { s.leaseLost = err.Error(); return nil })
		}
	}
}

// LeaseLost says why a lease could not be renewed; empty where each could.
func (s *Session) LeaseLost() string { return locked(s, func() string { return s.leaseLost }) }

// Leave leaves everything as it is for a while: the leases are renewed a last time, and then the node heals itself.
func (s *Session) Leave(ctx context.Context, d time.Duration) error {
	s.renew(ctx, d)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = left
	if s.record == nil {
		return nil
	}
	return s.record.Leave(time.Now().Add(d))
}
