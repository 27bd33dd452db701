package fault

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/injectors"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/fingerprint/apiserver"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/scenarios"
)

// Labels of everything a run makes through the API.
const (
	LabelRun      = apiserver.RunLabel
	LabelScenario = "sickbay.dev/scenario"
	LabelNode     = cluster.NodeLabel
)

// ControlPlaneLabel marks the nodes that are never a victim.
const ControlPlaneLabel = "node-role.kubernetes.io/control-plane"

// Traces is a testbed that tells what is left on a node, after a fix and its undoing, by how the node was before.
type Traces interface {
	// Traces is how a node is, for whichever process asks later.
	Traces(ctx context.Context, node string) ([]byte, error)
	// Left is how it differs now.
	Left(ctx context.Context, node string, before []byte) ([]string, error)
}

// Testbed is what placing a fault needs of a cluster.
type Testbed interface {
	API
	Workloads
	Services
	// Agent reaches the injecting side of a node.
	Agent(ctx context.Context, node string) (Agent, error)
	// Begin writes down on the host what a run is about to change, before it changes anything, so that whoever comes after its
	// process can undo it.
	Begin(ctx context.Context, r cluster.Record) (RunRecord, error)
	// RestoreImages puts preloaded images back that the kubelet's garbage collection removed from a node: there may be no
	// registry to pull them from. It does nothing when they are all there.
	RestoreImages(ctx context.Context, node string) error
}

// API is a cluster and its API server.
type API interface {
	// Cluster is the cluster's name.
	Cluster() string
	// Runtime is the container runtime of the nodes, as nodeimage.Runtimes names it; empty for containerd.
	Runtime() string
	// Target is how diagnose reaches the same nodes. It carries nothing of the run.
	Target() diagnose.Target
	// Kube is the API client. Its calls end with their context.
	Kube() kubernetes.Interface
}

// Workloads puts manifests into the API.
type Workloads interface {
	// Image is the workload image that every node has (agnhost).
	Image() string
	// Workload creates what a rendered manifest declares in the namespace and returns how to delete the cluster-scoped rest
	// (the namespace takes its own with it). It calls adjust on every pod spec before creating it.
	Workload(ctx context.Context, namespace string, manifest []byte, adjust func(*corev1.PodSpec)) (Objects, error)
	// Rollout applies a rendered manifest over what is there in the namespace, otherwise like Workload.
	Rollout(ctx context.Context, namespace string, manifest []byte, adjust func(*corev1.PodSpec)) (Objects, error)
}

// Services runs what a scenario needs beside the cluster.
type Services interface {
	// StartRegistry runs a registry beside the cluster, for the run and its victim. Whatever of it may be there is labelled
	// with both before it exists, so that RemoveServices finds it after a failure, and from another process.
	StartRegistry(ctx context.Context, run, node string, r v1alpha1.Registry) (*scenarios.RegistryValues, error)
	// RemoveServices removes what runs beside the cluster for a run. It does nothing when there is nothing.
	RemoveServices(ctx context.Context, run string) error
}

// Agent injects on one node.
type Agent interface {
	// Path is where the agent's program is on the node.
	Path() string
	// Check says whether the fault can be hosted, changing nothing. An *injectors.UnsupportedError says that it cannot.
	Check(ctx context.Context, in injectors.Injection) (*injectors.Status, error)
	// Sign has a certificate signed by the cluster's CA; only a control-plane node can.
	Sign(ctx context.Context, r injectors.SignRequest) (string, error)
	// Inject makes the node ill and measures the effect: Status.Active is always there.
	Inject(ctx context.Context, in injectors.Injection) (*injectors.Status, error)
	// Recover undoes the injections of a run, or the one with the id when id is not empty. It is legal at any time.
	Recover(ctx context.Context, run, id string) ([]injectors.Status, error)
	// Status lists what the node's journal holds, recovered injections excluded.
	Status(ctx context.Context) ([]injectors.Status, error)
	// Renew prolongs the leases of a run.
	Renew(ctx context.Context, run string, lease time.Duration) error
}

// RunRecord is a run's record on the host; *cluster.Hold is one.
type RunRecord interface {
	// Renew notes that the lease was renewed.
	Renew() error
	// Remedy notes that a remedy is about to begin.
	Remedy() error
	// Leave lets go of a run that is to stay as it is until then.
	Leave(until time.Time) error
	// Release lets go of a run that could not be undone: whoever comes next does it.
	Release()
	// End forgets a run that is undone.
	End() error
}

// Objects are API objects a run has made.
type Objects interface {
	// List is what was created.
	List() []unstructured.Unstructured
	// DeleteCluster deletes the cluster-scoped ones and waits until they are gone.
	DeleteCluster(ctx context.Context) error
}
