package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"al.essio.dev/pkg/shellescape"
	corev1 "k8s.io/api/core/v1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/platform/nodeimage"
	"github.com/sickbay-dev/sickbay/internal/remedy"
	"github.com/sickbay-dev/sickbay/internal/text"
	kindconfigs "github.com/sickbay-dev/sickbay/kind-configs"
	"github.com/sickbay-dev/sickbay/scenarios"
	"github.com/sickbay-dev/sickbay/suites"
)

const defaultCluster = cluster.DefaultName

// deps is what verbs need of the machine: the engine, the image, clusters, and what runs on them. Tests bring their own,
// in which nothing is installed and nothing falls ill.
type deps interface {
	// decideEngine says which engine would be used; it changes nothing.
	decideEngine(ctx context.Context) (engine.Decision, error)
	// ensureEngine returns an engine, installing and starting one where that is needed and possible.
	ensureEngine(ctx context.Context) (*engine.Engine, error)
	// presentEngine returns the engine that is there; it never starts one.
	presentEngine(ctx context.Context) (*engine.Engine, error)
	resolveImage(ctx context.Context, e *engine.Engine, req nodeimage.Request) (nodeimage.Resolved, error)
	up(ctx context.Context, e *engine.Engine, o cluster.UpOptions) (*cluster.Cluster, error)
	find(ctx context.Context, e *engine.Engine, name string) (*cluster.Cluster, error)
	clusters(ctx context.Context, e *engine.Engine) ([]*cluster.Cluster, error)
	// othersNodes are those that k3d or minikube made.
	othersNodes(ctx context.Context, e *engine.Engine, nodes []corev1.Node) (map[string]node.Node, error)
	adopt(ctx context.Context, c *cluster.Cluster) (*cluster.Cluster, error)
	down(ctx context.Context, e *engine.Engine, name string) error
	// testbed makes a cluster of ours a place where nodes may be made ill.
	testbed(ctx context.Context, c *cluster.Cluster) (suites.Testbed, error)
	// agent looks at any node; it needs nothing of the harness.
	agent(n node.Node) diagnose.Agent
	// hostNode is the machine whose pod this process runs in.
	hostNode(name string) (node.Node, error)
	// injecting reaches the injecting side of a node of ours.
	injecting(ctx context.Context, n node.Node) (injecting, error)
	// inventory lists what of ours is on this machine.
	inventory(ctx context.Context, e *engine.Engine) engine.Inventory
	// remedyTarget is how a finding's remedy reaches what was looked at.
	remedyTarget(s *target) remedy.Target
	runAll(ctx context.Context, lab suites.Testbed, list []*scenarios.Scenario, o suites.Options) (*v1alpha1.Report, error)
	clusterNames(ctx context.Context) ([]string, error)
	nodeNames(ctx context.Context, cluster string) ([]string, error)
}

// realDeps is this machine.
type realDeps struct{}

func (realDeps) decideEngine(ctx context.Context) (engine.Decision, error) {
	return engine.Find(ctx, engine.Options{})
}

func (realDeps) ensureEngine(ctx context.Context) (*engine.Engine, error) {
	e, err := engine.Ensure(ctx, engine.Options{})
	if err != nil {
		return nil, err
	}
	return e, e.Setenv() // kind and testcontainers-go read the environment
}

func (w realDeps) presentEngine(ctx context.Context) (*engine.Engine, error) {
	// Asking our own engine takes 20 ms; Find proves every other one with a probe container, 0.7 s, which a look at a sick
	// node should not wait for.
	if os.Getenv("DOCKER_HOST") == "" && os.Getenv("KIND_EXPERIMENTAL_PROVIDER") == "" {
		if s, err := engine.Inspect(ctx, engine.Options{}); err == nil && s.Engine != nil {
			return s.Engine, s.Engine.Setenv()
		}
	}
	d, err := w.decideEngine(ctx)
	if err != nil {
		return nil, err
	}
	return usable(d)
}

// usable is the engine that was decided for, or why there is none and what to do.
func usable(d engine.Decision) (*engine.Engine, error) {
	switch d.Plan {
	case engine.UseExisting:
		return d.Engine, d.Engine.Setenv()
	case engine.Impossible:
		return nil, &engine.ImpossibleError{Decision: d}
	default:
		return nil, hint(fmt.Errorf("no container engine runs: %s", d.Reason), "`sickbay engine up` starts one, `sickbay doctor` says what was looked at.")
	}
}

