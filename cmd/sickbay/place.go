package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

// placeBound covers the slowest prepare, a filesystem of its own for the runtime, and conditions that follow the kubelet's status
// period.
const placeBound = 5 * time.Minute

// placed is a scenario's fault on a node, without the runner's judgement: what inject and lab make.
type placed struct {
	*fault.Session
	lease   func() // ends its renewal
	undo    *suites.Cleanup
	release func() // what is claimed
}

// leave leaves the node ill until the lease has run out.
func (p *placed) leave(ctx context.Context, lease time.Duration) error {
	defer p.release()
	p.lease()
	p.undo.Forget()
	return errors.Join(p.Leave(ctx, lease), p.Close())
}

// end undoes everything, also where ctx has ended.
func (p *placed) end(ctx context.Context) error {
	defer p.release()
	bound := suites.DefaultTimings().Recovery
	fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), bound)
	defer cancel()
	task := progress.From(ctx).Start("undo everything", bound)
	err := p.undo.Run(fresh)
	task.End(err)
	p.lease()
	if err != nil {
		err = hint(err, "Try again with: %s", p.RecoverCommand())
	}
	return errors.Join(err, p.Close())
}

// place makes a node ill. When it fails or ctx ends, what was begun is undone. With a code the scenario's name is not said anywhere.
func (a *app) place(ctx context.Context, lab suites.Testbed, c *cluster.Cluster, s *scenarios.Scenario, victim string, lease time.Duration, code string) (*placed, error) {
	if code != "" && lab.Runtime() == scenarios.CRIO {
		return nil, usagef("labs are written for containerd, and the nodes of cluster %s have CRI-O: start one on a cluster made without --runtime", c.Name)
	}
	node, release, err := claim(ctx, lab, c, s, victim)
	if err != nil {
		return nil, err
	}
	bound := timeoutscale.Bound(placeBound)
	name, title := s.Metadata.Name, "make "+node+" ill: "+s.Metadata.Name
	secret := code != ""
	if secret {
		name, title = strings.ToLower(code), "make "+node+" ill" // the names of run and namespace are the first that a trainee sees
	}
	task := progress.From(ctx).Start(title, bound)
	hooks := fault.Hooks{Detail: func(text string) { task.Detail("%s", text) }}
	if secret {
		hooks = fault.Hooks{}
	}
	p := &placed{release: release, Session: fault.New(lab, fault.Options{
		Scenario: s, Name: name, Secret: secret, Run: fault.NewRunID(name), Node: node, Timings: fault.Timings{Lease: lease}, Hooks: hooks,
	})}
	p.undo = a.cleanups.Add("run "+p.Run+" on "+node, p.RecoverCommand(), func(ctx context.Context) error {
		_, err := p.Undo(ctx)
		return err
	})
	p.lease = p.KeepLease(ctx)
	inner, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("making %s ill took longer than %s", node, bound))
	defer cancel()
	err = p.Place(inner)
	task.End(err)
	if err != nil {
		return nil, errors.Join(err, p.end(ctx))
	}
	return p, nil
}

// claim takes the named worker, or the first that is free, and the host where the scenario needs it.
func claim(ctx context.Context, lab suites.Testbed, c *cluster.Cluster, s *scenarios.Scenario, victim string) (node string, release func(), err error) {
	host := func() {}
	if fault.ClaimsHost(s) {
		if host, err = lab.Claim(ctx, suites.HostNode); err != nil {
			return "", nil, err
		}
	}
	candidates := c.Victims()
	if victim != "" {
		candidates = []string{victim}
	}
	err = fmt.Errorf("cluster %s has no worker", c.Name)
	for _, n := range candidates {
		var free func()
		if free, err = lab.Claim(ctx, n); err == nil {
			return n, func() { free(); host() }, nil
		}
	}
	host()
	return "", nil, err
}
