// Package apiserver makes the API server's side of an observation: the objects of a node, without what is secret in them. It knows a
// REST config and nothing of how the cluster was made.
package apiserver

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	nodev1 "k8s.io/api/node/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/redact"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
)

const (
	// apiBound bounds one look at the API: an answer that comes later would be beside the node's own look.
	apiBound = 2 * time.Second
	// configzBound bounds the one request that goes through a kubelet, which may be what is broken.
	configzBound = time.Second
	// LabelDebug is on the pods by which nodes are read through the API, and DebugPrefix begins their names: they are no part of what
	// is looked at.
	LabelDebug  = "sickbay.dev/debug"
	DebugPrefix = "sickbay-debug-"
	// leaseNamespace is where kubelets renew their leases.
	leaseNamespace = "kube-node-lease"
)

// Observe asks the API once for everything it says of these nodes: one list per resource, side by side. An error with a map that is
// not nil means some of it could not be read.
func Observe(ctx context.Context, config *rest.Config, kube kubernetes.Interface, nodes []string) (map[string]*v1alpha1.API, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeoutscale.Bound(apiBound), fmt.Errorf("the API server did not answer within %s", timeoutscale.Bound(apiBound)))
	defer cancel()
	srv, err := serverFor(config)
	if err != nil {
		return nil, fmt.Errorf("ask the API server: %w", err)
	}
	common, err := srv.version(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the API server: %w", bounded(ctx, err))
	}
	l, err := list(ctx, kube, nodes)
	view := l.split(common, nodes)

	var wg sync.WaitGroup
	for _, name := range nodes {
		if view[name].Node == nil {
			continue
		}
		wg.Go(func() {
			config, err := srv.configz(ctx, name)
			if view[name].Configz = config; errors.Is(err, errForbidden) {
				view[name].Unread = append(view[name].Unread, mayNot(v1alpha1.SourceKubelet, err, "the kubelet's configuration is read from its files alone", "get on nodes/proxy"))
			}
		})
	}
	// Credentials that nothing refers to are the cure where a pod names none: those of the namespaces that pull at all.
	secrets, refused := map[string][]v1alpha1.PullSecret{}, map[string]error{}
	var mu sync.Mutex
	for namespace, refs := range secretsOf(l.pods) {
		wg.Go(func() {
			s, err := pullSecrets(ctx, kube, namespace, refs)
			mu.Lock()
			defer mu.Unlock()
			secrets[namespace], refused[namespace] = s, err
		})
	}
	wg.Wait()
	for name, v := range view {
		namespaces := slices.Sorted(maps.Keys(secretsOf(append(slices.Clone(v.Pods), v.Pending...))))
		for _, namespace := range namespaces {
			v.PullSecrets = append(v.PullSecrets, secrets[namespace]...)
		}
		if i := slices.IndexFunc(namespaces, func(n string) bool { return refused[n] != nil }); i >= 0 {
			v.Unread = append(v.Unread, mayNot(v1alpha1.SourcePullSecrets, refused[namespaces[i]], "which registries the pull secrets are for is not known", "list and get on secrets"))
		}
		slices.SortFunc(v.PullSecrets, func(a, b v1alpha1.PullSecret) int {
			return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		})
		kept := redact.API(v)
		view[name] = &kept
	}
	if err != nil {
		return view, fmt.Errorf("ask the API server: %w", bounded(ctx, err))
	}
	return view, nil
}

func bounded(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	return err
}

// server is the API server as plain HTTP, for what client-go hides: the Date header, and paths of no resource.
type server struct {
	client *http.Client
	base   *url.URL
}

func serverFor(config *rest.Config) (server, error) {
	// The transport behind it is cached by its TLS configuration: the connections are those of the typed client.
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return server{}, err
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	return server{client, base}, err
}

