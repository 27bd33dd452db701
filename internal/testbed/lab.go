// Package testbed is a real cluster as the runner needs one (suites.Testbed), and undoes from outside what runs of dead processes have left
// on it.
package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/diagnose"
	"github.com/sickbay-dev/sickbay/internal/fault"
	"github.com/sickbay-dev/sickbay/internal/fingerprint"
	"github.com/sickbay-dev/sickbay/internal/fingerprint/apiserver"
	"github.com/sickbay-dev/sickbay/internal/node"
	"github.com/sickbay-dev/sickbay/internal/platform/cluster"
	"github.com/sickbay-dev/sickbay/internal/remedy"
	"github.com/sickbay-dev/sickbay/internal/retry"
	"github.com/sickbay-dev/sickbay/internal/text"
	"github.com/sickbay-dev/sickbay/internal/timeoutscale"
	"github.com/sickbay-dev/sickbay/internal/usage"
	"github.com/sickbay-dev/sickbay/suites"
)

// kindTestbed is a suites.Testbed over a kind cluster of ours.
type kindTestbed struct {
	c     *cluster.Cluster
	image string
	t     fault.Timings // of calls of the API

	mu     sync.Mutex
	agents map[string]*lazyAgent
	images map[string][]string // node → image references at its fingerprint

	// config is how the API is reached.
	config func() *rest.Config
	apiMu  sync.Mutex // its own: asking may take long
	api    *resources
}

// resources are the resources the API has.
type resources struct {
	mapper meta.RESTMapper
	client dynamic.Interface
}

// New makes a cluster a testbed. A cluster that sickbay did not make is refused: nothing is ever injected into it.
func New(ctx context.Context, c *cluster.Cluster) (suites.Testbed, error) {
	if !c.Ours {
		return nil, usage.Errorf("cluster %s was not made by sickbay: nothing is injected into it; choose another name with --cluster", c.Name)
	}
	image, err := c.WorkloadImage(ctx)
	if err != nil {
		return nil, err
	}
	return newKindTestbed(c, image), nil
}

func newKindTestbed(c *cluster.Cluster, image string) *kindTestbed {
	return &kindTestbed{
		c: c, image: image, t: fault.Timings{}.OnThisMachine(), config: c.RESTConfig,
		agents: map[string]*lazyAgent{}, images: map[string][]string{},
	}
}

func (l *kindTestbed) Cluster() string { return l.c.Name }

func (l *kindTestbed) Runtime() string { return l.c.Runtime() }

func (l *kindTestbed) Image() string { return l.image }

func (l *kindTestbed) Kube() kubernetes.Interface { return l.c.Kube() }

func (l *kindTestbed) Claim(ctx context.Context, name string) (func(), error) {
	return l.c.Claim(ctx, name)
}

func (l *kindTestbed) About(ctx context.Context) (suites.About, error) {
	list, err := l.Kube().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return suites.About{}, err
	}
	if len(list.Items) == 0 {
		return suites.About{}, errors.New("it has no nodes")
	}
	info := list.Items[0].Status.NodeInfo
	a := suites.About{Kubernetes: info.KubeletVersion, Host: fmt.Sprintf("kernel %s, %s", info.KernelVersion, info.ContainerRuntimeVersion)}
	// The API does not tell what of the host decides much.
	look, cancel := context.WithTimeout(ctx, timeoutscale.Bound(5*time.Second))
	defer cancel()
	if o, err := l.agent(list.Items[0].Name).Observe(look, diagnose.Ask{Since: time.Second}); err == nil && o.Host.CgroupVersion > 0 {
		a.Kind = kindOfHost(o.Host)
		a.Host += fmt.Sprintf(", %s, %d CPUs", a.Kind, o.Host.CPUs)
	}
	return a, nil
}

func (l *kindTestbed) agent(name string) *lazyAgent {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.agents[name]
	if a == nil {
		a = &lazyAgent{node: l.c.Node(name)}
		l.agents[name] = a
	}
	return a
}

func (l *kindTestbed) Target() diagnose.Target {
	t := diagnose.Target{Cluster: l.c.Name, API: l.c}
	for _, n := range l.c.Nodes() {
		t.Nodes = append(t.Nodes, diagnose.Node{Name: n.Name, Agent: l.agent(n.Name)})
	}
	return t
}