func (realDeps) resolveImage(ctx context.Context, e *engine.Engine, req nodeimage.Request) (nodeimage.Resolved, error) {
	return nodeimage.Resolve(ctx, e, req)
}

func (realDeps) up(ctx context.Context, e *engine.Engine, o cluster.UpOptions) (*cluster.Cluster, error) {
	return cluster.Up(ctx, e, o)
}

func (realDeps) find(ctx context.Context, e *engine.Engine, name string) (*cluster.Cluster, error) {
	return cluster.Find(ctx, e, name)
}

func (realDeps) clusters(ctx context.Context, e *engine.Engine) ([]*cluster.Cluster, error) {
	return cluster.List(ctx, e)
}

func (realDeps) othersNodes(ctx context.Context, e *engine.Engine, nodes []corev1.Node) (map[string]node.Node, error) {
	return cluster.OthersNodes(ctx, e, nodes)
}

func (realDeps) adopt(ctx context.Context, c *cluster.Cluster) (*cluster.Cluster, error) {
	return c.Adopt(ctx)
}

func (realDeps) down(ctx context.Context, e *engine.Engine, name string) error {
	return cluster.Down(ctx, e, cluster.DownOptions{Name: name})
}

func (realDeps) runAll(ctx context.Context, lab suites.Testbed, list []*scenarios.Scenario, o suites.Options) (*v1alpha1.Report, error) {
	return suites.RunAll(ctx, lab, list, o)
}

func (w realDeps) clusterNames(ctx context.Context) ([]string, error) {
	e, err := w.presentEngine(ctx)
	if err != nil {
		return nil, err
	}
	all, err := w.clusters(ctx, e)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	return names, nil
}

func (w realDeps) nodeNames(ctx context.Context, name string) ([]string, error) {
	e, err := w.presentEngine(ctx)
	if err != nil {
		return nil, err
	}
	c, err := w.find(ctx, e, name)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range c.Nodes() {
		names = append(names, n.Name)
	}
	return names, nil
}

// clusterOptions say on which cluster a verb wants to work, and what it may be made of.
type clusterOptions struct {
	cluster    string
	image      string
	kubernetes string
	runtime    string
	topology   string
	usual      string // topology of a new cluster, unless another is asked for; empty is the default one
	profile    string
	online     bool
	// make lets a cluster of any name be made; otherwise only the default one is.
	make bool
	// victim is the node that is asked for; empty for any.
	victim string
	// adopt takes a cluster that somebody else made, with yes without asking.
	adopt, yes bool
}

// ready returns a cluster that may be made ill: the one that is there, or the default one made now, with engine and image as
// needed. A missing cluster of another name is most likely a mistyped one, and is only made where g.make says so.
func (a *app) ready(ctx context.Context, g clusterOptions) (*cluster.Cluster, error) {
	if err := a.refuse(ctx, g); err != nil {
		return nil, err
	}
	e, err := a.deps.ensureEngine(ctx)
	if err != nil {
		return nil, err
	}
	c, err := a.deps.find(ctx, e, g.cluster)
	switch {
	case err == nil && (!c.Ours && g.adopt || c.Adopted):
		return a.adopt(ctx, c, g)
	case err == nil && !c.Ours:
		return nil, foreign(c)
	case err == nil:
		if err := checkVictim(c.Name, g.victim, c.Victims(), c.Has(g.victim)); err != nil {
			return nil, err
		}
		// Before Up waits for nodes to be Ready that are ill.
		a.sweep(ctx, c)
	case !errors.As(err, new(*cluster.NotFoundError)):
		return nil, err
	case !g.make && g.cluster != defaultCluster:
		return nil, a.missing(ctx, e, g.cluster)
	default:
		if err := g.checkPlanned(); err != nil {
			return nil, err
		}
	}
	return a.raise(ctx, e, c, g)
}

