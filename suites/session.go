package suites

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/report"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/internal/score"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	"github.com/sickbay-dev/sickbay/internal/usage"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// Pool is a testbed whose workers runs share: who holds which worker, and the host's fingerprint around all of it. Run and RunAll open one
// for themselves; whoever starts runs one by one, side by side (the tests do), opens one for all of them.
type Pool struct {
	testbed     Testbed
	fingerprint Fingerprint // of the host

	// host is held by one unit for an ordinary scenario and as a whole by one that claims the host's kernel.
	host *semaphore.Weighted
	// nodes is held by one unit by each run, and as a whole by one that reaches every node.
	nodes *semaphore.Weighted

	mu       sync.Mutex
	held     map[string]string    // node → run
	released map[string]time.Time // node → when a run here last let it go
	runs     []string             // all that were begun here
	retired  map[string]string    // node → why it gets no more runs
	touched  map[string]bool      // nodes whose agents runs here have reached
	changed  chan struct{}        // closed and replaced when a node is let go

	silentRuns map[string]int // detector → runs in which it gave no answer
}

// session is one call of Run or RunAll in a pool.
type session struct {
	*Pool
	opts     Options
	t        Timings
	cleanups *Cleanups
	// several tells that this is a suite: bundles get a folder each.
	several bool
}

const whole = 1 << 20

// OpenPool takes the host's fingerprint, before anything is injected.
func OpenPool(ctx context.Context, on Testbed) (*Pool, error) {
	task := progress.From(ctx).Start("take the host's fingerprint", 0)
	before, err := on.Fingerprint(ctx, HostNode, "")
	task.End(err)
	if err != nil {
		return nil, fmt.Errorf("take a fingerprint of the host: %w", err)
	}
	return newPool(on, before), nil
}

func newPool(on Testbed, before Fingerprint) *Pool {
	return &Pool{testbed: on, fingerprint: before, host: semaphore.NewWeighted(whole), nodes: semaphore.NewWeighted(whole), held: map[string]string{}, released: map[string]time.Time{}, retired: map[string]string{}, touched: map[string]bool{}, changed: make(chan struct{})}
}

// Close compares the host's fingerprint and returns what was left behind, readable. Nothing may run in the pool any more. It
// also works on a context that has ended: that is when something is most likely left behind.
func (w *Pool) Close(ctx context.Context, t Timings) ([]string, error) {
	t = t.WithDefaults()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.Recovery)
	defer cancel()
	task := progress.From(ctx).Start("compare the host's fingerprint", t.Settle)
	var changes []string
	err := retry.Until(ctx, t.Poll, t.Settle, func(ctx context.Context) (bool, error) {
		all, err := w.fingerprint.Changes(ctx)
		if err == nil {
			changes = w.withoutOthers(all)
		}
		if len(changes) > 0 {
			task.Detail("%d difference(s) left: %s", len(changes), changes[0])
		}
		return err == nil && len(changes) == 0, err
	})
	task.End(err)
	if err != nil && len(changes) == 0 {
		return nil, fmt.Errorf("compare the host's fingerprint: %w", err)
	}
	return changes, nil
}

func (w *Pool) session(o Options) *session {
	if o.Cleanups == nil {
		o.Cleanups = &Cleanups{}
	}
	return &session{Pool: w, opts: o, t: o.Timings.WithDefaults(), cleanups: o.Cleanups}
}

// Run takes one scenario through the seven steps, beside whatever else runs in the pool. The host's fingerprint is Close's matter.
func (w *Pool) Run(ctx context.Context, sc *scenarios.Scenario, o Options) (*v1alpha1.Report, error) {
	s := w.session(o)
	return s.all(ctx, []*scenarios.Scenario{sc})
}

// Run takes one scenario through the seven steps. The report is not nil whenever the run began.
func Run(ctx context.Context, on Testbed, sc *scenarios.Scenario, o Options) (*v1alpha1.Report, error) {
	return runAll(ctx, on, []*scenarios.Scenario{sc}, o)
}

