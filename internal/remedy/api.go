package remedy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/kubectl/pkg/drain"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
	"github.com/sickbay-dev/sickbay/internal/retry"
)

// manager names sickbay as the owner of what it applies.
const manager = "sickbay"

// poll is how often the API is asked while waiting: one small GET.
const poll = 250 * time.Millisecond

func (a *applier) api(ctx context.Context, act *v1alpha1.APIAction, out *output) error {
	if a.Kube == nil {
		return errNoAPI
	}
	switch act.Verb {
	case v1alpha1.VerbCordon, v1alpha1.VerbUncordon:
		return a.cordon(ctx, act.Object.Name, act.Verb == v1alpha1.VerbCordon, out)
	case v1alpha1.VerbDrain:
		return a.drain(ctx, act.Object.Name, out)
	case v1alpha1.VerbWaitReady:
		return a.waitReady(ctx, act.Object.Name, out)
	case v1alpha1.VerbEvict:
		return a.evict(ctx, act.Object, out)
	case v1alpha1.VerbRemake:
		return a.remake(ctx, act, out)
	case v1alpha1.VerbPatch:
		return a.patch(ctx, act, out)
	case v1alpha1.VerbRenewClientCert:
		return a.renewClientCert(ctx, act.Object.Name, out)
	}
	return fmt.Errorf("no such API action: %q", act.Verb)
}

func (a *applier) cordon(ctx context.Context, name string, on bool, out *output) error {
	ctx, cancel := bound(ctx, a.o.Bounds.Change)
	defer cancel()
	n, err := a.Kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read node %s: %w", name, cause(ctx, err))
	}
	if n.Spec.Unschedulable == on {
		out.printf("node/%s already %s\n", name, map[bool]string{true: "cordoned", false: "uncordoned"}[on])
		return nil
	}
	h := &drain.Helper{Ctx: ctx, Client: a.Kube, Out: out, ErrOut: out}
	if err := drain.RunCordonOrUncordon(h, n, on); err != nil {
		return fmt.Errorf("change node %s: %w", name, cause(ctx, err))
	}
	out.printf("node/%s %s\n", name, map[bool]string{true: "cordoned", false: "uncordoned"}[on])
	return nil
}

// drain evicts what has an owner to make it again. Bare pods stay: nobody would.
func (a *applier) drain(ctx context.Context, name string, out *output) error {
	// The helper has its own timeout; the context's is only the rope behind it.
	ctx, cancel := bound(ctx, a.o.Bounds.Drain+15*time.Second)
	defer cancel()
	n, err := a.Kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read node %s: %w", name, cause(ctx, err))
	}
	h := &drain.Helper{
		Ctx: ctx, Client: a.Kube, Out: out, ErrOut: out,
		IgnoreAllDaemonSets: true, DeleteEmptyDirData: true, GracePeriodSeconds: -1, Timeout: a.o.Bounds.Drain,
	}
	list, errs := h.GetPodsForDeletion(name)
	if list == nil {
		return fmt.Errorf("list the pods of node %s: %w", name, cause(ctx, errors.Join(errs...)))
	}
	for _, e := range errs {
		out.printf("left alone: %v\n", e)
	}
	err = h.DeleteOrEvictPods(list.Pods())
	if err != nil && !ready(n) && ctx.Err() == nil {
		// A kubelet that does not answer never confirms: the pods are marked, and gone from the API's view once it does.
		out.printf("node %s is not Ready, its pods end when its kubelet answers: %v\n", name, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("drain node %s: %w", name, cause(ctx, err))
	}
	return nil
}

func (a *applier) waitReady(ctx context.Context, name string, out *output) error {
	ctx, cancel := bound(ctx, a.o.Bounds.WaitReady)
	defer cancel()
	var last string
	for {
		n, err := a.Kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		switch {
		case err != nil:
			last = err.Error()
		case ready(n):
			out.printf("node/%s condition met\n", name)
			return nil
		default:
			last = "not Ready"
			for _, c := range n.Status.Conditions {
				if c.Type == corev1.NodeReady {
					last = fmt.Sprintf("Ready is %s, %s: %s", c.Status, c.Reason, c.Message)
				}
			}
		}
		if retry.Sleep(ctx, poll) != nil {
			return fmt.Errorf("wait for node %s to be Ready: %w: %s", name, context.Cause(ctx), last)
		}
	}
}

func ready(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

func (a *applier) patch(ctx context.Context, act *v1alpha1.APIAction, out *output) error {
	ctx, cancel := bound(ctx, a.o.Bounds.Change)
	defer cancel()
	res, err := a.resource(act)
	if err != nil {
		return err
	}
	var sub []string
	if act.Subresource != "" {
		sub = []string{act.Subresource}
	}
	what := describe(act.Object)
	if _, err := res.Patch(ctx, act.Object.Name, types.StrategicMergePatchType, []byte(act.Patch), metav1.PatchOptions{FieldManager: manager}, sub...); err != nil {
		return fmt.Errorf("patch %s: %w", what, cause(ctx, err))
	}
	out.printf("%s patched\n", what)
	return nil
}

// resource finds where an object lives.
func (a *applier) resource(act *v1alpha1.APIAction) (dynamic.ResourceInterface, error) {
	if a.Dynamic == nil || a.Mapper == nil {
		if a.REST == nil {
			return nil, errNoAPI
		}
		d, err := dynamic.NewForConfig(a.REST)
		if err != nil {
			return nil, fmt.Errorf("make an API client: %w", err)
		}
		disco, err := discovery.NewDiscoveryClientForConfig(a.REST)
		if err != nil {
			return nil, fmt.Errorf("make an API client: %w", err)
		}
		groups, err := restmapper.GetAPIGroupResources(disco)
		if err != nil {
			return nil, fmt.Errorf("ask the API what it serves: %w", err)
		}
		a.Dynamic, a.Mapper = d, restmapper.NewDiscoveryRESTMapper(groups)
	}
	version := act.APIVersion
	if version == "" {
		version = "v1"
	}
	gv, err := schema.ParseGroupVersion(version)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", describe(act.Object), err)
	}
	m, err := a.Mapper.RESTMapping(schema.GroupKind{Group: gv.Group, Kind: act.Object.Kind}, gv.Version)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", describe(act.Object), err)
	}
	if m.Scope.Name() == meta.RESTScopeNameRoot {
		return a.Dynamic.Resource(m.Resource), nil
	}
	namespace := act.Object.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return a.Dynamic.Resource(m.Resource).Namespace(namespace), nil
}

func describe(o *v1alpha1.ObjectRef) string {
	if o.Namespace == "" {
		return strings.ToLower(o.Kind) + "/" + o.Name
	}
	return strings.ToLower(o.Kind) + "/" + o.Name + " in " + o.Namespace
}

// cause names our own bound where a client only says that its deadline was exceeded.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

func fileMode(m uint32) os.FileMode { return os.FileMode(m).Perm() }

func bytesReader(b []byte) io.Reader { return bytes.NewReader(b) }