func (s server) get(ctx context.Context, path string, into any) (date time.Time, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base.JoinPath(path).String(), nil)
	if err != nil {
		return date, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return date, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusForbidden {
		return date, fmt.Errorf("GET %s: %w", path, errForbidden)
	}
	if resp.StatusCode != http.StatusOK {
		return date, fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return date, fmt.Errorf("GET %s: %w", path, err)
	}
	date, err = http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		date = time.Time{} // a proxy that drops it: unknown, and the zero value says so
	}
	return date, nil
}

// errForbidden is the answer to a caller who may not ask that.
var errForbidden = errors.New("403 Forbidden")

// version takes the server's version, and both clocks of the same moment.
func (s server) version(ctx context.Context) (v1alpha1.API, error) {
	var v struct{ GitVersion string }
	asked := time.Now()
	date, err := s.get(ctx, "/version", &v)
	if err != nil {
		return v1alpha1.API{}, err
	}
	// The server stamped its answer somewhere between the question and now.
	return v1alpha1.API{AskedAt: asked.Add(time.Since(asked) / 2), ServerDate: date, ServerVersion: v.GitVersion}, nil
}

// lists are whole lists of the cluster, or of the one node asked for.
type lists struct {
	nodes      []corev1.Node
	control    []corev1.Node // those of the control plane, asked for or not
	leases     []coordinationv1.Lease
	pods       []corev1.Pod
	events     []corev1.Event
	classes    []nodev1.RuntimeClass
	csiNodes   []storagev1.CSINode
	csiDrivers []storagev1.CSIDriver
	claims     []corev1.PersistentVolumeClaim
	volumes    []corev1.PersistentVolume
	endpoints  []string
	clusterCAs []string
	unread     []v1alpha1.Unknown
}