// raise makes the cluster that is wanted. One that is there is repaired where it can be; that is quick when all is well.
func (a *app) raise(ctx context.Context, e *engine.Engine, c *cluster.Cluster, g clusterOptions) (_ *cluster.Cluster, err error) {
	if c != nil && g.asIs() {
		g.image, g.topology, g.profile = c.Image, c.Topology, c.Profile
	}
	image := nodeimage.Resolved{Ref: g.image}
	if c == nil || g.image != c.Image {
		if image, err = a.deps.resolveImage(ctx, e, nodeimage.Request{Image: g.image, Version: g.kubernetes, Runtime: g.runtime}); err != nil {
			return nil, err
		}
	}
	if c == nil {
		g.topology = cmp.Or(g.topology, g.usual)
	}
	online := g.online || c != nil && c.Online
	return a.deps.up(ctx, e, cluster.UpOptions{
		Name: g.cluster, Image: image.Ref, Topology: g.topology, Profile: g.profile, Kubernetes: g.kubernetes, Online: online,
		Runtime: nodeimage.RuntimeOf(image.Ref),
	})
}

// asIs asks for nothing that a cluster may not be.
func (g clusterOptions) asIs() bool {
	return g.image == "" && g.topology == "" && g.profile == "" && g.kubernetes == "" && g.runtime == ""
}

// refuse says what is wrong with a request where no engine is there yet, before one is installed for it.
func (a *app) refuse(ctx context.Context, g clusterOptions) error {
	mustExist := !g.make && g.cluster != defaultCluster
	if !mustExist && g.victim == "" {
		return nil
	}
	d, err := a.deps.decideEngine(ctx)
	switch {
	case err != nil || d.Plan == engine.UseExisting || d.Plan == engine.Impossible:
		return err // and the engine tells
	case mustExist:
		return &usageError{
			text: fmt.Sprintf("there is no cluster %s: no container engine runs here", g.cluster),
			hint: fmt.Sprintf("`sickbay cluster up --cluster %s` makes both; without --cluster the cluster is %s, made as needed.", shellescape.Quote(g.cluster), defaultCluster),
		}
	}
	return g.checkPlanned()
}

// checkPlanned is checkVictim for a cluster that is still to be made.
func (g clusterOptions) checkPlanned() error {
	config, err := kindconfigs.Topology(cmp.Or(g.topology, g.usual, kindconfigs.DefaultTopology))
	if err != nil {
		return err
	}
	var workers []string
	for i := range len(config.Nodes) - 1 { // the first is the control plane
		name := g.cluster + "-" + cluster.Worker
		if i > 0 {
			name += strconv.Itoa(i + 1)
		}
		workers = append(workers, name)
	}
	return checkVictim(g.cluster, g.victim, workers, g.victim == g.cluster+"-"+cluster.ControlPlane)
}

// missing is the error of a cluster that was named and is not there, with the names that may have been meant.
func (a *app) missing(ctx context.Context, e *engine.Engine, name string) error {
	all, err := a.deps.clusters(ctx, e)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range all {
		if c.Ours {
			names = append(names, c.Name)
		}
	}
	way := fmt.Sprintf("`sickbay cluster up --cluster %s` makes it; without --cluster the cluster is %s, made as needed.", shellescape.Quote(name), defaultCluster)
	if len(names) > 0 {
		way = "There is " + strings.Join(names, ", ") + ". " + way
	}
	return unknownName("cluster", name, text.Near(name, names, 2), way)
}

// existing returns an existing cluster, made by sickbay or not.
func (a *app) existing(ctx context.Context, name string) (*cluster.Cluster, error) {
	e, err := a.deps.presentEngine(ctx)
	if err != nil {
		return nil, err
	}
	return a.deps.find(ctx, e, name)
}

// ours returns a cluster that is there and that sickbay made.
func (a *app) ours(ctx context.Context, name string) (*cluster.Cluster, error) {
	c, err := a.existing(ctx, name)
	if err == nil && !c.Ours {
		return nil, foreign(c)
	}
	return c, err
}

func foreign(c *cluster.Cluster) error {
	return &usageError{
		text: fmt.Sprintf("cluster %s was not made by sickbay: nothing is injected into it", c.Name),
		hint: fmt.Sprintf("Choose another name with --cluster; `sickbay diagnose --cluster %[1]s` may look at it, `sickbay run --adopt --cluster %[1]s SCENARIO` asks to take it.", c.Name),
	}
}

func (realDeps) inventory(ctx context.Context, e *engine.Engine) engine.Inventory {
	return engine.TakeInventory(ctx, e, engine.Options{})
}
