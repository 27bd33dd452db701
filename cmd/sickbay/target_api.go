package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sickbay-dev/sickbay/internal/bounds"
	"github.com/sickbay-dev/sickbay/internal/debugpod"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

// podTimeout leaves room for the pod's start and for the agent's copy through the API server and the kubelet.
const podTimeout = time.Minute

// otherWays to nodes than the API.
const otherWays = "Other ways: `--ssh NODE=user@host`, or `--local` on the node itself."

// errNotByEngine: the context is not of a kind cluster, or pods were asked for.
var errNotByEngine = errors.New("not looked for")

// throughAPI takes the nodes of a context as the API server lists them. Each is reached by a pod of its own. Why tells why no container
// engine reaches them.
func (a *app) throughAPI(ctx context.Context, w targetFlags, s *target, why error) error {
	if w.kubeconfig != "" {
		if _, err := bounds.ReadFile(w.kubeconfig, maxKubeconfig); err != nil {
			return usagef("read the kubeconfig %s: %s", w.kubeconfig, err)
		}
	}
	var namespace string
	var err error
	if s.rest, s.kube, namespace, err = cluster.Context(w.kubeconfig, w.context); err != nil {
		if !errors.Is(why, errNotByEngine) {
			return errors.Join(why, err)
		}
		return hint(err, otherWays)
	}
	s.observe()
	if name, ok := strings.CutPrefix(w.context, "kind-"); ok {
		s.Cluster = name
	} else {
		s.Cluster, s.Context = w.context, w.context
	}
	asking, cancel := context.WithTimeout(ctx, timeoutscale.Bound(5*time.Second))
	defer cancel()
	list, err := s.kube.CoreV1().Nodes().List(asking, metav1.ListOptions{})
	if err != nil && !apierrors.IsForbidden(err) { // that is named with all that is missing
		return fmt.Errorf("list the nodes of context %s: %w", w.context, err)
	}
	s.listed = list.Items
	if w.debugImage == "" && a.asContainers(ctx, w.context, list.Items, s) {
		return nil
	}
	pods, err := debugpod.Open(ctx, debugpod.Options{REST: s.rest, Kube: s.kube, Context: w.context, Namespace: namespace, Image: w.debugImage})
	if err != nil {
		return hint(err, otherWays)
	}
	a.pods = append(a.pods, pods)
	for _, n := range list.Items {
		s.nodes[n.Name] = pods.Node(n.Name)
	}
	if s.options.NodeTimeout == 0 {
		s.options.NodeTimeout = timeoutscale.Bound(podTimeout)
	}
	if !a.quiet {
		if !errors.Is(why, errNotByEngine) {
			first, _, _ := strings.Cut(why.Error(), "\n")
			a.say("No container engine reaches %s: %s.\n", w.context, first)
		}
		a.say("A privileged pod in namespace %s reads each node and is deleted afterwards; image %s.\n", namespace, imagesOf(list.Items, w))
	}
	return nil
}

// minikubeLabel is on the Nodes of minikube's clusters.
const minikubeLabel = "minikube.k8s.io/name"

// asContainers takes the nodes of a cluster of k3d's or minikube's as containers of the engine, if all of them are.
func (a *app) asContainers(ctx context.Context, name string, list []corev1.Node, s *target) bool {
	if len(list) == 0 || !strings.HasPrefix(name, "k3d-") && list[0].Labels[minikubeLabel] == "" {
		return false
	}
	e, err := a.deps.presentEngine(ctx)
	if err != nil {
		return false
	}
	found, err := a.deps.othersNodes(ctx, e, list)
	if err != nil || len(found) < len(list) {
		return false
	}
	maps.Copy(s.nodes, found)
	return true
}

// imagesOf says which images the pods have.
func imagesOf(nodes []corev1.Node, w targetFlags) string {
	if w.debugImage != "" {
		return w.debugImage
	}
	n := map[string]int{}
	wanted := map[string]bool{}
	for _, want := range w.nodes {
		if name, ok := nodeAt(want, nodes); ok {
			wanted[name] = true
		}
	}
	for i := range nodes {
		if len(w.nodes) > 0 && !wanted[nodes[i].Name] {
			continue
		}
		image, has := debugpod.ImageFor(&nodes[i])
		if !has {
			image += ", to be pulled"
		}
		n[image]++
	}
	names := slices.SortedFunc(maps.Keys(n), func(x, y string) int { return cmp.Or(n[y]-n[x], strings.Compare(x, y)) })
	if len(names) == 1 {
		return names[0]
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%s on %s", name, text.Plural(n[name], "node"))
	}
	return strings.Join(names, ", ")
}