// list reads everything side by side. Resource version 0 is answered from the server's memory: it is what the server knows,
// without asking etcd.
func list(ctx context.Context, kube kubernetes.Interface, nodes []string) (*lists, error) {
	var l lists
	all := metav1.ListOptions{ResourceVersion: "0"}
	// One node of a large cluster is asked for by its name: NPD asks from each of them.
	own := all
	if len(nodes) == 1 {
		own.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, nodes[0]).String()
	}
	var errs []error
	var mu sync.Mutex
	var wg sync.WaitGroup
	ask := func(what string, f func() error) {
		wg.Go(func() {
			if err := f(); err != nil && !apierrors.IsNotFound(err) {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	ask("nodes", func() error {
		r, err := kube.CoreV1().Nodes().List(ctx, own)
		if err == nil {
			l.nodes = r.Items
		}
		return err
	})
	ask("control-plane nodes", func() error {
		r, err := kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0", LabelSelector: controlPlaneLabel})
		if err == nil {
			l.control = r.Items
		}
		return err
	})
	ask("leases", func() error {
		r, err := kube.CoordinationV1().Leases(leaseNamespace).List(ctx, own)
		if err == nil {
			l.leases = r.Items
		}
		return err
	})
	ask("pods", func() error {
		if len(nodes) != 1 {
			r, err := kube.CoreV1().Pods("").List(ctx, all)
			if err == nil {
				l.pods = r.Items
			}
			return err
		}
		// One node of a large cluster: its own pods and those of no node, not ten thousand others.
		for _, on := range []string{nodes[0], ""} {
			r, err := kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{ResourceVersion: "0", FieldSelector: fields.OneTermEqualSelector("spec.nodeName", on).String()})
			if err != nil {
				return err
			}
			l.pods = append(l.pods, r.Items...)
		}
		return nil
	})
	ask("events", func() error {
		r, err := kube.CoreV1().Events("").List(ctx, all)
		if err == nil {
			l.events = r.Items
		}
		return err
	})
	ask("runtimeclasses", func() error {
		r, err := kube.NodeV1().RuntimeClasses().List(ctx, all)
		if err == nil {
			l.classes = r.Items
		}
		return err
	})
	ask("csinodes", func() error {
		r, err := kube.StorageV1().CSINodes().List(ctx, own)
		if err == nil {
			l.csiNodes = r.Items
		}
		return err
	})
	ask("csidrivers", func() error {
		r, err := kube.StorageV1().CSIDrivers().List(ctx, all)
		if err == nil {
			l.csiDrivers = r.Items
		}
		return err
	})
	ask("persistentvolumeclaims", func() error {
		r, err := kube.CoreV1().PersistentVolumeClaims("").List(ctx, all)
		if err == nil {
			l.claims = r.Items
		}
		return err
	})
	ask("persistentvolumes", func() error {
		r, err := kube.CoreV1().PersistentVolumes().List(ctx, all)
		if err == nil {
			l.volumes = r.Items
		}
		return err
	})
	ask("the API server's endpoints", func() error {
		r, err := kube.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{ResourceVersion: "0", LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
		if err == nil {
			l.endpoints = addresses(r.Items)
		}
		return err
	})
	ask("the cluster's CA", func() error {
		c, err := kube.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, rootCA, metav1.GetOptions{ResourceVersion: "0"})
		if apierrors.IsForbidden(err) {
			l.unread = append(l.unread, mayNot(v1alpha1.SourceClusterCAs, err, "the node's CA is not compared with the cluster's", "get on configmaps "+rootCA+" in "+metav1.NamespaceSystem))
			return nil
		}
		if err == nil {
			l.clusterCAs = fingerprints([]byte(c.Data["ca.crt"]))
		}
		return err
	})
	wg.Wait()
	l.leaveOutDebugPods()
	return &l, errors.Join(errs...)
}

// leaveOutDebugPods takes out the pods by which the look itself is made.
func (l *lists) leaveOutDebugPods() {
	l.pods = slices.DeleteFunc(l.pods, func(p corev1.Pod) bool { return p.Labels[LabelDebug] != "" && strings.HasPrefix(p.Name, DebugPrefix) })
	l.events = slices.DeleteFunc(l.events, func(e corev1.Event) bool {
		return e.InvolvedObject.Kind == "Pod" && strings.HasPrefix(e.InvolvedObject.Name, DebugPrefix)
	})
}

func addresses(slices []discoveryv1.EndpointSlice) (out []string) {
	for _, s := range slices {
		for _, e := range s.Endpoints {
			out = append(out, e.Addresses...)
		}
	}
	return out
}

// rootCA is the ConfigMap with the CAs that the cluster gives to pods.
const rootCA = "kube-root-ca.crt"

// mayNot says what of the API's view the caller may not read, what follows, and which rule is missing.
func mayNot(source string, err error, so, rule string) v1alpha1.Unknown {
	return v1alpha1.Unknown{What: source, Why: fmt.Sprintf("%s; %s; a role that allows %s is missing", err, so, rule)}
}

// fingerprints are those of the certificates of a PEM file.
func fingerprints(data []byte) (out []string) {
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			return out
		}
		sum := sha256.Sum256(b.Bytes)
		out = append(out, hex.EncodeToString(sum[:]))
	}
}

// split gives each node what is about it.
func (l *lists) split(common v1alpha1.API, nodes []string) map[string]*v1alpha1.API {
	var pending []corev1.Pod
	for _, p := range l.pods {
		if p.Spec.NodeName == "" {
			pending = append(pending, p)
		}
	}
	common.Endpoints, common.ClusterCAs = l.apiServers(), l.clusterCAs
	view := map[string]*v1alpha1.API{}
	for _, name := range nodes {
		a := common
		a.Unread = slices.Clone(l.unread)
		for i := range l.nodes {
			if l.nodes[i].Name == name {
				a.Node = &l.nodes[i]
			}
		}
		for i := range l.leases {
			if l.leases[i].Name == name {
				a.Lease = &l.leases[i]
			}
		}
		for i := range l.csiNodes {
			if l.csiNodes[i].Name == name {
				a.CSINode = &l.csiNodes[i]
			}
		}
		for _, p := range l.pods {
			if p.Spec.NodeName == name {
				a.Pods = append(a.Pods, p)
			}
		}
		a.SameKernel = l.hostsAPI(a.Node)
		a.Pending = pending
		a.Events = l.eventsOf(name, append(slices.Clone(a.Pods), pending...))
		a.RuntimeClasses, a.CSIDrivers = l.classes, l.csiDrivers
		a.PVCs, a.PVs = l.storageOf(append(slices.Clone(a.Pods), pending...))
		view[name] = &a
	}
	return view
}