func (l *kindTestbed) Agent(ctx context.Context, name string) (fault.Agent, error) {
	if !l.c.Has(name) {
		return nil, fmt.Errorf("cluster %s has no node %s", l.c.Name, name)
	}
	a, err := l.agent(name).get(ctx)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Begin implements fault.Testbed. The images are those of the node's fingerprint, if there is one.
func (l *kindTestbed) Begin(ctx context.Context, r cluster.Record) (fault.RunRecord, error) {
	l.mu.Lock()
	r.Images = l.images[r.Node]
	l.mu.Unlock()
	if r.Images == nil {
		r.Images, _ = l.imageRefs(ctx, r.Node) // without them nothing is put back that the kubelet removes
		l.mu.Lock()
		l.images[r.Node] = r.Images
		l.mu.Unlock()
	}
	h, err := l.c.Begin(r)
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (l *kindTestbed) Records() []cluster.Record {
	all, _ := cluster.Records(l.c.Name) // one that cannot be read is somebody's whose node tells of it as well
	return all
}

// Remedy carries a plan out with nothing but what an operator of this cluster has: its nodes, its API, its image's own files.
func (l *kindTestbed) Remedy(ctx context.Context, _ string, r *v1alpha1.Remedy, done func(v1alpha1.AppliedStep)) error {
	target := remedy.Target{
		Nodes: func(name string) (node.Node, bool) {
			if !l.c.Has(name) {
				return nil, false
			}
			return l.c.Node(name), true
		},
		Kube: l.c.Kube(), REST: l.c.RESTConfig(), Original: l.c.Original,
	}
	_, err := remedy.Apply(ctx, target, *r, remedy.Options{OnStep: func(s remedy.StepResult) {
		if s.Ended.IsZero() {
			return
		}
		a := v1alpha1.AppliedStep{Step: s.Step, Started: s.Started, Ended: s.Ended, Output: text.Short(s.Output, 400)}
		if s.Err != nil {
			a.Error = s.Err.Error()
		}
		done(a)
	}})
	// Nobody puts anything back on this node but the harness, which compares it with what it was: also after an interrupt.
	for _, s := range r.Steps {
		if n, ok := target.Nodes(s.On); ok {
			err = errors.Join(err, remedy.Forget(context.WithoutCancel(ctx), n))
			break
		}
	}
	return err
}

// snapshots are fingerprints taken together, each with the way to take it again.
type snapshots struct {
	before []*fingerprint.Fingerprint
	take   []func(context.Context) (*fingerprint.Fingerprint, error)
}

func (l *kindTestbed) newSnapshots(ctx context.Context, take ...func(context.Context) (*fingerprint.Fingerprint, error)) (*snapshots, error) {
	m := &snapshots{take: take}
	for _, t := range take {
		f, err := readable(ctx, l.t.Poll, l.t.Call, t)
		if err != nil {
			return nil, err
		}
		m.before = append(m.before, f)
	}
	return m, nil
}

func (m *snapshots) Changes(ctx context.Context) ([]string, error) {
	changes, err := m.changes(ctx)
	var out []string
	for _, c := range changes {
		out = append(out, c.String())
	}
	return out, err
}

func (m *snapshots) changes(ctx context.Context) ([]fingerprint.Change, error) {
	var out []fingerprint.Change
	for i, take := range m.take {
		f, err := take(ctx)
		if err == nil {
			// A fingerprint cut short by its bound has unknown areas that say nothing about the machine.
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		out = append(out, fingerprint.Diff(m.before[i], f)...)
	}
	return out, nil
}

// hostSnapshot is the host's fingerprint without what another process may change at will, because it has claimed the host's kernel:
// swap is one for the whole machine, and its files have the same path in every node. A loop device tells whose it is instead.
// A kernel module that has come is nobody's leftover either: the kernel loads what kube-proxy's next rule needs; one that has gone is.
type hostSnapshot struct {
	*snapshots
	elsewhere func() bool
	then      bool
}

func newHostSnapshot(m *snapshots, elsewhere func() bool) hostSnapshot {
	return hostSnapshot{m, elsewhere, elsewhere()}
}

func (m hostSnapshot) Changes(ctx context.Context) ([]string, error) {
	all, err := m.changes(ctx)
	theirs := m.then || m.elsewhere()
	var out []string
	for _, c := range all {
		if theirs && c.Area == fingerprint.Swaps || c.Area == fingerprint.Modules && c.Before == "" {
			continue
		}
		out = append(out, c.String())
	}
	return out, err
}

func (l *kindTestbed) Fingerprint(ctx context.Context, name, namespace string) (suites.Fingerprint, error) {
	if name == suites.HostNode {
		host, err := l.newSnapshots(ctx, l.host)
		if err != nil {
			return nil, err
		}
		engine, err := l.snapshotEngine(ctx)
		return bothSnapshots{newHostSnapshot(host, func() bool { _, held := cluster.HostHeldElsewhere(); return held }), engine}, err
	}
	if refs, err := l.imageRefs(ctx, name); err == nil {
		l.mu.Lock()
		l.images[name] = refs
		l.mu.Unlock()
	}
	return l.newSnapshots(ctx,
		func(ctx context.Context) (*fingerprint.Fingerprint, error) { return l.nodeNow(ctx, name) },
		func(ctx context.Context) (*fingerprint.Fingerprint, error) {
			return apiserver.Take(ctx, l.c.Kube(), name, namespace), nil
		},
	)
}

// nodeNow is a node's fingerprint.
func (l *kindTestbed) nodeNow(ctx context.Context, name string) (*fingerprint.Fingerprint, error) {
	a, err := l.agent(name).get(ctx)
	if err != nil {
		return nil, err
	}
	f, err := a.Fingerprint(ctx)
	if err != nil {
		return nil, err
	}
	now, err := cluster.Find(ctx, l.c.Engine(), l.c.Name) // an engine that was restarted gives its nodes new addresses
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, n := range now.Nodes() {
		names[n.IP] = n.Name
	}
	f.NameGateways(names)
	return f, nil
}

type bothSnapshots [2]suites.Fingerprint

func (b bothSnapshots) Changes(ctx context.Context) ([]string, error) {
	first, err := b[0].Changes(ctx)
	if err != nil {
		return nil, err
	}
	second, err := b[1].Changes(ctx)
	return append(first, second...), err
}

// engineSnapshot is the engine's containers, volumes and networks without those of other kind clusters and of whoever else uses the
// engine, which come and go as their owners like: neither their end nor their beginning is of this run's making.
type engineSnapshot struct {
	lab    *kindTestbed
	before *fingerprint.Fingerprint
	held   map[string]holder
}

func (l *kindTestbed) snapshotEngine(ctx context.Context) (*engineSnapshot, error) {
	f, held, err := l.engineNow(ctx)
	if err != nil {
		return nil, err
	}
	return &engineSnapshot{l, f, held}, nil
}

// engineNow takes the engine's fingerprint and then asks whose everything is. A container that has gone in between is left out.
func (l *kindTestbed) engineNow(ctx context.Context) (*fingerprint.Fingerprint, map[string]holder, error) {
	f := fingerprint.Engine(ctx, l.c.Engine().Command)
	out, err := l.inspect(ctx, fmt.Sprintf(`{{.Name}}{{"\t"}}{{index .Config.Labels %q}}/{{index .Config.Labels %q}}/{{index .Config.Labels %q}}{{"\t"}}{{range .Mounts}}{{.Name}},{{end}}`,
		kindLabel, cluster.RunLabel, cluster.NodeLabel))
	if err != nil {
		return nil, nil, fmt.Errorf("ask whose the engine's containers are: %w", err)
	}
	held := holders(out, l.c.Name)
	maps.DeleteFunc(f.Areas[fingerprint.Containers], func(k, _ string) bool { _, ok := held[k]; return !ok })
	return f, held, nil
}

func (m *engineSnapshot) Changes(ctx context.Context) ([]string, error) {
	now, held, err := m.lab.engineNow(ctx)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return m.changes(now, held), nil
}

func (m *engineSnapshot) changes(now *fingerprint.Fingerprint, held map[string]holder) []string {
	var out []string
	for _, c := range fingerprint.Diff(m.before, now) {
		text := c.String()
		switch c.Area {
		case fingerprint.Networks:
			if c.Key != kindNetwork {
				continue
			}
		case fingerprint.Containers, fingerprint.Volumes:
			h, ok := held[c.Key]
			if !ok {
				h = m.held[c.Key]
			}
			// A volume that no container had is nobody's to miss; one that is new is somebody's leftover.
			_, missed := m.held[c.Key]
			if h.other || c.Area == fingerprint.Volumes && (!anonymous.MatchString(c.Key) || c.After == "" && !missed) {
				continue
			}
			text += h.owner
		}
		out = append(out, text)
	}
	return out
}

// kindNetwork is the only network a run uses, and anonymous is how the engine names volumes that nobody named: all that a run has.
const kindNetwork = "kind"

var anonymous = regexp.MustCompile(`^[0-9a-f]{64}$`)

// imageRefs lists the names of the images on a node, digests left out: they follow their names.
func (l *kindTestbed) imageRefs(ctx context.Context, name string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeoutscale.Bound(10*time.Second))
	defer cancel()
	refs, err := l.c.Images(ctx, name)
	if err != nil {
		return nil, err
	}
	refs = slices.DeleteFunc(refs, func(s string) bool { return strings.Contains(s, "sha256:") })
	slices.Sort(refs)
	return refs, nil
}

// RestoreImages copies what is missing since the node's fingerprint from other nodes that have it.
func (l *kindTestbed) RestoreImages(ctx context.Context, name string) error {
	l.mu.Lock()
	want := l.images[name]
	l.mu.Unlock()
	have, err := l.imageRefs(ctx, name)
	if err != nil {
		return err
	}
	missing := slices.DeleteFunc(slices.Clone(want), func(ref string) bool { return slices.Contains(have, ref) })
	return l.c.CopyImages(ctx, name, missing...)
}

// created are the objects of a workload.
type created struct {
	lab  *kindTestbed
	list []createdObject
}

type createdObject struct {
	obj      unstructured.Unstructured
	resource dynamic.ResourceInterface
	global   bool
}

func (c *created) List() []unstructured.Unstructured {
	out := make([]unstructured.Unstructured, len(c.list))
	for i, o := range c.list {
		out[i] = o.obj
	}
	return out
}

func (c *created) DeleteCluster(ctx context.Context) error {
	background := metav1.DeletePropagationBackground
	var errs []error
	for _, o := range slices.Backward(c.list) {
		if !o.global {
			continue
		}
		err := o.resource.Delete(ctx, o.obj.GetName(), metav1.DeleteOptions{PropagationPolicy: &background})
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("delete %s %s: %w", o.obj.GetKind(), o.obj.GetName(), err))
		}
	}
	for _, o := range c.list {
		if !o.global {
			continue
		}
		err := retry.Until(ctx, 200*time.Millisecond, timeoutscale.Bound(time.Minute), func(ctx context.Context) (bool, error) {
			_, err := o.resource.Get(ctx, o.obj.GetName(), metav1.GetOptions{})
			return apierrors.IsNotFound(err), err
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("wait until %s %s is gone: %w", o.obj.GetKind(), o.obj.GetName(), err))
		}
	}
	return errors.Join(errs...)
}

