package kindconfigs

import (
	"fmt"
	"slices"
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

// PatchesDir is where kubeadm looks for patches of a slow machine's control plane, on the node.
const PatchesDir = "/kind/patches"

// Patches are what PatchesDir has to hold before kubeadm begins: file name → content. kubeadm has components asked every second
// whether they are ready, and a TLS handshake a second with each is a good part of what an emulated control plane does; one that is
// late to say it lives would be killed and start anew, which takes a minute. kubernetes is the node image's version, empty where it is
// not known. None for a machine that is not slow.
func Patches(factor float64, kubernetes string) map[string]string {
	if factor <= 1 {
		return nil
	}
	// A probe that is only in the patch would have nothing to ask. kubeadm's control-plane and etcd manifests have these.
	ready := []string{"kube-apiserver"}
	if kubernetes != "" && atLeast(kubernetes, "1.36") {
		ready = append(ready, "kube-scheduler", "etcd")
	}
	out := map[string]string{}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		probes := `"livenessProbe":{"periodSeconds":30,"timeoutSeconds":60}`
		if slices.Contains(ready, name) {
			probes += `,"readinessProbe":{"periodSeconds":10}`
		}
		out[name+"+strategic.json"] = fmt.Sprintf(`{"spec":{"containers":[{"name":%q,%s}]}}`, name, probes)
	}
	return out
}

// Stretch multiplies what kubeadm waits for at most, and names PatchesDir. A cluster is the same with it and without: Sum has to be taken before.
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
	patch += fmt.Sprintf(`apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
patches:
  directory: %s
---
apiVersion: kubeadm.k8s.io/v1beta3
kind: InitConfiguration
patches:
  directory: %[1]s
---
apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
apiServer:
  timeoutForControlPlane: %s
`, PatchesDir, d(kubeadmHealth))
	c.KubeadmConfigPatches = append(c.KubeadmConfigPatches, patch)
}
