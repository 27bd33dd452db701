package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	kindconfigs "github.com/sickbay-dev/sickbay/kind-configs"
)

// onCallConf is where a control plane has the credentials of kindconfigs.OnCall, beside the administrator's.
const onCallConf = "/etc/kubernetes/oncall.conf"

// onCallScript writes ($3) and shows the credentials of a user ($2), an administrator whose changes an API server with this policy ($1)
// writes down. They are made when somebody first asks, and go with the cluster.
const onCallScript = `grep -qsF -e "--audit-policy-file=$1" /etc/kubernetes/manifests/kube-apiserver.yaml || exit 3
[ -s "$3" ] || { umask 077
kubeadm kubeconfig user --client-name "$2" --org system:masters --config /kind/kubeadm.conf >"$3.$$" && mv "$3.$$" "$3" || exit; }
cat "$3"`

// auditScript shows the end of the audit log, oldest file first.
const auditScript = `[ -d "$1" ] || exit 3
cat "$1"/audit*.log 2>/dev/null | tail -c 8388608`

// ErrNoAudit says that nobody writes down what is done through the API: sickbay made the cluster before it had an audit log, or did not
// make it.
var ErrNoAudit = errors.New("its API server keeps no audit log of sickbay's (`sickbay cluster down`, then up again, makes a cluster that does)")

// OnCall makes the access to the API as kindconfigs.OnCall: a kubeconfig on the control plane, and the one of OnCallKubeconfig.
func (c *Cluster) OnCall(ctx context.Context) (inside string, err error) {
	raw, err := c.onControlPlane(ctx, onCallScript, kindconfigs.AuditPolicy, kindconfigs.OnCall, onCallConf)
	if err != nil {
		return "", fmt.Errorf("credentials of %s for cluster %s: %w", kindconfigs.OnCall, c.Name, err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(raw)
	if err != nil {
		return "", fmt.Errorf("credentials of %s for cluster %s: %w", kindconfigs.OnCall, c.Name, err)
	}
	file, err := c.OnCallKubeconfig()
	if err != nil {
		return "", err
	}
	return onCallConf, c.writeAccess(file, config)
}

// OnCallKubeconfig is the file that OnCall writes on this machine.
func (c *Cluster) OnCallKubeconfig() (string, error) {
	dir, err := stateDir(c.Name)
	return filepath.Join(dir, "kubeconfig-"+kindconfigs.OnCall), err
}

// AuditLog is the end of what the API server wrote down of kindconfigs.OnCall: JSON lines, of which the first may be cut.
func (c *Cluster) AuditLog(ctx context.Context) ([]byte, error) {
	raw, err := c.onControlPlane(ctx, auditScript, kindconfigs.AuditLogDir)
	if err != nil {
		return nil, fmt.Errorf("read the audit log of cluster %s: %w", c.Name, err)
	}
	return raw, nil
}

// onControlPlane runs a script there whose exit code 3 is ErrNoAudit.
func (c *Cluster) onControlPlane(ctx context.Context, script string, args ...string) ([]byte, error) {
	for _, n := range c.nodes {
		if n.Role != ControlPlane {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(connectBound))
		defer cancel()
		raw, err := c.Node(n.Name).Run(ctx, node.Argv(append([]string{"sh", "-c", script, "sh"}, args...)...))
		if exit := (*node.ExitError)(nil); errors.As(err, &exit) && exit.Code == 3 {
			err = ErrNoAudit
		}
		return raw, err
	}
	return nil, errNoControlPlane
}
