package collect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/redact"
)

const (
	// DefaultEndpoint is containerd's, when neither the kubelet's flags nor its configuration name one.
	DefaultEndpoint = "unix:///run/containerd/containerd.sock"
	crioEndpoint    = "unix:///var/run/crio/crio.sock"
	// maxMessage is what the kubelet allows a CRI answer.
	maxMessage = 16 << 20
)

// call is a source that is one call to the runtime.
func (l *look) call(rpc string, fn func(context.Context, *grpc.ClientConn) error) func(context.Context, *source) error {
	return func(ctx context.Context, s *source) error {
		conn, err := l.dial()
		if err != nil {
			return err
		}
		endpoint := l.endpoint()
		d := rpc + " over " + endpoint
		s.doing.Store(&d)
		began := time.Now()
		err = fn(ctx, conn)
		took := time.Since(began)
		l.put(func(o *v1alpha1.Observation) {
			if o.Runtime.CallMS == nil {
				o.Runtime.CallMS = map[string]int64{}
			}
			o.Runtime.CallMS[rpc] = took.Milliseconds()
		})
		return criError(rpc, endpoint, took, err)
	}
}

func (l *look) criVersion(ctx context.Context, c *grpc.ClientConn) error {
	v, err := cri.NewRuntimeServiceClient(c).Version(ctx, &cri.VersionRequest{})
	if err != nil {
		return err
	}
	l.put(func(o *v1alpha1.Observation) { o.Runtime.Name, o.Runtime.Version = v.RuntimeName, v.RuntimeVersion })
	return nil
}

func (l *look) criStatus(ctx context.Context, c *grpc.ClientConn) error {
	r, err := cri.NewRuntimeServiceClient(c).Status(ctx, &cri.StatusRequest{Verbose: true})
	if err != nil {
		return err
	}
	return l.takeStatus(r)
}

func (l *look) criConfig(ctx context.Context, c *grpc.ClientConn) error {
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
}

func (l *look) criSandboxes(ctx context.Context, c *grpc.ClientConn) error {
	r, err := cri.NewRuntimeServiceClient(c).ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	out := sandboxesOf(r.Items)
	l.put(func(o *v1alpha1.Observation) { o.Runtime.Sandboxes = out })
	return nil
}

func (l *look) criContainers(ctx context.Context, c *grpc.ClientConn) error {
	r, err := cri.NewRuntimeServiceClient(c).ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return err
	}
	out := containersOf(r.Containers)
	l.put(func(o *v1alpha1.Observation) { o.Runtime.Containers = out })
	return nil
}

func (l *look) criImages(ctx context.Context, c *grpc.ClientConn) error {
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
}

// listed are the sandboxes and containers that the runtime told by now; nil is what it did not tell.
func (l *look) listed() (sandboxes []v1alpha1.Sandbox, containers []v1alpha1.Container) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.obs.Runtime.Sandboxes, l.obs.Runtime.Containers
}

// runtimeClock asks for the statistics of one container: the runtime stamps them with its own clock. Without a running
// container its clock stays unknown, and that is no failure to look.
func (l *look) runtimeClock(ctx context.Context, conn *grpc.ClientConn) error {
	// Half of what others may take: then it ends before it could be called late.
	ctx, cancel := context.WithTimeout(ctx, l.opts.PerSource/2)
	defer cancel()
	_, containers := l.listed()
	id := ""
	for _, c := range containers {
		if c.State == "running" && (id == "" || c.ID < id) {
			id = c.ID
		}
	}
	if id == "" {
		return nil
	}
	r, err := cri.NewRuntimeServiceClient(conn).ContainerStats(ctx, &cri.ContainerStatsRequest{ContainerId: id})
	stamp := r.GetStats().GetCpu().GetTimestamp()
	if err != nil || stamp == 0 {
		return nil
	}
	ahead := time.Until(time.Unix(0, stamp)).Seconds()
	l.put(func(o *v1alpha1.Observation) { setOffset(o, cmp.Or(o.Runtime.Unit, "containerd"), ahead, true) })
	return nil
}

// endpoint is the CRI socket by the order in which the kubelet decides: flag, configuration, default.
func (l *look) endpoint() string {
	if l.opts.Endpoint != "" {
		return l.opts.Endpoint
	}
	l.mu.Lock()
	e := l.obs.Kubelet.Config.RuntimeEndpoint
	l.mu.Unlock()
	return cmp.Or(e, l.usualEndpoint())
}

