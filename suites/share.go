package suites

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites/detector"
)

// share is what a run holds of something: one unit, or all of it.
type share struct {
	of     *semaphore.Weighted
	weight int64
	held   bool
}

func newShare(of *semaphore.Weighted, all bool) *share {
	if all {
		return &share{of: of, weight: whole}
	}
	return &share{of: of, weight: 1}
}

// shares are what a run holds: of the host's kernel, all of it where the scenario claims that, and of the nodes, all of them where it
// reaches every node. A run that lends the kernel keeps its node.
func (w *Pool) shares(sc *scenarios.Scenario) (nodes, host *share) {
	return newShare(w.nodes, fault.EveryNode(sc)), newShare(w.host, fault.ClaimsHost(sc))
}

func (h *share) take(ctx context.Context) error {
	err := h.of.Acquire(ctx, h.weight)
	h.held = err == nil
	return err
}

func (h *share) release() {
	if h.held {
		h.of.Release(h.weight)
		h.held = false
	}
}

// long is when a scenario's time is mostly one long timer of the kubelet, such as PLEG's three minutes, in seconds.
const long = 150

// waitsLong says that a scenario mostly waits for its signals: by what it is known to take or, where that is not known, by the bound that
// it asks for.
func waitsLong(sc *scenarios.Scenario) bool {
	seconds, known := durations()[sc.Metadata.Name]
	if !known {
		seconds = time.Duration(sc.Spec.Timeouts.Manifest).Seconds()
	}
	return seconds >= long && !fault.ClaimsHost(sc)
}

// lends says that runs give the host's kernel up while they only wait. Under controls they wait elsewhere too; and other people's
// detectors are scored during the wait, and would see another run's fault on every node.
func (s *session) lends() bool {
	return s.opts.Controls == NoControls && !slices.ContainsFunc(s.opts.Detectors, func(e detector.Entry) bool { return !e.IsOwn() })
}

// lending gives the host's kernel up while the run only waits for its signals, if that takes long, so that another may have the host for
// itself meanwhile. What sickbay's detectors say during the wait decides nothing.
func (r *run) lending(wait func(context.Context, step) error) func(context.Context, step) error {
	if r.host == nil || !waitsLong(r.sc) || !r.s.lends() {
		return wait
	}
	return func(ctx context.Context, st step) error {
		r.host.release()
		return errors.Join(wait(ctx, st), r.host.take(ctx))
	}
}