// hostsAPI tells whether a control-plane node is the same machine as this node.
func (l *lists) hostsAPI(n *corev1.Node) bool {
	return n != nil && n.Status.NodeInfo.BootID != "" && slices.ContainsFunc(l.control, func(c corev1.Node) bool {
		return c.Status.NodeInfo.BootID == n.Status.NodeInfo.BootID
	})
}

const controlPlaneLabel = "node-role.kubernetes.io/control-plane"

// apiServers are the names and addresses the API server goes by; none where they are not all known, because the nodes could not
// be listed, or because whoever runs the control plane does not show its nodes.
func (l *lists) apiServers() []string {
	if len(l.control) == 0 {
		return nil
	}
	all := l.endpoints
	for _, n := range l.control {
		all = append(all, n.Name)
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				all = append(all, a.Address)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// eventsOf are those about the node, its pods, and what it reported itself: a pod that is gone leaves its events.
func (l *lists) eventsOf(name string, pods []corev1.Pod) []corev1.Event {
	mine := map[[2]string]bool{}
	for _, p := range pods {
		mine[[2]string{p.Namespace, p.Name}] = true
	}
	var events []corev1.Event
	for _, e := range l.events {
		o := e.InvolvedObject
		switch {
		case o.Kind == "Node" && o.Name == name,
			o.Kind == "Pod" && mine[[2]string{o.Namespace, o.Name}],
			e.Source.Host == name && e.Source.Component == "kubelet",
			e.ReportingInstance == name && e.ReportingController == "kubelet":
			events = append(events, e)
		}
	}
	slices.SortStableFunc(events, func(a, b corev1.Event) int { return when(a).Compare(when(b)) })
	return events
}

func when(e corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	}
	return e.FirstTimestamp.Time
}

func (l *lists) storageOf(pods []corev1.Pod) (claims []corev1.PersistentVolumeClaim, volumes []corev1.PersistentVolume) {
	wanted := map[[2]string]bool{}
	for _, p := range pods {
		for _, v := range p.Spec.Volumes {
			switch {
			case v.PersistentVolumeClaim != nil:
				wanted[[2]string{p.Namespace, v.PersistentVolumeClaim.ClaimName}] = true
			case v.Ephemeral != nil:
				wanted[[2]string{p.Namespace, p.Name + "-" + v.Name}] = true
			}
		}
	}
	bound := map[string]bool{}
	for _, c := range l.claims {
		if wanted[[2]string{c.Namespace, c.Name}] {
			claims = append(claims, c)
			bound[c.Spec.VolumeName] = true
		}
	}
	for _, v := range l.volumes {
		if bound[v.Name] {
			volumes = append(volumes, v)
		}
	}
	return claims, volumes
}

// secretsOf are the pull secrets that pods refer to, by namespace; every namespace with a pod is a key, kube-system excepted:
// its pods come with the cluster.
func secretsOf(pods []corev1.Pod) map[string][]string {
	refs := map[string][]string{}
	for _, p := range pods {
		if p.Namespace == metav1.NamespaceSystem && len(p.Spec.ImagePullSecrets) == 0 {
			continue
		}
		names := refs[p.Namespace]
		for _, s := range p.Spec.ImagePullSecrets {
			if s.Name != "" && !slices.Contains(names, s.Name) {
				names = append(names, s.Name)
			}
		}
		refs[p.Namespace] = names
	}
	return refs
}

// pullSecrets reads which registries the secrets of a namespace are for, and drops the rest at once: those pods refer to, and
// those of the two types that hold registry credentials. Secrets of other types are not even asked for. The error is that they may not be read.
func pullSecrets(ctx context.Context, kube kubernetes.Interface, namespace string, refs []string) (all []v1alpha1.PullSecret, refused error) {
	seen := map[string]bool{}
	for _, t := range []corev1.SecretType{corev1.SecretTypeDockerConfigJson, corev1.SecretTypeDockercfg} {
		list, err := kube.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{ResourceVersion: "0", FieldSelector: fields.OneTermEqualSelector("type", string(t)).String()})
		if apierrors.IsForbidden(err) {
			refused = err
		}
		if err != nil {
			continue // the ones referred to are asked for by name, and say why
		}
		for i := range list.Items {
			if s := &list.Items[i]; s.Type == t {
				all = append(all, pullSecret(s))
				seen[s.Name] = true
			}
		}
	}
	for _, name := range refs {
		if seen[name] {
			continue
		}
		s, err := kube.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			all = append(all, v1alpha1.PullSecret{Namespace: namespace, Name: name})
		case err != nil:
			all = append(all, v1alpha1.PullSecret{Namespace: namespace, Name: name, Error: err.Error()})
		default:
			all = append(all, pullSecret(s))
		}
	}
	return all, refused
}

