package diagnose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// Look observes every node of the target at once and joins the API server's view. It returns one observation per node of
// the target, always: a node that did not answer within its bound has an observation of Unknowns that say why. The error
// is not nil only when ctx ended or the target has no nodes.
func Look(ctx context.Context, t Target, o Options) (map[string]v1alpha1.Observation, error) {
	got, _, err := lookAll(ctx, t, o.withDefaults(), nil)
	return got, err
}

// lookAll looks at all nodes and says which of them have another name than the one they were asked for by.
func lookAll(ctx context.Context, t Target, o Options, asks map[string]Ask) (out map[string]v1alpha1.Observation, renamed map[string]string, err error) {
	var mu sync.Mutex
	out, renamed = make(map[string]v1alpha1.Observation, len(t.Nodes)), map[string]string{}
	err = look(ctx, t, o, asks, func(i int, obs v1alpha1.Observation) {
		mu.Lock()
		defer mu.Unlock()
		out[obs.Node] = obs
		if given := t.Nodes[i].Name; given != obs.Node {
			renamed[given] = obs.Node
		}
	})
	if err != nil {
		return nil, nil, err
	}
	return out, renamed, nil
}

// Once looks at every node once and judges it at once: an observation is dropped as soon as it is judged, so that a thousand nodes
// need only the memory of those that are read at the same time. The error is Look's.
func Once(ctx context.Context, t Target, o Options, judge JudgeFunc) (v1alpha1.Diagnosis, error) {
	results := make([]verdictOn, len(t.Nodes))
	nodes := make([]string, len(t.Nodes))
	err := look(ctx, t, o.withDefaults(), nil, func(i int, obs v1alpha1.Observation) {
		nodes[i] = obs.Node
		judgeAlone(&results[i], obs.Node, v1alpha1.History{obs}, judge)
	})
	if err != nil {
		return v1alpha1.Diagnosis{}, err
	}
	d := assemble(nodes, results)
	setCluster(&d, t.Cluster, t.Context)
	return d, nil
}

var errNoAPI = errors.New("no access to the API server was given")

// seen is what an agent gave, with the asking machine's clock around it, to compare clocks with the API server's answer.
type seen struct {
	node       string
	obs        *v1alpha1.Observation
	err        error
	began, end time.Time
}

// look calls each with every node's observation, side by side, with the node's place in the target.
func look(ctx context.Context, t Target, o Options, asks map[string]Ask, each func(int, v1alpha1.Observation)) error {
	if len(t.Nodes) == 0 {
		return errors.New("there is no node to look at")
	}
	names := make([]string, len(t.Nodes))
	for i, n := range t.Nodes {
		names[i] = cmp.Or(asks[n.Name].Name, n.Name)
	}

	var api map[string]*v1alpha1.API
	apiErr := errNoAPI
	apiDone := make(chan struct{})
	if t.API == nil {
		close(apiDone)
	} else {
		go func() {
			defer close(apiDone)
			api, apiErr = bounded(ctx, o.APITimeout, func(ctx context.Context) (map[string]*v1alpha1.API, error) {
				return t.API.ObserveAPI(ctx, names)
			})
		}()
	}

	var wg sync.WaitGroup
	slots := make(chan struct{}, o.Parallel)
	for i, n := range t.Nodes {
		wg.Go(func() {
			slots <- struct{}{}
			release := sync.OnceFunc(func() { <-slots })
			defer release()
			// Waiting for a dead node costs nothing, so the next one is read meanwhile: dead nodes must not delay healthy ones.
			slow := time.AfterFunc(o.NodeTimeout/slowPart, release)
			defer slow.Stop()
			ask, ok := asks[n.Name]
			if !ok {
				ask = Ask{Since: o.Since}
			}
			r := seen{node: names[i], began: time.Now()}
			if n.Agent == nil {
				r.err = errors.New("the node's own view was not asked for")
			} else {
				r.obs, r.err = bounded(ctx, o.NodeTimeout, func(ctx context.Context) (*v1alpha1.Observation, error) {
					return n.Agent.Observe(ctx, ask)
				})
			}
			r.end = time.Now()
			<-apiDone
			view, viewErr := api[r.node], apiErr
			if n.Renamed != nil {
				view, viewErr = identify(ctx, t.API, o, n, &r, view, viewErr)
			}
			if ctx.Err() == nil {
				obs := join(r, view, viewErr)
				obs.TrustedCAs = o.TrustCAs
				each(i, obs)
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// identify finds the name of a node that was asked for by a guess, and what the API server says of that name. Where the node does not
// say its name and the API server has no Node of the one given, its view is unknown: nothing may be done to a Node by a guess.
func identify(ctx context.Context, api API, o Options, n Node, r *seen, view *v1alpha1.API, viewErr error) (*v1alpha1.API, error) {
	name := ""
	if r.err == nil && r.obs != nil {
		name = r.obs.KubeletName()
	}
	switch {
	case name != "" && name != r.node:
		r.node = name
		n.Renamed(name)
		if api == nil {
			return view, viewErr
		}
		got, err := bounded(ctx, o.APITimeout, func(ctx context.Context) (map[string]*v1alpha1.API, error) {
			return api.ObserveAPI(ctx, []string{name})
		})
		return got[name], err
	case name == "" && r.node == n.Name && view != nil && view.Node == nil:
		return nil, fmt.Errorf("there is no Node %s, and the node does not say what it is called: pass NODE=%s", n.Name, n.Name)
	}
	return view, viewErr
}

// slowPart of a node's bound is what an answer usually takes a small part of: 4 s / 4, where a healthy look takes 0.2.
const slowPart = 4

// bounded calls f with a deadline and returns at the deadline even when f does not: a node whose transport hangs in an
// uninterruptible call must not delay the others. The late result is dropped.
func bounded[T any](ctx context.Context, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("reading its answer failed: %v", p)
			}
			done <- r
		}()
		r.v, r.err = f(ctx)
	}()
	select {
	case r := <-done:
		if r.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			r.err = fmt.Errorf("no answer within %s: %w", limit, r.err)
		}
		return r.v, r.err
	case <-ctx.Done():
		var zero T
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return zero, fmt.Errorf("no answer within %s", limit)
		}
		return zero, ctx.Err()
	}
}

