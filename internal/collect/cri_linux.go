package collect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/redact"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

const (
	// DefaultEndpoint is containerd's, when neither the kubelet's flags nor its configuration name one.
	DefaultEndpoint = "unix:///run/containerd/containerd.sock"
	// maxMessage is what the kubelet allows a CRI answer.
	maxMessage = 16 << 20
)

// startCRI asks the runtime everything at once over one connection. Each call is a source of its own: with a frozen disk
// Status answers while ListContainers does not, and that difference is what a detector lives on.
func (l *look) startCRI(ctx context.Context, wg *sync.WaitGroup) {
	var once sync.Once
	var conn *grpc.ClientConn
	var connErr error
	var endpoint string
	dial := func() (*grpc.ClientConn, error) {
		once.Do(func() {
			endpoint = l.endpoint(ctx)
			l.put(func(o *v1alpha1.Observation) { o.Runtime.Endpoint = endpoint })
			conn, connErr = dialCRI(l.root, endpoint)
			if connErr == nil {
				context.AfterFunc(ctx, func() { _ = conn.Close() })
			}
		})
		return conn, connErr
	}
	call := func(what, rpc string, fn func(context.Context, *grpc.ClientConn) error) {
		l.startSource(ctx, wg, what, func(ctx context.Context, s *source) error {
			d := rpc
			s.doing.Store(&d)
			c, err := dial()
			if err != nil {
				return err
			}
			d2 := rpc + " over " + endpoint
			s.doing.Store(&d2)
			began := time.Now()
			err = fn(ctx, c)
			took := time.Since(began)
			l.put(func(o *v1alpha1.Observation) {
				if o.Runtime.CallMS == nil {
					o.Runtime.CallMS = map[string]int64{}
				}
				o.Runtime.CallMS[rpc] = took.Milliseconds()
			})
			return criError(rpc, endpoint, took, err)
		})
	}

	call(SourceVersion, "Version", func(ctx context.Context, c *grpc.ClientConn) error {
		v, err := cri.NewRuntimeServiceClient(c).Version(ctx, &cri.VersionRequest{})
		if err != nil {
			return err
		}
		l.put(func(o *v1alpha1.Observation) { o.Runtime.Name, o.Runtime.Version = v.RuntimeName, v.RuntimeVersion })
		return nil
	})
	call(v1alpha1.SourceStatus, "Status", func(ctx context.Context, c *grpc.ClientConn) error {
		r, err := cri.NewRuntimeServiceClient(c).Status(ctx, &cri.StatusRequest{Verbose: true})
		if err != nil {
			l.settleFromFile(ctx)
			return err
		}
		return l.takeStatus(r)
	})
	call(SourceRuntimeConf, "RuntimeConfig", func(ctx context.Context, c *grpc.ClientConn) error {
		r, err := cri.NewRuntimeServiceClient(c).RuntimeConfig(ctx, &cri.RuntimeConfigRequest{})
		if status.Code(err) == codes.Unimplemented {
			return nil // an older runtime; the empty cgroup driver says so
		}
		if err != nil {
			return err
		}
		if r.Linux != nil {
			driver := map[cri.CgroupDriver]string{cri.CgroupDriver_SYSTEMD: "systemd", cri.CgroupDriver_CGROUPFS: "cgroupfs"}[r.Linux.CgroupDriver]
			l.put(func(o *v1alpha1.Observation) { o.Runtime.CgroupDriver = driver })
		}
		return nil
	})
	call(v1alpha1.SourceSandboxes, "ListPodSandbox", func(ctx context.Context, c *grpc.ClientConn) error {
		defer l.sandboxes.set()
		r, err := cri.NewRuntimeServiceClient(c).ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
		l.mu.Lock()
		l.criErr = err
		l.mu.Unlock()
		if err != nil {
			return err
		}
		out, ids := sandboxesOf(r.Items)
		l.mu.Lock()
		l.sandboxIDs = ids
		l.mu.Unlock()
		l.waitAll(ctx, l.procs)
		l.netns(out)
		l.put(func(o *v1alpha1.Observation) { o.Runtime.Sandboxes = out })
		return nil
	})
	call(v1alpha1.SourceContainers, "ListContainers", func(ctx context.Context, c *grpc.ClientConn) error {
		defer l.containersListed.set()
		r, err := cri.NewRuntimeServiceClient(c).ListContainers(ctx, &cri.ListContainersRequest{})
		if err != nil {
			return err
		}
		out := containersOf(r.Containers)
		ids := make(map[string]v1alpha1.Container, len(out))
		for _, c := range out {
			ids[c.ID] = c
		}
		l.mu.Lock()
		l.containerIDs = ids
		l.mu.Unlock()
		l.put(func(o *v1alpha1.Observation) { o.Runtime.Containers = out })
		return nil
	})
	call(SourceRuntimeClock, "ContainerStats", func(ctx context.Context, c *grpc.ClientConn) error {
		l.runtimeClock(ctx, cri.NewRuntimeServiceClient(c))
		return nil
	})
	call(v1alpha1.SourceImages, "ListImages", func(ctx context.Context, c *grpc.ClientConn) error {
		r, err := cri.NewImageServiceClient(c).ListImages(ctx, &cri.ListImagesRequest{})
		if err != nil {
			return err
		}
		out := make([]v1alpha1.Image, 0, len(r.Images))
		for _, i := range r.Images {
			out = append(out, v1alpha1.Image{ID: i.Id, Tags: i.RepoTags, SizeBytes: i.Size, Pinned: i.Pinned})
		}
		l.put(func(o *v1alpha1.Observation) { o.Runtime.Images = out })
		return nil
	})
}

