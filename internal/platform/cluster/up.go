package cluster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	kind "sigs.k8s.io/kind/pkg/cluster"
	kindexec "sigs.k8s.io/kind/pkg/exec"

	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/progress"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	kindconfigs "github.com/sickbay-dev/sickbay/kind-configs"
)

// UpOptions say which cluster is wanted. The zero value with an image is what everybody should use.
type UpOptions struct {
	Name     string // DefaultName when empty
	Topology string // of kind-configs
	Profile  string // of kind-configs
	// Image is the node image, which the engine has.
	Image string
	// Kubernetes is the image's version; empty to take it from the image's name.
	Kubernetes string
	// Runtime is the image's where it is not kind's own: crio or containerd@1.7.
	Runtime string
	// APIPort is a fixed port on 127.0.0.1 for the API, 0 for any free one.
	APIPort int
	// Online lets the cluster's packets leave the machine. Without it nothing leaves, and nothing of the cluster needs to.
	Online   bool
	Timeouts Timeouts
}

// Timeouts bound what Up and Down wait for; zero takes the default.
type Timeouts struct {
	// Create bounds kind. Default 10 min: 25 s usually, 7 min under software emulation.
	Create time.Duration
	// Ready bounds the wait for all nodes after that. Default 3 min: 5 s usually.
	Ready time.Duration
	// Quiet bounds what Down asks of a node before its container is removed: recovering faults, thawing, swapoff. Default 20 s.
	Quiet time.Duration
	// Remove bounds removing the containers. Default 60 s: 3 s usually for five nodes.
	Remove time.Duration
}

func (t Timeouts) withDefaults() Timeouts {
	timeoutscale.Default(&t.Create, 10*time.Minute)
	timeoutscale.Default(&t.Ready, 3*time.Minute)
	timeoutscale.Default(&t.Quiet, 20*time.Second)
	t.Remove = cmp.Or(t.Remove, time.Minute) // stretched where it is used: see runWith
	return t
}

// usualUp is a cluster of one and four on two cores.
const usualUp = 35 * time.Second

// upMarker is a file on the control plane that says Up went through to its end.
const upMarker = "/var/lib/sickbay/cluster-up"

