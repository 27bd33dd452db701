// Package cluster is the life of a kind cluster: making it, finding it again, looking at it through its API, and taking it down
// after anything.
//
// It knows kind, the container engine's command line, the Kubernetes API and the host's packet filter. It knows nothing of
// faults, scenarios or findings. What it must be able to do without the API (finding, taking down) it does by container label.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
)

// DefaultName is the cluster everything uses unless told otherwise.
const DefaultName = "sickbay"

// Roles of a node, as kind names them.
const (
	ControlPlane = "control-plane"
	Worker       = "worker"
)

// Cluster is a kind cluster as its containers show it. It is a snapshot: Find again to see what changed.
type Cluster struct {
	Name string
	// Ours tells that sickbay made it, or that it was Adopted. Nothing is ever injected into a cluster that is not, and Down refuses it.
	Ours bool
	// Adopted tells that somebody else made it, and its owner gave it to sickbay: it is Ours too, and Down only gives it back.
	Adopted bool
	// Topology, Profile and Spec are what it was made as; empty when it is not ours. Spec names the whole configuration and image.
	Topology, Profile, Spec string
	// Online tells that it was made without isolation.
	Online bool
	// Image is the node image of the control plane.
	Image string

	eng        *engine.Engine
	nodes      []NodeInfo
	containers []container

	apiOnce sync.Once
	rest    *rest.Config
	kube    kubernetes.Interface
}

// NodeInfo is one node of a cluster.
type NodeInfo struct {
	Name  string `json:"name"`
	Role  string `json:"role"`
	State string `json:"state"` // running, paused, exited, created, dead …: the container's
	IP    string `json:"ip,omitempty"`
	Image string `json:"image"`
	ID    string `json:"id"` // of the container
	// Victim tells that faults may be injected: a worker of a cluster of ours.
	Victim bool `json:"victim"`
}

// Find finds a kind cluster by name, whoever made it. A cluster that is not there is a *NotFoundError.
func Find(ctx context.Context, e *engine.Engine, name string) (*Cluster, error) {
	if name == "" {
		name = DefaultName
	}
	cs, err := containersOf(ctx, e, name)
	if err != nil {
		return nil, err
	}
	if len(cs) == 0 {
		others, err := names(ctx, e)
		if err != nil {
			return nil, err
		}
		return nil, &NotFoundError{Name: name, Others: others}
	}
	return fromContainers(e, name, cs), nil
}

