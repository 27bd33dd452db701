package kindconfigs

import (
	"fmt"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

// kubeadm's own bounds, as its documentation has them.
const (
	kubeadmHealth    = 4 * time.Minute // of the kubelet, and of each control-plane component; the components' start-up probes follow it
	kubeadmCall      = time.Minute     // of the API
	kubeadmEtcd      = 2 * time.Minute
	kubeadmBootstrap = 5 * time.Minute
)

// Stretch multiplies what kubeadm waits for at most. A cluster is the same with it and without: Sum has to be taken before.
func Stretch(c *v1alpha4.Cluster, factor float64) {
	if factor <= 1 {
		return
	}
	d := func(d time.Duration) string { return time.Duration(float64(d) * factor).Round(time.Second).String() }
	patch := ""
	for _, kind := range []string{"InitConfiguration", "JoinConfiguration"} {
		patch += fmt.Sprintf(`apiVersion: kubeadm.k8s.io/v1beta4
kind: %s
timeouts:
  controlPlaneComponentHealthCheck: %s
  kubeletHealthCheck: %s
  kubernetesAPICall: %s
  etcdAPICall: %s
  tlsBootstrap: %s
  discovery: %s
---
`, kind, d(kubeadmHealth), d(kubeadmHealth), d(kubeadmCall), d(kubeadmEtcd), d(kubeadmBootstrap), d(kubeadmBootstrap))
	}
	patch += fmt.Sprintf(`apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
apiServer:
  timeoutForControlPlane: %s
`, d(kubeadmHealth))
	c.KubeadmConfigPatches = append(c.KubeadmConfigPatches, patch)
}