// RunAll takes scenarios through the seven steps side by side, each on a worker of its own; one that claims the host runs alone.
func RunAll(ctx context.Context, on Testbed, list []*scenarios.Scenario, o Options) (*v1alpha1.Report, error) {
	if len(list) != 1 {
		o.RunID = ""
		if o.Victim != "" && o.Parallel == 0 {
			o.Parallel = 1
		}
	}
	return runAll(ctx, on, list, o)
}

func runAll(ctx context.Context, on Testbed, list []*scenarios.Scenario, o Options) (*v1alpha1.Report, error) {
	list = slices.Clone(list)
	for i := range list {
		list[i] = list[i].On(on.Runtime())
	}
	w, err := OpenPool(ctx, on)
	if err != nil {
		return nil, err
	}
	s := w.session(o)
	rep, err := s.all(ctx, list)
	if rep == nil {
		return nil, err
	}
	// What is kept on a node is on the host as well.
	kept := o.Keep && slices.ContainsFunc(rep.Results, func(r v1alpha1.ScenarioResult) bool { return r.Verdict != v1alpha1.VerdictPassed })
	if !kept {
		var cerr error
		rep.HostChanges, cerr = w.Close(ctx, o.Timings)
		err = errors.Join(err, cerr)
		rep.Ended = stamp()
		rep.Verdict = report.Overall(rep)
	}
	if o.ReportDir != "" {
		if werr := report.Write(o.ReportDir, rep); werr != nil {
			err = errors.Join(err, werr)
		}
	}
	return rep, err
}

func (s *session) all(ctx context.Context, list []*scenarios.Scenario) (*v1alpha1.Report, error) {
	if len(list) == 0 {
		return nil, usage.Errorf("there is no scenario to run")
	}
	if err := s.checkDetectors(); err != nil {
		return nil, err
	}
	order := s.items(list)
	s.several = len(order) > 1
	rep := &v1alpha1.Report{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindReport, Cluster: s.testbed.Cluster(), Pace: timeoutscale.Factor(), Version: s.opts.Version, Profile: s.opts.Profile, Shard: s.opts.Shard, Started: stamp(), Results: []v1alpha1.ScenarioResult{}}
	about, err := retry.Within(ctx, s.t.Call, s.testbed.About)
	if err != nil {
		return nil, fmt.Errorf("cluster %s does not answer: %w", s.testbed.Cluster(), err)
	}
	rep.Kubernetes, rep.Host, rep.HostKind = about.Kubernetes, about.Host, about.Kind
	workers, err := s.workers(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.checkVictim(workers); err != nil {
		return nil, err
	}
	parallel := s.opts.Parallel
	if parallel <= 0 {
		parallel = max(1, len(workers))
	}
	results := make([]*v1alpha1.ScenarioResult, len(order))
	errs := make([]error, len(order))
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i, it := range order {
		// Slot and share are taken before the goroutine is there: waiting in one, a later scenario could come first and keep the one that
		// needs the host alone, and with it all others, waiting.
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			errs[i] = ErrInterrupted
			continue
		}
		nodes, host := s.shares(it.sc)
		if nodes.take(ctx) != nil || host.take(ctx) != nil {
			nodes.release()
			errs[i] = ErrInterrupted
			<-slots
			continue
		}
		it.host = host
		wg.Go(func() {
			defer func() { <-slots }()
			defer nodes.release()
			defer host.release()
			results[i], errs[i] = s.until(ctx, it)
		})
	}
	wg.Wait()

	for n, sc := range list {
		for i, it := range order {
			if it.sc == sc && it.place == n && results[i] != nil {
				rep.Results = append(rep.Results, *results[i])
			}
		}
	}
	rep.Ended = stamp()
	rep.Seed, rep.Detectors = s.opts.Seed, s.about()
	rep.KnownPassed = stale(s.opts.Known, rep.Results)
	score.Fill(rep)
	rep.Verdict = report.Overall(rep)
	rep.Controls = report.CountControls(rep)
	if s.several {
		rep.Matrix = report.NewMatrix(rep)
	}
	return rep, firstError(ctx, errs)
}

// firstError prefers an interruption: it decides the exit code.
func firstError(ctx context.Context, errs []error) error {
	for _, e := range errs {
		if errors.Is(e, ErrInterrupted) {
			return e
		}
	}
	if ctx.Err() != nil {
		return ErrInterrupted
	}
	return errors.Join(errs...)
}