// runtimeClock asks for the statistics of one container: the runtime stamps them with its own clock. Without a running
// container its clock stays unknown, and that is no failure to look.
func (l *look) runtimeClock(ctx context.Context, runtime cri.RuntimeServiceClient) {
	// Half of what others may take: then it ends before it could be called late.
	ctx, cancel := context.WithTimeout(ctx, l.opts.PerSource/2)
	defer cancel()
	l.waitAll(ctx, l.containersListed)
	l.mu.Lock()
	id := ""
	for _, c := range l.containerIDs {
		if c.State == "running" && (id == "" || c.ID < id) {
			id = c.ID
		}
	}
	l.mu.Unlock()
	if id == "" {
		return
	}
	r, err := runtime.ContainerStats(ctx, &cri.ContainerStatsRequest{ContainerId: id})
	stamp := r.GetStats().GetCpu().GetTimestamp()
	if err != nil || stamp == 0 {
		return
	}
	ahead := time.Until(time.Unix(0, stamp)).Seconds()
	l.put(func(o *v1alpha1.Observation) { setOffset(o, "containerd", ahead, true) })
}

// endpoint is the CRI socket by the order in which the kubelet decides: flag, configuration, default.
func (l *look) endpoint(ctx context.Context) string {
	if l.opts.Endpoint != "" {
		return l.opts.Endpoint
	}
	// The kubelet's file is read by then, or its disk does not answer.
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(200*time.Millisecond))
	defer cancel()
	l.waitAll(ctx, l.kubeletRead)
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.obs.Kubelet.Config.RuntimeEndpoint; e != "" {
		return e
	}
	return DefaultEndpoint
}

func (l *look) waitAll(ctx context.Context, signals ...*signal) {
	for _, s := range signals {
		if !s.wait(ctx) {
			return
		}
	}
}

func dialCRI(r root, endpoint string) (*grpc.ClientConn, error) {
	socket, ok := strings.CutPrefix(endpoint, "unix://")
	if !ok {
		if !strings.HasPrefix(endpoint, "/") {
			return nil, fmt.Errorf("CRI endpoint %q is not a Unix socket", endpoint)
		}
		socket = endpoint
	}
	if r != "/" && r != "" && !strings.HasPrefix(socket, string(r)) {
		socket = r.path(socket)
	}
	return grpc.NewClient("passthrough:///"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("localhost"),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", addr)
		}),
		// A socket that nobody listens on is an answer: it is not tried again within one look.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 10 * time.Second, MaxDelay: 10 * time.Second, Multiplier: 1}, MinConnectTimeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithDisableServiceConfig(), grpc.WithNoProxy(),
	)
}

// criError says what a failed call means for an operator.
func criError(rpc, endpoint string, took time.Duration, err error) error {
	switch {
	case err == nil:
		return nil
	case status.Code(err) == codes.DeadlineExceeded || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("CRI %s over %s gave no answer within %.1f s", rpc, endpoint, took.Seconds())
	}
	return fmt.Errorf("CRI %s over %s: %s", rpc, endpoint, redact.Text(status.Convert(err).Message()))
}

// settleFromFile lets the sources that wait for the running configuration go on with the one on disk.
func (l *look) settleFromFile(ctx context.Context) {
	l.waitAll(ctx, l.fileRead)
	l.mu.Lock()
	s := l.runtime
	l.mu.Unlock()
	l.setSettings(s)
}

func (l *look) takeStatus(r *cri.StatusResponse) error {
	var conds []v1alpha1.Condition
	for _, c := range r.GetStatus().GetConditions() {
		conds = append(conds, v1alpha1.Condition{Type: c.Type, Status: c.Status, Reason: c.Reason, Message: redact.Text(c.Message)})
	}
	base := defaultSettings()
	base.handlers = nil
	set, err := fromStatus(orEmpty(r.Info["config"]), base)
	for _, h := range r.RuntimeHandlers {
		if h.Name != "" && !hasHandler(set.handlers, h.Name) {
			set.handlers = append(set.handlers, v1alpha1.RuntimeHandler{Name: h.Name})
		}
	}
	l.mu.Lock()
	file := l.runtime // the file, when it was read by now: containerd 2 does not tell these over CRI
	l.mu.Unlock()
	if set.sandboxImage == "" {
		set.sandboxImage = file.sandboxImage
	}
	set.configPath = file.configPath
	l.setSettings(set)
	l.put(func(o *v1alpha1.Observation) {
		rt := &o.Runtime
		rt.Conditions = conds
		rt.LastCNILoad = r.Info["lastCNILoadStatus"]
		rt.DefaultHandler = set.defaultName
		rt.RootDir, rt.StateDir = set.root, set.state
		setIfEmpty(&rt.Snapshotter, set.snapshotter)
		setIfEmpty(&rt.SandboxImage, set.sandboxImage)
		if rt.Handlers == nil {
			rt.Handlers = set.handlers
		}
	})
	if err != nil {
		return fmt.Errorf("the runtime's verbose status: %w", err)
	}
	return nil
}