func pullSecret(secret *corev1.Secret) v1alpha1.PullSecret {
	s := v1alpha1.PullSecret{Namespace: secret.Namespace, Name: secret.Name, Exists: true}
	var auths map[string]json.RawMessage
	if raw, ok := secret.Data[corev1.DockerConfigJsonKey]; ok {
		var config struct {
			Auths map[string]json.RawMessage `json:"auths"`
		}
		if err := json.Unmarshal(raw, &config); err != nil {
			s.Error = "its " + corev1.DockerConfigJsonKey + " is not JSON" // the parser's own words quote the content
		}
		auths = config.Auths
	} else if raw, ok := secret.Data[corev1.DockerConfigKey]; ok {
		if err := json.Unmarshal(raw, &auths); err != nil {
			s.Error = "its " + corev1.DockerConfigKey + " is not JSON"
		}
	} else {
		s.Error = "it has type " + string(secret.Type) + " and holds no registry credentials"
	}
	for host := range auths {
		s.Hosts = append(s.Hosts, host)
	}
	slices.Sort(s.Hosts)
	return s
}

// configz is the kubelet's running configuration, through the API server; nil when that way is closed.
func (s server) configz(ctx context.Context, name string) (*v1alpha1.KubeletConfig, error) {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(configzBound))
	defer cancel()
	var z struct {
		KubeletConfig kubeletv1beta1.KubeletConfiguration `json:"kubeletconfig"`
	}
	if _, err := s.get(ctx, "/api/v1/nodes/"+name+"/proxy/configz", &z); err != nil {
		return nil, err
	}
	k := z.KubeletConfig
	return &v1alpha1.KubeletConfig{
		CgroupDriver: k.CgroupDriver, CgroupsPerQOS: k.CgroupsPerQOS, FailSwapOn: k.FailSwapOn, FailCgroupV1: k.FailCgroupV1, SwapBehavior: k.MemorySwap.SwapBehavior,
		EvictionHard: k.EvictionHard, EvictionSoft: k.EvictionSoft, EvictionPressureTransitionPeriod: duration(k.EvictionPressureTransitionPeriod),
		ImageGCHighThresholdPercent: k.ImageGCHighThresholdPercent, RuntimeEndpoint: k.ContainerRuntimeEndpoint,
		NodeStatusUpdateFrequency: duration(k.NodeStatusUpdateFrequency), SeccompDefault: k.SeccompDefault, MaxPods: k.MaxPods,
		RotateCertificates: &k.RotateCertificates, RegisterNode: k.RegisterNode,
	}, nil
}

func duration(d metav1.Duration) string {
	if d.Duration == 0 {
		return ""
	}
	return d.Duration.String()
}
