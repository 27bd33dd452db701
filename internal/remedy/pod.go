package remedy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/sickbay-dev/sickbay/api/v1alpha1"
)

// evict has the owner of a pod make another one. It waits until the pod is gone and, where it was Ready, until its successor is:
// two replicas are never away at a time.
func (a *applier) evict(ctx context.Context, ref *v1alpha1.ObjectRef, out *output) error {
	was, err := a.pod(ctx, ref)
	if err != nil || was == nil {
		out.printf("%s is not there\n", describe(ref))
		return err
	}
	owner := metav1.GetControllerOf(was)
	if owner == nil {
		return fmt.Errorf("%s has no owner, nobody would make it again", describe(ref))
	}
	before, err := a.siblings(ctx, was, owner.UID)
	if err != nil {
		return err
	}
	if err := a.evicted(ctx, was, out); err != nil {
		return err
	}
	if !podReady(was) || was.DeletionTimestamp != nil {
		return nil
	}
	ctx, cancel := bound(ctx, a.o.Bounds.Successor)
	defer cancel()
	for {
		now, err := a.siblings(ctx, was, owner.UID)
		if err == nil {
			for name, p := range now {
				if old, known := before[name]; podReady(p) && (!known || old.UID != p.UID) {
					out.printf("its successor %s is Ready\n", name)
					return nil
				}
			}
			// Scaled down, or rolled out meanwhile: the others serve and nobody makes another.
			if ready := count(now); ready > 0 && ready >= count(before) {
				return nil
			}
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("wait until the successor of %s is Ready: %w", describe(ref), err)
		}
	}
}

// siblings are the pods of one owner by name; of a DaemonSet, those of the pod's node.
func (a *applier) siblings(ctx context.Context, of *corev1.Pod, owner types.UID) (map[string]*corev1.Pod, error) {
	list, err := a.Kube.CoreV1().Pods(of.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the pods of %s: %w", of.Namespace, cause(ctx, err))
	}
	out := map[string]*corev1.Pod{}
	for i := range list.Items {
		p := &list.Items[i]
		c := metav1.GetControllerOf(p)
		if c != nil && c.UID == owner && (c.Kind != "DaemonSet" || p.Spec.NodeName == of.Spec.NodeName) {
			out[p.Name] = p
		}
	}
	return out, nil
}

func count(pods map[string]*corev1.Pod) (ready int) {
	for _, p := range pods {
		if podReady(p) {
			ready++
		}
	}
	return ready
}

func podReady(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// pod reads a pod, nil when there is none of the name.
func (a *applier) pod(ctx context.Context, ref *v1alpha1.ObjectRef) (*corev1.Pod, error) {
	ctx, cancel := bound(ctx, a.o.Bounds.Change)
	defer cancel()
	p, err := a.Kube.CoreV1().Pods(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", describe(ref), cause(ctx, err))
	}
	return p, nil
}

// evicted evicts that very pod and waits until it is gone: an owner may make another of its name at once. A budget that allows
// no eviction now is asked again, since another pod may just be on its way.
func (a *applier) evicted(ctx context.Context, was *corev1.Pod, out *output) error {
	what := describe(&v1alpha1.ObjectRef{Kind: "Pod", Namespace: was.Namespace, Name: was.Name})
	var grace time.Duration
	if s := was.Spec.TerminationGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	pods := a.Kube.CoreV1().Pods(was.Namespace)
	asking, cancel := bound(ctx, a.o.Bounds.Change)
	defer cancel()
	for {
		err := pods.EvictV1(asking, &policyv1.Eviction{
			ObjectMeta:    metav1.ObjectMeta{Namespace: was.Namespace, Name: was.Name},
			DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &was.UID}},
		})
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			break
		}
		if !apierrors.IsTooManyRequests(err) || pause(asking) != nil {
			return fmt.Errorf("evict %s: %w", what, cause(asking, err))
		}
	}
	ctx, done := bound(ctx, a.o.Bounds.Delete+grace)
	defer done()
	for {
		now, err := pods.Get(ctx, was.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && now.UID != was.UID {
			out.printf("%s evicted\n", what)
			return nil
		}
		if gone := pause(ctx); gone != nil {
			held := ""
			if err == nil && len(now.Finalizers) > 0 {
				held = "; finalizers: " + strings.Join(now.Finalizers, ", ")
			}
			return fmt.Errorf("wait until %s is gone: %w%s", what, gone, held)
		}
	}
}

