package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	kind "sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cmd"
	"sigs.k8s.io/yaml"

	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/platform/engine"
	"github.com/sickbay-dev/sickbay/internal/platform/nodeimage"
)

//go:embed kind.yaml
var kindConfig []byte

// oldCgroups lets a kubelet start on a host with cgroup v1, as anybody with such a host has to.
const oldCgroups = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
`

// crioSocket is what anybody with a node image of CRI-O's has to say, since kind itself names containerd's socket.
const crioSocket = `kind: InitConfiguration
nodeRegistration: {criSocket: "unix:///var/run/crio/crio.sock"}
---
kind: JoinConfiguration
nodeRegistration: {criSocket: "unix:///var/run/crio/crio.sock"}
`

// made is a file in the control plane: this program made the cluster, and may break it.
const made = "/etc/made-to-be-broken"

// readyBound is what kind waits for the control plane: 30 s usually.
const readyBound = 5 * time.Minute

// stranger is a cluster as somebody who does not know sickbay makes it: kind, its own configuration, no label, no lease.
type stranger struct {
	name, image, runtime string
	engine               *engine.Engine
	app                  string // an image that its nodes hold, for entries that need a pod
}

func (s *stranger) provider() *kind.Provider {
	p := kind.ProviderWithDocker()
	if s.engine.Provider == engine.Podman {
		p = kind.ProviderWithPodman()
	}
	return kind.NewProvider(p, kind.ProviderWithLogger(cmd.NewLogger()))
}

// up makes the cluster, or takes the one that an earlier call of this program left. Nothing but its place is sickbay's: the
// network on which no packet leaves the machine.
func (s *stranger) up(ctx context.Context) error {
	names, err := s.provider().List()
	if err != nil {
		return fmt.Errorf("list the kind clusters: %w", err)
	}
	if slices.Contains(names, s.name) {
		if _, err := s.docker(ctx, "exec", s.node(ControlPlane), "test", "-e", made); err != nil {
			return fmt.Errorf("a cluster %s is there and this program did not make it; it is left as it is", s.name)
		}
		return s.findApp(ctx)
	}
	network, err := cluster.Shelter(ctx, s.engine, s.image)
	if err != nil {
		return err
	}
	if err := os.Setenv("KIND_EXPERIMENTAL_"+strings.ToUpper(s.engine.Provider)+"_NETWORK", network); err != nil {
		return err
	}
	var config v1alpha4.Cluster
	if err := yaml.UnmarshalStrict(kindConfig, &config); err != nil {
		return fmt.Errorf("kind.yaml: %w", err)
	}
	version, err := s.docker(ctx, "info", "--format", "{{.CgroupVersion}}")
	if err != nil {
		return err
	}
	if strings.TrimSpace(version) == "1" {
		config.KubeadmConfigPatches = append(config.KubeadmConfigPatches, oldCgroups)
	}
	if s.runtime == nodeimage.CRIO {
		config.KubeadmConfigPatches = append(config.KubeadmConfigPatches, strings.Split(crioSocket, "---\n")...)
	}
	err = s.provider().Create(s.name, kind.CreateWithV1Alpha4Config(&config), kind.CreateWithNodeImage(s.image),
		kind.CreateWithKubeconfigPath(s.kubeconfig()), kind.CreateWithWaitForReady(readyBound))
	if err == nil {
		_, err = s.docker(ctx, "exec", s.node(ControlPlane), "touch", made)
	}
	if err == nil {
		err = s.findApp(ctx)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("make cluster %s: %w", s.name, err), s.down(context.WithoutCancel(ctx)))
	}
	return nil
}

// down removes the cluster, and the network when nobody else is on it.
func (s *stranger) down(ctx context.Context) error {
	err := s.provider().Delete(s.name, s.kubeconfig())
	return errors.Join(err, os.RemoveAll(s.kubeconfig()), cluster.Unshelter(ctx, s.engine, s.image))
}

// kubeconfig is a file of its own, so that nobody's default context changes.
func (s *stranger) kubeconfig() string {
	return filepath.Join(os.TempDir(), "sickbay-byhand-"+s.name+".kubeconfig")
}

// node is the container of a place.
func (s *stranger) node(place string) string {
	if place == API {
		place = ControlPlane
	}
	return s.name + "-" + place
}

func (s *stranger) findApp(ctx context.Context) error {
	list := []string{"ctr", "-n", "k8s.io", "images", "ls", "-q", `name~="/agnhost:"`}
	if s.runtime == nodeimage.CRIO {
		list = []string{"sh", "-c", `crictl images | awk '/[/]agnhost / {print $1 ":" $2}'`}
	}
	out, err := s.docker(ctx, append([]string{"exec", s.node(Worker)}, list...)...)
	if err != nil {
		return err
	}
	if s.app, _, _ = strings.Cut(strings.TrimSpace(out), "\n"); s.app == "" {
		return fmt.Errorf("the nodes hold no agnhost image for the pods of entries: `kind load docker-image --name %s %s`", s.name, cluster.DefaultWorkloadImage)
	}
	return nil
}

// helpers are what scripts of the API may call besides kubectl.
const helpers = `pod() { # NAME NODE [ARGUMENT…]: a pod without an owner, that does nothing unless told
  pod=$1; on=$2; shift 2
  kubectl run "$pod" --image="$APP" --image-pull-policy=IfNotPresent \
    --overrides="{\"spec\":{\"nodeName\":\"$on\",\"terminationGracePeriodSeconds\":1,\"tolerations\":[{\"operator\":\"Exists\"}]}}" -- "${@:-pause}"
}
event() { kubectl get events --field-selector "involvedObject.name=$1,reason=$2" -o name | grep -q .; } # POD REASON
gone() { # POD: and what was said of it
  kubectl delete pod "$1" --ignore-not-found --now
  kubectl delete events --field-selector "involvedObject.name=$1"
}
`

// run runs a script as `docker exec NODE sh -c` does. It is told the names of the nodes.
func (s *stranger) run(ctx context.Context, p Part) (string, error) {
	args := []string{"exec"}
	for k, v := range map[string]string{"NODE": s.node(p.At), "WORKER": s.node(Worker), "WORKER2": s.node(Worker2), "CONTROL_PLANE": s.node(ControlPlane), "APP": s.app} {
		args = append(args, "-e", k+"="+v)
	}
	script := p.Run
	if p.At == API {
		args = append(args, "-e", "KUBECONFIG=/etc/kubernetes/admin.conf")
		script = helpers + script
	}
	return s.docker(ctx, append(args, s.node(p.At), "sh", "-euc", script)...)
}

// all runs the parts of a script in order and stops at the first that fails.
func (s *stranger) all(ctx context.Context, script Script) error {
	for _, p := range script {
		if _, err := s.run(ctx, p); err != nil {
			return fmt.Errorf("on %s: %w", p.At, err)
		}
	}
	return nil
}

// clientBound bounds one command of the engine's client: a script of an entry takes seconds.
const clientBound = 2 * time.Minute

func (s *stranger) docker(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, clientBound)
	defer cancel()
	c := s.engine.Command(ctx, args...)
	c.WaitDelay = time.Second
	out, err := c.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return string(out), fmt.Errorf("%s: %w: %s", args[0], err, strings.TrimSpace(string(exit.Stderr)))
		}
		return string(out), fmt.Errorf("%s: %w", args[0], err)
	}
	return string(out), nil
}
