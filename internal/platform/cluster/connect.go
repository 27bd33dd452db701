package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/apiserver"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
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
	var raw strings.Builder
	name := "kind-" + c.Name
	t := c.rest.TLSClientConfig
	fmt.Fprintf(&raw, "apiVersion: v1\nkind: Config\ncurrent-context: %[1]s\ncontexts:\n- name: %[1]s\n  context: {cluster: %[1]s, user: %[1]s}\n", name)
	fmt.Fprintf(&raw, "clusters:\n- name: %s\n  cluster:\n    server: %s\n    certificate-authority-data: %s\n", name, c.rest.Host, base64Of(t.CAData))
	fmt.Fprintf(&raw, "users:\n- name: %s\n  user:\n    client-certificate-data: %s\n    client-key-data: %s\n", name, base64Of(t.CertData), base64Of(t.KeyData))
	return writeSecret(file, []byte(raw.String()))
}

// writeSecret writes a file only its owner reads, whole or not at all.
func writeSecret(file string, data []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	t, err := os.CreateTemp(filepath.Dir(file), ".new-")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", file, err), os.Remove(t.Name()))
		}
	}()
	if _, err := t.Write(data); err != nil {
		return errors.Join(err, t.Close())
	}
	if err := t.Close(); err != nil {
		return err
	}
	return os.Rename(t.Name(), file)
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