func join(r seen, api *v1alpha1.API, apiErr error) v1alpha1.Observation {
	var obs v1alpha1.Observation
	if r.err == nil && r.obs == nil {
		r.err = errors.New("the agent answered nothing")
	}
	if r.err != nil {
		why := r.err.Error()
		var brief interface{ Brief() string }
		if errors.As(r.err, &brief) { // what was attempted on the way there does not help a reader
			why = brief.Brief()
		}
		obs = v1alpha1.Observation{At: r.end.UTC()}
		for _, s := range v1alpha1.NodeSources {
			obs.Unknown = append(obs.Unknown, v1alpha1.Unknown{What: s, Why: why})
		}
	} else {
		obs = *r.obs
	}
	obs.APIVersion, obs.Kind, obs.Node = v1alpha1.APIVersion, v1alpha1.KindObservation, r.node
	// A part of the API server's answer is used, and the rest is unknown.
	if apiErr == nil && api == nil {
		apiErr = errors.New("the API view has nothing about this node")
	}
	if apiErr != nil {
		obs.Unknown = append(obs.Unknown, v1alpha1.Unknown{What: v1alpha1.SourceAPI, Why: apiErr.Error()})
	}
	if api != nil {
		obs.API = api
		obs.Unknown = append(obs.Unknown, api.Unread...)
		if len(obs.Sources) > 0 {
			obs.Sources = append(slices.Clone(obs.Sources), v1alpha1.SourceAPI, v1alpha1.SourceKubelet)
		}
		joinClocks(&obs, r)
	}
	return obs
}

// joinClocks compares the node's clock with the API server's through the clock of the machine that asked both: the Date
// header has whole seconds and a look takes some tenths, so the result is good to about a second.
func joinClocks(obs *v1alpha1.Observation, r seen) {
	if obs.Clocks.APIOffsetKnown || obs.Clocks.NodeUnix == 0 || obs.API.ServerDate.IsZero() || obs.API.AskedAt.IsZero() {
		return
	}
	asked := r.began.Add(r.end.Sub(r.began) / 2)
	nodeAhead := obs.Clocks.NodeUnix - float64(asked.UnixMilli())/1000
	serverAhead := obs.API.ServerDate.Sub(obs.API.AskedAt).Seconds()
	obs.Clocks.APIOffsetSeconds = nodeAhead - serverAhead
	obs.Clocks.APIOffsetKnown = true
}
