// Command cni-agent gives the pods of a cluster their network: it stands in for kindnetd where no registry is reachable.
//
// When it starts it writes the CNI configuration of its node, once: a configuration removed afterwards stays removed until
// the pod is recreated, as with kindnetd, because that is an illness the harness injects. Then it keeps one route per
// other node, and the masquerading of pod traffic that leaves the cluster. Network policies are not implemented.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

const (
	// resync heals routes that somebody else removed; node changes themselves arrive by watch.
	resync = 30 * time.Second
	// conflistPath sorts before any other name an operator is likely to use.
	conflistPath = "/etc/cni/net.d/10-sickbay.conflist"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		slog.Error("cni-agent stopped", "error", err)
		os.Exit(1)
	}
}

// settings come from the DaemonSet's environment.
type settings struct {
	nodeName   string
	podSubnets []netip.Prefix
}

func readSettings(getenv func(string) string) (settings, error) {
	s := settings{nodeName: getenv("NODE_NAME")}
	if s.nodeName == "" {
		return s, errors.New("NODE_NAME is not set: the DaemonSet must fill it from spec.nodeName")
	}
	for part := range strings.SplitSeq(getenv("POD_SUBNET"), ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(part))
		if err != nil {
			return s, fmt.Errorf("POD_SUBNET %q: %w", getenv("POD_SUBNET"), err)
		}
		s.podSubnets = append(s.podSubnets, p.Masked())
	}
	return s, nil
}

func run(ctx context.Context) error {
	set, err := readSettings(os.Getenv)
	if err != nil {
		return err
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return fmt.Errorf("reading the pod's service account: %w", err)
	}
	// kind adds this, so that the agent need not wait for kube-proxy to serve the service address.
	if endpoint := os.Getenv("CONTROL_PLANE_ENDPOINT"); endpoint != "" {
		config.Host = "https://" + strings.TrimPrefix(endpoint, "https://")
	}
	config.UserAgent = "sickbay-cni-agent"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("preparing a client for %s: %w", config.Host, err)
	}

	factory := informers.NewSharedInformerFactory(client, resync)
	nodes := factory.Core().V1().Nodes()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](200*time.Millisecond, 10*time.Second))
	wake := func(any) { queue.Add("nodes") }
	if _, err := nodes.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: wake, DeleteFunc: wake, UpdateFunc: func(_, o any) { wake(o) },
	}); err != nil {
		return fmt.Errorf("watching nodes: %w", err)
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), nodes.Informer().HasSynced) {
		return ctx.Err()
	}

	go func() { <-ctx.Done(); queue.ShutDown() }()
	configured := false
	for {
		item, quit := queue.Get()
		if quit {
			return ctx.Err()
		}
		all, err := nodes.Lister().List(labels.Everything())
		if err == nil {
			configured, err = reconcile(set, all, configured)
		}
		if err != nil {
			slog.Warn("will retry", "error", err)
			queue.AddRateLimited(item)
		} else {
			queue.Forget(item)
		}
		queue.Done(item)
	}
}

// reconcile sets masquerading and routes right; the configuration it writes only until that worked once. It answers
// whether the configuration is written.
func reconcile(set settings, nodes []*corev1.Node, configured bool) (bool, error) {
	own := slices.IndexFunc(nodes, func(n *corev1.Node) bool { return n.Name == set.nodeName })
	if own < 0 {
		return configured, fmt.Errorf("node %s is not registered yet", set.nodeName)
	}
	cidrs, err := podCIDRs(nodes[own])
	if err != nil {
		return configured, err
	}
	if err := masquerade(set.podSubnets); err != nil {
		return configured, fmt.Errorf("setting up masquerading on %s: %w", set.nodeName, err)
	}
	if err := syncRoutes(set.nodeName, nodes); err != nil {
		return configured, fmt.Errorf("setting up routes on %s: %w", set.nodeName, err)
	}
	if configured {
		return true, nil
	}
	mtu, err := uplinkMTU()
	if err != nil {
		return false, err
	}
	if err := writeConflist(conflistPath, conflist(cidrs, mtu)); err != nil {
		return false, err
	}
	slog.Info("network configured", "node", set.nodeName, "podCIDRs", cidrs, "mtu", mtu)
	return true, nil
}

func podCIDRs(n *corev1.Node) ([]netip.Prefix, error) {
	list := n.Spec.PodCIDRs
	if len(list) == 0 && n.Spec.PodCIDR != "" {
		list = []string{n.Spec.PodCIDR}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("node %s has no podCIDR yet (kube-controller-manager assigns it)", n.Name)
	}
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("node %s: podCIDR %q: %w", n.Name, s, err)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// nodeAddr returns the node's internal address of the same family as want.
func nodeAddr(n *corev1.Node, want netip.Prefix) (net.IP, bool) {
	for _, a := range n.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		if ip, err := netip.ParseAddr(a.Address); err == nil && ip.Is4() == want.Addr().Is4() {
			return net.IP(ip.AsSlice()), true
		}
	}
	return nil, false
}