// worker is a node that may be a victim.
type worker struct {
	name  string
	ready bool
	why   string // why it cannot be a victim now
}

func (s *session) workers(ctx context.Context) ([]worker, error) {
	var list *corev1.NodeList
	// An API server that starts anew, as on a slow machine, is waited for.
	err := retry.Until(ctx, s.t.Poll, s.t.Call, func(ctx context.Context) (ok bool, err error) {
		list, err = s.testbed.Kube().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err == nil, err
	})
	if err != nil {
		return nil, fmt.Errorf("list the nodes of cluster %s: %w", s.testbed.Cluster(), err)
	}
	var out []worker
	for i := range list.Items {
		n := &list.Items[i]
		if _, cp := n.Labels[fault.ControlPlaneLabel]; cp {
			continue
		}
		why := fault.NotReady(n)
		out = append(out, worker{n.Name, why == "", why})
	}
	slices.SortFunc(out, func(a, b worker) int { return strings.Compare(a.name, b.name) })
	if len(out) == 0 {
		return nil, usage.Errorf("cluster %s has no worker: a scenario needs one, since the control plane is never a victim", s.testbed.Cluster())
	}
	return out, nil
}

func (s *session) checkVictim(workers []worker) error {
	if s.opts.Victim == "" {
		return nil
	}
	var known []string
	for _, w := range workers {
		if w.name == s.opts.Victim {
			return nil
		}
		known = append(known, w.name)
	}
	return usage.Errorf("node %s cannot be a victim: the workers of cluster %s are %s (a control plane never is one)",
		s.opts.Victim, s.testbed.Cluster(), strings.Join(known, ", "))
}

// claim takes a free worker that is Ready, waiting for one of this session's own runs to let one go if need be, and for a while for one
// that is not Ready: a node that is starved for a moment misses its lease. A worker that another process holds is not waited for: the
// error names the holder.
func (s *session) claim(ctx context.Context, run string) (node string, release func(), err error) {
	var (
		task  progress.Task // while nobody but workers that are not Ready are free
		until time.Time
	)
	defer func() {
		if task != nil {
			task.End(err)
		}
	}()
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		workers, err := s.workers(ctx)
		if err != nil {
			return "", nil, err
		}
		var refused []string
		ours, unready := false, false
		for _, w := range workers {
			if s.opts.Victim != "" && w.name != s.opts.Victim {
				continue
			}
			if why := s.retiredWhy(w.name); why != "" {
				refused = append(refused, why)
				continue
			}
			if !s.take(w.name, run) {
				ours = true
				continue
			}
			if !w.ready {
				s.free(w.name)
				refused = append(refused, w.name+": "+w.why)
				unready = true
				continue
			}
			free, err := s.testbed.Claim(ctx, w.name)
			if err != nil {
				s.free(w.name)
				refused = append(refused, err.Error())
				continue
			}
			return w.name, sync.OnceFunc(func() { free(); s.free(w.name) }), nil
		}
		var again <-chan time.Time
		if !ours {
			why := strings.Join(refused, "; ")
			if !unready || task != nil && time.Now().After(until) {
				return "", nil, fmt.Errorf("cluster %s has no free worker: %s", s.testbed.Cluster(), why)
			}
			if task == nil {
				task, until = progress.From(ctx).Start("wait for a worker that is Ready", s.t.Settle), time.Now().Add(s.t.Settle)
			}
			task.Detail("%s", why)
			again, changed = time.After(s.t.Poll), nil
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return "", nil, ErrInterrupted
		}
	}
}

// touch notes that a run here may change a node.
func (w *Pool) touch(node string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.touched[node] = true
}

func (s *session) take(node, run string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, held := s.held[node]; held {
		return false
	}
	s.held[node] = run
	return true
}

// retire gives a worker no more runs: each would fail on it for the same reason.
func (w *Pool) retire(node, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.retired[node] = why
}

// retiredWhy answers why a worker gets no more scenarios; empty for one that does.
func (w *Pool) retiredWhy(node string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.retired[node]
}

func (s *session) free(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, node)
	s.released[node] = stamp()
	close(s.changed)
	s.changed = make(chan struct{})
}