// resources asks for the API's resources, once they could be told.
func (l *kindTestbed) resources(ctx context.Context) (*resources, error) {
	l.apiMu.Lock()
	defer l.apiMu.Unlock()
	if l.api != nil {
		return l.api, nil
	}
	config := l.config()
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	var groups []*restmapper.APIGroupResources
	err = retry.Accepted(ctx, l.t.Poll, l.t.Call, func(context.Context) (err error) {
		groups, err = restmapper.GetAPIGroupResources(d)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask for the API's resources: %w", err)
	}
	l.api = &resources{restmapper.NewDiscoveryRESTMapper(groups), client}
	return l.api, nil
}

// Workload creates the objects of a manifest. It returns what it has created also when it fails.
func (l *kindTestbed) Workload(ctx context.Context, namespace string, manifest []byte, adjust func(*corev1.PodSpec)) (fault.Objects, error) {
	return l.write(ctx, namespace, manifest, adjust, func(ctx context.Context, o createdObject) (ours bool, err error) {
		_, err = o.resource.Create(ctx, &o.obj, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
		if err != nil {
			err = fmt.Errorf("create %s %s: %w", o.obj.GetKind(), o.obj.GetName(), err)
		}
		return !apierrors.IsAlreadyExists(err), err // what was there is somebody else's: it stays
	})
}

// rolloutManager owns what a rollout sets, as kubectl's own name would.
const rolloutManager = "rollout"

// Rollout applies the objects of a manifest over what is there.
func (l *kindTestbed) Rollout(ctx context.Context, namespace string, manifest []byte, adjust func(*corev1.PodSpec)) (fault.Objects, error) {
	return l.write(ctx, namespace, manifest, adjust, func(ctx context.Context, o createdObject) (ours bool, err error) {
		what := o.obj.GetKind() + " " + o.obj.GetName()
		if o.global {
			had, err := o.resource.Get(ctx, o.obj.GetName(), metav1.GetOptions{})
			if err == nil && had.GetLabels()[fault.LabelRun] != o.obj.GetLabels()[fault.LabelRun] {
				return false, fmt.Errorf("apply %s: it is there already and not of this run", what)
			}
		}
		raw, err := json.Marshal(o.obj.Object)
		if err != nil {
			return false, fmt.Errorf("apply %s: %w", what, err)
		}
		force := true
		_, err = o.resource.Patch(ctx, o.obj.GetName(), types.ApplyPatchType, raw, metav1.PatchOptions{
			FieldManager: rolloutManager, Force: &force, FieldValidation: metav1.FieldValidationStrict,
		})
		if err != nil {
			return true, fmt.Errorf("apply %s: %w", what, err)
		}
		return true, nil
	})
}

// write puts each object of a manifest into the run's namespace, labelled. It returns what it has made also when it fails.
func (l *kindTestbed) write(ctx context.Context, namespace string, manifest []byte, adjust func(*corev1.PodSpec), put func(context.Context, createdObject) (ours bool, err error)) (fault.Objects, error) {
	done := &created{lab: l}
	objects, err := decodeObjects(manifest)
	if err != nil {
		return done, err
	}
	api, err := l.resources(ctx)
	if err != nil {
		return done, err
	}
	for i := range objects {
		o := objects[i]
		gvk := o.GroupVersionKind()
		m, err := api.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		if err != nil {
			return done, fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
		}
		global := m.Scope.Name() != meta.RESTScopeNameNamespace
		var r dynamic.ResourceInterface = api.client.Resource(m.Resource)
		if !global {
			switch o.GetNamespace() {
			case "", namespace:
				o.SetNamespace(namespace)
			default:
				return done, fmt.Errorf("%s %s is in namespace %s: a workload lives in its run's own, {{.Namespace}}", o.GetKind(), o.GetName(), o.GetNamespace())
			}
			r = api.client.Resource(m.Resource).Namespace(namespace)
		}
		labels := o.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[fault.LabelRun] = strings.TrimPrefix(namespace, apiserver.RunNamespacePrefix)
		o.SetLabels(labels)
		if err := adjustPods(&o, adjust); err != nil {
			return done, fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
		}
		// Noted before the call: one that fails may have been carried out.
		done.list = append(done.list, createdObject{o, r, global})
		ours := true
		err = retry.Accepted(ctx, l.t.Poll, l.t.Call, func(ctx context.Context) (err error) {
			ours, err = put(ctx, done.list[len(done.list)-1])
			return err
		})
		if !ours {
			done.list = done.list[:len(done.list)-1]
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func decodeObjects(manifest []byte) ([]unstructured.Unstructured, error) {
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	var out []unstructured.Unstructured
	for {
		var m map[string]any
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", len(out)+1, err)
		}
		if len(m) == 0 {
			continue
		}
		u := unstructured.Unstructured{Object: m}
		if u.GetKind() == "" || u.GetAPIVersion() == "" || (u.GetName() == "" && u.GetGenerateName() == "") {
			return nil, fmt.Errorf("document %d: an object needs apiVersion, kind and metadata.name", len(out)+1)
		}
		out = append(out, u)
	}
}

// podSpecPaths are where kinds keep their pod specs.
var podSpecPaths = map[string][]string{
	"Pod": {"spec"}, "Deployment": {"spec", "template", "spec"}, "ReplicaSet": {"spec", "template", "spec"},
	"StatefulSet": {"spec", "template", "spec"}, "DaemonSet": {"spec", "template", "spec"}, "Job": {"spec", "template", "spec"},
	"CronJob": {"spec", "jobTemplate", "spec", "template", "spec"},
}

func adjustPods(o *unstructured.Unstructured, adjust func(*corev1.PodSpec)) error {
	path, ok := podSpecPaths[o.GetKind()]
	if !ok {
		return nil
	}
	m, found, err := unstructured.NestedMap(o.Object, path...)
	if err != nil || !found {
		return err
	}
	var spec corev1.PodSpec
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(m, &spec); err != nil {
		return err
	}
	before := len(spec.NodeSelector)
	adjust(&spec)
	if len(spec.NodeSelector) == before {
		return nil // unchanged: leave the author's own words, unknown fields included, for the API server to judge
	}
	selector := map[string]any{}
	for k, v := range spec.NodeSelector {
		selector[k] = v
	}
	return unstructured.SetNestedMap(o.Object, selector, append(slices.Clone(path), "nodeSelector")...)
}

// Access implements suites.Testbed.
func (l *kindTestbed) Access() suites.Access {
	file, _ := l.c.Kubeconfig() // a cluster that is up has one
	return suites.Access{
		Kubeconfig: file,
		Exec: func(name string) []string {
			return l.c.Engine().Command(context.Background(), "exec", "--privileged", name).Args
		},
		Run: func(ctx context.Context, name string, argv ...string) ([]byte, error) {
			return l.c.Node(name).Run(ctx, node.Argv(argv...))
		},
	}
}
