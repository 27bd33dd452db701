package fault

import (
	"time"

	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// Timings are all waits around a fault.
type Timings struct {
	// Poll is the pause between two looks at the victim. 1s: a look costs 0.15s of node CPU, and the kubelet itself
	// relists and renews no faster.
	Poll time.Duration
	// SlowPoll replaces Poll after SlowAfter of waiting: signals that late come from fixed kubelet timers (PLEG 3m), where a
	// second more or less is nothing, and four scenarios side by side share two cores.
	SlowPoll  time.Duration
	SlowAfter time.Duration
	// History is how far the first look reads a node's journal back.
	History time.Duration
	// Call bounds one call to an agent or the API that should be quick.
	Call time.Duration
	// Lease is how long a node waits for a renewal before it heals itself; renewed every third of it.
	Lease time.Duration
	// Workload bounds how long the scenario's workload takes to become Ready.
	Workload time.Duration
	// NodeReady bounds how long a node takes to be Ready again after a preparation or a recovery: kubelet and containerd restart
	// within 15s, conditions follow the status period.
	NodeReady time.Duration
	// PodsEnd is how long the kubelet gets to end a run's pods before they are deleted without it: the default grace of 30s and
	// one sync period.
	PodsEnd time.Duration
	// NamespaceGone bounds the deletion of a run's namespace.
	NamespaceGone time.Duration
}

// DefaultTimings are the measured defaults.
func DefaultTimings() Timings {
	return Timings{
		Poll: time.Second, SlowPoll: 2 * time.Second, SlowAfter: 45 * time.Second, History: 30 * time.Second, Call: 20 * time.Second, Lease: 60 * time.Second,
		Workload: 2 * time.Minute, NodeReady: 2 * time.Minute, PodsEnd: 45 * time.Second, NamespaceGone: 3 * time.Minute,
	}
}

// OnThisMachine fills what is zero with the defaults, stretched where they bound what is waited for. What has to pass is as long on
// any machine: it covers the kubelet's own timers or spares the node.
func (t Timings) OnThisMachine() Timings {
	d := DefaultTimings()
	for _, bound := range []*time.Duration{&d.Call, &d.Lease, &d.Workload, &d.NodeReady, &d.PodsEnd, &d.NamespaceGone} {
		*bound = timeoutscale.Bound(*bound)
	}
	for _, p := range []struct{ have, def *time.Duration }{
		{&t.Poll, &d.Poll}, {&t.SlowPoll, &d.SlowPoll}, {&t.SlowAfter, &d.SlowAfter}, {&t.History, &d.History}, {&t.Call, &d.Call}, {&t.Lease, &d.Lease},
		{&t.Workload, &d.Workload}, {&t.NodeReady, &d.NodeReady}, {&t.PodsEnd, &d.PodsEnd}, {&t.NamespaceGone, &d.NamespaceGone},
	} {
		if *p.have <= 0 {
			*p.have = *p.def
		}
	}
	return t
}