// validName is what kind and host names allow together.
var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,48}[a-z0-9])?$`)

// Up makes the cluster, or answers with the one that is there when it is ours, of the same shape, and healthy. A cluster of that
// name that is not ours is never touched. When ctx ends, what was begun is removed again.
func Up(ctx context.Context, e *engine.Engine, o UpOptions) (_ *Cluster, err error) {
	if o.Name == "" {
		o.Name = DefaultName
	}
	o.Timeouts = o.Timeouts.withDefaults()
	if !validName.MatchString(o.Name) {
		return nil, &TakenError{What: fmt.Sprintf("%q cannot be a cluster's name", o.Name), Way: "use lower-case letters, digits, dots and dashes, 50 at most"}
	}
	if o.Image == "" {
		return nil, errors.New("make a cluster: no node image was given")
	}
	unlock, err := lock(ctx, o.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()

	config, m, err := plan(ctx, e, o)
	if err != nil {
		return nil, err
	}
	c, err := reuse(ctx, e, o, m)
	if c != nil || err != nil {
		return c, err
	}
	if err := portFree(o.APIPort); err != nil {
		return nil, err
	}
	if err := sameNetwork(ctx, e, o); err != nil {
		return nil, err
	}

	task := progress.From(ctx).Start(fmt.Sprintf("make cluster %s (%s, %s timings)", o.Name, shape(config), m.Profile), o.Timeouts.Create)
	task.Expect(usualUp)
	defer func() { task.End(err) }()
	defer func() {
		if err != nil {
			// Also after Ctrl-C: what was begun goes away again.
			if derr := takeDown(context.WithoutCancel(ctx), e, o.Name, o.Image, o.Timeouts); derr != nil {
				err = errors.Join(err, fmt.Errorf("and what was begun could not be removed (`sickbay cluster down --cluster %s`): %w", o.Name, derr))
			}
		}
	}()
	n, err := ensureNetwork(ctx, e)
	if err != nil {
		return nil, err
	}
	if o.Online {
		err = unisolate(ctx, e, o.Image) // of an earlier cluster whose taking down was cut off
	} else {
		task.Detail("closing the network")
		err = isolate(ctx, e, o.Image, n)
	}
	if err != nil {
		return nil, err
	}
	if err := create(ctx, e, o, config, task); err != nil {
		return nil, err
	}
	if c, err = Find(ctx, e, o.Name); err != nil {
		return nil, err
	}
	task.Detail("waiting for the nodes to be Ready")
	if err := c.finish(ctx, o.Timeouts.Ready, task); err != nil {
		return nil, err
	}
	return c, nil
}

// plan is kind's configuration with the mark on every node.
func plan(ctx context.Context, e *engine.Engine, o UpOptions) (*v1alpha4.Cluster, mark, error) {
	k, err := askKernel(ctx, e)
	if err != nil {
		return nil, mark{}, err
	}
	armed, err := appArmor(ctx, e, k, o)
	if err != nil {
		return nil, mark{}, err
	}
	ko := kindconfigs.Options{Name: o.Name, Topology: o.Topology, Profile: o.Profile, Kubernetes: o.version(), CgroupV1: k.cgroupV1, AppArmor: armed, Runtime: o.Runtime, APIPort: o.APIPort}
	config, err := kindconfigs.Cluster(ko)
	if err != nil {
		return nil, mark{}, &TakenError{What: err.Error(), Way: "choose one of those"}
	}
	sum := sha256.Sum256([]byte(kindconfigs.Sum(config) + " " + o.Image))
	kindconfigs.Stretch(config, timeoutscale.Factor())
	kindconfigs.Audit(config)
	m := mark{Topology: o.Topology, Profile: o.Profile, Sum: hex.EncodeToString(sum[:6]), Online: o.Online}
	if m.Topology == "" {
		m.Topology = kindconfigs.DefaultTopology
	}
	if m.Profile == "" {
		m.Profile = kindconfigs.DefaultProfile
	}
	for i := range config.Nodes {
		config.Nodes[i].ExtraMounts = append(config.Nodes[i].ExtraMounts, m.mount())
	}
	return config, m, nil
}

// version is the Kubernetes version that was asked for, or that of the image by its name; empty when neither tells.
func (o UpOptions) version() string {
	if o.Kubernetes != "" {
		return o.Kubernetes
	}
	return kubernetesVersion.FindString(o.Image)
}

var kubernetesVersion = regexp.MustCompile(`v1\.\d+\.\d+`)

func shape(c *v1alpha4.Cluster) string {
	return fmt.Sprintf("1 control plane, %d victims", len(c.Nodes)-1)
}

// reuse answers with the cluster that is there, nil when one must be made, and an error when one is in the way.
func reuse(ctx context.Context, e *engine.Engine, o UpOptions, want mark) (*Cluster, error) {
	c, err := Find(ctx, e, o.Name)
	if errors.As(err, new(*NotFoundError)) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !c.Made() {
		return nil, &TakenError{
			What: fmt.Sprintf("a kind cluster named %s exists and sickbay did not make it; it is left as it is", o.Name),
			Way:  "choose another --cluster",
		}
	}
	if c.unfinished(ctx) {
		progress.From(ctx).Note("cluster %s was never finished: it is made anew", o.Name)
		return nil, takeDown(ctx, e, o.Name, c.Image, o.Timeouts)
	}
	if c.Spec != want.Sum || c.Online != want.Online {
		return nil, &TakenError{
			What: fmt.Sprintf("cluster %s exists as %s (image %s) and another is wanted: %s (image %s)",
				o.Name, describe(mark{c.Topology, c.Profile, c.Spec, c.Online}), c.Image, describe(want), o.Image),
			Way: fmt.Sprintf("use it as it is, take it down (`sickbay cluster down --cluster %s`), or choose another --cluster", o.Name),
		}
	}
	var started error
	for _, n := range c.nodes {
		// A restarted engine or machine leaves them stopped; a paused node is somebody's fault and not ours to wake here.
		if n.State == "exited" || n.State == "created" {
			if _, err := run(ctx, e, o.Timeouts.Remove, "start", n.Name); err != nil {
				started = errors.Join(started, err)
			}
		}
	}
	if started != nil {
		return nil, fmt.Errorf("start the stopped nodes of cluster %s: %w", o.Name, started)
	}
	if c, err = Find(ctx, e, o.Name); err != nil {
		return nil, err
	}
	if !o.Online {
		// A restarted host or a `nft flush ruleset` took the rules away; the nodes are asked for nothing before they are back.
		i, err := c.Isolation(ctx)
		if err != nil {
			return nil, err
		}
		if !i.InPlace {
			n, err := ensureNetwork(ctx, e)
			if err != nil {
				return nil, err
			}
			if err := isolate(ctx, e, o.Image, n); err != nil {
				return nil, err
			}
		}
	}
	task := progress.From(ctx).Start("look whether cluster "+o.Name+" is healthy", o.Timeouts.Ready)
	// A victim of another process's run is ill on purpose, for up to six minutes; whoever comes takes another node.
	err = c.waitReady(ctx, o.Timeouts.Ready, task, c.heldElsewhere)
	if err == nil {
		err = c.writeKubeconfig()
	}
	task.End(err)
	if err != nil {
		return nil, fmt.Errorf("cluster %s is there and not healthy (`sickbay cluster down --cluster %s`, then up again): %w", o.Name, o.Name, err)
	}
	return c, nil
}

// sameNetwork refuses an online cluster beside a closed one, and the other way round: they share one network and its rules.
func sameNetwork(ctx context.Context, e *engine.Engine, o UpOptions) error {
	all, err := List(ctx, e)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.Made() && c.Name != o.Name && c.Online != o.Online {
			is := map[bool]string{true: "may reach the network (--online)", false: "may not reach the network"}
			return &TakenError{
				What: fmt.Sprintf("cluster %s %s, and all clusters of sickbay share one network", c.Name, is[c.Online]),
				Way:  fmt.Sprintf("make this one alike, or take that one down (`sickbay cluster down --cluster %s`)", c.Name),
			}
		}
	}
	return nil
}

func describe(m mark) string {
	s := m.Topology + "/" + m.Profile
	if m.Online {
		s += "/online"
	}
	return s + " " + m.Sum
}

// unfinished tells whether an earlier Up of this cluster was killed half-way. A control plane that does not answer says nothing.
func (c *Cluster) unfinished(ctx context.Context) bool {
	cp := slices.IndexFunc(c.nodes, func(n NodeInfo) bool { return n.Role == ControlPlane })
	if cp < 0 {
		return true
	}
	if c.nodes[cp].State != "running" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(connectBound))
	defer cancel()
	_, err := c.Node(c.nodes[cp].Name).Run(ctx, node.Argv("test", "-e", upMarker))
	return errors.As(err, new(*node.ExitError))
}

// portFree tells who has the port, as far as that can be known, before kind has made anything.
func portFree(port int) error {
	if port == 0 {
		return nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return &TakenError{
			What: fmt.Sprintf("port %d on 127.0.0.1 cannot be had for the API: %v", port, err),
			Way:  "give that port back, or leave the choice to the engine",
		}
	}
	return l.Close()
}

// environment guards the process's environment while kind reads it.
var environment sync.Mutex

// proxies are variables kind hands on to the nodes. In an isolated cluster a proxy cannot be reached, and containerd's errors
// would name the proxy instead of the registry.
var proxies = []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"}

// create runs kind, which knows no context: when ctx ends its containers are taken away from it until it gives up.
func create(ctx context.Context, e *engine.Engine, o UpOptions, config *v1alpha4.Cluster, task progress.Task) (err error) {
	environment.Lock()
	defer environment.Unlock()
	if err := e.Setenv(); err != nil {
		return err
	}
	set := map[string]string{"KIND_EXPERIMENTAL_" + strings.ToUpper(e.Provider) + "_NETWORK": Network}
	dirOfClient, remove, err := client(e, timeoutscale.Factor(), o.version())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	set["PATH"] = dirOfClient + string(os.PathListSeparator) + os.Getenv("PATH")
	restore, err := setenv(set, proxiesUnless(o.Online))
	if err != nil {
		return err
	}
	defer restore()

	dir, err := stateDir(o.Name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a folder for the cluster's state: %w", err)
	}
	provider := kind.ProviderWithDocker()
	if e.Provider == engine.Podman {
		provider = kind.ProviderWithPodman()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeouts.Create, fmt.Errorf("kind did not finish within %s", o.Timeouts.Create))
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- kind.NewProvider(provider, kind.ProviderWithLogger(logger{task})).Create(o.Name,
			kind.CreateWithV1Alpha4Config(config),
			kind.CreateWithNodeImage(o.Image),
			kind.CreateWithKubeconfigPath(filepath.Join(dir, kubeconfigFile)),
			// Our own wait sees every node, and returns an error when its time is over.
			kind.CreateWithWaitForReady(0),
			// On failure the nodes are needed to say why; Up removes them.
			kind.CreateWithRetain(true))
	}()
	select {
	case err := <-done:
		if err != nil {
			return why(ctx, e, o.Name, err)
		}
		return nil
	case <-ctx.Done():
	}
	clean := context.WithoutCancel(ctx)
	end := time.Now().Add(o.Timeouts.Remove)
	for {
		_ = removeContainers(clean, e, o.Name, o.Timeouts.Remove)
		select {
		case <-done:
			return fmt.Errorf("make cluster %s: %w", o.Name, context.Cause(ctx))
		case <-time.After(500 * time.Millisecond):
		}
		if time.Now().After(end) {
			return fmt.Errorf("make cluster %s: %w (and kind did not give up)", o.Name, context.Cause(ctx))
		}
	}
}

func proxiesUnless(online bool) []string {
	if online {
		return nil
	}
	return proxies
}

func setenv(set map[string]string, unset []string) (restore func(), err error) {
	old := map[string]string{}
	var absent []string
	remember := func(k string) {
		if v, ok := os.LookupEnv(k); ok {
			old[k] = v
		} else {
			absent = append(absent, k)
		}
	}
	restore = func() {
		for k, v := range old {
			_ = os.Setenv(k, v)
		}
		for _, k := range absent {
			_ = os.Unsetenv(k)
		}
	}
	for k, v := range set {
		remember(k)
		if err := os.Setenv(k, v); err != nil {
			restore()
			return nil, fmt.Errorf("set %s: %w", k, err)
		}
	}
	for _, k := range unset {
		remember(k)
		if err := os.Unsetenv(k); err != nil {
			restore()
			return nil, fmt.Errorf("unset %s: %w", k, err)
		}
	}
	return restore, nil
}

// why adds to kind's error what the failed command printed, and the kubelet's last words.
func why(ctx context.Context, e *engine.Engine, name string, err error) error {
	made := fmt.Errorf("make cluster %s: %w", name, err)
	if r := kindexec.RunErrorForError(err); r != nil {
		if out := text.Tail(string(r.Output), 8); out != "" {
			made = fmt.Errorf("%w: %s", made, out)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(connectBound))
	defer cancel()
	out, jerr := node.Container(e, name+"-"+ControlPlane).Run(ctx, node.Argv("journalctl", "-u", "kubelet", "-n", "200", "--no-pager", "-o", "cat"))
	if words := lastWords(string(out)); jerr == nil && words != "" {
		made = fmt.Errorf("%w\nthe kubelet's last words: %s", made, words)
		if strings.Contains(words, "inotify") {
			made = fmt.Errorf("%w\nAll nodes of this machine share the kernel's inotify limits: take another cluster down, or raise them with `sysctl -w fs.inotify.max_user_instances=1024`", made)
		}
	}
	return made
}

// lastWords are the kubelet's errors; what systemd says of its restarts tells nothing.
func lastWords(journal string) string {
	var errs []string
	for line := range strings.Lines(journal) {
		if len(line) > 1 && (line[0] == 'E' || line[0] == 'F') && line[1] >= '0' && line[1] <= '9' {
			errs = append(errs, strings.TrimSpace(line))
		}
	}
	return text.Tail(strings.Join(errs, "\n"), 3)
}

// finish waits for the nodes, pins the workload image meanwhile, and leaves the marker and the kubeconfig.
func (c *Cluster) finish(ctx context.Context, bound time.Duration, task progress.Task) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.waitReady(gctx, bound, task, nobody) })
	g.Go(func() error { return c.pinWorkloadImage(gctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	if err := c.writeKubeconfig(); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if n.Role == ControlPlane {
			return c.Node(n.Name).Put(ctx, upMarker, 0o644, strings.NewReader(time.Now().UTC().Format(time.RFC3339)+"\n"))
		}
	}
	return errNoControlPlane
}

// readyPoll is how often nodes are asked for: five nodes become Ready within a second of each other.
const readyPoll = 250 * time.Millisecond

func nobody(string) bool { return false }

// waitReady waits until every node but the spared ones is registered and Ready.
func (c *Cluster) waitReady(ctx context.Context, bound time.Duration, task progress.Task, spared func(node string) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("not within %s", bound))
	defer cancel()
	for {
		missing, err := c.notReady(ctx, spared)
		if err == nil && len(missing) == 0 {
			return nil
		}
		if err != nil {
			task.Detail("%v", err)
		} else {
			task.Detail("not Ready: %s", strings.Join(missing, ", "))
		}
		if retry.Sleep(ctx, readyPoll) != nil {
			if err != nil {
				return fmt.Errorf("wait for the nodes of cluster %s to be Ready: %w: %w", c.Name, context.Cause(ctx), err)
			}
			return fmt.Errorf("wait for the nodes of cluster %s to be Ready: %w: %s", c.Name, context.Cause(ctx), strings.Join(missing, "; "))
		}
	}
}

// notReady names the nodes that are not, with what they say of it. It leaves out the spared ones.
func (c *Cluster) notReady(ctx context.Context, spared func(node string) bool) ([]string, error) {
	list, err := c.Kube().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, want := range c.nodes {
		if spared(want.Name) {
			continue
		}
		i := slices.IndexFunc(list.Items, func(n corev1.Node) bool { return n.Name == want.Name })
		if i < 0 {
			missing = append(missing, want.Name+" (not registered)")
			continue
		}
		ready, why := false, "no Ready condition"
		for _, cond := range list.Items[i].Status.Conditions {
			if cond.Type == corev1.NodeReady {
				ready, why = cond.Status == corev1.ConditionTrue, cond.Message
			}
		}
		if !ready {
			missing = append(missing, want.Name+" ("+why+")")
		}
	}
	return missing, nil
}
