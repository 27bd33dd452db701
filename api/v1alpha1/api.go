package v1alpha1

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// API is what the API server says of this node. Objects are the API's own, stripped of managedFields, of environment
// values and of anything that names a secret's content.
type API struct {
	ServerVersion string    `json:"serverVersion,omitempty"`
	ServerDate    time.Time `json:"serverDate,omitzero"` // Date header of the answer
	AskedAt       time.Time `json:"askedAt,omitzero"`    // the asking machine's clock at the same moment

	Node           *corev1.Node                   `json:"node,omitempty"` // nil: not registered (when the API answered)
	Lease          *coordinationv1.Lease          `json:"lease,omitempty"`
	Pods           []corev1.Pod                   `json:"pods,omitempty"`    // bound to this node
	Pending        []corev1.Pod                   `json:"pending,omitempty"` // bound to no node, the same for every node of a cluster
	Events         []corev1.Event                 `json:"events,omitempty"`  // about this node, its pods and the pending pods
	RuntimeClasses []nodev1.RuntimeClass          `json:"runtimeClasses,omitempty"`
	CSINode        *storagev1.CSINode             `json:"csiNode,omitempty"`
	CSIDrivers     []storagev1.CSIDriver          `json:"csiDrivers,omitempty"`
	PVCs           []corev1.PersistentVolumeClaim `json:"pvcs,omitempty"` // of the pods above
	PVs            []corev1.PersistentVolume      `json:"pvs,omitempty"`
	// PullSecrets tells, per namespace/name that pods here refer to, whether it exists and for which registry hosts; never its
	// content. Secrets of the same namespaces that hold registry credentials without being referred to are listed, too.
	PullSecrets []PullSecret `json:"pullSecrets,omitempty"`
	// Endpoints are the names and addresses under which the API server is known: control-plane node names, their InternalIPs
	// and those of the default/kubernetes endpoints, without ports. Empty where they are not all known.
	Endpoints []string `json:"endpoints,omitempty"`
	// ClusterCAs are the SHA-256 of the certificates that the cluster gives its pods to know the API server by (kube-root-ca.crt of
	// kube-system). Empty where they could not be read.
	ClusterCAs []string `json:"clusterCas,omitempty"`
	// SameKernel tells that a control-plane node has this node's boot ID: they are one machine with one clock (nodes of kind, a
	// single-node cluster), and that the two clocks agree says nothing.
	SameKernel bool `json:"sameKernel,omitempty"`
	// Configz is set when the API server could proxy to the kubelet.
	Configz *KubeletConfig `json:"configz,omitempty"`
	// Unread are the parts of this view that the caller may not read. A look has them in Observation.Unknown.
	Unread []Unknown `json:"-"`
}

// PullSecret is an image pull secret as far as it may be told.
type PullSecret struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Exists    bool     `json:"exists"`
	Hosts     []string `json:"hosts,omitempty"`
	Error     string   `json:"error,omitempty"`
}
