package collect

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/agent/protocol"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// settingsWait is how long after its beginning a look's sources wait for those whose results they can make do without: a healthy
// containerd tells its running configuration in under 30 ms, a stopped one never.
const settingsWait = 400 * time.Millisecond

// look is one look in progress.
type look struct {
	opts  protocol.ObserveOptions
	root  root
	exec  execFunc
	start time.Time
	end   time.Time // when the look is over, whoever has not answered

	table mountTable
	avoid []stuckMount                     // filesystems an earlier look still hangs on
	procs func() ([]procInfo, error)       // the list of processes, read once
	dial  func() (*grpc.ClientConn, error) // the connection to the runtime, made once

	shake func(context.Context, string, string, []*x509.Certificate, bool) reached // with a registry
	rest  chan struct{}                                                            // closed when all sources but the registries' handshakes have ended

	mu      sync.Mutex
	over    bool
	obs     v1alpha1.Observation
	running []*source
	handed
}

// handed is what one source leaves for others, under look.mu.
type handed struct {
	runtime       settings
	runtimeTold   bool                         // runtime is the running configuration
	unitBlocks    map[string]map[string]string // what systemctl says of each unit
	frozen        frozenSet                    // what the processes' threads wait for
	containerPIDs map[string][]procInfo
	hostLocals    []hostLocal
	configured    func(host string) []v1alpha1.RegistryHost // how the runtime asks a registry
	failedPulls   []failedPull
	handlerPaths  []v1alpha1.RuntimeHandler // by files: where the handlers' binaries are
}

// row is one source of a look: what it is called in Unknown, the sources whose results it uses, and how it is read. It starts when
// those have ended: with whole, at the latest when their deadlines are over, else settingsWait after the look's beginning.
type row struct {
	name  string
	after []string
	whole bool
	read  func(context.Context, *source) error
}

const whole = true

// sources are all sources of a look.
func (l *look) sources() []row {
	need := func(names ...string) []string { return names }
	kubelet, endpoint, runtime, settings := need(v1alpha1.SourceUnits), need(v1alpha1.SourceKubeletFile), need(v1alpha1.SourceRuntime), need(v1alpha1.SourceStatus)
	return []row{
		{v1alpha1.SourceHost, nil, !whole, l.host},
		{v1alpha1.SourceUnits, nil, !whole, l.units},
		{v1alpha1.SourceKmsg, nil, !whole, l.kmsg},
		{v1alpha1.SourceAudit, nil, !whole, l.audit},
		{v1alpha1.SourceProcesses, nil, !whole, l.processes},
		{v1alpha1.SourceSwaps, nil, !whole, l.swaps},
		{v1alpha1.SourceMounts, nil, !whole, l.mounts},
		{v1alpha1.SourceNetwork, nil, !whole, l.network},
		{v1alpha1.SourceFirewall, nil, !whole, l.firewall},
		{v1alpha1.SourceKubeletFile, kubelet, !whole, l.kubeletConfig},
		{v1alpha1.SourceKubeletAPI, endpoint, !whole, l.healthz},
		{v1alpha1.SourceKubeconfig, endpoint, !whole, l.kubeconfigs},
		{v1alpha1.SourceCerts, endpoint, !whole, l.certificates},
		{v1alpha1.SourceSecurity, endpoint, !whole, l.security},
		{v1alpha1.SourceSockets, endpoint, !whole, l.pluginSockets},
		{v1alpha1.SourceRuntime, endpoint, !whole, l.runtimeProcess},
		{v1alpha1.SourceJournal, runtime, !whole, l.readJournal},

		// Each call to the runtime is a source of its own: with a frozen disk Status answers while ListContainers does not, and
		// that difference is what a detector lives on.
		{v1alpha1.SourceVersion, endpoint, !whole, l.call("Version", l.criVersion)},
		{v1alpha1.SourceRuntimeConfig, endpoint, !whole, l.call("RuntimeConfig", l.criConfig)},
		{v1alpha1.SourceSandboxes, endpoint, !whole, l.call("ListPodSandbox", l.criSandboxes)},
		{v1alpha1.SourceContainers, endpoint, !whole, l.call("ListContainers", l.criContainers)},
		{v1alpha1.SourceImages, endpoint, !whole, l.call("ListImages", l.criImages)},
		{v1alpha1.SourceRuntimeFile, runtime, !whole, l.runtimeFile},
		{v1alpha1.SourceStatus, need(v1alpha1.SourceRuntimeFile), !whole, l.call("Status", l.criStatus)},
		{v1alpha1.SourceRuntimeClock, need(v1alpha1.SourceContainers), whole, l.call("ContainerStats", l.runtimeClock)},
		{v1alpha1.SourceNetNS, need(v1alpha1.SourceSandboxes, v1alpha1.SourceProcesses), whole, l.netns},

		{v1alpha1.SourceCgroups, need(v1alpha1.SourceProcesses, v1alpha1.SourceContainers, v1alpha1.SourceSandboxes), !whole, l.containers},
		{v1alpha1.SourceLimits, need(v1alpha1.SourceProcesses), whole, l.limits},
		{v1alpha1.SourceFilesystems, settings, !whole, l.filesystems},
		{v1alpha1.SourceFiles, settings, !whole, l.files},
		{v1alpha1.SourceCNI, settings, !whole, l.cni},
		{v1alpha1.SourceIPAM, need(v1alpha1.SourceCNI, v1alpha1.SourceSandboxes), whole, l.ipam},
		{v1alpha1.SourceRegistries, need(v1alpha1.SourceStatus, v1alpha1.SourceVersion), !whole, l.registries},
		{v1alpha1.SourceReach, need(v1alpha1.SourceRegistries, v1alpha1.SourceJournal), whole, l.reachRegistries},
	}
}