// bystanders are the nodes whose silence is demanded of a run that began then: all but those that runs here hold,
// or held at any time since, whose journals still tell of it.
func (s *session) bystanders(began time.Time) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, n := range s.testbed.Target().Nodes {
		_, held := s.held[n.Name]
		if held || s.released[n.Name].After(began) {
			continue
		}
		out = append(out, n.Name)
	}
	return out
}

// othersNodes are victims of runs of other processes on this cluster, by the labels of their namespaces, and those on which runs
// of dead processes have left something, by their records. Where the API does not
// answer there are none: a finding on them is then reported, and wrongly, rather than one missed.
func (s *session) othersNodes(ctx context.Context, run string) map[string]bool {
	list, err := retry.Within(ctx, s.t.Call, func(ctx context.Context) (*corev1.NamespaceList, error) {
		return s.testbed.Kube().CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: fault.LabelRun})
	})
	out := map[string]bool{}
	for _, r := range s.testbed.Records() {
		if r.Run != run {
			out[r.Node] = true
		}
	}
	if err != nil {
		return out
	}
	for _, ns := range list.Items {
		if ns.Labels[fault.LabelRun] != run {
			out[ns.Labels[fault.LabelNode]] = true
		}
	}
	return out
}

// one runs one scenario once it has what it claims.
func (s *session) one(ctx context.Context, it item) (*v1alpha1.ScenarioResult, error) {
	sc := it.sc
	run := s.opts.RunID
	if run == "" {
		run = s.newRunID(sc)
	}
	if fault.ClaimsHost(sc) {
		free, err := s.testbed.Claim(ctx, HostNode)
		if err != nil {
			return s.notBegun(sc, run, fmt.Errorf("scenario %s claims the host's kernel for itself: %w", sc.Metadata.Name, err))
		}
		defer free()
	}
	node, release, err := s.claim(ctx, run)
	if err != nil {
		return s.notBegun(sc, run, err)
	}
	defer release()
	s.mu.Lock()
	s.runs = append(s.runs, run)
	s.mu.Unlock()
	r := newRun(s, sc, run, node)
	r.repeat, r.host = it.repeat, it.host
	res, err := r.do(ctx)
	if res != nil && res.Recover != "" {
		s.retire(node, fmt.Sprintf("%s: not clean after run %s; undo it with: %s", node, run, res.Recover))
	}
	if r.control.needsRerun == "" || err != nil || res.Verdict != v1alpha1.VerdictPassed {
		return res, errors.Join(err, s.actors(ctx, it, node, res))
	}
	// The blind restart left no illness to cure, or made another one of it.
	run = s.newRunID(sc)
	s.mu.Lock()
	s.runs = append(s.runs, run)
	s.mu.Unlock()
	again := newRun(s, sc, run, node)
	again.repeat, again.host = it.repeat, it.host
	again.control.onTheWay, again.res.Controls = false, res.Controls
	res, err = again.do(ctx)
	return res, errors.Join(err, s.actors(ctx, it, node, res))
}

// actors gives each detector that acts an injection of its own, on the node on which it was scored.
func (s *session) actors(ctx context.Context, it item, node string, res *v1alpha1.ScenarioResult) error {
	var errs []error
	for _, e := range s.opts.Detectors {
		if !e.Acts || e.IsOwn() || res == nil || res.Recover != "" || ctx.Err() != nil || it.sc.Spec.Profile == v1alpha1.ProfileDecoy {
			continue
		}
		for i := range res.Detectors {
			if d := &res.Detectors[i]; d.Detector == e.Name && d.Verdict != v1alpha1.VerdictUnknown {
				errs = append(errs, s.actOn(ctx, it, e, node, d))
			}
		}
	}
	return errors.Join(errs...)
}

// notBegun is the result of a scenario that got no worker: in a suite it must not vanish.
func (s *session) notBegun(sc *scenarios.Scenario, run string, err error) (*v1alpha1.ScenarioResult, error) {
	if errors.Is(err, ErrInterrupted) {
		return nil, err
	}
	r := newRun(s, sc, run, "")
	r.res.Ended = stamp()
	r.res.Verdict, r.res.FailedAt, r.res.Reason = v1alpha1.VerdictUnknown, v1alpha1.StepBaseline, err.Error()
	return r.res, err
}