// usualEndpoint is for a kubelet whose configuration is not read yet, which takes long on a node that is out of breath, or names no
// endpoint: of the runtime that has a socket there, else of the one that is configured.
func (l *look) usualEndpoint() string {
	for _, at := range []struct{ path, endpoint string }{
		{"/run/containerd/containerd.sock", DefaultEndpoint}, {"/run/crio/crio.sock", crioEndpoint},
		{"/run/k3s/containerd/containerd.sock", "unix:///run/k3s/containerd/containerd.sock"}, {"/run/k0s/containerd.sock", "unix:///run/k0s/containerd.sock"},
		{"/etc/containerd/config.toml", DefaultEndpoint}, {"/etc/crio", crioEndpoint},
	} {
		if _, err := l.root.lstat(at.path); err == nil {
			return at.endpoint
		}
	}
	return DefaultEndpoint
}

// dialRuntime makes the connection that all calls share.
func (l *look) dialRuntime() (*grpc.ClientConn, error) {
	endpoint := l.endpoint()
	l.put(func(o *v1alpha1.Observation) { o.Runtime.Endpoint = endpoint })
	return dialCRI(l.root, endpoint)
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

func (l *look) takeStatus(r *cri.StatusResponse) error {
	var conds []v1alpha1.Condition
	for _, c := range r.GetStatus().GetConditions() {
		conds = append(conds, v1alpha1.Condition{Type: c.Type, Status: c.Status, Reason: c.Reason, Message: redact.Text(c.Message)})
	}
	base := l.settings() // what the runtime does not tell, its files do
	told := base.handlers
	base.handlers = nil
	set, err := fromStatus(orEmpty(r.Info["config"]), base)
	for _, h := range r.RuntimeHandlers {
		if h.Name != "" && !hasHandler(set.handlers, h.Name) {
			set.handlers = append(set.handlers, v1alpha1.RuntimeHandler{Name: h.Name})
		}
	}
	for i := range set.handlers {
		if j := slices.IndexFunc(told, func(h v1alpha1.RuntimeHandler) bool { return h.Name == set.handlers[i].Name }); j >= 0 && set.handlers[i].Type == "" {
			set.handlers[i] = told[j]
		}
	}
	l.setSettings(set, true)
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

func sandboxesOf(items []*cri.PodSandbox) []v1alpha1.Sandbox {
	out := make([]v1alpha1.Sandbox, 0, len(items))
	for _, s := range items {
		out = append(out, v1alpha1.Sandbox{
			ID: s.Id, Name: s.GetMetadata().GetName(), Namespace: s.GetMetadata().GetNamespace(), PodUID: s.GetMetadata().GetUid(),
			Attempt: s.GetMetadata().GetAttempt(), Ready: s.State == cri.PodSandboxState_SANDBOX_READY,
			CreatedAt: time.Unix(0, s.CreatedAt).UTC(), Handler: s.RuntimeHandler, Labels: redact.SandboxLabels(s.Labels),
		})
	}
	return out
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
func (l *look) netns(_ context.Context, s *source) error {
	files := map[string]string{}
	for _, m := range l.table {
		if m.fstype == "nsfs" && strings.HasPrefix(m.root, "net:") {
			if old := files[m.root]; old == "" || strings.HasPrefix(old, "/var/run/") {
				files[m.root] = m.target
			}
		}
	}
	own, _ := l.root.readlink("/proc/self/ns/net")
	listed, _ := l.listed()
	l.mu.Lock()
	pids := l.containerPIDs
	l.mu.Unlock()
	sandboxes := slices.Clone(listed)
	for i := range sandboxes {
		sb := &sandboxes[i]
		p, ok := mainProcess(pids[sb.ID])
		if !ok {
			continue
		}
		sb.PID = p.pid
		d := "reading " + procPath(p.pid, "net")
		s.doing.Store(&d)
		ns, err := l.root.readlink(procPath(p.pid, "ns/net"))
		if err != nil || own == "" || ns == own {
			continue // gone meanwhile, or the node's own network
		}
		sb.NetNS = files[ns]
		sb.NetNSGone = sb.NetNS == ""
		sb.IPGone = !hasAddress(l.root.text(procPath(p.pid, "net/fib_trie")), l.root.text(procPath(p.pid, "net/if_inet6")))
	}
	l.put(func(o *v1alpha1.Observation) { o.Runtime.Sandboxes = sandboxes })
	return nil
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