// List finds every kind cluster of the engine, ours and others'.
func List(ctx context.Context, e *engine.Engine) ([]*Cluster, error) {
	cs, err := containersOf(ctx, e, "")
	if err != nil {
		return nil, err
	}
	by := map[string][]container{}
	for _, c := range cs {
		by[c.cluster()] = append(by[c.cluster()], c)
	}
	var all []*Cluster
	for name, cs := range by {
		all = append(all, fromContainers(e, name, cs))
	}
	slices.SortFunc(all, func(a, b *Cluster) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func names(ctx context.Context, e *engine.Engine) ([]string, error) {
	all, err := List(ctx, e)
	if err != nil {
		return nil, err
	}
	var n []string
	for _, c := range all {
		n = append(n, c.Name)
	}
	return n, nil
}

func fromContainers(e *engine.Engine, name string, cs []container) *Cluster {
	c := &Cluster{Name: name, eng: e}
	slices.SortFunc(cs, func(a, b container) int { return a.order(b) })
	c.containers = cs
	// Ours is what carries the mark on every node: one foreign container under the label, and nobody's cluster is deleted.
	c.Ours = !slices.ContainsFunc(cs, func(c container) bool { _, ok := c.mark(); return !ok })
	if !c.Ours && adopted(name, cs) {
		c.Ours, c.Adopted = true, true
	}
	for _, k := range cs {
		if k.role() != ControlPlane && k.role() != Worker {
			continue // kind's load balancer is no node
		}
		c.nodes = append(c.nodes, NodeInfo{
			Name: k.name(), Role: k.role(), State: k.State.Status, IP: k.ip(), Image: k.Config.Image, ID: k.ID,
			Victim: c.Ours && k.role() == Worker,
		})
		if k.role() == ControlPlane && c.Image == "" {
			c.Image = k.Config.Image
		}
	}
	if m, ok := cs[0].mark(); ok && c.Ours {
		c.Topology, c.Profile, c.Spec, c.Online = m.Topology, m.Profile, m.Sum, m.Online
	}
	return c
}

// Nodes lists the nodes, control plane first, workers in kind's order.
func (c *Cluster) Nodes() []NodeInfo { return slices.Clone(c.nodes) }

// Victims lists the names of the nodes faults may be injected into.
func (c *Cluster) Victims() []string {
	var v []string
	for _, n := range c.nodes {
		if n.Victim {
			v = append(v, n.Name)
		}
	}
	return v
}

// Has tells whether the cluster has this node.
func (c *Cluster) Has(name string) bool {
	return slices.ContainsFunc(c.nodes, func(n NodeInfo) bool { return n.Name == name })
}

// Node reaches a node, without the API. A node the cluster does not have answers every call with an error that says so.
func (c *Cluster) Node(name string) node.Node { return node.Container(c.eng, name) }

// Engine is the engine the cluster runs on.
func (c *Cluster) Engine() *engine.Engine { return c.eng }

// Kubeconfig is the file with this cluster's credentials, sickbay's own; no other kubeconfig is ever read or written. It
// exists for clusters of ours only.
func (c *Cluster) Kubeconfig() (string, error) {
	dir, err := stateDir(c.Name)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, kubeconfigFile), nil
}

// Kube is a client of the cluster's API. It is never nil: where the API cannot be reached at all (no control plane, its
// container stopped) every call of it fails with the reason.
func (c *Cluster) Kube() kubernetes.Interface {
	c.connect()
	return c.kube
}

// RESTConfig is the configuration behind Kube.
func (c *Cluster) RESTConfig() *rest.Config {
	c.connect()
	return rest.CopyConfig(c.rest)
}

// failing is a transport that tells why there is none.
type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// NotFoundError is a cluster that is not there.
type NotFoundError struct {
	Name   string
	Others []string
}

func (e *NotFoundError) Error() string {
	s := fmt.Sprintf("there is no kind cluster %q on this engine", e.Name)
	if len(e.Others) > 0 {
		return s + "; there are: " + strings.Join(e.Others, ", ")
	}
	return s + ", nor any other; `sickbay cluster up` makes one"
}

// ExitCode is 2: the request names what is not there.
func (*NotFoundError) ExitCode() int { return 2 }

// TakenError is a name, port or shape that somebody else has. Whatever has it is left as it is.
type TakenError struct {
	What string // what is taken, and by whom
	Way  string // the way out
}

func (e *TakenError) Error() string { return e.What + "; " + e.Way }

// ExitCode is 2: another request would work.
func (*TakenError) ExitCode() int { return 2 }

// CacheDir is where state of ours lives on the host: $SICKBAY_CACHE, else sickbay in the user's cache folder. Losing it loses
// nothing that cannot be read from the containers again.
func CacheDir() (string, error) {
	if dir := os.Getenv("SICKBAY_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache folder: %w; set SICKBAY_CACHE to a folder", err)
	}
	return filepath.Join(dir, "sickbay"), nil
}

// Folders of the cache.
const (
	states = "clusters"
	runs   = "runs"
)

// kubeconfigFile is the name of a cluster's kubeconfig in its folder.
const kubeconfigFile = "kubeconfig"

// pathName is what a name has to be to be part of a path: all that kind allows, less what leads out of a folder.
var pathName = regexp.MustCompile(`^[a-z0-9-][a-z0-9.-]{0,127}$`)

// checkName is asked wherever a path is made of a cluster's name: `--cluster ../..` must not be a folder of somebody's.
func checkName(name string) error {
	if pathName.MatchString(name) {
		return nil
	}
	return &TakenError{What: fmt.Sprintf("%q cannot be a cluster's name", name), Way: "use lower-case letters, digits, dots and dashes, 50 at most"}
}

// dirOf is a cluster's folder in one of the cache's.
func dirOf(folder, name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	dir, err := CacheDir()
	return filepath.Join(dir, folder, name), err
}

func stateDir(name string) (string, error) { return dirOf(states, name) }

// forget removes what the host knows of a cluster and of its runs: there is nothing left that they could be undone on. No name and no
// link in the cache leads out of it.
func forget(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	dir, err := CacheDir()
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the state of cluster %s: %w", name, err)
	}
	defer root.Close()
	if err := errors.Join(root.RemoveAll(filepath.Join(states, name)), root.RemoveAll(filepath.Join(runs, name))); err != nil {
		return fmt.Errorf("remove the state of cluster %s: %w", name, err)
	}
	return nil
}

var errNoControlPlane = errors.New("it has no control-plane container")
