package kindconfigs

import (
	"path"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

// OnCall is the user whose changes the API server writes down, on the lines of the files in AuditLogDir.
const (
	OnCall      = "oncall"
	AuditLogDir = "/var/log/kubernetes/audit"
	AuditPolicy = "/kind/audit/policy.yaml"
)

// Audit has the API server keep an audit log. It needs the file AuditPolicy of Files. A cluster is the same with it and without: Sum has
// to be taken before.
func Audit(c *v1alpha4.Cluster) {
	c.KubeadmConfigPatches = append(c.KubeadmConfigPatches, embedded("audit/apiserver.yaml"))
}

// Files are what a control plane has to hold before kubeadm begins, path → content: the audit policy and, for a machine that is factor
// times slower, kubeadm's patches.
func Files(factor float64, kubernetes string) map[string]string {
	out := map[string]string{AuditPolicy: embedded("audit/policy.yaml")}
	for name, patch := range Patches(factor, kubernetes) {
		out[path.Join(PatchesDir, name)] = patch
	}
	return out
}

func embedded(name string) string {
	raw, err := files.ReadFile(name)
	if err != nil {
		panic(err) // embedded
	}
	return string(raw)
}