// source is one thing being read.
type source struct {
	what  string
	began time.Time // under look.mu, as bound and done; zero while it waits for others
	bound time.Time
	done  bool
	doing atomic.Pointer[string]
	ended chan struct{} // closed when it is done, or late
	once  sync.Once
}

func newSource(what string) *source { return &source{what: what, ended: make(chan struct{})} }

func (s *source) end() { s.once.Do(func() { close(s.ended) }) }

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
	// Started by /proc/self/exe, its name is "exe": later looks find it by this one if it hangs.
	_ = os.WriteFile("/proc/self/comm", []byte(lookName), 0)
	return newLook(stretched("/", opts), "/", runCommand).run(ctx)
}

// stretched gives a node that has more to do than it can the time that it needs: up to a third more for the look, and two thirds for
// each source. What a caller set is left as it is: callers wait for a look no longer than they asked for.
func stretched(r root, opts protocol.ObserveOptions) protocol.ObserveOptions {
	if opts.Overall > 0 || opts.PerSource > 0 {
		return opts.WithDefaults()
	}
	opts = opts.WithDefaults()
	busy := timeoutscale.Busyness(r.text, cpuCount(r.text("/sys/devices/system/cpu/online")))
	opts.Overall += time.Duration(busy / 3 * float64(opts.Overall))
	opts.PerSource = min(opts.Overall, opts.PerSource+time.Duration(busy*2/3*float64(opts.PerSource)))
	return opts
}

func newLook(opts protocol.ObserveOptions, r root, run execFunc) *look {
	opts = opts.WithDefaults()
	l := &look{opts: opts, root: r, exec: run, start: time.Now(), procs: sync.OnceValues(r.procs)}
	l.handed = handed{runtime: defaultSettings(), frozen: frozenSet{}}
	l.dial, l.shake, l.rest = sync.OnceValues(l.dialRuntime), reach, make(chan struct{})
	l.end = l.start.Add(opts.Overall)
	l.obs.APIVersion, l.obs.Kind = v1alpha1.APIVersion, v1alpha1.KindObservation
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

	rows, named := l.sources(), map[string]*source{}
	for _, r := range rows {
		named[r.name] = l.register(r.name)
		l.obs.Sources = append(l.obs.Sources, r.name)
	}
	var wg, rest sync.WaitGroup
	for _, r := range rows {
		if r.name != v1alpha1.SourceReach {
			rest.Add(1)
		}
		wg.Go(func() {
			l.await(ctx, r, named)
			l.read(ctx, named[r.name], r.read)
			if r.name != v1alpha1.SourceReach {
				rest.Done()
			}
		})
	}
	go func() { rest.Wait(); close(l.rest) }()
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
	if c, err := l.dial(); err == nil {
		_ = c.Close()
	}
	return l.finish()
}

