package collect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
)

// settingsWait is how long sources that depend on the runtime's running configuration wait for it before they make do with
// the file on disk: a healthy containerd answers in under 30 ms, a stopped one never.
const settingsWait = 400 * time.Millisecond

// look is one look in progress.
type look struct {
	opts  protocol.ObserveOptions
	root  root
	exec  execFunc
	start time.Time
	end   time.Time // when the look is over, whoever has not answered

	avoid []stuckMount // filesystems an earlier look still hangs on

	mu   sync.Mutex
	over bool
	obs  v1alpha1.Observation
	late []*source // running

	settings chan struct{} // closed when runtime is known
	setOnce  sync.Once
	runtime  settings

	// What one source leaves for another; closed when it is there or never will be.
	journal, sandboxes, containersListed, procs, kubeletRead, fileRead *signal
	frozen                                                             frozenSet // written by processes before procs is closed
	sandboxIDs                                                         map[string]bool
	containerIDs                                                       map[string]v1alpha1.Container
	criErr                                                             error
	containerPIDs                                                      map[string][]procInfo
	failedPulls                                                        []string
	table                                                              mountTable
	handlerPaths                                                       []v1alpha1.RuntimeHandler // by files: where the handlers' binaries are
}

type signal struct {
	once sync.Once
	ch   chan struct{}
}

func newSignal() *signal { return &signal{ch: make(chan struct{})} }
func (s *signal) set()   { s.once.Do(func() { close(s.ch) }) }
func (s *signal) wait(ctx context.Context) bool {
	select {
	case <-s.ch:
		return true
	case <-ctx.Done():
		return false
	}
}

// source is one thing being read.
type source struct {
	what  string
	began time.Time
	bound time.Time
	doing atomic.Pointer[string]
	done  bool // under look.mu
}

// at says what the source is about to do, for the case that it never comes back. It refuses a path on a filesystem that an
// earlier look still hangs on.
func (s *source) at(l *look, op, path string) error {
	d := op + " " + path
	s.doing.Store(&d)
	for _, a := range l.avoid {
		if a.holds(path) {
			return fmt.Errorf("%s: not tried: an earlier look (process %d) still hangs on %s", d, a.pid, a.mount)
		}
	}
	return nil
}

// Look looks at this node once, in this process. It returns in time whatever hangs, but the process may then be unable to
// exit; [Supervise] is for callers who must.
func Look(ctx context.Context, opts protocol.ObserveOptions) *v1alpha1.Observation {
	return newLook(opts, "/", runCommand).run(ctx)
}

func newLook(opts protocol.ObserveOptions, r root, run execFunc) *look {
	opts = opts.WithDefaults()
	l := &look{
		opts: opts, root: r, exec: run, start: time.Now(),
		settings: make(chan struct{}), runtime: defaultSettings(),
		journal: newSignal(), sandboxes: newSignal(), containersListed: newSignal(), procs: newSignal(), kubeletRead: newSignal(), fileRead: newSignal(),
		frozen: frozenSet{},
	}
	l.end = l.start.Add(opts.Overall)
	l.obs.APIVersion, l.obs.Kind = v1alpha1.APIVersion, v1alpha1.Kind
	l.obs.At = l.start
	l.obs.Clocks.NodeUnix = float64(l.start.UnixMicro()) / 1e6
	l.obs.Node = opts.Node
	if l.obs.Node == "" {
		l.obs.Node, _ = os.Hostname()
	}
	return l
}

func (l *look) run(ctx context.Context) *v1alpha1.Observation {
	ctx, cancel := context.WithDeadline(ctx, l.end)
	defer cancel()
	// The mount table decides what everything else means. /proc/self/mountinfo does not touch the filesystems it lists.
	l.table = readMounts(l.root)
	l.avoid = l.stuckLooks()

	var wg sync.WaitGroup
	for _, s := range []struct {
		what string
		fn   func(context.Context, *source) error
	}{
		{SourceHost, l.host},
		{v1alpha1.SourceUnits, l.units},
		{v1alpha1.SourceJournal, l.readJournal},
		{v1alpha1.SourceKmsg, l.kmsg},
		{v1alpha1.SourceKubeletAPI, l.healthz},
		{SourceKubeletFile, l.kubeletConfig},
		{SourceRuntimeFile, l.runtimeFile},
		{SourceProcesses, l.processes},
		{SourceSwaps, l.swaps},
		{SourceMounts, l.mounts},
		{SourceSecurity, l.security},
		{v1alpha1.SourceNetwork, l.network},
		{v1alpha1.SourceFilesystems, l.filesystems},
		{v1alpha1.SourceCerts, l.certificates},
		{SourceKubeconfig, l.kubeconfigs},
		{v1alpha1.SourceCNI, l.cni},
		{v1alpha1.SourceRegistries, l.registries},
		{SourceFiles, l.files},
		{v1alpha1.SourceCgroups, l.containers},
		{SourceSockets, l.pluginSockets},
	} {
		l.startSource(ctx, &wg, s.what, s.fn)
	}
	l.startCRI(ctx, &wg)

	all := make(chan struct{})
	go func() { wg.Wait(); close(all) }()
	// Sources that do not look at their context are waited for until their own bound, not longer.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
wait:
	for {
		select {
		case <-all:
			break wait
		case <-tick.C:
			if l.allLate(time.Now()) {
				break wait
			}
		}
	}
	return l.finish()
}

