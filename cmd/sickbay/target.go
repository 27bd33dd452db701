package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/apiserver"
	"github.com/sickbay-dev/sickbay/internal/bounds"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// maxKubeconfig is as much of a kubeconfig as is read: a hundred clusters with their certificates have half of it.
const maxKubeconfig = 1 << 20

// targetFlags say what to look at: a cluster, this machine, a machine over ssh, or a recorded bundle.
type targetFlags struct {
	cluster string
	context string
	nodes   []string
	bundle  string
	local   bool
	ssh     []string
	sudo    bool
	// kubeconfig is a way to the API server for nodes that are no kind cluster's.
	kubeconfig string
	// debugImage is for the pods by which nodes are read through the API.
	debugImage string
	// enterHost: this process runs in a privileged pod with hostPID on the node.
	enterHost bool
	// inCluster has the API server read by the pod's own account.
	inCluster bool
	since     time.Duration
	timeout   time.Duration // of one node; zero takes the transport's default
	keepAgent bool
}

func (a *app) addTargetFlags(cmd *cobra.Command, w *targetFlags) {
	fl := cmd.Flags()
	fl.StringVar(&w.cluster, "cluster", "", "name of any kind cluster (default: sickbay, or the only one that exists)")
	fl.StringVar(&w.context, "context", "", "the cluster of this kubeconfig context; if it is not a kind cluster of this machine, through a privileged pod on each node")
	fl.StringSliceVar(&w.nodes, "node", nil, "only these nodes; with --local, this machine's node name")
	fl.BoolVar(&w.local, "local", false, "this machine, which is a node; without root it is read in part")
	fl.StringSliceVar(&w.ssh, "ssh", nil, "a node over ssh: user@host, a host from your ssh configuration, or NODE=user@host")
	fl.BoolVar(&w.sudo, "sudo", false, "with --ssh: use sudo there")
	fl.StringVar(&w.kubeconfig, "kubeconfig", "", "the kubeconfig of --context; with --local or --ssh: also read the API server with it")
	fl.StringVar(&w.debugImage, "debug-image", "", "with --context: read nodes through pods of this image, which needs a shell (default: one that the node has)")
	fl.DurationVar(&w.timeout, "timeout", 0, "time limit for one node (default 4s; 30s over ssh and 1m through a pod, because the agent is copied first)")
	fl.DurationVar(&w.since, "since", 10*time.Minute, "how far back to read logs")
	fl.BoolVar(&w.keepAgent, "keep-agent", false, "leave the agent (24 MB) on nodes that sickbay did not make: the next look is faster")
	_ = cmd.RegisterFlagCompletionFunc("cluster", a.completeClusters)
	_ = cmd.RegisterFlagCompletionFunc("node", a.completeNodes)
	cmd.MarkFlagsMutuallyExclusive("cluster", "context", "local", "ssh")
}

// atLook are the target's flags that say how a live node is looked at.
var atLook = []string{"since", "timeout", "sudo", "kubeconfig", "debug-image", "keep-agent"}

// bundleFlag adds --bundle, which goes with nothing that says how to look at what is there now.
func bundleFlag(cmd *cobra.Command, dir *string, usage string, more ...string) {
	cmd.Flags().StringVar(dir, "bundle", "", usage)
	_ = cmd.MarkFlagDirname("bundle")
	for _, live := range slices.Concat([]string{"cluster", "context", "local", "ssh"}, atLook, more) {
		cmd.MarkFlagsMutuallyExclusive("bundle", live)
	}
}

func (w targetFlags) check() error {
	if w.since <= 0 || w.since > 7*24*time.Hour {
		return usagef("--since %s: it must be above zero and at most 168h", w.since)
	}
	if w.timeout != 0 && w.timeout < time.Second || w.timeout > 10*time.Minute {
		return usagef("--timeout %s: it must be between 1s and 10m", w.timeout)
	}
	if w.sudo && len(w.ssh) == 0 {
		return usagef("--sudo needs --ssh")
	}
	if w.kubeconfig != "" && !w.local && len(w.ssh) == 0 && w.context == "" {
		return usagef("--kubeconfig needs --local, --ssh or --context")
	}
	if w.debugImage != "" && w.context == "" {
		return usagef("--debug-image needs --context")
	}
	if w.local && len(w.nodes) > 1 {
		return usagef("--local is one node, but %d are named", len(w.nodes))
	}
	return namesOfNodes(w.nodes)
}

