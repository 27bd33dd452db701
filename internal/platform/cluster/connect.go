package cluster

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/apiserver"
	"github.com/sickbay-dev/sickbay/internal/atomicfile"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	"github.com/sickbay-dev/sickbay/internal/usage"
)

// adminConf is where kubeadm leaves the administrator's credentials on a control plane.
const adminConf = "/etc/kubernetes/admin.conf"

// connectBound bounds reading the credentials from the control plane: one `docker exec`.
const connectBound = 10 * time.Second

// connect makes the API client, once. It asks the control plane's container and no kubeconfig: one that points elsewhere, or is
// from an earlier cluster of the same name, cannot mislead.
func (c *Cluster) connect() {
	c.apiOnce.Do(func() {
		config, err := c.credentials()
		if err != nil {
			err = fmt.Errorf("the API of cluster %s cannot be reached: %w", c.Name, err)
			config = &rest.Config{Host: "http://" + c.Name + ".invalid", Transport: failing{err}}
		}
		unthrottle(config)
		kube, err := kubernetes.NewForConfig(config)
		if err != nil {
			err = fmt.Errorf("the API of cluster %s cannot be reached: %w", c.Name, err)
			config = &rest.Config{Host: "http://" + c.Name + ".invalid", Transport: failing{err}}
			kube = kubernetes.NewForConfigOrDie(config)
		}
		c.rest, c.kube = config, kube
	})
}

// Kubeconfig is the access to a cluster that is not kind's, by the file's current context.
func Kubeconfig(path string) (*rest.Config, kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, nil, fmt.Errorf("read the kubeconfig %s: %w", path, err)
	}
	unthrottle(config)
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("use the kubeconfig %s: %w", path, err)
	}
	return config, kube, nil
}

// Context is the access to the cluster of a kubeconfig's context, with the namespace it names: the file's, else those that kubectl would
// read, and sickbay's own of a cluster it made.
func Context(file, name string) (*rest.Config, kubernetes.Interface, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = file
	if own, ok := strings.CutPrefix(name, "kind-"); ok && file == "" {
		// Before the user's: that may have the context of an earlier cluster of the same name.
		if dir, err := stateDir(own); err == nil {
			rules.Precedence = append([]string{filepath.Join(dir, kubeconfigFile)}, rules.Precedence...)
		}
	}
	rules.WarnIfAllMissing = false
	all, err := rules.Load()
	if err != nil {
		return nil, nil, "", usage.Errorf("read the kubeconfig: %s", err)
	}
	if all.Contexts[name] == nil {
		if len(all.Contexts) == 0 {
			return nil, nil, "", usage.Errorf("there is no context %q: no kubeconfig was found", name)
		}
		return nil, nil, "", usage.Errorf("the kubeconfig has no context %q; it has %s", name, strings.Join(slices.Sorted(maps.Keys(all.Contexts)), ", "))
	}
	access := clientcmd.NewNonInteractiveClientConfig(*all, name, nil, rules)
	config, err := access.ClientConfig()
	if err != nil {
		return nil, nil, "", fmt.Errorf("use context %s of the kubeconfig: %w", name, err)
	}
	namespace, _, err := access.Namespace()
	if err != nil {
		return nil, nil, "", fmt.Errorf("use context %s of the kubeconfig: %w", name, err)
	}
	unthrottle(config)
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, "", fmt.Errorf("use context %s of the kubeconfig: %w", name, err)
	}
	return config, kube, namespace, nil
}

// unthrottle drops client-side throttling: the answers are bounded by context, and a wait in a queue would look like a slow API.
func unthrottle(config *rest.Config) {
	config.QPS = -1
	config.UserAgent = "sickbay"
}

func (c *Cluster) credentials() (*rest.Config, error) {
	i := slices.IndexFunc(c.containers, func(k container) bool { return k.role() == ControlPlane })
	if i < 0 {
		return nil, errNoControlPlane
	}
	cp := c.containers[i]
	endpoint, ok := cp.endpoint()
	if !ok {
		return nil, fmt.Errorf("the container %s is %s and publishes no API port", cp.name(), cp.State.Status)
	}
	raw, err := c.adminConf(cp)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", adminConf, cp.name(), err)
	}
	config.Host = "https://" + endpoint
	return config, nil
}

// adminConf reads the credentials from the control plane, or from sickbay's copy when that is of this very container: a paused or
// broken control plane must not cost the client.
func (c *Cluster) adminConf(cp container) ([]byte, error) {
	dir, err := stateDir(c.Name)
	if err != nil {
		return nil, err
	}
	copied := filepath.Join(dir, "admin-"+cp.ID[:min(12, len(cp.ID))]+".conf")
	if raw, err := os.ReadFile(copied); err == nil && len(raw) > 0 {
		return raw, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeoutscale.Bound(connectBound))
	defer cancel()
	raw, err := c.Node(cp.name()).Run(ctx, node.Argv("cat", adminConf))
	if err != nil {
		return nil, fmt.Errorf("read the credentials: %w", err)
	}
	if c.Ours {
		if err := writeSecret(copied, raw); err != nil {
			return nil, err
		}
	}
	return raw, nil
}

// writeKubeconfig leaves the file that Kubeconfig names.
func (c *Cluster) writeKubeconfig() error {
	c.connect()
	if f, ok := c.rest.Transport.(failing); ok {
		return f.err
	}
	file, err := c.Kubeconfig()
	if err != nil {
		return err
	}
	return c.writeAccess(file, c.rest)
}

// writeAccess writes a kubeconfig for this machine with somebody's credentials.
func (c *Cluster) writeAccess(file string, who *rest.Config) error {
	c.connect()
	name, t := "kind-"+c.Name, who.TLSClientConfig
	raw, err := clientcmd.Write(clientcmdapi.Config{
		CurrentContext: name,
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: c.rest.Host, CertificateAuthorityData: t.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {ClientCertificateData: t.CertData, ClientKeyData: t.KeyData}},
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return writeSecret(file, raw)
}

// writeSecret writes a file that only its owner reads.
func writeSecret(file string, data []byte) error {
	err := os.MkdirAll(filepath.Dir(file), 0o700)
	if err == nil {
		err = atomicfile.Write(file, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

// ObserveAPI asks the API once for everything it says of these nodes (all of the cluster's when none is named): one list per
// resource, side by side. An error with a map that is not nil means some of it could not be read.
func (c *Cluster) ObserveAPI(ctx context.Context, nodes []string) (map[string]*v1alpha1.API, error) {
	if len(nodes) == 0 {
		for _, n := range c.nodes {
			nodes = append(nodes, n.Name)
		}
	}
	c.connect()
	return apiserver.Observe(ctx, c.rest, c.kube, nodes)
}