// allLate tells whether every source that still runs is past its bound.
func (l *look) allLate(now time.Time) bool {
	if now.After(l.end) {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.late {
		if !s.done && now.Before(s.bound) {
			return false
		}
	}
	return true
}

// startSource runs fn in a goroutine of its own until it is done, fails or its bound passes.
func (l *look) startSource(ctx context.Context, wg *sync.WaitGroup, what string, fn func(context.Context, *source) error) {
	s := &source{what: what, began: time.Now()}
	s.bound = s.began.Add(l.opts.PerSource)
	if s.bound.After(l.end) {
		s.bound = l.end
	}
	l.mu.Lock()
	l.late = append(l.late, s)
	l.mu.Unlock()
	wg.Add(1)
	go func() {
		defer wg.Done()
		ctx, cancel := context.WithDeadline(ctx, s.bound)
		defer cancel()
		err := fn(ctx, s)
		l.mu.Lock()
		s.done = true
		l.mu.Unlock()
		if err != nil {
			l.unknown(what, l.describe(s, err))
		}
	}()
}

// describe adds the wait to an error that is only a deadline.
func (l *look) describe(s *source, err error) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return s.noAnswer(time.Now())
	}
	return why(err)
}

func (s *source) noAnswer(now time.Time) string {
	doing := s.what
	if d := s.doing.Load(); d != nil {
		doing = *d
	}
	return fmt.Sprintf("%s gave no answer within %.1f s", doing, now.Sub(s.began).Seconds())
}

// each reads several things of one source side by side, so that one dead filesystem does not hide the others.
func each[T any](ctx context.Context, l *look, what string, items []T, name func(T) string, fn func(context.Context, *source, T) error) {
	var wg sync.WaitGroup
	for _, item := range items {
		l.startSource(ctx, &wg, what, func(ctx context.Context, s *source) error {
			if err := s.at(l, "reading", name(item)); err != nil {
				return err
			}
			return fn(ctx, s, item)
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// put changes the observation; after the look is over it does nothing.
func (l *look) put(change func(*v1alpha1.Observation)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		change(&l.obs)
	}
}

func (l *look) unknown(what, reason string) {
	l.put(func(o *v1alpha1.Observation) {
		o.Unknown = append(o.Unknown, v1alpha1.Unknown{What: what, Why: reason})
	})
}

// finish closes the look: whoever has not answered is named, and nothing more is taken in.
func (l *look) finish() *v1alpha1.Observation {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, s := range l.late {
		if !s.done {
			l.obs.Unknown = append(l.obs.Unknown, v1alpha1.Unknown{What: s.what, Why: s.noAnswer(now)})
		}
	}
	l.over = true
	o := &l.obs
	l.joinFrozen(o)
	l.joinHandlers(o)
	sort.SliceStable(o.Unknown, func(i, j int) bool { return o.Unknown[i].What < o.Unknown[j].What })
	o.Unknown = dedupe(o.Unknown)
	sort.Slice(o.Filesystems, func(i, j int) bool { return o.Filesystems[i].Path < o.Filesystems[j].Path })
	sort.Slice(o.Files, func(i, j int) bool { return o.Files[i].Path < o.Files[j].Path })
	sort.SliceStable(o.Certs, func(i, j int) bool { return o.Certs[i].Path < o.Certs[j].Path })
	o.TookMS = now.Sub(l.start).Milliseconds()
	return o
}

// dedupe drops a source that is named again only because its parts were.
func dedupe(in []v1alpha1.Unknown) []v1alpha1.Unknown {
	var out []v1alpha1.Unknown
	for i, u := range in {
		double := false
		for j, v := range in {
			same := i != j && u.What == v.What
			if same && (u.Why == v.Why && j < i || strings.HasPrefix(u.Why, u.What+" gave no answer") && u.Why != v.Why) {
				double = true
			}
		}
		if !double {
			out = append(out, u)
		}
	}
	return out
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// joinHandlers says where the running handlers' binaries are. The runtime may tell its handlers long after the files were
// looked at, so this waits for the end; a handler that files had not heard of is looked up then.
func (l *look) joinHandlers(o *v1alpha1.Observation) {
	filesSeen := l.handlerPaths != nil
	for i := range o.Runtime.Handlers {
		h := &o.Runtime.Handlers[i]
		known := false
		for _, p := range l.handlerPaths {
			if p.Name == h.Name && p.Type == h.Type && p.BinaryName == h.BinaryName {
				h.ShimPath, h.RuntimePath, known = p.ShimPath, p.RuntimePath, true
			}
		}
		if known || !filesSeen {
			continue
		}
		h.ShimPath, h.RuntimePath = l.binaries(*h)
	}
}

// binaries finds a handler's shim and OCI runtime; empty for what is nowhere.
func (l *look) binaries(h v1alpha1.RuntimeHandler) (shim, runtime string) {
	s := &source{what: SourceFiles}
	shim = h.ShimPath
	if shim == "" {
		shim = shimName(h.Type)
	}
	binary := h.BinaryName
	if binary == "" && strings.Contains(h.Type, "runc") {
		binary = "runc"
	}
	shim, _ = l.find(s, shim)
	runtime, _ = l.find(s, binary)
	return shim, runtime
}