// target is what to look at, and how to act on it.
type target struct {
	diagnose.Target
	ours    bool
	cluster *cluster.Cluster // nil for local and ssh
	mu      sync.Mutex
	nodes   map[string]node.Node // also by the names they were found to have
	listed  []corev1.Node        // as the API server or the engine knows them, with their addresses
	options diagnose.Options
	rest    *rest.Config // of --kubeconfig or --context, else nil
	kube    kubernetes.Interface
}

// sshTimeout leaves room for the agent's copy, 24 MB, and for three handshakes over a slow line.
const sshTimeout = 30 * time.Second

// target finds what to look at. A bundle is not looked at but read; the caller does that.
func (a *app) target(ctx context.Context, w targetFlags) (*target, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	s := &target{nodes: map[string]node.Node{}, options: diagnose.Options{Since: w.since, NodeTimeout: w.timeout}}
	if w.context == "" {
		if err := s.readKubeconfig(w.kubeconfig, w.inCluster); err != nil {
			return nil, err
		}
	}
	guessed := map[string]bool{} // names that nobody gave
	switch {
	case w.local:
		if err := a.here(ctx, w, s, guessed); err != nil {
			return nil, err
		}
	case len(w.ssh) > 0:
		if err := s.overSSH(ctx, w, guessed); err != nil {
			return nil, err
		}
	default:
		if err := a.ofCluster(ctx, w, s); err != nil {
			return nil, err
		}
	}
	chosen := map[string]bool{}
	for _, want := range w.nodes {
		have := slices.Sorted(maps.Keys(s.nodes))
		name, ok := among(want, have, s.listed)
		if !ok {
			return nil, noName(cmp.Or(s.Cluster, "--ssh")+" has no node", want, have)
		}
		chosen[name] = true
	}
	for name, n := range s.nodes {
		if len(chosen) == 0 || chosen[name] {
			one := diagnose.Node{Name: name, Agent: a.deps.agent(n)}
			if l, ok := one.Agent.(leaver); ok && !s.ours && !w.keepAgent {
				l.Visit()
				a.leaving = append(a.leaving, l)
			}
			if guessed[name] {
				one.Renamed = func(found string) { s.rename(found, n) }
			}
			s.Nodes = append(s.Nodes, one)
		}
	}
	slices.SortFunc(s.Nodes, func(x, y diagnose.Node) int { return strings.Compare(x.Name, y.Name) })
	return s, nil
}

// here takes this machine as the node.
func (a *app) here(ctx context.Context, w targetFlags, s *target, guessed map[string]bool) error {
	name, err := localName(w.nodes)
	if err != nil {
		return err
	}
	if len(w.nodes) == 0 {
		name = s.nameOf(ctx, name, guessed)
	}
	if s.nodes[name] = node.Local(name); w.enterHost {
		s.nodes[name], err = a.deps.hostNode(name)
	}
	return err
}

// ofCluster takes the nodes of a kind cluster by its engine, or of a context through the API.
func (a *app) ofCluster(ctx context.Context, w targetFlags, s *target) error {
	c, err := a.whichCluster(ctx, w)
	if err != nil && w.context != "" {
		return a.throughAPI(ctx, w, s, err)
	}
	if err != nil {
		return err
	}
	s.cluster, s.ours, s.Cluster, s.API = c, c.Made(), c.Name, c
	for _, n := range c.Nodes() {
		s.nodes[n.Name] = c.Node(n.Name)
		s.listed = append(s.listed, corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Address: n.IP}}}})
	}
	return nil
}

// readKubeconfig has the API server of a file read, where one is given, or of the cluster that this process runs in.
func (s *target) readKubeconfig(file string, inCluster bool) error {
	if file == "" && !inCluster {
		return nil
	}
	if _, err := bounds.ReadFile(file, maxKubeconfig); file != "" && err != nil {
		return usagef("read the kubeconfig %s: %s", file, err)
	}
	var err error
	if s.rest, s.kube, err = cluster.Kubeconfig(file); err != nil {
		return usagef("%s", err)
	}
	s.observe()
	return nil
}