// await waits for the sources that a row comes after.
func (l *look) await(ctx context.Context, r row, named map[string]*source) {
	if !r.whole {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, l.start.Add(timeoutscale.Bound(settingsWait)))
		defer cancel()
	}
	for _, n := range r.after {
		d := "waiting for " + n
		named[r.name].doing.Store(&d)
		select {
		case <-named[n].ended:
		case <-ctx.Done():
			return
		}
	}
}

// allLate tells whether every source that still runs is past its bound.
func (l *look) allLate(now time.Time) bool {
	if now.After(l.end) {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.running {
		if !s.done && (s.bound.IsZero() || now.Before(s.bound)) {
			return false
		}
	}
	return true
}

// register makes a source that has not begun.
func (l *look) register(what string) *source {
	s := newSource(what)
	l.mu.Lock()
	l.running = append(l.running, s)
	l.mu.Unlock()
	return s
}

// read reads a source until it is done, fails or its bound passes.
func (l *look) read(ctx context.Context, s *source, fn func(context.Context, *source) error) {
	l.mu.Lock()
	s.began = time.Now()
	s.bound = s.began.Add(l.opts.PerSource)
	if s.bound.After(l.end) {
		s.bound = l.end
	}
	s.doing.Store(&s.what)
	l.mu.Unlock()
	late := time.AfterFunc(time.Until(s.bound), s.end)
	defer late.Stop()
	ctx, cancel := context.WithDeadline(ctx, s.bound)
	defer cancel()
	err := l.guarded(ctx, s, fn)
	if err != nil {
		l.unknown(s.what, l.describe(s, err))
	}
	l.mu.Lock()
	s.done = true
	l.mu.Unlock()
	s.end()
}

// guarded reads a source whose content nobody has promised anything about: what it brings down is the source alone.
func (l *look) guarded(ctx context.Context, s *source, fn func(context.Context, *source) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reading it failed: %v: this is a mistake in sickbay; please report it", p)
		}
	}()
	return fn(ctx, s)
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
	if s.began.IsZero() {
		return "not begun: " + doing
	}
	return fmt.Sprintf("%s gave no answer within %.1f s", doing, now.Sub(s.began).Seconds())
}

// each reads several things of one source side by side, so that one dead filesystem does not hide the others.
func each[T any](ctx context.Context, l *look, what string, items []T, name func(T) string, fn func(context.Context, *source, T) error) {
	var wg sync.WaitGroup
	for _, item := range items {
		s := l.register(what)
		wg.Go(func() {
			l.read(ctx, s, func(ctx context.Context, s *source) error {
				if err := s.at(l, "reading", name(item)); err != nil {
					return err
				}
				return fn(ctx, s, item)
			})
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
	for _, s := range l.running {
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
	o.Kubelet.NodeNames = nodeNames(o)
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
// looked at, or before, so this waits for the end; a handler that files had not heard of is looked up then.
func (l *look) joinHandlers(o *v1alpha1.Observation) {
	filesSeen := l.handlerPaths != nil
	for i := range o.Runtime.Handlers {
		h := &o.Runtime.Handlers[i]
		for _, f := range o.Runtime.ConfigFile.Handlers { // CRI-O told its name alone before its files were read
			if h.Type == "" && h.BinaryName == "" && f.Name == h.Name {
				*h = f
			}
		}
		known := false
		for _, p := range l.handlerPaths {
			if p.Name == h.Name && p.Type == h.Type && p.BinaryName == h.BinaryName {
				h.ShimPath, h.RuntimePath, known = p.ShimPath, p.RuntimePath, true
			}
		}
		if known || !filesSeen {
			continue
		}
		h.ShimPath, h.RuntimePath = l.binaries(*h, l.runtime.path)
	}
}

// binaries finds a handler's shim and OCI runtime; empty for what is nowhere.
func (l *look) binaries(h v1alpha1.RuntimeHandler, path []string) (shim, runtime string) {
	s := newSource(v1alpha1.SourceFiles)
	shim = h.ShimPath
	if shim == "" {
		shim = shimName(h.Type)
	}
	dirs := path
	if len(dirs) == 0 {
		dirs = searchPath // of a service that systemd starts
	}
	binary := h.BinaryName
	if binary == "" && strings.Contains(h.Type, "runc") {
		binary = "runc"
	}
	shim, _ = l.find(s, shim, dirs)
	runtime, _ = l.find(s, binary, dirs)
	return shim, runtime
}
