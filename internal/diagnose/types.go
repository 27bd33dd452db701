package diagnose

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// Ask is how one look at one node is to be made.
type Ask struct {
	// Cursor continues journal and kernel log where the previous look ended (Observation.Journal.Cursor); empty reads back by
	// Since.
	Cursor string
	// Since bounds how far back the journal is read when there is no cursor.
	Since time.Duration
	// Registries are hosts that pods of the node wait for: their TLS is probed although this look's log has no pull.
	Registries []string
	// Name is what the kubelet called the node in an earlier look, where it was asked for by another name.
	Name string `json:"-"`
}

// Agent gives the node's own view. It must return when ctx ends.
type Agent interface {
	Observe(ctx context.Context, ask Ask) (*v1alpha1.Observation, error)
}

// AgentFunc makes an Agent of a function.
type AgentFunc func(ctx context.Context, ask Ask) (*v1alpha1.Observation, error)

// Observe calls the function.
func (f AgentFunc) Observe(ctx context.Context, ask Ask) (*v1alpha1.Observation, error) {
	return f(ctx, ask)
}

// API gives the API server's view of the named nodes. It must return when ctx ends.
type API interface {
	ObserveAPI(ctx context.Context, nodes []string) (map[string]*v1alpha1.API, error)
}

// APIFunc makes an API of a function.
type APIFunc func(ctx context.Context, nodes []string) (map[string]*v1alpha1.API, error)

// ObserveAPI calls the function.
func (f APIFunc) ObserveAPI(ctx context.Context, nodes []string) (map[string]*v1alpha1.API, error) {
	return f(ctx, nodes)
}

// Node is one node to look at. Agent nil means only the API server's view is to be had.
type Node struct {
	Name  string
	Agent Agent
	// Renamed is set where the name is a guess, such as an address: it hears what the kubelet calls the node, if that is another name.
	Renamed func(name string)
}

// Target is what to look at. API nil means there is no way to the API server, and every observation says so.
type Target struct {
	Cluster string
	// Context is the kubeconfig context that commands name, where it is not kind-CLUSTER.
	Context string
	Nodes   []Node
	API     API
}

// Only returns the target with no other nodes than those named.
func (t Target) Only(names ...string) Target {
	out := Target{Cluster: t.Cluster, Context: t.Context, API: t.API}
	for _, n := range t.Nodes {
		for _, want := range names {
			if n.Name == want {
				out.Nodes = append(out.Nodes, n)
				break
			}
		}
	}
	return out
}

// Options bound a look. Zero values take the defaults beside them.
type Options struct {
	// NodeTimeout is how long one node may take, its agent's installation included. Default 4s: an agent gives every source
	// its own deadline and answers within 2s on a node whose disk is frozen, and a diagnosis with one dead node has to
	// come within 5s. Up to twice that where this machine is busy: kind's nodes are on it, and at a load of 14 on two cores one
	// look in eight took longer.
	NodeTimeout time.Duration
	// APITimeout bounds the API server's view. Default as NodeTimeout's.
	APITimeout time.Duration
	// Parallel bounds how many nodes are asked at a time. Default 16.
	Parallel int
	// Since is how far back the first look reads the journal. Default 10m: longer than PLEG's three minutes and the
	// five-minute pressure transition, so that everything that still holds was logged within it.
	Since time.Duration
	// Keep bounds a history: the baseline and this many looks after it. Default 40. Log lines of dropped looks are kept,
	// at most KeepLines of them.
	Keep      int
	KeepLines int
	// TrustCAs are certificates that the operator vouches for: a remedy may have a node trust one of them, and no other.
	TrustCAs []v1alpha1.TrustedCA
}

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if o.NodeTimeout <= 0 || o.APITimeout <= 0 {
		limit := timeoutscale.Bound(4 * time.Second)
		limit += time.Duration(busyness() * float64(limit))
		def(&o.NodeTimeout, limit)
		def(&o.APITimeout, limit)
	}
	def(&o.Since, 10*time.Minute)
	if o.Parallel <= 0 {
		o.Parallel = 16
	}
	if o.Keep <= 0 {
		o.Keep = 40
	}
	if o.KeepLines <= 0 {
		o.KeepLines = 2000
	}
	return o
}

// busyness is that of this machine.
var busyness = func() float64 {
	return timeoutscale.Busyness(func(path string) string { raw, _ := os.ReadFile(path); return string(raw) }, runtime.NumCPU())
}

// JudgeFunc gives the findings of one node's history. Detectors' own is the default everywhere; tests bring theirs.
type JudgeFunc func(v1alpha1.History) []v1alpha1.Finding