// observe has the API server asked.
func (s *target) observe() {
	s.API = diagnose.APIFunc(func(ctx context.Context, nodes []string) (map[string]*v1alpha1.API, error) {
		return apiserver.Observe(ctx, s.rest, s.kube, nodes)
	})
}

// overSSH takes the machines of --ssh as nodes.
func (s *target) overSSH(ctx context.Context, w targetFlags, guessed map[string]bool) error {
	for _, dest := range w.ssh {
		name, dest, given := sshName(dest)
		if name == "" || dest == "" {
			return usagef("--ssh %s: it names no host", dest)
		}
		if strings.ContainsFunc(dest, unicode.IsSpace) {
			return usagef("--ssh %q: it is no host: options of ssh go into its configuration", dest)
		}
		if withPort.MatchString(dest) {
			return usagef("--ssh %[1]s: a port is given as ssh://%[1]s", dest)
		}
		if given {
			var err error
			if name, err = nodeName("--ssh", name); err != nil {
				return err
			}
		} else {
			name = s.nameOf(ctx, name, guessed)
		}
		if s.nodes[name] != nil {
			return usagef("--ssh %s: node %s is named twice", dest, name)
		}
		s.nodes[name] = node.SSH(name, dest, w.sudo)
	}
	if s.options.NodeTimeout == 0 {
		s.options.NodeTimeout = timeoutscale.Bound(sshTimeout)
	}
	return nil
}

// leaver is an agent that can leave nothing on its node.
type leaver interface {
	Visit()
	Leave(ctx context.Context) error
}

// leaveBound bounds leaving nodes: one command on each, side by side.
const leaveBound = 10 * time.Second

// leave takes the agents off the nodes that sickbay did not make, and then the pods by which it was there.
func (a *app) leave(ctx context.Context) {
	warn := func(err error) {
		if err != nil && !a.quiet {
			a.say("Warning: %s\n", err)
		}
	}
	bound, cancel := context.WithTimeout(ctx, timeoutscale.Bound(leaveBound))
	defer cancel()
	var wg sync.WaitGroup
	for _, l := range a.leaving {
		wg.Go(func() { warn(l.Leave(bound)) })
	}
	wg.Wait()
	for _, p := range a.pods {
		warn(p.Close(ctx))
	}
	a.leaving, a.pods = nil, nil
}

// rename makes a node known by the name that its kubelet has.
func (s *target) rename(name string, n node.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes[name] = n
}

// node reaches a node by its name.
func (s *target) node(name string) (node.Node, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.nodes[name]
	return n, ok
}

// whichCluster takes the named cluster, else sickbay's own, else the only one there is.
func (a *app) whichCluster(ctx context.Context, w targetFlags) (*cluster.Cluster, error) {
	name := w.cluster
	if w.context != "" {
		var ofKind bool
		if name, ofKind = strings.CutPrefix(w.context, "kind-"); !ofKind || w.debugImage != "" || w.kubeconfig != "" {
			return nil, errNotByEngine
		}
	}
	e, err := a.deps.presentEngine(ctx)
	if err != nil {
		return nil, err
	}
	if name != "" {
		return a.deps.find(ctx, e, name)
	}
	all, err := a.deps.clusters(ctx, e)
	if err != nil {
		return nil, err
	}
	return onlyCluster(e, all)
}

func onlyCluster(e *engine.Engine, all []*cluster.Cluster) (*cluster.Cluster, error) {
	var names []string
	for _, c := range all {
		if c.Name == defaultCluster || len(all) == 1 {
			return c, nil
		}
		names = append(names, c.Name)
	}
	if len(names) == 0 {
		return nil, &usageError{
			text: fmt.Sprintf("no kind cluster on %s", e),
			hint: "`sickbay cluster up` creates one; --local reads this machine, --ssh another one, --bundle a recording.",
		}
	}
	return nil, &usageError{text: "several clusters exist: " + strings.Join(names, ", "), hint: "Choose one with --cluster."}
}