func orEmpty(s string) string {
	if s == "" {
		return "{}"
	}
	return s
}

func hasHandler(list []v1alpha1.RuntimeHandler, name string) bool {
	for _, h := range list {
		if h.Name == name {
			return true
		}
	}
	return false
}

func sandboxesOf(items []*cri.PodSandbox) ([]v1alpha1.Sandbox, map[string]bool) {
	out := make([]v1alpha1.Sandbox, 0, len(items))
	ids := make(map[string]bool, len(items))
	for _, s := range items {
		ids[s.Id] = true
		out = append(out, v1alpha1.Sandbox{
			ID: s.Id, Name: s.GetMetadata().GetName(), Namespace: s.GetMetadata().GetNamespace(), PodUID: s.GetMetadata().GetUid(),
			Attempt: s.GetMetadata().GetAttempt(), Ready: s.State == cri.PodSandboxState_SANDBOX_READY,
			CreatedAt: time.Unix(0, s.CreatedAt).UTC(), Handler: s.RuntimeHandler, Labels: s.Labels,
		})
	}
	return out, ids
}

var containerStates = map[cri.ContainerState]string{
	cri.ContainerState_CONTAINER_CREATED: "created", cri.ContainerState_CONTAINER_RUNNING: "running",
	cri.ContainerState_CONTAINER_EXITED: "exited", cri.ContainerState_CONTAINER_UNKNOWN: "unknown",
}

func containersOf(items []*cri.Container) []v1alpha1.Container {
	out := make([]v1alpha1.Container, 0, len(items))
	for _, c := range items {
		out = append(out, v1alpha1.Container{
			ID: c.Id, SandboxID: c.PodSandboxId, Name: c.GetMetadata().GetName(), Attempt: c.GetMetadata().GetAttempt(),
			Pod: c.Labels["io.kubernetes.pod.name"], Namespace: c.Labels["io.kubernetes.pod.namespace"], PodUID: c.Labels["io.kubernetes.pod.uid"],
			State: containerStates[c.State], Image: c.GetImage().GetImage(), CreatedAt: time.Unix(0, c.CreatedAt).UTC(),
		})
	}
	return out
}

// netns joins each sandbox with its pause process and its network namespace: the process tells the namespace's number, the
// mount table the file that keeps it. Nothing is asked of the runtime.
func (l *look) netns(sandboxes []v1alpha1.Sandbox) {
	files := map[string]string{}
	for _, m := range l.table {
		if m.fstype == "nsfs" && strings.HasPrefix(m.root, "net:") {
			if old := files[m.root]; old == "" || strings.HasPrefix(old, "/var/run/") {
				files[m.root] = m.target
			}
		}
	}
	own, _ := l.root.readlink("/proc/self/ns/net")
	l.mu.Lock()
	pids := l.containerPIDs
	l.mu.Unlock()
	for i := range sandboxes {
		sb := &sandboxes[i]
		p, ok := mainProcess(pids[sb.ID])
		if !ok {
			continue
		}
		sb.PID = p.pid
		ns, err := l.root.readlink(procPath(p.pid, "ns/net"))
		if err != nil || own == "" || ns == own {
			continue // gone meanwhile, or the node's own network
		}
		sb.NetNS = files[ns]
		sb.NetNSGone = sb.NetNS == ""
		sb.IPGone = !hasAddress(l.root.text(procPath(p.pid, "net/fib_trie")), l.root.text(procPath(p.pid, "net/if_inet6")))
	}
}

// mainProcess is the oldest process of a container.
func mainProcess(list []procInfo) (procInfo, bool) {
	var best procInfo
	for _, p := range list {
		if p.state == "Z" {
			continue
		}
		if best.pid == 0 || p.started < best.started || p.started == best.started && p.pid < best.pid {
			best = p
		}
	}
	return best, best.pid != 0
}

// hasAddress tells whether a network namespace has an address besides loopback's and link-local ones.
func hasAddress(fibTrie, inet6 string) bool {
	prev := ""
	for line := range strings.Lines(fibTrie) {
		f := strings.Fields(line)
		if len(f) >= 3 && f[0] == "/32" && f[1] == "host" && f[2] == "LOCAL" {
			if ip := net.ParseIP(prev); ip != nil && !ip.IsLoopback() {
				return true
			}
		}
		if len(f) > 1 && (f[0] == "|--" || f[0] == "+--") {
			prev, _, _ = strings.Cut(f[1], "/")
		}
	}
	for line := range strings.Lines(inet6) {
		f := strings.Fields(line)
		if len(f) == 6 && f[5] != "lo" && !strings.HasPrefix(f[0], "fe8") {
			return true
		}
	}
	return false
}