// remake makes a pod without an owner again. The API server is first asked, by a dry run under another name, whether it takes
// the new pod as it is, and whether what it would store is all that the old one has.
func (a *applier) remake(ctx context.Context, act *v1alpha1.APIAction, out *output) error {
	what := describe(act.Object)
	was, err := a.pod(ctx, act.Object)
	if err != nil {
		return err
	}
	if was == nil {
		return fmt.Errorf("%s is not there any more", what)
	}
	if o := metav1.GetControllerOf(was); o != nil {
		return fmt.Errorf("%s belongs to %s %s", what, o.Kind, o.Name)
	}
	again, err := anew(was, act.Patch)
	if err != nil {
		return fmt.Errorf("make %s again: %w", what, err)
	}
	pods := a.Kube.CoreV1().Pods(was.Namespace)
	asking, cancel := bound(ctx, a.o.Bounds.Change)
	defer cancel()
	trial := again.DeepCopy()
	trial.Name, trial.GenerateName = "", "sickbay-"
	got, err := pods.Create(asking, trial, metav1.CreateOptions{FieldManager: manager, DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return fmt.Errorf("the API server would not take %s again, so it stays: %w", what, cause(asking, err))
	}
	if lost := missing(again, got); lost != "" {
		return fmt.Errorf("the API server would make %s without %s, so it stays", what, lost)
	}
	if err := a.evicted(ctx, was, out); err != nil {
		return err
	}
	ctx, done := bound(context.WithoutCancel(ctx), a.o.Bounds.Change) // it is gone: it must come back whatever ends meanwhile
	defer done()
	for {
		_, err := pods.Create(ctx, again, metav1.CreateOptions{FieldManager: manager})
		if err == nil {
			out.printf("%s created\n", what)
			return nil
		}
		if pause(ctx) != nil {
			manifest, _ := json.Marshal(again)
			return fmt.Errorf("create %s again: %w; it was %s", what, cause(ctx, err), manifest)
		}
	}
}

// tokenVolume is what the name of the volume begins with that the API server adds to every pod.
const tokenVolume = "kube-api-access-"

// anew is the pod as it is to be created again: without what the API server and the kubelet added, changed by the patch.
func anew(p *corev1.Pod, patch string) (*corev1.Pod, error) {
	again := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, Labels: p.Labels, Annotations: p.Annotations, Finalizers: p.Finalizers},
		Spec:       *p.Spec.DeepCopy(),
	}
	again.Spec.EphemeralContainers = nil // they cannot be part of a new pod, and were for looking at the old one
	token := map[string]bool{}
	again.Spec.Volumes = slices.DeleteFunc(again.Spec.Volumes, func(v corev1.Volume) bool {
		if v.Projected != nil && strings.HasPrefix(v.Name, tokenVolume) {
			token[v.Name] = true
		}
		return token[v.Name]
	})
	for _, list := range [][]corev1.Container{again.Spec.InitContainers, again.Spec.Containers} {
		for i := range list {
			list[i].VolumeMounts = slices.DeleteFunc(list[i].VolumeMounts, func(m corev1.VolumeMount) bool { return token[m.Name] })
		}
	}
	if patch == "" {
		return again, nil
	}
	raw, err := json.Marshal(again)
	if err != nil {
		return nil, err
	}
	if raw, err = strategicpatch.StrategicMergePatch(raw, []byte(patch), corev1.Pod{}); err != nil {
		return nil, err
	}
	var changed corev1.Pod
	return &changed, json.Unmarshal(raw, &changed)
}

// missing names the first field of the wanted pod that the API server's answer lacks or has otherwise. What admission adds is
// no loss.
func missing(want, got *corev1.Pod) string {
	var docs [2]map[string]any
	for i, p := range []*corev1.Pod{want, got} {
		raw, err := json.Marshal(map[string]any{"labels": p.Labels, "annotations": p.Annotations, "finalizers": p.Finalizers, "spec": p.Spec})
		if err != nil || json.Unmarshal(raw, &docs[i]) != nil {
			return "fields that cannot be compared"
		}
	}
	return lacks("", docs[0], docs[1])
}

func lacks(at string, want, got any) string {
	switch w := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		for k, v := range w {
			if l := lacks(strings.TrimPrefix(at+"."+k, "."), v, g[k]); l != "" {
				return l
			}
		}
	case []any:
		g, _ := got.([]any)
		for i, v := range w {
			at := fmt.Sprintf("%s[%d]", at, i)
			if m, ok := v.(map[string]any); ok && m["name"] != nil { // admission may put another before it
				if j := slices.IndexFunc(g, func(x any) bool { y, _ := x.(map[string]any); return y["name"] == m["name"] }); j >= 0 {
					if l := lacks(at, v, g[j]); l != "" {
						return l
					}
					continue
				}
			}
			if !slices.ContainsFunc(g, func(x any) bool { return lacks(at, v, x) == "" }) {
				return at
			}
		}
	case nil:
	default:
		if want != got {
			return at
		}
	}
	return ""
}

// pause waits until the API may be asked again, or says why not.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(poll):
		return nil
	}
}

var errNoAPI = errors.New("there is no access to the API")
